//! What a commit waits for on a primary, against who is there to answer.

use std::num::NonZeroU32;

use manada_model::{StandbyName, SyncPolicy, SyncRule};

use crate::conninfo;
use crate::facts::{Server, Source, Unknown, WalSender, Why};

/// A primary's synchronous policy, and the standbys it counts.
pub(crate) struct Commits<'a> {
    /// The policy as it is set.
    pub(crate) text: &'a str,
    /// The policy.
    pub(crate) rule: SyncRule,
    /// The receivers that match one of its names, streaming or not.
    pub(crate) matching: Vec<&'a WalSender>,
    /// All receivers but base backups.
    pub(crate) connected: Vec<&'a WalSender>,
}

impl<'a> Commits<'a> {
    /// The policy of `server`; none where commits wait for nobody.
    pub(crate) fn of(server: &'a Server) -> Result<Option<Commits<'a>>, Unknown> {
        let text = server.settings.text("synchronous_standby_names")?;
        let policy: SyncPolicy = text.parse().map_err(|error| {
            let why = format!("synchronous_standby_names = {text:?}: {error}");
            Unknown::new(Source::Settings, Why::Failed(why))
        })?;
        let SyncPolicy::Wait(rule) = policy else {
            return Ok(None);
        };
        let senders = server.walsenders.get()?;
        let connected: Vec<_> = senders
            .iter()
            .filter(|sender| sender.is_lasting())
            .collect();
        let matching = connected
            .iter()
            .copied()
            .filter(|sender| rule.priority_of(&sender.application_name).is_some())
            .collect();
        Ok(Some(Commits {
            text,
            rule,
            matching,
            connected,
        }))
    }

    /// How many standbys must have a commit.
    pub(crate) fn needed(&self) -> usize {
        usize::try_from(self.rule.count.get()).unwrap_or(usize::MAX)
    }

    /// Those that can answer now.
    pub(crate) fn streaming(&self) -> usize {
        let streaming = |sender: &&&WalSender| sender.is_streaming();
        self.matching.iter().filter(streaming).count()
    }

    /// The policy with other names, and no more of them asked for than there are.
    pub(crate) fn with_names(&self, names: &[String]) -> String {
        let count = self
            .rule
            .count
            .min(NonZeroU32::new(names.len() as u32).unwrap_or(NonZeroU32::MIN));
        let rule = SyncRule {
            method: self.rule.method,
            count,
            names: names.iter().map(StandbyName::new).collect(),
        };
        SyncPolicy::Wait(rule).to_string()
    }

    /// Whether a commit waits, or may come to wait, for this standby.
    pub(crate) fn may_wait_for(&self, application_name: &str) -> bool {
        self.rule.priority_of(application_name).is_some()
    }
}

/// The `application_name`s of receivers.
pub(crate) fn names(senders: &[&WalSender]) -> Vec<String> {
    let name = |sender: &&WalSender| sender.application_name.clone();
    senders.iter().map(name).collect()
}

/// The name under which a primary knows a standby: that of its `primary_conninfo`, else its
/// `cluster_name`, else `walreceiver` (`libpqwalreceiver.c`).
pub(crate) fn application_name(standby: &Server) -> Result<String, Unknown> {
    let text = standby.settings.text("primary_conninfo")?;
    let given = conninfo::read(text).and_then(|conninfo| conninfo.application_name);
    let cluster = standby.settings.text("cluster_name")?;
    Ok(given.unwrap_or_else(|| {
        if cluster.is_empty() {
            "walreceiver".to_owned()
        } else {
            cluster.to_owned()
        }
    }))
}
