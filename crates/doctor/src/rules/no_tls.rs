//! Passwords and data cross the network in the clear

use crate::facts::{Herd, Server, Source};
use crate::remedy;
use crate::rule::{Check, Rule, RuleId, Severity, Verdict};

pub(crate) static RULE: Rule = Rule {
    id: RuleId(40),
    slug: "no-tls",
    title: "Passwords and data cross the network in the clear",
    severity: Severity::Warning,
    reads: &[Source::Settings],
    consequence: "WAL holds every row that is written. Without TLS whoever is on the way reads it, and \
        can put himself between primary and standby unnoticed.",
    remedy: "Give the server a certificate and turn ssl on (a reload is enough); use hostssl in \
        pg_hba.conf and sslmode=verify-full in primary_conninfo. `manada init --adopt` does \
        all of it.",
    limits: "Silent for a server that listens on loopback addresses or sockets alone. A tunnel or a \
        VPN around it is not visible here.",
    sources: &["PostgreSQL manual, \"Secure TCP/IP Connections with SSL\""],
    check: Check::EachServer(check),
};

fn check(server: &Server, _: &Herd) -> Verdict {
    let ssl = server.settings.flag("ssl")?;
    let addresses = server.settings.text("listen_addresses")?;
    let near =
        |address: &str| matches!(address, "" | "localhost" | "::1") || address.starts_with("127.");
    if ssl || addresses.split(',').map(str::trim).all(near) {
        return Ok(Vec::new());
    }
    let finding = RULE
        .on(
            server,
            format!("{} listens on the network without TLS", server.name),
        )
        .saw("ssl", false)
        .saw("listen_addresses", addresses)
        .advice("put a certificate and its key where ssl_cert_file and ssl_key_file say, then:")
        .fix(remedy::set(server, "ssl", "on"));
    Ok(vec![finding])
}
