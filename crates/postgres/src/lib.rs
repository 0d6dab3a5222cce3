//! PostgreSQL as Manada meets it: drives one local server, reads any server.

pub use manada_model::address;
pub mod authority;
mod child;
pub mod conninfo;
pub mod control_file;
pub mod durable;
pub mod initdb;
pub mod observe;
pub mod os_user;
pub mod process;
pub mod programs;
pub mod quote;
pub mod replace_file;
mod scram;
mod secret;
pub mod session;
pub mod settings;
mod tls;
pub mod transport;

pub use conninfo::{Conninfo, Endpoint};
pub use secret::Secret;
pub use session::{ConnectError, Session};
pub use tls::TlsSetupError;
