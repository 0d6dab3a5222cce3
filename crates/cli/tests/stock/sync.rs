//! What `sync` changes, refuses and believes.

use std::fs;
use std::process::Stdio;

use manada_testbed::{Outcome, PATIENCE, Programs, poll_until, wait_until};
use rustix::process::{Pid, Signal, kill_process};

use crate::servers::{run, three};
use crate::steady::steady;
use crate::typed::{Herd, code, json, manada, said, stdout};

pub(crate) fn sync_is_in_force_when_it_returns(programs: Programs) -> Outcome {
    let [primary, _s1, _s2] = three(&programs);
    let uri = primary.uri();
    let before = primary.value("SELECT count(*) FROM pg_class");
    let first = run(&["sync", "first", "1", "-d", &uri]);
    assert_eq!(code(&first), Some(0), "{}", said(&first));
    assert!(
        stdout(&first).contains("a commit was seen waiting"),
        "{}",
        said(&first)
    );
    assert_eq!(
        primary.value(
            "SELECT string_agg(sync_state, ',' ORDER BY application_name) FROM pg_stat_replication"
        ),
        "sync,potential"
    );
    assert_eq!(
        primary.value("SHOW synchronous_standby_names"),
        "FIRST 1 (s1, s2)"
    );

    let any = json(&run(&[
        "sync", "any", "2", "s2", "s1", "--format", "json", "-d", &uri,
    ]));
    assert_eq!(any["from"], "FIRST 1 (s1, s2)");
    assert_eq!(any["to"], "ANY 2 (s2, s1)");
    assert_eq!(any["in_force"]["proof"], "acknowledged");
    assert_eq!(any["in_force"]["flushed"], 2);
    assert_eq!(any["spare"], 0);
    let dry = run(&["sync", "off", "--dry-run", "-d", &uri]);
    assert_eq!(code(&dry), Some(0));
    assert_eq!(
        primary.value("SHOW synchronous_standby_names"),
        "ANY 2 (s2, s1)"
    );
    let both = stdout(&run(&["sync", "first", "2", "-d", &uri]));
    // Whether the probe is seen waiting before it returns is a matter of luck by then: the policy
    // was synchronous before.
    let (plan, proof) = both.split_once("In force after").expect("a proof");
    insta::assert_snapshot!("sync_text", steady(plan));
    assert!(proof.contains("2 standbys"), "{both}");

    let off = run(&["sync", "off", "-d", &uri]);
    assert_eq!(code(&off), Some(0), "{}", said(&off));
    assert_eq!(primary.value("SHOW synchronous_standby_names"), "");
    assert_eq!(primary.value("SELECT count(*) FROM pg_class"), before);
    Ok(())
}

pub(crate) fn sync_refuses_what_would_hang_unless_forced() -> Outcome {
    let [primary, _s1, _s2] = three(&Programs::any()?);
    let uri = primary.uri();
    let refused = run(&["sync", "first", "1", "ghost", "-d", &uri]);
    assert_eq!(code(&refused), Some(4), "{}", said(&refused));
    assert!(
        said(&refused).contains("not streaming: ghost"),
        "{}",
        said(&refused)
    );
    assert_eq!(primary.value("SHOW synchronous_standby_names"), "");
    for wrong in [
        &["sync", "any", "0"][..],
        &["sync", "first"],
        &["sync", "any", "1", "*"],
        &["sync", "off", "1"],
    ] {
        let output = run(&[wrong, &["-d", &uri]].concat());
        assert_eq!(code(&output), Some(2), "{}", said(&output));
    }

    let forced = json(&run(&[
        "sync", "first", "1", "ghost", "--force", "--format", "json", "-d", &uri,
    ]));
    assert_eq!(forced["in_force"]["proof"], "waiting");
    assert_eq!(
        primary.value("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"),
        "0"
    );
    let status = json(&run(&["status", "--format", "json", "-d", &uri]));
    assert_eq!(status["problems"][0]["kind"], "policy_unsatisfied");

    primary.query(
        "SET synchronous_commit = local; ALTER ROLE postgres SET synchronous_commit = local",
    );
    let warned = run(&["sync", "any", "1", "-d", &uri]);
    assert_eq!(code(&warned), Some(0), "{}", said(&warned));
    assert!(
        stdout(&warned).contains("synchronous_commit = local"),
        "{}",
        said(&warned)
    );
    Ok(())
}

/// From empty to non-empty a reload is not enough: backends follow a flag that the checkpointer sets.
pub(crate) fn sync_does_not_believe_a_reload_the_checkpointer_has_not_seen(
    programs: Programs,
) -> Outcome {
    if programs.version() == manada_model::MajorVersion::V18 {
        // Its backends look at the setting themselves until the checkpointer has set the flag.
        return Ok(());
    }
    let [primary, s1, _s2] = three(&programs);
    let checkpointer =
        primary.value("SELECT pid FROM pg_stat_activity WHERE backend_type = 'checkpointer'");
    let checkpointer = Pid::from_raw(checkpointer.parse().expect("a number")).expect("a process");
    kill_process(checkpointer, Signal::STOP).expect("stopped");
    s1.pause();
    let believed = run(&[
        "sync",
        "first",
        "1",
        "s1",
        "--within",
        "3",
        "-d",
        &primary.uri(),
    ]);
    s1.resume();
    kill_process(checkpointer, Signal::CONT).expect("goes on");
    assert_eq!(code(&believed), Some(5), "{}", said(&believed));
    assert!(
        said(&believed).contains("commits returned"),
        "{}",
        said(&believed)
    );
    assert!(
        said(&believed).contains("go back: manada sync off"),
        "{}",
        said(&believed)
    );
    let again = run(&["sync", "first", "1", "s1", "-d", &primary.uri()]);
    assert_eq!(code(&again), Some(0), "{}", said(&again));
    Ok(())
}

pub(crate) fn sync_reports_a_standby_that_does_not_answer_and_leaves_no_waiting_commit() -> Outcome
{
    let [primary, s1, _s2] = three(&Programs::any()?);
    let uri = primary.uri();
    let waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
    s1.pause();
    let found = run(&["sync", "first", "1", "s1", "--within", "3", "-d", &uri]);
    assert_eq!(code(&found), Some(1), "{}", said(&found));
    assert!(
        stdout(&found).contains("they don't answer"),
        "{}",
        said(&found)
    );
    assert_eq!(primary.value(waiting), "0");

    // Interrupted while its probe waits, it ends that wait.
    let mut interrupted = manada(&["sync", "any", "1", "s1", "--within", "60", "-d", &uri])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("manada runs");
    let session = primary.session();
    wait_until("the probe waits", || session.value(waiting) == "1");
    kill_process(Pid::from_child(&interrupted), Signal::INT).expect("told to stop");
    let ended = interrupted.wait().expect("it ends");
    assert_eq!(ended.code(), Some(130));
    assert!(
        poll_until(PATIENCE, || session.value(waiting) == "0"),
        "a commit still waits"
    );
    s1.resume();
    Ok(())
}

pub(crate) fn sync_writes_a_nodes_managed_settings() -> Outcome {
    let (herd, _) = Herd::init(&Programs::any()?, &[]);
    herd.joined("n2");
    let home = herd.home("n1");
    let set = run(&["sync", "first", "1", "--home", &home]);
    assert_eq!(code(&set), Some(0), "{}", said(&set));
    let data = std::path::Path::new(&home).join("data");
    let read = |name: &str| fs::read_to_string(data.join(name)).expect("readable");
    assert!(
        read("manada.conf").contains("synchronous_standby_names = 'FIRST 1 (n2)'"),
        "{}",
        read("manada.conf")
    );
    assert!(!read("postgresql.auto.conf").contains("synchronous_standby_names"));
    // The superuser's own session passes policies by; that is not what clients do.
    let status = json(&run(&["status", "--format", "json", "--home", &home]));
    assert_eq!(status["policy"]["synchronous_commit"], "on");
    assert_eq!(status["loss"]["kind"], "nothing_acknowledged");

    herd.sql("n1", "ALTER SYSTEM SET synchronous_standby_names = ''");
    let overridden = run(&["sync", "off", "--home", &home]);
    assert_eq!(code(&overridden), Some(4), "{}", said(&overridden));
    assert!(said(&overridden).contains("ALTER SYSTEM RESET synchronous_standby_names"));
    let verified = run(&["verify", "--digest", "--home", &home]);
    assert_eq!(code(&verified), Some(0), "{}", said(&verified));
    Ok(())
}
