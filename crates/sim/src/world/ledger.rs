//! What clients were told, and what may never happen.

use std::collections::BTreeMap;

use manada_core::loss::LossBound;
use manada_core::position::Epoch;

use super::HostId;
use super::wal::{Mark, WriteId};

/// What must always hold, by its number in the design.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Violation {
    /// I1: a leader lacks what a client was told to be durable.
    LostWrite {
        /// Who leads.
        leader: HostId,
        /// What it lacks.
        write: WriteId,
    },
    /// I2: two lead in one epoch.
    TwoLeaders(Epoch),
    /// I1: a commit was acknowledged by standbys that have not the rule of its reign.
    AcknowledgedWithoutRule {
        /// By whom.
        by: HostId,
        /// Which.
        write: WriteId,
    },
    /// I1: commits can be acknowledged before the quorum has the rule of the reign.
    EnforcedTooSoon(HostId),
    /// I1: more of an asynchronous leader's WAL was given up than is allowed.
    LostTooMuch(HostId),
    /// I2: one leads that may not.
    UnfitLeader(HostId),
    /// I3: an acknowledgement below an epoch for which a covering set was recruited.
    AcknowledgedTooLate {
        /// By whom.
        by: HostId,
        /// Which.
        write: WriteId,
    },
    /// I3: one was chosen to lead by recruits that do not cover what is published.
    ChosenTooSoon(HostId),
    /// I3: a node said where its WAL ends while it could still grow.
    SpokeTooSoon(HostId),
    /// I3: a node receives from a leader of an epoch below the one that it has promised.
    FollowsBelowPromise(HostId),
    /// I4: commits wait for something that is not published.
    UnpublishedPolicy(HostId),
    /// I4: a rule says that commits wait for what they don't wait for.
    RuleTooSoon(HostId),
    /// I4: a policy is no longer published although its quorum has not the rule of the next.
    UnpublishedTooSoon(HostId),
    /// I5: clients are let in to what a quorum does not have.
    OpenedTooSoon(HostId),
    /// I5: a client was shown what the leader does not have.
    LostSight {
        /// Who leads.
        leader: HostId,
        /// What it lacks.
        write: WriteId,
    },
    /// I6: a promise went back, or something was said or done before it was durable.
    BrokenPromise(HostId),
    /// I7: two servers archived different WAL under one name.
    ArchivedTwice(HostId),
    /// I8: a standby receives WAL that does not continue its own.
    ForeignWal {
        /// Who receives.
        standby: HostId,
        /// From whom.
        leader: HostId,
    },
}

impl Violation {
    /// Whether clients or other servers meet it; else it is a step that makes such a thing possible.
    pub fn is_harm(&self) -> bool {
        match self {
            Violation::LostWrite { .. }
            | Violation::TwoLeaders(_)
            | Violation::LostTooMuch(_)
            | Violation::AcknowledgedTooLate { .. }
            | Violation::LostSight { .. }
            | Violation::ArchivedTwice(_)
            | Violation::ForeignWal { .. } => true,
            Violation::AcknowledgedWithoutRule { .. }
            | Violation::EnforcedTooSoon(_)
            | Violation::UnfitLeader(_)
            | Violation::ChosenTooSoon(_)
            | Violation::SpokeTooSoon(_)
            | Violation::FollowsBelowPromise(_)
            | Violation::UnpublishedPolicy(_)
            | Violation::RuleTooSoon(_)
            | Violation::UnpublishedTooSoon(_)
            | Violation::OpenedTooSoon(_)
            | Violation::BrokenPromise(_) => false,
        }
    }

    /// The invariant's number.
    pub fn invariant(&self) -> u8 {
        match self {
            Violation::LostWrite { .. }
            | Violation::AcknowledgedWithoutRule { .. }
            | Violation::EnforcedTooSoon(_)
            | Violation::LostTooMuch(_) => 1,
            Violation::TwoLeaders(_) | Violation::UnfitLeader(_) => 2,
            Violation::AcknowledgedTooLate { .. }
            | Violation::ChosenTooSoon(_)
            | Violation::SpokeTooSoon(_)
            | Violation::FollowsBelowPromise(_) => 3,
            Violation::UnpublishedPolicy(_)
            | Violation::RuleTooSoon(_)
            | Violation::UnpublishedTooSoon(_) => 4,
            Violation::LostSight { .. } | Violation::OpenedTooSoon(_) => 5,
            Violation::BrokenPromise(_) => 6,
            Violation::ArchivedTwice(_) => 7,
            Violation::ForeignWal { .. } => 8,
        }
    }
}

/// What became of a write, as its client knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fate {
    /// Its commit waits.
    Waiting,
    /// It was acknowledged by whom the policy asks for.
    Acknowledged,
    /// It was acknowledged while commits waited for nobody: it may be lost within bounds.
    Unguarded,
    /// The connection broke, or the wait was cancelled.
    Unknown,
    /// It was acknowledged, and given up within the bound that an operator set.
    GivenUp,
}

/// A write, and where it is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Written {
    /// The WAL up to and with it.
    pub mark: Mark,
    /// What its client knows.
    pub fate: Fate,
    /// Whether it was shown through an open gate as something that had survived.
    pub shown: bool,
}

/// All writes, who led, and the first thing that went wrong.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Ledger {
    /// By their numbers.
    pub writes: Vec<Written>,
    /// Who led in which epoch.
    pub leaders: BTreeMap<Epoch, HostId>,
    /// What was archived: by timeline and place.
    pub archive: BTreeMap<(u32, usize), Mark>,
    /// What an operator has allowed to be lost in the choice of the next leader.
    pub allowed_loss: Option<LossBound>,
    /// The last reign whose leader was chosen although more may have been acknowledged: what
    /// earlier leaders acknowledge still is given up.
    pub given_up_before: Epoch,
    /// The first invariant that broke.
    pub violation: Option<Violation>,
    /// What is only a step towards harm is let pass, to see the harm.
    pub only_harm: bool,
}

impl Ledger {
    /// The number of the next write.
    pub fn next(&self) -> WriteId {
        WriteId(u32::try_from(self.writes.len()).unwrap_or(u32::MAX))
    }

    /// A write.
    pub fn get(&self, id: WriteId) -> &Written {
        &self.writes[id.0 as usize]
    }

    /// A write.
    pub fn get_mut(&mut self, id: WriteId) -> &mut Written {
        &mut self.writes[id.0 as usize]
    }

    /// Keeps the first.
    pub fn violated(&mut self, violation: Violation) {
        if violation.is_harm() || !self.only_harm {
            self.violation.get_or_insert(violation);
        }
    }

    /// The last epoch in which that one was chosen.
    pub fn last_reign_of(&self, host: HostId) -> Option<Epoch> {
        let reigns = self.leaders.iter().rev();
        reigns
            .filter(|(_, leader)| **leader == host)
            .map(|(epoch, _)| *epoch)
            .next()
    }

    /// All writes with their numbers.
    pub fn iter(&self) -> impl Iterator<Item = (WriteId, &Written)> {
        (0..).map(WriteId).zip(&self.writes)
    }
}
