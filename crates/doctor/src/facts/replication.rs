//! Slots, walsenders and the walreceiver.

use std::time::Duration;

use manada_model::{Lsn, TimelineId};
use manada_postgres::Session;

use super::gather::{lsn, rows, seconds};
use super::identity::Rights;
use super::source::{Fact, Source, Why};

/// A replication slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slot {
    /// Its name.
    pub name: String,
    /// Physical or logical.
    pub kind: SlotKind,
    /// Whether somebody streams from it.
    pub active: bool,
    /// Whether it ends with its session.
    pub temporary: bool,
    /// What has become of the WAL it asks for; none where it asks for none.
    pub wal_status: Option<WalStatus>,
    /// Bytes of WAL from its restart position to the end; none where it asks for none.
    pub retained_bytes: Option<u64>,
    /// Bytes that may still be written before it is lost, where there is a bound.
    pub safe_bytes: Option<i64>,
    /// How many transactions ago the oldest row version began that it keeps from vacuum.
    pub xmin_age: Option<u64>,
    /// Whether a logical slot is kept in step on standbys (17 and later).
    pub failover: bool,
    /// Whether it is a copy, kept in step, of the primary's (17 and later).
    pub synced: bool,
    /// Why it was invalidated, where the version says it (17 and later).
    pub invalidation_reason: Option<String>,
    /// For how long nobody has used it, where the version says it (17 and later).
    pub inactive_for: Option<Duration>,
}

/// What a slot is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SlotKind {
    /// A standby or another receiver of WAL.
    Physical,
    /// A logical decoder.
    Logical,
}

/// `pg_replication_slots.wal_status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WalStatus {
    /// Within `max_wal_size`.
    Reserved,
    /// Beyond `max_wal_size`, and kept.
    Extended,
    /// About to be removed.
    Unreserved,
    /// Removed: the slot is of no use any more.
    Lost,
}

/// A process that sends WAL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WalSender {
    /// What the receiver calls itself.
    pub application_name: String,
    /// The role it logged in as.
    pub user: String,
    /// Whether that role is a superuser.
    pub superuser: bool,
    /// Its address; none on a Unix socket.
    pub client_addr: Option<String>,
    /// `startup`, `catchup`, `streaming`, `backup` or `stopping`.
    pub state: String,
    /// Whether a commit waits, or may wait, for it.
    pub sync_state: String,
    /// Up to where the receiver has WAL on its disk.
    pub flush_lsn: Option<Lsn>,
    /// Up to where it has replayed; none where it replays nothing.
    pub replay_lsn: Option<Lsn>,
    /// The slot it uses.
    pub slot: Option<String>,
    /// Whether it is under TLS.
    pub tls: bool,
}

/// The process that receives WAL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WalReceiver {
    /// `streaming`, or what it does instead.
    pub status: String,
    /// Where it receives from.
    pub sender_host: Option<String>,
    /// Where it receives from.
    pub sender_port: Option<u32>,
    /// The timeline of what it received last.
    pub received_timeline: Option<TimelineId>,
    /// The slot it uses.
    pub slot: Option<String>,
}

impl Slot {
    pub(super) async fn read(session: &Session) -> Fact<Vec<Slot>> {
        // `to_jsonb` gives the columns that this version has not as NULL.
        let sql = "
            SELECT slot_name::text AS name, slot_type = 'physical' AS physical, active, temporary,
                   wal_status, safe_wal_size,
                   pg_wal_lsn_diff(CASE WHEN pg_is_in_recovery()
                       THEN coalesce(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn())
                       ELSE pg_current_wal_lsn() END, restart_lsn)::int8 AS retained,
                   greatest(age(xmin), age(catalog_xmin))::int8 AS xmin_age,
                   coalesce((j ->> 'failover')::bool, false) AS failover,
                   coalesce((j ->> 'synced')::bool, false) AS synced,
                   j ->> 'invalidation_reason' AS invalidation_reason,
                   extract(epoch FROM now() - (j ->> 'inactive_since')::timestamptz)::float8
                       AS inactive_s
            FROM pg_replication_slots s, to_jsonb(s) AS j ORDER BY 1";
        rows(session, Source::Slots, sql, |row| Slot {
            name: row.get("name"),
            kind: if row.get("physical") {
                SlotKind::Physical
            } else {
                SlotKind::Logical
            },
            active: row.get("active"),
            temporary: row.get("temporary"),
            wal_status: row
                .get::<_, Option<&str>>("wal_status")
                .and_then(WalStatus::of),
            retained_bytes: row
                .get::<_, Option<i64>>("retained")
                .map(|bytes| bytes.try_into().unwrap_or(0)),
            safe_bytes: row.get("safe_wal_size"),
            xmin_age: row.get::<_, Option<i64>>("xmin_age").map(i64::unsigned_abs),
            failover: row.get("failover"),
            synced: row.get("synced"),
            invalidation_reason: row.get("invalidation_reason"),
            inactive_for: seconds(row, "inactive_s"),
        })
        .await
        .into()
    }
}

impl WalStatus {
    fn of(text: &str) -> Option<WalStatus> {
        match text {
            "reserved" => Some(WalStatus::Reserved),
            "extended" => Some(WalStatus::Extended),
            "unreserved" => Some(WalStatus::Unreserved),
            "lost" => Some(WalStatus::Lost),
            _ => None,
        }
    }

    /// PostgreSQL's word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            WalStatus::Reserved => "reserved",
            WalStatus::Extended => "extended",
            WalStatus::Unreserved => "unreserved",
            WalStatus::Lost => "lost",
        }
    }
}

impl WalSender {
    pub(super) async fn read(session: &Session, rights: &Rights) -> Fact<Vec<WalSender>> {
        if !rights.read_all_stats {
            return Fact::unknown(Source::WalSenders, Why::Denied);
        }
        let sql = "
            SELECT coalesce(r.application_name, '') AS application_name,
                   coalesce(r.usename::text, '') AS user_name,
                   coalesce(u.rolsuper, false) AS superuser, host(r.client_addr) AS client_addr,
                   coalesce(r.state, '') AS state, coalesce(r.sync_state, '') AS sync_state,
                   r.flush_lsn::text AS flush_lsn, r.replay_lsn::text AS replay_lsn,
                   (SELECT slot_name::text FROM pg_replication_slots WHERE active_pid = r.pid)
                       AS slot,
                   coalesce(t.ssl, false) AS tls
            FROM pg_stat_replication r
            LEFT JOIN pg_stat_ssl t USING (pid)
            LEFT JOIN pg_roles u ON u.oid = r.usesysid
            ORDER BY r.application_name, r.pid";
        rows(session, Source::WalSenders, sql, |row| WalSender {
            application_name: row.get("application_name"),
            user: row.get("user_name"),
            superuser: row.get("superuser"),
            client_addr: row.get("client_addr"),
            state: row.get("state"),
            sync_state: row.get("sync_state"),
            flush_lsn: lsn(row, "flush_lsn"),
            replay_lsn: lsn(row, "replay_lsn"),
            slot: row.get("slot"),
            tls: row.get("tls"),
        })
        .await
        .into()
    }

    /// Whether it takes part in synchronous commits.
    pub fn is_streaming(&self) -> bool {
        self.state == "streaming"
    }

    /// Whether it is there to stay, as a standby is and a base backup is not.
    pub fn is_lasting(&self) -> bool {
        self.state != "backup"
    }
}

impl WalReceiver {
    pub(super) async fn read(session: &Session, rights: &Rights) -> Fact<Option<WalReceiver>> {
        if !rights.read_all_stats {
            return Fact::unknown(Source::WalReceiver, Why::Denied);
        }
        let sql = "
            SELECT coalesce(status, '') AS status, sender_host, sender_port,
                   received_tli::int4 AS received_tli, slot_name
            FROM pg_stat_wal_receiver WHERE pid IS NOT NULL";
        let read = rows(session, Source::WalReceiver, sql, |row| WalReceiver {
            status: row.get("status"),
            sender_host: row.get("sender_host"),
            sender_port: row
                .get::<_, Option<i32>>("sender_port")
                .map(i32::unsigned_abs),
            received_timeline: row
                .get::<_, Option<i32>>("received_tli")
                .map(|timeline| TimelineId(timeline.unsigned_abs())),
            slot: row
                .get::<_, Option<String>>("slot_name")
                .filter(|slot| !slot.is_empty()),
        })
        .await;
        Fact::from(read).map(|receivers| receivers.into_iter().next())
    }
}
