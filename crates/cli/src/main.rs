//! The `manada` program: arguments in, one command run, an exit code out.

mod commands;
mod error;
mod herd_args;
mod privilege;
mod protected;
mod sentences;
mod server_programs;
mod text;
mod this_host;
mod ui;

use std::process::ExitCode;

use clap::Parser;

use commands::Command;
use error::Failure;
use ui::{Format, Ui};

/// Turns stock PostgreSQL servers into a herd: a primary, and standbys that follow it.
///
/// Creates it, clones it, proves that it replicates, and explains it. PostgreSQL 15 to 18.
#[derive(Debug, Parser)]
#[command(
    version,
    propagate_version = true,
    max_term_width = 100,
    arg_required_else_help = true,
    after_long_help = error::Exit::table(),
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,

    /// How results are printed: text for people, json for programs (documented and stable).
    #[arg(long, global = true, value_enum, default_value_t = Format::Text, help_heading = "Output")]
    format: Format,

    /// Say on standard error what is being done; MANADA_LOG takes a filter such as `debug`.
    #[arg(long, short, global = true, help_heading = "Output")]
    verbose: bool,
}

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return ui::usage(&error, commands::exit_of_wrong_usage(std::env::args_os())),
    };
    let ui = Ui::new(arguments.format);
    ui::log_to_stderr(arguments.verbose || arguments.command.runs_on());
    match arguments.command.run(&ui) {
        Ok(outcome) => outcome.exit().into(),
        Err(failure) => {
            ui.failure(&failure);
            failure.exit().into()
        }
    }
}

/// Runs a command's future to its end, or until the user interrupts it. Dropping the future is what
/// cleans up, so every command keeps what it must undo in values that undo it when dropped.
fn block_on<T>(command: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| {
            Failure::failed("the asynchronous runtime did not start").because(error)
        })?;
    let outcome = runtime.block_on(async {
        tokio::select! {
            outcome = command => outcome,
            () = interrupted() => Err(Failure::interrupted()),
        }
    });
    // Tasks that only wait for a dead host must not keep the program.
    runtime.shutdown_background();
    outcome
}

/// Ends with Ctrl-C, SIGTERM or SIGHUP.
async fn interrupted() {
    use tokio::signal::unix::{SignalKind, signal};
    let listen = |kind| signal(kind).expect("the signal can be listened to");
    let mut interrupt = listen(SignalKind::interrupt());
    let mut terminate = listen(SignalKind::terminate());
    let mut hangup = listen(SignalKind::hangup());
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        _ = hangup.recv() => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }
}
