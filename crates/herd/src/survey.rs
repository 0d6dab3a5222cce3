//! Asking a whole herd at once: from the servers that are known to those they know of.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use manada_model::{Answer, HerdStatus, NoAnswer, Node, Recovery, ServerStatus, Visible};
use manada_postgres::conninfo::Host;
use manada_postgres::observe::{self, observe};
use manada_postgres::transport::Peer;
use manada_postgres::{ConnectError, Conninfo, Endpoint, Session};
use tokio::task::JoinSet;

use crate::member::Member;

/// The most servers one survey asks.
const SERVERS_MAX: usize = 64;

/// The database in which a herd keeps its list of members.
const MEMBERS_DATABASE: &str = "postgres";

/// Whom to ask, and how long to wait for each.
#[derive(Clone, Debug)]
pub struct Survey {
    /// The servers that are known beforehand: each endpoint is asked.
    pub seeds: Conninfo,
    /// The operating system's user to be on a seed's Unix socket.
    pub peer: Option<Peer>,
    /// How to reach those that the seeds tell of; only the endpoint is replaced.
    pub others: Conninfo,
    /// Who else is known, to be asked where no seed answers.
    pub remembered: Vec<Member>,
    /// How long each server may take, from the first packet to its whole answer.
    pub limit: Duration,
}

impl Survey {
    /// Asks the servers of `conninfo`, and those they know of with the same credentials.
    pub fn of(conninfo: Conninfo, limit: Duration) -> Survey {
        Survey {
            others: conninfo.clone(),
            remembered: Vec::new(),
            seeds: conninfo,
            peer: None,
            limit,
        }
    }

    /// Asks all of them at the same time. It always comes back with what there is, after at most
    /// `limit` for each step from a seed: to a member or a direct neighbour is one step.
    pub async fn run(&self) -> HerdStatus {
        self.explore().await.status
    }

    /// As [`Survey::run`], and keeps the ways to the servers that were asked.
    pub async fn explore(&self) -> Explored {
        let asked_at = Timestamp::now();
        let begun = Instant::now();
        let mut round = Round::new(self);
        for endpoint in &self.seeds.endpoints {
            round.ask(endpoint.clone(), Lead::Seed);
        }
        round.hear_all().await;
        if !round.answered() {
            let silent = std::mem::take(&mut round.heard);
            for member in &self.remembered {
                let endpoint = Endpoint::tcp(member.host.to_string(), member.port);
                round.ask_member(member.name.as_str(), endpoint);
            }
            round.hear_all().await;
            // By their own addresses they are among those that are remembered.
            if !round.answered() {
                round.heard = silent;
            }
        }
        let ways = std::mem::take(&mut round.ways);
        let status = HerdStatus::assemble(asked_at, begun.elapsed(), round.into_answers());
        Explored { status, ways }
    }
}

/// A herd's status, and how its servers were reached.
#[derive(Clone, Debug)]
pub struct Explored {
    /// The status.
    pub status: HerdStatus,
    ways: HashMap<String, Way>,
}

/// How a server was reached.
#[derive(Clone, Debug)]
pub struct Way {
    /// Its one endpoint, and as whom.
    pub conninfo: Conninfo,
    /// The operating system's user to be on a Unix socket.
    pub peer: Option<Peer>,
}

impl Explored {
    /// How that node was reached; `None` where it was not asked.
    pub fn way_to(&self, node: &Node) -> Option<&Way> {
        self.ways.get(node.endpoint.as_ref()?)
    }
}

impl Way {
    /// A session by that way.
    pub async fn open(&self) -> Result<Session, ConnectError> {
        Session::open_as(&self.conninfo, self.peer).await
    }
}

/// How a server became known.
#[derive(Clone, Debug)]
enum Lead {
    /// It was named by whoever started the survey.
    Seed,
    /// It is in the list of members.
    Member,
    /// A standby receives from it, or shall and does not.
    Upstream { receiving: bool },
    /// It receives from the server at this endpoint through the walsender with this process id.
    Walsender(String, i32),
}

struct Asked {
    endpoint: Endpoint,
    lead: Lead,
    outcome: Result<ServerStatus, NoAnswer>,
}

struct Round<'a> {
    survey: &'a Survey,
    asking: JoinSet<Asked>,
    known: HashSet<Endpoint>,
    member_names: HashMap<Endpoint, String>,
    ways: HashMap<String, Way>,
    heard: Vec<Asked>,
}

impl<'a> Round<'a> {
    fn new(survey: &'a Survey) -> Round<'a> {
        Round {
            survey,
            asking: JoinSet::new(),
            known: HashSet::new(),
            member_names: HashMap::new(),
            ways: HashMap::new(),
            heard: Vec::new(),
        }
    }

    fn ask_member(&mut self, name: &str, endpoint: Endpoint) {
        self.member_names.insert(endpoint.clone(), name.to_owned());
        self.ask(endpoint, Lead::Member);
    }

    async fn hear_all(&mut self) {
        while let Some(joined) = self.asking.join_next().await {
            // A question that panicked is a defect: its server is left out, the others are not.
            let Ok(asked) = joined else { continue };
            self.hear(asked);
        }
    }

    fn answered(&self) -> bool {
        self.heard.iter().any(|asked| asked.outcome.is_ok())
    }

    /// Sends the question, unless that endpoint was asked before.
    fn ask(&mut self, endpoint: Endpoint, lead: Lead) {
        if self.known.len() >= SERVERS_MAX || !self.known.insert(endpoint.clone()) {
            return;
        }
        let survey = self.survey;
        let (source, peer) = match lead {
            Lead::Seed => (&survey.seeds, survey.peer),
            Lead::Member | Lead::Upstream { .. } | Lead::Walsender(..) => (&survey.others, None),
        };
        let mut conninfo = source.for_endpoint(endpoint.clone());
        conninfo.connect_timeout = conninfo.connect_timeout.min(survey.limit);
        let limit = survey.limit;
        let way = Way {
            conninfo: conninfo.clone(),
            peer,
        };
        self.ways.insert(endpoint.to_string(), way);
        self.asking.spawn(async move {
            let begun = Instant::now();
            let outcome = ask_one(&conninfo, peer, limit).await;
            Asked {
                endpoint,
                lead,
                outcome: outcome.map_err(|reason| NoAnswer {
                    reason,
                    waited: begun.elapsed(),
                }),
            }
        });
    }

    /// Takes an answer in, and asks whom it tells of.
    fn hear(&mut self, asked: Asked) {
        if !self.belongs(&asked) {
            return;
        }
        if let Ok(status) = &asked.outcome {
            for member in &status.members {
                self.ask_member(&member.name, Endpoint::tcp(&member.host, member.port));
            }
            for (endpoint, lead) in leads(&asked.endpoint, status) {
                self.ask(endpoint, lead);
            }
        }
        self.heard.push(asked);
    }

    /// What was heard. A standby may reach its upstream at an address that can't be reached from
    /// here: where the primary answered otherwise, that is no unreachable server of its own.
    fn into_answers(mut self) -> Vec<Answer> {
        // Of two ways to one server the one that was given stays.
        self.heard
            .sort_by_key(|asked| !matches!(asked.lead, Lead::Seed));
        let answered = |asked: &Asked| asked.outcome.as_ref().is_ok_and(|s| s.primary().is_some());
        let primary_answered = self.heard.iter().any(answered);
        let heard = self.heard.into_iter().filter(|asked| {
            let alias = matches!(asked.lead, Lead::Upstream { receiving: true });
            asked.outcome.is_ok() || !(alias && primary_answered)
        });
        heard
            .map(|asked| Answer {
                member: self.member_names.get(&asked.endpoint).cloned(),
                endpoint: asked.endpoint.to_string(),
                addresses: addresses(&asked.endpoint, asked.outcome.as_ref().ok()),
                seen_by: match asked.lead {
                    Lead::Seed | Lead::Member | Lead::Upstream { .. } => None,
                    Lead::Walsender(upstream, pid) => Some((upstream, pid)),
                },
                outcome: asked.outcome,
            })
            .collect()
    }

    /// Whether what was found at a guessed place is what was looked for. At a walsender's client
    /// address and its server's port there may be nothing, the server itself or somebody else's.
    fn belongs(&self, asked: &Asked) -> bool {
        let same_cluster = |status: &ServerStatus| {
            self.heard.iter().all(|asked| match &asked.outcome {
                Ok(known) => known.system_identifier == status.system_identifier,
                Err(_) => true,
            })
        };
        match (&asked.lead, &asked.outcome) {
            (Lead::Seed | Lead::Member, _) | (Lead::Upstream { .. }, Err(_)) => true,
            (Lead::Upstream { .. }, Ok(status)) => same_cluster(status),
            (Lead::Walsender(..), Ok(status)) => status.standby().is_some() && same_cluster(status),
            (Lead::Walsender(..), Err(_)) => false,
        }
    }
}

async fn ask_one(
    conninfo: &Conninfo,
    peer: Option<Peer>,
    limit: Duration,
) -> Result<ServerStatus, String> {
    let question = async {
        let session = Session::open_as(conninfo, peer)
            .await
            .map_err(|error| error.to_string())?;
        let mut status = observe(&session, limit)
            .await
            .map_err(|error| error.to_string())?;
        if status.members.is_empty() && has_herd_slots(&status) {
            status.members = members_elsewhere(conninfo, peer, limit).await;
        }
        Ok(status)
    };
    let endpoint = &conninfo.endpoints[0];
    tokio::time::timeout(limit, question)
        .await
        .unwrap_or_else(|_| {
            let seconds = limit.as_secs_f32();
            Err(format!("{endpoint} did not answer within {seconds} s"))
        })
}

/// Whether a herd of ours has made slots there, so that a list of members is to be expected.
fn has_herd_slots(status: &ServerStatus) -> bool {
    status.slots.iter().any(|slot| slot.name.node().is_some())
}

/// The list of members, where the session that was given is with another database. Whoever may not
/// read it goes without.
async fn members_elsewhere(
    conninfo: &Conninfo,
    peer: Option<Peer>,
    limit: Duration,
) -> Vec<manada_model::Member> {
    if conninfo.database() == MEMBERS_DATABASE {
        return Vec::new();
    }
    let conninfo = conninfo.clone().with_dbname(MEMBERS_DATABASE);
    let Ok(session) = Session::open_as(&conninfo, peer).await else {
        return Vec::new();
    };
    observe::members(&session, limit).await.unwrap_or_default()
}

/// The servers that one server tells of, besides the members it lists.
fn leads(endpoint: &Endpoint, status: &ServerStatus) -> Vec<(Endpoint, Lead)> {
    let mut leads = Vec::new();
    if let Recovery::Standby(standby) = &status.recovery {
        let receiving = standby.walreceiver != Visible::Shown(None);
        let walreceiver = standby.walreceiver.shown().and_then(Option::as_ref);
        let sender = walreceiver.and_then(|walreceiver| walreceiver.sender.as_ref());
        let configured = standby.configured_upstreams.shown().into_iter().flatten();
        for upstream in sender.into_iter().chain(configured) {
            // A socket's directory means a socket on the standby's host, not on this one.
            if !upstream.host.starts_with(['/', '@']) {
                leads.push((
                    Endpoint::tcp(&upstream.host, upstream.port),
                    Lead::Upstream { receiving },
                ));
            }
        }
    }
    for walsender in &status.walsenders {
        let listed = status
            .members
            .iter()
            .any(|member| member.name == walsender.application_name);
        let client = match &walsender.progress {
            Visible::Shown(progress) => progress.client_addr,
            Visible::Hidden => None,
        };
        // At its own address and port, a server would only find itself.
        let elsewhere = client.filter(|client| Some(*client) != status.address);
        if let (Some(client), false) = (elsewhere, listed) {
            leads.push((
                Endpoint::tcp(client.to_string(), status.port),
                Lead::Walsender(endpoint.to_string(), walsender.pid),
            ));
        }
    }
    leads
}

/// The addresses a server is known to have.
fn addresses(endpoint: &Endpoint, status: Option<&ServerStatus>) -> Vec<IpAddr> {
    let named = match &endpoint.host {
        Host::Tcp(name) => name.parse().ok(),
        Host::Unix(_) => None,
    };
    let own = status.and_then(|status| status.address);
    let mut addresses: Vec<IpAddr> = [endpoint.hostaddr, named, own]
        .into_iter()
        .flatten()
        .collect();
    addresses.sort();
    addresses.dedup();
    addresses
}
