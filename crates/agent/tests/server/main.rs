//! Orders carried out on real servers, and looks at them.

mod flock;
mod gate;
mod leading;
mod looking;
mod rejoining;

use gate::{a_closed_gate_lets_in_the_herd_alone, rules_with_a_mistake_are_told};
use leading::{
    a_configuration_that_somebody_replaces_includes_the_agents_again,
    a_database_that_is_closed_to_sessions_is_opened_again,
    a_standby_takes_over_and_the_other_follows,
    nobody_is_promoted_where_somebody_else_sets_what_commits_wait_for,
    what_a_database_has_as_its_default_does_not_bind_the_agent,
    what_alter_system_sets_does_not_outlast_an_order,
};
use looking::{
    a_clean_stop_tells_where_the_wal_ends, a_death_is_known_at_once_whoever_started_the_server,
    a_policy_is_in_force_only_when_the_checkpointer_obeys,
    a_postmaster_that_is_stopped_is_unresponsive, a_recruit_does_not_stay_behind_on_purpose,
    a_server_without_room_for_sessions_is_seen,
    a_session_that_outlives_its_postmaster_does_not_keep_the_next_from_starting,
    a_standby_has_the_limits_that_its_primarys_wal_asks_for,
    a_standby_that_reports_nothing_by_itself_is_heard_of_in_time,
    a_walreceiver_that_hangs_is_got_rid_of, every_node_has_a_slot_for_every_other,
};
use rejoining::{
    a_clone_takes_the_place_of_data_that_no_rewind_can_help,
    a_configuration_that_lies_elsewhere_stays_there,
    a_killed_leader_comes_back_and_its_tail_is_saved, a_rejoin_may_be_broken_off_at_any_moment,
    a_rewind_that_would_copy_more_than_a_clone_is_left_to_one,
    data_that_somebody_has_removed_is_cloned_with_the_nodes_own_settings,
    two_servers_on_one_timeline_are_told_apart,
};

manada_testbed::trials![
    a_standby_takes_over_and_the_other_follows,
    a_closed_gate_lets_in_the_herd_alone,
    rules_with_a_mistake_are_told,
    a_death_is_known_at_once_whoever_started_the_server,
    a_postmaster_that_is_stopped_is_unresponsive,
    a_clean_stop_tells_where_the_wal_ends,
    a_walreceiver_that_hangs_is_got_rid_of,
    a_policy_is_in_force_only_when_the_checkpointer_obeys,
    every_node_has_a_slot_for_every_other,
    a_standby_that_reports_nothing_by_itself_is_heard_of_in_time,
    a_server_without_room_for_sessions_is_seen,
    a_recruit_does_not_stay_behind_on_purpose,
    a_standby_has_the_limits_that_its_primarys_wal_asks_for,
    a_session_that_outlives_its_postmaster_does_not_keep_the_next_from_starting,
    a_killed_leader_comes_back_and_its_tail_is_saved,
    a_clone_takes_the_place_of_data_that_no_rewind_can_help,
    data_that_somebody_has_removed_is_cloned_with_the_nodes_own_settings,
    what_alter_system_sets_does_not_outlast_an_order,
    what_a_database_has_as_its_default_does_not_bind_the_agent,
    a_configuration_that_somebody_replaces_includes_the_agents_again,
    a_database_that_is_closed_to_sessions_is_opened_again,
    nobody_is_promoted_where_somebody_else_sets_what_commits_wait_for,
    a_rewind_that_would_copy_more_than_a_clone_is_left_to_one,
    two_servers_on_one_timeline_are_told_apart,
    a_configuration_that_lies_elsewhere_stays_there,
    a_rejoin_may_be_broken_off_at_any_moment,
];
