//! From answers to nodes: who is who, who follows whom, how far behind.

use std::collections::HashMap;
use std::time::Duration;

use super::links::{self, WalsenderRef};
use super::{Answer, Lag, LagPoint, Node, NodeState, Role, Upstream, the_primary};
use crate::{
    Lsn, Recovery, ServerStatus, StandbyStatus, Visible, Walsender, WalsenderProgress,
    WalsenderState,
};

/// The herd's nodes in the order in which people read them.
pub(super) fn nodes(answers: Vec<Answer>) -> Vec<Node> {
    let answers = without_repetition(answers);
    let served_by = links::match_walsenders(&answers);
    let names = names(&answers, &served_by);

    let mut nodes = Vec::new();
    for (index, answer) in answers.iter().enumerate() {
        nodes.push(Node {
            name: names[index].clone(),
            endpoint: Some(answer.endpoint.clone()),
            upstream: upstream_of(answer, served_by[index], &answers, &names),
            state: state_of(answer),
            lag: None,
        });
    }
    nodes.extend(seen_only_by_upstream(&answers, &served_by, &names));
    fill_lag(&mut nodes);
    // Whoever answers first comes first otherwise, another one each time.
    nodes.sort_by(|one, other| one.name.cmp(&other.name));
    in_reading_order(nodes)
}

/// Two endpoints may lead to one server: it is kept once, under the name known beforehand.
fn without_repetition(answers: Vec<Answer>) -> Vec<Answer> {
    let mut kept: Vec<Answer> = Vec::new();
    for answer in answers {
        let twin = kept.iter_mut().find(|known| same_server(known, &answer));
        match twin {
            Some(known) => {
                known.member = known.member.take().or(answer.member);
                known.seen_by = known.seen_by.take().or(answer.seen_by);
                known.addresses.extend(answer.addresses);
            }
            None => kept.push(answer),
        }
    }
    kept
}

fn same_server(one: &Answer, other: &Answer) -> bool {
    match (&one.outcome, &other.outcome) {
        // The postmaster's start is known to the microsecond.
        (Ok(one), Ok(other)) => {
            (one.system_identifier, one.port, one.started_at)
                == (other.system_identifier, other.port, other.started_at)
        }
        (Ok(status), Err(_)) => is_member(other, status) || one.endpoint == other.endpoint,
        (Err(_), _) => one.endpoint == other.endpoint,
    }
}

/// Whether a member that did not answer at its address has answered otherwise, such as through its
/// socket: a node's `cluster_name` is its name.
fn is_member(silent: &Answer, status: &ServerStatus) -> bool {
    let port = silent.endpoint.rsplit_once(':').map(|(_, port)| port);
    silent.member.as_deref() == Some(status.cluster_name.as_str())
        && port == Some(status.port.to_string().as_str())
}

fn walsender_at(answers: &[Answer], reference: WalsenderRef) -> Option<&Walsender> {
    let server = answers[reference.server].outcome.as_ref().ok()?;
    server.walsenders.get(reference.walsender)
}

/// A unique name for each answer: what people and policies call it, as far as that tells it apart.
fn names(answers: &[Answer], served_by: &[Option<WalsenderRef>]) -> Vec<String> {
    /// What a walreceiver is called when nobody gave it a name.
    const NAMELESS: &str = "walreceiver";
    let proposals: Vec<String> = answers
        .iter()
        .zip(served_by)
        .map(|(answer, reference)| {
            let known_as = reference
                .and_then(|reference| walsender_at(answers, reference))
                .map(|walsender| walsender.application_name.clone());
            let called = answer
                .outcome
                .as_ref()
                .ok()
                .map(|status| status.cluster_name.clone());
            let candidates = [answer.member.clone(), known_as, called];
            let usable = |name: &String| !name.is_empty() && name != NAMELESS;
            candidates
                .into_iter()
                .flatten()
                .find(usable)
                .unwrap_or_else(|| answer.endpoint.clone())
        })
        .collect();
    let mut uses: HashMap<&str, usize> = HashMap::new();
    for name in &proposals {
        *uses.entry(name).or_default() += 1;
    }
    proposals
        .iter()
        .zip(answers)
        .map(|(name, answer)| match uses[name.as_str()] {
            1 => name.clone(),
            _ => answer.endpoint.clone(),
        })
        .collect()
}

fn state_of(answer: &Answer) -> NodeState {
    match &answer.outcome {
        Ok(status) => NodeState::Answered(Box::new(status.clone())),
        Err(silence) => NodeState::Unreachable {
            reason: silence.reason.clone(),
            waited: silence.waited,
        },
    }
}

fn upstream_of(
    answer: &Answer,
    served_by: Option<WalsenderRef>,
    answers: &[Answer],
    names: &[String],
) -> Option<Upstream> {
    let standby = answer.outcome.as_ref().ok().and_then(ServerStatus::standby);
    let walreceiver = standby.and_then(|standby| standby.walreceiver.shown()?.as_ref());
    let address = walreceiver.and_then(|walreceiver| walreceiver.sender.as_ref());
    let address = address.map(ToString::to_string);
    if served_by.is_none() && address.is_none() {
        return None;
    }
    Some(Upstream {
        node: served_by.map(|reference| names[reference.server].clone()),
        address,
        walsender: served_by.and_then(|reference| walsender_at(answers, reference).cloned()),
    })
}

/// Receivers that a server sends to and that were not asked themselves.
fn seen_only_by_upstream(
    answers: &[Answer],
    served_by: &[Option<WalsenderRef>],
    names: &[String],
) -> Vec<Node> {
    let mut taken: Vec<String> = names.to_vec();
    let mut nodes = Vec::new();
    for (reference, walsender) in links::walsenders(answers) {
        if served_by.contains(&Some(reference)) || is_base_backup(walsender) {
            continue;
        }
        let name = if taken.contains(&walsender.application_name) {
            format!("{} (pid {})", walsender.application_name, walsender.pid)
        } else {
            walsender.application_name.clone()
        };
        taken.push(name.clone());
        let progress = walsender.progress.shown();
        nodes.push(Node {
            name,
            endpoint: progress
                .and_then(|progress| progress.client_addr)
                .map(|address| address.to_string()),
            state: NodeState::SeenByUpstream,
            upstream: Some(Upstream {
                node: Some(names[reference.server].clone()),
                address: None,
                walsender: Some(walsender.clone()),
            }),
            lag: None,
        });
    }
    nodes
}

fn is_base_backup(walsender: &Walsender) -> bool {
    walsender
        .progress
        .shown()
        .is_some_and(|progress| progress.state == WalsenderState::Backup)
}

fn fill_lag(nodes: &mut [Node]) {
    let Some((primary, flush_lsn)) =
        the_primary(nodes).map(|(node, _, primary)| (node.name.clone(), primary.flush_lsn))
    else {
        return;
    };
    for node in nodes.iter_mut() {
        if node.role() != Role::Standby {
            continue;
        }
        let from_primary = node
            .upstream
            .as_ref()
            .is_some_and(|upstream| upstream.node.as_deref() == Some(&primary));
        node.lag = Some(lag_of(node, flush_lsn, from_primary));
    }
}

/// A direct standby's positions are the walsender's, read together with the primary's; a cascade's
/// are its own, and the walsender's times would leave out the way to its upstream.
fn lag_of(node: &Node, primary_flush_lsn: Lsn, from_primary: bool) -> Lag {
    let progress = node
        .walsender()
        .filter(|_| from_primary)
        .and_then(|walsender| walsender.progress.shown());
    let mut lag = match (progress, node.standby()) {
        (Some(progress), _) => lag_by_walsender(progress, primary_flush_lsn),
        (None, Some(standby)) => lag_by_standby(standby, primary_flush_lsn),
        (None, None) => Lag::default(),
    };
    lag.since_last_replayed_commit = node.status().and_then(|status| match &status.recovery {
        Recovery::Primary(_) => None,
        Recovery::Standby(standby) => {
            let committed_at = standby.last_replayed_commit_at?;
            let elapsed = status.server_time.duration_since(committed_at);
            Some(Duration::try_from(elapsed).unwrap_or(Duration::ZERO))
        }
    });
    lag
}

fn lag_by_walsender(progress: &WalsenderProgress, primary_flush_lsn: Lsn) -> Lag {
    let point = |lsn: Option<Lsn>, time| LagPoint {
        bytes: lsn.map(|lsn| primary_flush_lsn.bytes_since(lsn)),
        time,
    };
    Lag {
        write: point(progress.write_lsn, progress.write_lag),
        flush: point(progress.flush_lsn, progress.flush_lag),
        replay: point(progress.replay_lsn, progress.replay_lag),
        since_last_replayed_commit: None,
    }
}

fn lag_by_standby(standby: &StandbyStatus, primary_flush_lsn: Lsn) -> Lag {
    let point = |lsn: Option<Lsn>| LagPoint {
        bytes: lsn.map(|lsn| primary_flush_lsn.bytes_since(lsn)),
        time: None,
    };
    let written = match &standby.walreceiver {
        Visible::Shown(Some(walreceiver)) => walreceiver.written_lsn,
        Visible::Shown(None) | Visible::Hidden => None,
    };
    Lag {
        write: point(written.max(standby.receive_lsn)),
        flush: point(standby.receive_lsn.max(standby.replay_lsn)),
        replay: point(standby.replay_lsn),
        since_last_replayed_commit: None,
    }
}

/// Primaries, each followed by its standbys and theirs, then the rest; side by side, by name.
fn in_reading_order(mut nodes: Vec<Node>) -> Vec<Node> {
    nodes.sort_by(|one, other| one.name.cmp(&other.name));
    let mut ordered = Vec::with_capacity(nodes.len());
    place(&mut nodes, &mut ordered, &|node| {
        node.role() == Role::Primary
    });
    ordered.extend(nodes);
    ordered
}

/// Moves the wanted nodes over, each with all that is below it.
fn place(from: &mut Vec<Node>, to: &mut Vec<Node>, wanted: &dyn Fn(&Node) -> bool) {
    while let Some(index) = from.iter().position(wanted) {
        let node = from.remove(index);
        let name = node.name.clone();
        to.push(node);
        place(from, to, &|node| {
            let upstream = node.upstream.as_ref();
            upstream.is_some_and(|upstream| upstream.node.as_deref() == Some(&name))
        });
    }
}
