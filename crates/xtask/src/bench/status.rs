//! `cargo xtask bench status`: how long `manada status` takes with a primary and three standbys.
//!
//! The servers are real and on this machine, so their work is in the time that passes; the
//! program's own is its processor time, from its start to its end.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "printing is what a benchmark is for"
)]

use std::fs;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use manada_testbed::{Programs, TestServer};

use super::lab::build;

/// The ticks of a second in `/proc/PID/stat` (`USER_HZ`, the same on all of Linux's machines here).
const TICKS_PER_SECOND: f64 = 100.0;

/// What `cargo xtask bench status` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// How often the status is asked for.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    rounds: u16,

    /// The program to measure [default: built from here, as it is shipped].
    #[arg(long, value_name = "PROGRAM")]
    manada: Option<PathBuf>,
}

pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    match arguments.measure() {
        Ok(report) => {
            println!("{report}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("bench status: {error}");
            ExitCode::FAILURE
        }
    }
}

impl Arguments {
    fn measure(&self) -> Result<String, String> {
        let manada = match &self.manada {
            Some(manada) => manada.clone(),
            None => build()?,
        };
        let programs = Programs::any().map_err(|error| error.to_string())?;
        let primary = TestServer::start(&programs);
        let standbys = ["s1", "s2", "s3"]
            .map(|name| TestServer::with(&programs).start_standby_of(&primary, name));
        let hosts: Vec<String> = [&primary]
            .into_iter()
            .chain(&standbys)
            .map(|server| format!("127.0.0.1:{}", server.port()))
            .collect();
        let uri = format!(
            "postgresql://postgres:{}@{}/postgres",
            primary.password(),
            hosts.join(",")
        );
        let mut passed_ms = Vec::new();
        let before = children_ticks()?;
        for _ in 0..self.rounds {
            let begun = Instant::now();
            let status = Command::new(&manada)
                .args(["status", "--uri", &uri])
                .stdout(Stdio::null())
                .status()
                .map_err(|error| format!("can't run {}: {error}", manada.display()))?;
            passed_ms.push(begun.elapsed().as_secs_f64() * 1e3);
            if !status.success() {
                return Err(format!("manada status ended with {status}"));
            }
        }
        let own_ticks = children_ticks()? - before;
        passed_ms.sort_by(f64::total_cmp);
        let own_ms = own_ticks / TICKS_PER_SECOND * 1e3 / f64::from(self.rounds);
        Ok(format!(
            "status of 1 + 3, PostgreSQL {}, {} rounds: {own_ms:.1} ms of its own (mean), \
             {:.1} ms passed (median), {:.1} ms at least, {:.1} ms at most",
            programs.version(),
            self.rounds,
            passed_ms[passed_ms.len() / 2],
            passed_ms[0],
            passed_ms[passed_ms.len() - 1],
        ))
    }
}

/// The processor time, user and system, of all children that have ended (proc(5), fields 16, 17).
fn children_ticks() -> Result<f64, String> {
    let stat = fs::read_to_string("/proc/self/stat").map_err(|error| error.to_string())?;
    let fields: Vec<&str> = stat
        .rsplit(')')
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .collect();
    let ticks = |number: usize| {
        fields
            .get(number - 3)
            .and_then(|text| text.parse::<f64>().ok())
    };
    ticks(16)
        .zip(ticks(17))
        .map(|(user, system)| user + system)
        .ok_or_else(|| format!("/proc/self/stat can't be read: {stat}"))
}
