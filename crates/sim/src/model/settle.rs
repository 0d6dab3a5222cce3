//! What happens by itself and at once, and what is forgotten because no decision reads it any more.

use manada_core::input::{Input, LeaderServer};
use manada_core::message::Message;
use manada_core::record::MemberRole;
use manada_core::timer::Timer;

use super::{Bounds, HerdModel, Late, Spent, State};
use crate::world::{HostId, StoreFault, World};

/// How many things may follow from one step. No herd comes near it.
const FOLLOWING_MAX: usize = 1000;

impl HerdModel {
    /// Whoever has a promise to make durable.
    pub(super) fn promising(&self, world: &World) -> Option<HostId> {
        let promises = |host: &HostId| {
            let agent = world.agent(*host);
            agent.is_some_and(|agent| !agent.promise.is_empty())
        };
        self.herd.hosts().find(promises)
    }

    pub(super) fn orders_are_steps(&self, spent: &Spent, bounds: &Bounds) -> bool {
        bounds.is_late(Late::Orders) || spent.failures < bounds.failures
    }

    pub(super) fn reads_are_steps(&self, spent: &Spent, bounds: &Bounds) -> bool {
        bounds.is_late(Late::Reads) || spent.stale_reads < bounds.stale_reads
    }

    fn swaps_are_steps(&self, spent: &Spent, bounds: &Bounds) -> bool {
        bounds.is_late(Late::Swaps) || spent.store_faults < bounds.store_faults
    }

    /// All that follows from a step at once. A promise that can be lost in a crash is waited for.
    pub(super) fn settle(&self, state: &mut State) {
        for _ in 0..FOLLOWING_MAX {
            let State { world, spent } = state;
            self.forget(world, spent);
            if let Some(host) = self.promising(world) {
                if spent.crashes < self.bounds.crashes {
                    break;
                }
                world.sync_promise(host, self.now(world));
                continue;
            }
            let followed =
                |host| self.agent_goes_on(world, spent, host) || self.server_goes_on(world, host);
            if !self.herd.hosts().any(followed) && !self.post_goes_on(world) {
                break;
            }
        }
        state.world.check_policy();
    }

    /// One thing that an agent does at once, if there is one.
    fn agent_goes_on(&self, world: &mut World, spent: &mut Spent, host: HostId) -> bool {
        let bounds = &self.bounds;
        let Some(agent) = world.agent(host) else {
            return false;
        };
        if world.order_can_begin(host) {
            world.begin_order(host);
        } else if !agent.renewals.is_empty() {
            world.renew(host, StoreFault::None, self.now(world));
        } else if agent.probes.is_some() {
            self.probe(world, host);
        } else if world.lease_is_short_of_reign(host) {
            // The only sign of life that says something new.
            world.feed(host, Input::Timer(Timer::Beat), self.now(world));
        } else if !self.reads_are_steps(spent, bounds)
            && (world.record_is_news(host) || world.lease_is_news(host))
        {
            world.read_store(host, self.now(world));
        } else if !agent.store.is_empty() && !self.swaps_are_steps(spent, bounds) {
            world.carry_to_store(host, StoreFault::None, self.now(world));
        } else if !self.orders_are_steps(spent, bounds) && world.order_is_ready(host) {
            self.obey(world, spent, host);
        } else if !bounds.is_late(Late::Looks) && world.has_news(host) {
            world.look(host, self.now(world));
        } else {
            return false;
        }
        true
    }

    /// One thing that a server does at once, if there is one.
    fn server_goes_on(&self, world: &mut World, host: HostId) -> bool {
        let bounds = &self.bounds;
        if world.can_connect(host) {
            world.connect(host);
            return true;
        }
        if !bounds.is_late(Late::Flushes) && world.can_receive(host) {
            world.receive(host, usize::MAX);
            return true;
        }
        if !bounds.is_late(Late::Reloads) && world.checkpointer_is_late(host) {
            world.checkpointer_reloads(host);
            return true;
        }
        let standbys = self.herd.hosts();
        for standby in standbys {
            if !bounds.is_late(Late::Reloads) && world.can_reload(host, standby) {
                world.reload_walsender(host, standby);
                return true;
            }
            if !bounds.is_late(Late::Answers) && world.can_answer(host, standby) {
                world.answer(host, standby);
                return true;
            }
        }
        false
    }

    /// One letter arrives at once, if there is one.
    fn post_goes_on(&self, world: &mut World) -> bool {
        if self.bounds.is_late(Late::Mail) || world.mail.is_empty() {
            return false;
        }
        let (from, to, message) = world.mail.remove(0);
        world.deliver(from, to, &message, self.now(world));
        true
    }

    /// The leader's server is asked. An answer only ever keeps somebody from campaigning, so whoever
    /// suspects gets none; whoever wants to rejoin gets one where the reign has begun.
    pub(super) fn probe(&self, world: &mut World, host: HostId) {
        let Some(agent) = world.agent(host) else {
            return;
        };
        let Some(leader) = agent.probes else {
            return;
        };
        let suspects = !agent.core.timers().contains_key(&Timer::LeaseLapsed);
        let epoch = world.store.record.value.epoch;
        let server = world.server(leader);
        let leads = server.primary().is_some() && server.wal.rule().epoch == epoch;
        let answer = if leads && !suspects {
            LeaderServer::Answers
        } else {
            LeaderServer::Silent
        };
        world.probed(host, answer, self.now(world));
    }

    /// What nothing that can still happen depends on.
    fn forget(&self, world: &mut World, spent: &Spent) {
        if spent.stale_reads >= self.bounds.stale_reads && !world.store.former.is_empty() {
            world.store.make_mut().former.clear();
        }
        let mut mail = std::mem::take(&mut world.mail);
        mail.retain(|(_, to, message)| !self.is_void(world, *to, message));
        world.mail = mail;
    }

    /// Whether a letter changes nothing but what a reader believes that the store has left behind:
    /// the swaps that it would then order conflict, and tell it what the store would.
    fn is_void(&self, world: &World, to: HostId, message: &Message) -> bool {
        let Some(agent) = world.agent(to) else {
            // It comes after the one it was meant for.
            return true;
        };
        let store = &world.store.record.value;
        let known = agent.core.record().map(|record| &record.value);
        let over = |epoch| {
            known.is_some_and(|known| {
                known.epoch > epoch || (known.epoch == epoch && known.leader.is_some())
            })
        };
        match message {
            // What the store says and what members tell each other of the record is the same.
            Message::Recorded { .. } => true,
            Message::Resigned { epoch, .. } => store.epoch > *epoch,
            Message::Recruit { epoch } => over(*epoch),
            // A coordinator of a herd with witnesses may still have WAL fetched.
            Message::Recruited { epoch, .. } => {
                let decided =
                    store.epoch > *epoch || (store.epoch == *epoch && store.leader.is_some());
                let role = |role: &MemberRole| matches!(role, MemberRole::Server { priority: 1.. });
                decided && store.members.values().all(role)
            }
            Message::Refused { promised } => store.epoch >= *promised,
            Message::Fetch { epoch, .. } => over(*epoch),
        }
    }
}
