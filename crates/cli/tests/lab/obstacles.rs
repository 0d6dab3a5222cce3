//! What is in the way of a lab is said, with what to do about it.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use manada_postgres::os_user::we_are_root;
use manada_testbed::faults::{ReadOnly, SmallDisk};
use manada_testbed::{Missing, Outcome, Programs};

use crate::lab::{MANADA, Place, on_a_host_of_its_own};

/// Less than one node's data directory.
const SMALL_MEGABYTES: u32 = 20;

pub(crate) fn taken_ports_are_passed_over() -> Outcome {
    let programs = Programs::any()?;
    on_a_host_of_its_own(|| {
        let place = Place::new(&programs);
        let taken = [5441, 5442, 5444];
        let held = taken.map(|port| TcpListener::bind(("127.0.0.1", port)).expect("free"));
        let report = place.succeed(&["--rm", "--format", "json"]);
        let report: serde_json::Value = serde_json::from_str(&report).expect("JSON");
        let nodes = report["nodes"].as_array().expect("nodes");
        let ports: Vec<u64> = nodes
            .iter()
            .filter_map(|node| node["port"].as_u64())
            .collect();
        assert_eq!(ports, [5443, 5445]);
        drop(held);
    })
}

pub(crate) fn a_full_disk_is_said_and_nothing_runs_on() -> Outcome {
    let place = Place::new(&Programs::any()?);
    let disk = SmallDisk::mount(place.directory().join("disk"), SMALL_MEGABYTES)?;
    let place = place.at("disk/lab");
    let said = place.fail(&[], 5);
    assert!(said.contains("no room") || said.contains("full"), "{said}");
    assert!(said.contains("next:"), "{said}");
    manada_testbed::wait_until("nothing runs", || place.processes().is_empty());
    place.succeed(&["rm"]);
    assert_eq!(fs::read_dir(disk.path()).expect("mounted").count(), 0);
    let said = place.fail(&["--rm"], 5);
    assert!(said.contains("next:"), "{said}");
    manada_testbed::wait_for("what is left on the disk", 0, || {
        fs::read_dir(disk.path()).expect("mounted").count()
    });
    Ok(())
}

pub(crate) fn a_read_only_home_is_said() -> Outcome {
    let place = Place::new(&Programs::any()?);
    fs::create_dir(place.directory().join("ro")).expect("made");
    let read_only = ReadOnly::mount(place.directory().join("ro"))?;
    let place = place.at("ro/lab");
    let said = place.fail(&[], 5);
    assert!(said.contains("ro/lab"), "{said}");
    assert!(said.contains("--home DIR"), "{said}");
    manada_testbed::wait_until("nothing runs", || place.processes().is_empty());
    drop(read_only);
    Ok(())
}

pub(crate) fn a_home_with_any_name_works() -> Outcome {
    let long = "d".repeat(90);
    for name in ["it's \"my\" lab; $HOME 100% ñ 表", &long] {
        let place = Place::new(&Programs::any()?).at(name);
        place.succeed(&[]);
        assert_eq!(
            place.sql("node2", "SELECT count(*) FROM test_replication"),
            "2"
        );
        let archived = fs::read_dir(place.home().join("archive"))
            .expect("there")
            .count();
        assert!(archived > 0, "nothing was archived");
        place.succeed(&["rm"]);
        assert_eq!(place.entries(), [""; 0]);
        assert_eq!(place.processes(), [""; 0]);
    }
    Ok(())
}

pub(crate) fn an_ordinary_user_plays_it_too() -> Outcome {
    if !we_are_root() {
        return Err(Missing::new(
            "becoming another user needs root; every other test is one already",
        ));
    }
    let place = Place::new(&Programs::any()?);
    let user_home = place.directory().join("nobody");
    fs::create_dir(&user_home).expect("made");
    std::os::unix::fs::chown(&user_home, Some(65534), Some(65534)).expect("given");
    let program = place.directory().join("manada");
    fs::copy(MANADA, &program).expect("copied");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("opened");

    let as_nobody = |arguments: &[&str]| {
        let mut command = Command::new("setpriv");
        command
            .args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"])
            .arg(&program)
            .args(arguments)
            .env("HOME", &user_home)
            .env_remove("XDG_DATA_HOME")
            .env_remove("XDG_CACHE_HOME")
            .env("LC_ALL", "C.UTF-8")
            .current_dir("/");
        let output = command.output().expect("setpriv runs");
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    };
    let programs = Programs::any()?;
    let pg = programs.bin().to_str().expect("UTF-8");
    as_nobody(&["lab", "--pg", pg]);
    let lab = user_home.join(".local/share/manada/lab");
    assert!(lab.join("node2/manada.toml").exists());
    as_nobody(&["lab", "stop"]);
    as_nobody(&["lab", "rm"]);
    assert!(!lab.exists());
    assert_eq!(place.processes(), [""; 0]);
    Ok(())
}
