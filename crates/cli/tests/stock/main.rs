//! `status`, `sync` and `verify` as they are typed, against servers that Manada never touched.

mod servers;
mod status;
#[path = "../steady/mod.rs"]
mod steady;
mod sync;
#[path = "../typed/mod.rs"]
mod typed;
mod verify;

use status::*;
use sync::*;
use verify::*;

manada_testbed::trials![
    status_tells_who_follows_whom_and_what_would_be_lost,
    status_finds_the_primary_from_a_cascade,
    status_does_not_hang_on_the_dead_and_the_paused,
    status_says_what_a_role_may_not_see,
    status_exits_with_3_when_nobody_answers,
    sync_is_in_force_when_it_returns,
    sync_refuses_what_would_hang_unless_forced,
    sync_does_not_believe_a_reload_the_checkpointer_has_not_seen,
    sync_reports_a_standby_that_does_not_answer_and_leaves_no_waiting_commit,
    sync_writes_a_nodes_managed_settings,
    verify_follows_writes_and_compares_the_data,
    verify_names_what_differs,
    verify_names_a_standby_that_stands_still,
];
