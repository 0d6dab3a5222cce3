//! A second run, and what is done with a lab afterwards: nothing is lost that somebody wrote.

use std::fs;

use manada_testbed::{Outcome, Programs};

use crate::lab::{Place, on_a_host_of_its_own};

pub(crate) fn a_lab_is_stopped_started_and_removed() -> Outcome {
    let programs = Programs::any()?;
    on_a_host_of_its_own(|| {
        let place = Place::new(&programs);
        place.succeed(&[]);
        place.succeed(&["stop"]);
        assert_eq!(place.processes(), [""; 0]);
        place.succeed(&["stop"]);
        place.succeed(&["start"]);
        place.succeed(&["start"]);
        assert_eq!(
            place.sql("node1", "SELECT count(*) FROM test_replication"),
            "2"
        );
        assert_eq!(
            place.sql("node2", "SELECT count(*) FROM test_sync_replication"),
            "1"
        );
        place.succeed(&["rm"]);
        assert_eq!(place.entries(), [""; 0]);
        assert_eq!(place.processes(), [""; 0]);
        place.succeed(&["rm"]);
    })
}

pub(crate) fn an_untouched_lab_is_replaced() -> Outcome {
    let place = Place::new(&Programs::any()?);
    place.succeed(&[]);
    let first = identifier(&place);
    let text = place.succeed(&["--lang", "en"]);
    assert!(text.contains("nobody had written"), "{text}");
    assert_ne!(identifier(&place), first);
    assert_eq!(place.entries(), ["lab"]);
    place.succeed(&["rm"]);
    Ok(())
}

pub(crate) fn a_lab_that_somebody_wrote_in_is_kept() -> Outcome {
    let programs = Programs::any()?;
    on_a_host_of_its_own(|| {
        let place = Place::new(&programs);
        place.succeed(&[]);
        let first = identifier(&place);
        place.sql(
            "node1",
            "CREATE TABLE thesis AS SELECT 'years of work' AS chapter",
        );
        let text = place.succeed(&["--lang", "en"]);
        let entries = place.entries();
        let [lab, kept] = &entries[..] else {
            panic!("{entries:?}");
        };
        assert_eq!(lab, "lab");
        assert!(kept.starts_with("lab.kept-"), "{kept}");
        assert!(text.contains(kept.as_str()), "{text}");

        // As it was told: what was kept works again under its own name.
        place.succeed(&["rm"]);
        fs::rename(place.directory().join(kept), place.home()).expect("renamed");
        place.succeed(&["start"]);
        assert_eq!(identifier(&place), first);
        assert_eq!(
            place.sql("node2", "SELECT chapter FROM thesis"),
            "years of work"
        );
        place.succeed(&["rm"]);
    })
}

pub(crate) fn a_lab_whose_machine_died_is_recovered_before_it_is_judged() -> Outcome {
    let place = Place::new(&Programs::any()?);
    place.succeed(&[]);
    for node in ["node1", "node2"] {
        let file = place.home().join(node).join("data/postmaster.pid");
        let text = fs::read_to_string(file).expect("it runs");
        let pid = text
            .lines()
            .next()
            .and_then(|line| line.parse().ok())
            .expect("a pid");
        let pid = rustix::process::Pid::from_raw(pid).expect("a pid");
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).expect("it runs");
    }
    manada_testbed::wait_until("all servers' processes have ended", || {
        place.processes().is_empty()
    });
    // After a restart of the machine no process has the id in there.
    for node in ["node1", "node2"] {
        let node = place.home().join(node);
        fs::remove_file(node.join("data/postmaster.pid")).expect("it was left behind");
        for entry in fs::read_dir(node.join("run")).expect("there").flatten() {
            fs::remove_file(entry.path()).expect("it was left behind");
        }
    }
    let text = place.succeed(&["--lang", "en"]);
    assert!(text.contains("nobody had written"), "{text}");
    assert_eq!(place.entries(), ["lab"]);
    place.succeed(&["rm"]);
    Ok(())
}

pub(crate) fn a_directory_that_no_lab_made_is_neither_used_nor_removed() -> Outcome {
    let place = Place::new(&Programs::any()?);
    fs::create_dir(place.home()).expect("made");
    let thesis = place.home().join("thesis.txt");
    fs::write(&thesis, "years of work").expect("written");
    for arguments in [&[][..], &["--rm"], &["rm"], &["stop"], &["start"]] {
        let said = place.fail(arguments, 4);
        assert!(said.contains("did not make"), "{arguments:?}: {said}");
    }
    assert_eq!(
        fs::read_to_string(thesis).expect("it is there"),
        "years of work"
    );
    Ok(())
}

fn identifier(place: &Place) -> String {
    place.sql("node1", "SELECT system_identifier FROM pg_control_system()")
}
