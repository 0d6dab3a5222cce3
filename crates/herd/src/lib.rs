//! Operations on a herd: create, adopt, admit, join, remove, change the policy, prove it.
//!
//! Nothing here prints: each operation tells its steps through a callback and ends with what it
//! made, or with an error of its own that says what was attempted.

mod access;
mod admission;
mod admit;
pub mod adopt;
pub mod create;
pub mod home;
mod identity;
pub mod join;
mod managed;
pub mod member;
pub mod node;
pub mod node_file;
pub mod policy;
mod ports;
pub mod power;
mod probe;
pub mod protection;
pub mod remove;
pub mod schema;
mod server_files;
mod started;
mod survey;
pub mod token;
pub mod token_issue;
pub mod verify;

pub use access::Door;
pub use admission::{PrimaryFacts, Refusal};
pub use admit::{AdmitError, admit};
pub use adopt::{AdoptError, AdoptPlan, Adopted, Adoption};
pub use create::{CreateError, CreateStep, Created, NewHerd, create};
pub use home::{Home, HomeError, HomeLock};
pub use identity::IdentityError;
pub use join::{Invitation, JoinError, JoinNote, JoinStep, Joined, NewStandby, join};
pub use member::Member;
pub use node::{FindNodeError, Node, OpenNodeError};
pub use node_file::{NodeFile, NodeFileError, Protect, StoreAccess};
pub use ports::PortTaken;
pub use probe::ProbeError;
pub use remove::{Removal, RemoveError};
pub use server_files::ServerFilesError;
pub use survey::{Explored, Survey, Way};
pub use token::{InvalidToken, Token};
pub use token_issue::{IssueTokenError, answer_here, issue_token};
