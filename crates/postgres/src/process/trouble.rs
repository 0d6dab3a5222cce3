//! Why a server did not start, recognised in what it logged.
//!
//! Messages are PostgreSQL's own, in English; a server configured for another language in
//! `lc_messages` still speaks English until it has read its configuration.

use manada_model::wording::shown;
use manada_model::{StartFailure, StartTrouble};

/// How many characters of a server's words are passed on.
const SAID_CHARS_MAX: usize = 700;

/// Substrings of messages, most telling first: an early one explains later ones.
const MESSAGES: [(&str, StartFailure); 24] = [
    ("Address already in use", StartFailure::PortTaken),
    ("using socket file", StartFailure::PortTaken),
    (
        "Cannot assign requested address",
        StartFailure::ForeignAddress,
    ),
    ("No space left on device", StartFailure::DiskFull),
    ("Disk quota exceeded", StartFailure::DiskFull),
    ("Read-only file system", StartFailure::ReadOnly),
    (".s.PGSQL.", StartFailure::SocketDirectory),
    (
        "could not create any Unix-domain sockets",
        StartFailure::SocketDirectory,
    ),
    (
        "pre-existing shared memory block",
        StartFailure::SharedMemoryInUse,
    ),
    (
        "could not create shared memory segment",
        StartFailure::SharedMemoryExhausted,
    ),
    (
        "could not map anonymous shared memory",
        StartFailure::SharedMemoryExhausted,
    ),
    (
        "could not resize shared memory segment",
        StartFailure::SharedMemoryExhausted,
    ),
    (
        "could not create semaphores",
        StartFailure::SharedMemoryExhausted,
    ),
    ("Is another postmaster", StartFailure::AlreadyRunning),
    ("Is another postgres", StartFailure::AlreadyRunning),
    (
        "database files are incompatible with server",
        StartFailure::WrongVersion,
    ),
    (
        "is not compatible with this version",
        StartFailure::WrongVersion,
    ),
    (
        "insufficient parameter settings",
        StartFailure::LimitsBelowPrimary,
    ),
    ("has invalid permissions", StartFailure::Permissions),
    ("configuration file", StartFailure::Configuration),
    ("could not load pg_hba.conf", StartFailure::Configuration),
    ("requires wal_level", StartFailure::Configuration),
    (
        "cannot be enabled when wal_level",
        StartFailure::Configuration,
    ),
    ("invalid value for parameter", StartFailure::Configuration),
];

/// Said last: other failures mention it too.
const LAST_RESORTS: [(&str, StartFailure); 4] = [
    (
        "unrecognized configuration parameter",
        StartFailure::Configuration,
    ),
    (
        "could not load server certificate",
        StartFailure::Configuration,
    ),
    ("Permission denied", StartFailure::Permissions),
    ("has wrong ownership", StartFailure::Permissions),
];

/// The postmaster says it when the process that recovers the data has failed (`process_pm_child_exit`
/// in `postmaster.c`).
const RECOVERY_FAILED: &str = "startup process failure";

/// A postmaster says it that gives up in good order, after it has read its configuration.
const GAVE_UP: &str = "database system is shut down";

/// What a postmaster says of its own data before it has them recovered.
const ABOUT_DATA: [&str; 4] = [
    "control file",
    "could not open directory \"pg_",
    "could not open file \"global/",
    "is not a valid data directory",
];

/// What is said in the course of any start.
const OF_COURSE: [&str; 6] = [
    "starting PostgreSQL",
    "listening on ",
    "redirecting log output",
    "ending log output",
    "database system ",
    "the database system ",
];

/// A line of a log.
struct Line<'a> {
    kind: Kind,
    text: &'a str,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// It ended something.
    Fatal,
    /// It did not.
    Message,
    /// It belongs to the line before.
    More,
    /// Advice for the server's administrator.
    Hint,
}

/// How lines begin, behind whatever `log_line_prefix` says.
const KINDS: [(&str, Kind); 9] = [
    ("FATAL:  ", Kind::Fatal),
    ("PANIC:  ", Kind::Fatal),
    ("LOG:  ", Kind::Message),
    ("WARNING:  ", Kind::Message),
    ("ERROR:  ", Kind::Message),
    ("CONTEXT:  ", Kind::More),
    ("DETAIL:  ", Kind::More),
    ("HINT:  ", Kind::Hint),
    ("STATEMENT:  ", Kind::Hint),
];

/// Recognises the reason in what a server logged in a start that failed.
pub fn trouble_in(log: &str) -> StartTrouble {
    let lines: Vec<Line<'_>> = log.lines().filter_map(Line::read).collect();
    let recovered = log.contains(RECOVERY_FAILED);
    let told = if recovered {
        end_of_recovery(&lines)
    } else {
        &lines
    };
    let told: Vec<&Line<'_>> = told.iter().filter(|line| !line.is_of_course()).collect();
    StartTrouble {
        failure: recognise(&told, log, recovered),
        said: said(&told, log),
    }
}

/// The last word of the process that recovers the data: what others said before stood in nobody's
/// way, and what they say after it follows from it.
fn end_of_recovery<'l, 'a>(lines: &'l [Line<'a>]) -> &'l [Line<'a>] {
    let ended = |line: &Line<'_>| line.text.starts_with("startup process (PID");
    let end = lines.iter().position(ended).unwrap_or(lines.len());
    let before = &lines[..end];
    let is_fatal = |line: &Line<'_>| line.kind == Kind::Fatal;
    &before[before.iter().rposition(is_fatal).unwrap_or(0)..]
}

fn recognise(lines: &[&Line<'_>], log: &str, recovered: bool) -> StartFailure {
    let mentions = |message: &str| lines.iter().any(|line| line.text.contains(message));
    let known = MESSAGES.iter().chain(&LAST_RESORTS);
    let mut known = known.filter(|(message, _)| mentions(message));
    let gave_up = || {
        let mut fatal = lines.iter().filter(|line| line.kind == Kind::Fatal);
        let is_about_data =
            |line: &&Line<'_>| ABOUT_DATA.iter().any(|words| line.text.contains(words));
        !recovered && log.contains(GAVE_UP) && fatal.next().is_some_and(|line| !is_about_data(line))
    };
    match known.next() {
        Some((_, failure)) => *failure,
        None if gave_up() => StartFailure::BeforeItsData,
        None => StartFailure::Other,
    }
}

/// The server's words about it, without what it says in any start.
fn said(lines: &[&Line<'_>], log: &str) -> String {
    let mut words: Vec<String> = Vec::new();
    for line in lines {
        match (line.kind, words.last_mut()) {
            (Kind::Fatal | Kind::Message, _) => words.push(line.text.to_owned()),
            (Kind::More, Some(last)) => last.push_str(&format!(" ({})", line.text)),
            (Kind::More, None) | (Kind::Hint, _) => {}
        }
    }
    if words.is_empty() {
        words.extend(
            log.lines()
                .map(str::trim)
                .filter(|line| !line.is_empty())
                .map(str::to_owned),
        );
    }
    shown(&words.join("; "))
        .chars()
        .take(SAID_CHARS_MAX)
        .collect()
}

impl<'a> Line<'a> {
    fn read(line: &'a str) -> Option<Line<'a>> {
        let begins = |(word, kind): &(&str, Kind)| {
            let at = line.find(word)?;
            Some((at, &line[at + word.len()..], *kind))
        };
        let (_, text, kind) = KINDS.iter().filter_map(begins).min_by_key(|(at, ..)| *at)?;
        Some(Line { kind, text })
    }

    fn is_of_course(&self) -> bool {
        OF_COURSE.iter().any(|words| self.text.starts_with(words))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// As PostgreSQL 15 logs, with its default prefix before each line.
    fn trouble(lines: &[&str]) -> StartTrouble {
        let prefixed = lines
            .iter()
            .map(|line| format!("2026-11-22 09:41:03.977 GMT [12017] {line}\n"));
        trouble_in(&prefixed.collect::<String>())
    }

    const BEGINS: &str = "LOG:  starting PostgreSQL 15.18 on x86_64-pc-linux-gnu, 64-bit";
    const SOCKET: &str = "LOG:  listening on Unix socket \"/run/.s.PGSQL.5432\"";
    const RECOVERS: &str = "LOG:  database system was shut down at 2026-11-22 09:41:03 UTC";
    const GIVES_UP: &str = "LOG:  database system is shut down";

    #[test]
    fn a_mistake_in_a_configuration_is_told_with_its_file_and_line() {
        let found = trouble(&[
            "LOG:  syntax error in file \"/d/postgresql.conf\" line 816, near token \"=\"",
            "FATAL:  configuration file \"/d/postgresql.conf\" contains errors",
        ]);
        assert_eq!(found.failure, StartFailure::Configuration);
        assert_eq!(
            found.said,
            "syntax error in file \"/d/postgresql.conf\" line 816, near token \"=\"; \
             configuration file \"/d/postgresql.conf\" contains errors"
        );
        let found = trouble(&[
            BEGINS,
            SOCKET,
            "LOG:  invalid connection type \"hostsl\"",
            "CONTEXT:  line 99 of configuration file \"/d/pg_hba.conf\"",
            "FATAL:  could not load pg_hba.conf",
            GIVES_UP,
        ]);
        assert_eq!(found.failure, StartFailure::Configuration);
        assert_eq!(
            found.said,
            "invalid connection type \"hostsl\" (line 99 of configuration file \
             \"/d/pg_hba.conf\"); could not load pg_hba.conf"
        );
        let found = trouble(&[
            "FATAL:  WAL streaming (max_wal_senders > 0) requires wal_level \"replica\" or \"logical\"",
        ]);
        assert_eq!(found.failure, StartFailure::Configuration);
    }

    #[test]
    fn a_taken_port_is_recognised_beside_what_follows_from_it() {
        let found = trouble(&[
            "LOG:  could not bind IPv4 address \"127.0.0.1\": Address already in use",
            "HINT:  Is another postmaster already running on port 5432? If not, wait a few seconds and retry.",
            "WARNING:  could not create listen socket for \"127.0.0.1\"",
            "FATAL:  could not create any TCP/IP sockets",
        ]);
        assert_eq!(found.failure, StartFailure::PortTaken);
    }

    #[test]
    fn a_second_server_on_a_directory_is_recognised() {
        let found = trouble(&[
            "FATAL:  lock file \"postmaster.pid\" already exists",
            "HINT:  Is another postmaster (PID 12) running in data directory \"/data\"?",
        ]);
        assert_eq!(found.failure, StartFailure::AlreadyRunning);
    }

    #[test]
    fn whoever_gives_up_before_its_data_has_nothing_wrong_with_it() {
        for (fatal, detail) in [
            (
                "FATAL:  could not access file \"nope\": No such file or directory",
                None,
            ),
            (
                "FATAL:  could not load server certificate file \"server.crt\": No such file",
                None,
            ),
            (
                "FATAL:  data directory \"/d\" has invalid permissions",
                Some("DETAIL:  Permissions should be u=rwx (0700) or u=rwx,g=rx (0750)."),
            ),
        ] {
            let lines: Vec<&str> = [Some(fatal), detail, Some(GIVES_UP)]
                .into_iter()
                .flatten()
                .collect();
            let found = trouble(&lines);
            assert!(!found.failure.may_be_of_data(), "{fatal}: {found:?}");
            assert!(
                fatal.contains(found.said.split(" (").next().expect("words")),
                "{found:?}"
            );
        }
    }

    #[test]
    fn data_that_can_not_be_recovered_are_told_apart() {
        for fatal in [
            "FATAL:  invalid data in file \"backup_label\"",
            "PANIC:  could not locate a valid checkpoint record",
            "FATAL:  requested timeline 7 is not a child of this server's history",
        ] {
            let found = trouble(&[
                BEGINS,
                "LOG:  could not bind IPv6 address \"::1\": Address already in use",
                SOCKET,
                RECOVERS,
                fatal,
                "LOG:  startup process (PID 12203) exited with exit code 1",
                "LOG:  shutting down due to startup process failure",
                GIVES_UP,
            ]);
            assert!(found.failure.may_be_of_data(), "{fatal}: {found:?}");
            assert!(fatal.ends_with(&found.said), "{found:?}");
        }
        for fatal in [
            "FATAL:  incorrect checksum in control file",
            "FATAL:  could not open directory \"pg_notify\": No such file or directory",
        ] {
            let found = trouble(&[fatal, GIVES_UP]);
            assert!(found.failure.may_be_of_data(), "{fatal}: {found:?}");
        }
    }

    #[test]
    fn a_full_disk_in_a_recovery_is_no_fault_of_the_data() {
        let found = trouble(&[
            RECOVERS,
            "FATAL:  could not write to file \"pg_wal/xlogtemp.12\": No space left on device",
            "LOG:  startup process (PID 12203) exited with exit code 1",
            "LOG:  shutting down due to startup process failure",
        ]);
        assert_eq!(found.failure, StartFailure::DiskFull);
    }

    #[test]
    fn words_without_any_form_are_passed_on() {
        let log = "postgres: could not find the database system\nExpected to find it in \"/d\",\n";
        let found = trouble_in(log);
        assert!(found.failure.may_be_of_data());
        assert!(
            found
                .said
                .starts_with("postgres: could not find the database system; Expected")
        );
    }

    proptest! {
        #[test]
        fn each_message_is_recognised_alone(before in "[a-z ]{0,9}", row in 0..MESSAGES.len()) {
            let (message, failure) = MESSAGES[row];
            prop_assert_eq!(trouble_in(&format!("FATAL:  {before}: {message}")).failure, failure);
        }

        #[test]
        fn any_log_is_survived(log in "\\PC{0,60}\n(FATAL|LOG):  \\PC{0,60}") {
            prop_assert!(trouble_in(&log).said.chars().count() <= SAID_CHARS_MAX);
        }
    }
}
