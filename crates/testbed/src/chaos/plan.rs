//! What happens next, and to whom.

use std::time::Duration;

use super::dice::Dice;
use super::kind::Kind;

/// One fault of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Strike {
    /// What.
    pub kind: Kind,
    /// To whom.
    pub whom: Role,
    /// Which other node, where it takes two: the next one, or the one after it.
    pub(super) other: usize,
    /// For how long.
    pub lasts: Duration,
}

/// Who a node is when it is struck.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The primary.
    Primary,
    /// One of the standbys.
    Standby(usize),
}

/// The faults of a run, without an end. Of those that are allowed, all have happened before one
/// happens again.
pub(super) struct Plan {
    dice: Dice,
    kinds: Vec<Kind>,
    left: Vec<Kind>,
    standbys: usize,
}

/// In how many of a hundred faults the primary is struck.
const PRIMARY_PERCENT: u64 = 70;

/// In how many of a hundred faults another one joins it, where that is wanted.
const JOINED_PERCENT: u64 = 50;

/// How long after the first one the other begins, at most.
const JOINED_WITHIN_MS: u64 = 3000;

impl Plan {
    pub(super) fn new(seed: u64, kinds: Vec<Kind>, nodes: usize) -> Plan {
        Plan {
            dice: Dice::new(seed),
            kinds,
            left: Vec::new(),
            standbys: nodes - 1,
        }
    }

    pub(super) fn next(&mut self) -> Strike {
        if self.left.is_empty() {
            self.left.clone_from(&self.kinds);
        }
        let kind = *self.dice.one_of(&self.left);
        self.left.retain(|left| *left != kind);
        let standbys: Vec<usize> = (0..self.standbys).collect();
        let primary = self.dice.below(100) < PRIMARY_PERCENT;
        let standby = *self.dice.one_of(&standbys);
        // Only a primary has a place to give, and a policy.
        let of_primaries = matches!(kind, Kind::Switchover | Kind::PolicyChange);
        let whom = if primary || of_primaries {
            Role::Primary
        } else {
            Role::Standby(standby)
        };
        let (least, most) = kind.lasts_ms();
        Strike {
            kind,
            whom,
            other: 1 + *self.dice.one_of(&standbys),
            lasts: Duration::from_millis(least + self.dice.below(most - least + 1)),
        }
    }

    /// Perhaps another fault, on another node, and how long after `first` it begins.
    pub(super) fn joined_to(&mut self, first: Kind) -> Option<(Duration, Strike)> {
        if self.dice.below(100) >= JOINED_PERCENT {
            return None;
        }
        let strike = self.next();
        let after = Duration::from_millis(self.dice.below(JOINED_WITHIN_MS));
        strike.kind.goes_with(first).then_some((after, strike))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_faults_and_every_kind_before_one_comes_again() {
        let faults = |seed| -> Vec<Strike> {
            let mut plan = Plan::new(seed, Kind::ALL.to_vec(), 3);
            (0..Kind::ALL.len()).map(|_| plan.next()).collect()
        };
        assert_eq!(faults(7), faults(7));
        assert_ne!(faults(7), faults(8));
        let mut kinds: Vec<Kind> = faults(7).iter().map(|strike| strike.kind).collect();
        kinds.sort();
        assert_eq!(kinds, Kind::ALL);
    }
}
