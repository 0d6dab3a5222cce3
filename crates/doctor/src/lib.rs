//! Known mistakes in a live cluster, one rule per file, each with its evidence and its fix.
//!
//! [`facts::gather`] asks every server a few questions, each once. [`examine`] then holds all
//! rules of the registry against these facts: it asks nothing, so that what it finds depends
//! on the facts alone. What a role may not read makes a rule *not checked*, never silent.

mod commits;
mod conninfo;
mod examine;
pub mod facts;
mod finding;
mod page;
mod registry;
mod remedy;
mod rule;
mod rules;

pub use examine::{NotChecked, Report, examine};
pub use finding::{Evidence, Finding, Step, Value};
pub use page::{index, page};
pub use registry::{RULES, find};
pub use rule::{Check, Rule, RuleId, Severity, Verdict};
