//! The files that make a clone a standby: placed while the clone does not have its name yet, so that
//! a data directory with its name is always a complete standby.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io;
use std::path::Path;

use manada_postgres::os_user::OsUser;
use manada_postgres::quote::setting_value;
use manada_postgres::settings::{
    FILE_NAME, INCLUDE_LINE, ManagedSettings, with_block, with_include,
};
use manada_wal::clone::ExtraFile;

use crate::access;
use crate::member::Member;
use crate::node_file::NodeFile;

/// Settings that say where one server is, beyond those that Manada manages: in a copy of another
/// server's `postgresql.auto.conf` they would lead astray.
const OF_ONE_PLACE: [&str; 10] = [
    "data_directory",
    "config_file",
    "hba_file",
    "ident_file",
    "external_pid_file",
    "listen_addresses",
    "port",
    "unix_socket_directories",
    "primary_conninfo",
    "primary_slot_name",
];

/// Access for a server whose primary keeps its rules outside of the data directory: what `initdb`
/// would write when told to be careful.
const CAREFUL_RULES: &str = "\
# TYPE  DATABASE  USER  ADDRESS  METHOD
local   all       all            peer
host    all       all   localhost scram-sha-256
";

/// All that the files are made of.
pub(super) struct Standby {
    pub(super) node: NodeFile,
    pub(super) user: OsUser,
    pub(super) settings: ManagedSettings,
    pub(super) members: Vec<Member>,
    /// The primary's settings, for a clone that comes without `postgresql.conf`.
    pub(super) primary: BTreeMap<String, String>,
}

impl Standby {
    /// The files, made from the verified clone at `data`.
    pub(super) fn files(
        &self,
        data: &Path,
    ) -> Result<Vec<ExtraFile>, Box<dyn std::error::Error + Send + Sync>> {
        let config = match read(&data.join("postgresql.conf"))? {
            Some(text) => with_include(&text).unwrap_or(text),
            None => self.fresh_config()?,
        };
        let hba = read(&data.join("pg_hba.conf"))?.unwrap_or_else(|| CAREFUL_RULES.to_owned());
        let hba = with_block(&hba, &access::block(&self.node, &self.members).render()?)?;
        let ident = read(&data.join("pg_ident.conf"))?.unwrap_or_default();
        let ident = with_block(&ident, &access::identity(&self.node, &self.user).render()?)?;
        let auto = read(&data.join("postgresql.auto.conf"))?.unwrap_or_default();
        let (auto, dropped) = self.without_strangers(&auto);
        if !dropped.is_empty() {
            tracing::info!(?dropped, "left out of the copy of postgresql.auto.conf");
        }
        let file = |path: &str, contents: String| ExtraFile {
            path: path.to_owned(),
            contents: contents.into_bytes(),
        };
        Ok(vec![
            file("postgresql.conf", config),
            file("pg_hba.conf", hba),
            file("pg_ident.conf", ident),
            file("postgresql.auto.conf", auto),
            file(FILE_NAME, self.settings.render()?),
            file("standby.signal", String::new()),
        ])
    }

    /// A `postgresql.conf` with what must be as on the primary, or should.
    fn fresh_config(&self) -> Result<String, manada_postgres::quote::Unquotable> {
        let mut text =
            "# Made by manada: the primary keeps its own outside of the data directory.\n\
             # What follows is as on the primary; settings of your own belong here.\n"
                .to_owned();
        for (name, value) in &self.primary {
            let _ = writeln!(text, "{name} = {}", setting_value(value)?);
        }
        let _ = writeln!(text, "{INCLUDE_LINE}");
        Ok(text)
    }

    /// `postgresql.auto.conf` without what is the primary's alone: it would override ours.
    fn without_strangers(&self, text: &str) -> (String, Vec<String>) {
        let mut dropped = Vec::new();
        let kept = text
            .split_inclusive('\n')
            .filter(|line| {
                let name = line.split('=').next().unwrap_or_default().trim();
                let strange = OF_ONE_PLACE.contains(&name) || self.settings.value(name).is_some();
                if strange {
                    dropped.push(name.to_owned());
                }
                !strange
            })
            .collect();
        (kept, dropped)
    }
}

fn read(path: &Path) -> io::Result<Option<String>> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
