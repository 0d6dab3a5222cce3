//! What becomes of an order, and what a look at a server tells.

use super::*;

/// How often one that flaps is seen to stream, in milliseconds.
const FLAPS_EVERY: u64 = 400;

impl Server {
    /// What its commits wait for.
    pub(crate) fn in_force(&self) -> &Enforced {
        self.overridden.as_ref().unwrap_or(&self.enforced)
    }
}

impl Herd {
    pub(super) fn finish(&mut self, name: &NodeName, action: Action) {
        let host = &self.hosts[name];
        if !host.up || !host.agent {
            return;
        }
        let on_server = !matches!(
            action.order,
            Order::Swap { .. }
                | Order::RenewLease { .. }
                | Order::Send { .. }
                | Order::Promise(_)
                | Order::ProbeLeader { .. }
                | Order::Deadman { .. }
        );
        let Some(outcome) = self.execute(name, &action.order) else {
            return;
        };
        if on_server {
            self.look_at(name);
        }
        let done = Input::Done {
            action: action.id,
            outcome,
        };
        self.handle(name, done);
    }

    pub(super) fn acknowledge(&mut self) {
        let waiting = std::mem::take(&mut self.waiting);
        for (primary, end, value) in waiting {
            let server = &self.hosts[&primary].server;
            let acknowledged = match server.in_force() {
                Enforced::Nobody | Enforced::Foreign => false,
                Enforced::Policy(policy) => {
                    let have = policy
                        .standbys
                        .iter()
                        .filter(|standby| {
                            let reached = self.reaches(&primary, standby);
                            let standby = &self.hosts[*standby];
                            reached
                                && standby.server.follows.as_ref() == Some(&primary)
                                && standby.server.runs == Runs::Standby
                                && standby.server.wal.len() >= end
                        })
                        .count();
                    have >= policy.count as usize
                }
            };
            if acknowledged && server.runs == Runs::Primary {
                self.acknowledged.insert(value);
            } else {
                self.waiting.push((primary, end, value));
            }
        }
    }

    pub(super) fn obey_deadmen(&mut self) {
        let now = Moment(Duration::from_millis(self.now));
        for host in self.hosts.keys().cloned().collect::<Vec<_>>() {
            let host = host.as_str();
            if self.host(host).deadman.is_some_and(|due| due <= now) {
                self.host(host).deadman = None;
                self.host(host).server.runs = Runs::Stopped { clean: false };
                self.drop_sessions(host);
            }
        }
    }

    fn execute(&mut self, name: &NodeName, order: &Order) -> Option<Outcome> {
        let kind = format!("{order:?}");
        if let Some((failing, left)) = &mut self.host(name.as_str()).failing
            && *left > 0
            && kind.starts_with(*failing)
        {
            *left -= 1;
            return Some(self.host(name.as_str()).fails_with.clone());
        }
        match order {
            Order::Swap { expected, record } => return Some(self.swap(name, *expected, record)),
            Order::RenewLease {
                expected,
                holds_for,
                flush_lsn,
            } => {
                if !self.store_answers(name) {
                    return Some(Outcome::Unknown);
                }
                if *expected != self.record.revision {
                    return Some(Outcome::Conflict(self.record.clone()));
                }
                self.lease = Some(Lease {
                    epoch: self.record.value.epoch,
                    leader: name.clone(),
                    beat: self.lease.as_ref().map_or(1, |lease| lease.beat + 1),
                    holds_for: *holds_for,
                    flush_lsn: *flush_lsn,
                });
                return Some(Outcome::Done);
            }
            Order::Promise(promise) => {
                let disk = &mut self.host(name.as_str()).disk;
                assert!(promise.epoch >= disk.epoch, "a promise went back");
                *disk = *promise;
                return Some(Outcome::Done);
            }
            Order::Send { to, message } => {
                self.deliver(name, to, message.clone());
                return None;
            }
            Order::ProbeLeader { leader } => {
                let asked = &self.hosts[leader];
                let answers = self.reaches(name, leader) && asked.server.runs == Runs::Primary;
                let answer = if answers && asked.is_full {
                    LeaderServer::Full
                } else if answers {
                    LeaderServer::Answers
                } else {
                    LeaderServer::Silent
                };
                self.handle(name, Input::LeaderServer(answer));
                return None;
            }
            Order::Deadman { deadline } => {
                self.host(name.as_str()).deadman = *deadline;
                return Some(Outcome::Done);
            }
            _ => {}
        }
        Some(self.execute_on_server(name, order))
    }

    fn execute_on_server(&mut self, name: &NodeName, order: &Order) -> Outcome {
        let source = match order {
            Order::Rejoin { leader, .. } | Order::FetchWal { from: leader, .. } => {
                let host = &self.hosts[leader];
                if !self.reaches(name, leader)
                    || host.server.runs != Runs::Primary && !matches!(order, Order::FetchWal { .. })
                {
                    return Outcome::Failed;
                }
                host.server.wal.clone()
            }
            _ => Vec::new(),
        };
        let host = self.hosts.get_mut(name).expect("a member");
        let (server, starts_for_ever) = (&mut host.server, host.starts_for_ever);
        match order {
            Order::StartStandby { follow } => {
                server.runs = Runs::Standby;
                server.was_primary = false;
                server.follows = follow.clone();
            }
            Order::StartPrimary => {
                assert!(server.was_primary, "it was no primary");
                server.runs = match starts_for_ever {
                    true => Runs::Starts,
                    false => Runs::Primary,
                };
                server.recovery_end = server.wal.len();
                server.enforced = Enforced::Nobody;
                server.gate = Gate::Closed;
            }
            Order::Checkpoint => {}
            Order::Stop(stop) => {
                let clean = *stop == Stop::Fast;
                if clean && server.runs == Runs::Primary {
                    server.wal.push(Entry::Shutdown);
                    self.stream();
                }
                let server = &mut self.hosts.get_mut(name).expect("a member").server;
                server.runs = Runs::Stopped { clean };
                self.drop_sessions(name.as_str());
            }
            Order::StopReceiving => server.follows = None,
            Order::Follow { leader } => server.follows = Some(leader.clone()),
            Order::Promote => {
                let holds = server.overridden.is_none();
                if server.runs != Runs::Standby || server.follows.is_some() || !holds {
                    return Outcome::Failed;
                }
                server.runs = Runs::Primary;
                server.was_primary = true;
                server.recovery_end = server.wal.len();
                server.enforced = Enforced::Nobody;
                server.gate = Gate::Closed;
            }
            Order::WriteRule(rule) => {
                if server.runs != Runs::Primary {
                    return Outcome::Failed;
                }
                server.wal.push(Entry::Rule(rule.id));
                return Outcome::RuleWritten {
                    lsn: Lsn(server.wal.len() as u64),
                };
            }
            Order::Enforce(enforced) => {
                if server.runs != Runs::Primary {
                    return Outcome::Failed;
                }
                server.enforced = enforced.clone();
                if server.in_force() != enforced {
                    return Outcome::Failed;
                }
                self.acknowledge();
            }
            Order::SetGate(gate) => server.gate = *gate,
            Order::Rejoin { leader, rung, .. } => {
                if *rung == Rung::Rewind && server.wal.len() < source.len() / 2 {
                    return Outcome::Failed;
                }
                server.wal = source;
                server.runs = Runs::Stopped { clean: false };
                server.was_primary = false;
                server.follows = Some(leader.clone());
            }
            Order::FetchWal { upto, .. } => {
                let upto = upto.0 as usize;
                assert!(
                    source.starts_with(&server.wal),
                    "fetched WAL that does not continue its own"
                );
                server.wal = source[..upto].to_vec();
            }
            Order::Swap { .. }
            | Order::RenewLease { .. }
            | Order::Promise(_)
            | Order::Send { .. }
            | Order::ProbeLeader { .. }
            | Order::Deadman { .. } => unreachable!("not the server's"),
        }
        Outcome::Done
    }

    fn swap(&mut self, name: &NodeName, expected: Revision, record: &Record) -> Outcome {
        if !self.store_answers(name) {
            return Outcome::Unknown;
        }
        if expected != self.record.revision {
            return Outcome::Conflict(self.record.clone());
        }
        self.record = Versioned {
            revision: Revision(expected.0 + 1),
            value: record.clone(),
        };
        Outcome::Swapped {
            record: self.record.clone(),
            lease: self.lease.clone(),
        }
    }

    pub(crate) fn hang_server(&mut self, text: &str) {
        self.host(text).server.runs = Runs::Hangs;
        self.drop_sessions(text);
    }

    /// A server that hung goes on, if it was not stopped.
    pub(crate) fn wake_server(&mut self, text: &str) {
        let server = &mut self.host(text).server;
        if server.runs == Runs::Hangs {
            server.runs = match server.was_primary {
                true => Runs::Primary,
                false => Runs::Standby,
            };
        }
    }

    pub(super) fn drop_sessions(&mut self, text: &str) {
        let gone = name(text);
        self.waiting.retain(|(primary, _, _)| *primary != gone);
    }

    fn position(&self, name: &NodeName) -> Position {
        let wal = &self.hosts[name].server.wal;
        let rule = wal
            .iter()
            .filter_map(|entry| match entry {
                Entry::Rule(id) => Some(*id),
                Entry::Commit(_) | Entry::Shutdown => None,
            })
            .max();
        Position {
            rule: rule.unwrap_or_default(),
            flush_lsn: Lsn(wal.len() as u64),
        }
    }

    pub(super) fn facts(&self, name: &NodeName) -> ServerFacts {
        let server = &self.hosts[name].server;
        let position = self.position(name);
        match server.runs {
            Runs::Stopped { clean } => ServerFacts::Stopped {
                clean_end: clean.then_some(position),
                was_primary: server.was_primary,
            },
            Runs::Hangs => ServerFacts::Unresponsive,
            Runs::Starts => ServerFacts::Starting,
            Runs::Standby => ServerFacts::Standby(StandbyFacts {
                position,
                settled: server.follows.is_none(),
                follows: server.follows.clone(),
                streams: server.follows.as_ref().is_some_and(|leader| {
                    self.reaches(name, leader) && self.hosts[leader].server.runs == Runs::Primary
                }),
            }),
            Runs::Primary => ServerFacts::Primary(PrimaryFacts {
                position,
                recovery_end_lsn: Lsn(server.recovery_end as u64),
                enforced: server.in_force().clone(),
                gate: server.gate,
                followers: self
                    .hosts
                    .iter()
                    .filter(|(follower, host)| {
                        self.reaches(name, follower)
                            && host.server.runs == Runs::Standby
                            && host.server.follows.as_ref() == Some(name)
                    })
                    .map(|(follower, host)| Follower {
                        name: follower.clone(),
                        streaming: !host.flaps || self.now % FLAPS_EVERY < LOOK_EVERY,
                        replied: true,
                        flush_lsn: Lsn(host.server.wal.len() as u64),
                    })
                    .collect(),
            }),
        }
    }
}
