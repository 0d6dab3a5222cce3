//! What a command ends with: what happened, why, what to type next, and the exit code.

use std::fmt;
use std::process::ExitCode;

/// The documented exit codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    /// Done, and all that was checked holds.
    Done = 0,
    /// A check found something wrong.
    FoundWrong = 1,
    /// Wrong usage.
    Usage = 2,
    /// A server could not be reached.
    Unreachable = 3,
    /// Refused, because it would not be safe.
    Refused = 4,
    /// It failed.
    Failed = 5,
    /// Interrupted by the user.
    Interrupted = 130,
    /// `wal fetch` could neither deliver a file nor prove that it is not in the archive. All
    /// codes up to 125 would tell the server the latter.
    FetchFailed = manada_wal::archive::EXIT_FETCH_FAILED,
    /// `wal push` on a node that does not lead.
    NotNow = manada_wal::archive::EXIT_NOT_NOW,
}

impl Exit {
    /// All of them, as documented.
    pub(crate) const ALL: [Exit; 9] = [
        Exit::Done,
        Exit::FoundWrong,
        Exit::Usage,
        Exit::Unreachable,
        Exit::Refused,
        Exit::Failed,
        Exit::Interrupted,
        Exit::FetchFailed,
        Exit::NotNow,
    ];

    /// What it tells a script.
    pub(crate) fn meaning(self) -> &'static str {
        match self {
            Exit::Done => "done, and all that was checked holds",
            Exit::FoundWrong => "a check found something wrong",
            Exit::Usage => "wrong usage",
            Exit::Unreachable => "a server could not be reached",
            Exit::Refused => "refused, because it would not be safe",
            Exit::Failed => "it failed",
            Exit::Interrupted => "interrupted",
            Exit::FetchFailed => "wal fetch alone: whatever is not 0 or 1 (not in the archive)",
            Exit::NotNow => "wal push alone: the node does not lead, and archives nothing now",
        }
    }

    /// The table, for `--help`.
    pub(crate) fn table() -> String {
        let line = |exit: Exit| format!("\n  {:<5} {}", exit as u8, exit.meaning());
        let lines: String = Exit::ALL.into_iter().map(line).collect();
        format!("Exit codes:{lines}")
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit as u8)
    }
}

/// How a command that ran to its end ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// All that was asked is done and holds.
    Done,
    /// It ran, and a check found something wrong.
    FoundWrong,
}

impl Outcome {
    pub(crate) fn exit(self) -> Exit {
        match self {
            Outcome::Done => Exit::Done,
            Outcome::FoundWrong => Exit::FoundWrong,
        }
    }
}

/// A command that did not run to its end: what happened · why · what to type next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    exit: Exit,
    what: String,
    why: Option<String>,
    next: Vec<String>,
}

impl Failure {
    fn new(exit: Exit, what: impl fmt::Display) -> Failure {
        Failure {
            exit,
            what: what.to_string(),
            why: None,
            next: Vec::new(),
        }
    }

    /// The arguments or a file the user wrote are wrong.
    pub(crate) fn usage(what: impl fmt::Display) -> Failure {
        Failure::new(Exit::Usage, what)
    }

    /// A server that is needed can't be reached.
    pub(crate) fn unreachable(what: impl fmt::Display) -> Failure {
        Failure::new(Exit::Unreachable, what)
    }

    /// It could be done, and would not be safe.
    pub(crate) fn refused(what: impl fmt::Display) -> Failure {
        Failure::new(Exit::Refused, what)
    }

    /// It was tried and failed.
    pub(crate) fn failed(what: impl fmt::Display) -> Failure {
        Failure::new(Exit::Failed, what)
    }

    /// `wal fetch` does not know.
    pub(crate) fn fetch_failed(what: impl fmt::Display) -> Failure {
        Failure::new(Exit::FetchFailed, what)
    }

    /// `wal fetch` does not know, and a standby need not.
    pub(crate) fn not_fetched(what: impl fmt::Display) -> Failure {
        Failure::new(Exit::FoundWrong, what)
    }

    /// `wal push` is for later.
    pub(crate) fn not_now(what: impl fmt::Display) -> Failure {
        Failure::new(Exit::NotNow, what)
    }

    /// The user interrupted it.
    pub(crate) fn interrupted() -> Failure {
        Failure::new(Exit::Interrupted, "interrupted")
    }

    /// Adds the cause.
    pub(crate) fn because(mut self, why: impl fmt::Display) -> Failure {
        self.why = Some(why.to_string());
        self
    }

    /// Adds something to type or to do next.
    pub(crate) fn next(mut self, step: impl fmt::Display) -> Failure {
        self.next.push(step.to_string());
        self
    }

    /// The program's exit code.
    pub(crate) fn exit(&self) -> Exit {
        self.exit
    }

    /// What happened.
    pub(crate) fn what(&self) -> &str {
        &self.what
    }

    /// Why, where it is known.
    pub(crate) fn why(&self) -> Option<&str> {
        self.why.as_deref()
    }

    /// What to type or to do next.
    pub(crate) fn steps(&self) -> &[String] {
        &self.next
    }
}
