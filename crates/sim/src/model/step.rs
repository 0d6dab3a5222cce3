//! What can happen next.

use manada_core::input::{Input, LeaderServer};
use manada_core::message::Message;
use manada_core::timer::Timer;

use super::{HerdModel, NOW, State};
use crate::world::{Execution, HostId, Run, StoreFault, World};

/// One thing that happens.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// A timer fires.
    Fires(HostId, Timer),
    /// A promise becomes durable.
    Syncs(HostId),
    /// A swap of the record.
    Swaps(HostId, StoreFault),
    /// A sign of life reaches the store.
    Renews(HostId),
    /// A swap that was given up arrives.
    LateSwap,
    /// An order about the server ends well.
    Obeys(HostId),
    /// An order about the server fails.
    Fails(HostId),
    /// The store is read.
    Reads(HostId),
    /// The store is read, and says what was before.
    ReadsStale(HostId),
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
    /// A host dies, and comes back without its memory.
    HostDies(HostId),
    /// An agent dies, and comes back without its memory.
    AgentDies(HostId),
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
        if let Some(host) = promising(world) {
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
        for (from, to, message) in &world.mail {
            steps.push(Step::Arrives(*from, *to, (**message).clone()));
        }
        if !world.store.late.is_empty() {
            steps.push(Step::LateSwap);
        }
        if usize::from(state.spent.commands) < self.bounds.commands.len() {
            steps.push(Step::Command);
        }
    }

    fn steps_of_agent(&self, state: &State, host: HostId, steps: &mut Vec<Step>) {
        let (world, spent, bounds) = (&state.world, &state.spent, &self.bounds);
        let Some(agent) = world.agent(host) else {
            return;
        };
        if spent.timers < bounds.timers {
            let timers = agent.core.timers().keys();
            let counted = timers.filter(|timer| self.counts(timer, world));
            steps.extend(counted.map(|timer| Step::Fires(host, timer.clone())));
        }
        if !agent.store.is_empty() {
            steps.push(Step::Swaps(host, StoreFault::None));
            if spent.store_faults < bounds.store_faults {
                steps.push(Step::Swaps(host, StoreFault::AnswerLost));
                steps.push(Step::Swaps(host, StoreFault::RequestLate));
            }
        }
        if world.order_is_ready(host) {
            steps.push(Step::Obeys(host));
        }
        if !agent.server.is_empty() && spent.failures < bounds.failures {
            steps.push(Step::Fails(host));
        }
        if agent.core.record().map(|known| known.revision) != Some(world.store.record.revision) {
            steps.push(Step::Reads(host));
        }
        if world.store.stale.is_some() && spent.stale_reads < bounds.stale_reads {
            steps.push(Step::ReadsStale(host));
        }
        if !bounds.prompt_looks && world.has_news(host) {
            steps.push(Step::Looks(host));
        }
        if spent.agent_restarts < bounds.agent_restarts {
            steps.push(Step::AgentDies(host));
        }
        if spent.crashes < bounds.crashes {
            steps.push(Step::HostDies(host));
        }
    }

    fn steps_of_server(&self, state: &State, host: HostId, steps: &mut Vec<Step>) {
        let (world, spent, bounds) = (&state.world, &state.spent, &self.bounds);
        if world.can_receive(host) {
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
            if world.can_answer(host, *standby) {
                steps.push(Step::Answers(host, *standby));
            }
            if world.can_reload(host, *standby) {
                steps.push(Step::Reloads(host, *standby));
            }
        }
        if world.checkpointer_is_late(host) {
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
    fn counts(&self, timer: &Timer, world: &World) -> bool {
        let record = &world.store.record.value;
        match timer {
            Timer::LeaseLapsed | Timer::Campaign => record.epoch.0 < self.bounds.epochs,
            // A leader that has resigned starts in place when it fires.
            Timer::ElectionStalled => {
                record.epoch.0 < self.bounds.epochs || record.leader.is_some()
            }
            Timer::RecruitsIn
            | Timer::HandoverStalled
            | Timer::Retry
            | Timer::RetryStore
            | Timer::RetryPromise
            | Timer::RejoinAgain => true,
            Timer::Away(_) | Timer::Settled(_) => self.bounds.policy_changes,
            Timer::LeaseEnds => self.bounds.count == 0,
            Timer::Beat
            | Timer::AskAgain
            | Timer::QuorumSilent
            | Timer::ServerHung
            | Timer::Starved => false,
        }
    }

    /// One thing happens.
    pub(super) fn take(&self, state: &mut State, step: &Step) {
        let (world, spent) = (&mut state.world, &mut state.spent);
        match step {
            Step::Fires(host, timer) => {
                spent.timers += 1;
                world.feed(*host, Input::Timer(timer.clone()), NOW);
            }
            Step::Syncs(host) => world.sync_promise(*host, NOW),
            Step::Swaps(host, fault) => {
                spent.store_faults += u8::from(*fault != StoreFault::None);
                world.carry_to_store(*host, *fault, NOW);
            }
            Step::Renews(host) => world.renew(*host, StoreFault::None, NOW),
            Step::LateSwap => world.late_swap(),
            Step::Obeys(host) => world.carry_out(*host, Execution::Succeeds, NOW),
            Step::Fails(host) => {
                spent.failures += 1;
                world.carry_out(*host, Execution::Fails, NOW);
            }
            Step::Reads(host) => world.read_store(*host, NOW),
            Step::ReadsStale(host) => {
                spent.stale_reads += 1;
                world.read_store_stale(*host, NOW);
            }
            Step::Looks(host) => world.look(*host, NOW),
            Step::Arrives(from, to, message) => {
                let is_it = |(by, at, said): &(HostId, HostId, crate::shared::Shared<Message>)| {
                    by == from && at == to && **said == *message
                };
                world.mail.retain(|letter| !is_it(letter));
                world.deliver(*from, *to, message, NOW);
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
                spent.cancels += 1;
                world.cancel(*host);
            }
            Step::ServerDies(host) => {
                spent.crashes += 1;
                world.crash_server(*host);
            }
            Step::HostDies(host) => {
                spent.crashes += 1;
                world.crash_host(*host);
                world.start_agent(*host, NOW);
            }
            Step::AgentDies(host) => {
                spent.agent_restarts += 1;
                world.start_agent(*host, NOW);
            }
            Step::Command => {
                let (host, command) = self.bounds.commands[usize::from(spent.commands)].clone();
                spent.commands += 1;
                world.feed(host, Input::Command(command), NOW);
            }
        }
    }

    /// What happens by itself and at once: nothing else could come between and make a difference.
    pub(super) fn settle(&self, state: &mut State) {
        let world = &mut state.world;
        // What the store says and what members tell each other of the record is the same.
        world
            .mail
            .retain(|(_, _, message)| !matches!(**message, Message::Recorded { .. }));
        for host in self.herd.hosts() {
            if world.order_can_begin(host) {
                world.begin_order(host);
            }
            if world
                .agent(host)
                .is_some_and(|agent| !agent.renewals.is_empty())
            {
                world.renew(host, StoreFault::None, NOW);
            }
            if world.can_connect(host) {
                world.connect(host);
            }
            // An answer only ever keeps somebody from campaigning.
            if world
                .agent(host)
                .is_some_and(|agent| agent.probes.is_some())
            {
                world.probed(host, LeaderServer::Silent, NOW);
            }
        }
        if self.bounds.prompt_orders && promising(world).is_none() {
            for host in self.herd.hosts() {
                if world.order_is_ready(host) {
                    world.carry_out(host, Execution::Succeeds, NOW);
                }
            }
        }
        if self.bounds.prompt_looks && promising(world).is_none() {
            for host in self.herd.hosts() {
                if world.has_news(host) {
                    world.look(host, NOW);
                }
            }
        }
        world.check_policy();
    }
}

/// Whoever has a promise to make durable.
fn promising(world: &World) -> Option<HostId> {
    let promises = |host: &HostId| {
        world
            .agent(*host)
            .is_some_and(|agent| !agent.promise.is_empty())
    };
    world.herd.hosts().find(promises)
}
