//! The agent of this host.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use manada_agent::control::{self, Answer, ControlError, View, socket};
use manada_agent::journal::Entry;
use manada_agent::wording;
use manada_core::input::Command;
use manada_core::obstacle::Obstacle;
use manada_core::record::{Record, Versioned};
use manada_core::timer::Timings;
use manada_herd::{FindNodeError, Node};
use manada_model::NodeName;
use manada_model::wording::duration;

use crate::commands::LocalNodeArgs;
use crate::error::Failure;

/// How long the record may take to have what an operator wants, in several tries.
const RECORDED_WITHIN: Duration = Duration::from_secs(5);

/// How long one of the tries may take: several requests to the store fit into it.
const GIVEN_AGAIN_AFTER: Duration = Duration::from_secs(2);

/// The pause between two looks.
const LOOK: Duration = Duration::from_millis(20);

/// An agent on this host that answers.
pub(crate) struct Agent {
    node: Node,
    socket: PathBuf,
}

impl Agent {
    /// The agent of the node that is meant. Where this host has several nodes of one herd, as in
    /// the lab, any of theirs: what is for the leader is passed on.
    pub(crate) async fn find(which: &LocalNodeArgs) -> Result<(Agent, View), Failure> {
        let nodes = candidates(which)?;
        let mut failure = None;
        for node in nodes {
            match Agent::of(node).await {
                Ok(found) => return Ok(found),
                Err(error) => failure = Some(error),
            }
        }
        Err(failure.expect("there is a node, or an error before"))
    }

    /// The agent of this node, if it answers.
    pub(crate) async fn of(node: Node) -> Result<(Agent, View), Failure> {
        let socket = socket(&node.home);
        let agent = Agent { node, socket };
        match agent.view().await {
            Ok(view) => Ok((agent, view)),
            Err(error) => Err(no_agent(&agent.node, &error)),
        }
    }

    /// Whose agent it is.
    pub(crate) fn node(&self) -> &Node {
        &self.node
    }

    /// What it sees.
    pub(crate) async fn view(&self) -> Result<View, ControlError> {
        control::view(&self.socket).await
    }

    /// What another node's agent sees; `None` where that one can't be asked from here.
    pub(crate) async fn view_of(&self, name: &NodeName) -> Option<View> {
        let asked = if self.node.file.name == *name {
            control::view(&self.socket).await
        } else {
            control::view_of(&self.socket, name).await
        };
        match asked {
            Ok(view) => Some(view),
            Err(error) => {
                tracing::info!(%name, %error, "an agent can't be asked");
                None
            }
        }
    }

    /// What all members' agents see that can be asked, this one first.
    pub(crate) async fn views(&self, own: View) -> Vec<View> {
        let record = own.remembered.as_ref().or(own.record.as_ref());
        let members = record
            .into_iter()
            .flat_map(|record| record.value.members.keys());
        let others = members.filter(|name| **name != own.node);
        let asked = futures_util::future::join_all(others.map(|name| self.view_of(name))).await;
        let mut views = vec![own];
        views.extend(asked.into_iter().flatten());
        views
    }

    /// The same of whomever any of them knows, whatever the newest record says of members.
    pub(crate) async fn views_of_all(&self, own: View) -> Vec<View> {
        let mut asked = BTreeSet::from([own.node.clone()]);
        let mut views = vec![own];
        loop {
            let known: BTreeSet<NodeName> = views.iter().flat_map(known_to).cloned().collect();
            let more: Vec<NodeName> = known.difference(&asked).cloned().collect();
            if more.is_empty() {
                return views;
            }
            let answers = more.iter().map(|name| self.view_of(name));
            let answers = futures_util::future::join_all(answers).await;
            views.extend(answers.into_iter().flatten());
            asked.extend(more);
        }
    }

    /// What another node's agent has written down, the oldest first; nothing where it can't be
    /// asked from here.
    pub(crate) async fn journal_of(&self, name: &NodeName) -> Vec<Entry> {
        match control::journal_of(&self.socket, name).await {
            Ok(entries) => entries,
            Err(error) => {
                tracing::info!(%name, %error, "a journal can't be read");
                Vec::new()
            }
        }
    }

    /// Gives it a command until the record has what is wanted: an agent drops what the store does not
    /// take, and it is given again as long as somebody waits for it here.
    pub(crate) async fn insist(
        &self,
        command: &Command,
        is_recorded: impl Fn(&Record) -> bool,
    ) -> Result<(), Failure> {
        let begun = Instant::now();
        self.give(command).await?;
        loop {
            let given = Instant::now();
            while given.elapsed() < GIVEN_AGAIN_AFTER {
                let view = self.view().await.ok();
                let record = view.and_then(|view| view.record);
                if record.is_some_and(|record| is_recorded(&record.value)) {
                    return Ok(());
                }
                tokio::time::sleep(LOOK).await;
            }
            if begun.elapsed() >= RECORDED_WITHIN {
                break;
            }
            // Its refusal would not say what has become of the tries before.
            self.give(command).await.ok();
        }
        Err(Failure::failed(format!(
            "the herd's record has not changed within {}",
            spoken(RECORDED_WITHIN)
        ))
        .because("the store has not taken it, or not said so; nobody tries it any further")
        .next("whether it has come about all the same: manada status")
        .next("manada why"))
    }

    /// Gives it a command, and says who has taken it.
    pub(crate) async fn give(&self, command: &Command) -> Result<NodeName, Failure> {
        let what = "nothing was changed";
        match control::command(&self.socket, command).await {
            Ok(Answer::Taken { by }) => Ok(by),
            Ok(Answer::Refused { by, obstacle }) => Err(refused(&by, &obstacle)),
            Ok(Answer::NoLeader) => Err(Failure::refused(what)
                .because("nobody leads at this moment")
                .next("manada why")),
            Ok(Answer::LeaderUnreachable {
                leader,
                reason,
                sent: true,
            }) => Err(
                Failure::failed(format!("whether {leader}, who leads, has the command is not known"))
                    .because(reason)
                    .next(format!(
                        "see what it does (manada why); what it has not begun {} after it was told, it drops",
                        spoken(Timings::default().handover)
                    )),
            ),
            Ok(Answer::LeaderUnreachable {
                leader,
                reason,
                sent: false,
            }) => Err(Failure::unreachable(what)
                .because(format!(
                    "the agent of {leader}, who leads, says nothing: {reason}"
                ))
                .next(format!("run it on {leader}'s host"))
                .next("or have another elected: manada failover")),
            Ok(Answer::Busy) => Err(Failure::failed(what)
                .because("the agent is busy with earlier commands")
                .next("again in a moment")),
            Err(error) => Err(
                Failure::failed("whether the agent has the command is not known")
                    .because(with_causes(&error))
                    .next("manada why"),
            ),
        }
    }
}

/// A time for a sentence of an error.
fn spoken(time: Duration) -> String {
    duration(time).replace('\u{A0}', " ")
}

/// Whom an agent knows.
fn known_to(view: &View) -> impl Iterator<Item = &NodeName> {
    let records = view.record.iter().chain(&view.remembered);
    let members = records.flat_map(|record| record.value.members.keys());
    members.chain(view.book.keys())
}

/// What cannot be, and what would help.
fn refused(by: &NodeName, reason: &Obstacle) -> Failure {
    let what = "nothing was changed";
    let failure = match reason {
        Obstacle::StoreUnreachable | Obstacle::StoreRefuses { .. } => Failure::unreachable(what),
        _ => Failure::refused(what),
    };
    let failure = failure.because(format!("{by} says: {}", wording::obstacle(reason)));
    match wording::remedy(reason) {
        Some(remedy) => failure.next(remedy),
        None => failure,
    }
}

/// The nodes of this host that may be meant: one, or several of one herd.
fn candidates(which: &LocalNodeArgs) -> Result<Vec<Node>, Failure> {
    let found = Node::find(
        which.home.as_deref(),
        which.herd.as_ref(),
        which.node.as_ref(),
    );
    match found {
        Err(FindNodeError::Several { nodes })
            if nodes
                .iter()
                .all(|node| node.file.herd == nodes[0].file.herd) =>
        {
            Ok(nodes)
        }
        Ok(_) | Err(_) => which.find().map(|node| vec![node]),
    }
}

/// The failure of a command that needs the agent, where it does not answer.
fn no_agent(node: &Node, error: &ControlError) -> Failure {
    let name = &node.file.name;
    let failure = Failure::unreachable(format!("the agent of {name} does not answer"))
        .because(with_causes(error));
    if node.file.protect.is_some() {
        failure.next(format!(
            "systemctl status manada@{name}, or by hand: manada run --home {}",
            node.home.path().display()
        ))
    } else {
        failure.next("no agent protects this herd yet: manada run --help")
    }
}

/// An error and what it stems from.
fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(source) = cause {
        text += &format!(": {source}");
        cause = source.source();
    }
    text
}

/// The record, or the failure where there is none.
pub(crate) fn record(view: &View) -> Result<&Versioned<Record>, Failure> {
    if view.lost.is_some() {
        return Err(refused(&view.node, &Obstacle::RecordLost));
    }
    view.record.as_ref().ok_or_else(|| {
        Failure::refused("nothing was changed")
            .because("the store has no record of the herd yet")
            .next("manada run on the primary's host")
    })
}
