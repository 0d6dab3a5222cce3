//! A standby has WAL that its primary never had

use crate::facts::{Herd, Server, Source, Unknown};
use std::cmp::Ordering;

use crate::rule::{Check, Rule, RuleId, Severity, Verdict};
use manada_model::WalPosition;

pub(crate) static RULE: Rule = Rule {
    id: RuleId(57),
    slug: "forked-timeline",
    title: "A standby has WAL that its primary never had",
    severity: Severity::Critical,
    reads: &[Source::Recovery, Source::History],
    consequence: "The standby went another way: it was primary for a while, or followed one that is \
        gone. It cannot follow this primary (\"requested starting point is ahead of the WAL \
        flush position\", \"new timeline forked off before current recovery point\"), and its own \
        writes will be lost.",
    remedy: "Save what it alone has if that matters, then rewind it with pg_rewind, or clone it \
        again.",
    limits: "A standby on an older timeline than the primary's can only be judged with the \
        primary's history file, which a superuser can read.",
    sources: &["PostgreSQL manual, \"Timelines\""],
    check: Check::EachStandby(check),
};

fn check(server: &Server, herd: &Herd) -> Verdict {
    let primary = herd.primary()?;
    if server.identity.system_identifier != primary.identity.system_identifier {
        return Ok(Vec::new());
    }
    let here = WalPosition {
        timeline: server.timeline(),
        lsn: server.identity.flush_lsn,
    };
    let there = WalPosition {
        timeline: primary.timeline(),
        lsn: primary.identity.flush_lsn,
    };
    if !forked(server, primary, here, there)? {
        return Ok(Vec::new());
    }
    let finding = RULE
        .on(
            server,
            format!("{} went another way than {}", server.name, primary.name),
        )
        .saw(format!("{} is at", server.name), here.lsn)
        .saw(format!("timeline of {}", server.name), here.timeline)
        .saw(format!("{} is at", primary.name), there.lsn)
        .saw(format!("timeline of {}", primary.name), there.timeline)
        .advice(format!(
            "stop {}, keep a copy of its data directory, and make it anew as a standby of {}: \
             pg_rewind, or `manada join`",
            server.name, primary.name
        ));
    Ok(vec![finding])
}

fn forked(
    standby: &Server,
    primary: &Server,
    here: WalPosition,
    there: WalPosition,
) -> Result<bool, Unknown> {
    Ok(match here.timeline.cmp(&there.timeline) {
        Ordering::Greater => true,
        // It streams at this moment, or was asked a moment later than the primary.
        Ordering::Equal => here.lsn > there.lsn && !is_streaming(standby)?,
        Ordering::Less => !primary.forks.get()?.contains(here),
    })
}

fn is_streaming(server: &Server) -> Result<bool, Unknown> {
    let receiver = server.walreceiver.get()?;
    Ok(receiver
        .as_ref()
        .is_some_and(|receiver| receiver.status == "streaming"))
}
