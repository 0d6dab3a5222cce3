//! A standby logs in as a superuser

use crate::facts::{Herd, Server, Source, WalSender};
use crate::rule::{Check, Rule, RuleId, Severity, Verdict};

pub(crate) static RULE: Rule = Rule {
    id: RuleId(44),
    slug: "superuser-replicates",
    title: "A standby logs in as a superuser",
    severity: Severity::Warning,
    reads: &[Source::WalSenders],
    consequence: "The password on the standby's disk is then good for everything on the primary, not for \
        replication alone. One stolen standby is the whole herd.",
    remedy: "Make a role with REPLICATION and nothing else, and let primary_conninfo use it.",
    limits: "Receivers on a Unix socket are left out: they are local.",
    sources: &["PostgreSQL manual, \"Log-Shipping Standby Servers\", \"Authentication\""],
    check: Check::EachServer(check),
};

fn check(server: &Server, _: &Herd) -> Verdict {
    let senders = server.walsenders.get()?;
    let powerful = |sender: &&WalSender| {
        sender.superuser && sender.is_lasting() && sender.client_addr.is_some()
    };
    let found = senders.iter().filter(powerful).map(|sender| {
        let name = &sender.application_name;
        RULE.on(
            server,
            format!("{name} replicates as the superuser {}", sender.user),
        )
        .saw("application_name", name.as_str())
        .saw("usename", sender.user.as_str())
        .saw("client_addr", sender.client_addr.clone())
        .sql(server, "CREATE ROLE replicator LOGIN REPLICATION;")
        .sql(server, "\\password replicator")
        .advice(format!(
            "let {name} log in as replicator: user=replicator in its primary_conninfo, and a \
                 line in pg_hba.conf for it"
        ))
    });
    Ok(found.collect())
}
