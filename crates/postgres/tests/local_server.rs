//! One real server through its life: made, started, told, promoted, restarted, stopped, and all
//! that can go wrong.

mod home;

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use home::{BOUND, Home};
use manada_model::{MajorVersion, StartFailure};
use manada_postgres::control_file::{ControlFile, DatabaseState, WalLevel};
use manada_postgres::initdb::InitdbError;
use manada_postgres::os_user::{OsUser, we_are_root};
use manada_postgres::process::{
    PostmasterStatus, PromoteError, RestartError, SignalError, StartError, StopMode, Stopped,
    Supervisor, promote, reload, restart, running, server_files, stop,
};
use manada_postgres::programs::{Cache, Wanted, find};
use manada_testbed::faults::{ReadOnly, SmallDisk};
use manada_testbed::{
    Missing, Outcome, Programs, Scratch, free_port, names_in, poll_until, trials, wait_until,
};

trials![
    a_server_is_made_started_seen_and_stopped,
    the_control_file_is_read_as_the_server_reads_it,
    a_standby_is_promoted_once,
    a_standby_that_takes_no_connections_is_started_too,
    a_reloaded_server_has_its_new_settings,
    a_restarted_server_keeps_its_command_line,
    a_server_of_debians_cluster_tools_is_restarted_by_them,
    the_configuration_is_found_before_the_first_start_and_after,
    a_server_that_was_killed_starts_again,
    a_killed_server_that_nobody_reaps_is_no_server,
    a_taken_port_is_named_as_the_reason,
    a_mistake_in_a_configuration_is_named_with_its_file_and_line,
    what_is_wrong_with_data_is_told_from_what_is_wrong_around_it,
    a_full_disk_leaves_no_half_made_directory,
    a_read_only_home_is_refused,
    what_is_no_data_directory_is_not_started,
    a_directory_with_anything_in_it_is_left_alone,
    an_empty_directory_and_a_hostile_name_are_taken,
    what_initdb_refuses_leaves_nothing_behind,
    an_ordinary_user_can_do_all_of_it,
];

fn a_server_is_made_started_seen_and_stopped(programs: Programs) -> Outcome {
    let home = Home::with_cluster(&programs);
    assert_eq!(names_in(home.directory()), ["data"]);
    assert_eq!(running(&home.data()).expect("an answer"), None);
    let before = ControlFile::read(&home.data()).expect("readable");
    assert_eq!(before.state, DatabaseState::ShutDown);
    assert_eq!(before.major, programs.version());
    assert!(before.data_checksums);
    assert_eq!(before.wal_segment_bytes, 1 << 20);

    let server = home.start().expect("a running server");
    assert_eq!(server.port, home.port);
    assert_eq!(server.status, PostmasterStatus::Ready);
    assert_eq!(
        running(&home.data()).expect("an answer"),
        Some(server.clone())
    );
    let owner = fs::metadata(format!("/proc/{}", server.pid)).expect("a process");
    let user = OsUser::of_data_directory(&home.data()).expect("its owner");
    assert_eq!(owner.uid(), user.uid());
    assert!(matches!(
        home.start(),
        Err(StartError::AlreadyRunning { .. })
    ));

    let stopped = stop(&home.data(), StopMode::Fast, BOUND).expect("stopped");
    assert!(matches!(stopped, Stopped::After(_)));
    assert_eq!(running(&home.data()).expect("an answer"), None);
    let again = stop(&home.data(), StopMode::Fast, BOUND).expect("nothing to do");
    assert_eq!(again, Stopped::WasNotRunning);
    assert!(matches!(
        reload(&home.data()),
        Err(SignalError::NotRunning { .. })
    ));
    Ok(())
}

fn the_control_file_is_read_as_the_server_reads_it(programs: Programs) -> Outcome {
    let home = Home::with_cluster(&programs);
    home.start_with(&[
        ("wal_level", "logical"),
        ("max_connections", "37"),
        ("max_wal_senders", "7"),
        ("max_worker_processes", "6"),
        ("max_prepared_transactions", "5"),
        ("max_locks_per_transaction", "70"),
        ("wal_log_hints", "on"),
        ("track_commit_timestamp", "on"),
    ])
    .expect("a running server");
    let session = home.session();
    session.query("CREATE TABLE t AS SELECT 1");
    session.query("CHECKPOINT");
    let file = ControlFile::read(&home.data()).expect("readable");

    let one = |sql: &str| session.value(sql);
    assert_eq!(
        one("SELECT system_identifier FROM pg_control_system()"),
        file.system_identifier.to_string()
    );
    assert_eq!(
        one("SELECT catalog_version_no FROM pg_control_system()"),
        file.catalog_version.to_string()
    );
    let checkpoint = [
        "checkpoint_lsn",
        "redo_lsn",
        "timeline_id",
        "prev_timeline_id",
        "full_page_writes",
        "split_part(next_xid, ':', 2)",
        "next_oid",
        "next_multixact_id",
        "oldest_xid",
        "extract(epoch FROM checkpoint_time)::bigint",
    ]
    .map(|column| one(&format!("SELECT {column} FROM pg_control_checkpoint()")));
    let taken_at = file
        .checkpoint
        .taken_at
        .duration_since(std::time::UNIX_EPOCH)
        .expect("a time");
    assert_eq!(
        checkpoint,
        [
            file.checkpoint_lsn.to_string(),
            file.checkpoint.redo_lsn.to_string(),
            file.checkpoint.timeline.to_string(),
            file.checkpoint.previous_timeline.to_string(),
            if file.checkpoint.full_page_writes {
                "t".to_owned()
            } else {
                "f".to_owned()
            },
            file.checkpoint.next_xid.to_string(),
            file.checkpoint.next_oid.to_string(),
            file.checkpoint.next_multixact.to_string(),
            file.checkpoint.oldest_xid.to_string(),
            taken_at.as_secs().to_string(),
        ]
    );
    let init = [
        "database_block_size",
        "blocks_per_segment",
        "wal_block_size",
        "bytes_per_wal_segment",
        "data_page_checksum_version",
    ]
    .map(|column| one(&format!("SELECT {column} FROM pg_control_init()")));
    assert_eq!(
        init,
        [
            file.block_bytes.to_string(),
            file.relation_segment_blocks.to_string(),
            file.wal_page_bytes.to_string(),
            file.wal_segment_bytes.to_string(),
            u32::from(file.data_checksums).to_string(),
        ]
    );
    assert_eq!(file.state, DatabaseState::InProduction);
    assert_eq!(file.min_recovery, None);
    let settings = file.settings;
    assert_eq!(settings.wal_level, WalLevel::Logical);
    assert_eq!(
        (
            settings.max_connections,
            settings.max_wal_senders,
            settings.max_worker_processes,
            settings.max_prepared_transactions,
            settings.max_locks_per_transaction,
        ),
        (37, 7, 6, 5, 70)
    );
    assert!(settings.wal_log_hints && settings.track_commit_timestamp);
    Ok(())
}

fn a_standby_is_promoted_once(programs: Programs) -> Outcome {
    let home = Home::with_cluster(&programs);
    fs::write(home.data().join("standby.signal"), "").expect("written");
    let server = home.start().expect("a running standby");
    assert_eq!(server.status, PostmasterStatus::Ready);
    let file = ControlFile::read(&home.data()).expect("readable");
    assert_eq!(file.state, DatabaseState::InArchiveRecovery);

    let took = promote(&home.data(), BOUND).expect("promoted");
    assert!(took < BOUND);
    home.session()
        .query("CREATE TABLE written_after AS SELECT 1");
    assert!(!home.data().join("promote").exists(), "it is taken");
    assert!(matches!(
        promote(&home.data(), BOUND),
        Err(PromoteError::NotAStandby {
            state: DatabaseState::InProduction,
            ..
        })
    ));
    Ok(())
}

fn a_standby_that_takes_no_connections_is_started_too() -> Outcome {
    let home = Home::with_cluster(&Programs::any()?);
    fs::write(home.data().join("standby.signal"), "").expect("written");
    let server = home
        .start_with(&[("hot_standby", "off")])
        .expect("a following standby");
    assert_eq!(server.status, PostmasterStatus::Standby);
    Ok(())
}

fn a_reloaded_server_has_its_new_settings() -> Outcome {
    let home = Home::with_cluster(&Programs::any()?);
    home.start().expect("a running server");
    home.add_setting("work_mem = '7MB'");
    reload(&home.data()).expect("told");
    let session = home.session();
    wait_until("the setting is in force", || {
        session.value("SELECT setting FROM pg_file_settings WHERE name = 'work_mem' AND applied")
            == "7MB"
            && home.session().value("SHOW work_mem") == "7MB"
    });
    Ok(())
}

fn a_restarted_server_keeps_its_command_line() -> Outcome {
    let home = Home::with_cluster(&Programs::any()?);
    let not_running = restart(&home.data(), &home.log(), BOUND).expect_err("none runs");
    assert!(matches!(not_running, RestartError::NotRunning { .. }));
    let before = home
        .start_with(&[("cluster_name", "a 'quoted' \\ näme")])
        .expect("a running server");
    let after = restart(&home.data(), &home.log(), BOUND).expect("restarted");
    assert_eq!(after.by, None);
    assert_ne!(after.server.pid, before.pid);
    assert_eq!(after.server.port, before.port);
    // Characters that are not ASCII are replaced by the server itself.
    assert!(
        home.session()
            .value("SHOW cluster_name")
            .starts_with("a 'quoted' \\ n")
    );
    Ok(())
}

/// A cluster made by Debian's tools, which goes with the test.
struct DebianCluster {
    name: String,
}

impl DebianCluster {
    fn new() -> Result<DebianCluster, Missing> {
        let cluster = DebianCluster {
            name: format!("manada_test_{}", std::process::id()),
        };
        let port = free_port().to_string();
        let made = Command::new("pg_createcluster")
            .args(["15", &cluster.name, "--port", &port, "--start"])
            .stdout(Stdio::null())
            .status();
        match made {
            Ok(status) if status.success() => Ok(cluster),
            _ => Err(Missing::new(
                "Debian's postgresql-15 and root, to make a cluster with pg_createcluster",
            )),
        }
    }

    fn data(&self) -> PathBuf {
        PathBuf::from(format!("/var/lib/postgresql/15/{}", self.name))
    }
}

impl Drop for DebianCluster {
    fn drop(&mut self) {
        let dropped = Command::new("pg_dropcluster")
            .args(["15", &self.name, "--stop"])
            .status();
        assert!(
            dropped.is_ok_and(|status| status.success()),
            "{}",
            self.name
        );
    }
}

fn a_server_of_debians_cluster_tools_is_restarted_by_them() -> Outcome {
    let cluster = DebianCluster::new()?;
    let user = OsUser::for_new_server().expect("somebody runs servers");
    let fifteen = Wanted::Major(MajorVersion::V15);
    let programs = find(&fifteen, &user, &Cache::of_this_user().expect("a cache"))
        .expect("a search")
        .programs
        .expect("Debian's");
    let before = running(&cluster.data())
        .expect("an answer")
        .expect("a running server");
    let files = server_files(&programs, &cluster.data()).expect("found");
    let place = PathBuf::from(format!("/etc/postgresql/15/{}", cluster.name));
    assert_eq!(files.config_file, place.join("postgresql.conf"));
    assert_eq!(files.hba_file, place.join("pg_hba.conf"));

    let after = restart(&cluster.data(), &place.join("no log"), BOUND).expect("restarted");
    assert!(
        matches!(after.by, Some(Supervisor::PgCtlCluster { cluster: name, .. }) if name == cluster.name)
    );
    assert_ne!(after.server.pid, before.pid);

    stop(&cluster.data(), StopMode::Fast, BOUND).expect("stopped");
    fs::remove_file(cluster.data().join("postmaster.opts")).expect("removed");
    let unstarted = server_files(&programs, &cluster.data()).expect("found");
    assert_eq!(unstarted.config_file, files.config_file);
    Ok(())
}

fn the_configuration_is_found_before_the_first_start_and_after() -> Outcome {
    let home = Home::with_cluster(&Programs::any()?);
    let files = || server_files(&home.programs, &home.data()).expect("found");
    let before = files();
    let data = home.data().canonicalize().expect("there");
    assert_eq!(before.command_line, None);
    assert_eq!(before.config_file, data.join("postgresql.conf"));
    assert_eq!(before.hba_file, data.join("pg_hba.conf"));

    // As Debian splits it.
    let elsewhere = home.directory().join("etc dir");
    fs::create_dir(&elsewhere).expect("made");
    for name in ["postgresql.conf", "pg_hba.conf", "pg_ident.conf"] {
        fs::rename(data.join(name), elsewhere.join(name)).expect("moved");
    }
    let config_file = elsewhere.join("postgresql.conf");
    let text = fs::read_to_string(&config_file).expect("readable");
    let split = format!(
        "{text}\nhba_file = '{0}/pg_hba.conf'\nident_file = '{0}/pg_ident.conf'\n",
        elsewhere.display().to_string().replace('\'', "''")
    );
    fs::write(&config_file, split).expect("written");
    home.start_with(&[("config_file", &config_file.display().to_string())])
        .expect("a running server");
    let running = files();
    assert_eq!(running.config_file, config_file);
    assert_eq!(running.hba_file, elsewhere.join("pg_hba.conf"));
    assert!(running.command_line.is_some());
    stop(&home.data(), StopMode::Fast, BOUND).expect("stopped");
    assert_eq!(files(), running, "the same from its note");
    Ok(())
}

fn a_server_that_was_killed_starts_again() -> Outcome {
    let home = Home::with_cluster(&Programs::any()?);
    let first = home.start().expect("a running server");
    let pid = rustix::process::Pid::from_raw(first.pid).expect("a process id");
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).expect("killed");
    wait_until("it is gone", || {
        running(&home.data()).expect("an answer").is_none()
    });
    assert!(home.data().join("postmaster.pid").exists(), "it is stale");
    // Its children notice and go; until then they hold the shared memory.
    let mut second = home.start();
    let started = poll_until(BOUND, || {
        if let Err(StartError::Ended { trouble, .. }) = &second {
            assert!(
                matches!(
                    trouble.failure,
                    StartFailure::SharedMemoryInUse | StartFailure::AlreadyRunning
                ),
                "{trouble:?}"
            );
            second = home.start();
        }
        second.is_ok()
    });
    assert!(started, "{second:?}");
    assert_ne!(second.expect("running again").pid, first.pid);
    Ok(())
}

fn a_killed_server_that_nobody_reaps_is_no_server() -> Outcome {
    let home = Home::with_cluster(&Programs::any()?);
    let user = OsUser::of_data_directory(&home.data()).expect("its owner");
    let mut child = user
        .command(home.programs.postgres())
        .arg("-D")
        .arg(home.data())
        .args(["-p", &home.port.to_string()])
        .args(["-c", "listen_addresses=127.0.0.1"])
        .args(["-c", "unix_socket_directories="])
        .stderr(Stdio::null())
        .spawn()
        .expect("postgres runs");
    let is_ready = || {
        let server = running(&home.data()).ok().flatten();
        server.is_some_and(|server| server.status == PostmasterStatus::Ready)
    };
    wait_until("it is ready", is_ready);
    child.kill().expect("killed");
    wait_until("it is known to have ended", || {
        running(&home.data()).expect("an answer").is_none()
    });
    wait_until("nothing is left of it but its name", || {
        let stat = fs::read_to_string(format!("/proc/{}/stat", child.id()));
        stat.expect("nobody has reaped it").contains(") Z ")
    });
    // Its children hold the shared memory until they notice.
    wait_until("another starts in its place", || home.start().is_ok());
    child.wait().expect("reaped");
    Ok(())
}

fn a_taken_port_is_named_as_the_reason(programs: Programs) -> Outcome {
    let home = Home::with_cluster(&programs);
    let _other = TcpListener::bind(("127.0.0.1", home.port)).expect("taken");
    let error = home.start().expect_err("the port is taken");
    assert_eq!(error.trouble().failure, StartFailure::PortTaken, "{error}");
    assert!(error.to_string().contains("FATAL"), "{error}");
    assert_eq!(running(&home.data()).expect("an answer"), None);
    Ok(())
}

fn a_mistake_in_a_configuration_is_named_with_its_file_and_line(programs: Programs) -> Outcome {
    let home = Home::with_cluster(&programs);
    let named = |what: &str| {
        let error = home.start().expect_err(what);
        let trouble = error.trouble();
        assert_eq!(trouble.failure, StartFailure::Configuration, "{error}");
        trouble.said
    };
    let rules = home.data().join("pg_hba.conf");
    let before = fs::read_to_string(&rules).expect("there");
    fs::write(&rules, format!("{before}hostsl all all all trust\n")).expect("written");
    let place = format!("line {} of configuration file", before.lines().count() + 1);
    let said = named("a mistake in the access rules");
    assert!(said.contains("hostsl") && said.contains(&place), "{said}");
    // What the collector has is not in the server's own log.
    home.add_setting("logging_collector = on");
    let said = named("the same, said elsewhere");
    assert!(said.contains("hostsl") && said.contains(&place), "{said}");
    home.add_setting("no_such_setting = 1");
    let said = named("a mistake in the settings");
    assert!(said.contains("no_such_setting"), "{said}");
    assert!(said.contains("postgresql.conf\" line "), "{said}");
    Ok(())
}

fn what_is_wrong_with_data_is_told_from_what_is_wrong_around_it(programs: Programs) -> Outcome {
    let home = Home::with_cluster(&programs);
    home.add_setting("shared_preload_libraries = 'no_such_library'");
    let around = home
        .start()
        .expect_err("there is no such library")
        .trouble();
    assert_eq!(around.failure, StartFailure::BeforeItsData, "{around:?}");
    assert!(around.said.contains("no_such_library"), "{around:?}");
    home.add_setting("shared_preload_libraries = ''");
    let wal = home.data().join("pg_wal");
    for entry in fs::read_dir(&wal).expect("there") {
        let path = entry.expect("readable").path();
        if path.is_file() {
            fs::remove_file(path).expect("removed");
        }
    }
    let broken = home.start().expect_err("its WAL is gone").trouble();
    assert!(broken.failure.may_be_of_data(), "{broken:?}");
    assert!(broken.said.contains("checkpoint record"), "{broken:?}");
    Ok(())
}

fn a_full_disk_leaves_no_half_made_directory() -> Outcome {
    let programs = Programs::any()?;
    let home = Home::new(&programs);
    let disk = SmallDisk::mount(home.directory().join("small"), 20)?;
    let data = disk.path().join("data");
    let error = home.init_at(&data, "postgres").expect_err("no room");
    assert!(matches!(error, InitdbError::Full { .. }), "{error}");
    assert_eq!(names_in(disk.path()), Vec::<String>::new());
    Ok(())
}

fn a_read_only_home_is_refused() -> Outcome {
    let home = Home::new(&Programs::any()?);
    let place = home.directory().join("place");
    fs::create_dir(&place).expect("made");
    let _read_only = ReadOnly::mount(&place)?;
    let error = home
        .init_at(&place.join("data"), "postgres")
        .expect_err("read-only");
    assert!(
        matches!(&error, InitdbError::Io { source, .. } if source.kind() == std::io::ErrorKind::ReadOnlyFilesystem),
        "{error}"
    );
    Ok(())
}

fn what_is_no_data_directory_is_not_started() -> Outcome {
    let home = Home::new(&Programs::any()?);
    fs::create_dir(home.data()).expect("made");
    assert!(matches!(
        home.start(),
        Err(StartError::NoDataDirectory { .. })
    ));
    fs::write(home.data().join("PG_VERSION"), "12\n").expect("written");
    assert!(matches!(
        home.start(),
        Err(StartError::WrongVersion { data_version, .. }) if data_version == "12"
    ));
    Ok(())
}

fn a_directory_with_anything_in_it_is_left_alone() -> Outcome {
    let home = Home::new(&Programs::any()?);
    fs::create_dir(home.data()).expect("made");
    fs::write(home.data().join("mine"), "precious").expect("written");
    assert!(matches!(
        home.init("postgres"),
        Err(InitdbError::NotEmpty { .. })
    ));
    assert_eq!(names_in(home.data()), ["mine"]);
    assert_eq!(names_in(home.directory()), ["data"]);
    Ok(())
}

fn an_empty_directory_and_a_hostile_name_are_taken() -> Outcome {
    let home = Home::new(&Programs::any()?);
    fs::create_dir(home.data()).expect("made");
    home.init("o; DROP ñ --").expect("initdb");
    home.start().expect("a running server");
    Ok(())
}

fn what_initdb_refuses_leaves_nothing_behind() -> Outcome {
    let home = Home::new(&Programs::any()?);
    let error = home
        .init_with(&home.data(), "postgres", Some(3))
        .expect_err("3 is no power of two");
    assert!(
        matches!(&error, InitdbError::Failed { said, .. } if said.contains("power of 2")),
        "{error}"
    );
    assert_eq!(names_in(home.directory()), Vec::<String>::new());
    Ok(())
}

/// These tests again, run by somebody who is not root.
fn an_ordinary_user_can_do_all_of_it() -> Outcome {
    if !we_are_root() {
        return Err(Missing::new(
            "all the other tests here were run by an ordinary user",
        ));
    }
    let version = Programs::any()?.version();
    let scratch = Scratch::new();
    // Somewhere that user can reach it.
    let ourselves = std::env::current_exe().expect("our program");
    let tests = scratch.path().join("tests");
    fs::copy(ourselves, &tests).expect("copied");
    fs::set_permissions(&tests, fs::Permissions::from_mode(0o755)).expect("changed");
    let user = OsUser::for_new_server().expect("somebody runs servers");
    for filter in [
        format!("::{version}"),
        "a_restarted".into(),
        "found_before".into(),
    ] {
        let output = user
            .command(&tests)
            .arg(&filter)
            .arg("--test-threads=2")
            .env("XDG_CACHE_HOME", scratch.path().join("cache"))
            .output()
            .expect("run");
        let said = String::from_utf8_lossy(&output.stdout);
        let said_worse = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}\n{said_worse}");
        assert!(!said.contains("running 0 tests"), "{said}");
    }
    Ok(())
}
