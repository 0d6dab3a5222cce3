//! `cargo xtask bench failover`: how long writes are away when a primary is lost.
//!
//! One primary and two standbys on hosts of their own (network namespaces), with an etcd of three
//! members at its default timing; commits wait for one standby. A client writes all the time; what
//! is measured is the time from the fault to the end of its first acknowledged write in a session
//! that it opened afterwards. For a switchover it is the time between the last write that the old
//! primary acknowledged and the first of the new one. After each round the log of the client is
//! held against what is there, and the next one begins when the herd is whole.

#![allow(clippy::print_stderr, reason = "it says how far it is")]

mod patroni;
mod report;
mod round;

use std::path::PathBuf;
use std::process::Command;

use manada_testbed::{HerdNode, Programs, ProtectedHerd};

use crate::program::Program;
use report::Figures;

/// The hosts of each herd.
const NAMES: [&str; 3] = ["db1", "db2", "db3"];

/// In how many turns the rounds of the herds alternate.
const TURNS: u16 = 5;

/// What `cargo xtask bench failover` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// How often each fault happens to a herd of Manada.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u16).range(0..=10_000))]
    rounds: u16,

    /// Also measure Debian's Patroni, with the same etcd; its package is installed if it is not
    /// there.
    #[arg(long)]
    peer: bool,

    /// How often each fault happens to each of Patroni's herds, which take longer.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..=1000))]
    peer_rounds: u16,

    /// Have the primary's host lead etcd when the fault comes.
    #[arg(long)]
    store_leader: bool,

    /// Only these faults.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = Fault::ALL)]
    faults: Vec<Fault>,

    #[command(flatten)]
    program: Program,
}

/// What happens to the primary.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub(crate) enum Fault {
    /// Its postmaster is killed.
    Postmaster,
    /// Its host is gone: no link, and nothing runs on it.
    Power,
    /// Its host is silent: no link.
    Silence,
    /// Its place is given to another.
    Switchover,
}

impl Fault {
    /// Whether the whole host is lost.
    fn takes_the_host(self) -> bool {
        matches!(self, Fault::Power | Fault::Silence)
    }

    const ALL: [Fault; 4] = [
        Fault::Postmaster,
        Fault::Power,
        Fault::Silence,
        Fault::Switchover,
    ];

    fn text(self) -> &'static str {
        match self {
            Fault::Postmaster => "postmaster killed",
            Fault::Power => "host lost: power",
            Fault::Silence => "host lost: silence",
            Fault::Switchover => "switchover",
        }
    }
}

/// Whose herd is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Subject {
    Manada,
    PatroniDefaults,
    PatroniFastest,
}

impl Subject {
    fn text(self) -> &'static str {
        match self {
            Subject::Manada => "Manada",
            Subject::PatroniDefaults => "Patroni, defaults",
            Subject::PatroniFastest => "Patroni, fastest",
        }
    }
}

/// A herd that is measured, and how its operator switches over.
struct Measured {
    subject: Subject,
    herd: ProtectedHerd,
}

impl Arguments {
    pub(super) fn measure(&self) -> Result<String, String> {
        let programs = Programs::any().map_err(|error| error.to_string())?;
        let manada = match self.rounds {
            0 => PathBuf::new(),
            1.. => self.program.path()?,
        };
        if self.peer {
            patroni::install()?;
        }
        let mut figures = Figures::default();
        for turn in 0..TURNS {
            for (subject, rounds) in self.subjects() {
                let rounds = share(rounds, turn);
                if rounds == 0 {
                    continue;
                }
                let measured = Measured::start(subject, &manada, &programs)?;
                let went_on = self.turn(turn, rounds, &measured, &mut figures);
                match (subject, went_on) {
                    (_, Ok(())) => {}
                    (Subject::Manada, Err(error)) => return Err(error),
                    // The next turn has a new herd.
                    (Subject::PatroniDefaults | Subject::PatroniFastest, Err(error)) => {
                        eprintln!("turn {}: {}: {error}", turn + 1, subject.text());
                    }
                }
            }
        }
        Ok(figures.report(&programs, self.peer))
    }

    /// A turn of rounds with one herd.
    fn turn(
        &self,
        turn: u16,
        rounds: u16,
        measured: &Measured,
        figures: &mut Figures,
    ) -> Result<(), String> {
        for round in 0..rounds {
            for fault in &self.faults {
                let outcome = measured.round(*fault, self.store_leader)?;
                eprintln!(
                    "turn {}, round {}: {}, {}: {outcome}",
                    turn + 1,
                    round + 1,
                    measured.subject.text(),
                    fault.text()
                );
                figures.add(measured.subject, *fault, outcome);
            }
        }
        Ok(())
    }

    fn subjects(&self) -> Vec<(Subject, u16)> {
        let mut subjects = vec![(Subject::Manada, self.rounds)];
        if self.peer {
            subjects.push((Subject::PatroniDefaults, self.peer_rounds));
            subjects.push((Subject::PatroniFastest, self.peer_rounds));
        }
        subjects
    }
}

/// How many of `rounds` belong to that turn.
fn share(rounds: u16, turn: u16) -> u16 {
    rounds / TURNS + u16::from(turn < rounds % TURNS)
}

impl Measured {
    fn start(
        subject: Subject,
        manada: &std::path::Path,
        programs: &Programs,
    ) -> Result<Measured, String> {
        let herd = match subject {
            Subject::Manada => {
                ProtectedHerd::start(manada, programs, &NAMES).map_err(|error| error.to_string())?
            }
            Subject::PatroniDefaults => patroni::start(programs, patroni::DEFAULTS)?,
            Subject::PatroniFastest => patroni::start(programs, patroni::FASTEST)?,
        };
        herd.prepare_for_clients();
        Ok(Measured { subject, herd })
    }

    /// Whether it is known who may take over.
    fn may_fail_over(&self) -> bool {
        match self.subject {
            // All who hold commits up may.
            Subject::Manada => true,
            Subject::PatroniDefaults | Subject::PatroniFastest => {
                patroni::may_fail_over(&self.herd)
            }
        }
    }

    /// The operator's command on the primary's host that gives its place to another.
    fn switchover(&self, from: &HerdNode, to: &HerdNode) -> Command {
        match self.subject {
            Subject::Manada => from.command(&["switchover", "--to", to.name()]),
            Subject::PatroniDefaults | Subject::PatroniFastest => patroni::switchover(from, to),
        }
    }
}
