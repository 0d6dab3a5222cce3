//! Checks, benchmarks and generated documents of this repository.
fn main() {}
