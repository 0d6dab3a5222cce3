//! `manada wal`: what servers run to archive their WAL and to get it back.

use std::panic::catch_unwind;
use std::path::PathBuf;

use manada_herd::Home;
use manada_wal::archive::{Fetched, Pushed, fetch, is_for_standby, push};

use crate::error::{Failure, Outcome};

/// Archive finished WAL, and get it back. A server runs these; people rarely do.
#[derive(Debug, clap::Args)]
pub(crate) struct WalArgs {
    #[command(subcommand)]
    command: WalCommand,
}

#[derive(Debug, clap::Subcommand)]
enum WalCommand {
    Push(PushArgs),
    Fetch(FetchArgs),
}

/// Store one finished WAL file in an archive: as archive_command.
///
/// Ends with 0 only when the file would survive a power cut there. The same content again is
/// success; another content under the same name is an error that names both, and nothing is
/// changed.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  archive_command = 'manada wal push %p --archive /srv/archive'")]
struct PushArgs {
    /// The file, as the server names it (%p).
    #[arg(value_name = "PATH")]
    path: PathBuf,

    /// The archive's directory. It must be there.
    #[arg(long, value_name = "DIR")]
    archive: PathBuf,

    /// The directory of a node that `manada run` protects: nothing is stored unless the node leads
    /// its herd and lets clients in. The exit code is 201 then; the server keeps the file and tries
    /// again.
    #[arg(long, value_name = "DIR")]
    home: Option<PathBuf>,
}

/// Get one WAL file out of an archive: as restore_command.
///
/// Ends with 0 when the file was delivered, with 1 when the archive is there and has no such
/// file, and with 200 whatever else goes wrong: the server takes codes up to 125 for "not there",
/// which ends a recovery. A standby is told 1 then, too: it asks its primary, and would stop at 200.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  restore_command = 'manada wal fetch %f %p --archive /srv/archive'")]
struct FetchArgs {
    /// The file's name (%f).
    #[arg(value_name = "NAME")]
    name: String,

    /// Where to put it (%p).
    #[arg(value_name = "PATH")]
    target: PathBuf,

    /// The archive's directory.
    #[arg(long, value_name = "DIR")]
    archive: PathBuf,
}

pub(crate) fn run(args: &WalArgs) -> Result<Outcome, Failure> {
    match &args.command {
        WalCommand::Push(args) => run_push(args),
        // A panic's own exit code, 101, would say that the file is not there.
        WalCommand::Fetch(args) => match catch_unwind(|| run_fetch(args)) {
            Ok(outcome) => outcome,
            Err(_) => Err(Failure::fetch_failed(
                "manada itself failed: please report it",
            )),
        },
    }
}

fn run_push(args: &PushArgs) -> Result<Outcome, Failure> {
    if let Some(home) = &args.home {
        let home = Home::at(home).map_err(Failure::failed)?;
        // WAL of a leader that its herd has left behind must not be taken for the herd's.
        if !home.archiving_mark().exists() {
            return Err(Failure::not_now(
                "this node does not lead its herd, or lets nobody in yet: it archives nothing",
            ));
        }
    }
    match push(&args.path, &args.archive) {
        Ok(Pushed::Stored | Pushed::AlreadyThere) => Ok(Outcome::Done),
        Err(error) => Err(Failure::failed(error)),
    }
}

fn run_fetch(args: &FetchArgs) -> Result<Outcome, Failure> {
    match fetch(&args.name, &args.target, &args.archive) {
        Ok(Fetched::Delivered) => Ok(Outcome::Done),
        // Said by the exit code alone: a standby asks every few seconds.
        Ok(Fetched::Absent) => Ok(Outcome::FoundWrong),
        Err(error) if is_for_standby(&args.target) => Err(Failure::not_fetched(error)),
        Err(error) => Err(Failure::fetch_failed(error)),
    }
}
