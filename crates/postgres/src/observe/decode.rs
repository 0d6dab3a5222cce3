//! The JSON of `status.sql`, and what it says in the herd's vocabulary.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use jiff::Timestamp;
use manada_model::{
    ArchiveMode, Archiver, Lsn, Member, PolicySetting, PrimaryStatus, Recovery, Replay, Rights,
    SenderAddress, ServerStatus, ServerVersion, Slot, SlotKind, SlotWal, StandbyStatus, SyncState,
    SynchronousCommit, SynchronousCommitOverride, SystemIdentifier, TimelineId, Visible,
    WaitingCommits, Walreceiver, Walsender, WalsenderProgress, WalsenderState,
};
use serde::Deserialize;

use crate::conninfo::{DEFAULT_PORT, keyword_value};

/// What a walreceiver calls itself where neither `application_name` nor `cluster_name` is set.
const NAMELESS_WALRECEIVER: &str = "walreceiver";

#[derive(Deserialize)]
pub(super) struct RawStatus {
    server_time: Timestamp,
    started_at: Timestamp,
    version: ServerVersion,
    system_identifier: String,
    cluster_name: String,
    address: Option<IpAddr>,
    port: u16,
    rights: RawRights,
    primary: Option<RawPrimary>,
    standby: Option<RawStandby>,
    walsenders: Vec<RawWalsender>,
    slots: Vec<RawSlot>,
    standby_names: String,
    synchronous_commit: String,
    overrides: Vec<RawOverride>,
    recovery_limits: BTreeMap<String, u32>,
    archive_mode: String,
    has_archive_command: bool,
    archiver: RawArchiver,
    pub(super) has_members: bool,
}

#[derive(Deserialize)]
struct RawRights {
    statistics: bool,
    superuser: bool,
}

#[derive(Deserialize)]
struct RawPrimary {
    wal_file: String,
    write_lsn: Lsn,
    flush_lsn: Lsn,
    waiting: RawWaiting,
}

#[derive(Deserialize)]
struct RawWaiting {
    count: u32,
    longest_us: Option<i64>,
}

#[derive(Deserialize)]
struct RawStandby {
    checkpoint_timeline: u32,
    recovery_timeline: u32,
    receive_lsn: Option<Lsn>,
    replay_lsn: Option<Lsn>,
    last_replayed_commit_at: Option<Timestamp>,
    replay: String,
    apply_delay_ms: u64,
    /// Without its password; null where the role may not see it.
    primary_conninfo: Option<String>,
    walreceiver: Option<RawWalreceiver>,
}

#[derive(Deserialize)]
struct RawWalreceiver {
    status: Option<String>,
    sender_host: Option<String>,
    sender_port: Option<u16>,
    slot_name: Option<String>,
    written_lsn: Option<Lsn>,
    flushed_lsn: Option<Lsn>,
    received_tli: Option<u32>,
    last_msg_receipt_time: Option<Timestamp>,
    conninfo: Option<String>,
}

#[derive(Deserialize)]
struct RawWalsender {
    pid: i32,
    application_name: Option<String>,
    slot_name: Option<String>,
    client_addr: Option<IpAddr>,
    backend_start: Option<Timestamp>,
    state: Option<String>,
    sent_lsn: Option<Lsn>,
    write_lsn: Option<Lsn>,
    flush_lsn: Option<Lsn>,
    replay_lsn: Option<Lsn>,
    write_lag_us: Option<i64>,
    flush_lag_us: Option<i64>,
    replay_lag_us: Option<i64>,
    sync_priority: Option<u32>,
    sync_state: Option<String>,
    reply_time: Option<Timestamp>,
}

#[derive(Deserialize)]
struct RawSlot {
    slot_name: String,
    slot_type: String,
    temporary: bool,
    active_pid: Option<i32>,
    restart_lsn: Option<Lsn>,
    wal_status: Option<String>,
    safe_wal_size: Option<i64>,
    /// 17 and newer.
    inactive_since: Option<Timestamp>,
    /// 17 and newer.
    invalidation_reason: Option<String>,
}

#[derive(Deserialize)]
struct RawOverride {
    role: Option<String>,
    database: Option<String>,
    value: String,
}

#[derive(Deserialize)]
struct RawArchiver {
    archived_count: u64,
    last_archived_wal: Option<String>,
    last_archived_time: Option<Timestamp>,
    failed_count: u64,
    last_failed_wal: Option<String>,
    last_failed_time: Option<Timestamp>,
}

#[derive(Deserialize)]
pub(super) struct RawMember {
    name: String,
    host: String,
    port: u16,
}

impl From<RawMember> for Member {
    fn from(raw: RawMember) -> Member {
        Member {
            name: raw.name,
            host: raw.host,
            port: raw.port,
        }
    }
}

impl RawStatus {
    /// The status it means; the error names a value PostgreSQL 15 to 18 don't have.
    pub(super) fn decode(
        self,
        answered_at: Timestamp,
        round_trip: Duration,
        members: Vec<Member>,
    ) -> Result<ServerStatus, String> {
        let statistics = self.rights.statistics;
        let recovery = match (self.primary, self.standby) {
            (Some(primary), _) => Recovery::Primary(primary.decode(statistics)?),
            (None, Some(standby)) => {
                Recovery::Standby(Box::new(standby.decode(statistics, &self.cluster_name)?))
            }
            (None, None) => return Err("neither primary nor standby".to_owned()),
        };
        let position = match &recovery {
            Recovery::Primary(primary) => Some(primary.write_lsn),
            Recovery::Standby(standby) => standby.receive_lsn.max(standby.replay_lsn),
        };
        let walsenders = self.walsenders.into_iter();
        let slots = self.slots.into_iter();
        Ok(ServerStatus {
            answered_at,
            round_trip,
            server_time: self.server_time,
            started_at: self.started_at,
            version: self.version,
            system_identifier: self.system_identifier.parse::<SystemIdentifier>().map_err(
                |error| format!("system identifier {:?}: {error}", self.system_identifier),
            )?,
            cluster_name: self.cluster_name,
            address: self.address,
            port: self.port,
            rights: Rights {
                statistics,
                superuser: self.rights.superuser,
            },
            recovery,
            walsenders: walsenders
                .map(|raw| raw.decode(statistics))
                .collect::<Result<_, _>>()?,
            slots: slots
                .map(|raw| raw.decode(position))
                .collect::<Result<_, _>>()?,
            policy: PolicySetting {
                policy: self.standby_names.parse().ok(),
                standby_names: self.standby_names,
                synchronous_commit: synchronous_commit(&self.synchronous_commit)?,
                overrides: self
                    .overrides
                    .into_iter()
                    .map(RawOverride::decode)
                    .collect::<Result<_, _>>()?,
            },
            recovery_limits: self.recovery_limits,
            archiver: Archiver {
                mode: archive_mode(&self.archive_mode)?,
                has_command: self.has_archive_command,
                archived_count: self.archiver.archived_count,
                last_archived_wal: self.archiver.last_archived_wal,
                last_archived_at: self.archiver.last_archived_time,
                failed_count: self.archiver.failed_count,
                last_failed_wal: self.archiver.last_failed_wal,
                last_failed_at: self.archiver.last_failed_time,
            },
            members,
        })
    }
}

impl RawPrimary {
    fn decode(self, statistics: bool) -> Result<PrimaryStatus, String> {
        // The first 8 digits of a segment's name are its timeline.
        let timeline = self
            .wal_file
            .get(..8)
            .and_then(|digits| u32::from_str_radix(digits, 16).ok())
            .ok_or_else(|| format!("WAL file {:?}", self.wal_file))?;
        let waiting = WaitingCommits {
            count: self.waiting.count,
            longest: self.waiting.longest_us.map(micros),
        };
        Ok(PrimaryStatus {
            timeline: TimelineId(timeline),
            write_lsn: self.write_lsn,
            flush_lsn: self.flush_lsn,
            waiting_commits: if statistics {
                Visible::Shown(waiting)
            } else {
                Visible::Hidden
            },
        })
    }
}

impl RawStandby {
    fn decode(self, statistics: bool, cluster_name: &str) -> Result<StandbyStatus, String> {
        let received = self.walreceiver.as_ref().and_then(|raw| raw.received_tli);
        let timeline = received
            .unwrap_or(0)
            .max(self.recovery_timeline)
            .max(self.checkpoint_timeline);
        let in_use = self.walreceiver.as_ref();
        let in_use = in_use.and_then(|raw| raw.conninfo.as_ref());
        let application_name = match in_use.or(self.primary_conninfo.as_ref()) {
            Some(conninfo) => Visible::Shown(walreceiver_name(conninfo, cluster_name)),
            None => Visible::Hidden,
        };
        Ok(StandbyStatus {
            timeline: (timeline > 0).then_some(TimelineId(timeline)),
            receive_lsn: self.receive_lsn,
            replay_lsn: self.replay_lsn,
            last_replayed_commit_at: self.last_replayed_commit_at,
            replay: replay(&self.replay)?,
            apply_delay: Duration::from_millis(self.apply_delay_ms),
            // A role without rights is shown that there is a walreceiver, and no more of it.
            walreceiver: match self.walreceiver {
                None => Visible::Shown(None),
                Some(raw) if statistics => Visible::Shown(Some(raw.decode())),
                Some(_) => Visible::Hidden,
            },
            application_name,
            configured_upstreams: match &self.primary_conninfo {
                Some(conninfo) => Visible::Shown(senders(conninfo)),
                None => Visible::Hidden,
            },
        })
    }
}

impl RawWalreceiver {
    fn decode(self) -> Walreceiver {
        Walreceiver {
            state: self.status.unwrap_or_default(),
            sender: self
                .sender_host
                .zip(self.sender_port)
                .map(|(host, port)| SenderAddress { host, port }),
            slot_name: self.slot_name.filter(|name| !name.is_empty()),
            written_lsn: self.written_lsn,
            flushed_lsn: self.flushed_lsn,
            last_message_at: self.last_msg_receipt_time,
        }
    }
}

impl RawWalsender {
    fn decode(self, statistics: bool) -> Result<Walsender, String> {
        let progress = match (self.state, statistics) {
            (Some(state), true) => Visible::Shown(WalsenderProgress {
                client_addr: self.client_addr,
                connected_at: self.backend_start,
                state: walsender_state(&state)?,
                sent_lsn: valid(self.sent_lsn),
                write_lsn: valid(self.write_lsn),
                flush_lsn: valid(self.flush_lsn),
                replay_lsn: valid(self.replay_lsn),
                write_lag: self.write_lag_us.map(micros),
                flush_lag: self.flush_lag_us.map(micros),
                replay_lag: self.replay_lag_us.map(micros),
                sync_state: sync_state(self.sync_state.as_deref().unwrap_or("async"))?,
                sync_priority: self.sync_priority.unwrap_or(0),
                replied_at: self.reply_time,
            }),
            (Some(_) | None, _) => Visible::Hidden,
        };
        Ok(Walsender {
            pid: self.pid,
            application_name: self.application_name.unwrap_or_default(),
            slot_name: self.slot_name.and_then(|name| name.parse().ok()),
            progress,
        })
    }
}

impl RawSlot {
    fn decode(self, position: Option<Lsn>) -> Result<Slot, String> {
        let retained = position.zip(self.restart_lsn);
        Ok(Slot {
            name: self.slot_name.parse().map_err(|error| format!("{error}"))?,
            kind: match self.slot_type.as_str() {
                "physical" => SlotKind::Physical,
                "logical" => SlotKind::Logical,
                other => return Err(format!("slot_type {other:?}")),
            },
            temporary: self.temporary,
            active_pid: self.active_pid,
            restart_lsn: self.restart_lsn,
            retained_bytes: retained.map(|(position, restart)| position.bytes_since(restart)),
            wal_status: self.wal_status.as_deref().map(slot_wal).transpose()?,
            safe_wal_size_bytes: self.safe_wal_size,
            inactive_since: self.inactive_since,
            invalidation: self.invalidation_reason,
        })
    }
}

impl RawOverride {
    fn decode(self) -> Result<SynchronousCommitOverride, String> {
        Ok(SynchronousCommitOverride {
            role: self.role,
            database: self.database,
            value: synchronous_commit(&self.value)?,
        })
    }
}

fn walreceiver_name(conninfo: &str, cluster_name: &str) -> String {
    let fallback = if cluster_name.is_empty() {
        NAMELESS_WALRECEIVER
    } else {
        cluster_name
    };
    keyword_value(conninfo, "application_name").unwrap_or_else(|| fallback.to_owned())
}

/// The servers a `primary_conninfo` names: as in libpq, one port serves all hosts.
fn senders(conninfo: &str) -> Vec<SenderAddress> {
    let value = |keyword| keyword_value(conninfo, keyword).filter(|value| !value.is_empty());
    let Some(hosts) = value("hostaddr").or_else(|| value("host")) else {
        return Vec::new();
    };
    let ports = value("port").unwrap_or_default();
    let ports: Vec<&str> = ports.split(',').collect();
    let port_of = |index: usize| {
        let text = ports.get(index).or(ports.first());
        text.and_then(|text| text.parse().ok())
            .unwrap_or(DEFAULT_PORT)
    };
    let hosts = hosts.split(',').enumerate();
    hosts
        .map(|(index, host)| SenderAddress {
            host: host.to_owned(),
            port: port_of(index),
        })
        .collect()
}

/// A position, unless it is PostgreSQL's "none": a receiver that applies nothing reports 0/0.
fn valid(lsn: Option<Lsn>) -> Option<Lsn> {
    lsn.filter(|lsn| lsn.is_valid())
}

fn micros(micros: i64) -> Duration {
    Duration::from_micros(u64::try_from(micros).unwrap_or(0))
}

fn replay(text: &str) -> Result<Replay, String> {
    match text {
        "not paused" => Ok(Replay::Running),
        "pause requested" => Ok(Replay::PauseRequested),
        "paused" => Ok(Replay::Paused),
        other => Err(format!("replay pause state {other:?}")),
    }
}

fn walsender_state(text: &str) -> Result<WalsenderState, String> {
    match text {
        "startup" => Ok(WalsenderState::Startup),
        "catchup" => Ok(WalsenderState::Catchup),
        "streaming" => Ok(WalsenderState::Streaming),
        "backup" => Ok(WalsenderState::Backup),
        "stopping" => Ok(WalsenderState::Stopping),
        other => Err(format!("walsender state {other:?}")),
    }
}

fn sync_state(text: &str) -> Result<SyncState, String> {
    match text {
        "async" => Ok(SyncState::Async),
        "potential" => Ok(SyncState::Potential),
        "sync" => Ok(SyncState::Sync),
        "quorum" => Ok(SyncState::Quorum),
        other => Err(format!("sync_state {other:?}")),
    }
}

fn slot_wal(text: &str) -> Result<SlotWal, String> {
    match text {
        "reserved" => Ok(SlotWal::Reserved),
        "extended" => Ok(SlotWal::Extended),
        "unreserved" => Ok(SlotWal::Unreserved),
        "lost" => Ok(SlotWal::Lost),
        other => Err(format!("wal_status {other:?}")),
    }
}

/// The parameter's values with the spellings `ALTER ROLE … SET` keeps as typed
/// (`synchronous_commit_options` in `guc_tables.c`).
fn synchronous_commit(text: &str) -> Result<SynchronousCommit, String> {
    match text.to_ascii_lowercase().as_str() {
        "local" => Ok(SynchronousCommit::Local),
        "remote_write" => Ok(SynchronousCommit::RemoteWrite),
        "remote_apply" => Ok(SynchronousCommit::RemoteApply),
        "on" | "true" | "yes" | "1" => Ok(SynchronousCommit::On),
        "off" | "false" | "no" | "0" => Ok(SynchronousCommit::Off),
        _ => Err(format!("synchronous_commit {text:?}")),
    }
}

fn archive_mode(text: &str) -> Result<ArchiveMode, String> {
    match text {
        "off" => Ok(ArchiveMode::Off),
        "on" => Ok(ArchiveMode::On),
        "always" => Ok(ArchiveMode::Always),
        other => Err(format!("archive_mode {other:?}")),
    }
}
