//! `manada sync`: what commits wait for.

mod protected;

use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use clap::Args;
use manada_core::record::WhenShort;
use manada_herd::policy::{
    Enforcement, NotInForce, Place, PlanError, PolicyPlan, PolicyRequest, apply, plan,
};
use manada_model::wording::{duration, shown};
use manada_model::{PolicyState, StandbyName, SyncMethod, SyncPolicy, SynchronousCommit, Visible};
use manada_postgres::Session;
use serde::Serialize;

use crate::error::{Failure, Outcome};
use crate::herd_args::{HerdArgs, nobody_answered};
use crate::sentences;
use crate::text::paragraph;
use crate::ui::{Format, Ui, accent, paint};

/// Change what a commit waits for, without a restart.
///
/// Says first what it will mean, and returns once the new policy is in force: a commit was seen
/// waiting for its standbys, and was on their disks when it returned. Without names, all standbys
/// that stream now and all members that follow the primary are meant, each by its name.
///
/// In a herd that agents protect, the leader's agent makes the change, so that no failover can miss
/// a commit in between.
///
/// It refuses (exit code 4) a policy under which writes would hang at once. It needs a superuser on
/// the primary. On a node of Manada it writes manada.conf, on any other server it uses ALTER SYSTEM.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  manada sync first 1                    all standbys, in order; one must have each commit
  manada sync any 2 beto carla dora      any two of these
  manada sync off                        wait for nobody: replication is asynchronous
  manada sync any 1 --when-short degrade     go on with fewer when too few stream
  manada sync any 1 --dry-run            only say what it would mean")]
pub(crate) struct SyncArgs {
    /// What commits wait for: nobody, the first N of the names that stream, or any N of them.
    policy: Policy,

    /// How many standbys must have a commit before it returns.
    #[arg(value_name = "N", required_if_eq_any([("policy", "first"), ("policy", "any")]))]
    count: Option<NonZeroU32>,

    /// The standbys' names (application_name), in order of priority [default: all].
    #[arg(value_name = "NAME", value_parser = standby_name)]
    names: Vec<StandbyName>,

    #[command(flatten)]
    herd: HerdArgs,

    /// In a herd that agents protect: what happens when too few standbys stream [default: as it is].
    #[arg(long, value_enum)]
    when_short: Option<Short>,

    /// Say what would be done and what it would mean, and stop there.
    #[arg(long)]
    dry_run: bool,

    /// Set the policy even if writes hang at once, because too few of its standbys stream; with
    /// --uri, also where agents have protected the herd.
    #[arg(long)]
    force: bool,

    /// How long to wait until it is in force, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 10.0, value_parser = seconds)]
    within: f64,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Policy {
    /// Commits wait for nobody.
    Off,
    /// Commits wait for the first N of the names that stream.
    First,
    /// Commits wait for whichever N of the names answer first.
    Any,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Short {
    /// Writes wait until enough are back.
    Block,
    /// Commits wait for fewer, in the end for none, and status says so.
    Degrade,
}

impl From<Short> for WhenShort {
    fn from(short: Short) -> WhenShort {
        match short {
            Short::Block => WhenShort::Block,
            Short::Degrade => WhenShort::Degrade,
        }
    }
}

fn seconds(text: &str) -> Result<f64, String> {
    const SECONDS_MAX: f64 = 3600.0;
    text.parse()
        .ok()
        .filter(|seconds| (0.1..=SECONDS_MAX).contains(seconds))
        .ok_or_else(|| format!("a number of seconds from 0.1 to {SECONDS_MAX} is needed"))
}

fn standby_name(text: &str) -> Result<StandbyName, String> {
    if text.is_empty() || text.chars().any(char::is_control) {
        return Err("a standby's name is not empty and has no control characters".to_owned());
    }
    let name = StandbyName::new(text);
    if name.is_wildcard() {
        return Err(
            "* would let any receiver acknowledge commits, also one that is no standby: name them, \
             or leave the names out for all there are"
                .to_owned(),
        );
    }
    Ok(name)
}

impl SyncArgs {
    fn request(&self) -> Result<PolicyRequest, Failure> {
        let method = match (self.policy, self.count) {
            (Policy::Off, None) => return Ok(PolicyRequest::Off),
            (Policy::Off, Some(_)) => {
                return Err(Failure::usage("`off` takes no number and no names"));
            }
            (Policy::First, _) => SyncMethod::First,
            (Policy::Any, _) => SyncMethod::Any,
        };
        if let Some(name) = twice(&self.names) {
            return Err(
                Failure::usage(format!("{} is named twice", shown(name.as_str())))
                    .because("a standby counts once, however often it is named"),
            );
        }
        let count = self
            .count
            .ok_or_else(|| Failure::usage("how many standbys shall have a commit is missing"))?;
        Ok(PolicyRequest::Wait {
            method,
            count,
            names: self.names.clone(),
        })
    }
}

/// A name that stands there more than once.
fn twice(names: &[StandbyName]) -> Option<&StandbyName> {
    let mut rest = names.iter();
    std::iter::from_fn(|| rest.next().map(|name| (name, rest.clone())))
        .find(|(name, after)| after.clone().any(|other| name.matches(other.as_str())))
        .map(|(name, _)| name)
}

pub(crate) async fn run(args: &SyncArgs, ui: Ui) -> Result<Outcome, Failure> {
    let request = args.request()?;
    let target = args.herd.target()?;
    if let Some(node) = target
        .node
        .as_ref()
        .filter(|node| node.file.protect.is_some())
    {
        return protected::run(args, &request, node, ui).await;
    }
    if args.when_short.is_some() {
        return Err(
            Failure::usage("--when-short is for a herd that agents protect")
                .next("manada run --help"),
        );
    }
    let herd = target.survey.explore().await;
    if !herd.status.any_answered() {
        return Err(nobody_answered(&herd.status));
    }
    let primary = herd.status.primary();
    let way = primary.and_then(|node| herd.way_to(node));
    let way = way.ok_or_else(|| no_primary(&herd.status))?;
    let session = way
        .open()
        .await
        .map_err(|error| Failure::unreachable("the primary can't be reached").because(error))?;
    if !args.force && is_protected(&session).await {
        return Err(the_agents(&request_text(args)));
    }
    let plan = plan(&herd, &session, &request).await.map_err(no_plan)?;
    if ui.format() == Format::Text {
        ui.text(announcement(&plan));
    }
    if plan.hangs_at_once() && !args.force {
        return Err(would_hang(&plan));
    }
    if args.dry_run {
        report(ui, &plan, None);
        return Ok(Outcome::Done);
    }
    let begun = Instant::now();
    let limit = Duration::from_secs_f64(args.within);
    let applied = apply(&plan, &session, way, limit).await;
    let applied = applied.map_err(|error| {
        Failure::failed("the policy was not changed, or it is open whether it was")
            .because(error)
            .next("manada status")
    })?;
    let took = begun.elapsed();
    match applied {
        Ok(enforcement) => {
            report(ui, &plan, Some((&enforcement, took)));
            Ok(outcome(&plan, &enforcement))
        }
        Err(not_in_force) => Err(not_shown(&plan, &not_in_force, took)),
    }
}

/// Whether an agent has set how this server replicates: by the number of its last change. A server
/// that does not say is asked again by whatever comes next.
async fn is_protected(session: &Session) -> bool {
    let sql = "SELECT coalesce(current_setting('manada.change', true), '') <> ''";
    let row = session.query_one(sql, &[]).await;
    row.is_ok_and(|row| row.get(0))
}

/// What was asked for, as it is typed.
fn request_text(args: &SyncArgs) -> String {
    let names = args.names.iter().map(|name| shown(name.as_str()));
    let policy = match args.policy {
        Policy::Off => "off",
        Policy::First => "first",
        Policy::Any => "any",
    };
    let words = [policy.to_owned()]
        .into_iter()
        .chain(args.count.map(|count| count.to_string()))
        .chain(names);
    words.collect::<Vec<_>>().join(" ")
}

/// A policy set behind the agents' back could have a failover miss a commit.
fn the_agents(request: &str) -> Failure {
    Failure::refused("agents protect this herd: what commits wait for is theirs to change")
        .because("set behind their back, it could have a failover miss a commit")
        .next(format!(
            "on a host whose agent runs, without --uri: manada sync {request}"
        ))
        .next("where no agent runs any more, and none will: --force")
}

/// A policy that was to work and under which nobody acknowledges is a finding.
fn outcome(plan: &PolicyPlan, enforcement: &Enforcement) -> Outcome {
    match enforcement {
        Enforcement::Waiting { .. } if !plan.hangs_at_once() => Outcome::FoundWrong,
        Enforcement::Waiting { .. }
        | Enforcement::Asynchronous
        | Enforcement::Acknowledged { .. } => Outcome::Done,
    }
}

fn no_primary(status: &manada_model::HerdStatus) -> Failure {
    let primaries = status.nodes.iter().filter(|node| node.primary().is_some());
    no_plan(PlanError::NotOnePrimary {
        primaries: primaries.count(),
    })
}

fn no_plan(error: PlanError) -> Failure {
    match &error {
        PlanError::NotOnePrimary { primaries: 0 } => {
            Failure::unreachable("no primary answered").next("manada status")
        }
        PlanError::NotOnePrimary { .. } => Failure::refused(error).next("manada status"),
        PlanError::NotSuperuser { .. } => Failure::failed(error)
            .next("run it on the primary's host, or give --uri with a superuser's name"),
        PlanError::NoStandby { .. } => Failure::refused(error)
            .because("with nobody to wait for, every write would hang")
            .next("manada join on another host, or name the standbys to come with --force"),
        PlanError::Overridden { .. } => Failure::refused(error).next(
            "ALTER SYSTEM RESET synchronous_standby_names; then again (or remove the argument)",
        ),
        PlanError::Elsewhere { path, .. } => {
            let next = format!("run it on the host that has {}", path.display());
            Failure::refused(error).next(next)
        }
        PlanError::Query { .. } => Failure::failed(error),
    }
}

fn would_hang(plan: &PolicyPlan) -> Failure {
    let missing: Vec<String> = plan.missing.iter().map(|name| shown(name)).collect();
    let why = if missing.is_empty() {
        String::new()
    } else {
        format!(" (not streaming: {})", missing.join(", "))
    };
    Failure::refused("every write would hang at once")
        .because(format!(
            "commits would wait for {} and {} of these {}{why}",
            count_of(plan.needed()),
            plan.streaming.len(),
            if plan.streaming.len() == 1 {
                "streams"
            } else {
                "stream"
            },
        ))
        .next("start them, name others, or ask for fewer")
        .next("or set it all the same with --force")
}

fn count_of(standbys: usize) -> String {
    match standbys {
        1 => "1 standby".to_owned(),
        _ => format!("{standbys} standbys"),
    }
}

/// What it will mean, before anything is done.
fn announcement(plan: &PolicyPlan) -> String {
    let mut text = String::new();
    if plan.names_chosen {
        let names = plan.wanted.rule().map_or_else(Vec::new, |rule| {
            rule.names.iter().map(|name| shown(name.as_str())).collect()
        });
        text += &paragraph(
            "",
            &format!(
                "Names: all standbys of {}: {}.",
                shown(&plan.primary),
                names.join(", ")
            ),
        );
    }
    text += &paragraph("", &paint(accent::STRONG, consequence(plan)));
    for warning in warnings(plan) {
        text += &paragraph(&paint(accent::WARN, "! "), &warning);
    }
    text
}

/// What commits wait for then, and what happens when a standby dies.
fn consequence(plan: &PolicyPlan) -> String {
    let state = PolicyState {
        standby_names: plan.wanted.to_string(),
        policy: Some(plan.wanted.clone()),
        synchronous_commit: SynchronousCommit::On,
        streaming: Visible::Hidden,
        missing: Visible::Hidden,
    };
    let waits = sentences::policy(&state);
    let primary = shown(&plan.primary);
    let back = "manada sync off";
    match plan.spare() {
        None => format!("{waits} If {primary} dies, what no standby had received by then is lost."),
        Some(_) if plan.hangs_at_once() => format!(
            "{waits} Too few stream now: every write hangs until they are back, or until you type \
             {back}."
        ),
        Some(0) => {
            let who = match &plan.streaming[..] {
                [only] => shown(only),
                _ => "one of them".to_owned(),
            };
            format!(
                "{waits} If {who} stops, every write hangs until it is back, or until you type \
                 {back}: no write is ever acknowledged on {primary} alone."
            )
        }
        Some(spare) => format!(
            "{waits} {spare} of the {} that stream may stop without notice; if more do, every \
             write hangs until they are back, or until you type {back}.",
            plan.streaming.len()
        ),
    }
}

fn warnings(plan: &PolicyPlan) -> Vec<String> {
    let mut warnings = Vec::new();
    if let Some(level) = plan.bypassed_by {
        warnings.push(format!(
            "synchronous_commit = {} passes the policy by: commits at that level wait for no \
             standby. Set it to on.",
            sentences::level_name(level)
        ));
    }
    for found in &plan.bypassing {
        let of = match (&found.role, &found.database) {
            (Some(role), Some(database)) => {
                format!("role {} in database {}", shown(role), shown(database))
            }
            (Some(role), None) => format!("role {}", shown(role)),
            (None, Some(database)) => format!("database {}", shown(database)),
            (None, None) => "everybody".to_owned(),
        };
        warnings.push(format!(
            "synchronous_commit = {} is the default of {of}: its commits pass the policy by.",
            sentences::level_name(found.value)
        ));
    }
    warnings
}

#[derive(Serialize)]
struct Report<'a> {
    format: &'static str,
    primary: &'a str,
    from: &'a str,
    to: String,
    names_chosen: bool,
    place: String,
    streaming: &'a [String],
    missing: &'a [String],
    spare: Option<usize>,
    consequence: String,
    warnings: Vec<String>,
    in_force: Option<InForce>,
}

#[derive(Serialize)]
struct InForce {
    proof: &'static str,
    took_ms: u64,
    flushed: Option<usize>,
    seen_waiting: bool,
}

fn report(ui: Ui, plan: &PolicyPlan, enforced: Option<(&Enforcement, Duration)>) {
    match ui.format() {
        Format::Json => ui.json(&Report {
            format: "manada.sync/1",
            primary: &plan.primary,
            from: &plan.current,
            to: plan.wanted.to_string(),
            names_chosen: plan.names_chosen,
            place: place(plan),
            streaming: &plan.streaming,
            missing: &plan.missing,
            spare: plan.spare(),
            consequence: consequence(plan).replace('\u{A0}', " "),
            warnings: warnings(plan),
            in_force: enforced.map(|(enforcement, took)| in_force(enforcement, took)),
        }),
        Format::Text => ui.text(match enforced {
            None => paragraph(
                "",
                &format!("Nothing is changed. It would be written {}.", place(plan)),
            ),
            Some((enforcement, took)) => paragraph("", &in_force_sentence(plan, enforcement, took)),
        }),
    }
}

fn place(plan: &PolicyPlan) -> String {
    match &plan.place {
        Place::ManagedFile(path) => format!("into {}", path.display()),
        Place::AlterSystem => "with ALTER SYSTEM".to_owned(),
    }
}

fn in_force(enforcement: &Enforcement, took: Duration) -> InForce {
    let (proof, flushed, seen_waiting) = match enforcement {
        Enforcement::Asynchronous => ("returned", None, false),
        Enforcement::Acknowledged {
            flushed,
            seen_waiting,
        } => ("acknowledged", Some(*flushed), *seen_waiting),
        Enforcement::Waiting { .. } => ("waiting", Some(0), true),
    };
    InForce {
        proof,
        took_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        flushed,
        seen_waiting,
    }
}

fn in_force_sentence(plan: &PolicyPlan, enforcement: &Enforcement, took: Duration) -> String {
    let in_force = paint(accent::GOOD, "In force");
    let took = duration(took);
    match enforcement {
        Enforcement::Asynchronous => {
            format!("{in_force} after {took}: a commit returned without waiting for a standby.")
        }
        Enforcement::Acknowledged {
            flushed,
            seen_waiting,
        } => {
            let how = if *seen_waiting {
                "a commit was seen waiting, and when it returned"
            } else {
                "when a commit returned,"
            };
            format!(
                "{in_force} after {took}: {how} {} had flushed it.",
                count_of(*flushed)
            )
        }
        Enforcement::Waiting { waited } => {
            let waited = duration(*waited);
            let why = if plan.hangs_at_once() {
                "as announced"
            } else {
                "though enough standbys stream: they don't answer"
            };
            format!(
                "{in_force}: a commit waited {waited} and nobody acknowledged it, {why}. Writes \
                 hang now. Back: {}",
                paint(accent::TYPE, "manada sync off")
            )
        }
    }
}

fn not_shown(plan: &PolicyPlan, reason: &NotInForce, took: Duration) -> Failure {
    let why = match reason {
        NotInForce::NotRead { shown: value } => format!(
            "it is written {}, and new sessions still have {:?}",
            place(plan),
            shown(value)
        ),
        NotInForce::NotWaitedFor { flushed, commits } => format!(
            "{commits} commits returned with at most {flushed} of {} standbys behind them",
            plan.needed()
        ),
        NotInForce::StillWaiting => "a commit still waits for a standby".to_owned(),
        NotInForce::NeverSeenWaiting { commits } => {
            format!("{commits} commits returned and none was seen waiting for a standby")
        }
    };
    let back = match plan.current.parse::<SyncPolicy>() {
        Ok(SyncPolicy::Wait(rule)) => {
            let names: Vec<&str> = rule.names.iter().map(StandbyName::as_str).collect();
            let method = rule.method.to_string().to_lowercase();
            format!(
                "go back: manada sync {method} {} {}",
                rule.count,
                names.join(" ")
            )
        }
        Ok(SyncPolicy::Off) | Err(_) => "go back: manada sync off".to_owned(),
    };
    Failure::failed(format!(
        "the policy is set, and not shown to be in force after {}",
        duration(took)
    ))
    .because(why)
    .next(back)
}
