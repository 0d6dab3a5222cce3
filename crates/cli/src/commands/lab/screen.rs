//! How the practice looks: one line a step while it happens, a short table at its end.

use std::time::{Duration, Instant};

use indicatif::ProgressBar;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::step::{Step, StepId, Used};
use super::texts::{Texts, time};
use crate::ui::{Format, Ui, WIDTH_MAX, accent, paint};

/// How far a step's evidence is indented below its title.
const INDENT: &str = "     ";

/// The screen, and what it has shown.
pub(crate) struct Screen {
    ui: Ui,
    texts: &'static dyn Texts,
    steps: Vec<Step>,
}

/// A step that is being done. Its sign of life goes away with it.
pub(crate) struct Running {
    step: StepId,
    started: Instant,
    sign: ProgressBar,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.sign.finish_and_clear();
    }
}

impl Running {
    /// A bar in the place of the sign of life, for work that counts its bytes.
    pub(crate) fn bar(&mut self, ui: Ui, what: &str) -> ProgressBar {
        self.sign.finish_and_clear();
        self.sign = ui.bytes_bar(0, what);
        self.sign.clone()
    }
}

impl Screen {
    pub(crate) fn new(ui: Ui, texts: &'static dyn Texts) -> Screen {
        Screen {
            ui,
            texts,
            steps: Vec::new(),
        }
    }

    /// Text for people; nothing in JSON.
    pub(crate) fn say(&self, text: impl AsRef<str>) {
        if self.ui.format() == Format::Text {
            self.ui.text(text);
        }
    }

    /// A remark on the course of things.
    pub(crate) fn note(&self, text: impl AsRef<str>) {
        self.say(format!(
            " {} {}",
            paint(accent::WARN, "·"),
            text.as_ref().replace('\n', "\n   ")
        ));
    }

    /// The program's name and what it is about to do.
    pub(crate) fn heading(&self) {
        self.say(format!(
            "{} · {}\n\n",
            paint(accent::STRONG, "manada lab"),
            self.texts.heading()
        ));
    }

    /// Shows that a step has begun.
    pub(crate) fn begin(&self, step: StepId) -> Running {
        Running {
            step,
            started: Instant::now(),
            sign: self.ui.spinner(self.texts.doing(step)),
        }
    }

    /// Shows that a step is done: what was seen, its time, and what was used.
    pub(crate) fn done(&mut self, running: Running, title: String, used: Vec<Used>) {
        let duration = running.started.elapsed();
        self.done_after(running, duration, title, used);
    }

    /// The same for a step that was over before it could be told.
    pub(crate) fn done_after(
        &mut self,
        running: Running,
        duration: Duration,
        title: String,
        used: Vec<Used>,
    ) {
        let step = running.step;
        drop(running);
        let done = Step {
            step,
            title,
            duration,
            machine_work: step.is_machine_work(),
            used,
        };
        self.say(step_text(&done));
        self.steps.push(done);
    }

    /// The steps that were done.
    pub(crate) fn steps(&self) -> &[Step] {
        &self.steps
    }
}

fn step_text(step: &Step) -> String {
    let title = fit(&step.title, WIDTH_MAX - 12);
    let mut text = format!(
        " {} {}{}\n",
        paint(accent::GOOD, "✓"),
        pad(&title, WIDTH_MAX - 12),
        paint(accent::FAINT, format!("{:>8}", time(step.duration)))
    );
    for used in &step.used {
        for line in used_lines(used, WIDTH_MAX - INDENT.len()) {
            text += &paint(accent::FAINT, format!("{INDENT}{line}"));
            text.push('\n');
        }
    }
    text
}

/// What was used, in lines of at most `width` columns; what does not fit the first one goes on
/// below where its text begins, and an answer then has a line of its own.
fn used_lines(used: &Used, width: usize) -> Vec<String> {
    let answer = used.answer.as_ref().map(|answer| format!("→ {answer}"));
    let begin = format!("{} ", used.place);
    let together = match &answer {
        Some(answer) => format!("{begin}{}  {answer}", used.text),
        None => format!("{begin}{}", used.text),
    };
    if together.width() <= width {
        return vec![together];
    }
    let hang = begin.width();
    let mut lines = wrap(&used.text, width.saturating_sub(hang));
    lines.extend(answer.map(|answer| fit(&answer, width - hang)));
    for (number, line) in lines.iter_mut().enumerate() {
        *line = match number {
            0 => format!("{begin}{line}"),
            _ => format!("{}{line}", " ".repeat(hang)),
        };
    }
    lines
}

/// `text` in lines of at most `width` columns, broken where a clause of SQL begins, else at a space.
fn wrap(text: &str, width: usize) -> Vec<String> {
    const CLAUSES: [&str; 3] = [" VALUES ", " FROM ", " WHERE "];
    if text.width() <= width {
        return vec![text.to_owned()];
    }
    let fits = |at: &usize| text[..*at].width() <= width;
    let clause = CLAUSES.iter().filter_map(|clause| text.find(clause));
    let spaces = || text.match_indices(' ').map(|(at, _)| at);
    let Some(at) = clause
        .filter(fits)
        .max()
        .or_else(|| spaces().filter(fits).max())
    else {
        return vec![fit(text, width)];
    };
    let mut lines = vec![text[..at].to_owned()];
    lines.extend(wrap(&text[at + 1..], width));
    lines
}

/// The steps and their times in two columns, and their total.
pub(crate) fn table(steps: &[Step], total: std::time::Duration, texts: &dyn Texts) -> String {
    const NAME: usize = 25;
    const TIME: usize = 9;
    const GAP: &str = "    ";
    let cell = |name: &str, time: &str| format!("{}{time:>TIME$}", pad(&fit(name, NAME), NAME));
    let (step, time_heading) = texts.table_heading();
    let heading = cell(step, time_heading);
    let mut text = format!(
        " {}\n",
        paint(accent::STRONG, format!("{heading}{GAP}{heading}"))
    );
    let rows = steps.len().div_ceil(2);
    for row in 0..rows {
        let of = |step: &Step| cell(texts.step(step.step), &time(step.duration));
        let left = of(&steps[row]);
        let right = steps.get(rows + row).map(of).unwrap_or_default();
        text += format!(" {left}{GAP}{right}").trim_end();
        text.push('\n');
    }
    text += &format!(
        " {} {}\n",
        paint(accent::GOOD, "✓"),
        texts.total(steps.len(), total)
    );
    text
}

/// `text` in at most `width` columns; what is cut off is marked.
fn fit(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let mut columns = 0;
    let mut short: String = text
        .chars()
        .take_while(|letter| {
            columns += letter.width().unwrap_or(0);
            columns < width
        })
        .collect();
    short.push('…');
    short
}

/// `text` and as many spaces as it takes to fill `width` columns.
fn pad(text: &str, width: usize) -> String {
    format!("{text}{}", " ".repeat(width.saturating_sub(text.width())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::lab::language::Language;
    use crate::commands::lab::texts::texts;
    use std::time::Duration;

    fn plain(text: &str) -> String {
        anstream::adapter::strip_str(text).to_string()
    }

    fn step(step: StepId, milliseconds: u64) -> Step {
        Step {
            step,
            title: texts(Language::Es).doing(step).to_owned(),
            duration: Duration::from_millis(milliseconds),
            machine_work: step.is_machine_work(),
            used: vec![
                Used::sql("node1", "SHOW wal_level;").gives("replica"),
                Used::line("postgresql.conf", "x".repeat(100)),
            ],
        }
    }

    #[test]
    fn a_step_is_one_line_with_its_time_and_its_evidence_below() {
        let mut step = step(StepId::Primary, 1234);
        step.used.push(
            Used::sql(
                "node1",
                "INSERT INTO test_replication (data) VALUES ('Test replicación asíncrona');",
            )
            .gives("INSERT 0 1"),
        );
        insta::assert_snapshot!(plain(&step_text(&step)), @r"
         ✓ creando el primario                                                   1.23 s
             node1=# SHOW wal_level;  → replica
             postgresql.conf xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…
             node1=# INSERT INTO test_replication (data)
                     VALUES ('Test replicación asíncrona');
                     → INSERT 0 1
        ");
    }

    #[test]
    fn the_table_is_short_and_fits() {
        let steps: Vec<Step> = [StepId::Programs, StepId::Asynchronous, StepId::Wait]
            .into_iter()
            .map(|id| step(id, 7))
            .collect();
        let table = plain(&table(&steps, Duration::from_secs(2), texts(Language::Es)));
        assert!(table.lines().all(|line| line.width() <= WIDTH_MAX));
        insta::assert_snapshot!(table, @r"
         Paso                        Tiempo    Paso                        Tiempo
         programas                     7 ms    síncrona, mostrada            7 ms
         asíncrona, mostrada           7 ms
         ✓ 3 pasos, todos comprobados, en 2.00 s
        ");
    }

    #[test]
    fn what_is_too_wide_is_cut_where_it_is_marked() {
        assert_eq!(fit("réplica", 7), "réplica");
        assert_eq!(fit("réplicas", 7), "réplic…");
        assert_eq!(fit("表表表", 5), "表表…");
    }
}
