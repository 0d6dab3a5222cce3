//! What commits wait for and what would be lost, each in a sentence.

use manada_model::wording;
use manada_model::{
    HerdStatus, Loss, PolicyState, StandbyName, SyncMethod, SyncPolicy, SyncRule,
    SynchronousCommit, UnknownLoss,
};

/// What commits on the primary wait for.
pub(crate) fn policy(state: &PolicyState) -> String {
    let level = state.synchronous_commit;
    let rule = match &state.policy {
        Some(SyncPolicy::Off) => return "Commits wait for no standby.".to_owned(),
        Some(SyncPolicy::Wait(rule)) => rule,
        None => {
            let names = wording::shown(&state.standby_names);
            return format!("Commits wait as synchronous_standby_names says: {names}.");
        }
    };
    let done = match level {
        SynchronousCommit::Off | SynchronousCommit::Local => {
            let level = level_name(level);
            return format!(
                "Commits wait for no standby: synchronous_commit = {level} passes by {rule}."
            );
        }
        SynchronousCommit::RemoteWrite => "written them, not yet to disk",
        SynchronousCommit::On => "flushed them to disk",
        SynchronousCommit::RemoteApply => "replayed them, so that they can be read there",
    };
    format!("Commits wait until {} {done}.", who(rule))
}

/// The standbys of a rule, as the subject of a sentence with its "has" or "have".
fn who(rule: &SyncRule) -> String {
    let count = rule.count.get();
    let name = |name: &StandbyName| wording::shown(name.as_str());
    if rule.has_wildcard() {
        return match count {
            1 => "any one standby has".to_owned(),
            _ => format!("any {count} standbys have"),
        };
    }
    let names: Vec<String> = rule.names.iter().map(name).collect();
    let list = names.join(", ");
    let all = usize::try_from(count).is_ok_and(|count| count >= names.len());
    match (rule.method, count) {
        _ if all && names.len() == 1 => format!("{list} has"),
        _ if all => format!("all of {list} have"),
        (SyncMethod::First, 1) => format!("the first of {list} that streams has"),
        (SyncMethod::First, _) => format!("the first {count} of {list} that stream have"),
        (SyncMethod::Any, 1) => format!("any one of {list} has"),
        (SyncMethod::Any, _) => format!("any {count} of {list} have"),
    }
}

/// What would be lost if the primary died at this moment.
pub(crate) fn loss(status: &HerdStatus) -> String {
    let primary = status.primary().map_or("the primary", |node| &node.name);
    let primary = wording::shown(primary);
    match &status.loss {
        Loss::NothingAcknowledged { best, level } => {
            let best = wording::shown(best);
            let unless = match level {
                SynchronousCommit::RemoteWrite => format!(", unless {best}'s machine fails too"),
                SynchronousCommit::Off
                | SynchronousCommit::Local
                | SynchronousCommit::On
                | SynchronousCommit::RemoteApply => String::new(),
            };
            format!(
                "If {primary} died now, no acknowledged commit would be lost: {best} has them \
                 all{unless}."
            )
        }
        Loss::NothingThisMoment { best } => format!(
            "If {primary} died now, nothing would be lost: {} has all its WAL. \
             The next commit has no such promise.",
            wording::shown(best)
        ),
        Loss::UpTo {
            best,
            bytes,
            since_last_replayed_commit,
        } => {
            let lost = wording::size(*bytes);
            let best = wording::shown(best);
            let age = since_last_replayed_commit
                .map(|age| format!(", none of it older than {}", wording::duration(age)))
                .unwrap_or_default();
            format!("If {primary} died now, {lost} of WAL that {best} lacks would be lost{age}.")
        }
        Loss::Everything => {
            format!("If {primary} died now, everything would be lost: no standby has the data.")
        }
        Loss::Unknown { reason } => format!(
            "What would be lost if {primary} died now can't be told: {}.",
            match reason {
                UnknownLoss::NothingAnswered => "no server answered",
                UnknownLoss::NoPrimary => "no server that answered takes writes",
                UnknownLoss::SeveralPrimaries => "more than one server takes writes",
                UnknownLoss::Hidden => "the role that asked may not see it; grant it pg_monitor",
                UnknownLoss::NoStandbyHeardOf => "nothing is known of its standbys",
            }
        ),
    }
}

/// `synchronous_commit` as it is written.
pub(crate) fn level_name(level: SynchronousCommit) -> &'static str {
    match level {
        SynchronousCommit::Off => "off",
        SynchronousCommit::Local => "local",
        SynchronousCommit::RemoteWrite => "remote_write",
        SynchronousCommit::On => "on",
        SynchronousCommit::RemoteApply => "remote_apply",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use manada_model::Visible;

    fn said(names: &str, synchronous_commit: SynchronousCommit) -> String {
        policy(&PolicyState {
            standby_names: names.to_owned(),
            policy: names.parse().ok(),
            synchronous_commit,
            streaming: Visible::Hidden,
            missing: Visible::Hidden,
        })
    }

    #[test]
    fn every_form_of_a_policy_is_a_sentence() {
        let sentences = [
            "",
            "beto",
            "FIRST 1 (beto, carla)",
            "FIRST 2 (beto, carla, dora)",
            "ANY 1 (beto, carla)",
            "ANY 2 (beto, carla)",
            "*",
            "ANY 2 (*)",
            "ANY beto",
        ]
        .map(|names| said(names, SynchronousCommit::On));
        insta::assert_snapshot!(sentences.join("\n"), @r#"
        Commits wait for no standby.
        Commits wait until beto has flushed them to disk.
        Commits wait until the first of beto, carla that streams has flushed them to disk.
        Commits wait until the first 2 of beto, carla, dora that stream have flushed them to disk.
        Commits wait until any one of beto, carla has flushed them to disk.
        Commits wait until all of beto, carla have flushed them to disk.
        Commits wait until any one standby has flushed them to disk.
        Commits wait until any 2 standbys have flushed them to disk.
        Commits wait as synchronous_standby_names says: ANY beto.
        "#);
    }

    #[test]
    fn a_policy_that_is_passed_by_is_called_so() {
        assert_eq!(
            said("ANY 1 (beto, carla)", SynchronousCommit::Local),
            "Commits wait for no standby: synchronous_commit = local passes by ANY 1 (beto, carla)."
        );
    }
}
