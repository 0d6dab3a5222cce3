//! The harness of end-to-end tests: a test that this machine can't run is counted as ignored,
//! with its reason, which libtest can't do at run time.

use std::io::Write;
use std::process::ExitCode;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use libtest_mimic::{Arguments, Completion, Failed, Trial};
use manada_model::MajorVersion;

use crate::programs::{Missing, Programs};

/// How long one test may take. One that hangs ends the whole program, with its name.
const TEST_MAX: Duration = Duration::from_secs(300);

/// What a test comes to that did not fail; a failed one panics.
pub type Outcome = Result<(), Missing>;

/// Makes `main` of a test target with `harness = false` from its tests, each listed by name:
/// a `fn() -> Outcome` runs once, a `fn(Programs) -> Outcome` once per supported version of
/// PostgreSQL. A function that is not listed is dead code, which the compiler reports.
#[macro_export]
macro_rules! trials {
    ($($test:ident),* $(,)?) => {
        fn main() -> ::std::process::ExitCode {
            $crate::run(vec![$($crate::Test::trials($test, stringify!($test))),*])
        }
    };
}

/// Runs the tests as the command line says, which is libtest's.
pub fn run(trials: Vec<Vec<Trial>>) -> ExitCode {
    let arguments = Arguments::from_args();
    libtest_mimic::run(&arguments, trials.into_iter().flatten().collect()).exit_code()
}

/// A test function; `Takes` tells the compiler its two kinds apart.
pub trait Test<Takes> {
    /// The test's runs.
    fn trials(self, name: &str) -> Vec<Trial>;
}

impl<F: FnOnce() -> Outcome + Send + 'static> Test<()> for F {
    fn trials(self, name: &str) -> Vec<Trial> {
        vec![trial(name.to_owned(), self)]
    }
}

impl<F: FnOnce(Programs) -> Outcome + Send + Copy + 'static> Test<Programs> for F {
    fn trials(self, name: &str) -> Vec<Trial> {
        let per_version = |version| {
            trial(format!("{name}::{version}"), move || {
                self(Programs::find(version)?)
            })
        };
        MajorVersion::ALL.into_iter().map(per_version).collect()
    }
}

/// One test under a name made at run time, for tests that are rows of a table.
pub fn trial(name: String, test: impl FnOnce() -> Outcome + Send + 'static) -> Trial {
    let watched = name.clone();
    Trial::ignorable_test(name, || {
        let _watched = watch(watched);
        Ok::<_, Failed>(match test() {
            Ok(()) => Completion::Completed,
            Err(missing) => Completion::ignored_with(missing),
        })
    })
}

/// Ends this program unless the result is dropped in time. What the test has started ends with
/// the program, and the next one removes the rest.
fn watch(name: String) -> mpsc::Sender<()> {
    let (test_runs, watcher) = mpsc::channel();
    thread::spawn(move || {
        if watcher.recv_timeout(TEST_MAX) == Err(RecvTimeoutError::Timeout) {
            // Whether it can be read is not our concern any more.
            writeln!(std::io::stderr(), "{name} has not ended in {TEST_MAX:?}").ok();
            std::process::exit(101);
        }
    });
    test_runs
}
