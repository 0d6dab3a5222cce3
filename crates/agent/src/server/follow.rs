//! Whom this standby follows.

use std::time::Duration;

use manada_herd::{Door, protection};
use manada_model::{Lsn, NodeName};
use manada_postgres::Session;
use manada_postgres::process::StopMode;
use tokio::time::Instant;

use super::Shared;
use super::configure::Change;
use super::error::OrderError;
use super::said::{Said, SaidStandby};

/// How long a walreceiver is given to end by itself. With its leader gone it takes milliseconds.
const RECEIVER_ENDS_WITHIN: Duration = Duration::from_millis(700);
/// How long replay is given to reach what was received, before the order counts as done all the
/// same: whether it has is in the facts.
const REPLAYED_WITHIN: Duration = Duration::from_millis(300);
/// How long WAL may take that is fetched from a node that does not lead.
const FETCHED_WITHIN: Duration = Duration::from_secs(5);
const BETWEEN_LOOKS: Duration = Duration::from_millis(1);

impl Shared {
    /// Follows that member, from the next start or reload on.
    pub(super) fn set_leader(
        &self,
        change: &mut Change,
        leader: &NodeName,
    ) -> Result<(), OrderError> {
        let endpoint = self
            .endpoint_of(leader)
            .ok_or_else(|| OrderError::UnknownMember {
                name: leader.clone(),
            })?;
        protection::follow(change.settings(), &self.node, endpoint);
        Ok(())
    }

    /// Follows that member. Clients may read again: what is here is a part of its history.
    pub(super) async fn follow(&self, leader: &NodeName) -> Result<(), OrderError> {
        let session = self.session().await?;
        self.demand_standby(&session, "follow").await?;
        self.leave(session);
        self.restart_with_limits().await?;
        let mut change = self.change()?;
        self.set_leader(&mut change, leader)?;
        change.door(Door::Open);
        let session = self.put_in_force(change).await?;
        let row = session
            .query_one("SELECT current_setting('primary_conninfo')", &[])
            .await;
        let shown: String = row.map_err(OrderError::sql("see whom it follows"))?.get(0);
        if self.whom(&shown).as_ref() != Some(leader) {
            // The string holds no secret, and is left out all the same.
            return Err(OrderError::Overridden {
                name: "primary_conninfo",
                shown: "another server".to_owned(),
            });
        }
        self.keep_slots(&session).await?;
        self.leave(session);
        Ok(())
    }

    /// Follows nobody, and ends once no walreceiver is left that could receive or confirm anything.
    pub(super) async fn stop_receiving(&self) -> Result<(), OrderError> {
        self.restart_with_limits().await?;
        let mut change = self.change()?;
        protection::follow_nobody(change.settings());
        let session = self.put_in_force(change).await?;
        let query = session.prepare(&Said::query(false)).await;
        let query = query.map_err(OrderError::sql("see whether it receives"))?;
        let asked_at = Instant::now();
        loop {
            let standby = ask(&session, &query).await?;
            let none_left = standby.receives_no_more();
            let replayed = none_left && self.wal_ends_at(standby.replay_lsn.unwrap_or_default());
            if replayed || none_left && asked_at.elapsed() >= REPLAYED_WITHIN {
                self.leave(session);
                return Ok(());
            }
            if standby.receives() && asked_at.elapsed() >= RECEIVER_ENDS_WITHIN {
                drop(session);
                return self.end_receiver_with_the_server().await;
            }
            if asked_at.elapsed() >= RECEIVER_ENDS_WITHIN && !standby.receives() {
                // Replay is busy with what was received, or paused: nothing more comes in.
                return Ok(());
            }
            tokio::time::sleep(BETWEEN_LOOKS).await;
        }
    }

    /// Receives from a node that does not lead what it alone has, up to there, and then nothing more.
    pub(super) async fn fetch_wal(&self, from: &NodeName, upto: Lsn) -> Result<(), OrderError> {
        let mut change = self.change()?;
        self.set_leader(&mut change, from)?;
        let session = self.put_in_force(change).await?;
        let fetched = reaches(&session, upto).await;
        // Whether it came or not: what is followed is a matter of the next order.
        self.stop_receiving().await?;
        if fetched? {
            Ok(())
        } else {
            Err(OrderError::NotFetched {
                from: from.clone(),
                within: FETCHED_WITHIN,
            })
        }
    }

    /// A walreceiver that does not end holds up the startup process too: only a new start helps.
    async fn end_receiver_with_the_server(&self) -> Result<(), OrderError> {
        tracing::warn!("the walreceiver does not end: the server is started anew");
        self.stop_and_wait(StopMode::Immediate).await?;
        self.start().await
    }

    async fn demand_standby(
        &self,
        session: &Session,
        action: &'static str,
    ) -> Result<(), OrderError> {
        let row = session.query_one("SELECT pg_is_in_recovery()", &[]).await;
        if row.map_err(OrderError::sql("see what it is"))?.get(0) {
            Ok(())
        } else {
            let found = "a primary";
            Err(OrderError::WrongState { action, found })
        }
    }
}

async fn reaches(session: &Session, upto: Lsn) -> Result<bool, OrderError> {
    let action = "see what was fetched";
    let query = session.prepare(&Said::query(false)).await;
    let query = query.map_err(OrderError::sql(action))?;
    let deadline = Instant::now() + FETCHED_WITHIN;
    while Instant::now() < deadline {
        let standby = ask(session, &query).await?;
        if standby.receive_lsn.max(standby.replay_lsn) >= Some(upto) {
            return Ok(true);
        }
        tokio::time::sleep(BETWEEN_LOOKS).await;
    }
    Ok(false)
}

async fn ask(
    session: &Session,
    query: &tokio_postgres::Statement,
) -> Result<SaidStandby, OrderError> {
    let action = "see whether it receives";
    let row = session.query_one(query, &[]).await;
    let said: tokio_postgres::types::Json<Said> = row.map_err(OrderError::sql(action))?.get(0);
    said.0.standby.ok_or(OrderError::WrongState {
        action: "stop receiving",
        found: "a primary",
    })
}
