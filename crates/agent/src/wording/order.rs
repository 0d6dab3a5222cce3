//! What a node did that mattered to the herd, in a sentence.

use manada_core::action::{Order, Stop};
use manada_core::input::Command;
use manada_core::loss::LossBound;
use manada_core::record::{Mode, Record};
use manada_core::server::{Enforced, Gate};
use manada_model::NodeName;
use manada_model::wording::size;

use super::obstacle::{names, rung_name};
use super::standing;

/// Whether it goes on all the time, so that it is worth a word only where it fails.
pub fn is_routine(order: &Order) -> bool {
    matches!(
        order,
        Order::StopReceiving | Order::Checkpoint | Order::WriteRule(_) | Order::Enforce(_)
    )
}

/// What was done; `None` for what is never worth a word. `before` is the record that was written last,
/// by any node.
pub fn sentence(order: &Order, before: Option<&Record>) -> Option<String> {
    let text = match order {
        Order::Swap { record, .. } => recorded(record, before),
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
        Order::StopReceiving => "stopped receiving WAL".to_owned(),
        Order::Checkpoint => "wrote a checkpoint".to_owned(),
        Order::WriteRule(rule) => format!("wrote rule {}.{}", rule.id.epoch, rule.id.sub),
        Order::Enforce(Enforced::Policy(policy)) => {
            format!("put in force that {}", standing::policy(policy))
        }
        Order::Enforce(Enforced::Nobody | Enforced::Foreign) => {
            "put in force that commits wait for the time being".to_owned()
        }
        Order::RenewLease { .. }
        | Order::Promise(_)
        | Order::Send { .. }
        | Order::ProbeLeader { .. }
        | Order::Deadman { .. } => return None,
    };
    Some(text)
}

/// What a record says that was written.
fn recorded(record: &Record, before: Option<&Record>) -> String {
    let epoch = record.epoch;
    let Some(leader) = &record.leader else {
        return format!("raised the epoch to {epoch}, to elect a leader");
    };
    let same_reign = before.filter(|before| before.epoch == epoch && before.leader.is_some());
    if let Some(before) = same_reign {
        if before.mode != record.mode {
            return match record.mode {
                Mode::Paused => "wrote that the herd is paused".to_owned(),
                Mode::Automatic => "wrote that the herd acts by itself".to_owned(),
            };
        }
        if before.members != record.members {
            let members: Vec<NodeName> = record.members.keys().cloned().collect();
            return format!("wrote that the members are {}", names(&members));
        }
        if before.desired != record.desired {
            return "wrote what commits shall wait for".to_owned();
        }
    }
    match record.policies.as_slice() {
        [only] if only.leader == *leader => {
            let policy = standing::policy(&only.policy);
            format!("wrote that {leader} leads epoch {epoch}; {policy}")
        }
        _ if same_reign.is_some() => "wrote what else commits may wait for".to_owned(),
        _ => format!("wrote that {leader} is to lead epoch {epoch}"),
    }
}

/// What an operator asked for.
pub fn command(command: &Command) -> String {
    match command {
        Command::Switchover { to: None } => "hand over".to_owned(),
        Command::Switchover { to: Some(to) } => format!("hand over to {to}"),
        Command::Failover { allow_loss, .. } => match allow_loss {
            None => "elect a leader".to_owned(),
            Some(LossBound::Bytes(bytes)) => {
                let bytes = size(*bytes);
                format!("elect a leader, if at most {bytes} of WAL are lost")
            }
            Some(LossBound::Any) => "elect a leader, whatever is lost".to_owned(),
        },
        Command::Pause => "pause the herd".to_owned(),
        Command::Resume => "act by itself again".to_owned(),
        Command::SetPolicy(desired) if desired.count == 0 => {
            "have commits wait for nobody".to_owned()
        }
        Command::SetPolicy(desired) => match desired.count {
            1 => "have commits wait for 1 standby".to_owned(),
            count => format!("have commits wait for {count} standbys"),
        },
        Command::Admit { name, .. } => format!("take in {name}"),
        Command::Forget { name } => format!("let {name} go"),
        Command::AgentRestarts => "expect its agent back".to_owned(),
    }
}
