//! `manada join`: this host becomes a standby.

use std::io::{IsTerminal as _, Read as _};
use std::path::PathBuf;

use indicatif::ProgressBar;
use jiff::Timestamp;
use manada_herd::join::{AskError, Obstacle};
use manada_herd::{
    Home, Invitation, JoinError, JoinNote, JoinStep, Joined, NewStandby, Refusal, Token, join,
};
use manada_model::NodeName;
use manada_postgres::address::HostAddress;
use manada_postgres::conninfo::DEFAULT_PORT;
use manada_postgres::programs::Wanted;
use manada_wal::clone::ClonePhase;

use super::init::own_program;
use crate::error::{Exit, Failure, Outcome};
use crate::ui::{Format, Ui, accent, paint};
use crate::{block_on, server_programs, this_host};

/// Make this host a standby of the primary that gave the token.
///
/// Copies the primary's data, verified as it passes, and starts a server that follows it over TLS
/// on a slot of its own. Checks first what can be checked, and changes nothing if it would fail.
///
/// The token is a secret. On the command line every user of this host can see it in the list of
/// processes: rather paste it into `manada join -`, pipe it, or set MANADA_TOKEN.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  manada join -
  ssh db1 manada token | manada join - --name db2 --address 10.0.0.2")]
pub(crate) struct JoinArgs {
    /// The token that `manada init` or `manada token` printed; `-` reads it from standard input.
    #[arg(value_name = "TOKEN", env = "MANADA_TOKEN", hide_env_values = true)]
    token: Option<String>,

    /// This node's name; the host's where it is not said.
    #[arg(long, value_name = "NODE")]
    name: Option<NodeName>,

    /// How other hosts reach this one; the address that the primary sees where it is not said.
    #[arg(long = "address", value_name = "ADDRESS")]
    addresses: Vec<HostAddress>,

    /// The server's port.
    #[arg(long, value_name = "PORT", default_value_t = DEFAULT_PORT, value_parser = clap::value_parser!(u16).range(1..))]
    port: u16,

    /// The server programs' directory, where the primary's version is not found by itself.
    #[arg(long, value_name = "PG")]
    pg: Option<Wanted>,

    /// The node's directory.
    #[arg(long, value_name = "DIR", env = "MANADA_HOME")]
    home: Option<PathBuf>,

    /// The data directory, absent or empty, where it is not to be in the node's directory.
    #[arg(long, value_name = "DIR")]
    pgdata: Option<PathBuf>,
}

pub(crate) fn run(args: JoinArgs, ui: Ui) -> Result<Outcome, Failure> {
    let token = read_token(args.token.as_deref(), ui)?;
    let new = plan(&args, &token)?;
    let joined = block_on(async {
        let invitation = Invitation::ask(&token, Timestamp::now())
            .await
            .map_err(|error| failure(error.into()))?;
        let wanted = match &args.pg {
            Some(wanted) => wanted.clone(),
            None => Wanted::Major(
                invitation
                    .facts()
                    .version
                    .major()
                    .map_err(Failure::refused)?,
            ),
        };
        let programs = server_programs::find_or_fetch(&wanted, ui)?;
        let shown = Shown::new(ui);
        let outcome = join(&invitation, &programs, &new, &|step| shown.show(step)).await;
        shown.bar.finish_and_clear();
        outcome.map_err(failure)
    })
    .map_err(|failure| {
        if failure.exit() == Exit::Interrupted {
            interrupted(&new)
        } else {
            failure
        }
    })?;
    report(&joined, ui);
    Ok(Outcome::Done)
}

/// The longest token that is read, in bytes.
const TOKEN_BYTES_MAX: u64 = 8192;

fn read_token(argument: Option<&str>, ui: Ui) -> Result<Token, Failure> {
    let text = match argument {
        Some(text) if text != "-" => text.to_owned(),
        Some(_) | None => {
            let mut stdin = std::io::stdin().lock();
            let mut text = String::new();
            if std::io::stdin().is_terminal() {
                ui.note("paste the token, then Enter:");
                std::io::BufRead::read_line(&mut stdin, &mut text)
            } else {
                stdin.take(TOKEN_BYTES_MAX).read_to_string(&mut text)
            }
            .map_err(|error| Failure::usage("the token can't be read").because(error))?;
            text
        }
    };
    text.parse().map_err(|error| {
        Failure::usage(error).next("get one on the primary's host with: manada token")
    })
}

fn plan(args: &JoinArgs, token: &Token) -> Result<NewStandby, Failure> {
    let name = args.name.clone().unwrap_or_else(this_host::node_name);
    let home = match &args.home {
        Some(path) => Home::at(path),
        None => Home::of(&token.herd, &name),
    }
    .map_err(Failure::usage)?;
    let data_directory = args
        .pgdata
        .as_deref()
        .map(std::path::absolute)
        .transpose()
        .map_err(|error| Failure::usage("--pgdata is no path").because(error))?;
    Ok(NewStandby {
        home,
        name,
        addresses: args.addresses.clone(),
        port: args.port,
        data_directory,
        manada: own_program()?,
    })
}

/// The course of a join, on one line.
struct Shown {
    bar: ProgressBar,
}

impl Shown {
    fn new(ui: Ui) -> Shown {
        Shown {
            bar: ui.bytes_bar(0, "joining"),
        }
    }

    fn show(&self, step: JoinStep) {
        match step {
            JoinStep::AskingForAdmission => self.bar.set_message("asking"),
            JoinStep::Cloning(clone) => {
                self.bar.set_message(match clone.phase {
                    ClonePhase::Preparing => "preparing",
                    ClonePhase::Checkpoint => "primary's checkpoint",
                    ClonePhase::Copying => "copying",
                    ClonePhase::WalTail => "last WAL",
                    ClonePhase::Flushing => "making it durable",
                    ClonePhase::Done => "copied",
                });
                self.bar.set_length(clone.bytes_total);
                self.bar.set_position(clone.bytes_done);
            }
            JoinStep::Starting => self.bar.set_message("starting"),
            JoinStep::WaitingForStream => self.bar.set_message("waiting for the stream"),
        }
    }
}

fn report(joined: &Joined, ui: Ui) {
    let node = &joined.node;
    let copied_bytes = joined.clone.as_ref().map(|clone| clone.bytes);
    match ui.format() {
        Format::Json => ui.json(&serde_json::json!({
            "format": "manada.join/1",
            "herd": node.file.herd,
            "node": node.file.name,
            "addresses": node.file.addresses,
            "port": node.file.port,
            "home": node.home.path(),
            "data_directory": node.file.data_directory,
            "settings_file": node.file.settings_file(),
            "copied_bytes": copied_bytes,
            "notes": joined.notes.iter().map(note).collect::<Vec<_>>(),
        })),
        Format::Text => {
            let mut text = format!(
                "{} follows as a standby of the herd {}, at {}\n  settings  {}\n",
                paint(accent::STRONG, &node.file.name),
                paint(accent::STRONG, &node.file.herd),
                node.endpoint(),
                node.file.settings_file().display(),
            );
            for note in joined.notes.iter().map(note) {
                text += &format!("  {}      {note}\n", paint(accent::WARN, "note"));
            }
            text += &format!("next: {}", paint(accent::TYPE, "manada status"));
            ui.text(text);
        }
    }
}

fn note(note: &JoinNote) -> String {
    match note {
        JoinNote::AccessRulesNotCarried { hba_file } => format!(
            "the primary keeps its access rules outside of its data directory, so they did not come along: write those for your clients into {}",
            hba_file.display()
        ),
        JoinNote::ArchiveOutOfReach { directory } => format!(
            "the herd's archive is not at {} on this host: this standby restores nothing from it",
            directory.display()
        ),
    }
}

/// What a join that was broken off leaves, and how it goes on.
fn interrupted(new: &NewStandby) -> Failure {
    let home = new.home.path();
    let failure = Failure::interrupted();
    if !home.exists() {
        return failure
            .because("this host did not join, and nothing was changed")
            .next("run it again");
    }
    let name = &new.name;
    failure
        .because(format!(
            "this host did not join yet. What it has is in {}; where the primary has admitted {name} \
             already, a slot there may keep WAL for it",
            home.display()
        ))
        .next("run it again, with the same token: it goes on where it stopped")
        .next(format!(
            "or give it up: on the primary's host manada remove {name}, and here rm -r {}",
            home.display()
        ))
}

fn failure(error: JoinError) -> Failure {
    let what = "this host did not join";
    let refused = || Failure::refused(what).because(&error);
    let failed = || Failure::failed(what).because(&error);
    let again = "when the cause is gone, run it again: it goes on where it stopped";
    match &error {
        JoinError::Ask(ask) => match ask {
            AskError::Expired { .. } | AskError::Revoked { .. } => {
                refused().next("get a new one on the primary's host: manada token")
            }
            AskError::NotPrimary { .. } => refused().next("manada token, on the primary's host"),
            AskError::OtherCluster { .. } => {
                refused().next("get a token from the herd that answers there: manada token")
            }
            AskError::Connect(_) => Failure::unreachable(what).because(&error).next(
                "see that the primary runs, and that no firewall is between: its port must be open",
            ),
            AskError::Sql { .. } | AskError::Unexpected { .. } => {
                failed().next("the primary's log says more")
            }
        },
        JoinError::Obstacle(obstacle) => match obstacle {
            Obstacle::NodeExists { .. } => refused()
                .next("manada status")
                .next("or give another --name, or --home"),
            Obstacle::NotEmpty { path } => refused()
                .next(format!(
                    "stop what uses it and move it aside: mv '{0}' '{0}.old'",
                    path.display()
                ))
                .next("or give another with --pgdata; nothing of it was touched"),
            Obstacle::OtherMajor { primary, .. } => refused().next(format!(
                "install PostgreSQL {} here, or give its programs with --pg DIR",
                primary.0 / 10_000
            )),
            Obstacle::NoRoom { .. } => {
                refused().next("make room, or give another --pgdata or --home")
            }
            Obstacle::LimitTooSmall {
                name,
                primary,
                config_file,
                ..
            } => refused().next(format!(
                "set {name} = {primary} in {}, and run it again",
                config_file.display()
            )),
            Obstacle::Inspect { .. } | Obstacle::NodeFile(_) => failed(),
        },
        JoinError::Refused(refusal) => match refusal {
            Refusal::NameTaken { name, .. } => refused().next("give another --name").next(format!(
                "or, if that node is gone for good, on the primary's host: manada remove {name}"
            )),
            Refusal::AddressTaken { .. } => refused().next("give another --port"),
            Refusal::ForeignAddress { .. } | Refusal::Loopback { .. } => {
                refused().next("give this host's own: --address ADDRESS")
            }
            Refusal::NoAuthority => refused()
                .next("on the primary's host: put tls/ca.key of any other node into its directory"),
            Refusal::Malformed { .. } => failed(),
        },
        JoinError::Port(_) => refused().next("give another --port"),
        JoinError::User(_) | JoinError::Home(_) => refused(),
        JoinError::Clone(clone) => failed().next(clone.remedy()),
        JoinError::Identity(_)
        | JoinError::OtherAuthority
        | JoinError::Authority(_)
        | JoinError::Write(_)
        | JoinError::Unquotable(_)
        | JoinError::Stop(_)
        | JoinError::Running(_)
        | JoinError::Start(_)
        | JoinError::StartNode(_)
        | JoinError::Files(_)
        | JoinError::Settings(_)
        | JoinError::Streaming(_)
        | JoinError::NodeFile(_) => failed().next(again),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_join_that_was_broken_off_says_what_is_left_and_how_to_go_on() {
        let directory = tempfile::tempdir().expect("a directory");
        let new = |home: &str| NewStandby {
            home: Home::at(&directory.path().join(home)).expect("a home"),
            name: "beto".parse().expect("a name"),
            addresses: Vec::new(),
            port: DEFAULT_PORT,
            data_directory: None,
            manada: PathBuf::from("manada"),
        };
        let nothing = interrupted(&new("nothing"));
        assert!(
            nothing
                .why()
                .is_some_and(|why| why.contains("nothing was changed"))
        );
        std::fs::create_dir(directory.path().join("half")).expect("made");
        let half = interrupted(&new("half"));
        assert_eq!(half.exit(), Exit::Interrupted);
        assert!(
            half.why()
                .is_some_and(|why| why.contains("half") && why.contains("slot"))
        );
        let steps = half.steps().join("\n");
        assert!(
            steps.contains("run it again") && steps.contains("manada remove beto"),
            "{steps}"
        );
    }
}
