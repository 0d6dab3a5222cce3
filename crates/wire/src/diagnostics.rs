//! ErrorResponse and NoticeResponse: all of their fields.

use std::fmt;

use bytes::Bytes;

use crate::body::Body;
use crate::frame::DecodeError;

/// What the server says went wrong, or what it warns of.
///
/// Texts that are not UTF-8 are shown as well as can be: before a session has begun, the server
/// speaks in an encoding of its own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Diagnostics {
    /// `ERROR`, `FATAL`, `WARNING`, … never translated.
    pub severity: String,
    /// The same in the server's language.
    pub severity_localized: String,
    /// The five characters of SQLSTATE.
    pub code: String,
    /// What happened, in one line.
    pub message: String,
    /// More about it.
    pub detail: Option<String>,
    /// What to do.
    pub hint: Option<String>,
    /// Where in the query, counted in characters from 1.
    pub position: Option<String>,
    /// Where in a query that the server made itself.
    pub internal_position: Option<String>,
    /// That query.
    pub internal_query: Option<String>,
    /// The call stack.
    pub context: Option<String>,
    /// The schema concerned.
    pub schema: Option<String>,
    /// The table concerned.
    pub table: Option<String>,
    /// The column concerned.
    pub column: Option<String>,
    /// The data type concerned.
    pub data_type: Option<String>,
    /// The constraint concerned.
    pub constraint: Option<String>,
    /// The source file that reports it.
    pub file: Option<String>,
    /// The line in it.
    pub line: Option<String>,
    /// The function in it.
    pub routine: Option<String>,
}

impl Diagnostics {
    pub(crate) fn decode(message: &'static str, body: Bytes) -> Result<Self, DecodeError> {
        let mut body = Body::new(message, body);
        let mut diagnostics = Diagnostics::default();
        loop {
            let field = body.u8()?;
            if field == 0 {
                break;
            }
            let text = String::from_utf8_lossy(&body.cstr()?).into_owned();
            match field {
                b'V' => diagnostics.severity = text,
                b'S' => diagnostics.severity_localized = text,
                b'C' => diagnostics.code = text,
                b'M' => diagnostics.message = text,
                b'D' => diagnostics.detail = Some(text),
                b'H' => diagnostics.hint = Some(text),
                b'P' => diagnostics.position = Some(text),
                b'p' => diagnostics.internal_position = Some(text),
                b'q' => diagnostics.internal_query = Some(text),
                b'W' => diagnostics.context = Some(text),
                b's' => diagnostics.schema = Some(text),
                b't' => diagnostics.table = Some(text),
                b'c' => diagnostics.column = Some(text),
                b'd' => diagnostics.data_type = Some(text),
                b'n' => diagnostics.constraint = Some(text),
                b'F' => diagnostics.file = Some(text),
                b'L' => diagnostics.line = Some(text),
                b'R' => diagnostics.routine = Some(text),
                // The manual: "Frontends should silently ignore fields of unrecognized type."
                _ => {}
            }
        }
        body.end()?;
        Ok(diagnostics)
    }
}

/// `ERROR: message (SQLSTATE)`, then detail and hint where there are any.
impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = if self.severity.is_empty() {
            &self.severity_localized
        } else {
            &self.severity
        };
        write!(f, "{severity}: {} ({})", self.message, self.code)?;
        if let Some(detail) = &self.detail {
            write!(f, "; {detail}")?;
        }
        if let Some(hint) = &self.hint {
            write!(f, "; {hint}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Diagnostics {}
