//! Time in which nothing happens but what happens over and over: it is lived through once.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use super::events::Simulation;
use super::machine::Machine;
use super::queue::Event;
use crate::world::{Agent, Host};

/// What recurs has recurred after this time: whole numbers of beats (0.3 s) and of looks (0.5 s)
/// are in it.
const PERIOD: Duration = Duration::from_millis(1500);

impl Simulation {
    /// How long the herd has lived.
    pub fn lived(&self) -> Duration {
        self.now + self.skipped
    }

    /// Lets that time pass without faults, without clients' writes, and without chance: everything
    /// takes its usual time.
    ///
    /// What happens then follows from the situation alone: the whole state, its moments counted
    /// from now. Where a situation is the one of a period ago it recurs for ever, so that with
    /// `skips` the whole periods that are left are passed over, and the herd is older by them.
    /// Afterwards everything is as if they had been lived through.
    pub fn rest(&mut self, time: Duration, skips: bool) {
        self.calm = true;
        self.writes_at = None;
        let mut left = time;
        let mut former = None;
        while left >= PERIOD && self.world.ledger.violation.is_none() {
            if skips {
                let situation = Some(self.situation());
                if situation == former {
                    while left >= PERIOD {
                        left -= PERIOD;
                        self.skipped += PERIOD;
                    }
                    break;
                }
                former = situation;
            }
            self.run_until(self.now + PERIOD);
            left -= PERIOD;
        }
        self.run_until(self.now + left);
        self.calm = false;
        self.write_soon();
    }

    /// Everything by which it is decided what happens in time without chance, as seen from now.
    fn situation(&self) -> u64 {
        let mut state = DefaultHasher::new();
        let store = &self.world.store;
        let beat = store.lease.as_ref().map_or(0, |lease| lease.beat);
        let until = |moment: Duration| moment.saturating_sub(self.now);
        for (host, machine) in self.world.hosts.iter().zip(&self.machines) {
            let Host {
                promise,
                agent,
                server,
                deadman,
            } = host;
            (promise, server, deadman.map(|due| until(due.0))).hash(&mut state);
            let agent = agent.as_deref().map(|agent| Agent {
                core: agent.core.relative_to(self.moment(), beat),
                ..agent.clone()
            });
            agent.hash(&mut state);
            machine.relative_to(self.now).hash(&mut state);
        }
        (&store.record, &store.loss, &store.late, self.revision).hash(&mut state);
        let lease = store.lease.clone();
        lease
            .map(|lease| (lease.epoch, lease.leader, lease.holds_for, lease.flush_lsn))
            .hash(&mut state);
        (&self.world.mail, &self.world.cut, &self.known).hash(&mut state);
        (self.store_lost, self.store_doubtful, self.store_stale).hash(&mut state);
        (&self.reloading, until(self.reloads_slow_until)).hash(&mut state);
        let mut queue: Vec<_> = self.queue.iter().collect();
        queue.sort_by_key(|next| (next.due, next.sequence));
        let queue: Vec<(Duration, &Event)> = queue
            .iter()
            .map(|next| (until(next.due), &next.event))
            .collect();
        queue.hash(&mut state);
        state.finish()
    }
}

impl Machine {
    /// The same, its times counted from that one.
    fn relative_to(&self, now: Duration) -> Machine {
        let until = |time: Duration| time.saturating_sub(now);
        Machine {
            stands_until: until(self.stands_until),
            agent_stands_until: until(self.agent_stands_until),
            clock_stands_until: until(self.clock_stands_until),
            orders_fail_until: until(self.orders_fail_until),
            syncs_fail_until: until(self.syncs_fail_until),
            enforce_until: until(self.enforce_until),
            behind_since: self.behind_since.map(|since| now.saturating_sub(since)),
            deadman: self
                .deadman
                .map(|due| manada_core::timer::Moment(until(due.0))),
            wakes_at: self.wakes_at.map(until),
            looks_at: self.looks_at.map(until),
            ..self.clone()
        }
    }
}
