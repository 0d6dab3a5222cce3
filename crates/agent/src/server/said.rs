//! What the server says about itself in one answer.

use std::collections::BTreeMap;

use manada_core::position::{Epoch, RuleId};
use manada_core::server::Follower;
use manada_model::{Lsn, NodeName};
use serde::Deserialize;

/// The startup process has failed to find WAL everywhere, and waits before it looks again
/// (`WaitForWALToBecomeAvailable` in `xlogrecovery.c`, the same from 15 to 18).
const NOTHING_TO_REPLAY: &str = "RecoveryRetrieveRetryInterval";

/// One answer.
#[derive(Debug, Deserialize)]
pub(super) struct Said {
    pub(super) primary: Option<SaidPrimary>,
    pub(super) standby: Option<SaidStandby>,
    /// The highest rule that the session sees.
    #[serde(deserialize_with = "rule_or_none")]
    pub(super) rule: RuleId,
    pub(super) has_rules: bool,
    /// The number of the last change of settings that the session has read.
    pub(super) change: String,
    /// When the session has read its settings.
    pub(super) settings_read_at: String,
    /// The postmaster has told all its processes of that change.
    #[serde(skip)]
    pub(super) change_is_proven: bool,
}

/// A primary's.
#[derive(Debug, Deserialize)]
pub(super) struct SaidPrimary {
    pub(super) flush_lsn: Lsn,
    pub(super) names: String,
    followers: Vec<SaidFollower>,
}

#[derive(Debug, Deserialize)]
struct SaidFollower {
    name: String,
    streaming: bool,
    flush_lsn: Option<Lsn>,
    reply_time: Option<String>,
}

/// A standby's.
#[derive(Debug, Deserialize)]
pub(super) struct SaidStandby {
    pub(super) receive_lsn: Option<Lsn>,
    pub(super) replay_lsn: Option<Lsn>,
    pub(super) conninfo: String,
    restore_command: String,
    /// Of a walreceiver that is connected.
    pub(super) receiver_status: Option<String>,
    /// Whether there is a walreceiver at all, one that still connects included.
    receiver_runs: bool,
    startup_waits_for: Option<String>,
}

impl Said {
    /// Whether rules can be asked for.
    pub(super) const HAS_RULES: &str = "SELECT to_regclass('manada.rule') IS NOT NULL";

    /// The question. A table that is not there can't be asked for, not even in a branch.
    pub(super) fn query(sees_rules: bool) -> String {
        let rule = if sees_rules {
            "(SELECT json_build_object('epoch', epoch, 'sub', sub) FROM manada.rule \
             ORDER BY epoch DESC, sub DESC LIMIT 1)"
        } else {
            "NULL::json"
        };
        format!(
            "SELECT json_build_object('rule', {rule}, \
             'has_rules', to_regclass('manada.rule') IS NOT NULL, \
             'change', coalesce(current_setting('manada.change', true), ''), \
             'settings_read_at', pg_conf_load_time()::text, \
             'standby', CASE WHEN in_recovery THEN ({STANDBY}) END, \
             'primary', CASE WHEN NOT in_recovery THEN ({PRIMARY}) END) \
             FROM (SELECT pg_is_in_recovery() AS in_recovery OFFSET 0) AS state"
        )
    }
}

const STANDBY: &str = "SELECT json_build_object('receive_lsn', pg_last_wal_receive_lsn(), \
     'replay_lsn', pg_last_wal_replay_lsn(), \
     'conninfo', current_setting('primary_conninfo'), \
     'restore_command', current_setting('restore_command'), \
     'receiver_status', (SELECT status FROM pg_stat_get_wal_receiver()), \
     'receiver_runs', coalesce(bool_or(backend_type = 'walreceiver'), false), \
     'startup_waits_for', max(wait_event) FILTER (WHERE backend_type = 'startup')) \
     FROM pg_stat_activity WHERE backend_type IN ('walreceiver', 'startup')";

const PRIMARY: &str = "SELECT json_build_object('flush_lsn', pg_current_wal_flush_lsn(), \
     'names', current_setting('synchronous_standby_names'), \
     'followers', coalesce((SELECT json_agg(json_build_object('name', application_name, \
     'streaming', state = 'streaming', 'flush_lsn', flush_lsn, 'reply_time', reply_time)) \
     FROM pg_stat_replication), '[]'))";

impl SaidStandby {
    /// Whether nothing more will be received under the settings that this answer shows, once they
    /// are known to have reached all processes.
    ///
    /// The startup process requests walreceivers. While it is in this wait there is none: it ends
    /// the walreceiver before it leaves the state in which it streams. After the wait it obeys a
    /// signal to read its settings before it does anything else (`HandleStartupProcInterrupts`),
    /// and with these settings it requests no other.
    pub(super) fn receives_no_more(&self) -> bool {
        self.conninfo.is_empty()
            && self.restore_command.is_empty()
            && !self.receiver_runs
            && self.startup_waits_for.as_deref() == Some(NOTHING_TO_REPLAY)
    }

    /// Whether a walreceiver runs.
    pub(super) fn receives(&self) -> bool {
        self.receiver_runs
    }
}

impl SaidPrimary {
    /// The nodes of the herd that receive. `replies` holds the times of their last replies, and is
    /// brought up to date.
    pub(super) fn followers(&self, replies: &mut BTreeMap<NodeName, String>) -> Vec<Follower> {
        let mut followers: BTreeMap<NodeName, Follower> = BTreeMap::new();
        let mut seen = BTreeMap::new();
        for said in &self.followers {
            // A clone's receiver and strangers bear other names.
            let Ok(name) = said.name.parse::<NodeName>() else {
                continue;
            };
            let time = said.reply_time.clone().unwrap_or_default();
            let follower = Follower {
                replied: said.reply_time.is_some() && replies.get(&name) != Some(&time),
                name: name.clone(),
                streaming: said.streaming,
                flush_lsn: said.flush_lsn.unwrap_or_default(),
            };
            // A connection that broke unseen is listed beside the one that took its place.
            let better = |present: &Follower| {
                (present.streaming, present.flush_lsn) < (follower.streaming, follower.flush_lsn)
            };
            if followers.get(&name).is_none_or(better) {
                seen.insert(name.clone(), time);
                followers.insert(name, follower);
            }
        }
        *replies = seen;
        followers.into_values().collect()
    }
}

#[derive(Deserialize)]
struct SaidRule {
    epoch: u64,
    sub: u32,
}

fn rule_or_none<'de, D: serde::Deserializer<'de>>(from: D) -> Result<RuleId, D::Error> {
    Ok(
        Option::<SaidRule>::deserialize(from)?.map_or(RuleId::default(), |rule| RuleId {
            epoch: Epoch(rule.epoch),
            sub: rule.sub,
        }),
    )
}
