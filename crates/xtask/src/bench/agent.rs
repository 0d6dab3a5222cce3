//! `cargo xtask bench agent`: what the agents of a herd at rest cost, and its store.
//!
//! Herds of several sizes, with an etcd of three members on the first hosts, and no clients.

#![allow(clippy::print_stderr, reason = "it says how far it is")]

use std::fmt::Write as _;
use std::fs;
use std::thread::sleep;
use std::time::{Duration, Instant};

use manada_testbed::{EtcdCluster, HerdNode, Programs, ProtectedHerd};

use super::processor::{Of, seconds};
use crate::program::Program;

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

    #[command(flatten)]
    program: Program,
}

/// How much of a counter came in a second.
struct Rates {
    requests: f64,
    messages: f64,
    sent_bytes: f64,
    received_bytes: f64,
}

impl Arguments {
    pub(super) fn measure(&self) -> Result<String, String> {
        let programs = Programs::any().map_err(|error| error.to_string())?;
        let manada = self.program.path()?;
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
        let at_work = |node: &HerdNode| seconds(Of::Process(pid(node)?));
        let before = herd
            .nodes()
            .iter()
            .map(at_work)
            .collect::<Result<Vec<_>, _>>()?;
        let counted = Rates::counters(herd.etcd());
        let begun = Instant::now();
        sleep(Duration::from_secs(u64::from(self.seconds)));
        let passed = begun.elapsed().as_secs_f64();
        let rates = Rates::counters(herd.etcd()).since(&counted, passed);
        let primary = herd.primary().name();
        let count = herd.nodes().len();
        for (node, before) in herd.nodes().iter().zip(before) {
            let busy = (at_work(node)? - before) / passed;
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

/// The memory of a process, and its share of it, in MiB.
fn memory(pid: u32) -> Result<(f64, f64), String> {
    let path = format!("/proc/{pid}/smaps_rollup");
    let said = fs::read_to_string(&path).map_err(|error| format!("can't read {path}: {error}"))?;
    let mib = |name: &str| {
        let line = said.lines().find_map(|line| line.strip_prefix(name))?;
        let kib: f64 = line.split_whitespace().next()?.parse().ok()?;
        Some(kib / 1024.0)
    };
    let memory = mib("Rss:").zip(mib("Pss:"));
    memory.ok_or_else(|| format!("no memory of process {pid}"))
}
