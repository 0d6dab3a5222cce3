//! `manada sync` in a herd that agents protect: the leader's agent changes the policy.

use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use manada_agent::control::View;
use manada_agent::wording;
use manada_core::input::Command;
use manada_core::policy::{Policy, Published};
use manada_core::record::{Desired, Record, WhenShort};
use manada_core::server::ServerFacts;
use manada_herd::Node;
use manada_herd::policy::PolicyRequest;
use manada_model::wording::duration;
use manada_model::{NodeName, StandbyName, SyncMethod};
use serde_json::json;

use super::SyncArgs;
use crate::error::{Failure, Outcome};
use crate::protected::{Agent, blocked, record};
use crate::text::paragraph;
use crate::ui::{Format, Ui, accent, paint};

/// The pause between two looks.
const LOOK: Duration = Duration::from_millis(20);

/// How long standbys that don't stream are waited for before they are said to be too few: one whose
/// settings have just changed connects anew.
const BACK_WITHIN: Duration = Duration::from_secs(2);

/// What is about to change.
struct Plan {
    leader: NodeName,
    from: Policy,
    desired: Desired,
    /// Who of those that are meant streams now.
    streaming: Vec<NodeName>,
}

pub(super) async fn run(
    args: &SyncArgs,
    request: &PolicyRequest,
    node: &Node,
    ui: Ui,
) -> Result<Outcome, Failure> {
    let (agent, view) = Agent::of(node.clone()).await?;
    let before = record(&view)?.value.clone();
    let desired = desired(request, args.when_short.map(WhenShort::from), &before)?;
    let plan = plan_once_they_stream(&agent, &before, desired).await?;
    if ui.format() == Format::Text {
        ui.text(paragraph("", &announcement(&plan)));
    }
    if plan.hangs_at_once() && !args.force {
        return Err(would_hang(&plan));
    }
    if args.dry_run {
        report(ui, &plan, None);
        return Ok(Outcome::Done);
    }
    let begun = Instant::now();
    let command = Command::SetPolicy(plan.desired.clone());
    let is_recorded = |record: &Record| record.desired == plan.desired;
    agent.insist(&command, is_recorded).await?;
    let limit = Duration::from_secs_f64(args.within);
    let policy = until_it_is_published(&agent, &plan, begun, limit).await?;
    let short = policy.count < plan.desired.count;
    report(ui, &plan, Some((&policy, begun.elapsed())));
    Ok(if short {
        Outcome::FoundWrong
    } else {
        Outcome::Done
    })
}

fn desired(
    request: &PolicyRequest,
    when_short: Option<WhenShort>,
    before: &Record,
) -> Result<Desired, Failure> {
    let when_short = when_short.unwrap_or(before.desired.when_short);
    let (method, count, names) = match request {
        PolicyRequest::Off => (SyncMethod::Any, 0, &[][..]),
        PolicyRequest::Wait {
            method,
            count,
            names,
        } => (*method, NonZeroU32::get(*count), names.as_slice()),
    };
    let standbys = names
        .iter()
        .map(|name| member(name, before))
        .collect::<Result<Vec<_>, _>>()?;
    let is_leader = |name: &NodeName| before.leader.as_ref() == Some(name);
    let available = if standbys.is_empty() {
        before.members.len().saturating_sub(1)
    } else {
        standbys.iter().filter(|name| !is_leader(name)).count()
    };
    if usize::try_from(count).is_ok_and(|count| count > available) {
        return Err(too_few(
            count,
            available,
            standbys.iter().find(|name| is_leader(name)),
        ));
    }
    Ok(Desired {
        method,
        count,
        standbys: (!standbys.is_empty()).then_some(standbys),
        when_short,
    })
}

fn too_few(count: u32, available: usize, leader: Option<&NodeName>) -> Failure {
    let standbys = match count {
        1 => "1 standby".to_owned(),
        _ => format!("{count} standbys"),
    };
    let failure = Failure::refused(format!("{standbys} can't be waited for"));
    match leader {
        Some(leader) => failure
            .because(format!(
                "{leader} leads, and is no standby of its own; others that are named: {available}"
            ))
            .next("name other members: manada status"),
        None => failure
            .because(format!("{available} are meant"))
            .next("manada join on another host, or a smaller number"),
    }
}

fn member(name: &StandbyName, before: &Record) -> Result<NodeName, Failure> {
    let member: Option<NodeName> = name.as_str().parse().ok();
    member
        .filter(|name| before.members.contains_key(name))
        .ok_or_else(|| {
            Failure::usage(format!("{:?} is no member of the herd", name.as_str()))
                .next("manada status")
        })
}

async fn plan_once_they_stream(
    agent: &Agent,
    before: &Record,
    desired: Desired,
) -> Result<Plan, Failure> {
    let begun = Instant::now();
    loop {
        let plan = plan(agent, before, desired.clone()).await?;
        if !plan.short() || begun.elapsed() >= BACK_WITHIN {
            return Ok(plan);
        }
        tokio::time::sleep(LOOK).await;
    }
}

async fn plan(agent: &Agent, before: &Record, desired: Desired) -> Result<Plan, Failure> {
    let leader = before.leader.clone().ok_or_else(|| {
        Failure::refused("nothing was changed")
            .because("nobody leads at this moment")
            .next("manada why")
    })?;
    let view = agent.view_of(&leader).await.ok_or_else(|| {
        Failure::unreachable("nothing was changed")
            .because(format!(
                "the agent of {leader}, who leads, can't be asked from here"
            ))
            .next(format!("run it on {leader}'s host"))
    })?;
    let published = before.policies.iter().find(|one| one.leader == leader);
    let from = published.map_or_else(Policy::asynchronous, |one| one.policy.clone());
    let streaming = streaming(&view, &desired);
    Ok(Plan {
        leader,
        from,
        desired,
        streaming,
    })
}

fn streaming(leader: &View, desired: &Desired) -> Vec<NodeName> {
    let Some(ServerFacts::Primary(primary)) = &leader.server else {
        return Vec::new();
    };
    let meant = |name: &NodeName| {
        let standbys = desired.standbys.as_ref();
        standbys.is_none_or(|standbys| standbys.contains(name))
    };
    let followers = primary.followers.iter();
    followers
        .filter(|follower| follower.streaming && meant(&follower.name))
        .map(|follower| follower.name.clone())
        .collect()
}

impl Plan {
    fn short(&self) -> bool {
        usize::try_from(self.desired.count).is_ok_and(|count| count > self.streaming.len())
    }

    fn hangs_at_once(&self) -> bool {
        self.short() && self.desired.when_short == WhenShort::Block
    }
}

fn wanted(desired: &Desired) -> String {
    if desired.count == 0 {
        return "commits wait for no standby".to_owned();
    }
    let who = match &desired.standbys {
        Some(standbys) => standbys
            .iter()
            .map(NodeName::as_str)
            .collect::<Vec<_>>()
            .join(", "),
        None => "the members that stream".to_owned(),
    };
    let method = match desired.method {
        SyncMethod::First => "the first",
        SyncMethod::Any => "any",
    };
    format!("commits wait for {method} {} of {who}", desired.count)
}

fn announcement(plan: &Plan) -> String {
    let now = wording::policy(&plan.from);
    let wanted = wanted(&plan.desired);
    let then = match (plan.desired.count, plan.desired.when_short) {
        (0, _) => {
            "A failover may then lose commits that were acknowledged; how many bytes is said \
             before."
        }
        (_, WhenShort::Block) => {
            "When too few stream, writes wait until enough are back: none is ever acknowledged on \
             fewer."
        }
        (_, WhenShort::Degrade) => {
            "When too few stream, commits wait for fewer, in the end for none, and status says so."
        }
    };
    format!("Under {} {now}. Wanted: {wanted}. {then}", plan.leader)
}

fn would_hang(plan: &Plan) -> Failure {
    Failure::refused("writes would hang at once")
        .because(format!(
            "{} of the {} standbys that commits shall wait for stream",
            plan.streaming.len(),
            plan.desired.count
        ))
        .next("start the others first")
        .next("or let commits wait for fewer then: --when-short degrade")
        .next("or do it all the same: --force")
}

/// Waits until the record has what is wanted, and one policy alone.
async fn until_it_is_published(
    agent: &Agent,
    plan: &Plan,
    begun: Instant,
    limit: Duration,
) -> Result<Policy, Failure> {
    let mut last = None;
    while begun.elapsed() < limit {
        if let Ok(view) = agent.view().await {
            if let Some(policy) = published(&view, plan) {
                return Ok(policy);
            }
            last = Some(view);
        }
        tokio::time::sleep(LOOK).await;
    }
    let views = match last {
        Some(view) => agent.views(view).await,
        None => Vec::new(),
    };
    let reasons: Vec<String> = (blocked(&views).into_iter())
        .map(|one| format!("{}: {}", one.node, one.because))
        .collect();
    Err(Failure::failed(format!(
        "the policy is wanted, and not in force after {}",
        duration(limit).replace('\u{A0}', " ")
    ))
    .because(reasons.join("\n"))
    .next("manada why; it comes into force as soon as it can")
    .next("or want another: manada sync"))
}

/// The one policy that is published, once it is what can be had of what is wanted.
fn published(view: &View, plan: &Plan) -> Option<Policy> {
    let record = &view.record.as_ref()?.value;
    let [Published { policy, .. }] = record.policies.as_slice() else {
        return None;
    };
    let of_these = plan.desired.standbys.as_ref().is_none_or(|standbys| {
        let mut names = policy.standbys.iter();
        names.all(|name| standbys.contains(name))
    });
    let short = plan.desired.when_short == WhenShort::Degrade && plan.short();
    let enough = policy.count == plan.desired.count || short && policy.count < plan.desired.count;
    let is_it = record.desired == plan.desired && of_these && enough;
    is_it.then(|| policy.clone())
}

fn report(ui: Ui, plan: &Plan, published: Option<(&Policy, Duration)>) {
    match ui.format() {
        Format::Json => ui.json(&json!({
            "format": "manada.policy/1",
            "leader": plan.leader,
            "from": plan.from,
            "desired": plan.desired,
            "streaming": plan.streaming,
            "policy": published.map(|(policy, _)| policy),
            "short": published.map(|(policy, _)| policy.count < plan.desired.count),
            "took_ms": published
                .map(|(_, took)| u64::try_from(took.as_millis()).unwrap_or(u64::MAX)),
        })),
        Format::Text => ui.text(match published {
            None => "Nothing was changed.".to_owned(),
            Some((policy, took)) => paragraph("", &in_force(plan, policy, took)),
        }),
    }
}

fn in_force(plan: &Plan, policy: &Policy, took: Duration) -> String {
    let short = if policy.count < plan.desired.count {
        " That is fewer than wanted: too few stream. It is raised again when there are enough."
    } else {
        ""
    };
    format!(
        "{} after {}: {}.{short}",
        paint(accent::GOOD, "In force"),
        duration(took),
        wording::policy(policy)
    )
}
