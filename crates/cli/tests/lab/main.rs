//! `manada lab` with real servers: it shows what it claims, and leaves nothing whatever befalls it.

mod earlier;
mod interrupted;
mod lab;
mod obstacles;
mod played;

use earlier::*;
use interrupted::*;
use obstacles::*;
use played::*;

manada_testbed::trials![
    every_version_plays_the_practice_and_leaves_nothing,
    the_practice_reads_well_in_english,
    the_practice_reads_well_in_spanish,
    several_standbys_follow_and_are_waited_for,
    the_uris_work_with_psql_as_printed,
    a_killed_primary_is_replaced_before_the_students_eyes,
    a_killed_primary_is_replaced_in_spanish_too,
    programs_get_json,
    a_lab_is_stopped_started_and_removed,
    an_untouched_lab_is_replaced,
    a_lab_that_somebody_wrote_in_is_kept,
    a_lab_whose_machine_died_is_recovered_before_it_is_judged,
    a_directory_that_no_lab_made_is_neither_used_nor_removed,
    killed_at_any_moment_it_leaves_no_server_and_the_next_one_works,
    killed_at_any_moment_with_rm_it_leaves_nothing,
    ctrl_c_stops_what_was_started,
    two_labs_at_once_are_told_apart,
    taken_ports_are_passed_over,
    a_full_disk_is_said_and_nothing_runs_on,
    a_read_only_home_is_said,
    a_home_with_any_name_works,
    an_ordinary_user_plays_it_too,
];
