//! Who an agent is to the others: the node's certificate, and the herd's authority.

use std::path::Path;
use std::sync::Arc;

use manada_herd::Home;
use manada_model::NodeName;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::{VerifierBuilderError, WebPkiClientVerifier};
use tokio_rustls::rustls::{self, ClientConfig, RootCertStore, ServerConfig};
use tokio_rustls::{TlsAcceptor, TlsConnector};

/// Both ends of a connection among agents.
#[derive(Clone)]
pub struct Identity {
    pub(super) acceptor: TlsAcceptor,
    pub(super) connector: TlsConnector,
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Identity(***)")
    }
}

/// The node's certificate, key or authority can't be used.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// A file is missing or is not PEM.
    #[error("reading {path}: {reason}")]
    File {
        /// The file.
        path: String,
        /// Why not.
        reason: String,
    },
    /// The authority can't vouch for anybody.
    #[error("the herd's authority is not usable: {0}")]
    Authority(#[from] VerifierBuilderError),
    /// The certificate and the key don't make a TLS endpoint.
    #[error("the node's certificate is not usable: {0}")]
    Certificate(#[from] rustls::Error),
}

impl Identity {
    /// Reads what lies in the node's home.
    pub fn load(home: &Home) -> Result<Identity, IdentityError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut roots = RootCertStore::empty();
        for certificate in certificates(&home.ca_certificate())? {
            roots.add(certificate)?;
        }
        let roots = Arc::new(roots);
        let chain = certificates(&home.server_certificate())?;
        let key = || {
            PrivateKeyDer::from_pem_file(home.server_key())
                .map_err(|error| unreadable(&home.server_key(), &error))
        };
        let client = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(Arc::clone(&roots))
            .with_client_auth_cert(chain.clone(), key()?)?;
        let verifier =
            WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(&provider)).build()?;
        let server = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain, key()?)?;
        Ok(Identity {
            acceptor: Arc::new(server).into(),
            connector: Arc::new(client).into(),
        })
    }
}

/// The node that a proven certificate names.
pub(super) fn node_named(certificates: Option<&[CertificateDer<'_>]>) -> Option<NodeName> {
    let (_, leaf) = x509_parser::parse_x509_certificate(certificates?.first()?).ok()?;
    let name = leaf.subject().iter_common_name().next()?;
    name.as_str().ok()?.parse().ok()
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, IdentityError> {
    CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .map_err(|error| unreadable(path, &error))
}

fn unreadable(path: &Path, error: &rustls::pki_types::pem::Error) -> IdentityError {
    IdentityError::File {
        path: path.display().to_string(),
        reason: error.to_string(),
    }
}
