//! `manada completions`: what a shell needs to complete `manada`'s commands and options.

use clap::CommandFactory;
use clap_complete::Shell;

use crate::error::{Failure, Outcome};
use crate::ui::Ui;

/// Print the completions of a shell, for its start-up files or a package.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  manada completions bash > /etc/bash_completion.d/manada
  manada completions zsh > ~/.zfunc/_manada
  manada completions fish > ~/.config/fish/completions/manada.fish")]
pub(crate) struct CompletionsArgs {
    /// The shell.
    #[arg(value_enum, value_name = "SHELL")]
    shell: KnownShell,
}

/// The shells whose completions are tried.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum KnownShell {
    Bash,
    Zsh,
    Fish,
}

pub(crate) fn run(args: &CompletionsArgs, ui: Ui) -> Result<Outcome, Failure> {
    let shell = match args.shell {
        KnownShell::Bash => Shell::Bash,
        KnownShell::Zsh => Shell::Zsh,
        KnownShell::Fish => Shell::Fish,
    };
    let mut script = Vec::new();
    clap_complete::generate(
        shell,
        &mut crate::Arguments::command(),
        "manada",
        &mut script,
    );
    ui.text(String::from_utf8_lossy(&script));
    Ok(Outcome::Done)
}
