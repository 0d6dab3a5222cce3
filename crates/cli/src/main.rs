//! The `manada` program.

fn main() {}
