//! What the lab says, in each of its languages.

mod en;
mod es;

use std::path::Path;
use std::time::Duration;

use super::language::Language;
use super::step::StepId;

/// What to try once the practice was played.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Try {
    Status,
    Verify,
    SyncOff,
    Why,
    Switchover,
    Stop,
    Rm,
}

impl Try {
    pub(crate) const PLAIN: &[Try] = &[Try::Status, Try::Verify, Try::SyncOff, Try::Stop, Try::Rm];
    pub(crate) const PROTECTED: &[Try] = &[
        Try::Status,
        Try::Why,
        Try::Switchover,
        Try::Verify,
        Try::Stop,
        Try::Rm,
    ];

    /// What is typed after `manada`.
    pub(crate) fn command(self) -> &'static str {
        match self {
            Try::Status => "status",
            Try::Verify => "verify",
            Try::SyncOff => "sync off",
            Try::Why => "why",
            Try::Switchover => "switchover",
            Try::Stop => "lab stop",
            Try::Rm => "lab rm",
        }
    }

    /// Whether it is told the lab's directory, and not a node's.
    pub(crate) fn is_about_the_lab(self) -> bool {
        matches!(self, Try::Stop | Try::Rm)
    }
}

/// The words of one language. A title is one line beside a time; it names what was seen to be so.
pub(crate) trait Texts: Sync {
    /// The first line.
    fn heading(&self) -> &'static str;
    /// A step's name in the table at the end.
    fn step(&self, step: StepId) -> &'static str;
    /// What is being done while a step runs.
    fn doing(&self, step: StepId) -> &'static str;

    /// The server programs were found.
    fn programs(&self, version: &str) -> String;
    /// The primary runs.
    fn primary(&self, node: &str, address: &str) -> String;
    /// The role for replication is there.
    fn role(&self, role: &str) -> String;
    /// The standbys' data directories are copies of the primary's.
    fn cloned(&self, standbys: &str, size: &str) -> String;
    /// The standbys stream from the primary.
    fn following(&self, standbys: &str, count: usize, primary: &str) -> String;
    /// A row written on the primary was read on every standby.
    fn read(&self, standbys: &str, after: Duration) -> String;
    /// A standby refused a write.
    fn refused(&self, standbys: &str, count: usize) -> String;
    /// A commit returned although no standby ran; they caught up.
    fn asynchronous(&self, standbys: &str, count: usize, commit: Duration) -> String;
    /// How long the standbys took to catch up, from their start.
    fn caught_up(&self, standbys: &str, count: usize, after: Duration) -> String;
    /// Synchronous replication is in force.
    fn synchronous(&self) -> String;
    /// A commit waited while no standby ran.
    fn waited(&self, standbys: &str, count: usize, waited: Duration) -> String;
    /// A WAL segment was archived and fetched back.
    fn archived(&self, segment: &str) -> String;
    /// The herd, drawn below.
    fn drawn(&self) -> String;

    /// Each node has an agent.
    fn protected(&self, nodes: usize) -> String;
    /// The primary was killed, and another server took a write.
    fn failed_over(&self, old: &str, new: &str, after: Duration) -> String;
    /// Every acknowledged row is there.
    fn nothing_lost(&self, rows: usize) -> String;
    /// The old primary follows the new one.
    fn rejoined(&self, old: &str, new: &str, after: Duration) -> String;

    /// The text that `test_replication` gets.
    fn row_asynchronous(&self) -> &'static str;
    /// The text that it gets while no standby runs.
    fn row_without_standby(&self) -> &'static str;
    /// The text that `test_sync_replication` gets.
    fn row_synchronous(&self) -> &'static str;

    /// The table's two column headings.
    fn table_heading(&self) -> (&'static str, &'static str);
    /// The line below the table.
    fn total(&self, steps: usize, total: Duration) -> String;
    /// Above the connection URIs.
    fn connect(&self) -> &'static str;
    /// Beside the primary's URI, and beside that of the standbys.
    fn connect_to(&self) -> (&'static str, &'static str);
    /// Above the commands to try.
    fn try_next(&self) -> &'static str;
    /// What a command to try is for.
    fn try_command(&self, what: Try) -> &'static str;

    /// An earlier lab was replaced: nobody had written in it.
    fn replaced(&self) -> String;
    /// An unfinished lab was cleared away.
    fn cleared(&self) -> String;
    /// An earlier lab was set aside, and how to get it back.
    fn set_aside(&self, kept: &Path, home: &Path) -> String;
    /// The lab left nothing.
    fn removed(&self, home: &Path) -> String;
    /// The lab's servers were stopped.
    fn stopped(&self, home: &Path) -> String;
    /// The lab's servers were started.
    fn started(&self, home: &Path) -> String;
    /// There is no lab.
    fn nothing_there(&self, home: &Path) -> String;
}

/// The words of `language`.
pub(crate) fn texts(language: Language) -> &'static dyn Texts {
    match language {
        Language::Es => &es::Spanish,
        Language::En => &en::English,
    }
}

/// A duration as people read it: `3 ms`, `214 ms`, `1.23 s`.
pub(crate) fn time(duration: Duration) -> String {
    let milliseconds = duration.as_millis();
    if milliseconds == 0 {
        "<1 ms".to_owned()
    } else if milliseconds < 1000 {
        format!("{milliseconds} ms")
    } else {
        format!("{:.2} s", duration.as_secs_f64())
    }
}
