//! The first message of a session, simple queries, and the last message.

use bytes::BytesMut;
use postgres_protocol::message::frontend;

/// A text that goes to the server holds a zero byte, or is longer than a message can be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the {what} can't be sent to a server: it holds a zero byte or is too long")]
pub struct EncodeError {
    /// What was to be sent; never the text itself.
    pub what: &'static str,
}

/// Appends the startup message of a physical replication connection.
///
/// `parameters` are settings for the session beside `user`, such as `application_name`.
///
/// # Errors
/// One of the texts has a zero byte.
pub fn encode_startup(
    user: &str,
    parameters: &[(&str, &str)],
    out: &mut BytesMut,
) -> Result<(), EncodeError> {
    let fixed = [
        ("user", user),
        ("replication", "true"),
        ("client_encoding", "UTF8"),
    ];
    frontend::startup_message(fixed.into_iter().chain(parameters.iter().copied()), out).map_err(
        |_| EncodeError {
            what: "startup parameters",
        },
    )
}

/// Appends a simple query.
///
/// # Errors
/// The command has a zero byte.
pub fn encode_query(command: &str, out: &mut BytesMut) -> Result<(), EncodeError> {
    frontend::query(command, out).map_err(|_| EncodeError { what: "command" })
}

/// Appends Terminate: the session ends.
pub fn encode_terminate(out: &mut BytesMut) {
    frontend::terminate(out);
}
