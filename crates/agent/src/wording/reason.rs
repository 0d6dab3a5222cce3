//! Why the herd acted, in a sentence.

use manada_core::loss::LossBound;
use manada_core::reason::Reason;
use manada_model::wording::size;

use super::obstacle::names;

/// Why it was done.
pub fn sentence(reason: &Reason) -> String {
    match reason {
        Reason::LeaseLapsed { leader } => {
            format!("{leader} gave no sign of life, and its server did not answer")
        }
        Reason::LeaseLapsedAsking { leader } => {
            format!("{leader} gave no sign of life, so its server is asked")
        }
        Reason::LeaderResigned { leader } => {
            format!("{leader} said that its server is gone, or that it hands over")
        }
        Reason::OperatorAsked => "an operator asked for it".to_owned(),
        Reason::CoordinatorSilent { coordinator } => {
            format!("{coordinator}, who was electing, is not heard of any more")
        }
        Reason::PromisedHigher { promised } => {
            format!("a member has promised epoch {promised} already")
        }
        Reason::Recruited { epoch, coordinator } => {
            format!("{coordinator} recruits for epoch {epoch}")
        }
        Reason::Recruiting { epoch } => {
            format!("where its WAL ends is needed to elect the leader of epoch {epoch}")
        }
        Reason::WalIsElsewhere { holder, .. } => {
            format!("{holder} has WAL that no other has, and may not lead")
        }
        Reason::Covered { epoch } => format!(
            "those that answered have every acknowledged commit between them, so epoch {epoch} \
             can begin"
        ),
        Reason::LossAccepted { bytes, bound } => {
            let lost = match bytes {
                Some(bytes) => format!("{} of WAL are known to be lost", size(*bytes)),
                None => "how much WAL is lost is not known".to_owned(),
            };
            match bound {
                LossBound::Bytes(bound) => {
                    format!("{lost}, within the {} that are allowed", size(*bound))
                }
                LossBound::Any => format!("{lost}, and an operator has allowed whatever it is"),
            }
        }
        Reason::Chosen { epoch } => format!("this node was chosen to lead epoch {epoch}"),
        Reason::ReignBegins { epoch } => {
            format!(
                "epoch {epoch} begins, and nothing is acknowledged before its rule is in the WAL"
            )
        }
        Reason::QuorumHasRule { rule } => {
            format!("enough standbys have rule {}.{}", rule.epoch, rule.sub)
        }
        Reason::QuorumCaughtUp => "enough standbys have all that clients may see".to_owned(),
        Reason::NotYetCaughtUp => {
            "enough standbys have not yet all that clients may see".to_owned()
        }
        Reason::BeatDue => "a sign of life was due".to_owned(),
        Reason::AgentRestarts => "the agent ends, and will come back".to_owned(),
        Reason::NobodyTakesOver => "nobody takes over, or nobody can".to_owned(),
        Reason::ServerGone => "the leader's server is gone".to_owned(),
        Reason::ServerHung => "the server has not answered for too long".to_owned(),
        Reason::Isolated => "neither the store nor enough standbys are heard of".to_owned(),
        Reason::LeaseEnded => {
            "its lease has ended, and only time stops an asynchronous primary".to_owned()
        }
        Reason::Asynchronous => {
            "commits wait for nobody, so only time stops this primary".to_owned()
        }
        Reason::Synchronous => "commits wait for standbys, which stops a primary".to_owned(),
        Reason::PolicyAttainable { joined, left } => {
            let changes = [("joins", joined), ("leaves", left)];
            let changes: Vec<String> = changes
                .into_iter()
                .filter(|(_, nodes)| !nodes.is_empty())
                .map(|(verb, nodes)| {
                    let verb = if nodes.len() == 1 {
                        verb
                    } else {
                        verb.trim_end_matches('s')
                    };
                    format!("{} {verb}", names(nodes))
                })
                .collect();
            match changes.as_slice() {
                [] => "what commits wait for follows what is wanted and who streams".to_owned(),
                _ => format!(
                    "what commits wait for follows who streams: {}",
                    changes.join(", ")
                ),
            }
        }
        Reason::PolicyChange => "the published policy is to be in force".to_owned(),
        Reason::PolicyForeign => {
            "something other than the published policy was in force".to_owned()
        }
        Reason::HandingOver { successor } => format!("it hands over to {successor}"),
        Reason::HandoverStalled => "the handover took too long".to_owned(),
        Reason::Superseded { epoch } => format!("another leads in epoch {epoch}"),
        Reason::ServerStopped => "the server did not run".to_owned(),
        Reason::PartOfHistory { leader } => format!("its WAL is a part of {leader}'s"),
        Reason::Diverged { leader } => format!("its WAL has parted from {leader}'s"),
        Reason::PromotedByHand => {
            "somebody else than the agent has made its server a primary".to_owned()
        }
        Reason::DataUnusable => "there is no data that could be started".to_owned(),
        Reason::Rejoined => "its data was brought back into the leader's history".to_owned(),
        Reason::PromotionFailed => "its server could not be promoted".to_owned(),
        Reason::RecordChanged => "the record has changed".to_owned(),
    }
}
