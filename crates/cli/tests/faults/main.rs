//! Protected herds under faults: three hosts with a server, an agent and a member of etcd on each,
//! and clients that write all the while.

mod watched;

use std::path::{Path, PathBuf};
use std::time::Duration;

use manada_testbed::chaos::{Chaos, Kind};
use manada_testbed::faults::Partition;
use manada_testbed::{
    Outcome, Programs, ProtectedHerd, Shape, names_in, poll_until, trials, wait_until,
};
use watched::Watched;

trials![
    isolated_primary_stops_acknowledging_before_its_standby_is_promoted,
    a_stall_of_1_5_s_causes_no_failover,
    loss_of_the_store_leaves_a_synchronous_primary_alone,
    a_killed_agent_leaves_its_server_alone,
    an_open_session_on_the_old_primary_gets_no_acknowledgement_after_the_failover,
    the_divergent_tail_is_saved_before_the_old_primary_comes_back,
    the_uri_finds_the_new_primary,
    a_herd_survives_one_fault_after_the_other,
];

const NAMES: [&str; 3] = ["db1", "db2", "db3"];

/// The stall that must be lived through.
const STALL: Duration = Duration::from_millis(1500);

/// Longer than a lease and a silent quorum together: who would act on the silence has acted.
const SILENCE: Duration = Duration::from_secs(8);

fn manada() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_manada"))
}

fn herd() -> Result<ProtectedHerd, manada_testbed::Missing> {
    ProtectedHerd::start(manada(), &Programs::any()?, &NAMES)
}

fn isolated_primary_stops_acknowledging_before_its_standby_is_promoted() -> Outcome {
    let watched = Watched::start(herd()?);
    let old = watched.herd.primary();
    let partition = Partition::isolating(old.host());
    let others = || {
        watched
            .herd
            .nodes()
            .iter()
            .filter(|it| it.name() != old.name())
    };
    wait_until("a standby is promoted", || {
        others().any(|node| node.in_recovery() == Some(false))
    });
    let promoted_by = watched.recorder.now();
    watched.wait_for_acknowledgement_by_another(old.name());

    // Clients on the old primary's own host reach it all the while.
    let last = watched.last_acknowledged_by(old.name());
    assert!(last < promoted_by, "{last:?} is not before {promoted_by:?}");
    partition.heal();
    watched.finish();
    Ok(())
}

fn a_stall_of_1_5_s_causes_no_failover() -> Outcome {
    let programs = Programs::any()?;
    let watched = Watched::start(ProtectedHerd::start_to_fail(
        manada(),
        &programs,
        Shape::Blocking,
    )?);
    let primary = watched.herd.primary();
    let epoch = watched.epoch();

    let partition = Partition::isolating(primary.host());
    std::thread::sleep(STALL);
    partition.heal();
    watched.must_be_whole_in(&epoch, "its link");

    let disk = primary.disk().expect("it is to fail");
    disk.stall();
    std::thread::sleep(STALL);
    disk.go_on();
    watched.must_be_whole_in(&epoch, "its disk");

    primary.host().pause();
    std::thread::sleep(STALL);
    primary.host().resume();
    watched.must_be_whole_in(&epoch, "its processor");
    watched.finish();
    Ok(())
}

fn loss_of_the_store_leaves_a_synchronous_primary_alone() -> Outcome {
    let watched = Watched::start(herd()?);
    let primary = watched.herd.primary();
    let epoch = watched.epoch();
    for node in watched.herd.nodes() {
        watched.herd.etcd().kill(node.host());
    }
    watched.must_be_acknowledged_for(SILENCE, primary.name());
    for node in watched.herd.nodes() {
        watched.herd.etcd().restart(node.host());
    }
    watched.must_be_whole_in(&epoch, "its store");
    // Where that host is lost, a failover shall not wait for the store's own election.
    let (etcd, home) = (watched.herd.etcd(), primary.host());
    assert!(etcd.make_leader(home), "etcd does not hand over");
    wait_until("the store's leader is moved off the primary's host", || {
        let leader = etcd.leader();
        leader.is_some_and(|leader| leader.name() != home.name())
    });
    watched.must_be_whole_in(&epoch, "its store's leader");
    watched.finish();
    Ok(())
}

fn a_killed_agent_leaves_its_server_alone() -> Outcome {
    let watched = Watched::start(herd()?);
    let primary = watched.herd.primary();
    let epoch = watched.epoch();
    let started = "SELECT pg_postmaster_start_time()";
    let before = primary.sql(started);
    primary.kill_agent();
    watched.must_be_acknowledged_for(SILENCE, primary.name());
    primary.start_agent();
    watched.must_be_whole_in(&epoch, "its agent");
    assert_eq!(primary.sql(started), before);
    watched.finish();
    Ok(())
}

fn an_open_session_on_the_old_primary_gets_no_acknowledgement_after_the_failover() -> Outcome {
    let watched = Watched::start(herd()?);
    let old = watched.herd.primary();
    // As a virtual machine that is paused: it comes back and knows of nothing.
    old.host().pause();
    watched.wait_for_acknowledgement_by_another(old.name());
    let failed_over = watched.recorder.now();
    old.host().resume();
    watched.must_be_whole();
    let late = watched.recorder.look(|history| {
        let by_old = history.acknowledged().filter(|it| it.node == old.name());
        let mut late = by_old.filter(|it| it.opened < failed_over && it.ended > failed_over);
        late.next().cloned()
    });
    assert!(late.is_none(), "{late:?}");
    watched.finish();
    Ok(())
}

fn the_divergent_tail_is_saved_before_the_old_primary_comes_back() -> Outcome {
    let watched = Watched::start(herd()?);
    let old = watched.herd.primary();
    let partition = Partition::isolating(old.host());
    // The clients on its host have written what nobody else has, and wait for it in vain.
    watched.wait_for_acknowledgement_by_another(old.name());
    partition.heal();
    watched.must_be_whole();
    let divergent = old.data().with_file_name("divergent");
    let saved = names_in(&divergent);
    assert_eq!(saved.len(), 1, "{saved:?}");
    let files = names_in(divergent.join(&saved[0]));
    assert!(files.contains(&"description.json".to_owned()), "{files:?}");
    let segments = files.iter().filter(|name| name.len() == 24);
    assert!(segments.count() > 0, "{files:?}");
    watched.finish();
    Ok(())
}

fn the_uri_finds_the_new_primary() -> Outcome {
    let watched = Watched::start(herd()?);
    let old = watched.herd.primary();
    let output = old
        .command(&["uri", "--user", watched::ROLE, "--dbname", "postgres"])
        .output()
        .expect("manada runs");
    assert!(output.status.success(), "{output:?}");
    let uri = String::from_utf8(output.stdout).expect("UTF-8");
    assert_eq!(watched.found_by(&uri).as_deref(), Some(old.name()));

    old.kill_postmaster();
    watched.wait_for_acknowledgement_by_another(old.name());
    let found = |name: &str| name != old.name();
    assert!(
        poll_until(SILENCE, || watched
            .found_by(&uri)
            .is_some_and(|it| found(&it))),
        "{uri} leads to {:?}",
        watched.found_by(&uri)
    );
    watched.must_be_whole();
    watched.finish();
    Ok(())
}

/// A short run of `cargo xtask chaos`.
fn a_herd_survives_one_fault_after_the_other() -> Outcome {
    const SEED: u64 = 20;
    let chaos = Chaos {
        manada: manada(),
        programs: &Programs::any()?,
        seed: SEED,
        shape: Shape::Blocking,
        overlap: false,
        limit: Duration::from_secs(20),
        kinds: &Kind::ALL,
        keep_in: &PathBuf::from("/var/tmp"),
    };
    let mut events = Vec::new();
    let verdict = chaos.run(&mut |event| events.push(format!("{event:?}")))?;
    let broken: Vec<String> = verdict.broken.iter().map(ToString::to_string).collect();
    let story = events.join("\n");
    assert_eq!(
        broken, [""; 0],
        "seed {SEED}, kept in {:?}\n{story}",
        verdict.kept
    );
    assert!(verdict.acknowledged > 0);
    Ok(())
}
