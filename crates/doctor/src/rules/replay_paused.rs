//! Replay is paused on a standby

use crate::facts::{Herd, ReplayState, Server, Source};
use crate::rule::{Check, Rule, RuleId, Severity, Verdict};

pub(crate) static RULE: Rule = Rule {
    id: RuleId(49),
    slug: "replay-paused",
    title: "Replay is paused on a standby",
    severity: Severity::Warning,
    reads: &[Source::Recovery],
    consequence: "The standby receives WAL and shows none of it: reads there grow older, its disk fills \
        with WAL that waits, and a promotion first has to replay it all. A pause that was \
        asked for stays until somebody ends it or the server restarts.",
    remedy: "Let it go on. Where PostgreSQL paused it by itself, its limits are below the primary's \
        (MND030), and only a restart with higher ones helps.",
    limits: "A delayed standby (recovery_min_apply_delay) is not paused.",
    sources: &["PostgreSQL manual, \"Recovery Control Functions\""],
    check: Check::EachStandby(check),
};

fn check(server: &Server, _: &Herd) -> Verdict {
    let Some(recovery) = server.recovery.get()? else {
        return Ok(Vec::new());
    };
    let state = match recovery.replay {
        ReplayState::Running => return Ok(Vec::new()),
        ReplayState::PauseRequested => "pause requested",
        ReplayState::Paused => "paused",
    };
    let finding = RULE
        .on(server, format!("{} replays nothing", server.name))
        .saw("pg_get_wal_replay_pause_state()", state)
        .saw("replayed up to", recovery.replay_lsn)
        .saw("received up to", recovery.receive_lsn)
        .sql(server, "SELECT pg_wal_replay_resume();");
    Ok(vec![finding])
}
