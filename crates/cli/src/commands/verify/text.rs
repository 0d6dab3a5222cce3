//! What `verify` proved, as text of 80 columns.

use manada_herd::verify::{
    Acknowledgement, Comparison, DatabaseDigest, Latency, RoundsStopped, SkipReason,
    StandbyOutcome, StandbyProof, Verification, WriteAttempt,
};
use manada_model::wording::{duration, shown};

use crate::text::{Align, Cell, Table, paragraph};
use crate::ui::{accent, paint};

/// The whole report, ending with whether all of it holds.
pub(super) fn render(verification: &Verification) -> String {
    let mut blocks = Vec::new();
    if !verification.standbys.is_empty() {
        blocks.push(standbys(&verification.standbys));
    }
    blocks.push(commits(verification));
    if !verification.databases.is_empty() {
        blocks.push(verification.databases.iter().map(database).collect());
    }
    blocks.push(verdict(verification));
    blocks.join("\n")
}

fn standbys(proofs: &[StandbyProof]) -> String {
    let mut table = Table::new([
        ("STANDBY", Align::Left),
        ("READABLE p50", Align::Right),
        ("MAX", Align::Right),
        ("FLUSHED", Align::Left),
        ("WRITES", Align::Left),
        ("", Align::Left),
    ]);
    for proof in proofs {
        let mut row = vec![Cell::styled(accent::STRONG, &proof.name)];
        match &proof.outcome {
            StandbyOutcome::NotAsked { reason } => {
                row.push(Cell::styled(accent::BAD, format!("not asked: {reason}")));
            }
            StandbyOutcome::Asked {
                readable,
                missed_round,
                confirms_flush,
                writes,
            } => {
                row.extend(times(readable.as_ref()));
                row.push(if *confirms_flush {
                    Cell::plain("confirmed")
                } else {
                    Cell::styled(accent::BAD, "contradicted")
                });
                row.push(match writes {
                    WriteAttempt::Refused => Cell::plain("refused"),
                    WriteAttempt::Taken => Cell::styled(accent::BAD, "taken"),
                    WriteAttempt::Failed(reason) => Cell::styled(accent::BAD, reason),
                });
                row.push(match missed_round {
                    Some(round) => {
                        Cell::styled(accent::BAD, format!("write {round} did not appear"))
                    }
                    None if proof.holds() => Cell::styled(accent::GOOD, "holds"),
                    None => Cell::styled(accent::BAD, "does not hold"),
                });
            }
        }
        table.row(row);
    }
    table.render()
}

fn times(latency: Option<&Latency>) -> [Cell; 2] {
    match latency {
        Some(latency) => [latency.p50, latency.max].map(|time| Cell::plain(duration(time))),
        None => [Cell::none(), Cell::none()],
    }
}

/// How long commits took, and on how many disks they were when they returned.
fn commits(verification: &Verification) -> String {
    let mut text = String::new();
    if let Some(latency) = &verification.commits {
        text += &paragraph(
            "",
            &format!(
                "{} commits on {} returned after {} (p50), {} at most.",
                latency.count,
                shown(&verification.primary),
                duration(latency.p50),
                duration(latency.max)
            ),
        );
    }
    if let Some(RoundsStopped::CommitWaits { round, waited }) = &verification.stopped {
        let waits = format!(
            "Commit {round} did not return within {}: it waits for standbys that don't answer. \
             It was told to stop waiting.",
            duration(*waited)
        );
        text += &paragraph(&paint(accent::BAD, "! "), &waits);
    }
    text + &acknowledgement(&verification.acknowledgement)
}

fn acknowledgement(acknowledgement: &Acknowledgement) -> String {
    match acknowledgement {
        Acknowledgement::NotDemanded => paragraph(
            "",
            "They waited for no standby: replication is asynchronous.",
        ),
        Acknowledgement::Hidden => paragraph(
            "",
            "On how many disks they were then is hidden from this role; it needs pg_monitor.",
        ),
        Acknowledgement::Checked { commits: 0, .. } => String::new(),
        Acknowledgement::Checked {
            needed,
            commits,
            proven,
            broken,
            ..
        } => {
            let standbys = if *needed == 1 { "standby" } else { "standbys" };
            let open = match commits - proven - broken {
                0 => String::new(),
                open => {
                    format!(" For {open} that can't be told, as others wrote at the same moment.")
                }
            };
            let mut text = paragraph(
                "",
                &format!(
                    "The policy demands {needed} {standbys}: {proven} of {commits} commits were \
                     surely on as many disks when they returned.{open}"
                ),
            );
            if *broken > 0 {
                let sentence = format!(
                    "{broken} commits returned before they were on {needed} {standbys}: the \
                     policy does not hold."
                );
                text += &paragraph(&paint(accent::BAD, "! "), &sentence);
            }
            text
        }
    }
}

fn database(digest: &DatabaseDigest) -> String {
    let name = shown(&digest.database);
    match &digest.outcome {
        Err(unread) => paragraph(
            &paint(accent::BAD, "! "),
            &format!(
                "Database {name} was not compared: {}",
                shown(&unread.reason)
            ),
        ),
        Ok(comparison) => compared(&name, digest.holds(), comparison),
    }
}

fn compared(name: &str, holds: bool, comparison: &Comparison) -> String {
    let what = format!(
        "{} tables with {} rows and {} sequences",
        comparison.tables, comparison.rows, comparison.sequences
    );
    let lsn = comparison.lsn;
    let mut text = if holds {
        let equal = paint(accent::GOOD, "equal");
        paragraph(
            "",
            &format!("Database {name}: {what} are {equal} at {lsn}."),
        )
    } else {
        paragraph("", &format!("Database {name}: {what} compared at {lsn}."))
    };
    let mut wrong = |sentence: String| text += &paragraph(&paint(accent::BAD, "! "), &sentence);
    for found in &comparison.differences {
        wrong(format!(
            "{} differs on {}: {} rows there, {} on the primary.",
            shown(&found.table),
            shown(&found.standby),
            found.standby_rows,
            found.primary_rows
        ));
    }
    for found in &comparison.sequences_behind {
        wrong(format!(
            "Sequence {} is at {} on {}, at {} on the primary: it would give values again.",
            shown(&found.sequence),
            found.standby_value,
            shown(&found.standby),
            found.primary_value
        ));
    }
    for found in &comparison.unread {
        wrong(format!(
            "{} could not be read on {}: {}",
            shown(&found.relation),
            shown(&found.server),
            shown(&found.reason)
        ));
    }
    if !comparison.unread.is_empty() {
        text += &paragraph(
            "",
            "Comparing reads every table on every server. Give --uri with a role that may, or on \
             the primary: GRANT pg_read_all_data TO that role (manada_monitor between nodes).",
        );
    }
    let skipped = [
        (SkipReason::Unlogged, "unlogged, so empty on standbys"),
        (SkipReason::Foreign, "foreign: its rows are elsewhere"),
        (SkipReason::NotPopulated, "not populated"),
    ];
    for (reason, words) in skipped {
        let tables = comparison.skipped.iter();
        let names: Vec<String> = tables
            .filter(|table| table.reason == reason)
            .map(|table| shown(&table.table))
            .collect();
        if !names.is_empty() {
            text += &paragraph("", &format!("Left out ({words}): {}.", names.join(", ")));
        }
    }
    text
}

fn verdict(verification: &Verification) -> String {
    let took = duration(verification.took);
    if verification.holds() {
        let holds = paint(accent::GOOD, "All that was checked holds");
        return paragraph("", &format!("{holds} ({took})."));
    }
    let standbys = verification.standbys.iter().filter(|proof| !proof.holds());
    let databases = verification
        .databases
        .iter()
        .filter(|digest| !digest.holds());
    let mut failing: Vec<String> = standbys.map(|proof| shown(&proof.name)).collect();
    failing.extend(databases.map(|digest| format!("database {}", shown(&digest.database))));
    if verification.stopped.is_some() || !verification.acknowledgement.holds() {
        failing.insert(0, "synchronous commits".to_owned());
    }
    let wrong = paint(accent::BAD, "Does not hold");
    paragraph("", &format!("{wrong}: {} ({took}).", failing.join(", ")))
}
