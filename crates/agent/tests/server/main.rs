//! Orders carried out on real servers, and looks at them.

mod flock;
mod leading;

use leading::a_standby_takes_over_and_the_other_follows;

manada_testbed::trials![a_standby_takes_over_and_the_other_follows];
