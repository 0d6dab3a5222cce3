//! What is left of a synchronous policy when a standby leaves.

use std::num::NonZeroU32;

use manada_model::{StandbyName, SyncPolicy, SyncRule};
use serde::{Deserialize, Serialize};

/// What the removal of a standby does to the policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PolicyChange {
    /// It does not name the standby.
    None,
    /// It goes on without it.
    Reduced {
        /// `synchronous_standby_names` before.
        from: String,
        /// And after.
        to: String,
    },
    /// It named nobody else: commits wait for no standby any more.
    Off {
        /// `synchronous_standby_names` before.
        from: String,
    },
}

impl PolicyChange {
    /// The value to write; `None` where nothing is to be written.
    pub(super) fn value(&self) -> Option<&str> {
        match self {
            PolicyChange::None => None,
            PolicyChange::Reduced { to, .. } => Some(to),
            PolicyChange::Off { .. } => Some(""),
        }
    }
}

/// Without the standby, every commit would wait for one that is not there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WouldHang {
    /// How many a commit would wait for.
    pub count: u32,
    /// The names that would be left in the policy.
    pub names: Vec<String>,
}

/// The policy without `leaving`. `streaming` are the standbys that stream now.
pub(super) fn without(
    policy: &SyncPolicy,
    leaving: &str,
    streaming: &[String],
) -> Result<PolicyChange, WouldHang> {
    let Some(rule) = policy.rule() else {
        return Ok(PolicyChange::None);
    };
    let counts = |names: &[StandbyName]| {
        let others = streaming.iter().filter(|name| *name != leaving);
        others
            .filter(|name| names.iter().any(|entry| entry.matches(name)))
            .count()
    };
    let from = policy.to_string();
    let names: Vec<StandbyName> = rule
        .names
        .iter()
        .filter(|name| name.is_wildcard() || !name.matches(leaving))
        .cloned()
        .collect();
    let others_streaming = counts(&names);
    let is_served_by_it = streaming.iter().any(|name| name == leaving)
        && rule.names.iter().any(|name| name.matches(leaving));

    // `*` names everybody who comes: how many there can be is how many stream.
    let most = if rule.has_wildcard() {
        others_streaming
    } else {
        names.len()
    };
    let wanted = usize::try_from(rule.count.get()).unwrap_or(usize::MAX);
    let count = u32::try_from(wanted.min(most)).unwrap_or(u32::MAX);
    let Some(count) = NonZeroU32::new(count) else {
        return Ok(if is_served_by_it || !rule.has_wildcard() {
            PolicyChange::Off { from }
        } else {
            PolicyChange::None
        });
    };
    let is_unchanged = names == rule.names && count == rule.count;
    if is_unchanged && !is_served_by_it {
        return Ok(PolicyChange::None);
    }
    let enough = |others: usize| others >= usize::try_from(count.get()).unwrap_or(usize::MAX);
    let was_enough = others_streaming + usize::from(is_served_by_it) >= wanted;
    if was_enough && !enough(others_streaming) {
        return Err(WouldHang {
            count: count.get(),
            names: names.iter().map(|name| name.as_str().to_owned()).collect(),
        });
    }
    let to = SyncPolicy::Wait(SyncRule {
        method: rule.method,
        count,
        names,
    })
    .to_string();
    Ok(if to == from {
        PolicyChange::None
    } else {
        PolicyChange::Reduced { from, to }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn case(policy: &str, leaving: &str, streaming: &[&str]) -> Result<String, WouldHang> {
        let policy: SyncPolicy = policy.parse().expect("a policy");
        let streaming: Vec<String> = streaming.iter().map(|name| (*name).to_owned()).collect();
        without(&policy, leaving, &streaming).map(|change| match change {
            PolicyChange::None => "none".to_owned(),
            PolicyChange::Reduced { to, .. } => to,
            PolicyChange::Off { .. } => "off".to_owned(),
        })
    }

    #[test]
    fn the_name_goes_and_the_count_with_it() {
        for (policy, leaving, streaming, left) in [
            ("", "n2", &["n2"][..], "none"),
            ("FIRST 1 (n3)", "n2", &["n2", "n3"], "none"),
            ("FIRST 1 (n2, n3)", "n2", &["n2", "n3"], "FIRST 1 (n3)"),
            ("ANY 2 (n2, n3)", "n2", &["n2", "n3"], "ANY 1 (n3)"),
            ("ANY 2 (n2, n3, n4)", "n2", &["n3", "n4"], "ANY 2 (n3, n4)"),
            ("FIRST 1 (n2)", "n2", &["n2"], "off"),
            // It is dead, and so is the herd's write path: this is the way out.
            ("FIRST 1 (n2)", "n2", &[], "off"),
            ("ANY 1 (*)", "n2", &["n2"], "off"),
            ("ANY 2 (*)", "n2", &["n2", "n3"], "ANY 1 (*)"),
            ("ANY 1 (*)", "n2", &["n2", "n3"], "none"),
            // It hangs already for another's sake: removing a dead one makes nothing worse.
            ("FIRST 1 (n2, n3)", "n2", &[], "FIRST 1 (n3)"),
        ] {
            assert_eq!(
                case(policy, leaving, streaming).as_deref(),
                Ok(left),
                "{policy}"
            );
        }
    }

    #[test]
    fn a_removal_that_would_make_writes_hang_is_refused() {
        assert_eq!(
            case("FIRST 1 (n2, n3)", "n2", &["n2"]),
            Err(WouldHang {
                count: 1,
                names: vec!["n3".to_owned()]
            })
        );
        assert!(case("ANY 2 (n2, n3, n4)", "n2", &["n2", "n3"]).is_err());
    }

    proptest! {
        #[test]
        fn writes_that_went_on_still_do(
            any: bool, count in 1_u32..4, named in 1_usize..5, up in 0_u8..32, leaving in 0_usize..5,
        ) {
            let all = ["a", "b", "c", "d", "e"];
            let method = if any { "ANY" } else { "FIRST" };
            let policy = format!("{method} {count} ({})", all[..named].join(", "));
            let streaming: Vec<&str> =
                (0..5).filter(|bit| up & (1 << bit) != 0).map(|bit| all[bit]).collect();
            let serving = |names: &[&str], without: &str| streaming
                .iter()
                .filter(|name| names.contains(name) && **name != without)
                .count();
            let went_on = serving(&all[..named], "") >= count as usize;
            if let Ok(left) = case(&policy, all[leaving], &streaming) {
                let left = if left == "none" { policy } else { left };
                let rule: SyncPolicy = if left == "off" { "".parse() } else { left.parse() }
                    .expect("a policy");
                if let (true, Some(rule)) = (went_on, rule.rule()) {
                    let names: Vec<&str> = rule.names.iter().map(StandbyName::as_str).collect();
                    prop_assert!(serving(&names, all[leaving]) >= rule.count.get() as usize);
                }
            }
        }
    }
}
