//! The answer to each path. Status codes and keys are those of Patroni's REST API, so that what
//! checks that one can check this one too.

use std::time::Duration;

use hyper::StatusCode;
use manada_core::record::{MemberRole, Mode, Record};
use manada_core::server::{Gate, PrimaryFacts, ServerFacts};
use manada_core::standing::Standing;
use manada_core::timer::Moment;
use manada_model::NodeName;
use serde_json::{Value, json};

use super::metrics;
use crate::glance::{Glance, Who};
use crate::peers::Book;

/// How old what is known of the server may be for it to be recommended to clients.
const LOOKED_AT_WITHIN: Duration = Duration::from_secs(5);

/// How long the agent's loop may not have come round.
const ALIVE_WITHIN: Duration = Duration::from_secs(10);

/// How far behind a standby may be to be ready, where the question does not say: as Patroni's
/// `maximum_lag_on_failover`.
const READY_LAG_BYTES_MAX: u64 = 1024 * 1024;

/// An answer.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) body: Body,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Body {
    Json(Value),
    Metrics(String),
}

/// What is known when a question comes.
pub(super) struct Known<'a> {
    pub(super) who: &'a Who,
    pub(super) glance: &'a Glance,
    pub(super) book: &'a Book,
    pub(super) now: Moment,
}

impl Known<'_> {
    /// Answers; 404 for a path that there is not.
    pub(super) fn answer(&self, path: &str, query: Option<&str>) -> Answer {
        let lag_max = lag_in(query);
        let (holds, body) = match path {
            "/" | "/primary" | "/master" | "/leader" | "/read-write" => (self.leads(), self.node()),
            "/replica" => (self.follows(lag_max), self.node()),
            "/read-only" => (self.leads() || self.follows(lag_max), self.node()),
            "/sync" | "/synchronous" | "/quorum" => {
                (self.follows(lag_max) && self.counts(), self.node())
            }
            "/read-only-sync" | "/read-only-synchronous" | "/read-only-quorum" => {
                let counts = self.follows(lag_max) && self.counts();
                (self.leads() || counts, self.node())
            }
            "/async" | "/asynchronous" => (self.follows(lag_max) && !self.counts(), self.node()),
            // There are no standby clusters.
            "/standby-leader" | "/standby_leader" => (false, self.node()),
            "/health" => (self.runs(), self.node()),
            "/readiness" => {
                let lag_max = Some(lag_max.unwrap_or(READY_LAG_BYTES_MAX));
                (self.leads() || self.follows(lag_max), self.node())
            }
            "/liveness" => (self.is_alive(), json!({})),
            "/patroni" => (true, self.node()),
            "/cluster" => (true, self.cluster()),
            "/metrics" => {
                return Answer {
                    status: StatusCode::OK,
                    body: Body::Metrics(metrics::text(self)),
                };
            }
            _ => {
                return Answer {
                    status: StatusCode::NOT_FOUND,
                    body: Body::Json(json!({})),
                };
            }
        };
        Answer {
            status: if holds {
                StatusCode::OK
            } else {
                StatusCode::SERVICE_UNAVAILABLE
            },
            body: Body::Json(body),
        }
    }

    /// What is known of the server, if it is fresh.
    fn facts(&self) -> Option<&ServerFacts> {
        let (facts, at) = self.glance.server.as_ref()?;
        let age = self.now.0.saturating_sub(at.0);
        (age <= LOOKED_AT_WITHIN).then_some(facts)
    }

    /// It leads, and clients get in. A leader that has neither its lease nor its quorum closes its
    /// gate.
    pub(super) fn leads(&self) -> bool {
        let open = matches!(
            self.glance.standing,
            Standing::Leading {
                gate: Gate::Open,
                ..
            }
        );
        let primary = matches!(
            self.facts(),
            Some(ServerFacts::Primary(PrimaryFacts {
                gate: Gate::Open,
                ..
            }))
        );
        open && primary
    }

    /// It answers, streams from the leader, and is at most that far behind.
    pub(super) fn follows(&self, lag_bytes_max: Option<u64>) -> bool {
        let Some(ServerFacts::Standby(standby)) = self.facts() else {
            return false;
        };
        let near = match lag_bytes_max {
            None => true,
            Some(bytes) => self.glance.lag_bytes().is_some_and(|lag| lag <= bytes),
        };
        standby.streams && near && matches!(self.glance.standing, Standing::Following { .. })
    }

    /// The published policy has it among those that acknowledge commits.
    pub(super) fn counts(&self) -> bool {
        self.record().is_some_and(|record| {
            record
                .policies
                .iter()
                .any(|published| published.policy.standbys.contains(&self.who.node))
        })
    }

    pub(super) fn runs(&self) -> bool {
        match self.facts() {
            Some(ServerFacts::Standby(_) | ServerFacts::Primary(_)) => true,
            Some(
                ServerFacts::Stopped { .. }
                | ServerFacts::Unusable
                | ServerFacts::Starting
                | ServerFacts::Unresponsive,
            )
            | None => false,
        }
    }

    fn is_alive(&self) -> bool {
        self.now.0.saturating_sub(self.glance.at.0) <= ALIVE_WITHIN
    }

    fn record(&self) -> Option<&Record> {
        Some(&self.glance.record.as_ref()?.value)
    }

    fn state(&self) -> &'static str {
        match self.facts() {
            Some(ServerFacts::Standby(standby)) if standby.streams => "streaming",
            Some(ServerFacts::Standby(_) | ServerFacts::Primary(_)) => "running",
            Some(ServerFacts::Starting) => "starting",
            Some(ServerFacts::Stopped { .. } | ServerFacts::Unusable) => "stopped",
            Some(ServerFacts::Unresponsive) | None => "unknown",
        }
    }

    fn node(&self) -> Value {
        let mut node = json!({
            "state": if self.runs() { "running" } else { self.state() },
            "database_system_identifier": self.who.system_identifier.to_string(),
            "manada": {
                "version": env!("CARGO_PKG_VERSION"),
                "scope": self.who.herd,
                "name": self.who.node,
                "epoch": self.record().map(|record| record.epoch),
                "standing": self.glance.standing,
                "obstacles": self.glance.obstacles,
            },
        });
        match self.facts() {
            Some(ServerFacts::Primary(primary)) => {
                node["role"] = json!("primary");
                node["xlog"] = json!({ "location": primary.position.flush_lsn.0 });
                node["replication"] = json!(self.replication(primary));
            }
            Some(ServerFacts::Standby(standby)) => {
                node["role"] = json!("replica");
                node["replication_state"] = json!(self.state());
                node["xlog"] = json!({ "received_location": standby.position.flush_lsn.0 });
            }
            Some(
                ServerFacts::Stopped { .. }
                | ServerFacts::Unusable
                | ServerFacts::Starting
                | ServerFacts::Unresponsive,
            )
            | None => {}
        }
        if self
            .record()
            .is_some_and(|record| record.mode == Mode::Paused)
        {
            node["pause"] = json!(true);
        }
        if self.record().is_none_or(|record| record.leader.is_none()) {
            node["cluster_unlocked"] = json!(true);
        }
        node
    }

    fn replication(&self, primary: &PrimaryFacts) -> Vec<Value> {
        let counts = |name: &NodeName| {
            self.record().is_some_and(|record| {
                let mut policies = record.policies.iter();
                policies.any(|published| published.policy.standbys.contains(name))
            })
        };
        let followers = primary.followers.iter().map(|follower| {
            json!({
                "application_name": follower.name,
                "state": if follower.streaming { "streaming" } else { "catchup" },
                "sync_state": if counts(&follower.name) { "quorum" } else { "async" },
            })
        });
        followers.collect()
    }

    fn cluster(&self) -> Value {
        let Some(record) = self.record() else {
            return json!({ "members": [], "scope": self.who.herd });
        };
        let members: Vec<Value> = record
            .members
            .iter()
            .filter(|(_, role)| matches!(role, MemberRole::Server { .. }))
            .map(|(name, _)| self.member(name, record))
            .collect();
        let mut cluster = json!({ "members": members, "scope": self.who.herd });
        if record.mode == Mode::Paused {
            cluster["pause"] = json!(true);
        }
        cluster
    }

    /// What this node can say of another: where it is, and, on the leader, whether it streams.
    fn member(&self, name: &NodeName, record: &Record) -> Value {
        let leads = record.leader.as_ref() == Some(name);
        let counts = record
            .policies
            .iter()
            .any(|published| published.policy.standbys.contains(name));
        let role = match (leads, counts) {
            (true, _) => "leader",
            (false, true) => "quorum_standby",
            (false, false) => "replica",
        };
        let mut member = json!({ "name": name, "role": role });
        if *name == self.who.node {
            member["state"] = json!(self.state());
        } else if let Some(ServerFacts::Primary(primary)) = self.facts() {
            let follower = primary.followers.iter().find(|one| one.name == *name);
            member["state"] = json!(match follower {
                Some(follower) if follower.streaming => "streaming",
                Some(_) => "running",
                None => "unknown",
            });
        }
        if let Some(contact) = self.book.get(name)
            && let Some(address) = contact.addresses.first()
        {
            member["host"] = json!(address);
            member["port"] = json!(contact.postgres_port);
        }
        member
    }
}

/// What `lag=` in a query says, in bytes: a number, or one with PostgreSQL's unit behind it. One
/// that is neither allows no lag at all.
fn lag_in(query: Option<&str>) -> Option<u64> {
    let text = query?
        .split('&')
        .find_map(|parameter| parameter.strip_prefix("lag="))?;
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit: u64 = match text[digits.len()..].to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kb" => 1 << 10,
        "mb" => 1 << 20,
        "gb" => 1 << 30,
        "tb" => 1 << 40,
        _ => return Some(0),
    };
    let number: u64 = digits.parse().unwrap_or(0);
    Some(number.saturating_mul(unit))
}
