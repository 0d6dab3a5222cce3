//! Which timers run. Each runs as long as its condition holds; its firing is a fact as long.

use std::collections::BTreeSet;
use std::time::Duration;

use manada_model::NodeName;

use crate::choice::{self, Prospect};
use crate::duty::Duty;
use crate::input::{LeaderServer, StoreState};
use crate::lane::Lane;
use crate::node::Node;
use crate::policy::Policy;
use crate::record::Record;
use crate::server::{Gate, PrimaryFacts, ServerFacts};
use crate::timer::{Moment, Timer};

/// The pause after a failure doubles up to this many times.
pub(crate) const DOUBLINGS_MAX: u32 = 5;

/// How many times the time of an election a promotion may take.
const PROMOTION_ELECTIONS: u32 = 10;

impl Node {
    /// Lets a timer begin anew: it is armed again if its condition still holds.
    pub(crate) fn restart(&mut self, timer: &Timer) {
        self.armed.remove(timer);
        self.fired.remove(timer);
    }

    /// Takes the firing of a timer that runs.
    pub(crate) fn fire(&mut self, timer: Timer) {
        if self.armed.remove(&timer).is_some() {
            self.fired.insert(timer);
        }
    }

    /// A lease that is over is not held for another moment: whoever stood still hears of other
    /// things first, maybe that it was given.
    pub(crate) fn end_lease(&mut self, now: Moment) {
        let ends = self.armed.get(&Timer::LeaseEnds);
        if ends.is_some_and(|ends| *ends <= now) {
            self.fire(Timer::LeaseEnds);
        }
    }

    /// Arms and disarms all but those of single members.
    pub(crate) fn wind(&mut self, now: Moment) {
        for timer in [
            Timer::Beat,
            Timer::LeaseEnds,
            Timer::LeaseLapsed,
            Timer::Campaign,
            Timer::RecruitsIn,
            Timer::ElectionStalled,
            Timer::AskAgain,
            Timer::QuorumSilent,
            Timer::ServerHung,
            Timer::StartsLong,
            Timer::Retry,
            Timer::RetryStore,
            Timer::RetryPromise,
            Timer::RejoinAgain,
            Timer::HandoverStalled,
            Timer::Starved,
        ] {
            let wanted = self.runs(&timer);
            self.wind_one(timer, wanted, now);
        }
        if self.has_fired(&Timer::LeaseEnds) || !self.leads() || self.word_is_out() {
            self.lease_is_held = false;
        }
    }

    /// Arms and disarms all.
    pub(crate) fn wind_all(&mut self, now: Moment) {
        self.wind(now);
        self.wind_members(now);
    }

    fn wind_one(&mut self, timer: Timer, wanted: Option<Duration>, now: Moment) {
        match wanted {
            None => self.restart(&timer),
            Some(_) if self.fired.contains(&timer) => {}
            // Another recruit can make waiting for the rest worth less; and who is recruited is waited
            // for.
            Some(after) if matches!(timer, Timer::RecruitsIn | Timer::ServerHung) => {
                let due = now + after;
                let armed = self.armed.entry(timer).or_insert(due);
                *armed = due.min(*armed);
            }
            Some(_) if self.armed.contains_key(&timer) => {}
            Some(after) => {
                self.armed.insert(timer, now + after);
            }
        }
    }

    /// For how long a timer runs, if its condition holds.
    fn runs(&self, timer: &Timer) -> Option<Duration> {
        let times = &self.limits.timings;
        match timer {
            Timer::Beat => self.renews().then_some(times.beat),
            Timer::LeaseLapsed => self.watches().then(|| self.lease_holds_for()),
            Timer::Campaign => self.campaigns_after(),
            Timer::RecruitsIn => {
                let record = self.coordinated_record()?;
                match choice::prospect(self, record)? {
                    Prospect::Another => Some(times.recruits_in),
                    Prospect::FormerLeader => Some(times.election / 2),
                }
            }
            Timer::ElectionStalled => self.election_stalls_after(),
            Timer::AskAgain if self.coordinated_record().is_some() => Some(times.ask_again),
            Timer::AskAgain if self.leader_server.is_some() && self.would_rejoin() => {
                Some(times.lease / 2)
            }
            Timer::AskAgain => {
                let leader = self.suspects()?;
                match self.leader_server? {
                    // The later its turn, the more seldom: a large herd does not crowd a leader
                    // whose agent is gone.
                    LeaderServer::Answers | LeaderServer::Full => {
                        let before = self.rank(Some(leader));
                        Some(times.lease / 2 + times.campaign_step.saturating_mul(before))
                    }
                    // Nobody can campaign yet, and when the store is back, the answer shall be of
                    // then.
                    LeaderServer::Silent => {
                        (self.store != StoreState::Reachable).then_some(times.beat)
                    }
                }
            }
            Timer::QuorumSilent => self.quorum_is_silent().then_some(times.quorum_silent),
            Timer::ServerHung => {
                // A standby on a busy host can acknowledge commits without taking a session in time.
                let patience = match self.duty() {
                    Duty::Follow { .. } => times.starved,
                    Duty::None | Duty::Recruit { .. } | Duty::Lead { .. } => times.server_hung,
                };
                let hangs = matches!(self.server, Some(ServerFacts::Unresponsive));
                hangs.then_some(patience)
            }
            Timer::StartsLong => {
                let starts = matches!(self.server, Some(ServerFacts::Starting));
                (starts && self.leads()).then_some(times.starts_long)
            }
            Timer::Retry => self.pause_of(&self.lanes.server),
            Timer::RetryStore => self.pause_of(&self.lanes.store),
            Timer::RetryPromise => self.pause_of(&self.lanes.promise),
            Timer::RejoinAgain => self.rejoin.pause,
            Timer::HandoverStalled => {
                let wanted = self.handover.is_some() || self.failover.is_some();
                wanted.then_some(times.handover)
            }
            Timer::Starved => self.starves().then_some(times.starved),
            // A renewal that succeeds arms it anew. What a former agent left ends no later.
            Timer::LeaseEnds => self.leads().then_some(times.lease),
            // Each member has its own.
            Timer::Away(_) | Timer::Settled(_) => None,
        }
    }

    /// The pause that a lane has after failures.
    fn pause_of(&self, lane: &Lane) -> Option<Duration> {
        let failing = lane.failed.as_ref()?;
        let doublings = failing.failures.saturating_sub(1).min(DOUBLINGS_MAX);
        lane.order
            .is_none()
            .then(|| self.limits.timings.retry * 2_u32.pow(doublings))
    }

    fn leads(&self) -> bool {
        matches!(self.duty(), Duty::Lead { .. })
    }

    /// Whether this node gives signs of life as the leader.
    pub(crate) fn renews(&self) -> bool {
        self.goes_on() && !self.word_is_out()
    }

    /// Whether this node leads and means to. One whose server starts for long does not, so that
    /// others take over who have all commits; where commits wait for nobody, only this node has
    /// them.
    pub(crate) fn goes_on(&self) -> bool {
        let lives = match &self.server {
            Some(ServerFacts::Primary(_) | ServerFacts::Standby(_) | ServerFacts::Unresponsive) => {
                true
            }
            Some(ServerFacts::Starting) => {
                !(self.has_fired(&Timer::StartsLong) && self.is_synchronous())
            }
            Some(ServerFacts::Stopped { .. } | ServerFacts::Unusable) | None => false,
        };
        self.leads() && lives && self.own_resignation().is_none()
    }

    /// Whether it watches the lease of another.
    ///
    /// While the store does not answer, beats are not seen. For a synchronous leader that is no
    /// matter: its lease is a suspicion, and its server is asked before anybody campaigns. So that
    /// a store whose own leader was lost with this one costs no second wait, the time goes on.
    fn watches(&self) -> bool {
        self.member_record().is_some_and(|record| {
            record.leader.as_ref() != Some(&self.name)
                && (self.store == StoreState::Reachable || self.is_synchronous())
        })
    }

    /// Whether commits of the leader wait for somebody, whichever published policy is in force.
    pub(crate) fn is_synchronous(&self) -> bool {
        self.member_record().is_some_and(|record| {
            let mut policies = record.policies.iter();
            policies.all(|published| published.policy.is_synchronous())
        })
    }

    /// How long the leader may be silent.
    pub(crate) fn lease_holds_for(&self) -> Duration {
        // While nobody leads, it is the former leader's lease that has to end.
        let counts = |epoch| {
            self.member_record()
                .is_some_and(|record| record.leader.is_none() || record.epoch == epoch)
        };
        self.lease
            .as_ref()
            .filter(|lease| counts(lease.epoch))
            .map_or(self.limits.timings.lease, |lease| lease.holds_for)
    }

    /// Whether it follows a leader that is well, and gets no WAL.
    fn starves(&self) -> bool {
        let Duty::Follow { leader, .. } = self.duty() else {
            return false;
        };
        let starves = self
            .standby()
            .is_some_and(|facts| facts.follows.as_ref() == Some(leader) && !facts.streams);
        starves && self.leader_has_begun() && !self.has_fired(&Timer::LeaseLapsed)
    }

    /// How long this node lets others go first when the leader is lost.
    fn campaigns_after(&self) -> Option<Duration> {
        let leader = self.campaigns_against()?;
        let rank = self.rank(Some(leader));
        let resigned = self
            .heard_resignation()
            .is_some_and(|resignation| resignation.successor.is_some());
        let before = if resigned {
            rank.saturating_add(1)
        } else {
            rank
        };
        Some(self.limits.timings.campaign_step.saturating_mul(before))
    }

    /// How long an election may take before it counts as stalled. A leader that resigned gives one
    /// time to begin; one that can't become a primary makes way in the end.
    fn election_stalls_after(&self) -> Option<Duration> {
        let times = &self.limits.timings;
        let record = self.member_record()?;
        match &record.leader {
            None if record.coordinator == self.name || !self.is_server() => None,
            None => {
                let before = self.rank(Some(&record.coordinator));
                Some(times.election + times.campaign_step.saturating_mul(before))
            }
            Some(leader) if *leader != self.name => None,
            Some(_) if self.own_resignation().is_some() => Some(times.election),
            Some(_) => {
                let begun = self.primary().is_some();
                (!begun).then(|| times.election * PROMOTION_ELECTIONS)
            }
        }
    }

    /// Whether this node leads with an open gate and hears too few of those that commits wait for.
    fn quorum_is_silent(&self) -> bool {
        let Some((facts, policy)) = self.leads_with() else {
            return false;
        };
        let needed = policy.count as usize;
        let heard = |name: &&NodeName| {
            facts
                .follower(name)
                .is_some_and(|follower| follower.replied)
        };
        facts.gate == Gate::Open
            && policy.is_synchronous()
            && policy.standbys.iter().filter(heard).take(needed).count() < needed
    }

    /// The server as a primary of this node's own reign, and the policy that it is to have.
    pub(crate) fn leads_with(&self) -> Option<(&PrimaryFacts, &Policy)> {
        let Duty::Lead { .. } = self.duty() else {
            return None;
        };
        let facts = self.primary()?;
        let policy = self.target(&self.record.as_deref()?.value)?;
        Some((facts, policy))
    }

    /// The newest policy that is published for this node.
    pub(crate) fn target<'a>(&self, record: &'a Record) -> Option<&'a Policy> {
        record
            .policies
            .iter()
            .rev()
            .find(|published| published.leader == self.name)
            .map(|published| &published.policy)
    }

    fn wind_members(&mut self, now: Moment) {
        let streaming = self.streaming_members();
        let wanted = self.member_timers(&streaming);
        let stale: Vec<Timer> = self
            .armed
            .keys()
            .chain(self.fired.iter())
            .filter(|timer| matches!(timer, Timer::Away(_) | Timer::Settled(_)))
            .filter(|timer| !wanted.contains(timer))
            .cloned()
            .collect();
        for timer in stale {
            self.restart(&timer);
        }
        for timer in wanted {
            let after = match &timer {
                Timer::Settled(_) => self.limits.timings.settled,
                _ => self.limits.timings.away,
            };
            self.wind_one(timer, Some(after), now);
        }
        self.away.clear();
        self.settled.clear();
        for timer in &self.fired {
            if let Timer::Away(name) = timer
                && !streaming.contains(name)
            {
                self.away.insert(name.clone());
            }
            if let Timer::Settled(name) = timer {
                self.settled.insert(name.clone());
            }
        }
    }

    /// Who streams from this leader.
    fn streaming_members(&self) -> BTreeSet<NodeName> {
        let Some((facts, _)) = self.leads_with() else {
            return BTreeSet::new();
        };
        let streaming = facts.followers.iter().filter(|follower| follower.streaming);
        streaming.map(|follower| follower.name.clone()).collect()
    }

    /// A timer for each standby of the policy that is away, and for each that streams and is not
    /// of it.
    ///
    /// One that was away is so until it has settled: a server whose disk is full connects ten times
    /// a second, seems to stream each time, and confirms nothing.
    fn member_timers(&self, streaming: &BTreeSet<NodeName>) -> BTreeSet<Timer> {
        let Some((_, policy)) = self.leads_with() else {
            return BTreeSet::new();
        };
        let mut timers = BTreeSet::new();
        for name in &policy.standbys {
            let away = Timer::Away(name.clone());
            let settled = Timer::Settled(name.clone());
            let was_away = self.armed.contains_key(&away) || self.fired.contains(&away);
            if !streaming.contains(name) {
                timers.insert(away);
            } else if was_away && !self.fired.contains(&settled) {
                timers.extend([away, settled]);
            }
        }
        let joined = streaming
            .iter()
            .filter(|name| !policy.standbys.contains(name));
        timers.extend(joined.cloned().map(Timer::Settled));
        timers
    }
}
