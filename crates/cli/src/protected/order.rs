//! What a node did that mattered to the herd, in a sentence.

use manada_core::action::{Order, Stop};
use manada_core::record::{Mode, Record};
use manada_core::server::Gate;

use super::obstacle::rung_name;
use super::standing;

/// What was done; `None` for what goes on all the time.
pub(crate) fn sentence(order: &Order) -> Option<String> {
    let text = match order {
        Order::Swap { record, .. } => return recorded(record),
        Order::StartStandby {
            follow: Some(leader),
        } => format!("started its server to follow {leader}"),
        Order::StartStandby { follow: None } => "started its server in recovery".to_owned(),
        Order::StartPrimary => "started its server in place, behind a closed gate".to_owned(),
        Order::Stop(Stop::Fast) => "stopped its server cleanly".to_owned(),
        Order::Stop(Stop::Immediate) => "stopped its server at once".to_owned(),
        Order::Follow { leader } => format!("followed {leader}"),
        Order::Promote => "promoted its server".to_owned(),
        Order::SetGate(Gate::Open) => "let clients in".to_owned(),
        Order::SetGate(Gate::Closed) => "let no client in any more".to_owned(),
        Order::Rejoin { leader, rung, .. } => format!(
            "brought its data back into {leader}'s history by {}",
            rung_name(*rung)
        ),
        Order::FetchWal { from, .. } => format!("fetched WAL from {from}"),
        Order::RenewLease { .. }
        | Order::Promise(_)
        | Order::Send { .. }
        | Order::StopReceiving
        | Order::Checkpoint
        | Order::WriteRule(_)
        | Order::Enforce(_)
        | Order::ProbeLeader { .. }
        | Order::Deadman { .. } => return None,
    };
    Some(text)
}

/// What a record says that was written.
fn recorded(record: &Record) -> Option<String> {
    let epoch = record.epoch;
    let Some(leader) = &record.leader else {
        return Some(format!("raised the epoch to {epoch}, to elect a leader"));
    };
    if record.mode == Mode::Paused {
        return Some("wrote that the herd is paused".to_owned());
    }
    match record.policies.as_slice() {
        [only] if only.leader == *leader => Some(format!(
            "wrote that {leader} leads epoch {epoch}; {}",
            standing::policy(&only.policy)
        )),
        _ => Some(format!(
            "wrote that {leader} is to lead epoch {epoch}, or to change what commits wait for"
        )),
    }
}
