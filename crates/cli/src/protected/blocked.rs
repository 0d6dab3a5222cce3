//! What holds the nodes of a herd up, in sentences.

use manada_agent::control::View;
use manada_agent::wording;
use manada_core::obstacle::Obstacle;
use manada_model::NodeName;
use serde::Serialize;

/// What holds a node up.
#[derive(Debug, Serialize)]
pub(crate) struct Blocked<'a> {
    /// Which node.
    pub(crate) node: &'a NodeName,
    /// By what, typed.
    pub(crate) obstacle: &'a Obstacle,
    /// In words.
    pub(crate) because: String,
    /// What would unblock it.
    pub(crate) remedy: Option<String>,
}

/// What holds the nodes up. What all say of the store or the mode is said once.
pub(crate) fn blocked(views: &[View]) -> Vec<Blocked<'_>> {
    let mut said: Vec<Blocked<'_>> = Vec::new();
    for view in views {
        for reason in &view.obstacles {
            if said.iter().any(|one| one.obstacle == reason) {
                continue;
            }
            said.push(Blocked {
                node: &view.node,
                obstacle: reason,
                because: wording::obstacle(reason),
                remedy: wording::remedy(reason),
            });
        }
    }
    said
}
