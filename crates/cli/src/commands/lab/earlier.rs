//! What an earlier lab left: replaced only when it is proven that nobody wrote in it since.

use std::path::Path;

use manada_postgres::control_file::{ControlFile, DatabaseState};

use super::afterwards::{nodes, start_node, stop_all, stop_node};
use super::home::{Contents, End, LabHome, somebody_elses};
use super::processes;
use super::screen::Screen;
use super::server::blocking;
use super::texts::Texts;
use crate::error::Failure;

/// Makes way for a new lab in `home`, and says what became of the earlier one.
pub(crate) async fn make_way(
    home: LabHome,
    screen: &Screen,
    texts: &dyn Texts,
) -> Result<LabHome, Failure> {
    match home.contents()? {
        Contents::Nothing => Ok(home),
        Contents::SomebodyElses => Err(somebody_elses(home.path())),
        Contents::Unfinished(_) => {
            end_its_servers(home.path())?;
            screen.note(texts.cleared());
            Ok(home)
        }
        Contents::Complete(_, end) => {
            let (home, untouched) = blocking(move || {
                let untouched = is_as_left(&home, &end);
                (home, untouched)
            })
            .await;
            if untouched {
                screen.note(texts.replaced());
                return Ok(home);
            }
            end_its_servers(home.path())?;
            let (home, kept) = home.set_aside()?;
            screen.note(texts.set_aside(&kept, home.path()));
            Ok(home)
        }
    }
}

fn end_its_servers(home: &Path) -> Result<(), Failure> {
    processes::stop_at_once(home).map_err(|error| {
        Failure::failed("the earlier lab's servers could not be stopped").because(error)
    })
}

/// Whether every node is where the practice left it. The servers are stopped in good order, so
/// that what they have done is in their control files; whatever can't be proven counts as touched.
fn is_as_left(home: &LabHome, end: &End) -> bool {
    match prove_as_left(home, end) {
        Ok(()) => true,
        Err(reason) => {
            tracing::info!("the earlier lab is kept: {reason}");
            false
        }
    }
}

fn prove_as_left(home: &LabHome, end: &End) -> Result<(), String> {
    stop_all(home).map_err(said)?;
    let mut primaries = 0;
    for node in nodes(home.path()) {
        let unproven = |reason: String| format!("{}: {reason}", node.display());
        match state_as_left(&node, end).map_err(unproven)? {
            AsLeft::Primary => primaries += 1,
            AsLeft::Standby => {}
        }
    }
    match primaries {
        1 => Ok(()),
        other => Err(format!("{other} primaries")),
    }
}

/// A node that is where the practice left it.
enum AsLeft {
    Primary,
    Standby,
}

fn state_as_left(node: &Path, end: &End) -> Result<AsLeft, String> {
    let data = node.join("data");
    let read = || ControlFile::read(&data).map_err(|error| error.to_string());
    let mut control = read()?;
    if !was_shut_down(&control) {
        // It died, with the machine perhaps: recovered, its control file tells.
        start_node(node).map_err(said)?;
        stop_node(node).map_err(said)?;
        control = read()?;
    }
    let timeline = control.checkpoint.timeline;
    if (control.system_identifier, timeline) != (end.system_identifier, end.timeline) {
        return Err(format!(
            "cluster {} on timeline {timeline}",
            control.system_identifier
        ));
    }
    let next = control.checkpoint.next_xid;
    match control.state {
        DatabaseState::ShutDown if next == end.next_transaction_id => Ok(AsLeft::Primary),
        DatabaseState::ShutDownInRecovery if next <= end.next_transaction_id => Ok(AsLeft::Standby),
        state => Err(format!(
            "{state:?}, and the next transaction is {next} instead of {}",
            end.next_transaction_id
        )),
    }
}

fn said(failure: Failure) -> String {
    format!("{}: {}", failure.what(), failure.why().unwrap_or_default())
}

fn was_shut_down(control: &ControlFile) -> bool {
    matches!(
        control.state,
        DatabaseState::ShutDown | DatabaseState::ShutDownInRecovery
    )
}
