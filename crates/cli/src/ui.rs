//! The only place that prints.

mod screen;

use std::io::{BufRead, IsTerminal, Read, Write};
use std::process::ExitCode;
use std::time::Duration;

use anstyle::{AnsiColor, Style};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;

use crate::error::{Exit, Failure};
use crate::text::paragraph;

pub(crate) use screen::Screen;

/// How results are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// For people, at most 80 columns.
    Text,
    /// For programs.
    Json,
}

/// The accents, from the terminal's own sixteen colours: they follow its theme, dark or light.
pub(crate) mod accent {
    use super::{AnsiColor, Style};

    /// Headings and names.
    pub(crate) const STRONG: Style = Style::new().bold();
    /// What matters less.
    pub(crate) const FAINT: Style = Style::new().dimmed();
    /// As it should be.
    pub(crate) const GOOD: Style = AnsiColor::Green.on_default();
    /// Worth a look.
    pub(crate) const WARN: Style = AnsiColor::Yellow.on_default();
    /// Wrong.
    pub(crate) const BAD: Style = AnsiColor::Red.on_default().bold();
    /// Something to type.
    pub(crate) const TYPE: Style = AnsiColor::Cyan.on_default();
}

/// `text` in a style; the codes vanish where the output is no terminal or NO_COLOR is set.
pub(crate) fn paint(style: Style, text: impl std::fmt::Display) -> String {
    format!("{style}{text}{style:#}")
}

/// What somebody says to a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Yes.
    Yes,
    /// Anything else.
    No,
    /// There is nobody to ask.
    Nobody,
}

/// How much of a line is read as an answer, in bytes.
const ANSWER_BYTES_MAX: u64 = 80;

/// The widest text people are shown, in columns.
pub(crate) const WIDTH_MAX: usize = 80;

/// The way to the user.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ui {
    format: Format,
}

impl Ui {
    pub(crate) fn new(format: Format) -> Ui {
        Ui { format }
    }

    /// How results are to be printed.
    pub(crate) fn format(self) -> Format {
        self.format
    }

    /// Prints a result, with a line end behind it unless it has one. A reader that has gone away is
    /// no error.
    pub(crate) fn text(self, text: impl AsRef<str>) {
        let text = text.as_ref();
        let mut out = anstream::stdout().lock();
        let _ = out.write_all(text.as_bytes());
        if !text.ends_with('\n') {
            let _ = out.write_all(b"\n");
        }
        let _ = out.flush();
    }

    /// Prints a result as JSON.
    pub(crate) fn json(self, value: &impl Serialize) {
        let text = serde_json::to_string_pretty(value).expect("own types have string keys");
        self.text(text);
    }

    /// Prints one of several results as JSON, on one line.
    pub(crate) fn json_line(self, value: &impl Serialize) {
        self.text(serde_json::to_string(value).expect("own types have string keys"));
    }

    /// A screen to draw on, where results are text and go to a terminal.
    pub(crate) fn screen(self) -> Option<Screen> {
        (self.format == Format::Text && std::io::stdout().is_terminal()).then(Screen::enter)
    }

    /// Tells of the course of things, on standard error; silent in JSON.
    pub(crate) fn note(self, text: impl AsRef<str>) {
        if self.format == Format::Text {
            let _ = writeln!(anstream::stderr().lock(), "{}", text.as_ref());
        }
    }

    /// Asks a question that has yes or no for an answer, where somebody sits at a terminal.
    pub(crate) fn ask(self, question: &str) -> Answer {
        if self.format != Format::Text || !std::io::stdin().is_terminal() {
            return Answer::Nobody;
        }
        let mut err = anstream::stderr().lock();
        let _ = write!(err, "{question} [y/N] ");
        let _ = err.flush();
        let mut line = String::new();
        let read = std::io::stdin()
            .lock()
            .take(ANSWER_BYTES_MAX)
            .read_line(&mut line);
        let yes = read.is_ok() && matches!(line.trim(), "y" | "Y" | "yes" | "Yes");
        if yes { Answer::Yes } else { Answer::No }
    }

    /// A bar for work of a known number of bytes, on standard error where that is a terminal.
    pub(crate) fn bytes_bar(self, total_bytes: u64, what: &str) -> ProgressBar {
        let style = ProgressStyle::with_template(
            " {msg:22!} {bar:12.cyan} {bytes:>10}/{total_bytes:10} {bytes_per_sec:>12} {eta:>4}",
        )
        .expect("the template is valid")
        .progress_chars("━╸─");
        let bar = ProgressBar::with_draw_target(Some(total_bytes), self.draw_target());
        bar.with_style(style).with_message(what.to_owned())
    }

    /// A sign of life for work of unknown length.
    pub(crate) fn spinner(self, what: &str) -> ProgressBar {
        let style = ProgressStyle::with_template(" {spinner:.cyan} {msg}")
            .expect("the template is valid")
            .tick_strings(&["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"]);
        let bar = ProgressBar::with_draw_target(None, self.draw_target());
        bar.enable_steady_tick(Duration::from_millis(80));
        bar.with_style(style).with_message(what.to_owned())
    }

    fn draw_target(self) -> ProgressDrawTarget {
        if self.format == Format::Text && std::io::stderr().is_terminal() {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        }
    }

    /// Says what happened, why, and what to type next.
    pub(crate) fn failure(self, failure: &Failure) {
        let mut err = anstream::stderr().lock();
        let _ = match self.format {
            Format::Text => {
                let folds = std::io::stderr().is_terminal();
                err.write_all(failure_text(failure, folds).as_bytes())
            }
            Format::Json => {
                let report = serde_json::json!({
                    "format": "manada.error/1",
                    "exit_code": failure.exit() as u8,
                    "what": failure.what(),
                    "why": failure.why(),
                    "next": failure.steps(),
                });
                writeln!(err, "{report:#}")
            }
        };
    }
}

/// On a terminal its sentences are folded as all text is. Elsewhere, as in a log, each stays on one
/// line; what is to be typed does so everywhere.
fn failure_text(failure: &Failure, folds: bool) -> String {
    let label = if failure.exit() == Exit::Refused {
        "refused"
    } else {
        "error"
    };
    let line = |label: &str, text: &str| {
        if folds {
            paragraph(label, text)
        } else {
            format!("{label}{text}\n")
        }
    };
    let mut text = line(&format!("{}: ", paint(accent::BAD, label)), failure.what());
    let mut label = format!("  {} ", paint(accent::STRONG, "why:"));
    for why in failure.why().into_iter().flat_map(|why| why.split('\n')) {
        text += &line(&label, why);
        label = " ".repeat("  why: ".len());
    }
    for step in failure.steps() {
        text += &format!("  {} {step}\n", paint(accent::STRONG, "next:"));
    }
    text
}

/// Prints clap's word on arguments that don't fit, or the help that was asked for.
pub(crate) fn usage(error: &clap::Error, wrong: Exit) -> ExitCode {
    let _ = error.print();
    if error.use_stderr() {
        wrong.into()
    } else {
        Exit::Done.into()
    }
}

/// Sends what the libraries trace to standard error.
pub(crate) fn log_to_stderr(verbose: bool) {
    let filter = tracing_subscriber::EnvFilter::try_from_env("MANADA_LOG").unwrap_or_else(|_| {
        if verbose {
            "info".into()
        } else {
            "error".into()
        }
    });
    let colours = anstream::AutoStream::choice(&std::io::stderr()) != anstream::ColorChoice::Never;
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(colours)
        .with_target(false)
        .init();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_says_what_why_and_what_next() {
        let failure = Failure::refused("the directory is not empty")
            .because("it holds a database\nof somebody")
            .next("manada join --pgdata /elsewhere TOKEN");
        let plain = anstream::adapter::strip_str(&failure_text(&failure, false)).to_string();
        insta::assert_snapshot!(plain, @r"
        refused: the directory is not empty
          why: it holds a database
               of somebody
          next: manada join --pgdata /elsewhere TOKEN
        ");
        let failure =
            Failure::failed("a server stopped").because("so it was ".repeat(9).trim_end());
        let plain = anstream::adapter::strip_str(&failure_text(&failure, true)).to_string();
        insta::assert_snapshot!(plain, @r"
        error: a server stopped
          why: so it was so it was so it was so it was so it was so it was so it was so
               it was so it was
        ");
    }
}
