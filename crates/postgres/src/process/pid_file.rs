//! `postmaster.pid`: what a server says about itself in its data directory.
//!
//! Source: `src/include/utils/pidfile.h`, the same from 15 to 18.

use std::path::PathBuf;

use serde::Serialize;

/// The lines of `postmaster.pid`. A starting server writes the later ones one by one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PidFile {
    /// The server's process id.
    pub pid: i32,
    /// Whether it is a single-user backend rather than a server.
    pub single_user: bool,
    /// The data directory, as the server sees it.
    pub data_directory: PathBuf,
    /// When it started, in seconds since 1970.
    pub started_at_seconds: i64,
    /// The TCP port.
    pub port: Option<u16>,
    /// The first directory with its socket.
    pub socket_directory: Option<PathBuf>,
    /// The first address it listens on, `*` for all.
    pub listen_address: Option<String>,
    /// What it is doing.
    pub status: PostmasterStatus,
}

/// What a server says it is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PostmasterStatus {
    /// Not yet taking connections.
    Starting,
    /// Taking connections, as a primary or as a standby.
    Ready,
    /// Following as a standby that takes none (`hot_standby = off`).
    Standby,
    /// Shutting down.
    Stopping,
}

/// The text is no `postmaster.pid`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line} of postmaster.pid is not {expected}")]
pub struct ParsePidFileError {
    /// The line, from 1.
    pub line: usize,
    /// What it should be.
    pub expected: &'static str,
}

impl PidFile {
    /// Reads the file's content.
    pub fn parse(text: &str) -> Result<PidFile, ParsePidFileError> {
        let mut lines = text.lines();
        let mut next = move || lines.next().filter(|line| !line.is_empty());
        let expected = |line, expected| ParsePidFileError { line, expected };

        let pid = next()
            .and_then(|line| line.trim().parse::<i32>().ok())
            .filter(|pid| *pid != 0 && *pid != i32::MIN)
            .ok_or(expected(1, "a process id"))?;
        let data_directory = next().ok_or(expected(2, "a directory"))?.into();
        let started_at_seconds = next()
            .and_then(|line| line.trim().parse().ok())
            .ok_or(expected(3, "a time"))?;
        let port = next()
            .map(|line| line.trim().parse())
            .transpose()
            .map_err(|_| expected(4, "a port"))?;
        let socket_directory = next().map(PathBuf::from);
        let listen_address = next().map(str::to_owned);
        let _shared_memory = next();
        let status = match next().map(str::trim) {
            None | Some("starting") => PostmasterStatus::Starting,
            Some("ready") => PostmasterStatus::Ready,
            Some("standby") => PostmasterStatus::Standby,
            Some("stopping") => PostmasterStatus::Stopping,
            Some(_) => return Err(expected(8, "starting, ready, standby or stopping")),
        };
        Ok(PidFile {
            pid: pid.abs(),
            single_user: pid < 0,
            data_directory,
            started_at_seconds,
            port,
            socket_directory,
            listen_address,
            status,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_ready_servers_file_is_read() {
        let text = "14217\n/srv/my data\n1763755200\n5433\n/tmp/s\n127.0.0.1\n  1234567   98304\nready   \n";
        let file = PidFile::parse(text).expect("well-formed");
        assert_eq!(file.pid, 14217);
        assert_eq!(file.data_directory, PathBuf::from("/srv/my data"));
        assert_eq!(file.port, Some(5433));
        assert_eq!(file.socket_directory, Some("/tmp/s".into()));
        assert_eq!(file.listen_address.as_deref(), Some("127.0.0.1"));
        assert_eq!(file.status, PostmasterStatus::Ready);
        assert!(!file.single_user);
    }

    #[test]
    fn a_starting_servers_file_is_short() {
        let file = PidFile::parse("12\n/data\n1763755200\n5433\n\n").expect("well-formed");
        assert_eq!(file.socket_directory, None);
        assert_eq!(file.status, PostmasterStatus::Starting);
    }

    #[test]
    fn a_single_user_backend_marks_its_number() {
        let file = PidFile::parse("-12\n/data\n1763755200\n5432\n").expect("well-formed");
        assert_eq!((file.pid, file.single_user), (12, true));
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "(-?[0-9]{1,11}\n)?(\\PC{0,12}\n?){0,9}") {
            if let Ok(file) = PidFile::parse(&text) {
                prop_assert!(file.pid > 0);
            }
        }

        #[test]
        fn what_a_server_writes_is_read_back(
            pid in 1..=i32::MAX,
            directory in "/[^\\x00-\\x1f\\x7f-\\x9f\u{2028}\u{2029}]{1,40}",
            port: u16,
            status in proptest::sample::select(vec!["starting", "stopping", "ready   ", "standby "]),
        ) {
            let text = format!("{pid}\n{directory}\n1\n{port}\n{directory}\n*\n1 2\n{status}\n");
            let file = PidFile::parse(&text).expect("well-formed");
            prop_assert_eq!(file.pid, pid);
            prop_assert_eq!(file.data_directory, PathBuf::from(&directory));
            prop_assert_eq!(file.port, Some(port));
        }
    }
}
