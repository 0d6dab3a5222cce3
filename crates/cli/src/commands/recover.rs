//! `manada recover`: a herd whose store has lost its record is taken up again.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use manada_agent::control::View;
use manada_agent::store_of;
use manada_agent::wording::names;
use manada_core::record::{Record, Versioned};
use manada_core::recover::{Doubt, Hearing, Recovery, Refusal, Testimony, Way, recover};
use manada_model::NodeName;
use manada_model::wording::duration;
use manada_store::{Store, Swap};
use serde_json::json;

use super::LocalNodeArgs;
use super::switchover::{millis, stall};
use crate::error::{Failure, Outcome};
use crate::protected::{Agent, NewLeader, Patience, Stalled, until_it_goes_on};
use crate::text::paragraph;
use crate::ui::{Answer, Format, Ui, accent, paint};

/// Take a herd up again whose store has lost its record.
///
/// For when etcd was emptied or restored from an old snapshot, or the SQLite file was deleted: writes
/// go on meanwhile, but nothing fails over. The command hears all nodes, each of which remembers what
/// it has promised and the newest record that it knew. Where the primary vouches for that, the record
/// is written again, and writes don't pause. Otherwise the nodes elect the one with the most WAL.
/// No acknowledged commit is lost either way. It asks before it acts; without a terminal it needs
/// --yes. The store must answer, and the agents must run.
///
/// All nodes have to answer. One that can't is left out by name: it goes by itself as long as it is
/// certain that it has no commit that the others lack, and otherwise only with
/// --allow-data-loss=any. It is refused (exit code 4) where nothing is lost.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  manada recover
  manada recover --dry-run               only say what would happen
  manada recover --without carla         carla is gone, or can't be reached
  manada recover --without carla --allow-data-loss=any")]
pub(crate) struct RecoverArgs {
    /// A node that can't answer; once for each.
    #[arg(long, value_name = "NODE")]
    without: Vec<NodeName>,

    /// Go on although nodes that are left out may have commits that no other has.
    #[arg(long, value_name = "any", value_parser = ["any"], require_equals = true)]
    allow_data_loss: Option<String>,

    #[command(flatten)]
    which: LocalNodeArgs,

    /// Don't ask.
    #[arg(long, short)]
    yes: bool,

    /// Say what would happen, and stop there.
    #[arg(long)]
    dry_run: bool,

    #[command(flatten)]
    patience: Patience,
}

/// What is about to be written, and over what.
struct Plan {
    store: Store,
    found: Option<Versioned<Record>>,
    heard: Vec<NodeName>,
    without: BTreeSet<NodeName>,
    accept_loss: bool,
    recovery: Recovery,
}

pub(crate) async fn run(args: &RecoverArgs, ui: Ui) -> Result<Outcome, Failure> {
    let (agent, own) = Agent::find(&args.which).await?;
    let plan = plan(args, &agent, own).await?;
    if ui.format() == Format::Text {
        ui.note(paragraph("", &announcement(&plan)).trim_end());
    }
    if args.dry_run {
        report(ui, &plan, None);
        return Ok(Outcome::Done);
    }
    confirm(args.yes, ui)?;
    let begun = Instant::now();
    write(&plan).await?;
    let limit = args.patience.limit();
    let goes_on = until_it_goes_on(&agent, &plan.recovery.record, begun, limit).await;
    let leader = goes_on.map_err(|stalled| failure(&stalled, limit))?;
    report(ui, &plan, Some(&leader));
    Ok(Outcome::Done)
}

async fn plan(args: &RecoverArgs, agent: &Agent, own: View) -> Result<Plan, Failure> {
    let store = open(agent).await?;
    let coordinator = own.node.clone();
    let views = agent.views_of_all(own).await;
    let testimony = |view: &View| Some((view.node.clone(), view.testimony()?));
    let heard: BTreeMap<NodeName, Testimony> = views.iter().filter_map(testimony).collect();
    // After the nodes were heard: what the store has by then is not older than what they say.
    let snapshot = store.read().await.map_err(|error| {
        Failure::unreachable("nothing was changed")
            .because(error)
            .next("bring the store back, empty or with what it had")
    })?;
    let without = args.without.iter().cloned().collect();
    let hearing = Hearing {
        found: snapshot.record.as_ref(),
        heard: &heard,
        without: &without,
        accept_loss: args.allow_data_loss.is_some(),
        coordinator: &coordinator,
    };
    let recovery = recover(&hearing).map_err(|refusal| refused(&refusal))?;
    Ok(Plan {
        store,
        found: snapshot.record,
        heard: heard.into_keys().collect(),
        without,
        accept_loss: args.allow_data_loss.is_some(),
        recovery,
    })
}

async fn open(agent: &Agent) -> Result<Store, Failure> {
    let what = "nothing was changed";
    let file = &agent.node().file;
    let Some(protect) = &file.protect else {
        return Err(Failure::usage(what)
            .because("no agent protects this herd")
            .next("manada run --help"));
    };
    let (location, access) =
        store_of(protect).map_err(|error| Failure::usage(what).because(error))?;
    let opened = Store::open(&location, &file.herd, &access).await;
    opened.map_err(|error| {
        let why = match std::error::Error::source(&error) {
            Some(cause) => format!("{error}: {cause}"),
            None => error.to_string(),
        };
        Failure::unreachable(what).because(why)
    })
}

/// Nothing is written over a record that is not the one that was found: another operator may have
/// been first.
async fn write(plan: &Plan) -> Result<(), Failure> {
    let record = &plan.recovery.record;
    let written = match &plan.found {
        None => plan.store.create(record).await,
        Some(found) => plan.store.swap(found.revision, record).await,
    };
    match written {
        Ok(Swap::Swapped { .. }) => Ok(()),
        Ok(Swap::Conflict(_)) => Err(Failure::refused("nothing was changed")
            .because("the store's record has changed meanwhile")
            .next("manada status")),
        Err(error) => Err(
            Failure::failed("whether the herd is taken up again is not known")
                .because(error)
                .next("manada status"),
        ),
    }
}

fn confirm(yes: bool, ui: Ui) -> Result<(), Failure> {
    if yes {
        return Ok(());
    }
    match ui.ask("Take the herd up again?") {
        Answer::Yes => Ok(()),
        Answer::No => Err(Failure::interrupted().because("nothing was changed")),
        Answer::Nobody => Err(Failure::usage("nobody was asked, and nothing was changed")
            .because("this is no terminal")
            .next("say that it is meant: --yes")),
    }
}

fn refused(refusal: &Refusal) -> Failure {
    let what = Failure::refused("nothing was changed");
    match refusal {
        Refusal::NothingIsLost => what
            .because("the store has the herd's record, and no node knows a newer one")
            .next("manada status"),
        Refusal::NobodyRemembers => what
            .because("no node that answers remembers a record of the herd")
            .next("start the agents of the other nodes")
            .next("or bring back a copy of the store"),
        Refusal::Silent { nodes } => {
            let without: Vec<String> = nodes
                .iter()
                .map(|node| format!("--without {node}"))
                .collect();
            what.because(format!(
                "no word from the agents of {}, who may know more than the others",
                names(nodes)
            ))
            .next("start them: manada run")
            .next(format!(
                "or, if they can't answer: manada recover {}",
                without.join(" ")
            ))
        }
        Refusal::Heard { node } => what
            .because(format!(
                "{node} answers: what it knows can't be left out of account"
            ))
            .next("leave --without out for it"),
        Refusal::NotAMember { node } => what
            .because(format!("{node} is no member of the herd"))
            .next("manada status"),
        Refusal::CannotCall { node } => what
            .because(format!(
                "the nodes have to elect, and {node} can't call an election"
            ))
            .next("run it on another node's host"),
        Refusal::MayLose { doubt } => what
            .because(format!(
                "commits may have been acknowledged that only those have which are left out: {}",
                doubted(doubt)
            ))
            .next("start their agents")
            .next("or, if they are lost for good: --allow-data-loss=any"),
    }
}

/// Why it is not certain that nothing would be lost.
fn doubted(doubt: &Doubt) -> String {
    match doubt {
        Doubt::LeaderIsAway { leader } => format!("{leader} leads, as far as is known"),
        Doubt::NobodyLed => "nobody led when the record was lost".to_owned(),
        Doubt::LaterEpoch {
            promised,
            remembered,
        } => format!(
            "epoch {promised} was promised, and the newest record that is remembered is of epoch \
             {remembered}"
        ),
        Doubt::LeaderForgot { leader } => format!(
            "{leader}'s agent was started after the record was lost, and can't vouch for what \
             commits wait for"
        ),
        Doubt::LeaderGoesByAnother { leader } => {
            format!("{leader} leads by another record than the newest one that is remembered")
        }
        Doubt::CouldHaveElected => "they were enough to elect a primary themselves".to_owned(),
    }
}

fn announcement(plan: &Plan) -> String {
    let found = match &plan.found {
        None => "The store has no record of the herd any more.".to_owned(),
        Some(found) => format!(
            "The store's record of the herd is of epoch {}, and the nodes know more.",
            found.value.epoch
        ),
    };
    let way = match &plan.recovery.way {
        Way::GoesOn { leader } => format!(
            "The record is written again as {}, who leads epoch {}, knows it. Writes don't pause.",
            paint(accent::STRONG, leader),
            plan.recovery.record.epoch
        ),
        Way::Election { epoch, among } => format!(
            "{} elect a primary in epoch {epoch}: the one with the most WAL. Writes pause until it \
             leads, for a few seconds.",
            names(among)
        ),
    };
    let without: Vec<NodeName> = plan.without.iter().cloned().collect();
    let loss = match (without.as_slice(), plan.accept_loss) {
        ([], _) => String::new(),
        (gone, true) => format!(" Commits that only {} may have are given up.", names(gone)),
        (gone, false) => format!(
            " Without {}, which has no commit that the others lack.",
            names(gone)
        ),
    };
    format!("{found} {way}{loss}")
}

fn report(ui: Ui, plan: &Plan, leader: Option<&NewLeader>) {
    match ui.format() {
        Format::Json => ui.json(&json!({
            "format": "manada.recover/1",
            "done": leader.is_some(),
            "found_epoch": plan.found.as_ref().map(|found| found.value.epoch),
            "how": plan.recovery.way,
            "heard": plan.heard,
            "without": plan.without,
            "leader": leader.map(|leader| &leader.name),
            "epoch": leader.map(|leader| leader.epoch),
            "took_ms": leader.map(|leader| millis(leader.took)),
        })),
        Format::Text => ui.text(match leader {
            None => "Nothing was changed.".to_owned(),
            Some(leader) => paragraph(
                "",
                &format!(
                    "The herd is taken up again ({}): {} takes writes in epoch {}.",
                    duration(leader.took),
                    paint(accent::STRONG, &leader.name),
                    leader.epoch
                ),
            ),
        }),
    }
}

fn failure(stalled: &Stalled, limit: Duration) -> Failure {
    let limit = duration(limit).replace('\u{A0}', " ");
    stall(
        format!("the record is written, and nobody takes writes after {limit}"),
        stalled,
        None,
    )
}
