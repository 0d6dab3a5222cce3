//! Which herds live, and what goes wrong in their lives: by dice.

use std::time::Duration;

use manada_core::input::Command;
use manada_core::loss::LossBound;
use manada_core::record::{Desired, MemberRole, WhenShort};
use manada_model::{NodeName, SyncMethod};

use super::dice::Dice;
use super::fault::Fault;
use super::life::Life;
use crate::world::{Herd, HostId};

/// How many entries of WAL a herd whose commits wait for nobody may give up by itself.
const LOSSES: [u64; 3] = [0, 3, 100];

/// The shortest and the longest of what lasts, in milliseconds.
const LASTS: (u64, u64) = (100, 12_000);

/// One of the herds that there are: two to seven nodes, with or without a witness, under any policy.
pub(super) fn any_herd(seed: u64) -> Life {
    let mut dice = Dice::new(seed ^ 0xA11CE);
    let servers = 2 + u16::try_from(dice.below(5)).unwrap_or(0);
    let witnesses = u16::from(dice.once_in(3));
    let nodes = usize::from(servers + witnesses);
    // One in six is asynchronous.
    let count = if dice.once_in(6) {
        0
    } else {
        1 + dice.below((nodes - 1).min(3))
    };
    let mut life = Life::of(servers, witnesses, u32::try_from(count).unwrap_or(1), seed);
    if dice.once_in(3) {
        life.desired.method = SyncMethod::First;
    }
    if dice.once_in(3) {
        life.desired.when_short = WhenShort::Degrade;
    }
    let herd = std::sync::Arc::make_mut(&mut life.herd);
    herd.limits.loss_bytes_max = LOSSES[dice.below(LOSSES.len())];
    // The first and the second may always lead.
    for role in herd.roles.iter_mut().skip(2) {
        if let MemberRole::Server { priority } = role {
            *priority = u8::try_from(dice.below(4)).unwrap_or(1);
        }
    }
    life
}

/// One to three faults that overlap.
pub(super) fn misfortune(dice: &mut Dice, herd: &Herd) -> Vec<(Duration, Fault)> {
    let hosts: Vec<HostId> = herd.hosts().collect();
    let mut faults: Vec<(Duration, Fault)> = (0..=dice.below(3))
        .map(|_| (dice.millis(0, 4000), any_fault(dice, herd, &hosts)))
        .collect();
    // Only while the policy changes it makes a difference who has read it.
    if faults
        .iter()
        .any(|(_, fault)| matches!(fault, Fault::SlowReloads(_)))
    {
        let host = hosts[dice.below(hosts.len())];
        let policy = Command::SetPolicy(any_policy(dice, herd, &hosts));
        faults.push((dice.millis(0, 4000), Fault::Command(host, policy)));
    }
    faults
}

fn any_fault(dice: &mut Dice, herd: &Herd, hosts: &[HostId]) -> Fault {
    let host = hosts[dice.below(hosts.len())];
    let other = hosts[dice.below(hosts.len())];
    let lasts = dice.millis(LASTS.0, LASTS.1);
    match dice.below(29) {
        0 | 1 => Fault::KillServer(host),
        2 => Fault::KillAgent(host),
        3 | 4 => Fault::PowerLoss(host, lasts),
        5 => Fault::Stall(host, lasts),
        6 => Fault::PauseAgent(host, lasts),
        7 => Fault::ClockStands(host, lasts),
        8 | 9 => Fault::Isolate(host, lasts),
        10 => Fault::OneWay(host, other, lasts),
        11 => Fault::Part(host, other, lasts),
        12 => Fault::StoreLoss(lasts),
        13 => Fault::StoreUnreachable(host, lasts),
        14 => Fault::StoreDoubtful(lasts),
        15 => Fault::StoreStale(lasts),
        16 => Fault::OrdersFail(host, lasts),
        17 => Fault::SlowReloads(lasts),
        18 => Fault::SyncFails(host, lasts),
        19 => Fault::PowerLossAtPromise(host, lasts),
        20 => Fault::RestartAgent(host),
        21 => Fault::Cancels(lasts),
        22 => Fault::Pause(host, lasts),
        23 => Fault::Command(host, any_failover(dice)),
        24 => Fault::Command(host, any_priority(dice, herd, hosts)),
        25 => Fault::Command(host, Command::SetPolicy(any_policy(dice, herd, hosts))),
        26 => Fault::RecordLoss(dice.once_in(2).then(|| 1 + dice.below(4)), lasts),
        _ => Fault::Command(host, Command::Switchover { to: None }),
    }
}

fn any_failover(dice: &mut Dice) -> Command {
    let bytes = u64::try_from(dice.below(50)).unwrap_or(0);
    let bounds = [None, Some(LossBound::Bytes(bytes)), Some(LossBound::Any)];
    Command::Failover {
        to: None,
        allow_loss: bounds[dice.below(bounds.len())],
    }
}

/// A server may lead sooner or later than others, but never not at all: else nobody might.
fn any_priority(dice: &mut Dice, herd: &Herd, hosts: &[HostId]) -> Command {
    let servers: Vec<HostId> = hosts
        .iter()
        .copied()
        .filter(|host| matches!(herd.roles[usize::from(host.0)], MemberRole::Server { .. }))
        .collect();
    let server = servers[dice.below(servers.len())];
    Command::Admit {
        name: herd.name(server).clone(),
        role: MemberRole::Server {
            priority: 1 + u8::try_from(dice.below(3)).unwrap_or(0),
        },
    }
}

fn any_policy(dice: &mut Dice, herd: &Herd, hosts: &[HostId]) -> Desired {
    let among: Vec<NodeName> = hosts
        .iter()
        .filter(|_| !dice.once_in(4))
        .map(|host| herd.name(*host).clone())
        .collect();
    Desired {
        method: if dice.once_in(3) {
            SyncMethod::First
        } else {
            SyncMethod::Any
        },
        count: u32::try_from(dice.below(hosts.len().min(4))).unwrap_or(1),
        standbys: (dice.once_in(2) && !among.is_empty()).then_some(among),
        when_short: if dice.once_in(2) {
            WhenShort::Degrade
        } else {
            WhenShort::Block
        },
    }
}
