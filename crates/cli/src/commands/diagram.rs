//! `manada diagram`: the herd as a picture.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anstyle::Style;
use manada_diagram::{Accent, Charset, Drawing, Picture, Theme, draw, forest, mermaid, png, svg};
use manada_model::HerdStatus;

use crate::error::{Failure, Outcome};
use crate::herd_args::{HerdArgs, Target, nobody_answered};
use crate::sentences;
use crate::ui::{Format, Ui, WIDTH_MAX, accent, paint};

/// Draw the herd as it is now: servers, who follows whom, how far behind, what commits wait for.
///
/// In the terminal, or as an image into a file. An SVG or PNG needs no font of the machine it is
/// made or looked at on; an SVG follows its viewer's dark or light setting.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  manada diagram                         this host's herd, in the terminal
  manada diagram -o herd.svg             for a page; also .png, and .mmd for Mermaid
  manada diagram -o herd.png --theme dark
  manada diagram -d postgresql://postgres@10.0.0.1/postgres")]
pub(crate) struct DiagramArgs {
    /// The image to write; its ending says which kind: .svg, .png or .mmd.
    #[arg(short, long, value_name = "FILE", value_parser = Output::parse)]
    output: Option<Output>,

    /// The ground an image is drawn for [default: the viewer's own for .svg, light for .png].
    #[arg(long, value_enum, value_name = "THEME", requires = "output")]
    theme: Option<Ground>,

    #[command(flatten)]
    herd: HerdArgs,
}

/// The ground of an image.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Ground {
    Light,
    Dark,
}

/// A file and what to write into it.
#[derive(Clone, Debug)]
struct Output {
    path: PathBuf,
    kind: Kind,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Svg,
    Png,
    Mermaid,
}

impl Output {
    fn parse(text: &str) -> Result<Output, String> {
        let path = PathBuf::from(text);
        let ending = path.extension().map(|ending| ending.to_ascii_lowercase());
        let kind = match ending.as_ref().and_then(|ending| ending.to_str()) {
            Some("svg") => Kind::Svg,
            Some("png") => Kind::Png,
            Some("mmd") => Kind::Mermaid,
            Some(_) | None => return Err("its ending must be .svg, .png or .mmd".to_owned()),
        };
        Ok(Output { path, kind })
    }
}

pub(crate) async fn run(args: &DiagramArgs, ui: Ui) -> Result<Outcome, Failure> {
    let target = args.herd.target()?;
    let status = target.survey.run().await;
    if !status.any_answered() {
        return Err(nobody_answered(&status));
    }
    let picture = picture(&target, &status);
    match &args.output {
        None => match ui.format() {
            Format::Text => ui.text(terminal(&picture)),
            Format::Json => ui.json(&serde_json::json!({
                "format": "manada.diagram/1",
                "title": picture.title,
                "svg": svg(&picture, Theme::Auto),
                "mermaid": mermaid(&picture),
            })),
        },
        Some(output) => {
            let theme = match args.theme {
                None => Theme::Auto,
                Some(Ground::Light) => Theme::Light,
                Some(Ground::Dark) => Theme::Dark,
            };
            write(&picture, theme, output)?;
            match ui.format() {
                Format::Text => ui.note(format!("{} written", output.path.display())),
                Format::Json => ui.json(&serde_json::json!({
                    "format": "manada.diagram/1",
                    "title": picture.title,
                    "written": output.path,
                })),
            }
        }
    }
    Ok(Outcome::Done)
}

fn picture(target: &Target, status: &HerdStatus) -> Picture {
    Picture {
        title: target.title(status),
        taken_at: Some(format!(
            "as of {:.0} UTC",
            status.asked_at.strftime("%F %T")
        )),
        roots: forest(status),
        policy: status.policy.as_ref().map(sentences::policy),
        risk: Some(sentences::loss(status)),
    }
}

/// The picture for a terminal, with the colours of its accents.
pub(crate) fn terminal(picture: &Picture) -> String {
    let width = terminal_size::terminal_size().map_or(WIDTH_MAX, |(width, _)| width.0.into());
    painted(&draw(picture, width.min(WIDTH_MAX), charset()))
}

fn painted(drawing: &Drawing) -> String {
    let mut text = String::new();
    for line in &drawing.lines {
        for span in line {
            text += &paint(style(span.accent), &span.text);
        }
        text.push('\n');
    }
    text
}

fn style(meaning: Accent) -> Style {
    match meaning {
        Accent::Plain => Style::new(),
        Accent::Muted => accent::FAINT,
        Accent::Strong | Accent::Primary => accent::STRONG,
        Accent::Sync | Accent::Quorum => accent::GOOD,
        Accent::Potential | Accent::Warning => accent::WARN,
        Accent::Alarm => accent::BAD,
    }
}

/// What the locale's encoding can show; the first of these variables that is set is the one that
/// counts (POSIX, "Environment Variables").
fn charset() -> Charset {
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"]
        .into_iter()
        .filter_map(|name| std::env::var(name).ok())
        .find(|value| !value.is_empty())
        .unwrap_or_default()
        .to_ascii_lowercase();
    if locale.contains("utf-8") || locale.contains("utf8") {
        Charset::Unicode
    } else {
        Charset::Ascii
    }
}

fn write(picture: &Picture, theme: Theme, output: &Output) -> Result<(), Failure> {
    let bytes = match output.kind {
        Kind::Svg => svg(picture, theme).into_bytes(),
        Kind::Mermaid => mermaid(picture).into_bytes(),
        Kind::Png => png(picture, theme)
            .map_err(|error| Failure::failed("the picture could not be drawn").because(error))?,
    };
    replace(&output.path, &bytes).map_err(|error| {
        let path = output.path.display();
        Failure::failed(format!("{path} could not be written")).because(error)
    })
}

/// Writes the file beside its place and moves it there, so that no reader sees half a picture.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        Some(_) | None => Path::new("."),
    };
    let beside = tempfile::Builder::new()
        .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))
        .tempfile_in(directory)?;
    fs::write(beside.path(), bytes)?;
    beside.persist(path)?;
    Ok(())
}
