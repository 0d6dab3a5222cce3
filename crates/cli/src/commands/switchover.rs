//! `manada switchover`: another node becomes the primary, as planned.

use std::time::Duration;

use manada_agent::control::View;
use manada_agent::wording;
use manada_core::input::Command;
use manada_core::obstacle::{Obstacle, Unfit};
use manada_core::record::{MemberRole, Record};
use manada_core::server::{Follower, ServerFacts};
use manada_core::standing::Standing;
use manada_core::timer::Timings;
use manada_model::NodeName;
use manada_model::wording::{duration, size};
use serde_json::json;

use super::LocalNodeArgs;
use crate::error::{Failure, Outcome};
use crate::protected::{Agent, Course, NewLeader, Patience, Stalled, blocked, record};
use crate::text::paragraph;
use crate::ui::{Format, Ui, accent, paint};

/// Hand the primary over to a standby, without losing a commit.
///
/// The primary closes its gate, stops cleanly and sends everything; the standby that streams and is
/// closest, or the one that is named, takes over, and the former primary follows it. Sessions are
/// ended: a client that connects anew goes on. It returns once the new primary takes writes, and
/// says for how long nobody did. On any host of the herd.
///
/// It is refused (exit code 4) where no standby could take over at once, and where the store does
/// not answer (3).
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  manada switchover
  manada switchover --to beto
  manada switchover --dry-run            only say who would take over")]
pub(crate) struct SwitchoverArgs {
    /// Who shall take over [default: the closest of those with the highest priority].
    #[arg(long, value_name = "NODE")]
    to: Option<NodeName>,

    #[command(flatten)]
    which: LocalNodeArgs,

    /// Say who would take over, and stop there.
    #[arg(long)]
    dry_run: bool,

    #[command(flatten)]
    patience: Patience,
}

/// What is about to happen.
struct Plan {
    from: NodeName,
    to: Option<NodeName>,
    /// Who streams and may lead, and how many bytes of WAL it lacks; `None` where the primary's agent
    /// does not say.
    candidates: Option<Vec<(NodeName, u64)>>,
}

pub(crate) async fn run(args: &SwitchoverArgs, ui: Ui) -> Result<Outcome, Failure> {
    let (agent, view) = Agent::find(&args.which).await?;
    let before = record(&view)?.value.clone();
    let plan = plan(&agent, &before, args.to.clone()).await?;
    plan.check(&before)?;
    refuse_unpromotable(&agent, &plan).await?;
    if args.dry_run {
        plan.check_candidates(&before)?;
    }
    if ui.format() == Format::Text {
        ui.note(paragraph("", &announcement(&plan)).trim_end());
    }
    if args.dry_run {
        report(ui, &plan, None);
        return Ok(Outcome::Done);
    }
    let course = Course::begin(&agent, &before).await;
    let command = Command::Switchover {
        to: args.to.clone(),
    };
    agent.give(&command).await?;
    let limit = args.patience.limit();
    let led = course.until_it_leads(limit).await;
    let leader = led.map_err(|stalled| failure(&plan, &before, &stalled, limit))?;
    if leader.name == plan.from {
        return Err(Failure::failed(format!("{} leads again", plan.from))
            .because("it was stopped, and nobody took over, so it was started in place")
            .next("manada why"));
    }
    if let Some(to) = plan.to.as_ref().filter(|to| **to != leader.name) {
        return Err(Failure::failed(format!("{} leads, not {to}", leader.name))
            .because("another was chosen, be it that somebody else asked for it")
            .next("manada why")
            .next(format!("manada switchover --to {to}")));
    }
    report(ui, &plan, Some(&leader));
    Ok(Outcome::Done)
}

impl Plan {
    /// Refuses what can't be, before anything is said of it; whether the one that is named could
    /// take over at once is for the leader to judge.
    fn check(&self, before: &Record) -> Result<(), Failure> {
        let Some(to) = &self.to else {
            return Ok(());
        };
        let why = if !before.members.contains_key(to) {
            format!("{to} is no member of the herd")
        } else if *to == self.from {
            format!("{to} leads already")
        } else {
            return Ok(());
        };
        let others = before.members.keys().filter(|name| **name != self.from);
        let others: Vec<&str> = others.map(NodeName::as_str).collect();
        Err(Failure::refused("nothing was changed")
            .because(why)
            .next(format!("--to one of these: {}", others.join(", "))))
    }

    /// Refuses what the primary would refuse if it were told to hand over.
    fn check_candidates(&self, before: &Record) -> Result<(), Failure> {
        let Some(candidates) = &self.candidates else {
            return Err(Failure::unreachable("who could take over is not known")
                .because(format!("the agent on {} does not answer", self.from))
                .next("manada why"));
        };
        let unfit = match &self.to {
            None if candidates.is_empty() => Unfit::Nobody,
            Some(to) if candidates.iter().all(|(name, _)| name != to) => {
                match before.members.get(to) {
                    Some(MemberRole::Server { priority: 1.. }) => Unfit::NotStreaming,
                    Some(MemberRole::Server { priority: 0 } | MemberRole::Witness) => {
                        Unfit::NeverLeads
                    }
                    None => Unfit::Unknown,
                }
            }
            None | Some(_) => return Ok(()),
        };
        let obstacle = Obstacle::SuccessorUnfit {
            successor: self.to.clone(),
            unfit,
        };
        let refused =
            Failure::refused("a switchover would be refused").because(wording::obstacle(&obstacle));
        Err(match wording::remedy(&obstacle) {
            Some(remedy) => refused.next(remedy),
            None => refused,
        })
    }
}

async fn plan(agent: &Agent, before: &Record, to: Option<NodeName>) -> Result<Plan, Failure> {
    let Some(from) = before.leader.clone() else {
        return Err(Failure::refused("nothing was changed")
            .because("nobody leads at this moment")
            .next("manada why"));
    };
    // Its core has the last word; where it can't be asked, giving it the command says why.
    let view = agent.view_of(&from).await;
    let candidates = view.and_then(|view| candidates(&view, before));
    Ok(Plan {
        from,
        to,
        candidates,
    })
}

/// Refuses a successor that its agent would not promote: the primary would be stopped in vain.
async fn refuse_unpromotable(agent: &Agent, plan: &Plan) -> Result<(), Failure> {
    let names = plan.candidates.iter().flatten().map(|(name, _)| name);
    for name in names.filter(|name| plan.to.is_none() || plan.to.as_ref() == Some(*name)) {
        let Some(view) = agent.view_of(name).await else {
            continue;
        };
        let mut obstacles = view.obstacles.iter();
        let foreign = obstacles.find(|one| matches!(one, Obstacle::ForeignSetting { .. }));
        if let Some(foreign) = foreign {
            let failure = Failure::refused("nothing was changed")
                .because(format!("{name}: {}", wording::obstacle(foreign)));
            let remedy = wording::remedy(foreign);
            return Err(remedy.into_iter().fold(failure, Failure::next));
        }
    }
    Ok(())
}

fn candidates(leader: &View, record: &Record) -> Option<Vec<(NodeName, u64)>> {
    let Some(ServerFacts::Primary(primary)) = &leader.server else {
        return None;
    };
    let may_lead = |follower: &&Follower| {
        let role = record.members.get(&follower.name);
        follower.streaming && matches!(role, Some(MemberRole::Server { priority: 1.. }))
    };
    let followers = primary.followers.iter().filter(may_lead);
    let behind = followers.map(|follower| {
        let end = primary.position.flush_lsn;
        (follower.name.clone(), end.bytes_since(follower.flush_lsn))
    });
    Some(behind.collect())
}

fn announcement(plan: &Plan) -> String {
    let from = paint(accent::STRONG, &plan.from);
    let to = match &plan.to {
        Some(to) => paint(accent::STRONG, to),
        None => "the best of those that stream".to_owned(),
    };
    let candidates: Vec<String> = plan
        .candidates
        .iter()
        .flatten()
        .map(|(name, behind)| format!("{name} ({} behind)", size(*behind)))
        .collect();
    let streaming = if candidates.is_empty() {
        "nobody".to_owned()
    } else {
        candidates.join(", ")
    };
    format!("{from} hands over to {to}; streaming: {streaming}. Its sessions are ended.")
}

fn report(ui: Ui, plan: &Plan, leader: Option<&NewLeader>) {
    match ui.format() {
        Format::Json => ui.json(&json!({
            "format": "manada.switchover/1",
            "from": plan.from,
            "to": leader.map(|leader| &leader.name).or(plan.to.as_ref()),
            "done": leader.is_some(),
            "epoch": leader.map(|leader| leader.epoch),
            "took_ms": leader.map(|leader| millis(leader.took)),
            "without_writes_ms": leader.and_then(|leader| leader.pause).map(millis),
        })),
        Format::Text => ui.text(match leader {
            None => "Nothing was changed.".to_owned(),
            Some(leader) => outcome(leader),
        }),
    }
}

/// Who leads, and how long it took.
pub(super) fn outcome(leader: &NewLeader) -> String {
    let name = paint(accent::STRONG, &leader.name);
    let pause = leader.pause.map_or_else(String::new, |pause| {
        format!(" Nobody took writes for about {}.", duration(pause))
    });
    let took = duration(leader.took);
    let said = format!(
        "{name} takes writes after {took}, in epoch {}.{pause}",
        leader.epoch
    );
    paragraph("", &said)
}

pub(super) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn failure(plan: &Plan, before: &Record, stalled: &Stalled, limit: Duration) -> Failure {
    let unchanged = stalled.views.iter().any(|view| {
        let record = view.record.as_ref().map(|record| &record.value);
        record.is_some_and(|record| record.epoch == before.epoch)
    });
    let what = if unchanged {
        format!(
            "{} has not handed over within {}",
            plan.from,
            duration(limit)
        )
    } else {
        format!("nobody takes writes after {}", duration(limit))
    };
    let becomes = prospect(&stalled.views, limit);
    stall(what.replace('\u{A0}', " "), stalled, becomes)
}

/// The failure of a command that nobody came to lead after, and what becomes of the order now.
pub(super) fn stall(what: String, stalled: &Stalled, becomes: Option<&str>) -> Failure {
    let blocked = blocked(&stalled.views);
    let reasons = blocked
        .iter()
        .map(|one| format!("{}: {}", one.node, one.because));
    let reasons: Vec<String> = becomes
        .map(str::to_owned)
        .into_iter()
        .chain(reasons)
        .collect();
    let failure = Failure::failed(what);
    let failure = if reasons.is_empty() {
        failure
    } else {
        failure.because(reasons.join("\n"))
    };
    let remedies = blocked.into_iter().filter_map(|one| one.remedy);
    remedies.fold(failure, Failure::next).next("manada why")
}

/// What becomes of an order that nobody waits for any more. A node that has not begun with it drops
/// it by itself.
pub(super) fn prospect(views: &[View], limit: Duration) -> Option<&'static str> {
    let is_under_way = views.iter().any(|view| match view.standing {
        Standing::Recruited { .. }
        | Standing::Electing { .. }
        | Standing::Promoting { .. }
        | Standing::Reopening { .. }
        | Standing::HandingOver { .. }
        | Standing::Resigned { .. }
        | Standing::SteppingDown { .. } => true,
        Standing::NoRecord
        | Standing::Outsider
        | Standing::Leading { .. }
        | Standing::Following { .. }
        | Standing::Rejoining { .. }
        | Standing::Stuck { .. } => false,
    });
    if views.is_empty() {
        None
    } else if is_under_way {
        Some("it is under way, and goes on as it was asked for")
    } else if limit <= Timings::default().handover {
        Some("it may still come about: a node drops it after some seconds")
    } else {
        Some("it is not tried any further")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use manada_core::policy::Policy;
    use manada_core::position::Position;
    use manada_core::record::{Desired, WhenShort};
    use manada_model::SyncMethod;

    fn name(text: &str) -> NodeName {
        text.parse().expect("valid")
    }

    fn record() -> Record {
        let policy = Policy {
            method: SyncMethod::Any,
            count: 1,
            standbys: vec![name("beto"), name("carla")],
        };
        let desired = Desired {
            method: policy.method,
            count: policy.count,
            standbys: None,
            when_short: WhenShort::Block,
        };
        let members = [("ana", 100), ("beto", 100), ("carla", 100), ("dora", 0)];
        let members = members.map(|(text, priority)| (name(text), MemberRole::Server { priority }));
        let position = Position::default();
        Record::found(name("ana"), position, policy, desired, members.into())
    }

    fn is_refused(to: Option<&str>, candidates: Option<&[&str]>) -> bool {
        let plan = Plan {
            from: name("ana"),
            to: to.map(name),
            candidates: candidates.map(|names| names.iter().map(|text| (name(text), 0)).collect()),
        };
        plan.check_candidates(&record()).is_err()
    }

    #[test]
    fn a_dry_run_refuses_whom_the_primary_would_refuse() {
        assert!(!is_refused(None, Some(&["beto"])));
        assert!(!is_refused(Some("beto"), Some(&["beto"])));
        assert!(is_refused(Some("carla"), Some(&["beto"])));
        assert!(is_refused(Some("dora"), Some(&["beto"])));
        assert!(is_refused(None, Some(&[])));
        assert!(is_refused(None, None));
    }
}
