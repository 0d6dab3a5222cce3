//! A lab that is broken off, at any moment and in any way, leaves no server behind.
#![allow(clippy::print_stdout, reason = "a seed is no use unless it is told")]

use std::os::unix::process::ExitStatusExt as _;
use std::process::Child;
use std::time::{Duration, Instant};

use manada_testbed::{Outcome, PATIENCE, Programs, wait_for, wait_until};
use rustix::process::{Pid, Signal, kill_process};

use crate::lab::Place;

/// How often a lab is killed in one test.
const KILLS: u32 = 6;
/// Sets the moments: `MANADA_TEST_SEED=7` repeats a run.
const SEED: &str = "MANADA_TEST_SEED";

pub(crate) fn killed_at_any_moment_it_leaves_no_server_and_the_next_one_works() -> Outcome {
    let place = Place::new(&Programs::any()?);
    for moment in moments(&place) {
        let mut lab = place.start(&[]);
        kill_after(&mut lab, moment, Signal::KILL);
        if is_complete(&place) {
            // It was over before: its servers are there to stay, or were stopped with it.
            place.succeed(&["rm"]);
        }
        no_process_is_left(&place);
    }
    let text = place.succeed(&["--lang", "en"]);
    assert!(!text.contains("kept in"), "{text}");
    place.succeed(&["rm"]);
    assert_eq!(place.entries(), [""; 0]);
    Ok(())
}

pub(crate) fn killed_at_any_moment_with_rm_it_leaves_nothing() -> Outcome {
    let place = Place::new(&Programs::any()?);
    for moment in moments(&place) {
        let mut lab = place.start(&["--rm"]);
        kill_after(&mut lab, moment, Signal::KILL);
        no_process_is_left(&place);
        wait_for("the place is empty", Vec::<String>::new(), || {
            place.entries()
        });
    }
    Ok(())
}

pub(crate) fn ctrl_c_stops_what_was_started() -> Outcome {
    let place = Place::new(&Programs::any()?);
    for moment in moments(&place) {
        let mut lab = place.start(&["--rm"]);
        let code = kill_after(&mut lab, moment, Signal::INT);
        assert!(matches!(code, 130 | 0), "{code} after {moment:?}");
        no_process_is_left(&place);
        wait_for("the place is empty", Vec::<String>::new(), || {
            place.entries()
        });
    }
    Ok(())
}

pub(crate) fn two_labs_at_once_are_told_apart() -> Outcome {
    let place = Place::new(&Programs::any()?);
    let mut first = place.start(&["--rm"]);
    wait_until("the first one has marked its directory", || {
        place.home().join("lab.json").exists()
    });
    let said = place.fail(&[], 4);
    assert!(said.contains(&format!("process {}", first.id())), "{said}");
    place.fail(&["rm"], 4);
    assert!(
        first.wait().expect("it ends").success(),
        "the first one was disturbed"
    );
    Ok(())
}

/// Moments between a lab's first instruction and its last, as long as one takes here and now.
fn moments(place: &Place) -> Vec<Duration> {
    let seed = std::env::var(SEED)
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or_else(|| u64::from(std::process::id()));
    println!("{SEED}={seed}");
    let begun = Instant::now();
    place.succeed(&["--rm"]);
    let whole = begun.elapsed();
    let mut state = seed;
    (0..KILLS)
        .map(|_| whole.mul_f64(next_fraction(&mut state)))
        .collect()
}

/// A number from 0 to 1 (SplitMix64).
fn next_fraction(state: &mut u64) -> f64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
}

/// Lets it run for so long, sends the signal, and gives its exit code as a shell would: one that
/// ended by a signal, as a program does that has not yet begun to listen to it, by 128 and its
/// number.
fn kill_after(lab: &mut Child, moment: Duration, signal: Signal) -> i32 {
    std::thread::sleep(moment);
    // It may have ended already, which is one of the moments.
    kill_process(Pid::from_child(lab), signal).ok();
    let status = lab.wait().expect("it ends");
    let by_signal = || status.signal().map(|number| 128 + number);
    status.code().or_else(by_signal).expect("it ended one way")
}

fn is_complete(place: &Place) -> bool {
    let marker = std::fs::read_to_string(place.home().join("lab.json")).unwrap_or_default();
    marker.contains("next_transaction_id")
}

fn no_process_is_left(place: &Place) {
    let deadline = Instant::now() + PATIENCE;
    while !place.processes().is_empty() {
        let left = place.processes();
        assert!(Instant::now() < deadline, "still running: {left:#?}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
