//! Records, leases and contacts to write.

use std::collections::BTreeMap;
use std::time::Duration;

use manada_core::lease::Lease;
use manada_core::policy::{Policy, Published};
use manada_core::position::Epoch;
use manada_core::record::{Desired, MemberRole, Mode, Record, WhenShort};
use manada_model::{HerdName, Lsn, NodeName, SyncMethod, SystemIdentifier};
use manada_store::Contact;

/// Runs a test's script.
pub(crate) fn run<T>(script: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime")
        .block_on(script)
}

pub(crate) fn herd() -> HerdName {
    "main".parse().expect("a name")
}

fn node(name: &str) -> NodeName {
    name.parse().expect("a name")
}

pub(crate) fn record(epoch: u64) -> Record {
    Record {
        recoveries: 0,
        epoch: Epoch(epoch),
        leader: Some(node("n1")),
        coordinator: node("n1"),
        policies: vec![Published {
            leader: node("n1"),
            policy: Policy {
                method: SyncMethod::Any,
                count: 1,
                standbys: vec![node("n2"), node("n3")],
            },
        }],
        reigns: Vec::new(),
        desired: Desired {
            method: SyncMethod::Any,
            count: 1,
            standbys: None,
            when_short: WhenShort::Block,
        },
        mode: Mode::Automatic,
        members: BTreeMap::from([
            (node("n1"), MemberRole::Server { priority: 1 }),
            (node("n2"), MemberRole::Server { priority: 1 }),
            (node("n3"), MemberRole::Witness),
        ]),
    }
}

pub(crate) fn lease(epoch: u64, beat: u64) -> Lease {
    Lease {
        epoch: Epoch(epoch),
        leader: node("n1"),
        beat,
        holds_for: Duration::from_millis(2100),
        flush_lsn: Lsn(0x300_0000 + beat),
    }
}

pub(crate) fn contact(name: &str, agent_port: u16) -> Contact {
    Contact {
        name: node(name),
        addresses: vec!["10.0.0.1".parse().expect("an address")],
        postgres_port: Some(5432),
        agent_port,
        role: MemberRole::Server { priority: 1 },
        system_identifier: SystemIdentifier(7),
    }
}
