//! `cargo xtask chaos`: faults at random, from a seed, on a real herd that clients write to.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "printing is what it is for"
)]

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use manada_testbed::Programs;
use manada_testbed::chaos::{Chaos, Event, Kind, Verdict};

use crate::bench::build;

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

    /// The program to try [default: built from here, as it is shipped].
    #[arg(long, value_name = "PROGRAM")]
    manada: Option<PathBuf>,

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
        let programs = Programs::any().map_err(|error| error.to_string())?;
        let manada = match &self.manada {
            Some(manada) => manada.clone(),
            None => build()?,
        };
        let seed = self.seed.unwrap_or_else(now);
        let kinds = self.kinds()?;
        println!(
            "seed {seed}, {} minutes, PostgreSQL {}",
            self.minutes,
            programs.version()
        );
        let chaos = Chaos {
            manada: &manada,
            programs: &programs,
            seed,
            limit: Duration::from_secs(60 * self.minutes),
            kinds: &kinds,
            keep_in: &self.keep_in,
        };
        let verdict = chaos.run(&mut |event| println!("{}", line(&event)));
        verdict.map_err(|missing| missing.to_string())
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
    let faults: u32 = verdict.faults.values().sum();
    let mut lines = vec![format!(
        "{faults} faults, {} reigns, whole after at most {:.1} s; {} writes acknowledged, {} reads",
        verdict.reigns,
        verdict.whole_max.as_secs_f64(),
        verdict.acknowledged,
        verdict.reads
    )];
    for (kind, count) in &verdict.faults {
        lines.push(format!("  {count:>4} {kind:?}"));
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
