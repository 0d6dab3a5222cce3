//! What can happen next.

use manada_core::input::Input;
use manada_core::message::Message;
use manada_core::record::{MemberRole, Record, Revision};
use manada_core::timer::Timer;

use super::{HerdModel, Late, Spent, State};
use crate::shared::Shared;
use crate::world::{Execution, HostId, Run, StoreFault, World};

/// One thing that happens.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// A timer fires.
    Fires(HostId, Timer),
    /// A leader gives a sign of life.
    Beats(HostId),
    /// A promise becomes durable.
    Syncs(HostId),
    /// A swap of the record.
    Swaps(HostId, StoreFault),
    /// A swap that was given up arrives.
    LateSwap,
    /// An order about the server ends well.
    Obeys(HostId),
    /// An order about the server fails.
    Fails(HostId),
    /// The store is read.
    Reads(HostId),
    /// The store is read, and says what was there at that revision.
    ReadsStale(HostId, Revision),
    /// The agent looks at its server.
    Looks(HostId),
    /// A message arrives.
    Arrives(HostId, HostId, Message),
    /// A standby receives what there is.
    Receives(HostId),
    /// A standby's answer arrives at its leader.
    Answers(HostId, HostId),
    /// A walsender reads the settings.
    Reloads(HostId, HostId),
    /// The checkpointer does.
    Checkpointer(HostId),
    /// A client commits.
    Writes(HostId),
    /// A commit's wait is cancelled.
    Cancels(HostId),
    /// A postmaster dies.
    ServerDies(HostId),
    /// A host dies.
    HostDies(HostId),
    /// An agent dies; its server goes on.
    AgentDies(HostId),
    /// What died comes back without its memory.
    Returns(HostId),
    /// An operator says what he wants.
    Command,
}

impl HerdModel {
    /// What can happen in a state.
    pub(super) fn steps(&self, state: &State, steps: &mut Vec<Step>) {
        let world = &state.world;
        if world.ledger.violation.is_some() {
            return;
        }
        // A promise is this host's own affair: whatever else happens meanwhile might as well have
        // happened before it was ordered. So only the crash is of interest.
        if let Some(host) = self.promising(world) {
            steps.push(Step::Syncs(host));
            if state.spent.crashes < self.bounds.crashes {
                steps.push(Step::HostDies(host));
            }
            return;
        }
        for host in self.herd.hosts() {
            self.steps_of_agent(state, host, steps);
            self.steps_of_server(state, host, steps);
        }
        // Those that are not late are in the hands of their readers already.
        for (from, to, message) in &world.mail {
            steps.push(Step::Arrives(*from, *to, (**message).clone()));
        }
        if !world.store.late.is_empty() {
            steps.push(Step::LateSwap);
        }
        if let Some((host, command)) = self.bounds.commands.get(usize::from(state.spent.commands))
            && let Some(agent) = world.agent(*host)
            && agent.core.objection(command).is_none()
        {
            steps.push(Step::Command);
        }
    }

    fn steps_of_agent(&self, state: &State, host: HostId, steps: &mut Vec<Step>) {
        let (world, spent, bounds) = (&state.world, &state.spent, &self.bounds);
        let Some(agent) = world.agent(host) else {
            steps.push(Step::Returns(host));
            return;
        };
        if spent.timers < bounds.timers {
            let timers = agent.core.timers().keys();
            let counted = timers.filter(|timer| self.counts(host, timer, world));
            steps.extend(counted.map(|timer| Step::Fires(host, timer.clone())));
        }
        if spent.beats < bounds.beats && agent.core.timers().contains_key(&Timer::Beat) {
            steps.push(Step::Beats(host));
        }
        if !agent.store.is_empty() {
            steps.push(Step::Swaps(host, StoreFault::None));
            if spent.store_faults < bounds.store_faults {
                steps.push(Step::Swaps(host, StoreFault::AnswerLost));
                steps.push(Step::Swaps(host, StoreFault::RequestLate));
            }
        }
        if self.orders_are_steps(spent, bounds) && world.order_is_ready(host) {
            steps.push(Step::Obeys(host));
        }
        if !agent.server.is_empty() && spent.failures < bounds.failures {
            steps.push(Step::Fails(host));
        }
        if self.reads_are_steps(spent, bounds)
            && (world.record_is_news(host) || world.lease_is_news(host))
        {
            steps.push(Step::Reads(host));
        }
        if spent.stale_reads < bounds.stale_reads {
            let stale = world.stale_news(host);
            steps.extend(stale.map(|revision| Step::ReadsStale(host, revision)));
        }
        if bounds.is_late(Late::Looks) && world.has_news(host) {
            steps.push(Step::Looks(host));
        }
        if spent.agent_deaths < bounds.agent_deaths {
            steps.push(Step::AgentDies(host));
        }
        if spent.crashes < bounds.crashes {
            steps.push(Step::HostDies(host));
        }
    }

    fn steps_of_server(&self, state: &State, host: HostId, steps: &mut Vec<Step>) {
        let (world, spent, bounds) = (&state.world, &state.spent, &self.bounds);
        if bounds.is_late(Late::Flushes) && world.can_receive(host) {
            steps.push(Step::Receives(host));
        }
        let server = world.server(host);
        if server.run != Run::Stopped && spent.crashes < bounds.crashes {
            steps.push(Step::ServerDies(host));
        }
        let Some(primary) = server.primary() else {
            return;
        };
        for standby in primary.walsenders.keys() {
            if bounds.is_late(Late::Answers) && world.can_answer(host, *standby) {
                steps.push(Step::Answers(host, *standby));
            }
            if bounds.is_late(Late::Reloads) && world.can_reload(host, *standby) {
                steps.push(Step::Reloads(host, *standby));
            }
        }
        if bounds.is_late(Late::Reloads) && world.checkpointer_is_late(host) {
            steps.push(Step::Checkpointer(host));
        }
        if spent.writes < bounds.writes {
            steps.push(Step::Writes(host));
        }
        if !primary.waiting.is_empty() && spent.cancels < bounds.cancels {
            steps.push(Step::Cancels(host));
        }
    }

    /// Whether it makes a difference that a timer fires: signs of life are given at once, letters
    /// are not lost but late, and the store is never known to be gone. No epoch follows the last.
    fn counts(&self, host: HostId, timer: &Timer, world: &World) -> bool {
        let record = &world.store.record.value;
        let campaigns = self.herd.roles[usize::from(host.0)] != MemberRole::Witness;
        let next = campaigns && record.epoch.0 < self.bounds.epochs;
        match timer {
            // An election waits only for an asynchronous leader's lease.
            Timer::LeaseLapsed if record.leader.is_none() => campaigns && is_asynchronous(record),
            Timer::LeaseLapsed | Timer::Campaign => next,
            // A leader that has resigned starts in place when it fires.
            Timer::ElectionStalled => next || record.leader.is_some(),
            Timer::RecruitsIn
            | Timer::HandoverStalled
            | Timer::Retry
            | Timer::RetryStore
            | Timer::RetryPromise
            | Timer::RejoinAgain => true,
            Timer::Away(_) | Timer::Settled(_) => self.bounds.policy_changes,
            Timer::LeaseEnds => is_asynchronous(record),
            Timer::Beat
            | Timer::AskAgain
            | Timer::QuorumSilent
            | Timer::ServerHung
            | Timer::StartsLong
            | Timer::Starved => false,
        }
    }

    /// One thing happens.
    pub(super) fn take(&self, state: &mut State, step: &Step) {
        let State { world, spent } = state;
        let now = self.now(world);
        match step {
            Step::Fires(host, timer) => {
                spent.timers += 1;
                self.fire(world, *host, timer);
            }
            Step::Beats(host) => {
                spent.beats += 1;
                world.feed(*host, Input::Timer(Timer::Beat), now);
            }
            Step::Syncs(host) => world.sync_promise(*host, now),
            Step::Swaps(host, fault) => {
                spent.store_faults += u8::from(*fault != StoreFault::None);
                world.carry_to_store(*host, *fault, now);
            }
            Step::LateSwap => world.late_swap(),
            Step::Obeys(host) => self.obey(world, spent, *host),
            Step::Fails(host) => {
                spent.failures += 1;
                world.carry_out(*host, Execution::Fails, now);
            }
            Step::Reads(host) => world.read_store(*host, now),
            Step::ReadsStale(host, revision) => {
                spent.stale_reads += 1;
                world.read_store_stale(*host, *revision, now);
            }
            Step::Looks(host) => world.look(*host, now),
            Step::Arrives(from, to, message) => {
                let is_it = |(by, at, said): &(HostId, HostId, Shared<Message>)| {
                    by == from && at == to && **said == *message
                };
                world.mail.retain(|letter| !is_it(letter));
                world.deliver(*from, *to, message, now);
            }
            Step::Receives(host) => world.receive(*host, usize::MAX),
            Step::Answers(leader, standby) => world.answer(*leader, *standby),
            Step::Reloads(leader, standby) => world.reload_walsender(*leader, *standby),
            Step::Checkpointer(host) => world.checkpointer_reloads(*host),
            Step::Writes(host) => {
                spent.writes += 1;
                world.write(*host);
            }
            Step::Cancels(host) => {
                spent.cancels += u8::from(world.cancel(*host));
            }
            Step::ServerDies(host) => {
                spent.crashes += 1;
                world.crash_server(*host);
            }
            Step::HostDies(host) => {
                spent.crashes += 1;
                world.crash_host(*host);
            }
            Step::AgentDies(host) => {
                spent.agent_deaths += 1;
                world.end_agent(*host);
            }
            Step::Returns(host) => world.start_agent(*host, now),
            Step::Command => {
                let (host, command) = self.bounds.commands[usize::from(spent.commands)].clone();
                spent.commands += 1;
                world.feed(host, Input::Command(command), now);
            }
        }
    }

    /// A timer fires, and what follows from it alone. Who suspects its leader campaigns: until
    /// then nothing but its own memory has changed, so it might as well have begun to later.
    fn fire(&self, world: &mut World, host: HostId, timer: &Timer) {
        let now = self.now(world);
        if *timer == Timer::LeaseLapsed {
            self.end_leases(world, host);
        }
        world.feed(host, Input::Timer(timer.clone()), now);
        if *timer == Timer::LeaseLapsed {
            self.probe(world, host);
            let next = world.store.record.value.epoch.0 < self.bounds.epochs;
            let armed = |world: &World| {
                let agent = world.agent(host);
                agent.is_some_and(|agent| agent.core.timers().contains_key(&Timer::Campaign))
            };
            if next && armed(world) {
                world.feed(host, Input::Timer(Timer::Campaign), now);
            }
        }
    }

    /// A leader measures its lease from before a renewal is sent, and its deadman does not sleep:
    /// where one is armed that has to do with what this watcher knows, it was not in vain when the
    /// watcher's own time is over. A renewal of which it has not heard is another matter.
    fn end_leases(&self, world: &mut World, watcher: HostId) {
        let now = self.now(world);
        let timers = world.agent(watcher).map(|agent| agent.core.timers());
        let Some(over) = timers.and_then(|timers| timers.get(&Timer::LeaseLapsed).copied()) else {
            return;
        };
        for host in self.herd.hosts() {
            if world
                .host(host)
                .deadman
                .is_none_or(|deadline| deadline >= over)
            {
                continue;
            }
            world.feed(host, Input::Timer(Timer::LeaseEnds), now);
            if world.host_mut(host).deadman.take().is_some() {
                world.crash_server(host);
            }
        }
    }

    /// An order about the server is carried out.
    pub(super) fn obey(&self, world: &mut World, spent: &mut Spent, host: HostId) {
        spent.fetched |= world.fetches(host);
        world.carry_out(host, Execution::Succeeds, self.now(world));
    }
}

/// Whether a published policy waits for nobody.
fn is_asynchronous(record: &Record) -> bool {
    let mut policies = record.policies.iter();
    policies.any(|published| !published.policy.is_synchronous())
}
