//! A Markdown page for each command, and one that lists them.

use std::fmt::Write as _;

use clap::{Arg, Command};

use super::{Page, shown};
use crate::error::Exit;

/// The page of each command that is not hidden, and `README.md` with all of them and the exit codes.
pub(super) fn pages(manada: &Command) -> Vec<Page> {
    let mut pages = vec![Page {
        file: "README.md".to_owned(),
        text: index(manada),
    }];
    pages.extend(shown(manada).map(|command| Page {
        file: format!("{}.md", command.get_name()),
        text: page(command),
    }));
    pages
}

fn index(manada: &Command) -> String {
    let mut text = String::from("# Commands\n\n");
    write_description(&mut text, manada, "#");
    text.push_str("| command | does |\n| --- | --- |\n");
    for command in shown(manada) {
        let name = command.get_name();
        write_line(
            &mut text,
            &format!(
                "| [`manada {name}`]({name}.md) | {} |",
                cell(&about(command))
            ),
        );
    }
    text.push_str("\n## Options of every command\n\n");
    for arg in manada.get_arguments().filter(|arg| arg.is_global_set()) {
        text.push_str(&option(arg));
    }
    text.push_str("\n## Exit codes\n\n| code | means |\n| --- | --- |\n");
    for exit in Exit::ALL {
        write_line(
            &mut text,
            &format!("| {} | {} |", exit as u8, exit.meaning()),
        );
    }
    text
}

fn page(command: &Command) -> String {
    let mut text = String::new();
    write_command(&mut text, command, 1);
    text.push_str("\nOptions of every command and the exit codes: [Commands](README.md). What `--format json` prints: [JSON](../json.md).\n");
    text
}

/// Writes a command and, a level deeper, those below it.
fn write_command(text: &mut String, command: &Command, level: usize) {
    let heading = "#".repeat(level);
    let name = command.get_bin_name().unwrap_or_else(|| command.get_name());
    write_line(text, &format!("{heading} {name}\n"));
    write_description(text, command, &heading);
    let usage = command.clone().render_usage().to_string();
    let usage = usage.strip_prefix("Usage:").unwrap_or(&usage);
    text.push_str("```\n");
    for line in usage.lines().map(str::trim).filter(|line| !line.is_empty()) {
        write_line(text, line);
    }
    text.push_str("```\n");
    for (title, args) in by_heading(command) {
        write_line(text, &format!("\n{heading}# {title}\n"));
        for arg in args {
            text.push_str(&option(arg));
        }
    }
    if let Some(after) = command.get_after_long_help().or(command.get_after_help()) {
        write_after(text, &after.to_string(), &heading);
    }
    for subcommand in shown(command) {
        text.push('\n');
        write_command(text, subcommand, level + 1);
    }
}

/// The options that are the command's own, under the headings `--help` has them under.
fn by_heading(command: &Command) -> Vec<(&str, Vec<&Arg>)> {
    let mut headings: Vec<(&str, Vec<&Arg>)> = Vec::new();
    let own = command
        .get_arguments()
        .filter(|arg| !arg.is_hide_set() && !arg.is_global_set())
        .filter(|arg| !matches!(arg.get_id().as_str(), "help" | "version"));
    for arg in own {
        let default = if arg.is_positional() {
            "Arguments"
        } else {
            "Options"
        };
        let heading = arg.get_help_heading().unwrap_or(default);
        match headings.iter_mut().find(|(known, _)| *known == heading) {
            Some((_, args)) => args.push(arg),
            None => headings.push((heading, vec![arg])),
        }
    }
    headings
}

fn option(arg: &Arg) -> String {
    let names = if arg.is_positional() {
        arg.to_string()
    } else {
        match arg.get_short() {
            Some(short) => format!("-{short}, {arg}"),
            None => arg.to_string(),
        }
    };
    let help = arg.get_long_help().or(arg.get_help());
    let help = help
        .map(|help| sentence(&help.to_string()))
        .unwrap_or_default();
    let mut text = format!("- **`{names}`** {}", help.replace("\n\n", "\n\n  "));
    let values: Vec<String> = arg
        .get_possible_values()
        .iter()
        .filter(|value| !value.is_hide_set())
        .map(|value| format!("`{}`", value.get_name()))
        .collect();
    let takes_value = arg.get_action().takes_values();
    if takes_value && !values.is_empty() {
        write!(text, " One of {}.", values.join(", ")).expect("a String takes all");
    }
    let defaults: Vec<String> = arg
        .get_default_values()
        .iter()
        .map(|value| format!("`{}`", value.to_string_lossy()))
        .collect();
    if takes_value && !defaults.is_empty() {
        write!(text, " Default: {}.", defaults.join(", ")).expect("a String takes all");
    }
    if let Some(variable) = arg.get_env() {
        write!(text, " Environment: `{}`.", variable.to_string_lossy())
            .expect("a String takes all");
    }
    text.push('\n');
    text
}

/// What stands behind the options: a line that ends in a colon opens a section, and what is indented
/// below it is shown as it is.
fn write_after(text: &mut String, after: &str, heading: &str) {
    let mut in_code = false;
    for line in after.lines() {
        let is_code = line.starts_with("  ");
        match (in_code, is_code) {
            (false, true) => text.push_str("```console\n"),
            (true, false) => text.push_str("```\n"),
            (true, true) | (false, false) => {}
        }
        in_code = is_code;
        match line.strip_suffix(':') {
            _ if is_code => write_line(text, line.strip_prefix("  ").unwrap_or(line)),
            Some(title) => write_line(text, &format!("\n{heading}# {title}\n")),
            None => write_line(text, line),
        }
    }
    if in_code {
        text.push_str("```\n");
    }
}

fn about(command: &Command) -> String {
    command
        .get_about()
        .map(ToString::to_string)
        .unwrap_or_default()
}

/// The long description, the first sentence included. A paragraph that ends in a colon in its first
/// line and is indented below it is a section of its own.
fn write_description(text: &mut String, command: &Command, heading: &str) {
    let long = command.get_long_about().or(command.get_about());
    let long = long.map(ToString::to_string).unwrap_or_default();
    for paragraph in long.split("\n\n").map(str::trim_end) {
        if paragraph.lines().skip(1).any(|line| line.starts_with("  ")) {
            write_after(text, paragraph, heading);
            text.push('\n');
        } else if !paragraph.is_empty() {
            write_line(text, &format!("{}\n", sentence(paragraph.trim())));
        }
    }
}

/// `text` with the full stop that clap takes from it.
fn sentence(text: &str) -> String {
    if text.ends_with(['.', ':', '!', '?', '`']) {
        text.to_owned()
    } else {
        format!("{text}.")
    }
}

/// Text within a cell of a table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}

fn write_line(text: &mut String, line: &str) {
    text.push_str(line);
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn all() -> Vec<Page> {
        let mut manada = crate::Arguments::command();
        manada.build();
        pages(&manada)
    }

    #[test]
    fn every_command_has_a_page_with_an_example() {
        for page in all() {
            if page.file != "README.md" {
                assert!(
                    page.text.contains("Example"),
                    "{} has no example",
                    page.file
                );
            }
            assert_eq!(page.text.matches("```").count() % 2, 0, "{}", page.file);
        }
    }

    #[test]
    fn a_page() {
        let pages = all();
        let page = pages.iter().find(|page| page.file == "completions.md");
        insta::assert_snapshot!(page.expect("a page").text);
    }
}
