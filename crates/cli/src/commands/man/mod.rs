//! `manada man`: the manual, one page per command, from the same source as `--help`.

mod markdown;

use std::fs;
use std::path::{Path, PathBuf};

use clap::CommandFactory;

use crate::error::{Failure, Outcome};
use crate::ui::Ui;

/// Print the manual page of manada, or write those of all commands into a directory.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  manada man | man -l -                   read it
  manada man /usr/local/share/man/man1    install all pages")]
pub(crate) struct ManArgs {
    /// Where the pages go, one file per command; it is made where it is not there.
    #[arg(value_name = "DIR")]
    directory: Option<PathBuf>,

    /// Write Markdown instead of roff.
    #[arg(long, requires = "directory")]
    markdown: bool,
}

pub(crate) fn run(args: &ManArgs, ui: Ui) -> Result<Outcome, Failure> {
    let mut manada = crate::Arguments::command();
    manada.build();
    let Some(directory) = &args.directory else {
        ui.text(page(&manada));
        return Ok(Outcome::Done);
    };
    let pages = if args.markdown {
        markdown::pages(&manada)
    } else {
        pages(&manada)
    };
    write(&pages, directory).map_err(|error| {
        let into = directory.display();
        Failure::failed(format!("the pages could not be written into {into}")).because(error)
    })?;
    Ok(Outcome::Done)
}

/// A page: a file's name and what is in it.
struct Page {
    file: String,
    text: String,
}

fn write(pages: &[Page], directory: &Path) -> std::io::Result<()> {
    fs::create_dir_all(directory)?;
    for page in pages {
        fs::write(directory.join(&page.file), &page.text)?;
    }
    Ok(())
}

/// The page of a command and those of the commands below it.
fn pages(command: &clap::Command) -> Vec<Page> {
    let name = command.get_display_name().unwrap_or(command.get_name());
    let mut all = vec![Page {
        file: format!("{name}.1"),
        text: page(command),
    }];
    all.extend(shown(command).flat_map(pages));
    all
}

/// The commands below this one that people are told of.
fn shown(command: &clap::Command) -> impl Iterator<Item = &clap::Command> {
    command
        .get_subcommands()
        .filter(|command| !command.is_hide_set() && command.get_name() != "help")
}

fn page(command: &clap::Command) -> String {
    let mut page = Vec::new();
    clap_mangen::Man::new(command.clone())
        .manual("Manada")
        .source(concat!("manada ", env!("CARGO_PKG_VERSION")))
        .render(&mut page)
        .expect("writing to memory does not fail");
    // What stands behind the options gets a heading of its own.
    String::from_utf8_lossy(&page)
        .replace(".SH EXTRA\nExamples:\n", ".SH EXAMPLES\n")
        .replace(".SH EXTRA\nExit codes:\n", ".SH EXIT STATUS\n")
}
