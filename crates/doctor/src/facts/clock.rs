//! A server's clock against this host's.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use manada_postgres::Session;

use super::gather::rows;
use super::source::{Fact, Source};

/// How far a server's clock is from this host's.
#[derive(Clone, Debug)]
pub struct Clock {
    /// Seconds by which the server's clock is ahead; negative where it is behind.
    pub ahead_s: Fact<f64>,
    /// How far that may be off: half the time the question took.
    pub error: Duration,
}

impl Clock {
    pub(super) async fn read(session: &Session) -> Clock {
        let sql = "SELECT extract(epoch FROM clock_timestamp())::float8 AS now_s";
        let asked = Instant::now();
        let asked_at = SystemTime::now();
        let read = rows(session, Source::Clock, sql, |row| {
            row.get::<_, f64>("now_s")
        })
        .await;
        let took = asked.elapsed();
        // The answer is taken to be from the middle of that time.
        let here = (asked_at + took / 2)
            .duration_since(UNIX_EPOCH)
            .map_or(0.0, |since| since.as_secs_f64());
        Clock {
            ahead_s: Fact::from(read).map(|now_s| now_s[0] - here),
            error: took / 2,
        }
    }
}
