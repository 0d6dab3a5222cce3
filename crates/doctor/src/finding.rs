//! What a rule found.

use std::fmt;
use std::time::Duration;

use manada_model::{Lsn, TimelineId, wording};
use serde::{Serialize, Serializer};

use crate::facts::Server;
use crate::rule::{RuleId, Severity};

/// A mistake that is there: where, what was seen, and what to type.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Finding {
    /// The rule.
    pub rule: RuleId,
    /// How grave it is here.
    pub severity: Severity,
    /// The server it is about; none where it is about the herd.
    pub server: Option<String>,
    /// What is wrong, with the real names, in one sentence.
    pub headline: String,
    /// What was seen.
    pub evidence: Vec<Evidence>,
    /// What to do, in this order.
    pub fix: Vec<Step>,
}

/// One thing that was seen.
#[derive(Clone, Debug, PartialEq)]
pub struct Evidence {
    /// What it is: a setting's, a column's or a function's name.
    pub name: String,
    /// Its value.
    pub value: Value,
}

/// A value with its unit.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// On or off.
    Flag(bool),
    /// How many.
    Count(u64),
    /// How large.
    Bytes(u64),
    /// How long.
    Span(Duration),
    /// Where in the WAL.
    Lsn(Lsn),
    /// Which timeline.
    Timeline(TimelineId),
    /// As PostgreSQL writes it.
    Text(String),
    /// Several.
    List(Vec<String>),
    /// PostgreSQL has none.
    Absent,
}

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Step {
    /// SQL to run on a server.
    Sql {
        /// The server.
        on: String,
        /// The statement, with its `;`.
        text: String,
    },
    /// A line of a configuration file to write in place of the one that is there.
    Line {
        /// The server whose file it is.
        on: String,
        /// The file, with the line's number where it is known.
        file: String,
        /// The line.
        text: String,
    },
    /// A command for the shell of a server's host.
    Shell {
        /// The server on whose host it is to be run.
        on: String,
        /// The command.
        text: String,
    },
    /// A decision or an action that is no command.
    Do {
        /// What.
        text: String,
    },
}

impl Finding {
    /// Says that it is not as grave here as the rule is, or graver.
    pub(crate) fn at(mut self, severity: Severity) -> Finding {
        self.severity = severity;
        self
    }

    /// Adds what was seen.
    pub(crate) fn saw(mut self, name: impl Into<String>, value: impl Into<Value>) -> Finding {
        self.evidence.push(Evidence {
            name: name.into(),
            value: value.into(),
        });
        self
    }

    /// Adds steps of the fix.
    pub(crate) fn fix(mut self, steps: impl IntoIterator<Item = Step>) -> Finding {
        self.fix.extend(steps);
        self
    }

    /// Adds an SQL statement to run on `server`.
    pub(crate) fn sql(self, server: &Server, text: impl Into<String>) -> Finding {
        self.fix([Step::sql(server, text)])
    }

    /// Adds something to do.
    pub(crate) fn advice(self, text: impl Into<String>) -> Finding {
        self.fix([Step::Do { text: text.into() }])
    }

    /// The value of the evidence `name`.
    pub fn value(&self, name: &str) -> Option<&Value> {
        let found = self.evidence.iter().find(|evidence| evidence.name == name);
        found.map(|evidence| &evidence.value)
    }
}

impl Step {
    pub(crate) fn sql(server: &Server, text: impl Into<String>) -> Step {
        Step::Sql {
            on: server.name.clone(),
            text: text.into(),
        }
    }

    pub(crate) fn shell(server: &Server, text: impl Into<String>) -> Step {
        Step::Shell {
            on: server.name.clone(),
            text: text.into(),
        }
    }
}

/// As people read it. What a terminal would obey is shown instead.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Flag(flag) => f.write_str(if *flag { "on" } else { "off" }),
            Value::Count(count) => count.fmt(f),
            Value::Bytes(bytes) => f.write_str(&wording::size(*bytes)),
            Value::Span(span) => f.write_str(&wording::duration(*span)),
            Value::Lsn(lsn) => lsn.fmt(f),
            Value::Timeline(timeline) => timeline.fmt(f),
            Value::Text(text) => write!(f, "'{}'", wording::shown(text)),
            Value::List(list) if list.is_empty() => f.write_str("(none)"),
            Value::List(list) => f.write_str(&wording::shown(&list.join(", "))),
            Value::Absent => f.write_str("(none)"),
        }
    }
}

/// `{"name": …, "value": …, "unit": …}`: sizes in bytes, spans in seconds, LSNs as text.
impl Serialize for Evidence {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct;
        let mut object = serializer.serialize_struct("Evidence", 3)?;
        object.serialize_field("name", &self.name)?;
        let unit = match &self.value {
            Value::Flag(flag) => {
                object.serialize_field("value", flag)?;
                None
            }
            Value::Count(count) => {
                object.serialize_field("value", count)?;
                None
            }
            Value::Bytes(bytes) => {
                object.serialize_field("value", bytes)?;
                Some("bytes")
            }
            Value::Span(span) => {
                object.serialize_field("value", &span.as_secs_f64())?;
                Some("s")
            }
            Value::Lsn(lsn) => {
                object.serialize_field("value", lsn)?;
                Some("lsn")
            }
            Value::Timeline(timeline) => {
                object.serialize_field("value", timeline)?;
                Some("timeline")
            }
            Value::Text(text) => {
                object.serialize_field("value", text)?;
                None
            }
            Value::List(list) => {
                object.serialize_field("value", list)?;
                None
            }
            Value::Absent => {
                object.serialize_field("value", &None::<()>)?;
                None
            }
        };
        object.serialize_field("unit", &unit)?;
        object.end()
    }
}

macro_rules! value_from {
    ($($type:ty => $variant:ident),* $(,)?) => {
        $(impl From<$type> for Value {
            fn from(value: $type) -> Value {
                Value::$variant(value.into())
            }
        })*
    };
}

value_from! {
    bool => Flag,
    u64 => Count,
    u32 => Count,
    Duration => Span,
    Lsn => Lsn,
    TimelineId => Timeline,
    String => Text,
    &str => Text,
    Vec<String> => List,
}

impl From<usize> for Value {
    fn from(count: usize) -> Value {
        Value::Count(count as u64)
    }
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Value {
        value.map_or(Value::Absent, Into::into)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_print_as_people_write_them() {
        let print = |value: Value| value.to_string();
        assert_eq!(print(true.into()), "on");
        assert_eq!(print("a\u{1B}[2J".into()), "'a\u{FFFD}[2J'");
        assert_eq!(print(Vec::new().into()), "(none)");
        assert_eq!(print(None::<bool>.into()), "(none)");
    }

    #[test]
    fn evidence_says_its_unit_in_json() {
        let evidence = Evidence {
            name: "retained".to_owned(),
            value: Value::Bytes(42),
        };
        let json = serde_json::to_string(&evidence).expect("it serialises");
        assert_eq!(json, r#"{"name":"retained","value":42,"unit":"bytes"}"#);
    }
}
