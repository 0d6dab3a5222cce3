//! A TLS certificate ends soon

use crate::facts::{Herd, Server, Source};
use crate::remedy;
use crate::rule::{Check, Rule, RuleId, Severity, Verdict};

pub(crate) static RULE: Rule = Rule {
    id: RuleId(45),
    slug: "certificate-expiring",
    title: "A TLS certificate ends soon",
    severity: Severity::Warning,
    reads: &[Source::Certificate],
    consequence: "On that day standbys that verify the certificate stop following, clients that verify \
        it cannot log in, and the herd stands still although nothing else has changed.",
    remedy: "Have it renewed, put it in its place and reload: no restart is needed.",
    limits: "The certificate of the server is looked at, not those of clients or of the authority. \
        Silent on a Unix socket, where no certificate is shown. Ended already, it is critical.",
    sources: &["PostgreSQL manual, \"ssl_cert_file\""],
    check: Check::EachServer(check),
};

fn check(server: &Server, herd: &Herd) -> Verdict {
    let Some(certificate) = server.certificate.get()? else {
        return Ok(Vec::new());
    };
    let (severity, headline) = match certificate.left {
        Some(left) if left >= herd.limits.certificate_left_min => return Ok(Vec::new()),
        Some(_) => (
            Severity::Warning,
            format!("the certificate of {} ends soon", server.name),
        ),
        None => (
            Severity::Critical,
            format!("the certificate of {} has ended", server.name),
        ),
    };
    let file = server.settings.text("ssl_cert_file")?;
    let finding = RULE
        .on(server, headline)
        .at(severity)
        .saw("subject", certificate.subject.as_str())
        .saw("time left", certificate.left)
        .saw("ssl_cert_file", file)
        .advice("put the renewed certificate there, then:")
        .fix([remedy::reload(server)]);
    Ok(vec![finding])
}
