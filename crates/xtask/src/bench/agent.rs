//! `cargo xtask bench agent`: what the agents of a herd at rest cost, and its store.
//!
//! Herds of several sizes, with an etcd of three members on the first hosts, and no clients.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "printing is what a benchmark is for"
)]

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread::sleep;
use std::time::{Duration, Instant};

use manada_testbed::{EtcdCluster, HerdNode, Programs, ProtectedHerd};

use super::lab::build;

/// The ticks of a second in `/proc/PID/stat` (`USER_HZ`, the same on all of Linux's machines here).
const TICKS_PER_SECOND: f64 = 100.0;

/// How long a herd that is whole has until it is at rest.
const SETTLES_IN: Duration = Duration::from_secs(10);

/// What `cargo xtask bench agent` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// How long each herd is watched, in seconds.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u16).range(1..=3600))]
    seconds: u16,

    /// How many nodes the herds have.
    #[arg(long, value_delimiter = ',', default_values_t = [3], value_parser = clap::value_parser!(u8).range(1..=30))]
    nodes: Vec<u8>,

    /// The program to measure [default: built from here, as it is shipped].
    #[arg(long, value_name = "PROGRAM")]
    manada: Option<PathBuf>,
}

/// How much of a counter came in a second.
struct Rates {
    requests: f64,
    messages: f64,
    sent_bytes: f64,
    received_bytes: f64,
}

pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    match arguments.measure() {
        Ok(report) => {
            println!("{report}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("bench agent: {error}");
            ExitCode::FAILURE
        }
    }
}

impl Arguments {
    fn measure(&self) -> Result<String, String> {
        let programs = Programs::any().map_err(|error| error.to_string())?;
        let manada = match &self.manada {
            Some(manada) => manada.clone(),
            None => build()?,
        };
        let mut report = "| nodes | agent of | of one core | RSS | PSS |\n\
             | ---: | --- | ---: | ---: | ---: |\n"
            .to_owned();
        let mut traffic =
            "| nodes | requests to etcd | messages to agents | sent to them | received |\n\
             | ---: | ---: | ---: | ---: | ---: |\n"
                .to_owned();
        for nodes in &self.nodes {
            let names: Vec<String> = (1..=*nodes).map(|number| format!("db{number}")).collect();
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            eprintln!("a herd of {nodes}");
            let herd = ProtectedHerd::start(&manada, &programs, &names)
                .map_err(|error| error.to_string())?;
            sleep(SETTLES_IN);
            self.watch(&herd, &mut report, &mut traffic)?;
        }
        Ok(format!("{report}\n{traffic}"))
    }

    fn watch(
        &self,
        herd: &ProtectedHerd,
        report: &mut String,
        traffic: &mut String,
    ) -> Result<(), String> {
        let ticks = |node: &HerdNode| ticks(pid(node)?);
        let before = herd
            .nodes()
            .iter()
            .map(ticks)
            .collect::<Result<Vec<_>, _>>()?;
        let counted = Rates::counters(herd.etcd());
        let begun = Instant::now();
        sleep(Duration::from_secs(u64::from(self.seconds)));
        let seconds = begun.elapsed().as_secs_f64();
        let rates = Rates::counters(herd.etcd()).since(&counted, seconds);
        let primary = herd.primary().name();
        let count = herd.nodes().len();
        for (node, before) in herd.nodes().iter().zip(before) {
            let busy = (ticks(node)? - before) / TICKS_PER_SECOND / seconds;
            let (rss, pss) = memory(pid(node)?)?;
            let role = match node.name() == primary {
                true => "the primary",
                false => "a standby",
            };
            let _ = writeln!(
                report,
                "| {count} | {role} | {:.2} % | {rss:.1} MiB | {pss:.1} MiB |",
                busy * 100.0
            );
        }
        let _ = writeln!(
            traffic,
            "| {count} | {:.1} /s | {:.1} /s | {:.1} kB/s | {:.1} kB/s |",
            rates.requests,
            rates.messages,
            rates.sent_bytes / 1e3,
            rates.received_bytes / 1e3
        );
        Ok(())
    }
}

impl Rates {
    fn counters(etcd: &EtcdCluster) -> Rates {
        Rates {
            requests: etcd.metric("grpc_server_handled_total"),
            messages: etcd.metric("grpc_server_msg_sent_total"),
            sent_bytes: etcd.metric("etcd_network_client_grpc_sent_bytes_total"),
            received_bytes: etcd.metric("etcd_network_client_grpc_received_bytes_total"),
        }
    }

    fn since(&self, before: &Rates, seconds: f64) -> Rates {
        Rates {
            requests: (self.requests - before.requests) / seconds,
            messages: (self.messages - before.messages) / seconds,
            sent_bytes: (self.sent_bytes - before.sent_bytes) / seconds,
            received_bytes: (self.received_bytes - before.received_bytes) / seconds,
        }
    }
}

fn pid(node: &HerdNode) -> Result<u32, String> {
    let ended = || format!("the agent of {} has ended", node.name());
    node.agent_pid().ok_or_else(ended)
}

/// The processor time of a process, user and system (proc(5), fields 14 and 15).
fn ticks(pid: u32) -> Result<f64, String> {
    let stat = read(&Path::new("/proc").join(pid.to_string()).join("stat"))?;
    let fields = stat.rsplit(')').next().unwrap_or_default();
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let ticks = |number: usize| fields.get(number - 3)?.parse::<f64>().ok();
    let (user, system) = ticks(14).zip(ticks(15)).ok_or("no processor time")?;
    Ok(user + system)
}

/// The memory of a process, and its share of it, in MiB.
fn memory(pid: u32) -> Result<(f64, f64), String> {
    let said = read(
        &Path::new("/proc")
            .join(pid.to_string())
            .join("smaps_rollup"),
    )?;
    let mib = |name: &str| {
        let line = said.lines().find_map(|line| line.strip_prefix(name))?;
        let kib: f64 = line.split_whitespace().next()?.parse().ok()?;
        Some(kib / 1024.0)
    };
    let memory = mib("Rss:").zip(mib("Pss:"));
    memory.ok_or_else(|| format!("no memory of process {pid}"))
}

fn read(path: &Path) -> Result<String, String> {
    fs::read_to_string(path).map_err(|error| format!("can't read {}: {error}", path.display()))
}
