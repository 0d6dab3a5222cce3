//! `manada remove`: a node leaves the herd.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use manada_core::record::Record;
use manada_herd::remove::{LeaveError, PolicyChange, RemovalRefusal, leave, retire};
use manada_herd::{FindNodeError, Node, Removal, RemoveError};
use manada_model::NodeName;
use manada_postgres::Session;
use serde_json::json;

use super::token::LocalNodeArgs;
use crate::block_on;
use crate::error::{Failure, Outcome};
use crate::protected::Agent;
use crate::ui::{Format, Ui, accent, paint};

/// How long the herd's record may name a node that was struck from its list of members: the list is
/// read every few seconds, and a change of the policy is proven.
const LET_GO_WITHIN: Duration = Duration::from_secs(30);

/// The pause between two looks.
const LOOK: Duration = Duration::from_millis(50);

/// Take a standby out of the herd.
///
/// On the primary's host: any standby, reachable or not. On a standby's own host: that standby,
/// unless agents protect the herd.
/// Its name in the synchronous policy goes first, then its access rule, its slot and its row in the
/// list of members, so that no commit waits for it. Its data stays where it is, unless
/// --delete-data is given.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  manada remove n3
  manada remove n3 --dry-run
  manada remove")]
pub(crate) struct RemoveArgs {
    /// The standby; this host's own node where it is not said.
    #[arg(value_name = "NODE")]
    name: Option<NodeName>,

    #[command(flatten)]
    which: LocalNodeArgs,

    /// Say what would be done, and do nothing.
    #[arg(long)]
    dry_run: bool,

    /// Delete the removed node's directory and data on this host, too.
    #[arg(long)]
    delete_data: bool,
}

pub(crate) fn run(args: &RemoveArgs, ui: Ui) -> Result<Outcome, Failure> {
    let nodes = candidates(&args.which)?;
    block_on(async {
        let primary = primary_among(&nodes).await;
        let named = |node: &&Node| Some(&node.file.name) == args.name.as_ref();
        let own = nodes.iter().find(named);
        match (primary, &args.name) {
            (Some((primary, session)), Some(name)) => {
                by_the_primary(primary, &session, name, own, args, ui).await
            }
            (_, None) if nodes.len() == 1 => by_itself(&nodes[0], args, ui).await,
            (_, None) => {
                Err(Failure::usage("this host has several nodes")
                    .next("say which: manada remove NODE"))
            }
            (None, Some(_)) => match own {
                Some(own) => by_itself(own, args, ui).await,
                None => Err(
                    Failure::refused("only the primary's host can remove another node")
                        .because("no node on this host is a primary that runs")
                        .next("run it there; manada status says which that is"),
                ),
            },
        }
    })
}

/// The nodes of this host that may be meant.
fn candidates(which: &LocalNodeArgs) -> Result<Vec<Node>, Failure> {
    let found = Node::find(
        which.home.as_deref(),
        which.herd.as_ref(),
        which.node.as_ref(),
    );
    match found {
        Ok(node) => Ok(vec![node]),
        Err(FindNodeError::Several { nodes }) => Ok(nodes),
        Err(FindNodeError::None | FindNodeError::Home(_) | FindNodeError::File(_)) => {
            which.find().map(|node| vec![node])
        }
    }
}

/// The one that takes writes, with a superuser's session.
async fn primary_among(nodes: &[Node]) -> Option<(&Node, Session)> {
    for node in nodes {
        let Ok(session) = node.open_superuser().await else {
            continue;
        };
        let row = session.query_one("SELECT pg_is_in_recovery()", &[]).await;
        if row.is_ok_and(|row| !row.get::<_, bool>(0)) {
            return Some((node, session));
        }
    }
    None
}

async fn by_the_primary(
    primary: &Node,
    session: &Session,
    name: &NodeName,
    own: Option<&Node>,
    args: &RemoveArgs,
    ui: Ui,
) -> Result<Outcome, Failure> {
    let removal = Removal::plan(primary, session, name)
        .await
        .map_err(failure)?;
    let deleted = own.filter(|_| args.delete_data).map(directories);
    if ui.format() == Format::Text {
        let mut lines = vec![policy_sentence(name, &removal.policy)];
        if removal.has_slot {
            lines.push(format!("its slot {} goes", name.slot()));
        }
        lines.push("its access rule and its row in the list of members go".to_owned());
        lines.push(match (&deleted, own) {
            (Some(directories), _) => format!("deleted for good: {}", listed(directories)),
            (None, Some(own)) => format!("its data stays in {}", own.file.data_directory.display()),
            (None, None) => "its data stays where it is, on its host".to_owned(),
        });
        ui.note(format!(
            "removing {}:\n  {}",
            paint(accent::STRONG, name),
            lines.join("\n  ")
        ));
    }
    if !args.dry_run {
        match &primary.file.protect {
            None => removal.run(primary, session).await.map_err(failure)?,
            Some(_) => run_protected(primary, session, &removal).await?,
        }
        if let Some(own) = own {
            finish(own, deleted.as_deref())?;
        }
    }
    report(name, &removal.policy, deleted.as_deref(), args.dry_run, ui);
    if own.is_none() && !args.dry_run && ui.format() == Format::Text {
        ui.note(format!(
            "if its server still runs: {} on its host",
            paint(accent::TYPE, "manada stop")
        ));
    }
    Ok(Outcome::Done)
}

/// What commits wait for is the agents' to change: they follow the list of members, and only when no
/// policy names the node any more, its slot goes.
async fn run_protected(
    primary: &Node,
    session: &Session,
    removal: &Removal,
) -> Result<(), Failure> {
    let (agent, _) = Agent::of(primary.clone()).await?;
    removal.strike(session).await.map_err(failure)?;
    let begun = Instant::now();
    while begun.elapsed() < LET_GO_WITHIN {
        let view = agent.view().await.ok();
        let record = view.and_then(|view| view.record);
        if record.is_some_and(|record| !names(&record.value, &removal.name)) {
            return removal.forget(session).await.map_err(failure);
        }
        tokio::time::sleep(LOOK).await;
    }
    let name = &removal.name;
    Err(Failure::failed(format!("{name} is not out of the herd yet"))
        .because(format!(
            "it is struck from the list of members, and the herd's record still names it after {} s",
            LET_GO_WITHIN.as_secs()
        ))
        .next("manada why")
        .next(format!("then again: manada remove {name}")))
}

/// Whether the herd counts on that node.
fn names(record: &Record, name: &NodeName) -> bool {
    let mut policies = record.policies.iter();
    record.members.contains_key(name) || policies.any(|one| one.policy.standbys.contains(name))
}

async fn by_itself(node: &Node, args: &RemoveArgs, ui: Ui) -> Result<Outcome, Failure> {
    let name = &node.file.name;
    if primary_among(std::slice::from_ref(node)).await.is_some() {
        return Err(failure(RemoveError::Refused(RemovalRefusal::IsPrimary {
            name: name.clone(),
        })));
    }
    if node.file.protect.is_some() {
        return Err(failure(RemoveError::Refused(RemovalRefusal::Protected {
            name: name.clone(),
        })));
    }
    let deleted = args.delete_data.then(|| directories(node));
    if args.dry_run {
        report(name, &PolicyChange::None, deleted.as_deref(), true, ui);
        return Ok(Outcome::Done);
    }
    let change = leave(node).await.map_err(|error| match error {
        LeaveError::Refused(refusal) => failure(RemoveError::Refused(refusal)),
        LeaveError::Connect(_) => Failure::unreachable(format!("{name} was not removed"))
            .because(&error)
            .next(format!("on the primary's host: manada remove {name}"))
            .next("and here: manada stop"),
        LeaveError::NoPrimary { .. }
        | LeaveError::Conninfo(_)
        | LeaveError::Settings(_)
        | LeaveError::Sql { .. } => Failure::failed(format!("{name} was not removed"))
            .because(&error)
            .next(format!("on the primary's host: manada remove {name}")),
    })?;
    if ui.format() == Format::Text {
        ui.note(policy_sentence(name, &change));
    }
    finish(node, deleted.as_deref())?;
    report(name, &change, deleted.as_deref(), false, ui);
    Ok(Outcome::Done)
}

/// Stops the server, and deletes what is to be deleted.
fn finish(node: &Node, deleted: Option<&[PathBuf]>) -> Result<(), Failure> {
    retire(node).map_err(failure)?;
    for directory in deleted.into_iter().flatten() {
        std::fs::remove_dir_all(directory).map_err(|error| {
            Failure::failed(format!("{} was not deleted whole", directory.display())).because(error)
        })?;
    }
    Ok(())
}

/// What `--delete-data` deletes: the data directory, where it is not in the home, and the home.
fn directories(node: &Node) -> Vec<PathBuf> {
    let data = &node.file.data_directory;
    let home = node.home.path();
    let outside = (!data.starts_with(home)).then(|| data.clone());
    outside.into_iter().chain([home.to_path_buf()]).collect()
}

fn listed(directories: &[PathBuf]) -> String {
    let texts: Vec<String> = directories
        .iter()
        .map(|directory| directory.display().to_string())
        .collect();
    texts.join(", ")
}

fn policy_sentence(name: &NodeName, change: &PolicyChange) -> String {
    match change {
        PolicyChange::None => "what commits wait for does not change".to_owned(),
        PolicyChange::Reduced { from, to } => format!("commits wait for {to} instead of {from}"),
        PolicyChange::Off { from } => format!(
            "commits wait for no standby any more: {name} was all that {from} could count on"
        ),
    }
}

fn report(
    name: &NodeName,
    change: &PolicyChange,
    deleted: Option<&[PathBuf]>,
    dry_run: bool,
    ui: Ui,
) {
    match ui.format() {
        Format::Json => ui.json(&json!({
            "format": "manada.remove/1",
            "node": name,
            "dry_run": dry_run,
            "policy": change,
            "deleted": deleted.unwrap_or_default(),
        })),
        Format::Text if dry_run => ui.text("Nothing was changed."),
        Format::Text => ui.text(format!(
            "{} is out of the herd",
            paint(accent::STRONG, name)
        )),
    }
}

fn failure(error: RemoveError) -> Failure {
    let what = "the node was not removed";
    match &error {
        RemoveError::Unknown { .. } => Failure::usage(&error).next("manada status"),
        RemoveError::Refused(refusal) => {
            let failure = Failure::refused(what).because(&error);
            match refusal {
                RemovalRefusal::IsPrimary { .. } => failure
                    .next("in a protected herd, give its place to another first: manada switchover")
                    .next("to stop it, and all writes with it: manada stop"),
                RemovalRefusal::WouldHang { would_hang, .. } => failure
                    .next(format!("start one of {}", would_hang.names.join(", ")))
                    .next("or let commits wait for less first: manada sync off"),
                RemovalRefusal::Protected { name } => failure
                    .next(format!("stop its agent here: systemctl disable --now manada@HERD-{name}"))
                    .next(format!("on the primary's host: manada remove {name}")),
                RemovalRefusal::Overridden { .. } => failure.next(
                    "as superuser: ALTER SYSTEM RESET synchronous_standby_names; SELECT pg_reload_conf();",
                ),
            }
        }
        RemoveError::Policy(_)
        | RemoveError::Sql { .. }
        | RemoveError::Settings(_)
        | RemoveError::Files(_)
        | RemoveError::Write(_)
        | RemoveError::Home(_)
        | RemoveError::User(_)
        | RemoveError::Unquotable(_)
        | RemoveError::Stop(_) => Failure::failed(what)
            .because(&error)
            .next("when the cause is gone, run it again: it does what is left"),
    }
}
