//! What a role may not read is said to be not checked.

use std::collections::BTreeSet;

use libtest_mimic::Trial;
use manada_doctor::facts::{Herd, Right, Source, Why};
use manada_doctor::{RULES, Report, RuleId, examine};
use manada_testbed::{Outcome, trial};

use crate::bench::{Bench, Shared};

/// Rules that read what is restricted only where a setting that everybody may read asks for it:
/// a delay, and `remote_apply`. The sound herd has neither.
const CONTENT_WITH_LESS: [u16; 2] = [9, 10];

pub(crate) fn trials(shared: &Shared) -> Vec<Trial> {
    let with = |test: fn(&Shared) -> Outcome| {
        let shared = shared.clone();
        move || test(&shared)
    };
    vec![
        trial(
            "a_role_without_rights_checks_what_everybody_may_read".to_owned(),
            with(a_role_without_rights_checks_what_everybody_may_read),
        ),
        trial(
            "a_member_of_pg_monitor_checks_all_but_what_is_for_superusers".to_owned(),
            with(a_member_of_pg_monitor_checks_all_but_what_is_for_superusers),
        ),
    ]
}

fn a_role_without_rights_checks_what_everybody_may_read(shared: &Shared) -> Outcome {
    shared.with(|bench| {
        let herd = facts_of(bench, "CREATE ROLE plain LOGIN PASSWORD 'plain'", "plain");
        let report = examine(&herd, RULES.iter().copied());
        let needing = needing(|right| right != Right::Anyone);
        let content: BTreeSet<RuleId> = needing.difference(&denied(&report)).copied().collect();
        assert_eq!(content, CONTENT_WITH_LESS.map(RuleId).into());
        let surprised: Vec<RuleId> = denied(&report).difference(&needing).copied().collect();
        assert_eq!(surprised, [], "{:#?}", report.not_checked);
        assert!(report.findings.is_empty(), "{:#?}", report.findings);
    })
}

fn a_member_of_pg_monitor_checks_all_but_what_is_for_superusers(shared: &Shared) -> Outcome {
    shared.with(|bench| {
        let create = "CREATE ROLE watch LOGIN PASSWORD 'watch' IN ROLE pg_monitor";
        let herd = facts_of(bench, create, "watch");
        let report = examine(&herd, RULES.iter().copied());
        let for_superusers = |right| match right {
            Right::Granted { .. } | Right::ReadFiles | Right::Superuser => true,
            Right::Anyone | Right::Monitor | Right::Connect | Right::SameHost => false,
        };
        assert_eq!(denied(&report), needing(for_superusers));
        assert!(report.findings.is_empty(), "{:#?}", report.findings);
    })
}

/// What doctor knows when it asks as a role that has its name for a password.
fn facts_of(bench: &Bench, create: &str, role: &str) -> Herd {
    bench["p"].query(create);
    for standby in ["s1", "s2"] {
        let there = format!("SELECT count(*) FROM pg_roles WHERE rolname = '{role}'");
        bench[standby].wait_for(&there, "1");
    }
    let herd = bench.facts_as(Some((role, role)));
    bench["p"].query(&format!("DROP ROLE {role}"));
    assert!(herd.unreached.is_empty(), "{:#?}", herd.unreached);
    herd
}

/// The rules that were refused a fact somewhere.
fn denied(report: &Report) -> BTreeSet<RuleId> {
    let refused = report
        .not_checked
        .iter()
        .filter(|not| *not.lacks.why() == Why::Denied);
    refused.map(|not| not.rule).collect()
}

/// The rules that read a source for which such a right is needed. What needs no right on this
/// machine, or is read only after a failover, is left out.
fn needing(wanted: impl Fn(Right) -> bool) -> BTreeSet<RuleId> {
    let matters = |source: &&Source| {
        !matches!(
            source,
            Source::WalDisk | Source::Relations | Source::History
        )
    };
    let needs = RULES.iter().filter(|rule| {
        let mut sources = rule.reads.iter().filter(matters);
        sources.any(|source| wanted(source.right()))
    });
    needs.map(|rule| rule.id).collect()
}
