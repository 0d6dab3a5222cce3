//! How a herd is taken up again whose store has lost its record: from what the nodes remember.

use std::collections::{BTreeMap, BTreeSet};

use manada_model::NodeName;
use serde::Serialize;

use crate::policy::Published;
use crate::position::Epoch;
use crate::record::{MemberRole, Record, Versioned};
use crate::server::{Enforced, ServerFacts};

/// What a node knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Testimony {
    /// What it has promised: durable, so it is all that safety rests on.
    pub promised: Epoch,
    /// The newest record that it knows, by heart or from its disk: maybe not the newest that there
    /// was.
    pub record: Option<Versioned<Record>>,
    /// The epoch in which the store has confirmed its record since its agent was started. A leader
    /// is the only one who changes the policies of its reign, so that one who says this knows them.
    /// It does not say it while something is in force that it could not publish, or while it goes by
    /// an older record than its disk has.
    pub confirmed: Option<Epoch>,
}

/// What is known when a herd is to be taken up again.
#[derive(Clone, Debug)]
pub struct Hearing<'a> {
    /// What the store has.
    pub found: Option<&'a Versioned<Record>>,
    /// Who was heard, and what they know.
    pub heard: &'a BTreeMap<NodeName, Testimony>,
    /// Whom the operator does not want to wait for.
    pub without: &'a BTreeSet<NodeName>,
    /// Whether commits may be lost that only those have.
    pub accept_loss: bool,
    /// Who recruits, if there has to be an election.
    pub coordinator: &'a NodeName,
}

/// The record to be written in place of what was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovery {
    /// This.
    pub record: Record,
    /// What comes of it.
    pub way: Way,
}

/// What comes of a record that is written again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "way")]
pub enum Way {
    /// It is the one that was lost, and its leader goes on.
    GoesOn {
        /// Who.
        leader: NodeName,
    },
    /// The nodes that were heard elect the one whose WAL is the furthest.
    Election {
        /// In which epoch.
        epoch: Epoch,
        /// Who all have to answer.
        among: Vec<NodeName>,
    },
}

/// Why no record is written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "refusal")]
pub enum Refusal {
    /// The store has the record, and nobody knows a newer one.
    NothingIsLost,
    /// No node remembers a record.
    NobodyRemembers,
    /// These belong to the herd, and were not heard.
    Silent {
        /// Who.
        nodes: Vec<NodeName>,
    },
    /// This one was heard, and so is not to be left out.
    Heard {
        /// Who.
        node: NodeName,
    },
    /// This one does not belong to the herd.
    NotAMember {
        /// Who.
        node: NodeName,
    },
    /// This one can't call an election: it is a witness, or no member.
    CannotCall {
        /// Who.
        node: NodeName,
    },
    /// Commits may have been acknowledged that only the nodes have which are left out.
    MayLose {
        /// Why that can't be excluded.
        doubt: Doubt,
    },
}

/// Why nodes that were not heard may have commits that no other has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "doubt")]
pub enum Doubt {
    /// One of them leads, as far as is known.
    LeaderIsAway {
        /// Who.
        leader: NodeName,
    },
    /// Nobody leads in the newest record that is remembered.
    NobodyLed,
    /// A later epoch was promised than the newest record has that is remembered.
    LaterEpoch {
        /// What was promised.
        promised: Epoch,
        /// What is remembered.
        remembered: Epoch,
    },
    /// The leader's agent was started after the record was lost: it can't vouch for what commits
    /// wait for.
    LeaderForgot {
        /// Who.
        leader: NodeName,
    },
    /// The leader goes by another record than the newest one that is remembered.
    LeaderGoesByAnother {
        /// Who.
        leader: NodeName,
    },
    /// They were enough to elect a leader among themselves.
    CouldHaveElected,
}

impl Testimony {
    /// That of a node whose agent goes by `record` with that server. `remembered` is what its disk
    /// has, if that is newer.
    pub fn of(
        promised: Epoch,
        record: Option<&Versioned<Record>>,
        remembered: Option<&Versioned<Record>>,
        confirmed: Option<Epoch>,
        server: Option<&ServerFacts>,
    ) -> Testimony {
        let published = record.map_or(&[][..], |record| &record.value.policies);
        let vouches = remembered.is_none() && is_as_published(server, published);
        Testimony {
            promised,
            record: remembered.or(record).cloned(),
            confirmed: confirmed.filter(|_| vouches),
        }
    }
}

/// Whether commits wait for nothing but what is published. Somebody else may have set something
/// while it could not be published.
fn is_as_published(server: Option<&ServerFacts>, published: &[Published]) -> bool {
    let Some(ServerFacts::Primary(primary)) = server else {
        return true;
    };
    match &primary.enforced {
        Enforced::Nobody => true,
        Enforced::Policy(policy) => published.iter().any(|one| one.policy == *policy),
        Enforced::Foreign => false,
    }
}

/// Whether the store has lost the record of a herd that has been there before: it has none, or one
/// that is older than what is known or promised.
pub fn is_lost(
    found: Option<&Versioned<Record>>,
    known: Option<&Versioned<Record>>,
    promised: Epoch,
) -> bool {
    match found {
        None => known.is_some() || promised > Epoch::default(),
        Some(found) => {
            found.value.epoch < promised || known.is_some_and(|known| found.order() < known.order())
        }
    }
}

/// Which record takes the place of the lost one.
///
/// Where the leader vouches for it, it is the lost one itself. Otherwise an election finds out
/// who has all commits: everyone who was heard must be recruited, so nothing that is remembered
/// has to be right.
pub fn recover(hearing: &Hearing<'_>) -> Result<Recovery, Refusal> {
    let remembered = hearing.heard.values().filter_map(|one| one.record.as_ref());
    let newest = remembered
        .max_by_key(|record| record.order())
        .ok_or(Refusal::NobodyRemembers)?;
    let promised = hearing.heard.values().map(|one| one.promised).max();
    let promised = promised.unwrap_or_default();
    if !is_lost(hearing.found, Some(newest), promised) {
        return Err(Refusal::NothingIsLost);
    }
    hearing.check_who_is_heard(&newest.value)?;
    let known = hearing.found.map_or(0, |found| found.value.recoveries);
    let record = Record {
        recoveries: newest.value.recoveries.max(known) + 1,
        ..newest.value.clone()
    };
    match hearing.leader_that_goes_on(newest, promised) {
        Ok(leader) => Ok(Recovery {
            record,
            way: Way::GoesOn { leader },
        }),
        Err(doubt) if !hearing.without.is_empty() && !hearing.accept_loss => {
            Err(Refusal::MayLose { doubt })
        }
        Err(_) => hearing.election(record, promised),
    }
}

impl Hearing<'_> {
    fn check_who_is_heard(&self, record: &Record) -> Result<(), Refusal> {
        for node in self.without {
            let node = node.clone();
            if !record.members.contains_key(&node) {
                return Err(Refusal::NotAMember { node });
            }
            if self.heard.contains_key(&node) {
                return Err(Refusal::Heard { node });
            }
        }
        let members = record.members.keys();
        let silent: Vec<NodeName> = members
            .filter(|name| !self.heard.contains_key(*name) && !self.without.contains(*name))
            .cloned()
            .collect();
        if silent.is_empty() {
            Ok(())
        } else {
            Err(Refusal::Silent { nodes: silent })
        }
    }

    /// The leader, if it is certain that it leads still and that the newest record has every policy
    /// by which its commits are acknowledged; or why that is not certain.
    fn leader_that_goes_on(
        &self,
        newest: &Versioned<Record>,
        promised: Epoch,
    ) -> Result<NodeName, Doubt> {
        let record = &newest.value;
        let leader = record.leader.clone().ok_or(Doubt::NobodyLed)?;
        let Some(testimony) = self.heard.get(&leader) else {
            return Err(Doubt::LeaderIsAway { leader });
        };
        // Whoever leads later was recruited for it, and so were enough others.
        if promised > record.epoch {
            return Err(Doubt::LaterEpoch {
                promised,
                remembered: record.epoch,
            });
        }
        if testimony.confirmed != Some(record.epoch) {
            return Err(Doubt::LeaderForgot { leader });
        }
        // One that had forgotten the newest, and found an older one in a store that was restored,
        // has that one's policies in force.
        if testimony.record.as_ref() != Some(newest) {
            return Err(Doubt::LeaderGoesByAnother { leader });
        }
        // A change of the policy may have been concluded without the leader's having heard of it:
        // then one of these is what they had to cover.
        let safe = |published: &Published| {
            published.policy.is_synchronous() && !published.is_covered_by(self.without)
        };
        if !self.without.is_empty() && !record.policies.iter().all(safe) {
            return Err(Doubt::CouldHaveElected);
        }
        Ok(leader)
    }

    /// The record in which all that were heard elect.
    fn election(&self, record: Record, promised: Epoch) -> Result<Recovery, Refusal> {
        let calls = record.members.get(self.coordinator);
        if !matches!(calls, Some(MemberRole::Server { .. })) {
            return Err(Refusal::CannotCall {
                node: self.coordinator.clone(),
            });
        }
        let remembered = self.heard.values().filter_map(|one| one.record.as_ref());
        let epoch = remembered
            .chain(self.found)
            .map(|record| record.value.epoch)
            .max();
        let epoch = epoch.unwrap_or_default().max(promised).next();
        let members = record.members.keys();
        let among: Vec<NodeName> = members
            .filter(|name| self.heard.contains_key(*name))
            .cloned()
            .collect();
        let can_answer: BTreeSet<NodeName> = among.iter().cloned().collect();
        let mut policies: Vec<Published> =
            among.iter().cloned().map(Published::by_itself).collect();
        // The last one says who led.
        policies.extend(
            (record.policies.iter())
                .filter(|published| !self.accept_loss || published.is_covered_by(&can_answer))
                .cloned(),
        );
        let record = Record {
            epoch,
            leader: None,
            coordinator: self.coordinator.clone(),
            policies,
            ..record
        };
        let way = Way::Election { epoch, among };
        Ok(Recovery { record, way })
    }
}
