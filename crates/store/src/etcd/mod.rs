//! The engine for a herd across machines: etcd v3, by its JSON gateway.

mod client;
mod connection;
mod gateway;
mod leadership;
mod tls;
mod watch;

use std::sync::Arc;

use manada_core::lease::Lease;
use manada_core::record::{Record, Revision, Versioned};
use manada_model::address::HostAddress;
use manada_model::{HerdName, NodeName};

use crate::access::{Access, AccessError};
use crate::contact::Contact;
use crate::error::{Request, StoreError};
use crate::location::Endpoint;
use crate::store::{Engine, LeaderPlace, Pending, Renewal, Snapshot, Swap};
use crate::watch::Watch;
use client::Client;
use gateway::{Found, Keys, Put};
use leadership::Leadership;

/// A herd's keys in an etcd cluster.
pub(crate) struct Etcd {
    client: Arc<Client>,
    keys: Arc<Keys>,
    leadership: Leadership,
}

impl Etcd {
    pub(crate) fn new(
        tls: bool,
        endpoints: &[Endpoint],
        prefix: &str,
        herd: &HerdName,
        access: &Access,
    ) -> Result<Etcd, AccessError> {
        Ok(Etcd {
            client: Arc::new(Client::new(tls, endpoints, access)?),
            keys: Arc::new(Keys::new(prefix, herd)),
            leadership: Leadership::default(),
        })
    }

    /// Writes `key`, and reads the lease with it, if the record has the revision `expected`.
    async fn put_if(
        &self,
        request: Request,
        expected: Option<Revision>,
        key: &str,
        value: &str,
    ) -> Result<Result<Put, Found>, StoreError> {
        let body = self.keys.put_if(expected, key, value);
        let answer = self.client.call(request, gateway::TXN, body).await?;
        self.leadership.note(&answer);
        // The answer came, so the transaction is decided; an answer that can't be read leaves
        // open how.
        gateway::decided(&answer).map_err(|cause| request.in_doubt(cause))
    }
}

impl Engine for Etcd {
    fn read(&self) -> Pending<'_, Snapshot> {
        Box::pin(async {
            let (snapshot, _) = read(&self.client, &self.keys).await?;
            Ok(snapshot)
        })
    }

    fn write<'a>(&'a self, expected: Option<Revision>, record: &'a Record) -> Pending<'a, Swap> {
        Box::pin(async move {
            let request = match expected {
                Some(_) => Request::Swap,
                None => Request::Create,
            };
            let value = gateway::text(record).map_err(|cause| request.not_done(cause))?;
            let written = self
                .put_if(request, expected, self.keys.record(), &value)
                .await?;
            Ok(match written {
                Ok(Put { revision, lease }) => Swap::Swapped {
                    record: Versioned {
                        revision,
                        value: record.clone(),
                    },
                    lease,
                },
                Err(Found(current)) => Swap::Conflict(current),
            })
        })
    }

    fn renew<'a>(&'a self, expected: Revision, lease: &'a Lease) -> Pending<'a, Renewal> {
        Box::pin(async move {
            let request = Request::Renew;
            let value = gateway::text(lease).map_err(|cause| request.not_done(cause))?;
            let written = self
                .put_if(request, Some(expected), self.keys.lease(), &value)
                .await?;
            Ok(match written {
                Ok(_) => Renewal::Renewed,
                Err(Found(current)) => Renewal::Conflict(current),
            })
        })
    }

    fn register<'a>(&'a self, contact: &'a Contact) -> Pending<'a, ()> {
        Box::pin(async move {
            let request = Request::Register;
            let value = gateway::text(contact).map_err(|cause| request.not_done(cause))?;
            let body = gateway::put(&self.keys.contact(&contact.name), &value);
            self.client.call(request, gateway::PUT, body).await?;
            Ok(())
        })
    }

    fn unregister<'a>(&'a self, name: &'a NodeName) -> Pending<'a, ()> {
        Box::pin(async move {
            let body = gateway::delete(&self.keys.contact(name));
            self.client
                .call(Request::Unregister, gateway::DELETE, body)
                .await?;
            Ok(())
        })
    }

    fn keep_leader_off<'a>(&'a self, own: &'a [HostAddress]) -> Pending<'a, LeaderPlace> {
        Box::pin(self.leadership.keep_off(&self.client, own))
    }

    fn watch(&self) -> Watch {
        watch::start(Arc::clone(&self.client), Arc::clone(&self.keys))
    }
}

/// Everything about the herd, and the revision of etcd as of which it is so.
async fn read(client: &Client, keys: &Keys) -> Result<(Snapshot, Revision), StoreError> {
    let answer = client
        .call(Request::Read, gateway::RANGE, keys.range())
        .await?;
    keys.snapshot(&answer)
        .map_err(|cause| Request::Read.not_done(cause))
}
