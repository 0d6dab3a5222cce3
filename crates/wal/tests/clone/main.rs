//! Clones of real servers: complete, verified, and bootable; and what happens when they are not.

mod damage;
mod fixture;
mod hostile;
mod interrupted;
mod place;
mod proxy;
#[path = "../../../wire/tests/samples/mod.rs"]
mod samples;
mod secure;
mod standby;
mod tablespaces;

use damage::{
    a_byte_that_is_flipped_on_the_way_is_noticed, a_clone_is_what_pg_verifybackup_accepts,
};
use hostile::{
    a_file_that_comes_twice_is_refused, a_message_without_end_is_refused,
    a_path_that_leads_out_is_refused, a_server_that_lies_about_sizes_is_refused,
    links_lead_nowhere, what_the_manifest_does_not_list_is_refused,
};
use interrupted::{
    a_clone_that_is_dropped_leaves_nothing, a_clone_whose_connection_dies_can_be_run_again,
    a_disk_that_is_or_becomes_full_is_told, only_our_own_abandoned_clones_are_removed,
};
use place::{
    a_clone_belongs_to_the_user_of_servers, a_place_that_is_taken_is_refused,
    a_source_with_group_access_gives_a_clone_with_it, another_cluster_is_refused,
};
use secure::{a_clone_travels_under_tls_bound_to_the_channel, a_wrong_password_is_told};
use standby::{
    a_clone_boots_as_a_standby_and_is_equal, a_clone_is_made_while_the_source_is_written,
    a_promoted_standby_can_be_cloned, a_standby_can_be_cloned,
    any_name_is_not_a_synchronous_standby,
};
use tablespaces::{
    a_tablespace_in_place_is_cloned, a_tablespace_that_is_not_mapped_here_is_refused,
    tablespaces_are_mapped,
};

manada_testbed::trials![
    a_clone_boots_as_a_standby_and_is_equal,
    a_clone_is_made_while_the_source_is_written,
    a_standby_can_be_cloned,
    a_promoted_standby_can_be_cloned,
    any_name_is_not_a_synchronous_standby,
    a_clone_is_what_pg_verifybackup_accepts,
    a_byte_that_is_flipped_on_the_way_is_noticed,
    a_clone_whose_connection_dies_can_be_run_again,
    a_clone_that_is_dropped_leaves_nothing,
    a_disk_that_is_or_becomes_full_is_told,
    only_our_own_abandoned_clones_are_removed,
    a_place_that_is_taken_is_refused,
    another_cluster_is_refused,
    a_clone_belongs_to_the_user_of_servers,
    a_source_with_group_access_gives_a_clone_with_it,
    tablespaces_are_mapped,
    a_tablespace_that_is_not_mapped_here_is_refused,
    a_tablespace_in_place_is_cloned,
    a_clone_travels_under_tls_bound_to_the_channel,
    a_wrong_password_is_told,
    a_path_that_leads_out_is_refused,
    links_lead_nowhere,
    a_message_without_end_is_refused,
    a_server_that_lies_about_sizes_is_refused,
    a_file_that_comes_twice_is_refused,
    what_the_manifest_does_not_list_is_refused,
];
