//! The leader of the herd and the leader of its store stay on different hosts.

use std::sync::Arc;
use std::time::Duration;

use manada_core::server::Gate;
use manada_core::standing::Standing;
use manada_model::address::HostAddress;
use manada_store::{LeaderPlace, Store};
use tokio::sync::watch;
use tokio::time::sleep;

use crate::glance::Glance;

/// How often it is seen to. Nothing is asked as long as the store has not elected.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// The pause after the store's leader was moved: it doubles with each move in a reign, since the
/// leaders of several herds may each want it on another host. So does the one after it could not be
/// moved: where no other member can lead, that may stay so for long.
const PAUSE_MIN: Duration = Duration::from_secs(2);

/// The longest of these pauses.
const PAUSE_MAX: Duration = Duration::from_secs(600);

/// Moves the store's leader away from this host, whose addresses are `own`, whenever this node
/// leads.
pub(crate) async fn keep_off(
    store: Store,
    own: Vec<HostAddress>,
    glance: watch::Receiver<Arc<Glance>>,
) {
    let mut reign = 0;
    let (mut after_move, mut after_failure) = (PAUSE_MIN, PAUSE_MIN);
    loop {
        sleep(LOOK_EVERY).await;
        let (leads, reigns_begun) = {
            let glance = glance.borrow();
            (is_at_work(&glance.standing), glance.reigns_begun)
        };
        if reigns_begun != reign {
            reign = reigns_begun;
            after_move = PAUSE_MIN;
        }
        if !leads {
            continue;
        }
        let pause = match store.keep_leader_off(&own).await {
            Ok(LeaderPlace::Settled) => {
                after_failure = PAUSE_MIN;
                continue;
            }
            Ok(LeaderPlace::Moved) => {
                tracing::info!("the store's own leader was on this host: it is another member now");
                &mut after_move
            }
            Ok(LeaderPlace::NoSuccessor) => {
                tracing::debug!("no other member of the store can lead it now");
                &mut after_failure
            }
            Err(error) => {
                tracing::debug!(%error, "whether the store's leader is here is not known");
                &mut after_failure
            }
        };
        sleep(*pause).await;
        *pause = (*pause * 2).min(PAUSE_MAX);
    }
}

/// Whether this node leads, and is not in the middle of anything.
fn is_at_work(standing: &Standing) -> bool {
    match standing {
        Standing::Leading { gate, changing, .. } => *gate == Gate::Open && !changing,
        Standing::NoRecord
        | Standing::Outsider
        | Standing::Following { .. }
        | Standing::Rejoining { .. }
        | Standing::Recruited { .. }
        | Standing::Electing { .. }
        | Standing::Promoting { .. }
        | Standing::Reopening { .. }
        | Standing::HandingOver { .. }
        | Standing::Resigned { .. }
        | Standing::SteppingDown { .. }
        | Standing::Stuck { .. } => false,
    }
}
