//! What the lab ends with: for people a picture, a short table and what to try next; for programs JSON.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use serde::Serialize;
use unicode_width::UnicodeWidthStr;

use super::PlaceArgs;
use super::demonstrate::Herd;
use super::language::Language;
use super::screen::table;
use super::server::Server;
use super::step::{Step, milliseconds};
use super::texts::{Texts, Try};
use crate::ui::{WIDTH_MAX, accent, paint};

/// The document's format.
const FORMAT: &str = "manada.lab/1";

/// What was played.
#[derive(Debug, Serialize)]
pub(crate) struct Report<'a> {
    format: &'static str,
    language: &'static str,
    home: &'a Path,
    kept: bool,
    postgresql: Postgresql,
    nodes: Vec<Node>,
    uris: Option<Uris>,
    #[serde(skip)]
    protected: bool,
    steps: &'a [Step],
    #[serde(rename = "machine_work_ms", serialize_with = "milliseconds")]
    machine_work: Duration,
    #[serde(rename = "total_ms", serialize_with = "milliseconds")]
    total: Duration,
}

#[derive(Debug, Serialize)]
struct Postgresql {
    version: String,
    bin_dir: std::path::PathBuf,
}

#[derive(Debug, Serialize)]
struct Node {
    name: String,
    role: &'static str,
    host: String,
    port: u16,
    data_directory: std::path::PathBuf,
}

#[derive(Debug, Serialize)]
struct Uris {
    primary: String,
    standbys: String,
}

/// What only the lab itself knows.
pub(crate) struct Facts<'a> {
    pub(crate) language: Language,
    pub(crate) home: &'a Path,
    pub(crate) kept: bool,
    pub(crate) protected: bool,
    pub(crate) steps: &'a [Step],
    pub(crate) machine_work: Duration,
    pub(crate) total: Duration,
}

impl<'a> Report<'a> {
    pub(crate) fn new(herd: &Herd, facts: Facts<'a>) -> Report<'a> {
        let node = |server: &Server, role| Node {
            name: server.name().to_string(),
            role,
            host: server.node.file.address().to_string(),
            port: server.node.file.port,
            data_directory: server.node.file.data_directory.clone(),
        };
        let standbys = herd.standbys.iter().map(|server| node(server, "standby"));
        Report {
            format: FORMAT,
            language: facts.language.code(),
            home: facts.home,
            kept: facts.kept,
            postgresql: Postgresql {
                version: herd.primary.programs.version().to_string(),
                bin_dir: herd.primary.programs.bin_dir().to_path_buf(),
            },
            nodes: std::iter::once(node(&herd.primary, "primary"))
                .chain(standbys)
                .collect(),
            uris: facts.kept.then(|| Uris {
                primary: uri(herd, std::slice::from_ref(&herd.primary)),
                standbys: uri(herd, &herd.standbys),
            }),
            protected: facts.protected,
            steps: facts.steps,
            machine_work: facts.machine_work,
            total: facts.total,
        }
    }

    /// The end of the practice, as text.
    pub(crate) fn text(&self, texts: &dyn Texts, place: &PlaceArgs) -> String {
        let mut text = format!("\n{}", table(self.steps, self.total, texts));
        if let Some(uris) = &self.uris {
            let (primary, standbys) = texts.connect_to();
            let _ = writeln!(text, "\n{}", paint(accent::STRONG, texts.connect()));
            for (uri, meaning) in [(&uris.primary, primary), (&uris.standbys, standbys)] {
                let meaning = paint(accent::FAINT, format!("# {meaning}"));
                let _ = writeln!(text, "  {meaning}\n  psql '{}'", paint(accent::TYPE, uri));
            }
            text += &self.next(texts, place);
        }
        text
    }

    fn next(&self, texts: &dyn Texts, place: &PlaceArgs) -> String {
        let lab_home = place
            .home
            .as_ref()
            .map(|_| format!(" --home {}", shell_word(&self.home.to_string_lossy())));
        let lab_home = lab_home.unwrap_or_default();
        let node_home = place.home.as_ref().map(|_| {
            let node = self.home.join("node1");
            format!(" --home {}", shell_word(&node.to_string_lossy()))
        });
        let node_home = node_home.unwrap_or_default();
        let tries = if self.protected {
            Try::PROTECTED
        } else {
            Try::PLAIN
        };
        let command = |what: &Try| {
            let home = if what.is_about_the_lab() {
                &lab_home
            } else {
                &node_home
            };
            format!("manada {}{home}", what.command())
        };
        let commands: Vec<String> = tries.iter().map(command).collect();
        let width = commands.iter().map(|command| command.width()).max();
        let width = width.unwrap_or_default();
        let meaning = |what: &Try| texts.try_command(*what);
        let meanings: Vec<&str> = tries.iter().map(meaning).collect();
        let longest = meanings.iter().map(|meaning| meaning.width()).max();
        let beside = 4 + width + longest.unwrap_or_default() <= WIDTH_MAX;
        let mut text = format!("\n{}\n", paint(accent::STRONG, texts.try_next()));
        for (command, meaning) in commands.iter().zip(meanings) {
            let padding = " ".repeat(width - command.width());
            let command = paint(accent::TYPE, command);
            let _ = if beside {
                let meaning = paint(accent::FAINT, meaning);
                writeln!(text, "  {command}{padding}  {meaning}")
            } else {
                let meaning = paint(accent::FAINT, format!("# {meaning}"));
                writeln!(text, "  {meaning}\n  {command}")
            };
        }
        text
    }
}

/// A URI for libpq, without a password in it: the password file is named.
fn uri(herd: &Herd, servers: &[Server]) -> String {
    let account = &herd.account;
    let hosts: Vec<String> = servers.iter().map(Server::address).collect();
    format!(
        "postgresql://{}@{}/{}?sslmode=verify-full&sslrootcert={}&passfile={}",
        account.role(),
        hosts.join(","),
        account.database(),
        percent_encode(&servers[0].node.home.ca_certificate()),
        percent_encode(account.passfile())
    )
}

/// A path as a URI's parameter, and within a shell's single quotes.
fn percent_encode(path: &Path) -> String {
    path.as_os_str()
        .as_encoded_bytes()
        .iter()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'-' | b'_' | b'.' | b'~' => {
                char::from(*byte).to_string()
            }
            other => format!("%{other:02X}"),
        })
        .collect()
}

/// A word for a shell, quoted where it has to be.
fn shell_word(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-_.".contains(&byte);
    if text.bytes().all(plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_with_anything_in_it_stays_one_parameter_and_one_shell_word() {
        assert_eq!(
            percent_encode(Path::new("/srv/it's a & ñ?/ca.crt")),
            "/srv/it%27s%20a%20%26%20%C3%B1%3F/ca.crt"
        );
        assert_eq!(shell_word("/srv/lab"), "/srv/lab");
        assert_eq!(shell_word("/srv/it's"), r"'/srv/it'\''s'");
    }
}
