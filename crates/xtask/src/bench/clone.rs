//! `cargo xtask bench clone`: the native clone beside `pg_basebackup`.
//!
//! Both clone the same running server over TCP on this machine, each as a process of its own,
//! with the WAL beside it and everything flushed to the same disk when it ends. They take turns,
//! so that a busy minute of the machine falls on both.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "printing is what a benchmark is for"
)]

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use clap::Args;
use manada_testbed::{Programs, Scratch, TestServer};

/// A row of the benchmark's tables takes about so much.
const ROW_BYTES: u64 = 770;
/// A table's share of the data: PostgreSQL begins a new file at 1 GiB, so there are both whole
/// and begun ones.
const TABLES: u64 = 4;

/// How much is inserted by one statement, in MiB.
const STEP_MIB: u64 = 64;

/// What `cargo xtask bench clone` takes.
#[derive(Args)]
pub(crate) struct Arguments {
    /// How much data the cluster has, in MiB.
    #[arg(long, default_value_t = 3072)]
    data_mib: u64,
    /// How often each side clones.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
}

pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    match measure(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench clone: {error}");
            ExitCode::FAILURE
        }
    }
}

fn measure(arguments: &Arguments) -> io::Result<()> {
    let programs = Programs::any().map_err(io::Error::other)?;
    let native = build_native()?;
    let server = TestServer::with(&programs)
        .setting("max_wal_size", "16GB")
        .setting("autovacuum", "off")
        .start();
    eprintln!("making about {} MiB of data", arguments.data_mib);
    fill(&server, arguments.data_mib);
    let bytes: u64 = server
        .value("SELECT sum(pg_database_size(oid))::bigint FROM pg_database")
        .parse()
        .map_err(io::Error::other)?;
    println!(
        "PostgreSQL {}, {} of data, {} CPUs",
        server.value("SHOW server_version"),
        mebibytes(bytes),
        std::thread::available_parallelism()?
    );

    let place = Scratch::new();
    let mut theirs = Vec::new();
    let mut ours = Vec::new();
    for round in 0..=arguments.rounds {
        let target = place.path().join("theirs");
        let pg_basebackup = timed(Command::new(programs.program("pg_basebackup")).args([
            "--wal-method=stream",
            "--checkpoint=fast",
            &format!("--dbname={}", server.uri()),
            &format!("--pgdata={}", target.display()),
        ]))?;
        fs::remove_dir_all(&target)?;
        let target = place.path().join("ours");
        let clone = timed(Command::new(&native).arg(server.uri()).arg(&target))?;
        if round == arguments.rounds {
            verify(&programs, &target)?;
        }
        fs::remove_dir_all(&target)?;
        // The first round warms the caches of both.
        if round > 0 {
            println!(
                "round {round}: pg_basebackup {}, manada {}",
                told(pg_basebackup, bytes),
                told(clone, bytes)
            );
            theirs.push(pg_basebackup);
            ours.push(clone);
        }
    }
    report(&theirs, &ours, bytes);
    Ok(())
}

/// Builds the program that does nothing but clone, optimised as a release is.
fn build_native() -> io::Result<PathBuf> {
    let root = crate::repository();
    let built = Command::new("cargo")
        .args(["build", "--quiet", "--release", "--package", "manada-wal"])
        .args(["--example", "clone"])
        .current_dir(&root)
        .status()?;
    if !built.success() {
        return Err(io::Error::other("the clone example does not build"));
    }
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or(root.join("target"), PathBuf::from);
    Ok(target.join("release/examples/clone"))
}

fn fill(server: &TestServer, data_mib: u64) {
    let session = server.session();
    for table in 0..TABLES {
        session.query(&format!("CREATE TABLE bench_{table} (id int8, text text)"));
        let mut left_mib = data_mib / TABLES;
        while left_mib > 0 {
            let step_mib = left_mib.min(STEP_MIB);
            left_mib -= step_mib;
            // Rows this short are stored as they are, whatever could be compressed in them.
            session.query(&format!(
                "INSERT INTO bench_{table} SELECT i, repeat(md5(i::text), 22) \
                 FROM generate_series(1, {}) i",
                (step_mib << 20) / ROW_BYTES
            ));
        }
    }
    session.query("CHECKPOINT");
}

/// Waits until the disk is idle, then runs `command` and says how long it took.
fn timed(command: &mut Command) -> io::Result<Duration> {
    rustix::fs::sync();
    let started = Instant::now();
    let output = command.output()?;
    let took = started.elapsed();
    if output.status.success() {
        return Ok(took);
    }
    let program = Path::new(command.get_program()).display();
    let said = String::from_utf8_lossy(&output.stderr);
    Err(io::Error::other(format!("{program} failed: {said}")))
}

/// Has PostgreSQL's own program look at the clone.
fn verify(programs: &Programs, clone: &Path) -> io::Result<()> {
    let mut command = Command::new(programs.program("pg_verifybackup"));
    timed(command.arg(clone)).map(|took| {
        println!(
            "pg_verifybackup accepts the clone ({:.2} s)",
            took.as_secs_f64()
        );
    })
}

fn report(theirs: &[Duration], ours: &[Duration], bytes: u64) {
    let ratios: Vec<f64> = ours
        .iter()
        .zip(theirs)
        .map(|(ours, theirs)| ours.as_secs_f64() / theirs.as_secs_f64())
        .collect();
    let lowest = ratios.iter().copied().fold(f64::INFINITY, f64::min);
    let highest = ratios.iter().copied().fold(0.0, f64::max);
    let (theirs, ours) = (median(theirs), median(ours));
    println!(
        "median: pg_basebackup {}, manada {}",
        told(theirs, bytes),
        told(ours, bytes)
    );
    println!(
        "ratio of the medians {:.2} (rounds from {lowest:.2} to {highest:.2}); below 1 the native clone is faster",
        ours.as_secs_f64() / theirs.as_secs_f64(),
    );
}

fn median(times: &[Duration]) -> Duration {
    let mut sorted = times.to_vec();
    sorted.sort();
    sorted.get(sorted.len() / 2).copied().unwrap_or_default()
}

fn told(took: Duration, bytes: u64) -> String {
    let seconds = took.as_secs_f64();
    let rate = bytes as f64 / seconds / f64::from(1 << 20);
    format!("{seconds:.2} s ({rate:.0} MiB/s)")
}

fn mebibytes(bytes: u64) -> String {
    format!("{} MiB", bytes >> 20)
}
