//! The client that writes to a herd while something happens to it.

use std::sync::Arc;
use std::time::Duration;

use manada_testbed::checker::Recorder;
use manada_testbed::workload::{Manners, Site, TABLE, Workload};
use manada_testbed::{ProtectedHerd, poll_until};

/// How it behaves: it retries soon, and gives up what is not answered.
const MANNERS: Manners = Manners {
    connect_max: Duration::from_millis(500),
    statement_max: Duration::from_secs(1),
    pause: Duration::from_millis(2),
    retry_pause: Duration::from_millis(20),
};

/// How many writes are acknowledged before something happens, and after it.
const WARM_UP: usize = 50;

/// How long it may take until they are.
pub(super) const AWAY_MAX: Duration = Duration::from_secs(120);

/// Has one client write into the empty table, from where it is a while at work.
pub(super) fn begin(herd: &ProtectedHerd) -> Result<(Workload, Arc<Recorder>), String> {
    herd.primary().try_sql(&format!("TRUNCATE {TABLE}"))?;
    let recorder = Arc::new(Recorder::new());
    let site = Site {
        host: herd.client().clone(),
        servers: herd.servers(),
        writers: 1,
        readers: 0,
        settled: false,
    };
    let workload = Workload::start(vec![site], MANNERS, &recorder);
    wrote_since(&recorder, Duration::ZERO)?;
    Ok((workload, recorder))
}

/// Waits until enough writes that were asked for after that time are acknowledged.
pub(super) fn wrote_since(recorder: &Recorder, since: Duration) -> Result<(), String> {
    let came = poll_until(AWAY_MAX, || {
        recorder.look(|history| {
            let later = history
                .acknowledged()
                .filter(|write| write.invoked >= since);
            later.count() >= WARM_UP
        })
    });
    match came {
        true => Ok(()),
        false => Err(format!(
            "not {WARM_UP} writes were acknowledged in {AWAY_MAX:?}"
        )),
    }
}
