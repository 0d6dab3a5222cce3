//! The first record of a herd: written once, around the primary that runs.

use std::collections::BTreeMap;
use std::time::Duration;

use manada_core::position::RuleId;
use manada_core::record::{Desired, MemberRole, Record, WhenShort};
use manada_core::server::{Enforced, PrimaryFacts, ServerFacts};
use manada_herd::Member;
use manada_model::NodeName;
use manada_store::{Contact, Snapshot, Store, Swap};

use crate::orders::with_causes;
use crate::server::LocalServer;

/// How long the pause is between two looks at a store without a record.
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(500);

/// How a node is preferred among those with equal WAL where nobody says.
pub const PRIORITY_DEFAULT: u8 = 100;

/// What founding needs.
#[derive(Debug)]
pub(crate) struct Founding {
    pub(crate) store: Store,
    pub(crate) server: LocalServer,
    /// This node's entry in the book.
    pub(crate) own: Contact,
    /// This node has never promised anything, and remembers no record: no other herd of the same
    /// name can be around it.
    pub(crate) is_new: bool,
}

impl Founding {
    /// Waits until there is a record, and writes it, if that is up to this node.
    pub(crate) async fn found(self) {
        // A store that was emptied, or is not this herd's: the loop of the agent says so.
        if !self.is_new {
            return;
        }
        loop {
            match self.store.read().await {
                Ok(Snapshot {
                    record: Some(_), ..
                }) => return,
                Ok(Snapshot { record: None, .. }) => {
                    if self.try_to_found().await {
                        return;
                    }
                }
                Err(error) => {
                    let error = with_causes(&error);
                    tracing::debug!(error, "whether there is a record can't be told yet");
                }
            }
            tokio::time::sleep(LOOK_AGAIN_AFTER).await;
        }
    }

    async fn try_to_found(&self) -> bool {
        // A standby waits for its primary's agent.
        let ServerFacts::Primary(primary) = self.server.look(RuleId::default()).await else {
            return false;
        };
        let Some(record) = first_record(&self.own, &primary, &self.server.members()) else {
            tracing::error!(
                "what this primary's commits wait for is no policy that can be kept: set one with \
                 `manada sync`"
            );
            return false;
        };
        match self.store.create(&record).await {
            Ok(Swap::Swapped { .. } | Swap::Conflict(Some(_))) => {
                tracing::info!("the herd's first record is written");
                true
            }
            Ok(Swap::Conflict(None)) => false,
            Err(error) => {
                let error = with_causes(&error);
                tracing::warn!(error, "the first record is not written");
                false
            }
        }
    }
}

/// The record around a primary that runs: its policy is the one in force, and what the operator
/// wants is to keep it. `None` where what commits wait for is no policy of named standbys.
fn first_record(own: &Contact, primary: &PrimaryFacts, members: &[Member]) -> Option<Record> {
    let Enforced::Policy(policy) = &primary.enforced else {
        return None;
    };
    let all_count = members
        .iter()
        .filter(|member| member.name != own.name)
        .all(|member| policy.standbys.contains(&member.name));
    let desired = Desired {
        method: policy.method,
        count: policy.count,
        standbys: (!all_count).then(|| policy.standbys.clone()),
        when_short: WhenShort::Block,
    };
    // Whom commits wait for belongs to the herd; its agent says later how it is preferred.
    let named = policy.standbys.iter().map(|name| {
        let priority = PRIORITY_DEFAULT;
        (name.clone(), MemberRole::Server { priority })
    });
    let members: BTreeMap<NodeName, MemberRole> =
        named.chain([(own.name.clone(), own.role)]).collect();
    Some(Record::found(
        own.name.clone(),
        primary.position,
        policy.clone(),
        desired,
        members,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use manada_core::policy::Policy;
    use manada_core::position::Position;
    use manada_core::server::Gate;
    use manada_model::{Lsn, SyncMethod, SystemIdentifier};

    fn name(text: &str) -> NodeName {
        text.parse().expect("valid")
    }

    fn own() -> Contact {
        Contact {
            name: name("n1"),
            addresses: vec!["10.0.0.1".parse().expect("valid")],
            postgres_port: Some(5432),
            agent_port: 15432,
            role: MemberRole::Server { priority: 7 },
            system_identifier: SystemIdentifier(1),
        }
    }

    fn member(text: &str) -> Member {
        Member {
            name: name(text),
            host: "10.0.0.1".parse().expect("valid"),
            port: 5432,
            addresses: Vec::new(),
            key_fingerprint: String::new(),
        }
    }

    fn primary(enforced: Enforced) -> PrimaryFacts {
        PrimaryFacts {
            position: Position::default(),
            recovery_end_lsn: Lsn::INVALID,
            enforced,
            gate: Gate::Open,
            followers: Vec::new(),
        }
    }

    fn any_1(standbys: &[&str]) -> Enforced {
        Enforced::Policy(Policy {
            method: SyncMethod::Any,
            count: 1,
            standbys: standbys.iter().map(|text| name(text)).collect(),
        })
    }

    #[test]
    fn the_policy_in_force_is_what_is_published_and_wanted() {
        let members = [member("n1"), member("n2"), member("n3")];
        let found = |enforced| first_record(&own(), &primary(enforced), &members);
        let record = found(any_1(&["n2", "n3"])).expect("a policy");
        assert_eq!(record.leader, Some(name("n1")));
        assert_eq!(record.policies[0].policy.standbys, [name("n2"), name("n3")]);
        assert_eq!((record.desired.count, &record.desired.standbys), (1, &None));
        assert_eq!(
            record.members[&name("n1")],
            MemberRole::Server { priority: 7 }
        );
        assert_eq!(record.members.len(), 3);
        let chosen = found(any_1(&["n3"])).expect("a policy");
        assert_eq!(chosen.desired.standbys, Some(vec![name("n3")]));
        assert!(found(Enforced::Foreign).is_none());
        assert!(found(Enforced::Nobody).is_none());
    }

    #[test]
    fn an_asynchronous_herd_stays_one() {
        let enforced = Enforced::Policy(Policy::asynchronous());
        let record = first_record(&own(), &primary(enforced), &[member("n1")]).expect("a policy");
        assert!(!record.policies[0].policy.is_synchronous());
        assert_eq!((record.desired.count, record.members.len()), (0, 1));
    }
}
