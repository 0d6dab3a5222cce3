//! What is wrong in a herd, as sentences.

use manada_model::Problem;
use manada_model::wording::{duration, shown, size};

use crate::sentences::level_name;

/// A problem, as sentences.
pub(crate) fn problem(problem: &Problem) -> String {
    match problem {
        Problem::NoPrimary => {
            "No primary answered: none of the servers that did takes writes.".to_owned()
        }
        Problem::SeveralPrimaries { nodes } => format!(
            "{} servers take writes: {}. Their data go different ways; stop all but one.",
            nodes.len(),
            list(nodes)
        ),
        Problem::OtherCluster {
            node,
            system_identifier,
        } => format!(
            "{} belongs to another cluster (system identifier {system_identifier}).",
            shown(node)
        ),
        Problem::MixedVersions { node, major } => format!(
            "{} is PostgreSQL {major}, another major version: it can't follow.",
            shown(node)
        ),
        Problem::OtherTimeline {
            node,
            timeline,
            primary_timeline,
        } => format!(
            "{} is on timeline {timeline}, the primary on {primary_timeline}.",
            shown(node)
        ),
        Problem::NotReceiving { node } => format!("{} receives nothing.", shown(node)),
        Problem::ReplayPaused { node } => format!(
            "Replay is paused on {}: SELECT pg_wal_replay_resume() there resumes it.",
            shown(node)
        ),
        Problem::LimitsTooLow {
            node,
            primary,
            limits,
        } => {
            let low: Vec<String> = (limits.iter())
                .map(|limit| format!("{} is {} there", limit.name, limit.standby))
                .collect();
            let set: Vec<String> = (limits.iter())
                .map(|limit| format!("{} = {}", limit.name, limit.primary))
                .collect();
            format!(
                "{} has lower limits than {}: {}. It replays nothing from where the WAL asks for \
                 more, and pg_wal_replay_resume() shuts it down: set {} on {} and restart it.",
                shown(node),
                shown(primary),
                low.join(", "),
                set.join(", "),
                shown(node)
            )
        }
        Problem::PolicyUnsatisfied {
            needed,
            streaming,
            missing,
        } => {
            let missing = if missing.is_empty() {
                String::new()
            } else {
                format!(" ({} missing)", list(missing))
            };
            format!(
                "Commits wait for {needed} and {} streaming{missing}: writes hang until more \
                 are back, or manada sync asks for fewer.",
                match streaming.len() {
                    0 => "none is".to_owned(),
                    1 => "1 is".to_owned(),
                    count => format!("{count} are"),
                }
            )
        }
        Problem::PolicyBypassed { synchronous_commit } => format!(
            "synchronous_commit = {} passes the policy by: commits wait for no standby.",
            level_name(*synchronous_commit)
        ),
        Problem::CommitsWaiting { count, longest } => format!(
            "{count} {} for a standby, the longest for {}.",
            if *count == 1 {
                "commit waits"
            } else {
                "commits wait"
            },
            duration(*longest)
        ),
        Problem::SlotLosesWal { node, slot, lost } => {
            let what = if *lost {
                "has lost WAL: what used it must be cloned anew"
            } else {
                "loses its WAL at the next checkpoint"
            };
            format!("Slot {slot} on {} {what}.", shown(node))
        }
        Problem::SlotUnused {
            node,
            slot,
            retained_bytes,
        } => format!(
            "Slot {slot} on {} is unused and holds {} of WAL.",
            shown(node),
            size(*retained_bytes)
        ),
        Problem::ArchivingFails { node, wal } => {
            format!(
                "Archiving fails on {}, last with {}.",
                shown(node),
                shown(wal)
            )
        }
    }
}

fn list(names: &[String]) -> String {
    let names: Vec<String> = names.iter().map(|name| shown(name)).collect();
    names.join(", ")
}
