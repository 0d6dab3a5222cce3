//! TLS to a server, with libpq's `sslmode` semantics and channel binding (RFC 5929).

use std::path::Path;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
};
use sha2::{Digest, Sha256, Sha384, Sha512};

use crate::conninfo::{ClientCertificate, RootCertificate, SslMode, SslParameters};

/// The parameters don't make a TLS client.
#[derive(Debug, thiserror::Error)]
pub enum TlsSetupError {
    /// A certificate or key file is missing or is not PEM.
    #[error("reading {path}: {reason}")]
    File {
        /// The file.
        path: String,
        /// Why not.
        reason: String,
    },
    /// `verify-ca` and `verify-full` need somebody to believe.
    #[error("sslmode={mode} needs a root certificate: give sslrootcert")]
    NoRoot {
        /// The mode that was asked for.
        mode: &'static str,
    },
    /// rustls refuses the certificates.
    #[error("the TLS parameters are not usable: {0}")]
    Rejected(#[from] rustls::Error),
}

/// A TLS client for these parameters; `None` for `sslmode=disable`.
pub(crate) fn client_config(ssl: &SslParameters) -> Result<Option<ClientConfig>, TlsSetupError> {
    if ssl.mode == SslMode::Disable {
        return Ok(None);
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = verifier(ssl, &provider)?;
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let mut config = match &ssl.client {
        Some(client) => {
            let (chain, key) = read_client(client)?;
            builder.with_client_auth_cert(chain, key)?
        }
        None => builder.with_no_client_auth(),
    };
    // PostgreSQL 17's servers speak ALPN; the older ones ignore it.
    config.alpn_protocols = vec![b"postgresql".to_vec()];
    Ok(Some(config))
}

fn verifier(
    ssl: &SslParameters,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ServerCertVerifier>, TlsSetupError> {
    let algorithms = provider.signature_verification_algorithms;
    let check = |trust, names| {
        Arc::new(PostgresVerifier {
            trust,
            names,
            algorithms,
        })
    };
    if let RootCertificate::Fingerprint(fingerprint) = &ssl.root {
        let trust = Trust::Fingerprint(*fingerprint, Arc::clone(provider));
        return Ok(check(trust, ssl.mode == SslMode::VerifyFull));
    }
    let roots = roots(&ssl.root)?;
    let trust = match (ssl.mode, roots) {
        // As in libpq: with a root certificate at hand, `require` proves the issuer.
        (SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull, Some(roots)) => {
            Trust::Roots(web_pki(roots, provider)?)
        }
        (SslMode::VerifyCa | SslMode::VerifyFull, None) => {
            return Err(TlsSetupError::NoRoot {
                mode: ssl.mode.as_str(),
            });
        }
        (SslMode::Disable | SslMode::Prefer | SslMode::Require, _) => Trust::Anyone,
    };
    Ok(check(trust, ssl.mode == SslMode::VerifyFull))
}

fn web_pki(
    roots: RootCertStore,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<WebPkiServerVerifier>, TlsSetupError> {
    WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
        .build()
        .map_err(|error| TlsSetupError::Rejected(rustls::Error::General(error.to_string())))
}

fn roots(root: &RootCertificate) -> Result<Option<RootCertStore>, TlsSetupError> {
    let mut store = RootCertStore::empty();
    match root {
        RootCertificate::Fingerprint(_) => return Ok(None),
        RootCertificate::System => {
            store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
        RootCertificate::File(file) => {
            for certificate in read_certificates(file)? {
                store.add(certificate)?;
            }
        }
        RootCertificate::Default => {
            let home = std::env::var_os("HOME").map(std::path::PathBuf::from);
            let file = home.map(|home| home.join(".postgresql/root.crt"));
            let Some(file) = file.filter(|file| file.exists()) else {
                return Ok(None);
            };
            for certificate in read_certificates(&file)? {
                store.add(certificate)?;
            }
        }
    }
    Ok(Some(store))
}

fn read_certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsSetupError> {
    let unreadable = |reason: String| TlsSetupError::File {
        path: file.display().to_string(),
        reason,
    };
    let certificates = CertificateDer::pem_file_iter(file)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| unreadable(error.to_string()))?;
    if certificates.is_empty() {
        return Err(unreadable("no certificate in it".to_owned()));
    }
    Ok(certificates)
}

fn read_client(
    client: &ClientCertificate,
) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), TlsSetupError> {
    let chain = read_certificates(&client.certificate)?;
    let key = PrivateKeyDer::from_pem_file(&client.key).map_err(|error| TlsSetupError::File {
        path: client.key.display().to_string(),
        reason: error.to_string(),
    })?;
    Ok((chain, key))
}

/// Whom a server's certificate must come from.
#[derive(Debug)]
enum Trust {
    Anyone,
    Roots(Arc<WebPkiServerVerifier>),
    Fingerprint([u8; 32], Arc<CryptoProvider>),
}

/// Proves what `sslmode` asks for: the issuer, or the issuer and the name.
#[derive(Debug)]
struct PostgresVerifier {
    trust: Trust,
    names: bool,
    algorithms: rustls::crypto::WebPkiSupportedAlgorithms,
}

impl PostgresVerifier {
    fn issued_by(
        &self,
        verifier: &WebPkiServerVerifier,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        now: UnixTime,
    ) -> Result<(), rustls::Error> {
        match verifier.verify_server_cert(end_entity, intermediates, name, &[], now) {
            Ok(_) => Ok(()),
            // rustls checks the name last: all else holds.
            Err(rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) if !self.names => Ok(()),
            Err(error) => Err(error),
        }
    }
}

impl ServerCertVerifier for PostgresVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        _ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        match &self.trust {
            Trust::Anyone => {}
            Trust::Roots(verifier) => {
                self.issued_by(verifier, end_entity, intermediates, name, now)?;
            }
            Trust::Fingerprint(fingerprint, provider) => {
                let authority = intermediates
                    .iter()
                    .find(|certificate| Sha256::digest(certificate).as_slice() == fingerprint)
                    .ok_or(rustls::Error::InvalidCertificate(
                        CertificateError::UnknownIssuer,
                    ))?;
                let mut roots = RootCertStore::empty();
                roots.add(authority.clone().into_owned())?;
                let verifier = web_pki(roots, provider)
                    .map_err(|error| rustls::Error::General(error.to_string()))?;
                self.issued_by(&verifier, end_entity, intermediates, name, now)?;
            }
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// `tls-server-end-point`: the hash of the server's certificate, by the hash function of its own
/// signature, where MD5 and SHA-1 count as SHA-256 (RFC 5929, section 4.1). `None` where that
/// function is not one of the SHA-2 family, as with Ed25519.
pub(crate) fn server_end_point(certificate: &CertificateDer<'_>) -> Option<Vec<u8>> {
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate).ok()?;
    let der = certificate.as_ref();
    match parsed.signature_algorithm.algorithm.to_id_string().as_str() {
        // MD5, SHA-1 and SHA-256, with RSA, then SHA-1 and SHA-256 with ECDSA.
        "1.2.840.113549.1.1.4"
        | "1.2.840.113549.1.1.5"
        | "1.2.840.113549.1.1.11"
        | "1.2.840.10045.4.1"
        | "1.2.840.10045.4.3.2" => Some(Sha256::digest(der).to_vec()),
        "1.2.840.113549.1.1.12" | "1.2.840.10045.4.3.3" => Some(Sha384::digest(der).to_vec()),
        "1.2.840.113549.1.1.13" | "1.2.840.10045.4.3.4" => Some(Sha512::digest(der).to_vec()),
        _ => None,
    }
}
