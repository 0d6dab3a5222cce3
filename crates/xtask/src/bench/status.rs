//! `cargo xtask bench status`: how long `manada status` takes with a primary and three standbys.
//!
//! The servers are real and on this machine, so their work is in the time that passes; the
//! program's own is its processor time, from its start to its end.

use std::process::{Command, Stdio};
use std::time::Instant;

use manada_testbed::{Programs, TestServer};

use super::processor::{Of, seconds};
use crate::program::Program;

/// What `cargo xtask bench status` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// How often the status is asked for.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    rounds: u16,

    #[command(flatten)]
    program: Program,
}

impl Arguments {
    pub(super) fn measure(&self) -> Result<String, String> {
        let manada = self.program.path()?;
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
        let before = seconds(Of::EndedChildren)?;
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
        let own = seconds(Of::EndedChildren)? - before;
        passed_ms.sort_by(f64::total_cmp);
        let own_ms = own * 1e3 / f64::from(self.rounds);
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
