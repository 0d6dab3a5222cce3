//! `cargo xtask bench lab`: the practice by `manada lab`, and by a bare shell script, in turns.
//!
//! What is compared is the machine work: creating the primary and the role, cloning it, starting
//! the standby, a row read there, and the switch to synchronous replication proven once. The lab
//! reports that part itself (`machine_work_ms`: all its time from its first instruction to the end
//! of that switch, but for the steps that only demonstrate); the script does nothing else.

#![allow(clippy::print_stderr, reason = "it says how far it is")]

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Instant;

use super::median;
use crate::program::Program;

const SCRIPT: &str = include_str!("lab.sh");

/// What `cargo xtask bench lab` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// How often each of the two runs.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..=1000))]
    rounds: u16,

    /// The directory with the server's and the client's programs, for both.
    #[arg(
        long,
        value_name = "BINDIR",
        default_value = "/usr/lib/postgresql/15/bin"
    )]
    pg: PathBuf,

    #[command(flatten)]
    program: Program,

    /// Where both work; it should be on a real disk.
    #[arg(long, value_name = "DIR", default_value = "/var/tmp")]
    directory: PathBuf,
}

/// The milliseconds of each round.
struct Figures {
    lab: Vec<f64>,
    script: Vec<f64>,
}

impl Arguments {
    pub(super) fn measure(&self) -> Result<String, String> {
        let manada = self.program.path()?;
        let place = self
            .directory
            .join(format!("manada-bench-lab.{}", std::process::id()));
        fs::create_dir_all(&place)
            .and_then(|()| fs::set_permissions(&place, fs::Permissions::from_mode(0o755)))
            .map_err(|error| format!("can't make {}: {error}", place.display()))?;
        let figures = self.rounds(&manada, &place);
        fs::remove_dir_all(&place)
            .map_err(|error| format!("can't remove {}: {error}", place.display()))?;
        Ok(self.report(&figures?))
    }

    fn rounds(&self, manada: &Path, place: &Path) -> Result<Figures, String> {
        let mut figures = Figures {
            lab: Vec::new(),
            script: Vec::new(),
        };
        // Each is first half of the time: what the first one dirties, the second one waits for.
        for round in 0..self.rounds {
            if round % 2 == 0 {
                figures.lab.push(self.lab(manada, place)?);
                figures.script.push(self.script(place)?);
            } else {
                figures.script.push(self.script(place)?);
                figures.lab.push(self.lab(manada, place)?);
            }
            eprintln!(
                "round {:>2}: lab {:>7.0} ms, script {:>7.0} ms",
                round + 1,
                figures.lab[usize::from(round)],
                figures.script[usize::from(round)]
            );
        }
        Ok(figures)
    }

    /// The machine work of one lab, in milliseconds.
    fn lab(&self, manada: &Path, place: &Path) -> Result<f64, String> {
        settle();
        let mut command = Command::new(manada);
        command
            .args(["lab", "--rm", "--format", "json", "--lang", "en"])
            .arg("--home")
            .arg(place.join("lab"))
            .arg("--pg")
            .arg(&self.pg);
        let output = succeed(command, "manada lab")?;
        let report: serde_json::Value = serde_json::from_slice(&output.stdout)
            .map_err(|error| format!("manada lab's report is no JSON: {error}"))?;
        report["machine_work_ms"]
            .as_f64()
            .ok_or_else(|| "manada lab's report has no machine_work_ms".to_owned())
    }

    /// The time of one run of the script, in milliseconds. Its servers are stopped afterwards.
    fn script(&self, place: &Path) -> Result<f64, String> {
        let directory = place.join("script");
        let user = server_user()?;
        let prepare = || -> io::Result<PathBuf> {
            fs::create_dir(&directory)?;
            fs::write(directory.join("lab.sh"), SCRIPT)?;
            if let Some((uid, gid)) = user {
                chown(&directory, Some(uid), Some(gid))?;
            }
            Ok(directory.join("lab.sh"))
        };
        let script = prepare().map_err(|error| format!("preparing the script: {error}"))?;
        let [primary_port, standby_port] = free_ports()?;
        settle();
        let mut command = as_user(user, "bash");
        command
            .arg(script)
            .arg(&self.pg)
            .arg(&directory)
            .args([primary_port.to_string(), standby_port.to_string()]);
        let started = Instant::now();
        let ran = succeed(command, "the script");
        let took = started.elapsed();
        for server in ["standby", "primary"] {
            let data = directory.join(server);
            if data.join("postmaster.pid").exists() {
                let mut stop = as_user(user, self.pg.join("pg_ctl"));
                stop.arg("-D").arg(data).args(["-m", "immediate", "stop"]);
                succeed(stop, "pg_ctl stop")?;
            }
        }
        fs::remove_dir_all(&directory)
            .map_err(|error| format!("can't remove {}: {error}", directory.display()))?;
        ran.map(|_| took.as_secs_f64() * 1e3)
    }

    fn report(&self, figures: &Figures) -> String {
        let mut text = String::new();
        let _ = writeln!(text, "| machine work | median | fastest | slowest |");
        let _ = writeln!(text, "| --- | ---: | ---: | ---: |");
        for (name, times) in [
            ("`manada lab`", &figures.lab),
            ("shell script", &figures.script),
        ] {
            let _ = writeln!(
                text,
                "| {name} | {:.0} ms | {:.0} ms | {:.0} ms |",
                median(times),
                times.iter().copied().fold(f64::INFINITY, f64::min),
                times.iter().copied().fold(0.0, f64::max),
            );
        }
        let _ = writeln!(
            text,
            "\nratio of the medians: {:.2} ({} rounds, {})",
            median(&figures.lab) / median(&figures.script),
            self.rounds,
            self.pg.display()
        );
        text
    }
}

/// Whom a server runs as where we are root, as the lab chooses.
fn server_user() -> Result<Option<(u32, u32)>, String> {
    if !rustix::process::geteuid().is_root() {
        return Ok(None);
    }
    let number = |flag: &str| -> Result<u32, String> {
        let mut command = Command::new("id");
        command.args([flag, "postgres"]);
        let output = succeed(command, "id postgres")?;
        String::from_utf8_lossy(&output.stdout)
            .trim()
            .parse()
            .map_err(|_| "id says no number".to_owned())
    };
    Ok(Some((number("-u")?, number("-g")?)))
}

fn as_user(user: Option<(u32, u32)>, program: impl AsRef<std::ffi::OsStr>) -> Command {
    let Some((uid, gid)) = user else {
        return Command::new(program);
    };
    let mut command = Command::new("setpriv");
    command
        .arg(format!("--reuid={uid}"))
        .arg(format!("--regid={gid}"))
        .arg("--init-groups")
        .arg(program.as_ref())
        .current_dir("/");
    command
}

/// Waits until nothing an earlier run wrote is on its way to the disk.
fn settle() {
    rustix::fs::sync();
}

fn succeed(mut command: Command, what: &str) -> Result<Output, String> {
    let output = command
        .output()
        .map_err(|error| format!("{what} can't be run: {error}"))?;
    if output.status.success() {
        Ok(output)
    } else {
        Err(format!(
            "{what} failed ({}):\n{}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        ))
    }
}

fn free_ports() -> Result<[u16; 2], String> {
    let bind = || std::net::TcpListener::bind(("127.0.0.1", 0));
    let port = |listener: &std::net::TcpListener| listener.local_addr().map(|at| at.port());
    bind()
        .and_then(|one| Ok((bind()?, one)))
        .and_then(|(other, one)| Ok([port(&one)?, port(&other)?]))
        .map_err(|error| format!("no free port: {error}"))
}
