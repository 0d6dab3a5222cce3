//! Orders carried out on real servers, and looks at them.

mod flock;
mod leading;
mod rejoining;

use leading::a_standby_takes_over_and_the_other_follows;
use rejoining::{
    a_clone_takes_the_place_of_data_that_no_rewind_can_help,
    a_killed_leader_comes_back_and_its_tail_is_saved, two_servers_on_one_timeline_are_told_apart,
};

manada_testbed::trials![
    a_standby_takes_over_and_the_other_follows,
    a_killed_leader_comes_back_and_its_tail_is_saved,
    a_clone_takes_the_place_of_data_that_no_rewind_can_help,
    two_servers_on_one_timeline_are_told_apart,
];
