//! On a sound herd every rule is checked and silent, on every version.

use std::sync::{Arc, OnceLock};

use libtest_mimic::Trial;
use manada_doctor::facts::Herd;
use manada_doctor::{RULES, examine};
use manada_model::MajorVersion;
use manada_testbed::{Programs, trial};

use crate::bench::{Bench, Shared};

/// One test a rule on the shared herd, which is asked once; and one a version for all rules.
pub(crate) fn trials(shared: &Shared) -> Vec<Trial> {
    let facts: Arc<OnceLock<Herd>> = Arc::default();
    let one_rule = RULES.iter().map(|rule| {
        let (shared, facts) = (shared.clone(), Arc::clone(&facts));
        let name = format!("{}_is_silent_on_a_sound_herd", crate::name(rule.id.0));
        trial(name, move || {
            shared.with(|bench| {
                let herd = facts.get_or_init(|| bench.facts());
                assert_silent(&examine(herd, [*rule]));
            })
        })
    });
    let all_rules = MajorVersion::ALL.into_iter().map(|version| {
        trial(
            format!("a_sound_herd_has_no_mistake::{version}"),
            move || {
                let bench = Bench::sound(&Programs::find(version)?);
                let report = examine(&bench.facts(), RULES.iter().copied());
                assert_silent(&report);
                assert_eq!(report.checked.len(), RULES.len());
                Ok(())
            },
        )
    });
    one_rule.chain(all_rules).collect()
}

#[track_caller]
fn assert_silent(report: &manada_doctor::Report) {
    assert!(report.findings.is_empty(), "{:#?}", report.findings);
    assert!(report.not_checked.is_empty(), "{:#?}", report.not_checked);
    assert!(!report.checked.is_empty());
}
