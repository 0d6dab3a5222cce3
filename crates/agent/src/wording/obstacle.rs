//! Why something does not happen, in a sentence, and what would unblock it.

use std::time::Duration;

use manada_core::action::Rung;
use manada_core::obstacle::{ForeignSetting, Obstacle, SettingPlace, Unfit};
use manada_model::NodeName;
use manada_model::wording::{duration, size};

use super::start;
use crate::loss::LostRecord;

/// Why it does not happen.
pub fn sentence(obstacle: &Obstacle) -> String {
    match obstacle {
        Obstacle::NoRecord => "the store has no record of the herd".to_owned(),
        Obstacle::NotAMember => "the herd's record does not have this node".to_owned(),
        Obstacle::ForeignSetting {
            setting,
            is_primary,
        } => foreign(setting, *is_primary),
        Obstacle::Paused => "the herd is paused: it acts only when it is told to".to_owned(),
        Obstacle::StoreUnreachable => {
            "the store does not answer: no failover, no change of the policy".to_owned()
        }
        Obstacle::RecordLost => {
            "the store has lost the herd's record: no failover, no change of the policy".to_owned()
        }
        Obstacle::StoreRefuses { said } => format!(
            "the store refuses what this node asks for, so that there is no failover and no change \
             of the policy{}",
            said.as_ref()
                .map_or_else(String::new, |said| format!("; it says: {said}"))
        ),
        Obstacle::LeaseHolds { leader, holds_for } => format!(
            "{leader}'s agent is alive: it is suspected {} after its last sign of life",
            duration(*holds_for)
        ),
        Obstacle::LeaderAnswers { leader } => format!(
            "{leader}'s server answers and takes writes, but no sign of life of its agent is in the \
             store: the agent is gone, or the store does not take it"
        ),
        Obstacle::AskingLeader { leader } => format!("{leader}'s server is being asked"),
        Obstacle::NotMyTurn { before: 0 } => "this node is the first to campaign".to_owned(),
        Obstacle::NotMyTurn { before: 1 } => "another node campaigns first".to_owned(),
        Obstacle::NotMyTurn { before } => format!("{before} other nodes campaign first"),
        Obstacle::NeverLeads => "this node never leads".to_owned(),
        Obstacle::PromotedByHand => "somebody else than the agent has made this node's server a \
             primary: it counts for nothing in an election, and is cloned anew from the leader"
            .to_owned(),
        Obstacle::NotCovered {
            published,
            recruits,
            missing,
            needed,
        } => {
            let who = match (needed, missing.as_slice()) {
                (Some(_), [only]) => format!("{only} must answer"),
                (Some(needed), several) => format!("{needed} of {} must answer", names(several)),
                (None, _) => "nobody but it knows them all".to_owned(),
            };
            format!(
                "a commit that {} acknowledged may be missing on those that answered ({}): {who}",
                published.leader,
                names(recruits)
            )
        }
        Obstacle::AwaitingRecruits { of } => format!(
            "none of {} has said yet where its WAL ends: whoever is asked replays first what it has",
            names(of)
        ),
        Obstacle::NobodyMayLead => "nobody that answered may lead".to_owned(),
        Obstacle::LossTooLarge { bytes, bound } => match bytes {
            Some(bytes) => format!(
                "{} of WAL would be lost, and {} are allowed",
                size(*bytes),
                size(*bound)
            ),
            None => "how much WAL would be lost is not known".to_owned(),
        },
        Obstacle::AwaitingLeaseEnd { leader } => format!(
            "{leader} acknowledges commits alone until its lease has lapsed: that is waited for"
        ),
        Obstacle::FetchingWal { from, by } => {
            format!("{by} fetches from {from} the WAL that only {from} has")
        }
        Obstacle::PromisedHigher { promised, recorded } => format!(
            "this node has promised epoch {promised}, and the record is at {recorded}: it is \
             raised above that"
        ),
        Obstacle::TooFewStandbys {
            streaming,
            needed,
            away,
        } => format!(
            "commits wait for {}, and {}{}",
            standbys(*needed),
            stream(*streaming),
            match away.as_slice() {
                [] => String::new(),
                away => format!("; away: {}", names(away)),
            }
        ),
        Obstacle::QuorumBehind { behind } => format!(
            "clients get in when enough standbys have all the WAL; behind: {}",
            names(behind)
        ),
        Obstacle::PolicyUnattainable { wanted, available } => {
            let wanted = standbys(*wanted);
            format!(
                "commits should wait for {wanted}, and {}",
                stream(*available)
            )
        }
        Obstacle::NotTheLeader { leader } => match leader {
            Some(leader) => format!("{leader} leads, and this is for the leader"),
            None => "nobody leads at this moment".to_owned(),
        },
        Obstacle::SuccessorUnfit { successor, unfit } => unfitness(successor.as_ref(), *unfit),
        Obstacle::ReceivesNothing { leader } => format!(
            "this node's server gets no WAL from {leader}, for so long that its data is taken for \
             diverged"
        ),
        Obstacle::LeaderNotReady { leader } => {
            format!("{leader} has not begun its reign: there is nothing to follow yet")
        }
        Obstacle::RejoinBudgetSpent { rung, tries } => format!(
            "this node's WAL has parted from the leader's, and {tries} tries to bring it back \
             have failed, {} last; it is tried again now and then",
            rung_name(*rung)
        ),
        Obstacle::ServerStarts { took } => {
            let took = Duration::from_secs(took.as_secs());
            format!(
                "its server has been starting for {}: a recovery can take minutes",
                duration(took)
            )
        }
        Obstacle::StartFails { failures, trouble } => start::sentence(*failures, trouble.as_ref()),
        Obstacle::Retrying { failures: 1 } => {
            "what was tried has failed, and is tried again".to_owned()
        }
        Obstacle::Retrying { failures } => {
            format!("what was tried has failed {failures} times, and is tried again")
        }
    }
}

/// What it means that the store has lost the record.
pub fn loss(loss: &LostRecord) -> String {
    let what = match loss.found {
        None => "no record of the herd any more".to_owned(),
        Some(epoch) => format!("an older record of the herd (epoch {epoch}) than its nodes know"),
    };
    format!(
        "The store has {what}, seen since {}. Writes go on where commits wait for standbys; no \
         failover and no change of that until the herd is taken up again: manada recover",
        loss.since.strftime("%Y-%m-%d %H:%M:%SZ")
    )
}

/// What would unblock it, where somebody can do something.
pub fn remedy(obstacle: &Obstacle) -> Option<String> {
    let text = match obstacle {
        Obstacle::ForeignSetting { setting, .. } => match &setting.place {
            SettingPlace::Line { file, line } => format!(
                "take line {line} out of {file}, then, in psql there: SELECT pg_reload_conf()"
            ),
            SettingPlace::CommandLine => {
                "stop that server (pg_ctl stop -m fast): its agent starts it without the option"
                    .to_owned()
            }
        },
        Obstacle::Paused => "manada resume".to_owned(),
        Obstacle::StoreUnreachable => "bring the store back; writes go on without it".to_owned(),
        Obstacle::RecordLost => "manada recover".to_owned(),
        Obstacle::LeaderAnswers { leader } => {
            format!(
                "see what {leader} says (manada why), and start its agent if it does not run; to move \
                 the primary: manada failover"
            )
        }
        Obstacle::NotCovered {
            published,
            missing,
            needed,
            ..
        } => {
            let (whom, which) = match (needed, missing.as_slice()) {
                (None, _) | (_, []) => (published.leader.to_string(), "it is"),
                (Some(_), [only]) => (only.to_string(), "it is"),
                (Some(needed), several) => (format!("{needed} of {}", names(several)), "they are"),
            };
            format!(
                "start {whom}; or, if {which} lost for good, give up the commits that nobody else \
                 has: manada failover --allow-data-loss"
            )
        }
        Obstacle::LossTooLarge { bytes: Some(_), .. } => {
            "bring back a node that has more, or: manada failover --allow-data-loss=BYTES"
                .to_owned()
        }
        Obstacle::LossTooLarge { bytes: None, .. } => {
            "bring back a node that has more, or: manada failover --allow-data-loss=any".to_owned()
        }
        Obstacle::TooFewStandbys { away, .. } if !away.is_empty() => {
            format!(
                "start one of {}, or wait for fewer: manada sync",
                names(away)
            )
        }
        Obstacle::TooFewStandbys { .. } | Obstacle::PolicyUnattainable { .. } => {
            "add a standby (manada join), or wait for fewer: manada sync".to_owned()
        }
        Obstacle::NotTheLeader {
            leader: Some(leader),
        } => format!("run it on {leader}'s host"),
        Obstacle::SuccessorUnfit { unfit, .. } => match unfit {
            Unfit::Leads => return None,
            Unfit::Unknown => "name a member: manada status".to_owned(),
            Unfit::NeverLeads => {
                "name another with --to, or on its host: manada run --priority N".to_owned()
            }
            Unfit::NotStreaming | Unfit::Behind => {
                "name another with --to, or wait until it has caught up: manada status".to_owned()
            }
            Unfit::Nobody => "start a standby, or see what keeps it: manada status".to_owned(),
        },
        Obstacle::RejoinBudgetSpent { .. } => {
            "what failed stands below and in its log; to try again at once: manada resume"
                .to_owned()
        }
        Obstacle::PromotedByHand => "bring the leader back; or, if this node's data is all that \
             is left, have it count again: touch standby.signal in its data directory"
            .to_owned(),
        Obstacle::ServerStarts { .. } => {
            "how far it is stands in its log (\"redo in progress\"): log/postgresql.log in the \
             node's home"
                .to_owned()
        }
        Obstacle::StartFails { trouble, .. } => {
            start::remedy(trouble.as_ref().map(|trouble| trouble.failure))
        }
        Obstacle::ReceivesNothing { leader } => {
            format!(
                "see to the way from this host to {leader}'s PostgreSQL; its server's log says more"
            )
        }
        Obstacle::StoreRefuses { said } => {
            return Some(after_refusal(said.as_deref().unwrap_or_default()).to_owned());
        }
        Obstacle::NoRecord => "manada run on the primary's host".to_owned(),
        Obstacle::AwaitingRecruits { .. } => {
            "if it lasts, see whose agents do not answer: manada status".to_owned()
        }
        Obstacle::NobodyMayLead | Obstacle::NeverLeads => {
            "start a server whose priority is above 0".to_owned()
        }
        Obstacle::NotAMember => {
            "bring it back as a new one (manada join), or retire it: manada stop".to_owned()
        }
        Obstacle::LeaseHolds { .. }
        | Obstacle::AskingLeader { .. }
        | Obstacle::NotMyTurn { .. }
        | Obstacle::AwaitingLeaseEnd { .. }
        | Obstacle::FetchingWal { .. }
        | Obstacle::PromisedHigher { .. }
        | Obstacle::QuorumBehind { .. }
        | Obstacle::NotTheLeader { leader: None }
        | Obstacle::LeaderNotReady { .. }
        | Obstacle::Retrying { .. } => return None,
    };
    Some(text)
}

fn foreign(setting: &ForeignSetting, is_primary: bool) -> String {
    let ForeignSetting { value, place: at } = setting;
    let at = place(at);
    match (is_primary, value.is_empty()) {
        (true, true) => format!(
            "commits wait for no standby, whatever the herd publishes, and a failover can lose \
             them: {at} empties synchronous_standby_names, and wins over manada.conf"
        ),
        (true, false) => format!(
            "commits wait for {value}, whatever the herd publishes: {at} sets \
             synchronous_standby_names, and wins over manada.conf"
        ),
        (false, _) => format!(
            "this node can't be promoted: {at} sets synchronous_standby_names, and wins over \
             manada.conf"
        ),
    }
}

/// Where a setting is made.
pub(crate) fn place(place: &SettingPlace) -> String {
    match place {
        SettingPlace::Line { file, line } => format!("line {line} of {file}"),
        SettingPlace::CommandLine => "an option of the postmaster".to_owned(),
    }
}

/// What to do about a store that has said this. The words are etcd's (`rpctypes/error.go`) and those of
/// TLS.
fn after_refusal(said: &str) -> &'static str {
    let is_about = |words: &[&str]| words.iter().any(|word| said.contains(word));
    if is_about(&["space exceeded", "no space"]) {
        "see etcdctl alarm list; make room with etcdctl compact and etcdctl defrag, then: etcdctl \
         alarm disarm"
    } else if is_about(&["permission denied"]) {
        "give the store's user the right to read and write the herd's keys: etcdctl role \
         grant-permission"
    } else if is_about(&[
        "authentication failed",
        "user name is empty",
        "invalid auth",
    ]) {
        "see to the user and the password that manada run was given; a password file that has changed \
         is read by itself"
    } else if is_about(&["certificate"]) {
        "see to the certificates that manada run was given: --store-ca is the authority of the store's"
    } else {
        "see what the store's own log says"
    }
}

fn standbys(count: u32) -> String {
    match count {
        1 => "1 standby".to_owned(),
        _ => format!("{count} standbys"),
    }
}

fn stream(count: usize) -> String {
    match count {
        0 => "none streams".to_owned(),
        1 => "1 streams".to_owned(),
        _ => format!("{count} stream"),
    }
}

fn unfitness(successor: Option<&NodeName>, unfit: Unfit) -> String {
    let who = successor.map_or("nobody", NodeName::as_str);
    match unfit {
        Unfit::Unknown => format!("{who} is no member of the herd"),
        Unfit::Leads => format!("{who} leads already"),
        Unfit::NeverLeads => format!("{who} never leads: its priority is 0, or it is a witness"),
        Unfit::NotStreaming => format!("{who} does not stream"),
        Unfit::Behind => format!("{who} is too far behind for a handover"),
        Unfit::Nobody => "no standby streams that could take over".to_owned(),
    }
}

pub(super) fn rung_name(rung: Rung) -> &'static str {
    match rung {
        Rung::Rewind => "pg_rewind",
        Rung::Clone => "a new clone",
    }
}

/// Names in a sentence.
pub fn names(names: &[NodeName]) -> String {
    if names.is_empty() {
        return "none".to_owned();
    }
    let texts: Vec<&str> = names.iter().map(NodeName::as_str).collect();
    texts.join(", ")
}
