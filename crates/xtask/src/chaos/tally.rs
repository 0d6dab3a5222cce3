//! What many runs have seen, in a file with a line of JSON for each.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

use manada_testbed::chaos::{Chaos, Verdict};
use serde_json::{Value, json};

/// One run.
pub(super) fn run(chaos: &Chaos<'_>, verdict: &Verdict) -> Value {
    let faults = verdict
        .faults
        .iter()
        .map(|(kind, count)| (format!("{kind:?}"), json!([count.struck, count.bit])));
    let whole_ms = verdict.whole.iter().map(Duration::as_millis);
    json!({
        "seed": chaos.seed,
        "manada": chaos.manada,
        "postgres": chaos.programs.version().to_string(),
        "shape": format!("{:?}", chaos.shape),
        "overlap": chaos.overlap,
        "faults": faults.collect::<BTreeMap<_, _>>(),
        "acknowledged": verdict.acknowledged,
        "lost_and_said": verdict.lost_and_said,
        "reads": verdict.reads,
        "reigns": verdict.reigns,
        "whole_ms": whole_ms.collect::<Vec<_>>(),
        "broken": verdict.broken.iter().map(ToString::to_string).collect::<Vec<_>>(),
    })
}

/// The sum over all runs of a file.
#[derive(Debug, Default)]
pub(super) struct Tally {
    runs: u64,
    broken: u64,
    acknowledged: u64,
    reads: u64,
    reigns: u64,
    whole: Vec<Duration>,
    faults: BTreeMap<String, [u64; 2]>,
}

impl Tally {
    /// Adds a run to the file, and sums it up.
    pub(super) fn with(file: &Path, run: &Value) -> io::Result<Tally> {
        let mut opened = File::options().append(true).create(true).open(file)?;
        opened.write_all(format!("{run}\n").as_bytes())?;
        let mut tally = Tally::default();
        for line in fs::read_to_string(file)?.lines() {
            tally.add(&serde_json::from_str(line)?);
        }
        tally.whole.sort();
        Ok(tally)
    }

    fn add(&mut self, run: &Value) {
        let number = |name: &str| run[name].as_u64().unwrap_or_default();
        self.runs += 1;
        self.acknowledged += number("acknowledged");
        self.reads += number("reads");
        self.reigns += number("reigns");
        let broken = run["broken"].as_array();
        self.broken += u64::from(broken.is_some_and(|broken| !broken.is_empty()));
        let whole = run["whole_ms"].as_array().into_iter().flatten();
        self.whole
            .extend(whole.filter_map(Value::as_u64).map(Duration::from_millis));
        for (kind, counts) in run["faults"].as_object().into_iter().flatten() {
            let sums = self.faults.entry(kind.clone()).or_default();
            for (sum, count) in sums.iter_mut().zip(counts.as_array().into_iter().flatten()) {
                *sum += count.as_u64().unwrap_or_default();
            }
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let faults: u64 = self.faults.values().map(|[struck, _]| struck).sum();
        let seconds = |share| super::quantile(&self.whole, share).as_secs_f64();
        writeln!(
            f,
            "all {} runs, {} of them broken: {faults} faults, {} reigns, {} writes acknowledged, \
             {} reads",
            self.runs, self.broken, self.reigns, self.acknowledged, self.reads
        )?;
        writeln!(
            f,
            "whole after {:.1} s (half of the times), {:.1} s (99 of 100), at most {:.1} s",
            seconds(0.5),
            seconds(0.99),
            seconds(1.0)
        )?;
        for (kind, [struck, felt]) in &self.faults {
            writeln!(f, "  {struck:>4} {kind}, {felt} of them felt")?;
        }
        Ok(())
    }
}
