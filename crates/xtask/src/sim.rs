//! `cargo xtask sim`: long lives of simulated herds.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Args;
use manada_sim::simulation::{Happening, Life, Outcome, live};

/// Live through herds' lives full of faults, in simulated time.
#[derive(Args)]
pub(crate) struct Sim {
    /// The first life's seed; each further life has the next one.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many hours in all.
    #[arg(long, default_value_t = 100)]
    hours: u64,
    /// How long each life is, in minutes.
    #[arg(long, default_value_t = 60)]
    life: u64,
    /// Print what happens; for one life.
    #[arg(long)]
    journal: bool,
}

/// Runs them, and prints what there was.
#[allow(clippy::print_stdout, reason = "it is a command")]
pub(crate) fn run(sim: &Sim) -> ExitCode {
    let began = Instant::now();
    let life = Duration::from_secs(sim.life * 60);
    let wanted = Duration::from_secs(sim.hours * 3600);
    let mut sum = Outcome::default();
    let mut seed = sim.seed;
    while sum.lived < wanted {
        let mut usual = Life::usual(seed, life);
        usual.journal = sim.journal;
        match live(&usual) {
            Ok(outcome) => sum.merge(&outcome),
            Err(failure) => {
                println!("{failure}");
                return ExitCode::FAILURE;
            }
        }
        seed += 1;
    }
    for happening in Happening::ALL {
        println!("{:>9} {happening:?}", sum.counts.of(happening));
    }
    println!(
        "seeds {}..{seed}: {} herd-hours, {} faults, {} reigns, {} writes, {} events in {:.1?}; whole again after at most {:.1?}",
        sim.seed,
        sum.lived.as_secs() / 3600,
        sum.faults,
        sum.reigns,
        sum.writes,
        sum.events,
        began.elapsed(),
        sum.slowest,
    );
    ExitCode::SUCCESS
}
