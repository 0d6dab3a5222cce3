//! The words on a picture, the same in every output.

use manada_model::SyncState;
pub(crate) use manada_model::wording::{duration, shown, size};

use crate::picture::{Arrow, Condition, Lag, Link, Node, Role, Slot, SlotState};

/// WAL that a slot in use may hold before the picture mentions it: one segment is nothing unusual.
const RETAINED_BYTES_UNREMARKABLE: u64 = 64 << 20;

pub(crate) fn role(role: Role) -> &'static str {
    match role {
        Role::Primary => "primary",
        Role::Standby => "standby",
        Role::Unknown => "unknown",
    }
}

/// The version and the timeline of a server, as far as they are known.
pub(crate) fn build(node: &Node) -> Option<String> {
    let version = node
        .version
        .as_ref()
        .map(|version| format!("PostgreSQL {version}"));
    let timeline = node.timeline.map(|timeline| format!("timeline {timeline}"));
    match (version, timeline) {
        (Some(version), Some(timeline)) => Some(format!("{version} · {timeline}")),
        (version, timeline) => version.or(timeline),
    }
}

pub(crate) fn condition(condition: &Condition) -> Option<String> {
    match condition {
        Condition::Answering => None,
        Condition::Ailing(what) => Some(what.clone()),
        Condition::Unreachable(why) if why.is_empty() => Some("does not answer".to_owned()),
        Condition::Unreachable(why) => Some(format!("does not answer: {why}")),
    }
}

/// The badge of an arrow.
pub(crate) fn badge(link: &Link) -> &'static str {
    match link {
        Link::Streaming(state, _) | Link::CatchingUp(state, _) => sync_state(*state),
        Link::Broken => "not streaming",
        Link::Unknown => "not known",
    }
}

fn sync_state(state: SyncState) -> &'static str {
    match state {
        SyncState::Sync => "sync",
        SyncState::Quorum => "quorum",
        SyncState::Potential => "potential",
        SyncState::Async => "async",
    }
}

/// How far the standby is behind.
pub(crate) fn progress(link: &Link) -> Option<String> {
    match link {
        Link::Streaming(_, lag) => behind(*lag),
        Link::CatchingUp(_, lag) => Some(match behind(*lag) {
            Some(behind) => format!("catching up, {behind}"),
            None => "catching up".to_owned(),
        }),
        Link::Broken | Link::Unknown => None,
    }
}

fn behind(lag: Lag) -> Option<String> {
    let bytes = lag.bytes.map(|bytes| match bytes {
        0 => "caught up".to_owned(),
        _ => format!("{} behind", size(bytes)),
    });
    let time = lag.time.map(duration);
    match (bytes, time) {
        (Some(bytes), Some(time)) => Some(format!("{bytes} · {time}")),
        (bytes, time) => bytes.or(time),
    }
}

/// What there is to say of an arrow's slot; nothing of one that does its work quietly.
pub(crate) fn slot(arrow: &Arrow) -> Option<String> {
    let slot = arrow.slot.as_ref()?;
    let holds = |slot: &Slot| {
        slot.retained_bytes
            .filter(|bytes| *bytes > 0)
            .map(|bytes| format!("slot holds {} of WAL", size(bytes)))
    };
    match slot.state {
        SlotState::Active => {
            let unusual = slot.retained_bytes? > RETAINED_BYTES_UNREMARKABLE;
            unusual.then(|| holds(slot)).flatten()
        }
        SlotState::Inactive => holds(slot).or_else(|| Some("slot waits unused".to_owned())),
        SlotState::Unreserved => Some("slot about to lose its WAL".to_owned()),
        SlotState::Lost => Some("slot lost its WAL: clone again".to_owned()),
    }
}

/// The picture in sentences, for those who can't see it.
pub(crate) fn description(picture: &crate::Picture) -> String {
    fn tell(node: &Node, upstream: Option<(&Node, &Arrow)>, into: &mut Vec<String>) {
        let mut told = vec![format!(
            "{} is {}",
            shown(&node.name),
            with_article(node.role)
        )];
        told.extend(
            node.address
                .as_ref()
                .map(|address| format!("at {}", shown(address))),
        );
        told.extend(build(node));
        told.extend(condition(&node.condition).map(|text| shown(&text)));
        if let Some((upstream, arrow)) = upstream {
            told.push(match arrow.link {
                Link::Streaming(state, _) | Link::CatchingUp(state, _) => {
                    format!(
                        "streams from {}, {}",
                        shown(&upstream.name),
                        sync_state(state)
                    )
                }
                Link::Broken => format!("does not stream from {}", shown(&upstream.name)),
                Link::Unknown => format!("belongs to {}", shown(&upstream.name)),
            });
            told.extend(progress(&arrow.link));
            told.extend(slot(arrow));
        }
        into.push(format!("{}.", told.join(", ")));
        for follower in &node.standbys {
            tell(&follower.node, Some((node, &follower.arrow)), into);
        }
    }
    let mut sentences = Vec::new();
    for root in &picture.roots {
        tell(root, None, &mut sentences);
    }
    sentences.extend(picture.policy.as_deref().map(shown));
    sentences.extend(picture.risk.as_deref().map(shown));
    sentences.join(" ")
}

fn with_article(role: Role) -> &'static str {
    match role {
        Role::Primary => "the primary",
        Role::Standby => "a standby",
        Role::Unknown => "a server",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_that_does_its_work_is_not_mentioned() {
        let arrow = |state, retained_bytes| Arrow {
            link: Link::Broken,
            slot: Some(Slot {
                name: "manada_beto".to_owned(),
                state,
                retained_bytes,
            }),
        };
        assert_eq!(slot(&arrow(SlotState::Active, Some(16 << 20))), None);
        assert_eq!(
            slot(&arrow(SlotState::Inactive, Some(16 << 20))).as_deref(),
            Some("slot holds 16\u{A0}MB of WAL")
        );
        assert_eq!(
            slot(&arrow(SlotState::Lost, None)).as_deref(),
            Some("slot lost its WAL: clone again")
        );
    }
}
