//! Changing what commits wait for, and proving that they do. The reasoning: `docs/design/sync.md`.

mod apply;
mod plan;

pub use apply::{ApplyError, Enforcement, NotInForce, apply};
pub use plan::{Place, PlanError, PolicyPlan, PolicyRequest, plan};
