//! Operations on a herd: create, admit, join, remove, change the policy, prove it.

mod survey;

pub use survey::Survey;
