//! How a herd's answers become trees.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use manada_diagram::{Charset, Condition, Node, Picture, draw, forest};
use manada_model::{
    Answer, ArchiveMode, Archiver, HerdStatus, Lsn, NoAnswer, PolicySetting, PrimaryStatus,
    Recovery, Replay, Rights, ServerStatus, ServerVersion, Slot, SlotKind, SlotWal, StandbyStatus,
    SyncPolicy, SyncState, SynchronousCommit, SystemIdentifier, TimelineId, Visible,
    WaitingCommits, Walreceiver, Walsender, WalsenderProgress, WalsenderState,
};

const WRITTEN: Lsn = Lsn(0x300_0000);

#[test]
fn a_cascade_a_silent_member_and_one_that_only_its_upstream_knows() {
    let mut ana = server("ana", primary());
    ana.walsenders = vec![
        walsender("beto", SyncState::Sync, WRITTEN),
        walsender("guest", SyncState::Async, Lsn(0x2FF_0000)),
    ];
    ana.walsenders[1].slot_name = None;
    ana.slots = vec![
        slot("manada_beto", Some(SlotWal::Reserved), true),
        slot("manada_dora", Some(SlotWal::Extended), false),
    ];
    let mut beto = server("beto", standby("beto", Replay::Running));
    beto.walsenders = vec![walsender("elena", SyncState::Async, Lsn(0x200_0000))];
    let elena = server("elena", standby("elena", Replay::Paused));
    let herd = assemble(vec![
        said("ana", 1, ana),
        said("beto", 2, beto),
        silent("dora", 4, "no route to host"),
        said("elena", 5, elena),
    ]);
    insta::assert_snapshot!(drawn(&herd), @r#"
    herd

    ┌─ ana ─────────────── primary ─┐
    │ 10.0.0.1:5432                 │
    │ PostgreSQL 17.10 · timeline 1 │
    └─┬─────────────────────────────┘
      │ sync               ┌─ beto ────────────── standby ─┐
      ├───────────────────▶│ 10.0.0.2:5432                 │
      │ caught up · 2 ms   │ PostgreSQL 17.10 · timeline 1 │
      │ slot holds 96 MB   └─┬─────────────────────────────┘
      │ of WAL               │ async              ┌─ elena ───────────── standby ─┐
      │                      └───────────────────▶│ 10.0.0.5:5432                 │
      │                        caught up          │ PostgreSQL 17.10 · timeline 1 │
      │                                           │ replay is paused              │
      │                                           └───────────────────────────────┘
      │ async              ┌─ guest ───────────── standby ─┐
      ├───────────────────▶│ not asked: known from its     │
      │ 64 kB behind ·     │ upstream alone                │
      │ 2 ms               └───────────────────────────────┘
      │ not streaming      ┌─ dora ────────────── standby ─┐
      └╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌×│ 10.0.0.4:5432                 │
        slot holds 96 MB   │ does not answer: no route to  │
        of WAL             │ host                          │
                           └───────────────────────────────┘
    "#);
}

#[test]
fn two_primaries_stand_apart() {
    let herd = assemble(vec![
        said("ana", 1, server("ana", primary())),
        said("beto", 2, server("beto", primary())),
    ]);
    let roots = forest(&herd);
    assert_eq!(names(&roots), ["ana", "beto"]);
    insta::assert_snapshot!(drawn(&herd), @r#"
    herd

    ┌─ ana ─────────────── primary ─┐
    │ 10.0.0.1:5432                 │
    │ PostgreSQL 17.10 · timeline 1 │
    │ not the only primary          │
    └───────────────────────────────┘

    ┌─ beto ────────────── primary ─┐
    │ 10.0.0.2:5432                 │
    │ PostgreSQL 17.10 · timeline 1 │
    │ not the only primary          │
    └───────────────────────────────┘
    "#);
}

#[test]
fn a_standby_that_receives_nothing_hangs_on_the_primary_and_its_lost_slot_shows() {
    let mut ana = server("ana", primary());
    ana.slots = vec![slot("manada_beto", Some(SlotWal::Lost), false)];
    let mut beto = server("beto", standby("beto", Replay::Running));
    if let Recovery::Standby(standby) = &mut beto.recovery {
        standby.walreceiver = Visible::Shown(None);
    }
    let herd = assemble(vec![said("ana", 1, ana), said("beto", 2, beto)]);
    insta::assert_snapshot!(drawn(&herd), @r#"
    herd

    ┌─ ana ─────────────── primary ─┐
    │ 10.0.0.1:5432                 │
    │ PostgreSQL 17.10 · timeline 1 │
    └─┬─────────────────────────────┘
      │ not streaming                ┌─ beto ────────────── standby ─┐
      └╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌×│ 10.0.0.2:5432                 │
        slot lost its WAL: clone     │ PostgreSQL 17.10 · timeline 1 │
        again                        └───────────────────────────────┘
    "#);
}

#[test]
fn a_slot_for_nobody_who_is_known_is_told_of_where_it_is() {
    let mut ana = server("ana", primary());
    ana.slots = vec![slot("manada_gone", Some(SlotWal::Reserved), false)];
    let herd = assemble(vec![said("ana", 1, ana)]);
    let ailing = Condition::Ailing("slot manada_gone is unused and holds 96\u{A0}MB of WAL".into());
    assert_eq!(forest(&herd)[0].condition, ailing);
}

#[test]
fn a_server_of_another_cluster_hangs_on_nobody() {
    let mut zoe = server("zoe", standby("zoe", Replay::Running));
    zoe.system_identifier = SystemIdentifier(42);
    let herd = assemble(vec![
        said("ana", 1, server("ana", primary())),
        said("zoe", 9, zoe),
    ]);
    assert_eq!(names(&forest(&herd)), ["ana", "zoe"]);
}

#[test]
fn standbys_that_feed_each_other_are_drawn_once_each() {
    let mut one = server("one", standby("one", Replay::Running));
    one.walsenders = vec![walsender("two", SyncState::Async, WRITTEN)];
    let mut two = server("two", standby("two", Replay::Running));
    two.walsenders = vec![walsender("one", SyncState::Async, WRITTEN)];
    let herd = assemble(vec![said("one", 1, one), said("two", 2, two)]);
    let roots = forest(&herd);
    assert_eq!(names(&roots), ["one"]);
    assert_eq!(roots[0].standbys.len(), 1);
    assert!(roots[0].standbys[0].node.standbys.is_empty());
}

fn names(nodes: &[Node]) -> Vec<&str> {
    nodes.iter().map(|node| node.name.as_str()).collect()
}

fn drawn(herd: &HerdStatus) -> String {
    let picture = Picture {
        title: "herd".to_owned(),
        taken_at: None,
        roots: forest(herd),
        policy: None,
        risk: None,
    };
    draw(&picture, 80, Charset::Unicode).to_plain()
}

fn assemble(answers: Vec<Answer>) -> HerdStatus {
    HerdStatus::assemble(Timestamp::UNIX_EPOCH, Duration::ZERO, answers)
}

fn said(name: &str, host: u8, status: ServerStatus) -> Answer {
    Answer {
        member: Some(name.to_owned()),
        endpoint: format!("10.0.0.{host}:5432"),
        addresses: vec![[10, 0, 0, host].into()],
        seen_by: None,
        outcome: Ok(status),
    }
}

fn silent(name: &str, host: u8, reason: &str) -> Answer {
    Answer {
        member: Some(name.to_owned()),
        endpoint: format!("10.0.0.{host}:5432"),
        addresses: vec![[10, 0, 0, host].into()],
        seen_by: None,
        outcome: Err(NoAnswer {
            reason: reason.to_owned(),
            waited: Duration::from_secs(1),
        }),
    }
}

fn server(name: &str, recovery: Recovery) -> ServerStatus {
    // Two servers started in the same microsecond would be taken for one.
    let started = name.bytes().map(i64::from).sum();
    ServerStatus {
        answered_at: Timestamp::UNIX_EPOCH,
        round_trip: Duration::ZERO,
        server_time: Timestamp::UNIX_EPOCH,
        started_at: Timestamp::from_second(started).expect("a time"),
        version: ServerVersion(170_010),
        system_identifier: SystemIdentifier(7),
        cluster_name: name.to_owned(),
        address: None,
        port: 5432,
        rights: Rights {
            statistics: true,
            superuser: false,
        },
        recovery,
        walsenders: Vec::new(),
        slots: Vec::new(),
        policy: PolicySetting {
            standby_names: String::new(),
            policy: Some(SyncPolicy::Off),
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

fn primary() -> Recovery {
    Recovery::Primary(PrimaryStatus {
        timeline: TimelineId(1),
        write_lsn: WRITTEN,
        flush_lsn: WRITTEN,
        waiting_commits: Visible::Shown(WaitingCommits {
            count: 0,
            longest: None,
        }),
    })
}

fn standby(name: &str, replay: Replay) -> Recovery {
    Recovery::Standby(Box::new(StandbyStatus {
        timeline: Some(TimelineId(1)),
        receive_lsn: Some(WRITTEN),
        replay_lsn: Some(WRITTEN),
        last_replayed_commit_at: None,
        replay,
        apply_delay: Duration::ZERO,
        walreceiver: Visible::Shown(Some(Walreceiver {
            state: "streaming".to_owned(),
            sender: None,
            slot_name: Some(format!("manada_{name}")),
            written_lsn: Some(WRITTEN),
            flushed_lsn: Some(WRITTEN),
            last_message_at: None,
        })),
        application_name: Visible::Shown(name.to_owned()),
        configured_upstreams: Visible::Hidden,
    }))
}

fn walsender(name: &str, sync_state: SyncState, replay_lsn: Lsn) -> Walsender {
    Walsender {
        pid: 1,
        application_name: name.to_owned(),
        slot_name: format!("manada_{name}").parse().ok(),
        progress: Visible::Shown(WalsenderProgress {
            client_addr: None,
            connected_at: None,
            state: WalsenderState::Streaming,
            sent_lsn: Some(WRITTEN),
            write_lsn: Some(WRITTEN),
            flush_lsn: Some(WRITTEN),
            replay_lsn: Some(replay_lsn),
            write_lag: None,
            flush_lag: None,
            replay_lag: Some(Duration::from_millis(2)),
            sync_state,
            sync_priority: 0,
            replied_at: None,
        }),
    }
}

fn slot(name: &str, wal_status: Option<SlotWal>, active: bool) -> Slot {
    Slot {
        name: name.parse().expect("a slot's name"),
        kind: SlotKind::Physical,
        temporary: false,
        active_pid: active.then_some(1),
        restart_lsn: Some(WRITTEN),
        retained_bytes: Some(96 << 20),
        wal_status,
        safe_wal_size_bytes: None,
        inactive_since: None,
        invalidation: None,
    }
}
