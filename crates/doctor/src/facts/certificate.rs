//! The certificate a server shows.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use manada_postgres::conninfo::{Host, SslMode, SslParameters};
use manada_postgres::transport::Transport;
use manada_postgres::{Conninfo, Endpoint};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::source::{Fact, Source, Why};

/// What a server's certificate says of its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// Whom it names.
    pub subject: String,
    /// How long it is still valid; none where it has ended.
    pub left: Option<Duration>,
}

impl Certificate {
    /// Shakes hands once more and looks at the certificate, which need not be one that is
    /// believed: whoever trusts it finds that out when connecting.
    pub(super) async fn read(
        conninfo: &Conninfo,
        endpoint: &Endpoint,
    ) -> Fact<Option<Certificate>> {
        match endpoint.host {
            // TLS is for TCP.
            Host::Unix(_) => {
                let why = "the session is on a Unix socket, where there is no TLS".to_owned();
                return Fact::unknown(Source::Certificate, Why::Failed(why));
            }
            Host::Tcp(_) => {}
        }
        let ssl = SslParameters {
            mode: SslMode::Prefer,
            ..SslParameters::default()
        };
        let opened = Transport::open(endpoint, &ssl, None);
        let certificates = match tokio::time::timeout(conninfo.connect_timeout, opened).await {
            Ok(Ok(transport)) => transport.peer_certificates(),
            Ok(Err(error)) => {
                return Fact::unknown(Source::Certificate, Why::Failed(error.to_string()));
            }
            Err(_) => {
                let why = format!("no answer within {:?}", conninfo.connect_timeout);
                return Fact::unknown(Source::Certificate, Why::Failed(why));
            }
        };
        match certificates.first() {
            None => Fact::known(None),
            Some(der) => Certificate::of(der).map(Some),
        }
    }

    fn of(der: &[u8]) -> Fact<Certificate> {
        let certificate = match X509Certificate::from_der(der) {
            Ok((_, certificate)) => certificate,
            Err(error) => {
                return Fact::unknown(Source::Certificate, Why::Failed(error.to_string()));
            }
        };
        let now_s = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_secs().cast_signed());
        let left_s = certificate.validity().not_after.timestamp() - now_s;
        Fact::known(Certificate {
            subject: certificate.subject().to_string(),
            left: u64::try_from(left_s).ok().map(Duration::from_secs),
        })
    }
}
