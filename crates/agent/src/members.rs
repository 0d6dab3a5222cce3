//! Who belongs to the herd, as its own table says: the server's access rules and slots follow it.

use std::time::Duration;

use manada_herd::Member;
use tokio::sync::watch;

use crate::orders::with_causes;
use crate::server::{LocalServer, OrderError};

/// How often the table is read.
const READ_EVERY: Duration = Duration::from_secs(5);

/// How long reading it and following it may take.
const FOLLOWED_WITHIN: Duration = Duration::from_secs(60);

/// Reads the members again and again, and tells when they have changed.
pub(crate) async fn keep_reading(server: LocalServer, members: watch::Sender<Vec<Member>>) {
    let mut ticks = tokio::time::interval(READ_EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let followed = tokio::time::timeout(FOLLOWED_WITHIN, follow(&server)).await;
        let now = match followed {
            Ok(Ok(now)) => now,
            // Often the server does not run, or is on its way.
            Ok(Err(error)) => {
                let error = with_causes(&error);
                tracing::debug!(
                    error,
                    "access rules or slots may not be those of the members"
                );
                continue;
            }
            Err(_) => {
                tracing::warn!("the members could not be read in time");
                continue;
            }
        };
        members.send_if_modified(|known| {
            let changed = *known != now;
            *known = now;
            changed
        });
    }
}

/// Also where nothing has changed: a slot or a rule may be missing all the same.
async fn follow(server: &LocalServer) -> Result<Vec<Member>, OrderError> {
    let members = server.read_members().await?;
    server.admit_members(&members).await?;
    Ok(members)
}
