//! Checks, benchmarks and generated documents of this repository: `cargo xtask --help`.

mod bench;
mod chaos;
mod docs;
mod model;
mod program;
mod sim;
mod tidy;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

/// Checks, benchmarks and generated documents of this repository.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
enum Task {
    /// Check what the compiler does not: crate edges, printing, file sizes, reasons, documents.
    Tidy,
    /// Write the documents that are made from the code.
    Docs(docs::Docs),
    /// Strike a herd with faults at random, and hold what clients were told against what is there.
    Chaos(chaos::Arguments),
    /// Measure, beside what there is to be measured against.
    #[command(subcommand)]
    Bench(bench::Bench),
    /// Look at every state that a small herd can come to.
    Model(model::Model),
    /// Live through herds' lives full of faults, in simulated time.
    Sim(sim::Sim),
}

fn main() -> ExitCode {
    match Task::parse() {
        Task::Tidy => tidy::run(),
        Task::Docs(docs) => docs::run(&docs),
        Task::Chaos(arguments) => chaos::run(&arguments),
        Task::Bench(bench) => bench::run(&bench),
        Task::Model(model) => model::run(&model),
        Task::Sim(sim) => sim::run(&sim),
    }
}

/// The repository's root, of which cargo tells the way from here.
fn repository() -> PathBuf {
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let root = here.ancestors().nth(2);
    root.expect("this crate is in crates/xtask").to_owned()
}
