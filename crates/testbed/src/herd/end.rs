//! What is there when clients have stopped, for the checker.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::time::Duration;

use serde_json::Value;

use super::ProtectedHerd;
use crate::checker::{End, Reign};
use crate::wait::poll_until;
use crate::workload::TABLE;

/// How long the followers may take to replay what there is.
const REPLAY_MAX: Duration = Duration::from_secs(30);

impl ProtectedHerd {
    /// What each node of a whole herd holds of what clients wrote.
    pub fn end(&self) -> Result<End, String> {
        let primary = self.primary();
        let lsn = primary.try_sql("SELECT pg_current_wal_flush_lsn()")?;
        let replayed = format!(
            "SELECT CASE WHEN pg_is_in_recovery()
                    THEN pg_last_wal_replay_lsn() >= '{lsn}' ELSE true END"
        );
        let digest = format!(
            "SELECT md5(string_agg(concat_ws(' ', number, session, sequence), ','
                 ORDER BY number)) FROM {TABLE}"
        );
        for node in self.nodes() {
            if !poll_until(REPLAY_MAX, || node.try_sql(&replayed).as_deref() == Ok("t")) {
                return Err(format!("{} does not replay up to {lsn}", node.name()));
            }
        }
        let mut digests = Ok(BTreeMap::new());
        poll_until(REPLAY_MAX, || {
            let of_each = self.nodes().iter().map(|node| {
                let digest = node.try_sql(&digest)?;
                Ok((node.name().to_owned(), digest))
            });
            digests = of_each.collect::<Result<BTreeMap<_, _>, String>>();
            // A commit that nobody waits for any more may still wait for its standby: there it is
            // seen, and here not yet.
            digests.as_ref().is_ok_and(|all| {
                let different: BTreeSet<&String> = all.values().collect();
                different.len() == 1
            })
        });
        let numbers = primary.try_sql(&format!(
            "SELECT string_agg(number::text, ',') FROM {TABLE}"
        ))?;
        Ok(End {
            state: numbers
                .split(',')
                .filter_map(|number| number.parse().ok())
                .collect(),
            digests: digests?,
            reigns: self.reigns(),
        })
    }

    /// How many commits the nodes say they have lost: those in the WAL that each one saved before
    /// it gave it up.
    pub fn commits_saved(&self) -> u64 {
        let mut commits = 0;
        for node in &self.nodes {
            // A node that has never lost anything has no such directory.
            let saved = fs::read_dir(node.data().with_file_name("divergent"));
            for tail in saved.into_iter().flatten().flatten() {
                let said = fs::read(tail.path().join("description.json")).unwrap_or_default();
                let said: Value = serde_json::from_slice(&said).unwrap_or_default();
                commits += said["commits"].as_u64().unwrap_or_default();
            }
        }
        commits
    }

    /// Who has led, as far back as the primary remembers; none where no rules are kept, or nobody
    /// says.
    pub fn reigns(&self) -> Vec<Reign> {
        let sql = "SELECT string_agg(DISTINCT epoch || ' ' || leader, ',') FROM manada.rule";
        let primaries = self.primaries();
        let rules = primaries.first().and_then(|it| it.try_sql(sql).ok());
        let reign = |rule: &str| {
            let (epoch, leader) = rule.split_once(' ')?;
            Some(Reign {
                epoch: epoch.parse().ok()?,
                leader: leader.to_owned(),
            })
        };
        let rules = rules.unwrap_or_default();
        rules.split(',').filter_map(reign).collect()
    }
}
