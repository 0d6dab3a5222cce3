//! Real servers, hosts with their own addresses, and faults, for tests.
