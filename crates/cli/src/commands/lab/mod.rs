//! `manada lab`: the whole practice on this machine, each step shown, proven and timed.

mod account;
mod afterwards;
mod agents;
mod archive;
mod build;
mod course;
mod demonstrate;
mod earlier;
mod home;
mod language;
mod picture;
mod play;
mod ports;
mod processes;
mod protect;
mod report;
mod screen;
mod server;
mod step;
mod synchronous;
mod tether;
mod texts;

use std::path::PathBuf;

use manada_herd::Home;
use manada_model::NodeName;
use manada_postgres::programs::Wanted;

use crate::error::{Failure, Outcome};
use crate::ui::Ui;
use home::LabHome;
use language::Language;
use tether::TetherArgs;
use texts::{Texts, texts};

/// The most standbys a lab has.
const STANDBYS_MAX: u8 = 8;

/// Plays the replication practice on this machine with real servers, and shows each step.
///
/// A primary and its standbys, asynchronous and then synchronous replication, a WAL archive: made,
/// proven and timed. The servers stay up afterwards, to be used and broken; they listen on
/// 127.0.0.1 alone.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  manada lab                          the practice, with one standby
  manada lab --standbys 3 --lang es   en español, con tres réplicas
  manada lab --protect                then kill the primary, and see another take over
  manada lab --rm                     leave nothing behind
  manada lab stop                     stop the servers; 'lab start' brings them back
  manada lab rm                       stop the servers and remove the lab")]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct LabArgs {
    #[command(subcommand)]
    action: Option<LabAction>,

    #[command(flatten)]
    play: PlayArgs,
}

/// How the practice is played.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct PlayArgs {
    /// How many standbys follow the primary [default: 1; with --protect 2].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=i64::from(STANDBYS_MAX)))]
    standbys: Option<u8>,

    /// Run an agent on each node, kill the primary under load, and show who takes over and that
    /// nothing acknowledged is lost.
    #[arg(long)]
    protect: bool,

    /// The server programs: 15, 16, 17, 18, or the directory they are in [default: the newest here].
    #[arg(long, value_name = "VERSION|BINDIR")]
    pg: Option<Wanted>,

    /// Remove the lab when the practice is over, also when it is broken off.
    #[arg(long)]
    rm: bool,

    #[command(flatten)]
    place: PlaceArgs,
}

/// Where the lab is, and how it speaks.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct PlaceArgs {
    /// The lab's directory [default: ~/.local/share/manada/lab; /var/lib/manada/lab for root].
    #[arg(long, value_name = "DIR")]
    home: Option<PathBuf>,

    /// The language [default: the locale's].
    #[arg(long, value_enum)]
    lang: Option<Language>,
}

/// What can be done with a lab that was played.
#[derive(Debug, clap::Subcommand)]
enum LabAction {
    /// Stop the lab's servers.
    Stop(PlaceArgs),
    /// Start them again.
    Start(PlaceArgs),
    /// Stop them and remove the lab's directory.
    Rm(PlaceArgs),
    /// Stop the lab's servers when the lab dies; the lab starts this by itself.
    #[command(hide = true)]
    Tether(TetherArgs),
}

/// Runs what was asked.
pub(crate) async fn run(args: LabArgs, ui: Ui) -> Result<Outcome, Failure> {
    match args.action {
        None => play::play(args.play, ui).await,
        Some(LabAction::Stop(place)) => with_lab(place, ui, |home, texts| {
            afterwards::stop_all(&home)?;
            Ok(texts.stopped(home.path()))
        }),
        Some(LabAction::Start(place)) => start(&place, ui).await,
        Some(LabAction::Rm(place)) => with_lab(place, ui, |home, texts| {
            let path = home.path().to_path_buf();
            afterwards::remove(home)?;
            Ok(texts.removed(&path))
        }),
        Some(LabAction::Tether(args)) => tether::run(&args),
    }
}

/// Unlike what ends a lab, this can't be done where there is none.
async fn start(place: &PlaceArgs, ui: Ui) -> Result<Outcome, Failure> {
    let texts = texts(place.language());
    let path = lab_directory(place)?;
    let Some(home) = LabHome::existing(&path)? else {
        return Err(Failure::usage(texts.nothing_there(&path)).next("manada lab"));
    };
    afterwards::start_all(&home).await?;
    ui.note(texts.started(home.path()));
    Ok(Outcome::Done)
}

fn with_lab(
    place: PlaceArgs,
    ui: Ui,
    work: impl FnOnce(LabHome, &dyn Texts) -> Result<String, Failure>,
) -> Result<Outcome, Failure> {
    let texts = texts(place.language());
    let path = lab_directory(&place)?;
    let said = match LabHome::existing(&path)? {
        Some(home) => work(home, texts)?,
        None => texts.nothing_there(&path),
    };
    ui.note(said);
    Ok(Outcome::Done)
}

impl PlayArgs {
    fn standbys(&self) -> usize {
        self.standbys
            .map_or(if self.protect { 2 } else { 1 }, usize::from)
    }
}

impl PlaceArgs {
    fn language(&self) -> Language {
        self.lang.unwrap_or_else(Language::of_locale)
    }
}

/// Where the lab is: its nodes lie where those of any herd would.
fn lab_directory(place: &PlaceArgs) -> Result<PathBuf, Failure> {
    if let Some(home) = &place.home {
        return Ok(home.clone());
    }
    let node = Home::of(&build::herd_name(), &node_name(1))
        .map_err(|error| Failure::failed("there is no place for the lab").because(error))?;
    let herd = node.path().parent().expect("a node lies in its herd");
    Ok(herd.to_path_buf())
}

/// Roles can change places, so names do not say them.
fn node_name(number: usize) -> NodeName {
    format!("node{number}").parse().expect("a valid name")
}
