//! Why a server did not start, recognised in what it logged.

use std::fmt;

/// A reason for which servers do not start, recognised by its message.
///
/// Messages are PostgreSQL's own, in English; a server configured for another language in
/// `lc_messages` still speaks English until it has read its configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Another program listens on the port.
    PortTaken,
    /// An address to listen on is not this machine's.
    ForeignAddress,
    /// The socket's directory is missing or not writable.
    SocketDirectory,
    /// The file system is full.
    DiskFull,
    /// The file system is read-only.
    ReadOnly,
    /// A file or directory is closed to the server's user, or open to others.
    Permissions,
    /// Processes of a server that died still use its shared memory.
    SharedMemoryInUse,
    /// Not enough shared memory or semaphores.
    SharedMemoryExhausted,
    /// Another server runs on the directory.
    AlreadyRunning,
    /// The directory was made by another major version, or is damaged.
    WrongVersion,
    /// The configuration has a mistake.
    Configuration,
    /// A setting is smaller than the primary's.
    LimitsBelowPrimary,
    /// None of these; the log says more.
    Other,
}

/// Substrings of messages, most telling first: an early one explains later ones.
const MESSAGES: [(&str, Failure); 21] = [
    ("Address already in use", Failure::PortTaken),
    ("using socket file", Failure::PortTaken),
    ("Cannot assign requested address", Failure::ForeignAddress),
    ("No space left on device", Failure::DiskFull),
    ("Disk quota exceeded", Failure::DiskFull),
    ("Read-only file system", Failure::ReadOnly),
    (".s.PGSQL.", Failure::SocketDirectory),
    (
        "could not create any Unix-domain sockets",
        Failure::SocketDirectory,
    ),
    (
        "pre-existing shared memory block",
        Failure::SharedMemoryInUse,
    ),
    (
        "could not create shared memory segment",
        Failure::SharedMemoryExhausted,
    ),
    (
        "could not map anonymous shared memory",
        Failure::SharedMemoryExhausted,
    ),
    (
        "could not resize shared memory segment",
        Failure::SharedMemoryExhausted,
    ),
    (
        "could not create semaphores",
        Failure::SharedMemoryExhausted,
    ),
    ("Is another postmaster", Failure::AlreadyRunning),
    ("Is another postgres", Failure::AlreadyRunning),
    (
        "database files are incompatible with server",
        Failure::WrongVersion,
    ),
    ("is not compatible with this version", Failure::WrongVersion),
    (
        "insufficient parameter settings",
        Failure::LimitsBelowPrimary,
    ),
    ("has invalid permissions", Failure::Permissions),
    ("configuration file", Failure::Configuration),
    ("invalid value for parameter", Failure::Configuration),
];

/// What a server says of a socket that it has: no failure.
const SOCKET_WORKS: &str = "listening on Unix socket";

/// Said last: other failures mention it too.
const LAST_RESORTS: [(&str, Failure); 4] = [
    (
        "unrecognized configuration parameter",
        Failure::Configuration,
    ),
    ("could not load server certificate", Failure::Configuration),
    ("Permission denied", Failure::Permissions),
    ("has wrong ownership", Failure::Permissions),
];

impl Failure {
    /// Recognises the reason in the end of a log.
    pub fn recognise(log: &str) -> Failure {
        let troubles: String = log
            .lines()
            .filter(|line| !line.contains(SOCKET_WORKS))
            .flat_map(|line| [line, "\n"])
            .collect();
        MESSAGES
            .iter()
            .chain(&LAST_RESORTS)
            .find(|(message, _)| troubles.contains(message))
            .map_or(Failure::Other, |(_, failure)| *failure)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Failure::PortTaken => {
                "another program listens on its port: choose a free one, or stop that program"
            }
            Failure::ForeignAddress => {
                "an address in listen_addresses is not one of this machine's: correct it"
            }
            Failure::SocketDirectory => {
                "its socket's directory is missing or closed to it: set unix_socket_directories to a directory the server's user can write to"
            }
            Failure::DiskFull => "its file system is full: free space there, then start it again",
            Failure::ReadOnly => "its file system is read-only: remount it writable",
            Failure::Permissions => {
                "a file is closed to the server's user, or open to others: see which one below"
            }
            Failure::SharedMemoryInUse => {
                "processes of a server that died still use its shared memory: end them, then start it again"
            }
            Failure::SharedMemoryExhausted => {
                "there is not enough shared memory or too few semaphores: lower shared_buffers or max_connections"
            }
            Failure::AlreadyRunning => "another server runs on this directory",
            Failure::WrongVersion => {
                "the directory was made by another major version of PostgreSQL: use that version's programs"
            }
            Failure::Configuration => "its configuration has a mistake: see which one below",
            Failure::LimitsBelowPrimary => {
                "one of its limits is below the primary's: raise the setting named below"
            }
            Failure::Other => "see the end of its log below",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_taken_port_is_recognised_beside_what_follows_from_it() {
        let log = "LOG:  could not bind IPv4 address \"127.0.0.1\": Address already in use\n\
                   HINT:  Is another postmaster already running on port 5432? If not, wait a few seconds and retry.\n\
                   WARNING:  could not create listen socket for \"127.0.0.1\"\n\
                   FATAL:  could not create any TCP/IP sockets\n";
        assert_eq!(Failure::recognise(log), Failure::PortTaken);
    }

    #[test]
    fn a_second_server_on_a_directory_is_recognised() {
        let log = "FATAL:  lock file \"postmaster.pid\" already exists\n\
                   HINT:  Is another postmaster (PID 12) running in data directory \"/data\"?\n";
        assert_eq!(Failure::recognise(log), Failure::AlreadyRunning);
    }

    #[test]
    fn a_socket_that_works_is_no_failure() {
        let log = "LOG:  listening on Unix socket \"/run/.s.PGSQL.5432\"\n\
                   LOG:  invalid connection type \"hostsl\"\n\
                   CONTEXT:  line 9 of configuration file \"/data/pg_hba.conf\"\n\
                   FATAL:  could not load /data/pg_hba.conf\n";
        assert_eq!(Failure::recognise(log), Failure::Configuration);
    }

    proptest! {
        #[test]
        fn each_message_is_recognised_alone(before in "[a-z ]{0,9}", row in 0..MESSAGES.len()) {
            let (message, failure) = MESSAGES[row];
            prop_assert_eq!(Failure::recognise(&format!("{before}: {message}")), failure);
        }
    }
}
