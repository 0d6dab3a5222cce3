//! Every rule finds its mistake in real servers, and is silent on a sound herd.

mod alone;
mod bench;
mod planted;
mod rights;
mod shared;
mod sound;

use std::collections::BTreeSet;
use std::process::ExitCode;

use libtest_mimic::Trial;
use manada_doctor::{RULES, page};
use manada_testbed::{Outcome, run, trial};

use bench::Shared;

fn main() -> ExitCode {
    let shared = Shared::new();
    let mut trials: Vec<Trial> = Vec::new();
    for (number, plant) in shared::PLANTS {
        let shared = shared.clone();
        trials.push(trial(format!("{}_is_found", name(*number)), move || {
            shared.with(|bench| {
                let planted = plant(bench);
                planted::found_and_cured(*number, bench, planted);
            })
        }));
    }
    for (number, test) in alone::TESTS {
        trials.push(trial(format!("{}_is_found", name(*number)), *test));
    }
    trials.extend(sound::trials(&shared));
    trials.extend(rights::trials(&shared));
    trials.push(trial(
        "every_rule_has_its_tests_and_its_page".to_owned(),
        every_rule_has_its_tests_and_its_page,
    ));
    drop(shared);
    run(vec![trials])
}

fn name(number: u16) -> String {
    let rule = RULES.iter().find(|rule| rule.id.0 == number);
    let slug = rule.map_or("no_such_rule", |rule| rule.slug);
    format!("mnd{number:03}_{}", slug.replace('-', "_"))
}

fn every_rule_has_its_tests_and_its_page() -> Outcome {
    let registered: BTreeSet<u16> = RULES.iter().map(|rule| rule.id.0).collect();
    let planted: Vec<u16> = shared::PLANTS
        .iter()
        .map(|(number, _)| *number)
        .chain(alone::TESTS.iter().map(|(number, _)| *number))
        .collect();
    let found: BTreeSet<u16> = planted.iter().copied().collect();
    assert_eq!(
        registered, found,
        "a rule without a test, or a test without a rule"
    );
    // The tests on a sound herd are made from the registry itself.
    let pages = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/doctor");
    for rule in RULES {
        let file = pages.join(format!("{}.md", rule.id));
        let written = std::fs::read_to_string(&file).unwrap_or_default();
        assert_eq!(
            written,
            page(rule),
            "{} is not what the rule says",
            file.display()
        );
    }
    let index = std::fs::read_to_string(pages.join("README.md")).unwrap_or_default();
    assert_eq!(
        index,
        manada_doctor::index(),
        "the index is not what the rules say"
    );
    Ok(())
}
