//! Authentication messages (`R`), and the client's answers.

use bytes::{Bytes, BytesMut};
use postgres_protocol::message::frontend;

use crate::body::Body;
use crate::frame::DecodeError;
use crate::startup::EncodeError;

/// What the server asks for, or that it is satisfied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Authentication {
    /// The client is in.
    Ok,
    /// The password itself.
    CleartextPassword,
    /// The password, hashed with this salt.
    Md5Password {
        /// The salt.
        salt: [u8; 4],
    },
    /// A SASL exchange by one of these mechanisms.
    Sasl {
        /// Their names, the server's favourite first.
        mechanisms: Vec<String>,
    },
    /// The server's part of the exchange.
    SaslContinue(Bytes),
    /// The server's proof that it knows the password too.
    SaslFinal(Bytes),
    /// A method that Manada does not have.
    Unsupported(UnsupportedMethod),
}

/// Authentication methods of the protocol that Manada does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnsupportedMethod {
    /// Kerberos V5.
    KerberosV5,
    /// SCM credentials.
    ScmCredential,
    /// GSSAPI.
    Gss,
    /// The continuation of GSSAPI or SSPI.
    GssContinue,
    /// SSPI.
    Sspi,
}

impl Authentication {
    pub(crate) fn decode(body: Bytes) -> Result<Self, DecodeError> {
        let mut body = Body::new("Authentication", body);
        let code = body.i32()?;
        let authentication = match code {
            0 => Authentication::Ok,
            2 => Authentication::Unsupported(UnsupportedMethod::KerberosV5),
            3 => Authentication::CleartextPassword,
            5 => Authentication::Md5Password {
                salt: body.u32()?.to_be_bytes(),
            },
            6 => Authentication::Unsupported(UnsupportedMethod::ScmCredential),
            7 => Authentication::Unsupported(UnsupportedMethod::Gss),
            8 => {
                body.rest();
                Authentication::Unsupported(UnsupportedMethod::GssContinue)
            }
            9 => Authentication::Unsupported(UnsupportedMethod::Sspi),
            10 => Authentication::Sasl {
                mechanisms: mechanisms(&mut body)?,
            },
            11 => Authentication::SaslContinue(body.rest()),
            12 => Authentication::SaslFinal(body.rest()),
            _ => return Err(body.unknown("method", code)),
        };
        body.end()?;
        Ok(authentication)
    }
}

/// Names, each ended by a zero byte, the list ended by an empty one.
fn mechanisms(body: &mut Body) -> Result<Vec<String>, DecodeError> {
    let mut names = Vec::new();
    loop {
        let name = body.text()?;
        if name.is_empty() {
            return Ok(names);
        }
        names.push(name);
    }
}

/// Appends the answer to [`Authentication::CleartextPassword`] or `Md5Password`.
///
/// # Errors
/// The password has a zero byte.
pub fn encode_password(password: &[u8], out: &mut BytesMut) -> Result<(), EncodeError> {
    frontend::password_message(password, out).map_err(|_| EncodeError { what: "password" })
}

/// Appends the first message of a SASL exchange.
///
/// # Errors
/// The mechanism has a zero byte.
pub fn encode_sasl_initial(
    mechanism: &str,
    data: &[u8],
    out: &mut BytesMut,
) -> Result<(), EncodeError> {
    frontend::sasl_initial_response(mechanism, data, out).map_err(|_| EncodeError {
        what: "SASL mechanism",
    })
}

/// Appends a later message of a SASL exchange.
///
/// # Errors
/// The data is longer than a message can be.
pub fn encode_sasl_response(data: &[u8], out: &mut BytesMut) -> Result<(), EncodeError> {
    frontend::sasl_response(data, out).map_err(|_| EncodeError {
        what: "SASL response",
    })
}
