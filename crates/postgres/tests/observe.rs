//! What is read of a server is what the server says, with few rights too.

use std::time::{Duration, Instant};

use manada_model::{
    ArchiveMode, Lsn, Replay, ServerStatus, SlotWal, StandbyName, SyncPolicy, SyncState,
    SynchronousCommit, Visible, WalsenderState,
};
use manada_postgres::observe::{self, ObserveError};
use manada_postgres::{Conninfo, Secret, Session};
use manada_testbed::{Outcome, Programs, TestServer, trials, wait_until};

trials![
    a_primary_says_what_it_sends_holds_and_waits_for,
    a_standby_says_what_it_receives_and_from_whom,
    what_a_role_without_rights_may_not_see_is_hidden,
    a_stalled_server_is_given_up_in_time,
    a_policy_is_read_as_the_server_reads_it,
];

const LIMIT: Duration = Duration::from_secs(10);

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
        .block_on(future)
}

fn conninfo(server: &TestServer, user: &str) -> Conninfo {
    Conninfo::tcp("127.0.0.1", server.port(), user)
        .with_password(Secret::new(server.password()))
        .with_dbname("postgres")
}

async fn status_as(server: &TestServer, user: &str) -> ServerStatus {
    let session = Session::open(&conninfo(server, user))
        .await
        .expect("a session");
    observe::observe(&session, LIMIT).await.expect("a status")
}

fn status(server: &TestServer) -> ServerStatus {
    block_on(status_as(server, "postgres"))
}

fn a_primary_says_what_it_sends_holds_and_waits_for(programs: Programs) -> Outcome {
    let primary = TestServer::with(&programs)
        .setting("cluster_name", "p1")
        .setting("max_slot_wal_keep_size", "1GB")
        .start();
    let standby = TestServer::with(&programs).start_standby_of(&primary, "s1");
    primary.query("SELECT pg_create_physical_replication_slot('idle', true)");
    primary.query("ALTER ROLE postgres SET synchronous_commit = 'LOCAL'");
    primary.set("synchronous_standby_names", "ANY 1 (s1)");
    primary.wait_for("SELECT sync_state FROM pg_stat_replication", "quorum");
    primary.query("CREATE TABLE t AS SELECT 1");
    wait_until("the standby has replayed", || {
        status(&primary).walsenders[0]
            .progress
            .shown()
            .is_some_and(|progress| progress.replay_lsn == status(&primary).flush_lsn())
    });

    let status = status(&primary);
    let role = status.primary().expect("it is the primary");
    assert_eq!(role.timeline.0, 1);
    assert_eq!(
        status.version.0.to_string(),
        primary.value("SHOW server_version_num")
    );
    assert_eq!(
        status.system_identifier.to_string(),
        primary.value("SELECT system_identifier FROM pg_control_system()")
    );
    assert_eq!(status.cluster_name, "p1");
    assert_eq!(status.port, primary.port());
    assert_eq!(
        status.address,
        Some("127.0.0.1".parse().expect("an address"))
    );
    assert!(status.rights.superuser && status.rights.statistics);
    assert_eq!(
        role.waiting_commits.shown().map(|waiting| waiting.count),
        Some(0)
    );
    assert_eq!(status.archiver.mode, ArchiveMode::Off);

    let [walsender] = &status.walsenders[..] else {
        panic!("one walsender: {:?}", status.walsenders)
    };
    assert_eq!(walsender.application_name, "s1");
    assert_eq!(
        walsender.slot_name.as_ref().map(|slot| slot.as_str()),
        Some("s1")
    );
    let progress = walsender.progress.shown().expect("a superuser sees it");
    assert_eq!(progress.state, WalsenderState::Streaming);
    assert_eq!(progress.sync_state, SyncState::Quorum);
    assert_eq!(progress.sync_priority, 1);
    assert_eq!(progress.flush_lsn, Some(role.flush_lsn));

    let slot = |name: &str| {
        let mut slots = status.slots.iter();
        slots
            .find(|slot| slot.name.as_str() == name)
            .expect("there")
    };
    assert_eq!(slot("s1").active_pid, Some(walsender.pid));
    assert_eq!(slot("idle").active_pid, None);
    assert_eq!(slot("idle").wal_status, Some(SlotWal::Reserved));
    assert!(slot("idle").retained_bytes.is_some_and(|bytes| bytes > 0));
    assert!(slot("idle").safe_wal_size_bytes.is_some());

    assert_eq!(status.policy.synchronous_commit, SynchronousCommit::Local);
    let [role_default] = &status.policy.overrides[..] else {
        panic!("one override: {:?}", status.policy.overrides)
    };
    assert_eq!(role_default.role.as_deref(), Some("postgres"));
    assert_eq!(role_default.value, SynchronousCommit::Local);

    standby.pause();
    let writer = primary.session();
    let commit = writer.start("SET synchronous_commit = on; CREATE TABLE waits ()");
    wait_until("the commit is seen waiting", || {
        let status = self::status(&primary);
        let role = status.primary().expect("the primary");
        role.waiting_commits
            .shown()
            .is_some_and(|waiting| waiting.count == 1 && waiting.longest.is_some())
    });
    standby.resume();
    commit
        .within(LIMIT)
        .expect("the standby is back")
        .expect("a commit");
    Ok(())
}

fn a_standby_says_what_it_receives_and_from_whom(programs: Programs) -> Outcome {
    let primary = TestServer::start(&programs);
    let standby = TestServer::with(&programs)
        .setting("recovery_min_apply_delay", "250ms")
        .start_standby_of(&primary, "s1");
    primary.query("CREATE TABLE t AS SELECT 1");
    let flushed: Lsn = primary
        .value("SELECT pg_current_wal_flush_lsn()")
        .parse()
        .expect("an LSN");
    wait_until("the standby has replayed", || {
        let status = status(&standby);
        let replayed = status.standby().and_then(|standby| standby.replay_lsn);
        replayed >= Some(flushed)
    });
    let before_pause = status(&standby);
    let role = before_pause.standby().expect("it is a standby");
    assert_eq!(role.timeline.map(|timeline| timeline.0), Some(1));
    assert!(role.receive_lsn >= Some(flushed));
    assert!(role.last_replayed_commit_at.is_some());
    assert_eq!(role.replay, Replay::Running);
    assert_eq!(role.apply_delay, Duration::from_millis(250));
    assert_eq!(role.application_name, Visible::Shown("s1".to_owned()));
    let walreceiver = role.walreceiver.shown().and_then(Option::as_ref);
    let walreceiver = walreceiver.expect("it streams");
    assert_eq!(walreceiver.state, "streaming");
    assert_eq!(walreceiver.slot_name.as_deref(), Some("s1"));
    let sender = walreceiver.sender.as_ref().expect("shown");
    assert_eq!(
        (sender.host.as_str(), sender.port),
        ("127.0.0.1", primary.port())
    );
    assert_eq!(
        role.configured_upstreams,
        Visible::Shown(vec![sender.clone()])
    );

    standby.query("SELECT pg_wal_replay_pause()");
    wait_until("replay is paused", || {
        status(&standby)
            .standby()
            .is_some_and(|role| role.replay == Replay::Paused)
    });
    primary.crash();
    wait_until(
        "the walreceiver is gone, and where it should receive from is known",
        || {
            let status = status(&standby);
            let role = status.standby().expect("still a standby");
            role.walreceiver == Visible::Shown(None)
                && role.application_name == Visible::Shown("s1".to_owned())
                && role
                    .configured_upstreams
                    .shown()
                    .is_some_and(|all| all.len() == 1)
        },
    );
    Ok(())
}

fn what_a_role_without_rights_may_not_see_is_hidden(programs: Programs) -> Outcome {
    let primary = TestServer::start(&programs);
    let standby = TestServer::with(&programs).start_standby_of(&primary, "s1");
    let password = primary.password();
    primary.query(&format!(
        "CREATE ROLE monitor LOGIN PASSWORD '{password}' IN ROLE pg_monitor;
         CREATE ROLE stranger LOGIN PASSWORD '{password}';
         CREATE SCHEMA manada; CREATE TABLE manada.member (name text, host text, port int);
         INSERT INTO manada.member VALUES ('s1', '127.0.0.1', {});
         GRANT USAGE ON SCHEMA manada TO monitor; GRANT SELECT ON manada.member TO monitor",
        standby.port()
    ));
    standby.wait_for("SELECT to_regclass('manada.member') IS NOT NULL", "t");

    let seen = block_on(status_as(&primary, "monitor"));
    assert!(seen.rights.statistics && !seen.rights.superuser);
    assert!(seen.walsenders[0].progress.shown().is_some());
    assert_eq!(seen.members.len(), 1);
    let seen = block_on(status_as(&standby, "monitor"));
    let role = seen.standby().expect("a standby");
    assert!(role.configured_upstreams.shown().is_some());
    assert!(matches!(role.walreceiver, Visible::Shown(Some(_))));

    let hidden = block_on(status_as(&primary, "stranger"));
    assert_eq!(hidden.walsenders[0].application_name, "s1");
    assert_eq!(hidden.walsenders[0].progress, Visible::Hidden);
    assert!(hidden.members.is_empty());
    let role = hidden.primary().expect("the primary");
    assert_eq!(role.waiting_commits, Visible::Hidden);
    assert!(role.flush_lsn.is_valid());
    assert_eq!(hidden.slots.len(), 1);
    let hidden = block_on(status_as(&standby, "stranger"));
    let role = hidden.standby().expect("a standby");
    assert_eq!(role.walreceiver, Visible::Hidden);
    assert_eq!(role.application_name, Visible::Hidden);
    assert_eq!(role.configured_upstreams, Visible::Hidden);
    assert!(role.replay_lsn.is_some());
    Ok(())
}

fn a_stalled_server_is_given_up_in_time() -> Outcome {
    let server = TestServer::start(&Programs::any()?);
    block_on(async {
        let session = Session::open(&conninfo(&server, "postgres"))
            .await
            .expect("a session");
        server.pause();
        let asked = Instant::now();
        let limit = Duration::from_millis(200);
        let given_up = observe::observe(&session, limit).await;
        server.resume();
        assert!(
            matches!(given_up, Err(ObserveError::TimedOut { .. })),
            "{given_up:?}"
        );
        assert!(asked.elapsed() < Duration::from_secs(5));
    });
    Ok(())
}

/// What `pg_stat_replication` makes of a `synchronous_standby_names` is what ours makes of it, for
/// texts the server takes, and both refuse the same ones.
fn a_policy_is_read_as_the_server_reads_it(programs: Programs) -> Outcome {
    let primary = TestServer::start(&programs);
    let _standbys = ["alpha", "Beta_2", "first"].map(|name| {
        let slot = name.to_lowercase();
        let standby = TestServer::with(&programs).start_standby_of(&primary, &slot);
        let conninfo = standby.value("SHOW primary_conninfo");
        let renamed = conninfo.replace(
            &format!("application_name={slot}"),
            &format!("application_name={name}"),
        );
        standby.set("primary_conninfo", &renamed);
        standby
    });
    let printed = [
        SyncPolicy::first(
            2.try_into().expect("not 0"),
            vec![
                StandbyName::new("first"),
                StandbyName::new("a\"b ñ"),
                StandbyName::new("BETA_2"),
            ],
        )
        .to_string(),
        SyncPolicy::any(
            1.try_into().expect("not 0"),
            vec![
                StandbyName::new("7"),
                StandbyName::new("x-y"),
                StandbyName::new("any"),
                StandbyName::new("Alpha"),
            ],
        )
        .to_string(),
    ];
    let accepted = [
        "alpha",
        "ALPHA , beta_2",
        "2(beta_2,alpha)",
        "first 1 (\"first\", alpha)",
        "*",
        "any 2 (alpha, \"*\")",
        "\"first\"",
        "3, alpha",
        "007 (x, alpha)",
        "ANY 5 (\"alpha x\", beta_2)",
    ];
    for text in accepted
        .into_iter()
        .chain(printed.iter().map(String::as_str))
    {
        primary.set("synchronous_standby_names", text);
        wait_until(&format!("{text:?} is in force"), || {
            let status = status(&primary);
            if status.policy.standby_names != text || status.walsenders.len() != 3 {
                return false;
            }
            let policy = status.policy.policy.as_ref().expect("ours reads it too");
            let rule = policy.rule().expect("a rule");
            status.walsenders.iter().all(|walsender| {
                let progress = walsender.progress.shown().expect("shown");
                rule.priority_of(&walsender.application_name).unwrap_or(0) == progress.sync_priority
            })
        });
    }
    let refused = [
        " ",
        "any",
        "first",
        "any, alpha",
        "ANY 1",
        "ANY (a)",
        "ANY 1 ()",
        "ANY 1 (a",
        "1 (a) b",
        "a b",
        "a,",
        ",a",
        "1a",
        "a-b",
        "$a",
        "\"a",
        "0 (a)",
        "ANY 1 (a;b)",
    ];
    for text in refused {
        let quoted = text.replace('\'', "''");
        let set = format!("ALTER SYSTEM SET synchronous_standby_names = '{quoted}'");
        assert!(
            primary.try_query(&set).is_err(),
            "the server takes {text:?}"
        );
        assert!(text.parse::<SyncPolicy>().is_err(), "ours takes {text:?}");
    }
    Ok(())
}
