//! How far a standby's recovery is, and which forks a server's timeline has behind it.

use manada_model::{Lsn, TimelineHistory, TimelineId};
use manada_postgres::Session;

use super::gather::{lsn, rows};
use super::source::{Fact, Source, Why};

/// How far recovery is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovery {
    /// Up to where WAL was received by streaming.
    pub receive_lsn: Option<Lsn>,
    /// Up to where WAL was replayed.
    pub replay_lsn: Option<Lsn>,
    /// Whether it goes on.
    pub replay: ReplayState,
}

/// Whether replay goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplayState {
    /// It does.
    Running,
    /// Somebody asked for a pause, which comes soon.
    PauseRequested,
    /// It is paused.
    Paused,
}

/// The timelines that a server's own descends from, and where each was left.
pub type Forks = TimelineHistory;

impl Recovery {
    pub(super) async fn read(session: &Session, in_recovery: bool) -> Fact<Option<Recovery>> {
        if !in_recovery {
            return Fact::known(None);
        }
        let sql = "
            SELECT pg_last_wal_receive_lsn()::text AS receive_lsn,
                   pg_last_wal_replay_lsn()::text AS replay_lsn,
                   pg_get_wal_replay_pause_state() AS replay";
        let read = rows(session, Source::Recovery, sql, |row| Recovery {
            receive_lsn: lsn(row, "receive_lsn"),
            replay_lsn: lsn(row, "replay_lsn"),
            replay: match row.get::<_, &str>("replay") {
                "paused" => ReplayState::Paused,
                "pause requested" => ReplayState::PauseRequested,
                _ => ReplayState::Running,
            },
        })
        .await;
        Fact::from(read).map(|recoveries| recoveries.into_iter().next())
    }
}

/// The history of `timeline`, from the server's own file.
pub(super) async fn read_forks(session: &Session, timeline: TimelineId) -> Fact<Forks> {
    // The first timeline descends from none and has no file.
    if timeline.0 <= 1 {
        return Fact::known(TimelineHistory::without_ancestors(timeline));
    }
    let sql = format!(
        "SELECT pg_read_file('pg_wal/{:08X}.history') AS content",
        timeline.0
    );
    let read = rows(session, Source::History, &sql, |row| {
        row.get::<_, String>("content")
    })
    .await;
    let parsed = read.and_then(|contents| {
        TimelineHistory::parse(timeline, &contents[0]).map_err(|error| {
            super::source::Unknown::new(Source::History, Why::Failed(error.to_string()))
        })
    });
    parsed.into()
}
