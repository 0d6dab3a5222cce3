//! What the record and the promise make of a node: a recruit, the leader, or a follower.

use manada_model::NodeName;

use crate::guards::Guard;
use crate::node::Node;
use crate::position::{Epoch, LastWord, Position};
use crate::record::{MemberRole, Mode, Record};
use crate::server::ServerFacts;

/// What a node has to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Duty<'a> {
    /// There is no record, or it does not have this node.
    None,
    /// Follow nobody, acknowledge nothing, and tell the coordinator where the WAL ends.
    Recruit {
        /// What is to be promised.
        epoch: Epoch,
        /// Who asks; `None` where a promise is all that is left of it.
        by: Option<&'a NodeName>,
    },
    /// Lead.
    Lead {
        /// The reign.
        epoch: Epoch,
    },
    /// Follow.
    Follow {
        /// The reign.
        epoch: Epoch,
        /// Whom.
        leader: &'a NodeName,
    },
}

impl Node {
    /// What this node has to be.
    pub fn duty(&self) -> Duty<'_> {
        let Some(record) = self.member_record() else {
            return Duty::None;
        };
        let called = match &self.summons {
            Some(summons) if summons.epoch > record.epoch => Some((summons.epoch, &summons.by)),
            _ if record.leader.is_none() => Some((record.epoch, &record.coordinator)),
            _ => None,
        };
        if let Some((epoch, by)) = called
            && epoch >= self.promise.epoch
        {
            return Duty::Recruit {
                epoch,
                by: Some(by),
            };
        }
        if self.promise.epoch > record.epoch && self.guards.has(Guard::NeverFollowBelowPromise) {
            return Duty::Recruit {
                epoch: self.promise.epoch,
                by: None,
            };
        }
        match &record.leader {
            None => Duty::None,
            Some(leader) if *leader == self.name => Duty::Lead {
                epoch: record.epoch,
            },
            Some(leader) => Duty::Follow {
                epoch: record.epoch,
                leader,
            },
        }
    }

    /// The record, if this node is in it.
    pub(crate) fn member_record(&self) -> Option<&Record> {
        let record = &self.record.as_deref()?.value;
        self.role.is_some().then_some(record)
    }

    /// The record in which this node is recruiting.
    pub(crate) fn coordinated_record(&self) -> Option<&Record> {
        let record = self.member_record()?;
        let recruits = record.leader.is_none()
            && record.coordinator == self.name
            && self.election.epoch == record.epoch
            && self.promise.epoch <= record.epoch;
        let overruled = self
            .summons
            .as_ref()
            .is_some_and(|summons| summons.epoch > record.epoch);
        (recruits && !overruled).then_some(record)
    }

    /// Whether it may act without being told to.
    pub(crate) fn is_automatic(&self) -> bool {
        self.member_record()
            .is_some_and(|record| record.mode == Mode::Automatic)
    }

    /// Whether it is a server, which can raise an epoch.
    pub(crate) fn is_server(&self) -> bool {
        matches!(self.role, Some(MemberRole::Server { .. }))
    }

    /// What its WAL is, if nothing more can come, and all of it came from leaders.
    pub(crate) fn last_word(&self) -> Option<LastWord> {
        if self.was_promoted_by_hand() {
            return None;
        }
        let end = match self.server.as_ref()? {
            ServerFacts::Stopped { .. } => self.clean_end(),
            ServerFacts::Standby(facts) => {
                let ended = facts.settled && facts.follows.is_none();
                (ended || !self.guards.has(Guard::StopReceivingBeforeAnswer))
                    .then_some(facts.position)
            }
            ServerFacts::Primary(facts) => {
                (!self.guards.has(Guard::StopRecruitedLeader)).then_some(facts.position)
            }
            ServerFacts::Unusable | ServerFacts::Starting | ServerFacts::Unresponsive => None,
        };
        Some(self.promise.last_word(end?))
    }

    /// Where the WAL of a server ends that was shut down, if this agent has seen which rules are in
    /// it: the files of a stopped server do not tell.
    pub(crate) fn clean_end(&self) -> Option<Position> {
        let Some(ServerFacts::Stopped {
            clean_end: Some(end),
            ..
        }) = &self.server
        else {
            return None;
        };
        let rule = self.rule_seen?.max(end.rule);
        Some(Position { rule, ..*end })
    }

    /// Whether its server may be acknowledging commits.
    pub(crate) fn may_acknowledge(&self) -> bool {
        match &self.server {
            Some(ServerFacts::Primary(_)) => true,
            Some(ServerFacts::Starting | ServerFacts::Unresponsive) => self.was_primary,
            Some(ServerFacts::Stopped { .. } | ServerFacts::Unusable | ServerFacts::Standby(_))
            | None => false,
        }
    }

    /// Whether its server is a primary, or was one when it ran last, of a reign that was given to
    /// another: somebody has promoted it, or taken its `standby.signal` away. What it has written
    /// since has no rule before it, so that its position would be taken for one of the herd's.
    pub(crate) fn was_promoted_by_hand(&self) -> bool {
        let primary = match &self.server {
            Some(ServerFacts::Primary(_)) => true,
            Some(ServerFacts::Stopped { was_primary, .. }) => *was_primary,
            Some(ServerFacts::Starting | ServerFacts::Unresponsive) => self.was_primary,
            Some(ServerFacts::Unusable | ServerFacts::Standby(_)) | None => false,
        };
        let seen = self.rule_seen.unwrap_or_default().max(self.promise.rule);
        let epoch = seen.epoch.max(Epoch::FIRST);
        let set_out_to = self.promise.led.is_some_and(|led| led >= epoch);
        let of_another = self.member_record().is_some_and(|record| {
            let mut reigns = record.reigns.iter();
            reigns.any(|reign| reign.epoch == epoch && reign.leader != self.name)
        });
        primary && !set_out_to && of_another
    }

    /// How many servers campaign before it, now that this one no longer leads.
    pub(crate) fn rank(&self, former: Option<&NodeName>) -> u32 {
        let Some(members) = self.members() else {
            return 0;
        };
        let weight = |name: &NodeName| match members.get(name) {
            Some(MemberRole::Server { priority }) => Some(*priority),
            Some(MemberRole::Witness) | None => None,
        };
        let own = weight(&self.name);
        let before = members
            .keys()
            .filter(|name| Some(*name) != former && **name != self.name)
            .filter(|name| match (weight(name), own) {
                (None, _) => false,
                (Some(_), None) => true,
                (Some(other), Some(own)) => other > own || (other == own && **name < self.name),
            })
            .count();
        u32::try_from(before).unwrap_or(u32::MAX)
    }
}
