//! The replication password stands in a configuration file

use crate::conninfo;
use crate::facts::{Herd, Server, Source};
use crate::finding::Step;
use crate::remedy;
use crate::rule::{Check, Rule, RuleId, Severity, Verdict};

pub(crate) static RULE: Rule = Rule {
    id: RuleId(41),
    slug: "password-in-conninfo",
    title: "The replication password stands in a configuration file",
    severity: Severity::Warning,
    reads: &[Source::RestrictedSettings],
    consequence: "Everybody who may read the settings (pg_monitor) reads the password, and so does \
        everybody who gets a copy of the data directory: every backup, every clone. With it \
        one can copy the whole database.",
    remedy: "Put it into a password file that only the server's user can read (mode 0600), and name \
        that in primary_conninfo: passfile=…. Then change the password.",
    limits: "doctor never fetches the password: the server takes it out before it answers.",
    sources: &["PostgreSQL manual, \"The Password File\""],
    check: Check::EachServer(check),
};

fn check(server: &Server, _: &Herd) -> Verdict {
    let conninfo = server.settings.text("primary_conninfo")?;
    // What stands in the password's place once the server has taken it out.
    if !conninfo.contains("***") {
        return Ok(Vec::new());
    }
    let parsed = conninfo::read(conninfo);
    let user = parsed
        .as_ref()
        .map_or("replicator", |parsed| parsed.user.as_str());
    let line =
        format!("printf '%s\\n' '*:*:*:{user}:PASSWORD' >> ~/.pgpass && chmod 600 ~/.pgpass");
    let finding = RULE
        .on(
            server,
            format!("primary_conninfo of {} holds a password", server.name),
        )
        .saw("primary_conninfo", conninfo)
        .advice("as the server's user, put the password into its password file:")
        .fix([Step::shell(server, line)])
        .advice("then write primary_conninfo again, without password=:")
        .sql(
            server,
            "ALTER SYSTEM SET primary_conninfo = 'host=… user=… sslmode=verify-full \
             application_name=…';",
        )
        .fix([remedy::reload(server)]);
    Ok(vec![finding])
}
