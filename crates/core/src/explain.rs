//! What a node is, and why nothing more happens here.

use manada_model::NodeName;

use crate::action::{Order, Rung};
use crate::choice::{self, Choice};
use crate::duty::Duty;
use crate::input::{Command, LeaderServer, StoreState};
use crate::node::Node;
use crate::obstacle::{Obstacle, Unfit};
use crate::policy::Policy;
use crate::record::{MemberRole, Mode};
use crate::server::{Gate, PrimaryFacts, ServerFacts};
use crate::standing::{PromotionStage, Standing};
use crate::timer::Timer;

impl Node {
    /// What this node is at this moment.
    pub fn standing(&self) -> Standing {
        if self.record.is_none() {
            return Standing::NoRecord;
        }
        match self.duty() {
            Duty::None => Standing::Outsider,
            Duty::Recruit { epoch, by } => match self.coordinated_record() {
                Some(record) => Standing::Electing {
                    epoch,
                    recruits: self.election.recruits.len(),
                    covered: choice::may_be_enough(self, record),
                },
                None => Standing::Recruited {
                    epoch,
                    coordinator: by.cloned(),
                    answered: self
                        .answered
                        .as_ref()
                        .is_some_and(|(answered, to)| *answered == epoch && Some(to) == by),
                },
            },
            Duty::Lead { epoch } => self.standing_as_leader(epoch),
            Duty::Follow { epoch, leader } => self.standing_as_follower(epoch, leader),
        }
    }

    fn standing_as_leader(&self, epoch: crate::position::Epoch) -> Standing {
        if let Some(resignation) = self.own_resignation() {
            return Standing::Resigned {
                epoch,
                successor: resignation.successor.clone(),
            };
        }
        if let Some(successor) = self
            .handover
            .as_ref()
            .and_then(|handover| handover.successor.clone())
        {
            return Standing::HandingOver { successor };
        }
        let Some((facts, policy)) = self.leads_with() else {
            if self.has_reigned(epoch) || self.tenure.rule.is_some() {
                return Standing::Reopening { epoch };
            }
            let promised = self.promise.led == Some(epoch);
            return Standing::Promoting {
                epoch,
                stage: if promised {
                    PromotionStage::Promoting
                } else {
                    PromotionStage::Promising
                },
            };
        };
        let record = self.record.as_deref().map(|record| &record.value);
        let changing = record.is_some_and(|record| record.policies.len() > 1);
        if facts.position.rule.epoch < epoch && facts.gate == Gate::Closed {
            return Standing::Promoting {
                epoch,
                stage: PromotionStage::WritingRule,
            };
        }
        match (facts.gate, changing) {
            (Gate::Closed, true) => Standing::Promoting {
                epoch,
                stage: if self.is_caught_up() {
                    PromotionStage::Opening
                } else {
                    PromotionStage::AwaitingQuorum
                },
            },
            (Gate::Closed, false) => Standing::Reopening { epoch },
            (Gate::Open, changing) => Standing::Leading {
                epoch,
                gate: facts.gate,
                policy: policy.clone(),
                changing,
            },
        }
    }

    fn standing_as_follower(&self, epoch: crate::position::Epoch, leader: &NodeName) -> Standing {
        if self.may_acknowledge() {
            return Standing::SteppingDown { epoch };
        }
        let leader = leader.clone();
        if let Some(Order::Rejoin { rung, .. }) = &self.lanes.server.order {
            return Standing::Rejoining {
                leader,
                rung: *rung,
                tries: self.rejoin.tries() + 1,
            };
        }
        if self.is_stuck() {
            return Standing::Stuck {
                leader,
                rung: Rung::Clone,
                tries: self.rejoin.tries(),
            };
        }
        if let Some((_, _, rung)) = self.next_rung() {
            return Standing::Rejoining {
                leader,
                rung,
                tries: self.rejoin.tries() + 1,
            };
        }
        Standing::Following {
            streams: self
                .standby()
                .is_some_and(|facts| facts.streams && facts.follows.as_ref() == Some(&leader)),
            leader,
            epoch,
        }
    }

    /// Why that command would come to nothing, so that it is not taken: a wish that nobody waits
    /// for any more must not come true later.
    pub fn objection(&self, command: &Command) -> Option<Obstacle> {
        let Some(record) = self.record.as_deref().map(|record| &record.value) else {
            return Some(self.obstacle_of_ignorance());
        };
        match command {
            Command::Switchover { .. }
            | Command::Failover { .. }
            | Command::Pause
            | Command::Resume
            | Command::SetPolicy(_) => {
                if !record.members.contains_key(&self.name) {
                    return Some(Obstacle::NotAMember);
                }
                if let Some(obstacle) = self.obstacle_of_store() {
                    return Some(obstacle);
                }
            }
            Command::Admit { .. } | Command::Forget { .. } | Command::AgentRestarts => {}
        }
        match command {
            Command::Switchover { to } => self.successor_for(to.clone()).err(),
            Command::Failover { to: Some(to), .. } => {
                let unfit = match record.members.get(to) {
                    Some(MemberRole::Server { priority: 1.. }) => return None,
                    Some(MemberRole::Server { priority: 0 } | MemberRole::Witness) => {
                        Unfit::NeverLeads
                    }
                    None => Unfit::Unknown,
                };
                Some(Obstacle::SuccessorUnfit {
                    successor: Some(to.clone()),
                    unfit,
                })
            }
            Command::Failover { to: None, .. }
            | Command::Pause
            | Command::Resume
            | Command::SetPolicy(_)
            | Command::Admit { .. }
            | Command::Forget { .. }
            | Command::AgentRestarts => None,
        }
    }

    /// Why nothing more happens here: first what comes first.
    pub fn obstacles(&self) -> Vec<Obstacle> {
        let Some(record) = self.record.as_deref().map(|record| &record.value) else {
            return vec![self.obstacle_of_ignorance()];
        };
        if !record.members.contains_key(&self.name) {
            return vec![Obstacle::NotAMember];
        }
        let mut obstacles = Vec::new();
        if record.mode == Mode::Paused {
            obstacles.push(Obstacle::Paused);
        }
        obstacles.extend(self.obstacle_of_store());
        if self.was_promoted_by_hand() {
            obstacles.push(Obstacle::PromotedByHand);
        }
        match self.duty() {
            Duty::None => {}
            Duty::Recruit { epoch, by } => {
                if by.is_none() {
                    obstacles.push(Obstacle::PromisedHigher {
                        promised: epoch,
                        recorded: record.epoch,
                    });
                }
                obstacles.extend(self.obstacles_of_election());
            }
            Duty::Lead { .. } => self.obstacles_of_leader(&mut obstacles),
            Duty::Follow { leader, .. } => self.obstacles_of_follower(leader, &mut obstacles),
        }
        let waits = self
            .handover
            .as_ref()
            .is_some_and(|handover| handover.successor.is_none());
        if waits && let Err(unfit) = self.successor() {
            obstacles.push(unfit);
        }
        obstacles.extend(self.refused.clone());
        obstacles.extend(self.obstacle_of_failures());
        obstacles
    }

    fn obstacle_of_failures(&self) -> Option<Obstacle> {
        let failing = self.lanes.server.failed.as_ref()?;
        let failures = failing.failures;
        let starts = matches!(
            failing.order,
            Order::StartStandby { .. } | Order::StartPrimary
        ) && matches!(self.server, Some(ServerFacts::Stopped { .. }));
        Some(if starts {
            Obstacle::StartFails {
                failures,
                trouble: None,
            }
        } else {
            Obstacle::Retrying { failures }
        })
    }

    /// Why there is no record here.
    fn obstacle_of_ignorance(&self) -> Obstacle {
        match self.store {
            StoreState::RecordLost => Obstacle::RecordLost,
            StoreState::Reachable => Obstacle::NoRecord,
            StoreState::Unreachable => Obstacle::StoreUnreachable,
        }
    }

    /// Why nothing can be changed in the store.
    fn obstacle_of_store(&self) -> Option<Obstacle> {
        match self.store {
            StoreState::Reachable => {
                // Where no sign of life is given any more, what became of the last one is over.
                let refuses = self.renews() && self.lanes.renewal_refused;
                refuses.then_some(Obstacle::StoreRefuses { said: None })
            }
            StoreState::Unreachable => Some(Obstacle::StoreUnreachable),
            StoreState::RecordLost => Some(Obstacle::RecordLost),
        }
    }

    fn obstacles_of_election(&self) -> Option<Obstacle> {
        let record = self.coordinated_record()?;
        match choice::choose(self, record) {
            Ok(Choice::Fetch { by, from, .. }) => Some(Obstacle::FetchingWal { from, by }),
            Ok(Choice::Lead { .. }) => None,
            Err(obstacle) => Some(obstacle),
        }
    }

    fn obstacles_of_leader(&self, obstacles: &mut Vec<Obstacle>) {
        let Some((facts, policy)) = self.leads_with() else {
            return;
        };
        let away = away(facts, policy);
        let streaming = policy.standbys.len() - away.len();
        if let Some(too_few) = self.too_few_standbys() {
            obstacles.push(too_few);
        } else if facts.gate == Gate::Closed && !self.is_caught_up() {
            obstacles.push(Obstacle::QuorumBehind {
                behind: policy.standbys.clone(),
            });
        }
        let wanted = self
            .member_record()
            .map_or(0, |record| record.desired.count);
        if policy.count < wanted {
            obstacles.push(Obstacle::PolicyUnattainable {
                wanted,
                available: streaming,
            });
        }
    }

    /// Whether fewer standbys stream than this leader's commits wait for, so that all wait.
    pub(crate) fn too_few_standbys(&self) -> Option<Obstacle> {
        let (facts, policy) = self.leads_with()?;
        let away = away(facts, policy);
        let streaming = policy.standbys.len() - away.len();
        (streaming < policy.count as usize).then_some(Obstacle::TooFewStandbys {
            streaming,
            needed: policy.count,
            away,
        })
    }

    fn obstacles_of_follower(&self, leader: &NodeName, obstacles: &mut Vec<Obstacle>) {
        let leader = leader.clone();
        if self.has_fired(&Timer::Starved) {
            obstacles.push(Obstacle::ReceivesNothing {
                leader: leader.clone(),
            });
        }
        if self.divergence().is_some() {
            if self.is_stuck() {
                obstacles.push(Obstacle::RejoinBudgetSpent {
                    rung: Rung::Clone,
                    tries: self.rejoin.tries(),
                });
            } else if self.rejoin.pause.is_some() {
                obstacles.push(Obstacle::Retrying {
                    failures: self.rejoin.tries(),
                });
            }
            if !self.leader_has_begun() {
                obstacles.push(Obstacle::LeaderNotReady {
                    leader: leader.clone(),
                });
            }
        }
        let never_leads = !matches!(
            self.members().and_then(|members| members.get(&self.name)),
            Some(MemberRole::Server { priority: 1.. })
        );
        if never_leads {
            obstacles.push(Obstacle::NeverLeads);
        }
        if self.heard_resignation().is_some() {
            obstacles.push(self.not_my_turn());
            return;
        }
        if !self.has_fired(&Timer::LeaseLapsed) {
            obstacles.push(Obstacle::LeaseHolds {
                leader,
                holds_for: self.lease_holds_for(),
            });
            return;
        }
        obstacles.push(match self.leader_server {
            None => Obstacle::AskingLeader { leader },
            Some(LeaderServer::Answers | LeaderServer::Full) => Obstacle::LeaderAnswers { leader },
            Some(LeaderServer::Silent) => self.not_my_turn(),
        });
    }

    fn not_my_turn(&self) -> Obstacle {
        let leader = self
            .record
            .as_deref()
            .and_then(|record| record.value.leader.as_ref());
        Obstacle::NotMyTurn {
            before: self.rank(leader) as usize,
        }
    }

    /// What is known of this host's own server.
    pub fn server(&self) -> Option<&ServerFacts> {
        self.server.as_ref()
    }
}

/// The policy's standbys that do not stream.
fn away(facts: &PrimaryFacts, policy: &Policy) -> Vec<NodeName> {
    let streams = |name: &NodeName| {
        facts
            .follower(name)
            .is_some_and(|follower| follower.streaming)
    };
    let standbys = policy.standbys.iter();
    standbys.filter(|name| !streams(name)).cloned().collect()
}
