//! Keeps etcd's own leader off the host of the herd's leader.
//!
//! Where one host has both and is lost, the herd's election can't begin before etcd's has ended,
//! which takes one to three seconds at etcd's defaults.

use std::sync::atomic::{AtomicU64, Ordering};

use manada_model::address::HostAddress;

use super::client::Client;
use super::gateway::{self, Status};
use crate::error::{Request, StoreError};
use crate::location::Endpoint;
use crate::store::LeaderPlace;

/// How many entries of etcd's log a member may lack that is to lead: nothing is written while it
/// takes over.
const BEHIND_MAX: u64 = 100;

/// What is known of etcd's terms, each of which has one leader.
#[derive(Default)]
pub(super) struct Leadership {
    newest: AtomicU64,
    /// The one whose leader is known to be elsewhere, or to have no other place.
    settled: AtomicU64,
}

impl Leadership {
    /// Notes the term of an answer. A cluster that was begun anew counts from the beginning.
    pub(super) fn note(&self, answer: &[u8]) {
        if let Some(term) = gateway::term(answer) {
            self.newest.store(term, Ordering::Relaxed);
        }
    }

    /// Has another member lead, if the one at the addresses `own` does.
    pub(super) async fn keep_off(
        &self,
        client: &Client,
        own: &[HostAddress],
    ) -> Result<LeaderPlace, StoreError> {
        let term = self.newest.load(Ordering::Relaxed);
        if term == self.settled.load(Ordering::Relaxed) {
            return Ok(LeaderPlace::Settled);
        }
        let settled = || {
            self.settled.store(term, Ordering::Relaxed);
            Ok(LeaderPlace::Settled)
        };
        let is_here = |endpoint: &&Endpoint| own.contains(&endpoint.host);
        let Some(here) = client.endpoints().iter().find(is_here) else {
            return settled();
        };
        // Where it is the only member that is known, there is nobody to move to.
        if client.endpoints().len() == 1 {
            return settled();
        }
        let status = status(client, here).await?;
        if status.leader != status.member {
            return if status.leader != 0 && status.term >= term {
                settled()
            } else {
                Ok(LeaderPlace::NoSuccessor)
            };
        }
        let Some(other) = successor(client, here, &status).await else {
            return Ok(LeaderPlace::NoSuccessor);
        };
        let body = gateway::transfer_leadership(other.member);
        client
            .call_member(
                here,
                Request::MoveLeader,
                gateway::TRANSFER_LEADERSHIP,
                body,
            )
            .await?;
        Ok(LeaderPlace::Moved)
    }
}

/// A member that follows the leader `status` closely.
async fn successor(client: &Client, here: &Endpoint, leader: &Status) -> Option<Status> {
    for endpoint in client.endpoints() {
        if endpoint == here {
            continue;
        }
        match status(client, endpoint).await {
            Ok(other)
                if other.leader == leader.member
                    && other.member != leader.member
                    && other.applied + BEHIND_MAX >= leader.applied =>
            {
                return Some(other);
            }
            Ok(_) => {}
            Err(error) => tracing::debug!(%endpoint, %error, "a member of etcd can't lead"),
        }
    }
    None
}

async fn status(client: &Client, endpoint: &Endpoint) -> Result<Status, StoreError> {
    let request = Request::Read;
    let asked = serde_json::json!({});
    let answer = client
        .call_member(endpoint, request, gateway::STATUS, asked)
        .await?;
    gateway::status(&answer).map_err(|cause| request.not_done(cause))
}
