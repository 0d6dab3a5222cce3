//! `cargo xtask chaos`: faults at random, from a seed, on a real herd that clients write to.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "printing is what it is for"
)]

mod tally;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use manada_model::MajorVersion;
use manada_testbed::chaos::{Chaos, Event, Kind, Verdict};
use manada_testbed::{Programs, Shape};

use crate::program::Program;
use tally::Tally;

/// What `cargo xtask chaos` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// For how long new faults begin.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    minutes: u64,

    /// What decides about the faults [default: the time].
    #[arg(long)]
    seed: Option<u64>,

    /// Only these faults, by their names as they are printed.
    #[arg(long, value_name = "FAULT", value_delimiter = ',')]
    only: Vec<String>,

    /// What the herd is like: blocking, degrading, asynchronous, or a pair.
    #[arg(long, default_value = "blocking", value_parser = shape)]
    shape: Shape,

    /// The server's major version [default: the oldest that is here].
    #[arg(long, value_name = "VERSION", value_parser = version)]
    postgres: Option<MajorVersion>,

    /// Begin faults while others last, and before the herd is whole again.
    #[arg(long)]
    overlap: bool,

    /// Add what came of this run to a file, and sum up all runs in it.
    #[arg(long, value_name = "FILE")]
    tally: Option<PathBuf>,

    #[command(flatten)]
    program: Program,

    /// Where logs and journals are kept when a promise was broken.
    #[arg(long, value_name = "DIR", default_value = "/var/tmp")]
    keep_in: PathBuf,
}

pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    match arguments.run() {
        Ok(verdict) => {
            println!("{}", told(&verdict));
            match verdict.broken.is_empty() {
                true => ExitCode::SUCCESS,
                false => ExitCode::FAILURE,
            }
        }
        Err(error) => {
            eprintln!("chaos: {error}");
            ExitCode::FAILURE
        }
    }
}

impl Arguments {
    fn run(&self) -> Result<Verdict, String> {
        let programs = match self.postgres {
            Some(version) => Programs::find(version),
            None => Programs::any(),
        };
        let programs = programs.map_err(|missing| missing.to_string())?;
        let manada = self.program.path()?;
        let seed = self.seed.unwrap_or_else(now);
        let kinds = self.kinds()?;
        println!(
            "seed {seed}, {} minutes, PostgreSQL {}, {:?}{}",
            self.minutes,
            programs.version(),
            self.shape,
            if self.overlap { ", overlapping" } else { "" }
        );
        let chaos = Chaos {
            manada: &manada,
            programs: &programs,
            seed,
            shape: self.shape,
            overlap: self.overlap,
            limit: Duration::from_secs(60 * self.minutes),
            kinds: &kinds,
            keep_in: &self.keep_in,
        };
        let verdict = chaos.run(&mut |event| println!("{}", line(&event)));
        let verdict = verdict.map_err(|missing| missing.to_string())?;
        if let Some(file) = &self.tally {
            let run = tally::run(&chaos, &verdict);
            let tally = Tally::with(file, &run);
            let tally = tally.map_err(|error| format!("{}: {error}", file.display()))?;
            println!("{tally}");
        }
        Ok(verdict)
    }

    fn kinds(&self) -> Result<Vec<Kind>, String> {
        if self.only.is_empty() {
            return Ok(Kind::ALL.to_vec());
        }
        let named = |name: &String| {
            let mut all = Kind::ALL.into_iter();
            all.find(|kind| format!("{kind:?}").eq_ignore_ascii_case(name))
                .ok_or_else(|| format!("no fault is called {name}: there are {:?}", Kind::ALL))
        };
        self.only.iter().map(named).collect()
    }
}

fn shape(name: &str) -> Result<Shape, String> {
    let mut all = Shape::ALL.into_iter();
    all.find(|shape| format!("{shape:?}").eq_ignore_ascii_case(name))
        .ok_or_else(|| format!("there are {:?}", Shape::ALL))
}

fn version(number: &str) -> Result<MajorVersion, String> {
    let mut all = MajorVersion::ALL.into_iter();
    all.find(|version| version.to_string() == number)
        .ok_or_else(|| format!("there are {:?}", MajorVersion::ALL.map(|it| it.to_string())))
}

/// Seconds, which are a seed as good as any.
fn now() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

fn line(event: &Event<'_>) -> String {
    match event {
        Event::Struck {
            number,
            strike,
            node,
        } => format!(
            "{number:>4}  {:?} for {:.1} s: {node}, {:?}",
            strike.kind,
            strike.lasts.as_secs_f64(),
            strike.whom
        ),
        Event::Whole {
            after,
            primary,
            epoch,
        } => format!(
            "      whole {:.1} s after it, {primary} leads in epoch {epoch}",
            after.as_secs_f64()
        ),
    }
}

fn told(verdict: &Verdict) -> String {
    let faults: u32 = verdict.faults.values().map(|count| count.struck).sum();
    let seconds = |share| quantile(&verdict.whole, share).as_secs_f64();
    let mut lines = vec![format!(
        "{faults} faults, {} reigns; whole after {:.1} s (half of the times), at most {:.1} s; {} \
         writes acknowledged, {} reads",
        verdict.reigns,
        seconds(0.5),
        seconds(1.0),
        verdict.acknowledged,
        verdict.reads
    )];
    if verdict.lost_and_said > 0 {
        lines.push(format!("{} were lost, as was said", verdict.lost_and_said));
    }
    for (kind, count) in &verdict.faults {
        lines.push(format!(
            "  {:>4} {kind:?}, {} of them felt",
            count.struck, count.bit
        ));
    }
    match verdict.broken.len() {
        0 => lines.push("every promise was kept".to_owned()),
        count => lines.push(format!("BROKEN: {count}")),
    }
    lines.extend(verdict.broken.iter().map(|broken| format!("  {broken}")));
    if let Some(kept) = &verdict.kept {
        lines.push(format!("logs and journals are in {}", kept.display()));
    }
    lines.join("\n")
}

/// The time within which so large a share of `sorted` ended.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "a place in a short list"
)]
fn quantile(sorted: &[Duration], share: f64) -> Duration {
    let place = (sorted.len() as f64 * share).ceil() as usize;
    let found = sorted.get(place.saturating_sub(1));
    found.copied().unwrap_or_default()
}
