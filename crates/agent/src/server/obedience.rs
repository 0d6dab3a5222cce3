//! Whether a standby's checkpointer has raised the flag by which backends know that commits wait
//! (`sync_standbys_defined`): the setting alone holds up no commit in the moment of a promotion.

use manada_postgres::Session;

use super::Shared;
use super::error::OrderError;

impl Shared {
    /// Whether it was seen to in this run of the server. It stays raised: a node's names are never
    /// taken away while it is a standby.
    pub(super) fn checkpointer_obeys(&self) -> bool {
        let obeyed = *self.lock_obeyed();
        obeyed.is_some() && obeyed == self.watch.watched()
    }

    /// For a server that was started with names. Its checkpointer raises the flag before it enters
    /// the loop in which it waits (`CheckpointerMain`), so that one that waits there has.
    pub(super) async fn see_obedience(&self, session: &Session) -> Result<(), OrderError> {
        let sql = "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE backend_type = 'checkpointer' \
                   AND wait_event IN ('CheckpointerMain', 'CheckpointWriteDelay'))";
        let row = session.query_one(sql, &[]).await;
        if row
            .map_err(OrderError::sql("look at the checkpointer"))?
            .get(0)
        {
            *self.lock_obeyed() = self.watch.watched();
        }
        Ok(())
    }

    /// For a server that has got its names by a reload: its checkpointer obeys the signal before it
    /// begins what it is asked for now.
    pub(super) async fn have_checkpointer_obey(&self, session: &Session) -> Result<(), OrderError> {
        let checkpoint = session.batch_execute("CHECKPOINT").await;
        checkpoint.map_err(OrderError::sql("have the checkpointer read its settings"))?;
        *self.lock_obeyed() = self.watch.watched();
        Ok(())
    }
}
