//! Whom TLS trusts, and what it shows.

use std::path::Path;
use std::sync::Arc;

use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::access::{Access, AccessError};

/// What makes a connection encrypted. The server's certificate must be for the endpoint's name or
/// address, and signed by the authority that was named.
pub(super) fn connector(access: &Access) -> Result<TlsConnector, AccessError> {
    let ca = access.ca.as_deref().ok_or(AccessError::NoAuthority)?;
    let mut roots = RootCertStore::empty();
    for certificate in certificates(ca)? {
        roots.add(certificate).map_err(AccessError::Tls)?;
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(AccessError::Tls)?
        .with_root_certificates(roots);
    let mut config = match &access.client {
        None => builder.with_no_client_auth(),
        Some(client) => builder
            .with_client_auth_cert(certificates(&client.certificate)?, key(&client.key)?)
            .map_err(AccessError::Tls)?,
    };
    // Without this etcd may answer in HTTP/2.
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsConnector::from(Arc::new(config)))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, AccessError> {
    let not_pem = || AccessError::NotPem {
        path: path.to_owned(),
        wanted: "certificate",
    };
    let text = read(path)?;
    let certificates = CertificateDer::pem_slice_iter(&text)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|_| not_pem())?;
    if certificates.is_empty() {
        return Err(not_pem());
    }
    Ok(certificates)
}

fn key(path: &Path) -> Result<PrivateKeyDer<'static>, AccessError> {
    PrivateKeyDer::from_pem_slice(&read(path)?).map_err(|_| AccessError::NotPem {
        path: path.to_owned(),
        wanted: "private key",
    })
}

fn read(path: &Path) -> Result<Vec<u8>, AccessError> {
    std::fs::read(path).map_err(|source| AccessError::Read {
        path: path.to_owned(),
        source,
    })
}
