//! Herds to draw, each with something of its own.

use std::time::Duration;

use manada_diagram::{Arrow, Condition, Follower, Lag, Link, Node, Picture, Role, Slot, SlotState};
use manada_model::{SyncState, TimelineId};

/// All of them, by name.
pub(crate) fn all() -> Vec<(&'static str, Picture)> {
    vec![
        ("one_standby", one_standby()),
        ("two_standbys", two_standbys()),
        ("one_of_three_unreachable", one_of_three_unreachable()),
        ("cascade", cascade()),
        ("eight_standbys", eight_standbys()),
        ("long_names", long_names()),
        ("two_primaries", two_primaries()),
        ("alone", alone()),
    ]
}

fn server(name: &str, role: Role, address: &str) -> Node {
    Node {
        name: name.to_owned(),
        role,
        address: Some(address.to_owned()),
        version: Some("17.10".to_owned()),
        timeline: Some(TimelineId(1)),
        condition: Condition::Answering,
        standbys: Vec::new(),
    }
}

fn streams(state: SyncState, bytes: u64, time: Option<Duration>) -> Arrow {
    let lag = Lag {
        bytes: Some(bytes),
        time,
    };
    Arrow {
        link: Link::Streaming(state, lag),
        slot: None,
    }
}

fn follower(arrow: Arrow, node: Node) -> Follower {
    Follower { arrow, node }
}

fn herd(roots: Vec<Node>, policy: &str, risk: &str) -> Picture {
    Picture {
        title: "herd orders".to_owned(),
        taken_at: Some("asked at 2026-11-21 20:30:06 UTC".to_owned()),
        roots,
        policy: Some(policy.to_owned()),
        risk: Some(risk.to_owned()),
    }
}

pub(crate) fn one_standby() -> Picture {
    let mut ana = server("ana", Role::Primary, "10.0.0.1:5432");
    ana.standbys.push(follower(
        streams(SyncState::Async, 0, Some(Duration::from_micros(410))),
        server("beto", Role::Standby, "10.0.0.2:5432"),
    ));
    herd(
        vec![ana],
        "Commits wait for no standby.",
        "If ana died now, nothing that beto has not received would be lost: 0 B at risk.",
    )
}

pub(crate) fn two_standbys() -> Picture {
    let mut ana = server("ana", Role::Primary, "10.0.0.1:5432");
    ana.standbys.push(follower(
        streams(SyncState::Sync, 0, Some(Duration::from_micros(410))),
        server("beto", Role::Standby, "10.0.0.2:5432"),
    ));
    ana.standbys.push(follower(
        streams(SyncState::Potential, 24_576, Some(Duration::from_millis(3))),
        server("carla", Role::Standby, "10.0.0.3:5432"),
    ));
    herd(
        vec![ana],
        "Commits wait until 1 of beto, carla, the first in this order that streams, has them on disk.",
        "If ana died now, no acknowledged commit would be lost.",
    )
}

pub(crate) fn one_of_three_unreachable() -> Picture {
    let mut ana = server("ana", Role::Primary, "10.0.0.1:5432");
    ana.standbys.push(follower(
        streams(SyncState::Quorum, 0, Some(Duration::from_micros(380))),
        server("beto", Role::Standby, "10.0.0.2:5432"),
    ));
    let mut carla = server("carla", Role::Standby, "10.0.0.3:5432");
    carla.condition = Condition::Ailing("replay is paused".to_owned());
    ana.standbys.push(follower(
        streams(SyncState::Quorum, 18 << 20, Some(Duration::from_secs(95))),
        carla,
    ));
    let mut dora = server("dora", Role::Standby, "10.0.0.4:5432");
    dora.version = None;
    dora.timeline = None;
    dora.condition = Condition::Unreachable("no route to host".to_owned());
    ana.standbys.push(follower(
        Arrow {
            link: Link::Broken,
            slot: Some(Slot {
                name: "manada_dora".to_owned(),
                state: SlotState::Inactive,
                retained_bytes: Some(1_300 << 20),
            }),
        },
        dora,
    ));
    herd(
        vec![ana],
        "Commits wait until any 1 of beto, carla, dora have them on disk.",
        "If ana died now, no acknowledged commit would be lost: beto has all of them.",
    )
}

pub(crate) fn cascade() -> Picture {
    let mut ana = server("ana", Role::Primary, "10.0.0.1:5432");
    let mut beto = server("beto", Role::Standby, "10.0.0.2:5432");
    beto.standbys.push(follower(
        streams(SyncState::Async, 4_096, Some(Duration::from_millis(21))),
        server("elena", Role::Standby, "10.1.0.5:5432"),
    ));
    let arrow = Arrow {
        link: Link::CatchingUp(
            SyncState::Async,
            Lag {
                bytes: Some(3 << 30),
                time: None,
            },
        ),
        slot: None,
    };
    beto.standbys.push(follower(
        arrow,
        server("fabio", Role::Standby, "10.1.0.6:5432"),
    ));
    ana.standbys
        .push(follower(streams(SyncState::Sync, 0, None), beto));
    let mut carla = server("carla", Role::Standby, "10.0.0.3:5432");
    carla.condition = Condition::Ailing("clone it again".to_owned());
    ana.standbys.push(follower(
        Arrow {
            link: Link::Broken,
            slot: Some(Slot {
                name: "manada_carla".to_owned(),
                state: SlotState::Lost,
                retained_bytes: None,
            }),
        },
        carla,
    ));
    herd(
        vec![ana],
        "Commits wait until beto has them on disk.",
        "If ana died now, no acknowledged commit would be lost.",
    )
}

pub(crate) fn eight_standbys() -> Picture {
    let mut ana = server("ana", Role::Primary, "10.0.0.1:5432");
    for number in 2..=9_u64 {
        let state = if number < 5 {
            SyncState::Quorum
        } else {
            SyncState::Async
        };
        ana.standbys.push(follower(
            streams(state, number * 8_192, Some(Duration::from_millis(number))),
            server(
                &format!("standby_{number}"),
                Role::Standby,
                &format!("10.0.0.{number}:5432"),
            ),
        ));
    }
    herd(
        vec![ana],
        "Commits wait until any 2 of standby_2, standby_3, standby_4 have them on disk.",
        "If ana died now, no acknowledged commit would be lost.",
    )
}

pub(crate) fn long_names() -> Picture {
    let mut primary = server(
        "orders_production_eu_west_rack_12_a",
        Role::Primary,
        "postgres-orders-production-01.eu-west.internal.example.org:5432",
    );
    let mut first = server(
        "orders_production_eu_west_rack_31_b",
        Role::Standby,
        "[2001:db8:85a3:8d3:1319:8a2e:370:7348]:5432",
    );
    first.condition = Condition::Ailing(
        "max_connections is 100 here and 400 on the primary, so replay will stop at the next change"
            .to_owned(),
    );
    primary.standbys.push(follower(
        streams(
            SyncState::Sync,
            734_003_200,
            Some(Duration::from_secs(5_000)),
        ),
        first,
    ));
    let mut second = server(
        "orders_production_eu_central_rack_7_c",
        Role::Unknown,
        "postgres-orders-production-03.eu-central.internal.example.org:5432",
    );
    second.version = None;
    second.timeline = None;
    second.condition = Condition::Unreachable(
        "the name postgres-orders-production-03.eu-central.internal.example.org does not resolve"
            .to_owned(),
    );
    primary.standbys.push(follower(
        Arrow {
            link: Link::Unknown,
            slot: Some(Slot {
                name: "manada_orders_production_eu_central_rack_7_c".to_owned(),
                state: SlotState::Unreserved,
                retained_bytes: Some(64 << 30),
            }),
        },
        second,
    ));
    herd(
        vec![primary],
        "Commits wait until orders_production_eu_west_rack_31_b has them on disk, and if it does not stream, for orders_production_eu_central_rack_7_c in its place.",
        "If orders_production_eu_west_rack_12_a died now, no acknowledged commit would be lost.",
    )
}

pub(crate) fn two_primaries() -> Picture {
    let mut ana = server("ana", Role::Primary, "10.0.0.1:5432");
    ana.condition = Condition::Ailing("a second primary of this herd".to_owned());
    let mut beto = server("beto", Role::Primary, "10.0.0.2:5432");
    beto.timeline = Some(TimelineId(2));
    beto.condition = Condition::Ailing("a second primary of this herd".to_owned());
    beto.standbys.push(follower(
        streams(SyncState::Async, 0, None),
        server("carla", Role::Standby, "10.0.0.3:5432"),
    ));
    herd(
        vec![ana, beto],
        "ana and beto both take writes.",
        "What is written to one of them is not on the other.",
    )
}

pub(crate) fn alone() -> Picture {
    let mut picture = herd(
        vec![server("ana", Role::Primary, "/run/postgresql")],
        "Commits wait for no standby.",
        "If ana died now, all would be lost that no backup has.",
    );
    picture.taken_at = None;
    picture
}
