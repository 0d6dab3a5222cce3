//! PostgreSQL as Manada meets it: drives one local server, reads any server.

pub mod conninfo;
mod secret;
pub mod session;
mod tls;
pub mod transport;

pub use conninfo::{Conninfo, Endpoint};
pub use secret::Secret;
pub use session::{ConnectError, Session};
pub use tls::TlsSetupError;
mod child;
pub mod os_user;
pub mod programs;
