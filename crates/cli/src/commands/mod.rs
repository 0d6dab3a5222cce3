//! One file per command: arguments → plan → run.

mod completions;
mod diagram;
mod doctor;
mod failover;
mod init;
mod join;
mod lab;
mod man;
mod node_admit;
mod pause;
mod recover;
mod remove;
mod resume;
mod run;
mod start;
mod status;
mod stop;
mod switchover;
mod sync;
mod token;
mod uri;
mod verify;
mod wal;
mod why;

use std::ffi::OsString;

pub(crate) use token::LocalNodeArgs;

use crate::error::{Exit, Failure, Outcome};
use crate::ui::Ui;

/// What `manada` can do.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    Lab(lab::LabArgs),
    Init(init::InitArgs),
    Join(join::JoinArgs),
    Token(token::TokenArgs),
    Remove(remove::RemoveArgs),
    Run(run::RunArgs),
    Start(start::StartArgs),
    Stop(stop::StopArgs),
    #[command(hide = true)]
    Node(node_admit::NodeArgs),
    Status(status::StatusArgs),
    Sync(sync::SyncArgs),
    Switchover(switchover::SwitchoverArgs),
    Failover(failover::FailoverArgs),
    Recover(recover::RecoverArgs),
    Why(why::WhyArgs),
    Pause(pause::PauseArgs),
    Resume(resume::ResumeArgs),
    Verify(verify::VerifyArgs),
    Doctor(doctor::DoctorArgs),
    Diagram(diagram::DiagramArgs),
    Uri(uri::UriArgs),
    Wal(wal::WalArgs),
    Completions(completions::CompletionsArgs),
    Man(man::ManArgs),
}

impl Command {
    /// Whether it runs on and on, so that what it does is said where its log goes.
    pub(crate) fn runs_on(&self) -> bool {
        matches!(self, Command::Run(_))
    }

    pub(crate) fn run(self, ui: &Ui) -> Result<Outcome, Failure> {
        match self {
            Command::Lab(args) => crate::block_on(lab::run(args, *ui)),
            Command::Init(args) => init::run(args, *ui),
            Command::Join(args) => join::run(args, *ui),
            Command::Remove(args) => remove::run(&args, *ui),
            Command::Run(args) => run::run(&args),
            Command::Start(args) => start::run(&args, *ui),
            Command::Stop(args) => stop::run(&args, *ui),
            Command::Token(args) => token::run(&args, *ui),
            Command::Node(args) => node_admit::run(&args),
            Command::Verify(args) => crate::block_on(verify::run(&args, *ui)),
            Command::Sync(args) => crate::block_on(sync::run(&args, *ui)),
            Command::Switchover(args) => crate::block_on(switchover::run(&args, *ui)),
            Command::Failover(args) => crate::block_on(failover::run(&args, *ui)),
            Command::Recover(args) => crate::block_on(recover::run(&args, *ui)),
            Command::Why(args) => crate::block_on(why::run(&args, *ui)),
            Command::Pause(args) => crate::block_on(pause::run(&args, *ui)),
            Command::Resume(args) => crate::block_on(resume::run(&args, *ui)),
            Command::Status(args) => crate::block_on(status::run(&args, *ui)),
            Command::Doctor(args) => doctor::run(&args, *ui),
            Command::Diagram(args) => crate::block_on(diagram::run(&args, *ui)),
            Command::Uri(args) => crate::block_on(uri::run(&args, *ui)),
            Command::Wal(args) => wal::run(&args),
            Command::Completions(args) => completions::run(&args, *ui),
            Command::Man(args) => man::run(&args, *ui),
        }
    }
}

/// The exit code for arguments that can't be understood. To the server that runs `wal fetch`,
/// the usual one would say that a file is not in the archive.
pub(crate) fn exit_of_wrong_usage(arguments: impl Iterator<Item = OsString>) -> Exit {
    let words: Vec<OsString> = arguments
        .filter(|word| !word.as_encoded_bytes().starts_with(b"-"))
        .collect();
    if words.windows(2).any(|pair| pair == ["wal", "fetch"]) {
        Exit::FetchFailed
    } else {
        Exit::Usage
    }
}
