//! The command line a server was started with, and how to start it so again.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use super::running::RunningServer;

/// A server's program and its arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandLine {
    /// The server program.
    pub program: PathBuf,
    /// What follows it.
    pub arguments: Vec<OsString>,
}

impl CommandLine {
    /// That of a running server, with a program that can be run again. `None` where the server
    /// hides it.
    pub(super) fn of(server: &RunningServer) -> io::Result<Option<CommandLine>> {
        let Some(mut line) = CommandLine::of_process(server.pid)? else {
            return Ok(None);
        };
        if line.program.is_relative() {
            line.program = fs::read_link(format!("/proc/{}/exe", server.pid))?;
        }
        Ok(Some(line))
    }

    /// The words of a process's command line, exactly.
    pub(super) fn of_process(pid: i32) -> io::Result<Option<CommandLine>> {
        let words = fs::read(format!("/proc/{pid}/cmdline"))?;
        Ok(CommandLine::from_words(
            words
                .strip_suffix(b"\0")
                .unwrap_or(&words)
                .split(|byte| *byte == 0)
                .map(|word| OsString::from_vec(word.to_vec())),
        ))
    }

    /// That of the last start, as the server noted it in `postmaster.opts`; `None` where it was
    /// never started.
    pub(super) fn noted(data_directory: &Path) -> io::Result<Option<CommandLine>> {
        match fs::read(data_directory.join("postmaster.opts")) {
            Ok(text) => Ok(CommandLine::parse_noted(&text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Reads `PROGRAM "ARGUMENT" "ARGUMENT"…`. Nothing is escaped in it (`CreateOptsFile` in
    /// `postmaster.c`), so that an argument ends where a quote is followed by ` "` or the end.
    fn parse_noted(text: &[u8]) -> Option<CommandLine> {
        let line = text.strip_suffix(b"\n").unwrap_or(text);
        let separator = b" \"";
        let begin = find(line, separator);
        let (program, mut rest) = match begin {
            Some(at) => (&line[..at], &line[at + separator.len()..]),
            None => (line, &line[..0]),
        };
        let mut words = vec![program];
        if begin.is_some() {
            let between = b"\" \"";
            while let Some(at) = find(rest, between) {
                words.push(&rest[..at]);
                rest = &rest[at + between.len()..];
            }
            words.push(rest.strip_suffix(b"\"")?);
        }
        CommandLine::from_words(words.into_iter().map(|word| OsStr::from_bytes(word).into()))
    }

    fn from_words(mut words: impl Iterator<Item = OsString>) -> Option<CommandLine> {
        let program = words.next().filter(|program| !program.is_empty())?;
        Some(CommandLine {
            program: program.into(),
            arguments: words.collect(),
        })
    }

    /// The arguments with `-D` naming `data_directory` absolutely where it was relative: the
    /// directory it was relative to is not known.
    pub(super) fn arguments_for(&self, data_directory: &Path) -> Vec<OsString> {
        let mut arguments = self.arguments.clone();
        let mut names_directory = false;
        let mut names_configuration = false;
        for index in 0..arguments.len() {
            let word = arguments[index].as_bytes().to_vec();
            names_configuration |= word.starts_with(b"config_file=")
                || word.starts_with(b"-cconfig_file=")
                || word.starts_with(b"--config_file=")
                || word.starts_with(b"--config-file=");
            let (value_at, prefix_length) = match word.strip_prefix(b"-D") {
                Some(b"") => (index + 1, 0),
                Some(_) => (index, 2),
                None => continue,
            };
            let Some(value) = arguments.get_mut(value_at) else {
                continue;
            };
            names_directory = true;
            let (prefix, directory) = value.as_bytes().split_at(prefix_length);
            if Path::new(OsStr::from_bytes(directory)).is_relative() {
                let mut absolute = OsStr::from_bytes(prefix).to_os_string();
                absolute.push(data_directory);
                *value = absolute;
            }
        }
        if !names_directory && !names_configuration {
            arguments.push("-D".into());
            arguments.push(data_directory.into());
        }
        arguments
    }
}

fn find(text: &[u8], part: &[u8]) -> Option<usize> {
    text.windows(part.len()).position(|window| window == part)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn line(words: &[&str]) -> CommandLine {
        CommandLine::from_words(words.iter().map(OsString::from)).expect("a program")
    }

    #[test]
    fn our_own_command_line_is_read() {
        let pid = i32::try_from(std::process::id()).expect("a process id");
        let read = CommandLine::of_process(pid)
            .expect("readable")
            .expect("words");
        let own: Vec<OsString> = std::env::args_os().collect();
        assert_eq!(read.program, PathBuf::from(&own[0]));
        assert_eq!(read.arguments, own[1..]);
    }

    #[test]
    fn a_relative_directory_is_made_absolute_and_a_missing_one_added() {
        let data = Path::new("/srv/my data");
        for (words, expected) in [
            (vec!["postgres"], vec!["-D", "/srv/my data"]),
            (vec!["postgres", "-D", "data"], vec!["-D", "/srv/my data"]),
            (vec!["postgres", "-Ddata"], vec!["-D/srv/my data"]),
            (
                vec!["postgres", "-D", "/elsewhere"],
                vec!["-D", "/elsewhere"],
            ),
            (
                vec!["postgres", "-c", "config_file=/etc/x"],
                vec!["-c", "config_file=/etc/x"],
            ),
        ] {
            assert_eq!(line(&words).arguments_for(data), expected, "{words:?}");
        }
    }

    #[test]
    fn a_damaged_note_is_no_command_line() {
        for text in ["", "\n", "postgres \"-D", " \"-D\""] {
            assert_eq!(CommandLine::parse_noted(text.as_bytes()), None, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn what_a_server_notes_is_read_back(
            program in "/[^\"\\x00\n]{1,20}[^\"\\x00\n ]",
            arguments in proptest::collection::vec("[^\"\\x00\n]{0,12}", 0..5),
        ) {
            let mut text = program.clone();
            for argument in &arguments {
                text.push_str(&format!(" \"{argument}\""));
            }
            text.push('\n');
            let read = CommandLine::parse_noted(text.as_bytes()).expect("well-formed");
            prop_assert_eq!(read.program, PathBuf::from(program));
            prop_assert_eq!(read.arguments, arguments.iter().map(OsString::from).collect::<Vec<_>>());
        }

        #[test]
        fn any_note_is_survived(text in proptest::collection::vec(any::<u8>(), 0..60)) {
            if let Some(line) = CommandLine::parse_noted(&text) {
                line.arguments_for(Path::new("/data"));
            }
        }
    }
}
