//! Feeds the fuzzer's bytes to `entries::manifest`.
#![no_main]

#[path = "../entries.rs"]
#[allow(dead_code)]
mod entries;

libfuzzer_sys::fuzz_target!(|data: &[u8]| entries::manifest(data));
