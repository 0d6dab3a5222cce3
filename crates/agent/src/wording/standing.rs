//! What a node of a protected herd is, in a sentence.

use manada_core::policy::Policy;
use manada_core::server::Gate;
use manada_core::standing::{PromotionStage, Standing};
use manada_model::SyncMethod;

use super::obstacle::{self, rung_name};

/// What a node is.
pub fn sentence(standing: &Standing) -> String {
    match standing {
        Standing::NoRecord => "knows no record of the herd".to_owned(),
        Standing::Outsider => "is not in the herd's record".to_owned(),
        Standing::Recruited {
            epoch,
            coordinator,
            answered,
        } => {
            let Some(by) = coordinator else {
                return format!("has promised epoch {epoch}, for which nobody recruits yet");
            };
            let said = if *answered {
                "has answered"
            } else {
                "has not answered yet"
            };
            format!("is recruited by {by} for epoch {epoch}, and {said}")
        }
        Standing::Electing {
            epoch,
            recruits,
            covered,
        } => {
            let enough = if *covered { "enough" } else { "not yet enough" };
            format!("elects the leader of epoch {epoch}: {recruits} have answered, {enough}")
        }
        Standing::Promoting { epoch, stage } => {
            format!("is to lead epoch {epoch}: {}", stage_name(*stage))
        }
        Standing::Leading {
            epoch,
            gate,
            policy: published,
            changing,
        } => {
            let gate = match gate {
                Gate::Open => "",
                Gate::Closed => ", and lets no client in",
            };
            let changing = if *changing { ", which changes now" } else { "" };
            format!("leads epoch {epoch}{gate}; {}{changing}", policy(published))
        }
        Standing::Reopening { epoch } => format!(
            "leads epoch {epoch}, and lets clients in once enough standbys have all its WAL"
        ),
        Standing::HandingOver { successor } => format!("hands over to {successor}"),
        Standing::Resigned { epoch, successor } => match successor {
            Some(successor) => format!("has resigned from epoch {epoch} in favour of {successor}"),
            None => format!("has resigned from epoch {epoch}"),
        },
        Standing::SteppingDown { epoch } => {
            format!("steps down: another leads in epoch {epoch}")
        }
        Standing::Following {
            leader,
            epoch,
            streams: true,
        } => format!("follows {leader} in epoch {epoch}"),
        Standing::Following { leader, epoch, .. } => {
            format!("is to follow {leader} in epoch {epoch}, and does not stream")
        }
        Standing::Rejoining {
            leader,
            rung,
            tries,
        } => format!(
            "is brought back into {leader}'s history by {}, try {tries}",
            rung_name(*rung)
        ),
        Standing::Stuck { leader, tries, .. } => {
            format!("could not be brought back into {leader}'s history in {tries} tries")
        }
    }
}

fn stage_name(stage: PromotionStage) -> &'static str {
    match stage {
        PromotionStage::Promising => "it writes its promise",
        PromotionStage::Promoting => "its server is promoted",
        PromotionStage::WritingRule => "the reign's rule is written",
        PromotionStage::AwaitingQuorum => "enough standbys are to have the rule",
        PromotionStage::Opening => "clients are about to get in",
    }
}

/// What commits wait for.
pub fn policy(policy: &Policy) -> String {
    if !policy.is_synchronous() {
        return "commits wait for no standby".to_owned();
    }
    let names = obstacle::names(&policy.standbys);
    match (policy.method, policy.count) {
        (_, 1) if policy.standbys.len() == 1 => format!("commits wait for {names}"),
        (SyncMethod::First, 1) => format!("commits wait for the first of {names} that streams"),
        (SyncMethod::First, count) => {
            format!("commits wait for the first {count} of {names} that stream")
        }
        (SyncMethod::Any, count) => format!("commits wait for any {count} of {names}"),
    }
}
