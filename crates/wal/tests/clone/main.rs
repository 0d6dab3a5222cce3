//! Clones of real servers: complete, verified, and bootable; and what happens when they are not.

mod fixture;
mod standby;

use standby::a_clone_boots_as_a_standby_and_is_equal;

manada_testbed::trials![a_clone_boots_as_a_standby_and_is_equal];
