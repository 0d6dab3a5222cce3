//! Coming back: the data of a node whose WAL has diverged is brought into its leader's history.

use super::Shared;
use super::error::OrderError;

impl Shared {
    /// Whether a rejoin was begun and did not come to its end: the data is no server's then.
    pub(super) fn rejoin_is_unfinished(&self) -> bool {
        self.node.home.rejoin_mark().exists()
    }

    pub(super) fn demand_no_rejoin(&self) -> Result<(), OrderError> {
        if self.rejoin_is_unfinished() {
            Err(OrderError::RejoinUnfinished)
        } else {
            Ok(())
        }
    }
}
