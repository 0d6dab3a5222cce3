//! A herd's status as text of 80 columns.

use std::time::Duration;

use anstyle::Style;
use jiff::Timestamp;
use manada_model::wording::{duration, size};
use manada_model::{
    ArchiveMode, HerdStatus, LagPoint, Node, NodeState, PolicyState, Replay, Role, Slot, SlotWal,
    SyncState, Visible, WalsenderState,
};

use crate::sentences;
use crate::text::{Align, Cell, Table, paragraph, problem};
use crate::ui::{accent, paint};

/// The status, as of `now`, and how the herd is protected, where agents do.
pub(super) fn render(
    title: &str,
    status: &HerdStatus,
    protection: Option<String>,
    now: Timestamp,
) -> String {
    let mut blocks = vec![heading(title, status)];
    blocks.push(replication(status));
    blocks.push(servers(status, now));
    blocks.push(settings(status, now));
    blocks.extend(protection);
    blocks.push(paragraph(
        "",
        &paint(accent::STRONG, sentences::loss(status)),
    ));
    blocks.extend(problems(status));
    blocks.extend(hidden(status));
    blocks.join("\n")
}

fn heading(title: &str, status: &HerdStatus) -> String {
    let answered = status.nodes.iter().filter(|node| node.status().is_some());
    let text = format!(
        "{title}: {} of {} servers answered within {}",
        answered.count(),
        status.nodes.len(),
        duration(status.took)
    );
    paint(accent::FAINT, text.replace('\u{A0}', " ")) + "\n"
}

/// Who follows whom, and how far behind.
fn replication(status: &HerdStatus) -> String {
    let mut table = Table::new([
        ("NODE", Align::Left),
        ("STATE", Align::Left),
        ("SYNC", Align::Left),
        ("WRITE LAG", Align::Right),
        ("FLUSH LAG", Align::Right),
        ("REPLAY LAG", Align::Right),
    ]);
    for (node, branch) in status.nodes.iter().zip(branches(&status.nodes)) {
        let (style, state) = state(node);
        let mut row = vec![
            Cell::styled(accent::STRONG, format!("{branch}{}", node.name)),
            Cell::styled(style, state),
        ];
        match &node.lag {
            Some(lag) => {
                row.push(sync(node));
                row.extend([lag.write, lag.flush, lag.replay].map(|point| lag_cell(node, point)));
            }
            None => row.extend(std::iter::repeat_with(Cell::default).take(4)),
        }
        table.row(row);
    }
    table.render()
}

/// The lines of the tree, for each node in reading order.
fn branches(nodes: &[Node]) -> Vec<String> {
    let upstream = |node: &Node| -> Option<String> { node.upstream.as_ref()?.node.clone() };
    let depth = |node: &Node| {
        let mut depth = 0;
        let mut at = upstream(node);
        while let Some(name) = at.filter(|_| depth < nodes.len()) {
            depth += 1;
            at = nodes
                .iter()
                .find(|node| node.name == name)
                .and_then(upstream);
        }
        depth
    };
    let depths: Vec<usize> = nodes.iter().map(depth).collect();
    // Whether a sibling follows further down, before anything less deep does.
    let goes_on = |index: usize, level: usize| {
        let below = depths[index + 1..].iter();
        below
            .take_while(|depth| **depth >= level)
            .any(|depth| *depth == level)
    };
    (0..nodes.len())
        .map(|index| {
            let mut branch = String::new();
            for level in 1..depths[index] {
                branch += if goes_on(index, level) { "│ " } else { "  " };
            }
            if depths[index] > 0 {
                branch += if goes_on(index, depths[index]) {
                    "├ "
                } else {
                    "└ "
                };
            }
            branch
        })
        .collect()
}

fn state(node: &Node) -> (Style, String) {
    let sending = node
        .walsender()
        .and_then(|walsender| walsender.progress.shown())
        .map(|progress| progress.state);
    let (style, text) = match &node.state {
        NodeState::Unreachable { .. } => (accent::BAD, "unreachable"),
        NodeState::SeenByUpstream => sending.map_or((accent::FAINT, "connected"), walsender_state),
        NodeState::Answered(status) => match status.standby() {
            None => (accent::STRONG, "primary"),
            Some(standby) if standby.walreceiver == Visible::Shown(None) => {
                (accent::BAD, "not receiving")
            }
            Some(standby) if standby.replay != Replay::Running => (accent::WARN, "replay paused"),
            Some(standby) => match (sending, &standby.walreceiver) {
                (Some(state), _) => walsender_state(state),
                (None, Visible::Shown(Some(walreceiver))) => {
                    return (Style::new(), walreceiver.state.clone());
                }
                (None, Visible::Shown(None) | Visible::Hidden) => (Style::new(), "receiving"),
            },
        },
    };
    (style, text.to_owned())
}

fn walsender_state(state: WalsenderState) -> (Style, &'static str) {
    match state {
        WalsenderState::Streaming => (accent::GOOD, "streaming"),
        WalsenderState::Catchup => (accent::WARN, "catching up"),
        WalsenderState::Startup => (accent::WARN, "starting"),
        WalsenderState::Backup => (Style::new(), "base backup"),
        WalsenderState::Stopping => (accent::WARN, "stopping"),
    }
}

fn sync(node: &Node) -> Cell {
    let Some(walsender) = node.walsender() else {
        return Cell::none();
    };
    match &walsender.progress {
        Visible::Hidden => Cell::styled(accent::FAINT, "hidden"),
        Visible::Shown(progress) => match progress.sync_state {
            SyncState::Sync => Cell::styled(accent::GOOD, "sync"),
            SyncState::Quorum => Cell::styled(accent::GOOD, "quorum"),
            SyncState::Potential => Cell::plain("potential"),
            SyncState::Async => Cell::plain("async"),
        },
    }
}

fn lag_cell(node: &Node, point: LagPoint) -> Cell {
    let hidden = node
        .walsender()
        .is_some_and(|walsender| walsender.progress == Visible::Hidden);
    match (point.bytes, point.time) {
        (None, None) if hidden => Cell::styled(accent::FAINT, "hidden"),
        (None, None) => Cell::none(),
        (Some(bytes), None) => Cell::plain(size(bytes)),
        (None, Some(time)) => Cell::plain(duration(time)),
        (Some(bytes), Some(time)) => Cell::plain(format!("{} {:>6}", size(bytes), duration(time))),
    }
}

/// Where each server is, what it is, and how old its answer is.
fn servers(status: &HerdStatus, now: Timestamp) -> String {
    let mut table = Table::new([
        ("NODE", Align::Left),
        ("ADDRESS", Align::Left),
        ("VERSION", Align::Left),
        ("TIMELINE", Align::Right),
        ("AGE", Align::Right),
        ("SLOT HOLDS", Align::Right),
    ]);
    for node in &status.nodes {
        let name = Cell::styled(accent::STRONG, &node.name);
        let address = status.address_of(node).map_or_else(Cell::none, Cell::plain);
        match &node.state {
            NodeState::Unreachable { reason, .. } => {
                table.row([name, Cell::styled(accent::BAD, reason)]);
            }
            NodeState::SeenByUpstream => table.row([
                name,
                address,
                Cell::styled(accent::FAINT, "not asked"),
                Cell::none(),
                Cell::none(),
                slot(status, node),
            ]),
            NodeState::Answered(server) => {
                let timeline = server.timeline().map(|timeline| timeline.to_string());
                let age = duration(age(server.answered_at, now));
                table.row([
                    name,
                    address,
                    Cell::plain(server.version.to_string()),
                    timeline.map_or_else(Cell::none, Cell::plain),
                    Cell::plain(age),
                    slot(status, node),
                ]);
            }
        }
    }
    table.render()
}

fn age(from: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(now.duration_since(from)).unwrap_or(Duration::ZERO)
}

/// The WAL that the node's slot holds, on its upstream or, while it is away, on the primary.
fn slot(status: &HerdStatus, node: &Node) -> Cell {
    let Some(slot) = slot_of(status, node) else {
        return if node.role() == Role::Primary {
            Cell::default()
        } else {
            Cell::none()
        };
    };
    let held = slot.retained_bytes.map_or("nothing".to_owned(), size);
    match slot.wal_status {
        Some(SlotWal::Lost) => Cell::styled(accent::BAD, "lost its WAL"),
        Some(SlotWal::Unreserved) => Cell::styled(accent::BAD, format!("{held}, going")),
        Some(SlotWal::Extended) => Cell::styled(accent::WARN, held),
        Some(SlotWal::Reserved) | None => Cell::plain(held),
    }
}

fn slot_of<'a>(status: &'a HerdStatus, node: &Node) -> Option<&'a Slot> {
    let upstream = node.upstream.as_ref().and_then(|from| from.node.as_deref());
    let sender = upstream
        .and_then(|name| status.node(name))
        .or_else(|| status.primary())?;
    let used = node
        .walsender()
        .and_then(|walsender| walsender.slot_name.clone());
    sender.status()?.slots.iter().find(|slot| match &used {
        Some(used) => slot.name == *used,
        None => slot
            .name
            .node()
            .is_some_and(|owner| owner.as_str() == node.name),
    })
}

/// What commits wait for, and whether WAL is archived.
fn settings(status: &HerdStatus, now: Timestamp) -> String {
    let mut text = String::new();
    if let Some(policy) = &status.policy {
        text += &paragraph("", &policy_sentence(policy));
    }
    if let Some(primary) = status.primary().and_then(Node::status) {
        text += &paragraph("", &archive(primary, now));
    }
    text
}

/// What commits wait for, and whether it is there.
fn policy_sentence(policy: &PolicyState) -> String {
    let sentence = sentences::policy(policy);
    match (policy.needed(), policy.streaming.shown()) {
        (0, _) | (_, None) => sentence,
        (_, Some(streaming)) => format!("{sentence} Streaming of these: {}.", names(streaming)),
    }
}

fn names(names: &[String]) -> String {
    if names.is_empty() {
        return "none".to_owned();
    }
    names.join(", ")
}

fn archive(primary: &manada_model::ServerStatus, now: Timestamp) -> String {
    let archiver = &primary.archiver;
    let mode = match archiver.mode {
        ArchiveMode::Off => return "WAL is not archived.".to_owned(),
        ArchiveMode::On => "WAL is archived",
        ArchiveMode::Always => "WAL is archived, on standbys too",
    };
    if !archiver.has_command {
        return "WAL is to be archived, and there is no command for it: it piles up.".to_owned();
    }
    match (&archiver.last_archived_wal, archiver.last_archived_at) {
        (Some(wal), Some(at)) => {
            let ago = duration(age(at, now));
            format!("{mode}; last {wal}, {ago} ago.")
        }
        _ => format!("{mode}; nothing yet."),
    }
}

fn problems(status: &HerdStatus) -> Option<String> {
    let lines: Vec<String> = status
        .problems
        .iter()
        .map(|found| paragraph(&paint(accent::BAD, "! "), &problem(found)))
        .collect();
    (!lines.is_empty()).then(|| lines.concat())
}

/// What the role that asked could not be shown, and how it could.
fn hidden(status: &HerdStatus) -> Option<String> {
    let blind = |node: &&Node| {
        node.status()
            .is_some_and(|server| !server.rights.statistics)
    };
    let names: Vec<&str> = status
        .nodes
        .iter()
        .filter(blind)
        .map(|node| node.name.as_str())
        .collect();
    (!names.is_empty()).then(|| {
        let names = names.join(", ");
        paragraph(
            "",
            &format!(
                "Hidden from this role: what {names} can tell of standbys. A superuser's GRANT \
                 pg_monitor TO … shows it."
            ),
        )
    })
}
