//! The figures as a table for docs/benchmarks.md.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::process::Command;

use manada_testbed::Programs;

use super::round::Outcome;
use super::{Fault, Subject};

/// The outcomes of all rounds.
#[derive(Default)]
pub(super) struct Figures {
    outcomes: BTreeMap<(Subject, Fault), Vec<Outcome>>,
}

impl Figures {
    pub(super) fn add(&mut self, subject: Subject, fault: Fault, outcome: Outcome) {
        self.outcomes
            .entry((subject, fault))
            .or_default()
            .push(outcome);
    }

    pub(super) fn report(&self, programs: &Programs, peer: bool) -> String {
        let mut text = String::new();
        let _ = writeln!(
            text,
            "| herd | fault | rounds | p50 | p90 | p99 | max | whole again, p50 | violations |\n\
             | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"
        );
        for ((subject, fault), outcomes) in &self.outcomes {
            let all: Vec<&Outcome> = outcomes.iter().collect();
            let _ = writeln!(
                text,
                "| {} | {} {}",
                subject.text(),
                fault.text(),
                row(&all)
            );
            let with = |outcome: &&Outcome| outcome.with_store_leader;
            let with: Vec<&Outcome> = outcomes.iter().filter(with).collect();
            if fault.takes_the_host() && !with.is_empty() {
                let _ = writeln!(
                    text,
                    "| {} | of these, with etcd's leader {}",
                    subject.text(),
                    row(&with)
                );
            }
        }
        let acknowledged: usize = self
            .outcomes
            .values()
            .flatten()
            .map(|outcome| outcome.acknowledged)
            .sum();
        let _ = writeln!(text, "\n{acknowledged} writes were acknowledged in all.");
        let _ = write!(
            text,
            "PostgreSQL {}; {}",
            programs.version(),
            said("etcd", &["--version"])
        );
        if peer {
            let _ = write!(text, "; {}", said("patroni", &["--version"]));
        }
        let _ = write!(
            text,
            "; {} CPUs, Linux {}; load at the end {}",
            std::thread::available_parallelism().map_or(1, usize::from),
            read("/proc/sys/kernel/osrelease"),
            read("/proc/loadavg")
        );
        text
    }
}

/// The figures of some rounds.
fn row(outcomes: &[&Outcome]) -> String {
    let away = sorted(outcomes, |outcome| outcome.away.as_secs_f64());
    let whole = sorted(outcomes, |outcome| outcome.whole.as_secs_f64());
    let violations: usize = outcomes.iter().map(|outcome| outcome.violations).sum();
    format!(
        "| {} | {:.2} s | {:.2} s | {:.2} s | {:.2} s | {:.1} s | {violations} |",
        outcomes.len(),
        quantile(&away, 0.50),
        quantile(&away, 0.90),
        quantile(&away, 0.99),
        quantile(&away, 1.0),
        quantile(&whole, 0.50),
    )
}

fn sorted(outcomes: &[&Outcome], of: impl Fn(&Outcome) -> f64) -> Vec<f64> {
    let mut figures: Vec<f64> = outcomes.iter().map(|outcome| of(outcome)).collect();
    figures.sort_by(f64::total_cmp);
    figures
}

/// The smallest figure that is not exceeded by that part of them.
fn quantile(sorted: &[f64], part: f64) -> f64 {
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "few figures"
    )]
    let rank = (sorted.len() as f64 * part).ceil() as usize;
    sorted[rank.clamp(1, sorted.len()) - 1]
}

/// The first line that a program says.
fn said(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    let text = text.unwrap_or_default();
    text.lines().next().unwrap_or(program).to_owned()
}

fn read(path: &str) -> String {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.trim().to_owned()
}
