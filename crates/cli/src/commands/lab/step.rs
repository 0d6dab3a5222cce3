//! The steps of the practice, and what each one showed.

use std::time::Duration;

use serde::Serialize;

/// A step. Scripts know it by its name in JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum StepId {
    /// Server programs found, or fetched.
    Programs,
    /// The primary created and started.
    Primary,
    /// The role for replication.
    Role,
    /// The primary cloned.
    Clone,
    /// The standbys started and streaming.
    Follow,
    /// A row written on the primary, read on the standbys.
    Read,
    /// A write on a standby refused.
    ReadOnly,
    /// A commit that waits for no standby.
    Asynchronous,
    /// The switch to synchronous replication.
    Synchronous,
    /// A commit that waits for its standby.
    Wait,
    /// WAL archived and fetched back.
    Archive,
    /// The herd drawn.
    Diagram,
    /// An agent for each node, and a record of who leads.
    Protect,
    /// The primary killed, and another in its place.
    Failover,
    /// The old primary back as a standby.
    Rejoin,
}

impl StepId {
    /// Whether it is machine work that a person would have to do, too, to have a synchronous
    /// replica; the others demonstrate. `docs/benchmarks.md` compares this part.
    pub(crate) fn is_machine_work(self) -> bool {
        match self {
            StepId::Programs
            | StepId::Primary
            | StepId::Role
            | StepId::Clone
            | StepId::Follow
            | StepId::Read
            | StepId::Synchronous => true,
            StepId::ReadOnly
            | StepId::Asynchronous
            | StepId::Wait
            | StepId::Archive
            | StepId::Diagram
            | StepId::Protect
            | StepId::Failover
            | StepId::Rejoin => false,
        }
    }
}

/// A step that was done, and seen to be so.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Step {
    /// Which.
    pub(crate) step: StepId,
    /// What was seen, in the lab's language.
    pub(crate) title: String,
    /// How long it took.
    #[serde(rename = "duration_ms", serialize_with = "milliseconds")]
    pub(crate) duration: Duration,
    /// Whether it counts as machine work.
    pub(crate) machine_work: bool,
    /// The settings and statements that were used.
    pub(crate) used: Vec<Used>,
}

/// What was really used, as a person would have typed it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Used {
    /// Where: a node's SQL prompt, a file, a shell.
    #[serde(rename = "where")]
    pub(crate) place: String,
    /// What.
    pub(crate) text: String,
    /// What came back, where that is worth showing.
    pub(crate) answer: Option<String>,
}

impl Used {
    /// A statement at a node's prompt.
    pub(crate) fn sql(node: impl std::fmt::Display, statement: impl Into<String>) -> Used {
        Used {
            place: format!("{node}=#"),
            text: statement.into(),
            answer: None,
        }
    }

    /// A line of a configuration file.
    pub(crate) fn line(file: &str, line: impl Into<String>) -> Used {
        Used {
            place: file.to_owned(),
            text: line.into(),
            answer: None,
        }
    }

    /// A command in a shell.
    pub(crate) fn command(command: impl Into<String>) -> Used {
        Used {
            place: "$".to_owned(),
            text: command.into(),
            answer: None,
        }
    }

    /// What was seen beyond that.
    pub(crate) fn remark(text: impl Into<String>) -> Used {
        Used {
            place: "--".to_owned(),
            text: text.into(),
            answer: None,
        }
    }

    /// The same with what came back.
    pub(crate) fn gives(mut self, answer: impl Into<String>) -> Used {
        self.answer = Some(answer.into());
        self
    }
}

/// A duration in milliseconds with three decimals.
pub(crate) fn milliseconds<S: serde::Serializer>(
    duration: &Duration,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64((duration.as_secs_f64() * 1e6).round() / 1e3)
}
