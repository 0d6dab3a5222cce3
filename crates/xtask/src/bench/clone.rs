//! `cargo xtask bench clone`: the native clone beside `pg_basebackup`.
//!
//! Both clone the same running server over TCP on this machine, each as a process of its own,
//! with the WAL beside it and everything flushed to the same disk when it ends. They take turns,
//! so that a busy minute of the machine falls on both.
#![allow(clippy::print_stderr, reason = "it says how far it is")]

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use manada_testbed::{Programs, Scratch, TestServer};

use super::median;
use crate::program::build_release;

/// A row of the benchmark's tables takes about so much.
const ROW_BYTES: u64 = 770;

/// A table's share of the data: PostgreSQL begins a new file at 1 GiB, so there are both whole
/// and begun ones.
const TABLES: u64 = 4;

/// How much is inserted by one statement, in MiB.
const STEP_MIB: u64 = 64;

/// What `cargo xtask bench clone` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// How much data the cluster has, in MiB.
    #[arg(long, default_value_t = 3072)]
    data_mib: u64,

    /// How often each side clones.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=1000))]
    rounds: u16,
}

/// The seconds of each round.
#[derive(Default)]
struct Figures {
    theirs: Vec<f64>,
    ours: Vec<f64>,
}

impl Arguments {
    pub(super) fn measure(&self) -> Result<String, String> {
        let programs = Programs::any().map_err(|error| error.to_string())?;
        let native = build_release("manada-wal", &["--example", "clone"], "examples/clone")?;
        let server = TestServer::with(&programs)
            .setting("max_wal_size", "16GB")
            .setting("autovacuum", "off")
            .start();
        eprintln!("making about {} MiB of data", self.data_mib);
        fill(&server, self.data_mib);
        let bytes = server.value("SELECT sum(pg_database_size(oid))::bigint FROM pg_database");
        let bytes: u64 = bytes.parse().map_err(|_| format!("not a size: {bytes}"))?;
        let figures = self.rounds(&programs, &native, &server, bytes)?;
        Ok(format!(
            "PostgreSQL {}, {} MiB of data, {} rounds\n{}",
            server.value("SHOW server_version"),
            bytes >> 20,
            self.rounds,
            figures.report(bytes)
        ))
    }

    fn rounds(
        &self,
        programs: &Programs,
        native: &Path,
        server: &TestServer,
        bytes: u64,
    ) -> Result<Figures, String> {
        let place = Scratch::new();
        let mut figures = Figures::default();
        for round in 0..=self.rounds {
            let target = place.path().join("theirs");
            let theirs = timed(Command::new(programs.program("pg_basebackup")).args([
                "--wal-method=stream",
                "--checkpoint=fast",
                &format!("--dbname={}", server.uri()),
                &format!("--pgdata={}", target.display()),
            ]))?;
            remove(&target)?;
            let target = place.path().join("ours");
            let ours = timed(Command::new(native).arg(server.uri()).arg(&target))?;
            if round == self.rounds {
                let mut verify = Command::new(programs.program("pg_verifybackup"));
                let took = timed(verify.arg(&target))?;
                eprintln!("pg_verifybackup accepts the clone ({took:.2} s)");
            }
            remove(&target)?;
            // The first round warms the caches of both.
            if round > 0 {
                eprintln!(
                    "round {round}: pg_basebackup {}, manada {}",
                    told(theirs, bytes),
                    told(ours, bytes)
                );
                figures.theirs.push(theirs);
                figures.ours.push(ours);
            }
        }
        Ok(figures)
    }
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

/// Waits until the disk is idle, then runs `command`, and says how many seconds it took.
fn timed(command: &mut Command) -> Result<f64, String> {
    rustix::fs::sync();
    let program = command.get_program().to_owned();
    let program = Path::new(&program).display();
    let started = Instant::now();
    let output = command.output();
    let took = started.elapsed().as_secs_f64();
    let output = output.map_err(|error| format!("can't run {program}: {error}"))?;
    match output.status.success() {
        true => Ok(took),
        false => Err(format!(
            "{program} failed: {}",
            String::from_utf8_lossy(&output.stderr)
        )),
    }
}

fn remove(clone: &Path) -> Result<(), String> {
    fs::remove_dir_all(clone).map_err(|error| format!("can't remove {}: {error}", clone.display()))
}

impl Figures {
    fn report(&self, bytes: u64) -> String {
        let rounds = self.ours.iter().zip(&self.theirs);
        let ratios: Vec<f64> = rounds.map(|(ours, theirs)| ours / theirs).collect();
        let lowest = ratios.iter().copied().fold(f64::INFINITY, f64::min);
        let highest = ratios.iter().copied().fold(0.0, f64::max);
        let (theirs, ours) = (median(&self.theirs), median(&self.ours));
        format!(
            "median: pg_basebackup {}, manada {}\n\
             ratio of the medians {:.2} (rounds from {lowest:.2} to {highest:.2}); \
             below 1 the native clone is faster",
            told(theirs, bytes),
            told(ours, bytes),
            ours / theirs,
        )
    }
}

/// So many seconds, and the rate at which they took so many bytes.
fn told(seconds: f64, bytes: u64) -> String {
    let rate = bytes as f64 / seconds / f64::from(1 << 20);
    format!("{seconds:.2} s ({rate:.0} MiB/s)")
}
