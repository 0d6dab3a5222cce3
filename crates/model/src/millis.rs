//! Durations in JSON: milliseconds, as a number with at most three decimals.

use std::time::Duration;

use serde::Serializer;

fn rounded_ms(duration: &Duration) -> f64 {
    (duration.as_secs_f64() * 1_000_000.0).round() / 1_000.0
}

pub(crate) fn serialize<S: Serializer>(
    duration: &Duration,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(rounded_ms(duration))
}

pub(crate) mod option {
    use super::{Duration, Serializer, rounded_ms};

    pub(crate) fn serialize<S: Serializer>(
        duration: &Option<Duration>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match duration {
            Some(duration) => serializer.serialize_f64(rounded_ms(duration)),
            None => serializer.serialize_none(),
        }
    }
}
