//! Waits until somebody leads anew, and measures how long nobody took writes.

use std::time::{Duration, Instant};

use manada_agent::control::View;
use manada_core::position::Epoch;
use manada_core::record::Record;
use manada_core::server::Gate;
use manada_core::standing::Standing;
use manada_model::NodeName;

use super::agent::Agent;

/// The pause between two looks.
const LOOK: Duration = Duration::from_millis(20);

/// How long may have passed since clients were seen to get in, if the moment in which they did not
/// any more is to count as seen: an agent that stands still answers late.
const SEEN_WITHIN: Duration = Duration::from_millis(500);

/// How long a command waits for what it has brought about.
#[derive(Debug, clap::Args)]
pub(crate) struct Patience {
    /// How long to wait until a primary takes writes, in seconds.
    #[arg(
        long, value_name = "SECONDS", default_value_t = 30,
        value_parser = clap::value_parser!(u64).range(1..=3600)
    )]
    within: u64,
}

impl Patience {
    pub(crate) fn limit(&self) -> Duration {
        Duration::from_secs(self.within)
    }
}

/// Who leads now.
#[derive(Debug)]
pub(crate) struct NewLeader {
    /// Who.
    pub(crate) name: NodeName,
    /// In which epoch.
    pub(crate) epoch: Epoch,
    /// How long it took until clients get in.
    pub(crate) took: Duration,
    /// How long nobody took writes, where both ends of it were seen.
    pub(crate) pause: Option<Duration>,
}

/// Nobody leads anew within the time.
pub(crate) struct Stalled {
    /// What the agent saw last, and what others did.
    pub(crate) views: Vec<View>,
}

/// How things go on from the moment before a command is given.
pub(crate) struct Course<'a> {
    agent: &'a Agent,
    before: &'a Record,
    /// Whether the leader of that moment let clients in.
    was_open: bool,
    begun: Instant,
}

impl<'a> Course<'a> {
    /// Looks at the leader that the record has.
    pub(crate) async fn begin(agent: &'a Agent, before: &'a Record) -> Course<'a> {
        let was_open = lets_in_now(agent, before).await == Some(true);
        Course {
            agent,
            before,
            was_open,
            begun: Instant::now(),
        }
    }

    /// Waits until another leader, or the same one in a later epoch, lets clients in.
    pub(crate) async fn until_it_leads(&self, limit: Duration) -> Result<NewLeader, Stalled> {
        let mut open_at = self.was_open.then_some(self.begun);
        let mut closed_at = None;
        let mut last = None;
        while self.begun.elapsed() < limit {
            if let Some(seen) = open_at {
                let asked = Instant::now();
                match lets_in_now(self.agent, self.before).await {
                    Some(true) => open_at = Some(asked),
                    Some(false) => {
                        open_at = None;
                        closed_at = (seen.elapsed() < SEEN_WITHIN).then(Instant::now);
                    }
                    None => {}
                }
            }
            if let Ok(view) = self.agent.view().await {
                if let Some((name, epoch)) = reign(&view, self.before)
                    && has_begun(self.agent, &view, &name, epoch).await
                {
                    return Ok(NewLeader {
                        name,
                        epoch,
                        took: self.begun.elapsed(),
                        pause: closed_at.map(|closed_at| closed_at.elapsed()),
                    });
                }
                last = Some(view);
            }
            tokio::time::sleep(LOOK).await;
        }
        let views = match last {
            Some(view) => self.agent.views(view).await,
            None => Vec::new(),
        };
        Err(Stalled { views })
    }
}

/// Follows the course of things since `begun` until somebody lets clients in by the record that was
/// written, or one that came of it.
pub(crate) async fn until_it_goes_on(
    agent: &Agent,
    written: &Record,
    begun: Instant,
    limit: Duration,
) -> Result<NewLeader, Stalled> {
    let mut last = None;
    while begun.elapsed() < limit {
        if let Ok(view) = agent.view().await {
            let record = view.record.as_ref().map(|record| &record.value);
            let record = record.filter(|record| record.recoveries >= written.recoveries);
            let leader = record.and_then(|record| record.leader.clone());
            if let Some(name) = leader
                && has_begun(agent, &view, &name, written.epoch).await
            {
                return Ok(NewLeader {
                    epoch: record.map_or(written.epoch, |record| record.epoch),
                    name,
                    took: begun.elapsed(),
                    pause: None,
                });
            }
            last = Some(view);
        }
        tokio::time::sleep(LOOK).await;
    }
    let views = match last {
        Some(view) => agent.views(view).await,
        None => Vec::new(),
    };
    Err(Stalled { views })
}

/// Whether the leader that the record has lets clients in; `None` where it can't be asked.
async fn lets_in_now(agent: &Agent, record: &Record) -> Option<bool> {
    let leader = agent.view_of(record.leader.as_ref()?).await?;
    Some(lets_in(&leader, record.epoch))
}

/// Who leads in an epoch after that of the record, or in it, if nobody led: its election was under
/// way.
fn reign(view: &View, before: &Record) -> Option<(NodeName, Epoch)> {
    let record = &view.record.as_ref()?.value;
    let leader = record.leader.clone()?;
    let is_new =
        record.epoch > before.epoch || (record.epoch == before.epoch && before.leader.is_none());
    is_new.then_some((leader, record.epoch))
}

/// Whether that leader lets clients in: by its own word, or, where it can't be asked from here, by
/// the record, in which its policy stands alone from then on.
async fn has_begun(agent: &Agent, view: &View, name: &NodeName, epoch: Epoch) -> bool {
    match agent.view_of(name).await {
        Some(leader) => lets_in(&leader, epoch),
        None => view.record.as_ref().is_some_and(|record| {
            let policies = &record.value.policies;
            policies.len() == 1 && policies[0].leader == *name
        }),
    }
}

/// Whether clients get in there, in that epoch or a later one.
fn lets_in(view: &View, since: Epoch) -> bool {
    match &view.standing {
        Standing::Leading { epoch, gate, .. } => *epoch >= since && *gate == Gate::Open,
        Standing::NoRecord
        | Standing::Outsider
        | Standing::Recruited { .. }
        | Standing::Electing { .. }
        | Standing::Promoting { .. }
        | Standing::Reopening { .. }
        | Standing::HandingOver { .. }
        | Standing::Resigned { .. }
        | Standing::SteppingDown { .. }
        | Standing::Following { .. }
        | Standing::Rejoining { .. }
        | Standing::Stuck { .. } => false,
    }
}
