//! Pausing a herd, and letting it act again.

use manada_core::input::Command;
use manada_core::record::Mode;
use serde_json::json;

use super::agent::{Agent, record};
use crate::commands::LocalNodeArgs;
use crate::error::{Failure, Outcome};
use crate::ui::{Format, Ui, accent, paint};

/// Has the herd act by itself, or not, and waits until the record says so.
pub(crate) async fn set_mode(
    which: &LocalNodeArgs,
    mode: Mode,
    ui: Ui,
) -> Result<Outcome, Failure> {
    let (agent, view) = Agent::find(which).await?;
    let was = record(&view)?.value.mode;
    let command = match mode {
        Mode::Paused => Command::Pause,
        Mode::Automatic => Command::Resume,
    };
    agent.insist(&command, |record| record.mode == mode).await?;
    let herd = &view.herd;
    match ui.format() {
        Format::Json => ui.json(&json!({
            "format": "manada.mode/1",
            "herd": herd,
            "mode": mode,
            "was": was,
        })),
        Format::Text => ui.text(sentence(&paint(accent::STRONG, herd), was, mode)),
    }
    Ok(Outcome::Done)
}

fn sentence(herd: &str, was: Mode, mode: Mode) -> String {
    match (mode, was == mode) {
        (Mode::Paused, true) => format!("{herd} was paused already."),
        (Mode::Paused, false) => format!(
            "{herd} is paused: no failover, no rejoin, no change of what commits wait for, until \
             you type {}",
            paint(accent::TYPE, "manada resume")
        ),
        (Mode::Automatic, true) => {
            format!("{herd} acts by itself, as before. What had been given up is tried again.")
        }
        (Mode::Automatic, false) => format!("{herd} acts by itself again."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_change_of_the_mode_is_a_sentence() {
        let said = |was, mode| {
            let text = sentence("main", was, mode);
            anstream::adapter::strip_str(&text).to_string()
        };
        let sentences = [
            said(Mode::Automatic, Mode::Paused),
            said(Mode::Paused, Mode::Paused),
            said(Mode::Paused, Mode::Automatic),
            said(Mode::Automatic, Mode::Automatic),
        ];
        insta::assert_snapshot!(sentences.join("\n"), @r"
        main is paused: no failover, no rejoin, no change of what commits wait for, until you type manada resume
        main was paused already.
        main acts by itself again.
        main acts by itself, as before. What had been given up is tried again.
        ");
    }
}
