//! English.

use std::path::Path;
use std::time::Duration;

use super::{Texts, Try, time};
use crate::commands::lab::step::StepId;

pub(super) struct English;

impl Texts for English {
    fn heading(&self) -> &'static str {
        "the replication practice, step by step"
    }

    fn step(&self, step: StepId) -> &'static str {
        match step {
            StepId::Programs => "programs",
            StepId::Primary => "primary",
            StepId::Role => "replication role",
            StepId::Clone => "physical copy",
            StepId::Follow => "standby follows",
            StepId::Read => "read on the standby",
            StepId::ReadOnly => "write refused",
            StepId::Asynchronous => "asynchronous, shown",
            StepId::Synchronous => "switch to synchronous",
            StepId::Wait => "synchronous, shown",
            StepId::Archive => "WAL archive",
            StepId::Diagram => "diagram",
            StepId::Protect => "agents",
            StepId::Failover => "failover",
            StepId::Rejoin => "rejoin",
        }
    }

    fn doing(&self, step: StepId) -> &'static str {
        match step {
            StepId::Programs => "looking for PostgreSQL",
            StepId::Primary => "creating the primary",
            StepId::Role => "creating the replication role",
            StepId::Clone => "copying the primary",
            StepId::Follow => "starting the standby",
            StepId::Read => "writing on the primary, reading on the standby",
            StepId::ReadOnly => "trying to write on the standby",
            StepId::Asynchronous => "stopping the standby: does a commit wait?",
            StepId::Synchronous => "switching to synchronous replication",
            StepId::Wait => "stopping the standby: does a commit wait now?",
            StepId::Archive => "archiving a WAL segment",
            StepId::Diagram => "drawing",
            StepId::Protect => "starting an agent for each node",
            StepId::Failover => "killing the primary under load",
            StepId::Rejoin => "waiting for the old primary to come back",
        }
    }

    fn programs(&self, version: &str) -> String {
        format!("PostgreSQL {version}")
    }

    fn primary(&self, node: &str, address: &str) -> String {
        format!("Primary {node} at {address}, with TLS and SCRAM")
    }

    fn role(&self, role: &str) -> String {
        format!("Role {role}: may replicate, and nothing else")
    }

    fn cloned(&self, standbys: &str, size: &str) -> String {
        format!("Physical copy of the primary in {standbys}: {size}")
    }

    fn following(&self, standbys: &str, count: usize, primary: &str) -> String {
        let verb = if count == 1 { "follows" } else { "follow" };
        format!("{standbys} {verb} {primary}")
    }

    fn read(&self, standbys: &str, after: Duration) -> String {
        format!(
            "Row written on the primary, read on {standbys} after {}",
            time(after)
        )
    }

    fn refused(&self, standbys: &str, count: usize) -> String {
        match count {
            1 => format!("{standbys} refuses writes: it is read-only"),
            _ => format!("{standbys} refuse writes: they are read-only"),
        }
    }

    fn asynchronous(&self, standbys: &str, _count: usize, commit: Duration) -> String {
        format!(
            "Asynchronous: with {standbys} stopped, a commit returns in {}",
            time(commit)
        )
    }

    fn caught_up(&self, standbys: &str, count: usize, after: Duration) -> String {
        let verbs = if count == 1 {
            "starts and catches"
        } else {
            "start and catch"
        };
        format!("{standbys} {verbs} up in {}", time(after))
    }

    fn synchronous(&self) -> String {
        "Synchronous replication, without a restart".to_owned()
    }

    fn waited(&self, standbys: &str, _count: usize, waited: Duration) -> String {
        format!(
            "Synchronous: with {standbys} stopped, a commit waits {}",
            time(waited)
        )
    }

    fn archived(&self, segment: &str) -> String {
        format!("WAL {segment}: archived, fetched back, identical")
    }

    fn drawn(&self) -> String {
        "The result".to_owned()
    }

    fn protected(&self, nodes: usize) -> String {
        format!("{nodes} agents watch the herd and record who leads")
    }

    fn failed_over(&self, old: &str, new: &str, after: Duration) -> String {
        format!("{old} killed; {new} took a write after {}", time(after))
    }

    fn nothing_lost(&self, rows: usize) -> String {
        format!("all {rows} rows that were acknowledged are there")
    }

    fn rejoined(&self, old: &str, new: &str, after: Duration) -> String {
        format!("{old} follows {new} by itself, {} later", time(after))
    }

    fn row_asynchronous(&self) -> &'static str {
        "Test asynchronous replication"
    }

    fn row_without_standby(&self) -> &'static str {
        "Test without a standby"
    }

    fn row_synchronous(&self) -> &'static str {
        "Test synchronous replication"
    }

    fn table_heading(&self) -> (&'static str, &'static str) {
        ("Step", "Time")
    }

    fn total(&self, steps: usize, total: Duration) -> String {
        format!("{steps} steps, all of them checked, in {}", time(total))
    }

    fn connect(&self) -> &'static str {
        "Connect with psql:"
    }

    fn connect_to(&self) -> (&'static str, &'static str) {
        ("primary, to write", "standby, to read")
    }

    fn try_next(&self) -> &'static str {
        "Now try:"
    }

    fn try_command(&self, what: Try) -> &'static str {
        match what {
            Try::Status => "who is who, and what would be lost if the primary died",
            Try::Verify => "proof that everything replicates, with figures",
            Try::SyncOff => "back to asynchronous replication",
            Try::Why => "what was done and why, and what blocks what is not",
            Try::Switchover => "hand over to the best standby",
            Try::Stop => "stop the servers (lab start brings them back)",
            Try::Rm => "remove the lab",
        }
    }

    fn replaced(&self) -> String {
        "nobody had written in the earlier lab: this one replaces it".to_owned()
    }

    fn cleared(&self) -> String {
        "an earlier lab was broken off: it is cleared away, and begun anew".to_owned()
    }

    fn set_aside(&self, kept: &Path, home: &Path) -> String {
        format!(
            "the earlier lab may hold data of yours: it is kept in\n  {}\n  \
             to use it again: manada lab rm, give it its name back ({}), manada lab start",
            kept.display(),
            home.display()
        )
    }

    fn removed(&self, home: &Path) -> String {
        format!("removed: {}", home.display())
    }

    fn stopped(&self, home: &Path) -> String {
        format!(
            "stopped: {}; manada lab start brings it back",
            home.display()
        )
    }

    fn started(&self, home: &Path) -> String {
        format!("running: {}", home.display())
    }

    fn nothing_there(&self, home: &Path) -> String {
        format!("there is no lab in {}", home.display())
    }
}
