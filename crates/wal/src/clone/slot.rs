//! The slot that holds the source's WAL for a clone.

use manada_model::SlotName;
use manada_postgres::Conninfo;
use manada_postgres::transport::Peer;
use manada_wire::command::replication_slot::SlotLife;

use super::CloneError;
use super::request::{CloneRequest, CloneSlot};
use crate::replication::{ReplicationConnection, ReplicationError};

/// PostgreSQL's `duplicate_object`.
const DUPLICATE_OBJECT: &str = "42710";

/// The slot in use. Unless it is kept, a slot that this attempt made goes with it.
#[derive(Debug)]
pub(super) struct HeldSlot {
    name: Option<SlotName>,
    /// How to drop it.
    made: Option<Made>,
}

#[derive(Debug, Clone)]
struct Made {
    slot: SlotName,
    source: Conninfo,
    peer: Option<Peer>,
}

impl HeldSlot {
    /// Makes the slot that is asked for, or finds it.
    pub(super) async fn obtain(
        connection: &mut ReplicationConnection,
        request: &CloneRequest,
    ) -> Result<Self, CloneError> {
        match &request.slot {
            CloneSlot::Existing(slot) => Self::find(connection, slot).await,
            CloneSlot::Create(slot) => {
                match connection.create_slot(slot, SlotLife::Permanent).await {
                    Ok(()) => Ok(HeldSlot {
                        name: Some(slot.clone()),
                        made: Some(Made {
                            slot: slot.clone(),
                            source: request.source.clone(),
                            peer: request.peer,
                        }),
                    }),
                    Err(error) if error.sqlstate() == Some(DUPLICATE_OBJECT) => {
                        Self::find(connection, slot).await
                    }
                    Err(error) => Err(error.into()),
                }
            }
            CloneSlot::Temporary => {
                let slot = temporary_name();
                connection.create_slot(&slot, SlotLife::Temporary).await?;
                Ok(HeldSlot {
                    name: Some(slot),
                    made: None,
                })
            }
        }
    }

    async fn find(
        connection: &mut ReplicationConnection,
        slot: &SlotName,
    ) -> Result<Self, CloneError> {
        match connection.read_slot(slot).await? {
            Some(_) => Ok(HeldSlot {
                name: Some(slot.clone()),
                made: None,
            }),
            None => Err(CloneError::NoSuchSlot { slot: slot.clone() }),
        }
    }

    pub(super) fn name(&self) -> Option<&SlotName> {
        self.name.as_ref()
    }

    /// The clone is complete: the slot waits for its server.
    pub(super) fn keep(mut self) {
        self.made = None;
    }

    /// The clone has failed: a slot that this attempt made is dropped, so that it holds no WAL.
    pub(super) async fn release(&mut self) {
        if let Some(made) = self.made.take() {
            made.drop_slot().await;
        }
    }
}

impl Drop for HeldSlot {
    /// The attempt was cancelled.
    fn drop(&mut self) {
        if let (Some(made), Ok(runtime)) = (self.made.take(), tokio::runtime::Handle::try_current())
        {
            runtime.spawn(made.drop_slot());
        }
    }
}

impl Made {
    async fn drop_slot(self) {
        let dropped: Result<(), ReplicationError> = async {
            let mut connection = ReplicationConnection::open(&self.source, self.peer).await?;
            connection.drop_slot(&self.slot).await?;
            connection.close().await;
            Ok(())
        }
        .await;
        if let Err(error) = dropped {
            tracing::warn!(slot = %self.slot, %error, "a slot stays behind and holds WAL");
        }
    }
}

fn temporary_name() -> SlotName {
    format!("manada_clone_{}", std::process::id())
        .parse()
        .expect("letters, digits and underscores")
}
