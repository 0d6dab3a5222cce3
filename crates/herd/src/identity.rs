//! A node's key and certificate, and on the first node the authority that signs it.

use manada_model::{HerdName, NodeName};
use manada_postgres::Secret;
use manada_postgres::address::HostAddress;
use manada_postgres::authority::{Authority, AuthorityError, CertificateRequest, NodeKey};
use manada_postgres::replace_file::ReplaceFileError;

use crate::home::HomeError;
use crate::node::HomeFiles;

/// Keys or certificates could not be made or written.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// They can't be made, or those that are there can't be used.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// A file can't be read.
    #[error(transparent)]
    Read(#[from] HomeError),
    /// A file can't be written.
    #[error(transparent)]
    Write(#[from] ReplaceFileError),
}

/// The herd's authority, made where there is none yet, and this node's certificate by it. Gives
/// the fingerprint of the node's key.
pub(crate) fn of_first_node(
    files: &HomeFiles<'_>,
    herd: &HerdName,
    node: &NodeName,
    addresses: &[HostAddress],
) -> Result<String, IdentityError> {
    let authority = match load_authority(files)? {
        Some(authority) => authority,
        None => {
            let authority = Authority::create(herd)?;
            // The certificate last: it says that the key is there.
            files.write(&files.home.ca_key(), authority.key_pem().reveal())?;
            files.write_ca_certificate(authority.certificate_pem())?;
            authority
        }
    };
    let key = own_key(files)?;
    let request = CertificateRequest::parse(&key.request()?)?;
    let certificate = authority.sign(&request, node, addresses)?;
    files.write(&files.home.server_certificate(), &certificate)?;
    Ok(request.key_fingerprint())
}

/// The authority whose key is in this home.
pub(crate) fn load_authority(files: &HomeFiles<'_>) -> Result<Option<Authority>, IdentityError> {
    let certificate = files.read(&files.home.ca_certificate())?;
    let key = files.read(&files.home.ca_key())?;
    match (certificate, key) {
        (Some(certificate), Some(key)) => {
            Ok(Some(Authority::load(&certificate, &Secret::new(key))?))
        }
        (Some(_), None) | (None, Some(_)) | (None, None) => Ok(None),
    }
}

/// This node's key, made where there is none yet: a second try asks with the same one.
pub(crate) fn own_key(files: &HomeFiles<'_>) -> Result<NodeKey, IdentityError> {
    if let Some(pem) = files.read(&files.home.server_key())? {
        return Ok(NodeKey::load(&Secret::new(pem))?);
    }
    let key = NodeKey::generate()?;
    files.write(&files.home.server_key(), key.pem().reveal())?;
    Ok(key)
}
