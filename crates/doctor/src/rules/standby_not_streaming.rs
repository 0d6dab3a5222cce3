//! A standby does not receive WAL

use crate::facts::{Herd, Server, Source};
use crate::rule::{Check, Rule, RuleId, Severity, Verdict};

pub(crate) static RULE: Rule = Rule {
    id: RuleId(47),
    slug: "standby-not-streaming",
    title: "A standby does not receive WAL",
    severity: Severity::Critical,
    reads: &[
        Source::WalReceiver,
        Source::RestrictedSettings,
        Source::Recovery,
    ],
    consequence: "It falls behind with every write. If the primary dies now, all that was written since \
        is lost; and if the primary does not keep WAL for it, it will never catch up.",
    remedy: "Its log says why: the primary is not there, refuses it (pg_hba.conf, password), has no \
        such slot, or has no WAL any more.",
    limits: "A standby that lives on an archive alone (restore_command and no primary_conninfo) is \
        meant so. One that has neither is MND048.",
    sources: &["PostgreSQL manual, \"pg_stat_wal_receiver\""],
    check: Check::EachStandby(check),
};

fn check(server: &Server, _: &Herd) -> Verdict {
    let receiver = server.walreceiver.get()?;
    let conninfo = server.settings.text("primary_conninfo")?;
    let status = receiver.as_ref().map(|receiver| receiver.status.clone());
    if conninfo.is_empty() || status.as_deref() == Some("streaming") {
        return Ok(Vec::new());
    }
    let recovery = server.recovery.get()?.as_ref();
    let finding = RULE
        .on(server, format!("{} does not stream", server.name))
        .saw("walreceiver", status)
        .saw("primary_conninfo", conninfo)
        .saw(
            "primary_slot_name",
            server.settings.text("primary_slot_name")?,
        )
        .saw(
            "replayed up to",
            recovery.and_then(|recovery| recovery.replay_lsn),
        )
        .advice("see in its log what the walreceiver says:")
        .sql(server, "SELECT pg_current_logfile();");
    Ok(vec![finding])
}
