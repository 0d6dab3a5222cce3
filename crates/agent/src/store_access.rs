//! Where a node's file says that the herd's record is, and how to get in.

use manada_herd::Protect;
use manada_store::{Access, ClientCertificate, InvalidLocation, Login, StoreLocation};

/// What a node's file says about the store can't be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreAccessError {
    /// It is at no place.
    #[error(transparent)]
    Location(#[from] InvalidLocation),
    /// A certificate without its key, or a key without its certificate.
    #[error("a client's certificate and its key go together: give both or neither")]
    HalfACertificate,
    /// A user without a password, or a password without its user.
    #[error("a user of the store and the file with the password go together: give both or neither")]
    HalfALogin,
}

/// Reads it.
pub fn store_of(protect: &Protect) -> Result<(StoreLocation, Access), StoreAccessError> {
    let files = protect.store_access.clone();
    let client = match (files.certificate, files.key) {
        (Some(certificate), Some(key)) => Some(ClientCertificate { certificate, key }),
        (None, None) => None,
        (Some(_), None) | (None, Some(_)) => return Err(StoreAccessError::HalfACertificate),
    };
    let login = match (files.user, files.password_file) {
        (Some(user), Some(password_file)) => Some(Login {
            user,
            password_file,
        }),
        (None, None) => None,
        (Some(_), None) | (None, Some(_)) => return Err(StoreAccessError::HalfALogin),
    };
    let access = Access {
        ca: files.ca,
        client,
        login,
    };
    Ok((protect.store.parse()?, access))
}
