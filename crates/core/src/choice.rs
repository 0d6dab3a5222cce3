//! Whom a coordinator lets lead.

use manada_model::{Lsn, NodeName};

use crate::guards::Guard;
use crate::history;
use crate::loss::LossBound;
use crate::node::Node;
use crate::obstacle::Obstacle;
use crate::policy::Published;
use crate::position::{LastWord, Position};
use crate::reason::Reason;
use crate::record::{MemberRole, Record, Reign};
use crate::timer::Timer;

/// What the recruits allow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Choice {
    /// That one leads, from there on.
    Lead {
        leader: NodeName,
        wal: LastWord,
        reason: Reason,
    },
    /// It would lead, once it has fetched the WAL of one that may not.
    Fetch {
        by: NodeName,
        from: NodeName,
        wal: LastWord,
    },
}

/// The first published policy that the recruits do not cover.
fn uncovered<'a>(
    node: &Node,
    record: &'a Record,
    without: Option<&NodeName>,
) -> Option<&'a Published> {
    let recruits = &node.election.recruits;
    let has = |name: &NodeName| Some(name) != without && recruits.contains_key(name);
    record
        .policies
        .iter()
        .find(|published| !published.is_met_by(&has))
}

/// Whether the recruits can be enough, so that waiting for others has an end.
pub(crate) fn may_be_enough(node: &Node, record: &Record) -> bool {
    prospect(node, record).is_some()
}

/// Who would lead if nobody else answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Prospect {
    /// Somebody who has not led until now.
    Another,
    /// The leader that the election replaces: others are waited for longer, since it has a cause.
    FormerLeader,
}

/// Who would lead if nobody else answered; `None` while the recruits are not enough.
pub(crate) fn prospect(node: &Node, record: &Record) -> Option<Prospect> {
    match choose(node, record).ok()? {
        Choice::Lead { leader, .. } if former_leader(record) == Some(&leader) => {
            Some(Prospect::FormerLeader)
        }
        Choice::Lead { .. } | Choice::Fetch { .. } => Some(Prospect::Another),
    }
}

/// The policies' last leader: the one that an election replaces.
pub(crate) fn former_leader(record: &Record) -> Option<&NodeName> {
    record.policies.last().map(|published| &published.leader)
}

/// Whether there is nobody left to wait for. The former leader's answer is not waited for, unless
/// only it has all that was acknowledged.
pub(crate) fn all_are_in(node: &Node, record: &Record) -> bool {
    let former =
        former_leader(record).filter(|former| uncovered(node, record, Some(*former)).is_none());
    let spared = former.is_some_and(|former| {
        record.members.contains_key(former) && !node.election.recruits.contains_key(former)
    });
    let all = node.election.recruits.len() + usize::from(spared) >= record.members.len();
    all || node.has_fired(&Timer::RecruitsIn)
}

/// Whom the recruits let lead, or why none.
pub(crate) fn choose(node: &Node, record: &Record) -> Result<Choice, Obstacle> {
    let election = &node.election;
    // Who resigned makes way if it can be spared.
    let without = election
        .shunned
        .as_ref()
        .filter(|shunned| uncovered(node, record, Some(*shunned)).is_none());
    let furthest = election
        .recruits
        .iter()
        .filter(|(name, _)| Some(*name) != without)
        .map(|(_, wal)| node.comparable(wal.position))
        .max()
        .ok_or_else(|| Obstacle::AwaitingRecruits {
            of: record.members.keys().cloned().collect(),
        })?;
    let reason = match uncovered(node, record, without) {
        Some(published) if node.guards.has(Guard::CoverEveryPolicy) => {
            accept_loss(node, record, published, furthest.flush_lsn)?
        }
        Some(_) | None => Reason::Covered {
            epoch: record.epoch,
        },
    };
    let eligible = |name: &NodeName| {
        let leads = matches!(
            record.members.get(name),
            Some(MemberRole::Server { priority: 1.. })
        );
        (leads || !node.guards.has(Guard::NeverLeads)) && Some(name) != without
    };
    let best = election
        .recruits
        .iter()
        .filter(|(name, wal)| eligible(name) && node.comparable(wal.position) == furthest)
        .max_by_key(|(name, _)| preference(record, election.preferred.as_ref(), name));
    if let Some((leader, wal)) = best {
        return Ok(Choice::Lead {
            leader: leader.clone(),
            wal: *wal,
            reason,
        });
    }
    fetch(node, record, furthest, &eligible)
}

/// Nobody who has the furthest WAL may lead: who fetches it?
fn fetch(
    node: &Node,
    record: &Record,
    furthest: Position,
    eligible: &impl Fn(&NodeName) -> bool,
) -> Result<Choice, Obstacle> {
    let recruits = &node.election.recruits;
    let (from, wal) = recruits
        .iter()
        .find(|(_, wal)| wal.position == furthest)
        .ok_or(Obstacle::NobodyMayLead)?;
    let ends = Reign {
        epoch: record.epoch,
        leader: from.clone(),
        began_at: furthest,
        unruled: wal.unruled,
    };
    let reigns = history::reigns_with(&record.reigns, ends);
    let by = recruits
        .iter()
        .filter(|(name, wal)| {
            eligible(name) && history::relation(**wal, None, &reigns) == history::Relation::Part
        })
        .max_by_key(|(name, wal)| {
            let preferred = node.election.preferred.as_ref();
            (wal.position, preference(record, preferred, name))
        });
    by.map(|(by, _)| Choice::Fetch {
        by: by.clone(),
        from: from.clone(),
        wal: *wal,
    })
    .ok_or(Obstacle::NobodyMayLead)
}

/// Whether it may go on although a policy is not covered.
fn accept_loss(
    node: &Node,
    record: &Record,
    published: &Published,
    furthest: Lsn,
) -> Result<Reason, Obstacle> {
    let election = &node.election;
    let synchronous = record.policies.iter().any(|published| {
        published.policy.is_synchronous()
            && !published.is_met_by(&|name| election.recruits.contains_key(name))
    });
    if synchronous && election.allowed_loss.is_none() {
        return Err(not_covered(node, published));
    }
    let resigned = record.reigns.last().is_some_and(|reign| {
        election.ended == Some(reign.epoch) && reign.leader == published.leader
    });
    let ended = resigned || node.has_fired(&Timer::LeaseLapsed);
    if !ended && node.guards.has(Guard::LapseBeforeLoss) {
        return Err(Obstacle::AwaitingLeaseEnd {
            leader: published.leader.clone(),
        });
    }
    let bound = election
        .allowed_loss
        .unwrap_or(LossBound::Bytes(node.limits.loss_bytes_max));
    let bytes = node
        .lease
        .as_ref()
        .filter(|lease| lease.leader == published.leader && lease.flush_lsn.is_valid())
        .map(|lease| lease.flush_lsn.bytes_since(furthest));
    match bound {
        LossBound::Bytes(most)
            if !bound.allows(bytes) && (bytes.is_none() || node.guards.has(Guard::BoundLoss)) =>
        {
            Err(Obstacle::LossTooLarge { bytes, bound: most })
        }
        LossBound::Bytes(_) | LossBound::Any => Ok(Reason::LossAccepted { bytes, bound }),
    }
}

fn not_covered(node: &Node, published: &Published) -> Obstacle {
    let recruits = &node.election.recruits;
    let missing: Vec<NodeName> = published
        .policy
        .standbys
        .iter()
        .chain([&published.leader])
        .filter(|name| !recruits.contains_key(*name))
        .cloned()
        .collect();
    let met = published.policy.standbys.len() + 1 - missing.len();
    Obstacle::NotCovered {
        published: published.clone(),
        recruits: recruits.keys().cloned().collect(),
        needed: published
            .policy
            .recruits_needed()
            .map(|needed| needed.saturating_sub(met)),
        missing,
    }
}

/// Among equals: who is preferred, then whoever has not led until now, since an election has a
/// cause, then the highest priority, then the first name.
fn preference<'a>(
    record: &Record,
    preferred: Option<&NodeName>,
    name: &'a NodeName,
) -> (bool, bool, u8, std::cmp::Reverse<&'a NodeName>) {
    let priority = match record.members.get(name) {
        Some(MemberRole::Server { priority }) => *priority,
        Some(MemberRole::Witness) | None => 0,
    };
    (
        preferred == Some(name),
        former_leader(record) != Some(name),
        priority,
        std::cmp::Reverse(name),
    )
}

impl Node {
    /// A position as it is compared.
    fn comparable(&self, position: Position) -> Position {
        if self.guards.has(Guard::HighestRuleFirst) {
            return position;
        }
        Position {
            rule: crate::position::RuleId::default(),
            ..position
        }
    }
}
