//! The searches by name: which herds, how much may happen to them, and what must come of it.

use std::fmt;

use manada_core::input::Command;
use manada_core::record::{Desired, WhenShort};
use manada_model::SyncMethod;

use super::{Bounds, Goal, HerdModel, Late};
use crate::world::HostId;

const LEADER: HostId = HostId(0);
const STANDBY: HostId = HostId(1);

/// How many of which a herd has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Servers.
    pub servers: u16,
    /// Witnesses.
    pub witnesses: u16,
}

const TWO: Shape = Shape {
    servers: 2,
    witnesses: 0,
};
const THREE: Shape = Shape {
    servers: 3,
    witnesses: 0,
};
const WITNESSED: Shape = Shape {
    servers: 2,
    witnesses: 1,
};

/// How far a search goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// For every change of the code.
    Small,
    /// By command.
    Large,
}

/// One search.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// What happens.
    pub name: &'static str,
    /// To which herd.
    pub shape: Shape,
    /// How far.
    pub size: Size,
    story: &'static Story,
}

/// What can happen in a case, whichever the herd.
#[derive(Debug)]
struct Story {
    name: &'static str,
    shapes: &'static [Shape],
    bounds: fn(Shape, Size) -> Bounds,
    goals: fn(Shape) -> Vec<Goal>,
}

const STORIES: &[Story] = &[
    Story {
        name: "failover",
        shapes: &[TWO, THREE, WITNESSED],
        bounds: failover,
        goals: goals_of_failover,
    },
    Story {
        name: "failovers",
        shapes: &[TWO, THREE, WITNESSED],
        bounds: failovers,
        goals: |_| vec![Goal::Failover, Goal::WriteOutlives],
    },
    Story {
        name: "cancels",
        shapes: &[TWO, THREE, WITNESSED],
        bounds: cancels,
        goals: |_| vec![Goal::Failover, Goal::DoubtKept, Goal::DoubtDiscarded],
    },
    Story {
        name: "policy-changes",
        shapes: &[TWO, THREE, WITNESSED],
        bounds: policy_changes,
        goals: goals_of_policy_changes,
    },
    Story {
        name: "sync",
        shapes: &[THREE, WITNESSED],
        bounds: sync,
        goals: |_| vec![Goal::Failover, Goal::PolicyChanged],
    },
    Story {
        name: "switchover",
        shapes: &[TWO, THREE, WITNESSED],
        bounds: switchover,
        goals: |_| vec![Goal::SwitchedOver],
    },
    Story {
        name: "operator-failover",
        shapes: &[TWO, THREE, WITNESSED],
        bounds: operator_failover,
        goals: |_| vec![Goal::Failover, Goal::Rejoined],
    },
    Story {
        name: "pause",
        shapes: &[TWO, THREE, WITNESSED],
        bounds: pause,
        goals: |_| vec![Goal::PauseHeld, Goal::Failover],
    },
    Story {
        name: "agent-restart",
        shapes: &[TWO, THREE, WITNESSED],
        bounds: agent_restart,
        goals: |_| vec![Goal::Failover],
    },
    Story {
        name: "old-records",
        shapes: &[THREE, WITNESSED],
        bounds: old_records,
        goals: |_| vec![Goal::Failover, Goal::PolicyChanged],
    },
    Story {
        name: "store-faults",
        shapes: &[TWO, THREE, WITNESSED],
        bounds: store_faults,
        goals: |_| vec![Goal::Failover],
    },
    Story {
        name: "failed-orders",
        shapes: &[TWO, THREE, WITNESSED],
        bounds: failed_orders,
        goals: |_| vec![Goal::Failover],
    },
    Story {
        name: "first",
        shapes: &[THREE, WITNESSED],
        bounds: first,
        goals: |_| vec![Goal::Failover, Goal::WriteOutlives],
    },
    Story {
        name: "wait-again",
        shapes: &[TWO, THREE],
        bounds: wait_again,
        goals: |_| vec![Goal::Failover, Goal::PolicyChanged],
    },
    Story {
        name: "asynchronous",
        shapes: &[TWO],
        bounds: asynchronous,
        goals: |_| vec![Goal::Failover, Goal::LossTaken, Goal::Rejoined],
    },
    Story {
        name: "asynchronous-switchover",
        shapes: &[TWO],
        bounds: asynchronous_switchover,
        goals: |_| vec![Goal::SwitchedOver],
    },
];

impl Case {
    /// All of that size.
    pub fn all(size: Size) -> Vec<Case> {
        let cases = |story: &'static Story| {
            story.shapes.iter().map(move |shape| Case {
                name: story.name,
                shape: *shape,
                size,
                story,
            })
        };
        STORIES.iter().flat_map(cases).collect()
    }

    /// What is searched.
    pub fn model(&self) -> HerdModel {
        let Shape { servers, witnesses } = self.shape;
        let bounds = (self.story.bounds)(self.shape, self.size);
        let goals = (self.story.goals)(self.shape);
        HerdModel::new(servers, witnesses, bounds, goals)
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Shape { servers, witnesses } = self.shape;
        write!(f, "{}, {servers} servers", self.name)?;
        match witnesses {
            0 => Ok(()),
            1 => write!(f, " and a witness"),
            more => write!(f, " and {more} witnesses"),
        }
    }
}

/// A lease lapses, whether or not the leader lives, and something dies at any moment.
fn failover(shape: Shape, size: Size) -> Bounds {
    let late = match (size, shape) {
        (Size::Small, TWO) => vec![Late::Orders, Late::Mail, Late::Flushes],
        (Size::Small, _) => vec![Late::Mail, Late::Flushes],
        (Size::Large, TWO) => vec![
            Late::Orders,
            Late::Swaps,
            Late::Reads,
            Late::Mail,
            Late::Flushes,
            Late::Answers,
        ],
        (Size::Large, _) => vec![Late::Reads, Late::Mail, Late::Flushes, Late::Answers],
    };
    Bounds {
        crashes: 1,
        late,
        ..Bounds::smallest()
    }
}

fn goals_of_failover(shape: Shape) -> Vec<Goal> {
    let mut goals = vec![
        Goal::Failover,
        Goal::WriteOutlives,
        Goal::DoubtKept,
        Goal::DoubtDiscarded,
        Goal::StartedInPlace,
        Goal::Rejoined,
    ];
    if shape.witnesses > 0 {
        goals.extend([Goal::WitnessAhead, Goal::WalHandedOver]);
    }
    goals
}

/// The new leader is lost as well.
fn failovers(shape: Shape, size: Size) -> Bounds {
    let late = match (size, shape) {
        (Size::Small, TWO) | (Size::Large, THREE | WITNESSED) => vec![Late::Flushes],
        (Size::Small, _) => Vec::new(),
        (Size::Large, _) => vec![Late::Mail, Late::Flushes],
    };
    Bounds {
        epochs: 3,
        revisions: 8,
        timers: 4,
        crashes: 2,
        late,
        ..Bounds::smallest()
    }
}

/// A wait is cancelled in time with everything else.
fn cancels(_: Shape, size: Size) -> Bounds {
    let late = match size {
        Size::Small => vec![Late::Flushes],
        Size::Large => vec![Late::Flushes, Late::Answers],
    };
    Bounds {
        writes: 2,
        cancels: 1,
        crashes: 1,
        late,
        ..Bounds::smallest()
    }
}

/// A standby is away and comes back: it is left out and taken in, or commits wait for nobody and
/// again for it; walsenders and the checkpointer read their settings at any time.
fn policy_changes(shape: Shape, size: Size) -> Bounds {
    let late = match (size, shape) {
        (Size::Small, THREE) => vec![Late::Reloads],
        (Size::Small, _) | (Size::Large, THREE | WITNESSED) => vec![Late::Flushes, Late::Reloads],
        (Size::Large, _) => vec![Late::Flushes, Late::Reloads, Late::Answers, Late::Mail],
    };
    Bounds {
        when_short: WhenShort::Degrade,
        policy_changes: true,
        revisions: 7,
        timers: 3,
        crashes: 1,
        late,
        ..Bounds::smallest()
    }
}

fn goals_of_policy_changes(shape: Shape) -> Vec<Goal> {
    match shape {
        TWO => vec![Goal::Failover, Goal::Degraded, Goal::Rearmed],
        _ => vec![Goal::Failover, Goal::PolicyChanged],
    }
}

/// Commits are made to wait for two.
fn sync(_: Shape, size: Size) -> Bounds {
    let late = match size {
        Size::Small => vec![Late::Flushes, Late::Reloads],
        Size::Large => vec![Late::Flushes, Late::Reloads, Late::Answers],
    };
    Bounds {
        revisions: 7,
        crashes: 1,
        commands: vec![(LEADER, wait_for(2))],
        late,
        ..Bounds::smallest()
    }
}

/// So many of all others.
fn wait_for(count: u32) -> Command {
    Command::SetPolicy(Desired {
        method: SyncMethod::Any,
        count,
        standbys: None,
        when_short: WhenShort::Block,
    })
}

/// Commits wait for the first of two that streams.
fn first(_: Shape, size: Size) -> Bounds {
    let late = match size {
        Size::Small => vec![Late::Flushes],
        Size::Large => vec![Late::Flushes, Late::Answers],
    };
    Bounds {
        method: SyncMethod::First,
        crashes: 1,
        late,
        ..Bounds::smallest()
    }
}

/// Commits that wait for nobody are made to wait, and the lease lapses meanwhile.
fn wait_again(_: Shape, size: Size) -> Bounds {
    let late = match size {
        Size::Small => vec![Late::Reads, Late::Reloads],
        Size::Large => vec![Late::Reads, Late::Reloads, Late::Mail, Late::Flushes],
    };
    Bounds {
        count: 0,
        loss_bytes_max: 1,
        revisions: 7,
        commands: vec![(LEADER, wait_for(1))],
        late,
        ..Bounds::smallest()
    }
}

/// The leader hands over, and something dies meanwhile.
fn switchover(shape: Shape, size: Size) -> Bounds {
    let late = match (size, shape) {
        (Size::Small, TWO) => vec![Late::Mail, Late::Flushes],
        (Size::Small, _) => vec![Late::Flushes],
        (Size::Large, TWO) => vec![Late::Orders, Late::Reads, Late::Mail, Late::Flushes],
        (Size::Large, _) => vec![Late::Reads, Late::Mail, Late::Flushes],
    };
    Bounds {
        crashes: 1,
        commands: vec![(LEADER, Command::Switchover { to: None })],
        late,
        ..Bounds::smallest()
    }
}

/// A standby is told to take over, whatever the leader does.
fn operator_failover(shape: Shape, size: Size) -> Bounds {
    let late = match (size, shape) {
        (Size::Small, TWO) => vec![Late::Mail, Late::Flushes],
        (Size::Small, _) => vec![Late::Flushes],
        (Size::Large, TWO) => vec![Late::Orders, Late::Reads, Late::Mail, Late::Flushes],
        (Size::Large, _) => vec![Late::Reads, Late::Mail, Late::Flushes],
    };
    let command = Command::Failover {
        to: None,
        allow_loss: None,
    };
    Bounds {
        crashes: 1,
        commands: vec![(STANDBY, command)],
        late,
        ..Bounds::smallest()
    }
}

/// The herd is paused, and later no more.
fn pause(_: Shape, size: Size) -> Bounds {
    let late = match size {
        Size::Small => vec![Late::Flushes],
        Size::Large => vec![Late::Mail, Late::Flushes],
    };
    Bounds {
        revisions: 7,
        timers: 3,
        crashes: 1,
        commands: vec![(LEADER, Command::Pause), (STANDBY, Command::Resume)],
        late,
        ..Bounds::smallest()
    }
}

/// An agent dies while its server goes on, and reads what was in the store before.
fn agent_restart(_: Shape, size: Size) -> Bounds {
    let late = match size {
        Size::Small => vec![Late::Reads],
        Size::Large => vec![Late::Reads, Late::Mail, Late::Flushes],
    };
    Bounds {
        agent_deaths: 1,
        stale_reads: 1,
        late,
        ..Bounds::smallest()
    }
}

/// The leader's agent dies in a change of the policy, or after it, and reads any record that there
/// was.
fn old_records(shape: Shape, size: Size) -> Bounds {
    let late = match (size, shape) {
        (Size::Small, THREE) => Vec::new(),
        (Size::Small, _) => vec![Late::Reads],
        (Size::Large, _) => vec![Late::Reads, Late::Flushes, Late::Reloads],
    };
    Bounds {
        revisions: 7,
        commands: vec![(LEADER, wait_for(2))],
        late,
        ..agent_restart(shape, size)
    }
}

/// The store does what it was asked and does not say so, or does it later than anybody waits.
fn store_faults(_: Shape, size: Size) -> Bounds {
    let late = match size {
        Size::Small => vec![Late::Flushes],
        Size::Large => vec![Late::Swaps, Late::Mail, Late::Flushes],
    };
    Bounds {
        timers: 3,
        store_faults: 1,
        late,
        ..Bounds::smallest()
    }
}

/// A server does not do what it is told.
fn failed_orders(_: Shape, size: Size) -> Bounds {
    let late = match size {
        Size::Small => vec![Late::Flushes],
        Size::Large => vec![Late::Mail, Late::Flushes],
    };
    Bounds {
        timers: 3,
        failures: 1,
        late,
        ..Bounds::smallest()
    }
}

/// Commits wait for nobody: the lease lapses for some while the leader gives signs of life that they
/// don't see, or an operator wants a failover.
fn asynchronous(_: Shape, size: Size) -> Bounds {
    let crashes = match size {
        Size::Small => 0,
        Size::Large => 1,
    };
    let command = Command::Failover {
        to: None,
        allow_loss: None,
    };
    Bounds {
        count: 0,
        beats: 1,
        loss_bytes_max: 1,
        crashes,
        commands: vec![(STANDBY, command)],
        late: vec![Late::Reads, Late::Mail, Late::Flushes],
        ..Bounds::smallest()
    }
}

/// Commits wait for nobody, and the leader hands over, or starts in place since nobody takes over.
fn asynchronous_switchover(_: Shape, size: Size) -> Bounds {
    let (crashes, timers) = match size {
        Size::Small => (0, 2),
        Size::Large => (1, 3),
    };
    Bounds {
        count: 0,
        beats: 1,
        loss_bytes_max: 1,
        crashes,
        timers,
        commands: vec![(LEADER, Command::Switchover { to: None })],
        late: vec![Late::Reads, Late::Mail, Late::Flushes],
        ..Bounds::smallest()
    }
}
