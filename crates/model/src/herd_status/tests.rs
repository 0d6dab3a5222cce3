//! What follows from what servers said, case by case.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use crate::*;

const END: Lsn = Lsn(0x300_0000);

/// A primary `p1` with this policy; its receivers are added with [`sends`].
fn primary(standby_names: &str) -> ServerStatus {
    ServerStatus {
        answered_at: Timestamp::UNIX_EPOCH,
        round_trip: Duration::ZERO,
        server_time: Timestamp::UNIX_EPOCH,
        started_at: Timestamp::UNIX_EPOCH,
        version: ServerVersion(150_018),
        system_identifier: SystemIdentifier(7),
        cluster_name: "p1".to_owned(),
        address: None,
        port: 5432,
        rights: Rights {
            statistics: true,
            superuser: false,
        },
        recovery: Recovery::Primary(PrimaryStatus {
            timeline: TimelineId(1),
            write_lsn: END,
            flush_lsn: END,
            waiting_commits: Visible::Shown(WaitingCommits {
                count: 0,
                longest: None,
            }),
        }),
        walsenders: Vec::new(),
        slots: Vec::new(),
        policy: PolicySetting {
            standby_names: standby_names.to_owned(),
            policy: standby_names.parse().ok(),
            synchronous_commit: SynchronousCommit::On,
            overrides: Vec::new(),
        },
        recovery_limits: BTreeMap::new(),
        archiver: Archiver {
            mode: ArchiveMode::Off,
            has_command: false,
            archived_count: 0,
            last_archived_wal: None,
            last_archived_at: None,
            failed_count: 0,
            last_failed_wal: None,
            last_failed_at: None,
        },
        members: Vec::new(),
    }
}

fn sends(mut server: ServerStatus, name: &str, flushed: Lsn) -> ServerStatus {
    let pid = i32::try_from(server.walsenders.len()).expect("few") + 1;
    server.walsenders.push(Walsender {
        pid,
        application_name: name.to_owned(),
        slot_name: None,
        progress: Visible::Shown(WalsenderProgress {
            client_addr: None,
            connected_at: None,
            state: WalsenderState::Streaming,
            sent_lsn: Some(END),
            write_lsn: Some(flushed),
            flush_lsn: Some(flushed),
            replay_lsn: Some(flushed),
            write_lag: None,
            flush_lag: None,
            replay_lag: None,
            sync_state: SyncState::Async,
            sync_priority: 0,
            replied_at: None,
        }),
    });
    server
}

/// The slot of a node that is away; it had confirmed up to there.
fn keeps_slot(mut server: ServerStatus, node: &str, confirmed: Lsn) -> ServerStatus {
    server.slots.push(Slot {
        name: node.parse::<NodeName>().expect("a name").slot(),
        kind: SlotKind::Physical,
        temporary: false,
        active_pid: None,
        restart_lsn: Some(confirmed),
        retained_bytes: Some(END.bytes_since(confirmed)),
        wal_status: Some(SlotWal::Reserved),
        safe_wal_size_bytes: None,
        inactive_since: None,
        invalidation: None,
    });
    server
}

fn standby(name: &str, position: Lsn) -> ServerStatus {
    // Servers started in the same microsecond on the same port would be taken for one.
    let started = 1 + name.bytes().map(i64::from).sum::<i64>();
    ServerStatus {
        cluster_name: name.to_owned(),
        started_at: Timestamp::from_second(started).expect("a time"),
        port: 5433,
        recovery: Recovery::Standby(Box::new(StandbyStatus {
            timeline: Some(TimelineId(1)),
            receive_lsn: Some(position),
            replay_lsn: Some(position),
            last_replayed_commit_at: None,
            replay: Replay::Running,
            apply_delay: Duration::ZERO,
            walreceiver: Visible::Shown(Some(Walreceiver {
                state: "streaming".to_owned(),
                sender: None,
                slot_name: None,
                written_lsn: None,
                flushed_lsn: None,
                last_message_at: None,
            })),
            application_name: Visible::Shown(name.to_owned()),
            configured_upstreams: Visible::Hidden,
        })),
        ..primary("")
    }
}

fn answer(endpoint: &str, outcome: Result<ServerStatus, NoAnswer>) -> Answer {
    Answer {
        member: None,
        endpoint: endpoint.to_owned(),
        addresses: Vec::new(),
        seen_by: None,
        outcome,
    }
}

fn herd(servers: impl IntoIterator<Item = ServerStatus>) -> HerdStatus {
    let answers = servers.into_iter().enumerate();
    let answers = answers.map(|(index, server)| answer(&format!("h{index}:1"), Ok(server)));
    HerdStatus::assemble(Timestamp::UNIX_EPOCH, Duration::ZERO, answers.collect())
}

fn loss(server: ServerStatus) -> Loss {
    herd([server]).loss
}

#[test]
fn without_a_standby_everything_would_be_lost() {
    assert_eq!(loss(primary("")), Loss::Everything);
}

#[test]
fn asynchronous_loss_is_what_the_furthest_standby_lacks() {
    let server = sends(
        sends(primary(""), "s1", Lsn(END.0 - 100)),
        "s2",
        Lsn(END.0 - 30),
    );
    assert_eq!(
        loss(server),
        Loss::UpTo {
            best: "s2".to_owned(),
            bytes: 30,
            since_last_replayed_commit: None
        }
    );
    assert_eq!(
        loss(sends(primary(""), "s1", END)),
        Loss::NothingThisMoment {
            best: "s1".to_owned()
        }
    );
}

#[test]
fn a_policy_that_holds_keeps_what_was_acknowledged() {
    let kept = |best: &str| Loss::NothingAcknowledged {
        best: best.to_owned(),
        level: SynchronousCommit::On,
    };
    let behind = Lsn(END.0 - 8);
    assert_eq!(loss(sends(primary("s1"), "s1", behind)), kept("s1"));
    let mut bypassed = sends(primary("s1"), "s1", behind);
    bypassed.policy.synchronous_commit = SynchronousCommit::Local;
    assert!(matches!(loss(bypassed), Loss::UpTo { bytes: 8, .. }));
}

/// With one of two names away, an earlier commit may be on that one alone, unless its slot says where
/// it stopped.
#[test]
fn a_standby_that_is_away_may_hold_more_unless_its_slot_denies_it() {
    let behind = Lsn(END.0 - 8);
    let server = || sends(primary("FIRST 1 (s1, s2)"), "s2", behind);
    assert!(matches!(loss(server()), Loss::UpTo { bytes: 8, .. }));
    let stopped_before = keeps_slot(server(), "s1", Lsn(behind.0 - 8));
    assert!(matches!(
        loss(stopped_before),
        Loss::NothingAcknowledged { .. }
    ));
    let stopped_later = keeps_slot(server(), "s1", END);
    assert!(matches!(loss(stopped_later), Loss::UpTo { .. }));
    let both_needed = sends(
        sends(primary("ANY 2 (s1, s2, s3)"), "s2", behind),
        "s1",
        behind,
    );
    assert!(matches!(
        loss(both_needed),
        Loss::NothingAcknowledged { .. }
    ));
}

#[test]
fn a_receiver_that_replays_nothing_can_not_take_over() {
    let mut server = sends(primary(""), "pg_receivewal", END);
    if let Visible::Shown(progress) = &mut server.walsenders[0].progress {
        progress.replay_lsn = None;
    }
    assert_eq!(
        loss(server),
        Loss::Unknown {
            reason: UnknownLoss::NoStandbyHeardOf
        }
    );
}

#[test]
fn two_primaries_are_a_problem_and_leave_the_loss_open() {
    let mut other = primary("");
    other.started_at = Timestamp::from_second(1).expect("a time");
    other.cluster_name = "p2".to_owned();
    let status = herd([primary(""), other]);
    assert_eq!(
        status.problems,
        [Problem::SeveralPrimaries {
            nodes: vec!["p1".to_owned(), "p2".to_owned()]
        }]
    );
    assert!(status.primary().is_none());
}

#[test]
fn a_policy_without_its_standbys_is_a_problem() {
    let status = herd([sends(primary("ANY 2 (s1, S2)"), "s2", END)]);
    assert_eq!(
        status.problems,
        [Problem::PolicyUnsatisfied {
            needed: 2,
            streaming: vec!["s2".to_owned()],
            missing: vec!["s1".to_owned()]
        }]
    );
}

#[test]
fn standbys_stand_below_their_upstream() {
    let server = sends(sends(primary(""), "s2", END), "s1", END);
    let s1 = sends(standby("s1", END), "c1", END);
    let status = herd([
        standby("c1", END),
        s1,
        server,
        standby("s2", Lsn(END.0 - 5)),
    ]);
    let names: Vec<&str> = status.nodes.iter().map(|node| node.name.as_str()).collect();
    assert_eq!(names, ["p1", "s1", "c1", "s2"]);
    let c1 = status.node("c1").expect("there");
    let upstream = c1.upstream.as_ref().and_then(|from| from.node.as_deref());
    assert_eq!(upstream, Some("s1"));
    assert_eq!(c1.lag.expect("a lag").replay.bytes, Some(0));
}

#[test]
fn two_ways_to_one_server_are_one_node() {
    let status = herd([primary(""), primary("")]);
    assert_eq!(status.nodes.len(), 1);
}

#[test]
fn names_that_do_not_tell_apart_give_way_to_endpoints() {
    let mut server = sends(sends(primary(""), "15/main", END), "15/main", END);
    server.cluster_name = "15/main".to_owned();
    let named = |second: i64| ServerStatus {
        started_at: Timestamp::from_second(second).expect("a time"),
        ..standby("15/main", END)
    };
    let status = herd([server, named(1), named(2)]);
    let names: Vec<&str> = status.nodes.iter().map(|node| node.name.as_str()).collect();
    assert_eq!(names, ["h0:1", "h1:1", "h2:1"]);
}

#[test]
fn who_does_not_answer_is_known_by_its_address_where_only_one_can_be_meant() {
    let address = "10.0.0.2".parse().expect("an address");
    let mut server = sends(primary(""), "s1", END);
    if let Visible::Shown(progress) = &mut server.walsenders[0].progress {
        progress.client_addr = Some(address);
    }
    let silent = Answer {
        addresses: vec![address],
        ..answer(
            "10.0.0.2:5432",
            Err(NoAnswer {
                reason: "silence".to_owned(),
                waited: Duration::ZERO,
            }),
        )
    };
    let answers = vec![answer("h0:1", Ok(server)), silent];
    let status = HerdStatus::assemble(Timestamp::UNIX_EPOCH, Duration::ZERO, answers);
    assert_eq!(status.nodes.len(), 2);
    let s1 = status.node("s1").expect("known by its walsender's name");
    assert!(matches!(s1.state, NodeState::Unreachable { .. }));
    assert_eq!(s1.role(), Role::Standby);
}

#[test]
fn a_standby_with_lower_limits_is_not_told_to_resume_its_replay() {
    let limits = |connections| BTreeMap::from([("max_connections".to_owned(), connections)]);
    let mut leader = sends(primary(""), "s1", END);
    leader.recovery_limits = limits(300);
    let mut follower = standby("s1", END);
    follower.recovery_limits = limits(100);
    if let Recovery::Standby(standby) = &mut follower.recovery {
        standby.replay = Replay::Paused;
    }
    let problems = herd([leader.clone(), follower.clone()]).problems;
    let too_low = Problem::LimitsTooLow {
        node: "s1".to_owned(),
        primary: "p1".to_owned(),
        limits: vec![LowLimit {
            name: "max_connections".to_owned(),
            standby: 100,
            primary: 300,
        }],
    };
    assert!(problems.contains(&too_low), "{problems:?}");
    let paused = Problem::ReplayPaused {
        node: "s1".to_owned(),
    };
    assert!(!problems.contains(&paused), "{problems:?}");

    follower.recovery_limits = limits(300);
    let problems = herd([leader, follower]).problems;
    assert!(problems.contains(&paused), "{problems:?}");
}
