//! All rules, in the order in which they are numbered, held against the facts and shown.

use crate::rule::{Rule, RuleId};
use crate::rules::*;

/// All rules. A number is never used again, so a rule that goes leaves a gap.
pub static RULES: &[&Rule] = &[
    &sync_standbys_missing::RULE,
    &sync_name_unknown::RULE,
    &sync_no_spare::RULE,
    &sync_any_name::RULE,
    &sync_commit_off::RULE,
    &sync_commit_off_by_role::RULE,
    &sync_remote_write::RULE,
    &duplicate_application_name::RULE,
    &sync_delayed_standby::RULE,
    &remote_apply_blocked::RULE,
    &slots_unbounded::RULE,
    &slot_lost::RULE,
    &slot_inactive::RULE,
    &standby_without_slot::RULE,
    &slot_missing::RULE,
    &slots_exhausted::RULE,
    &walsenders_exhausted::RULE,
    &dead_slot_holds_xmin::RULE,
    &logical_slot_lost_on_failover::RULE,
    &archive_failing::RULE,
    &archive_command_unsafe::RULE,
    &archive_command_missing::RULE,
    &archive_backlog::RULE,
    &no_archive::RULE,
    &fsync_off::RULE,
    &full_page_writes_off::RULE,
    &no_rewind::RULE,
    &unlogged_tables::RULE,
    &wal_disk_nearly_full::RULE,
    &standby_limits_low::RULE,
    &managed_setting_overridden::RULE,
    &pending_restart::RULE,
    &config_file_error::RULE,
    &access_file_error::RULE,
    &obsolete_wal_level::RULE,
    &autovacuum_off::RULE,
    &access_trust::RULE,
    &access_weak_method::RULE,
    &access_too_wide::RULE,
    &no_tls::RULE,
    &password_in_conninfo::RULE,
    &password_encryption_md5::RULE,
    &md5_passwords::RULE,
    &superuser_replicates::RULE,
    &certificate_expiring::RULE,
    &hot_standby_off::RULE,
    &standby_not_streaming::RULE,
    &standby_follows_nobody::RULE,
    &replay_paused::RULE,
    &timeline_pinned::RULE,
    &walsender_timeout_off::RULE,
    &walreceiver_timeout_off::RULE,
    &prepared_transaction_forgotten::RULE,
    &long_transaction::RULE,
    &wraparound_near::RULE,
    &two_primaries::RULE,
    &forked_timeline::RULE,
    &foreign_server::RULE,
    &collation_differs::RULE,
    &collation_changed::RULE,
    &minor_versions_differ::RULE,
    &clock_skew::RULE,
    &server_unreachable::RULE,
    &wal_level_minimal::RULE,
];

/// The rule with this number.
pub fn find(id: RuleId) -> Option<&'static Rule> {
    RULES.iter().copied().find(|rule| rule.id == id)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn numbers_rise_and_names_differ() {
        assert!(RULES.is_sorted_by(|one, next| one.id < next.id));
        let slugs: BTreeSet<_> = RULES.iter().map(|rule| rule.slug).collect();
        assert_eq!(slugs.len(), RULES.len());
    }

    #[test]
    fn every_rule_says_what_it_reads_and_why_it_hurts() {
        for rule in RULES {
            assert!(
                !rule.reads.is_empty() && !rule.sources.is_empty(),
                "{}",
                rule.id
            );
            for text in [rule.title, rule.consequence, rule.remedy, rule.limits] {
                let sentence = text.trim();
                assert_eq!(sentence, text, "{}", rule.id);
                assert!(!sentence.is_empty(), "{}", rule.id);
            }
            for text in [rule.consequence, rule.remedy, rule.limits] {
                assert!(text.ends_with('.'), "{}: {text:?}", rule.id);
            }
        }
    }
}
