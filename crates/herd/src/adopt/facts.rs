//! What a running server that is to be adopted says of itself. Reads only.

use std::collections::BTreeMap;
use std::path::PathBuf;

use manada_model::{ServerVersion, SystemIdentifier};
use manada_postgres::Session;
use serde::Deserialize;

/// A server's facts, as far as an adoption depends on them.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Facts {
    pub(super) version: ServerVersion,
    pub(super) system_identifier: SystemIdentifier,
    pub(super) superuser: String,
    pub(super) is_superuser: bool,
    pub(super) in_recovery: bool,
    pub(super) config_file: PathBuf,
    pub(super) hba_file: PathBuf,
    pub(super) data_directory: PathBuf,
    pub(super) port: u16,
    /// By name; those that an adoption looks at.
    pub(super) settings: BTreeMap<String, CurrentSetting>,
    /// The comments of the roles whose names a herd uses, by name; empty without one.
    pub(super) roles: BTreeMap<String, String>,
    /// The comment of the schema `manada`, where there is one.
    pub(super) schema: Option<String>,
    /// The source of `manada.admit`, where there is one.
    pub(super) admit_source: Option<String>,
}

/// A setting as it is in force.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(super) struct CurrentSetting {
    pub(super) value: String,
    /// `postmaster` where a change needs a restart.
    pub(super) context: String,
    pub(super) source: String,
    /// Whether it was set by `ALTER SYSTEM`.
    pub(super) by_alter_system: bool,
}

impl CurrentSetting {
    pub(super) fn needs_restart(&self) -> bool {
        self.context == "postmaster"
    }
}

const FACTS_QUERY: &str = "
SELECT jsonb_build_object(
  'version', current_setting('server_version_num')::integer,
  'system_identifier', (SELECT system_identifier::text FROM pg_control_system()),
  'superuser', current_user,
  'is_superuser', (SELECT rolsuper FROM pg_roles WHERE rolname = current_user),
  'in_recovery', pg_is_in_recovery(),
  'config_file', current_setting('config_file'),
  'hba_file', current_setting('hba_file'),
  'data_directory', current_setting('data_directory'),
  'port', current_setting('port')::integer,
  'settings', (
    SELECT jsonb_object_agg(name, jsonb_build_object(
      'value', setting, 'context', context, 'source', source,
      'by_alter_system', coalesce(sourcefile LIKE '%/postgresql.auto.conf', false)))
    FROM pg_settings WHERE name = ANY ($1)),
  'roles', coalesce((
    SELECT jsonb_object_agg(rolname, coalesce(shobj_description(oid, 'pg_authid'), ''))
    FROM pg_roles WHERE rolname = ANY ($2)), '{}'),
  'schema', (SELECT coalesce(obj_description(oid, 'pg_namespace'), '')
             FROM pg_namespace WHERE nspname = 'manada'),
  'admit_source', (SELECT prosrc FROM pg_proc JOIN pg_namespace ON pg_namespace.oid = pronamespace
                   WHERE nspname = 'manada' AND proname = 'admit'))::text";

/// The settings an adoption looks at.
const SETTINGS: [&str; 17] = [
    "ssl",
    "ssl_cert_file",
    "ssl_key_file",
    "ssl_ca_file",
    "wal_level",
    "max_wal_senders",
    "max_replication_slots",
    "wal_keep_size",
    "hot_standby",
    "max_slot_wal_keep_size",
    "data_checksums",
    "wal_log_hints",
    "listen_addresses",
    "archive_mode",
    "archive_command",
    "restore_command",
    "recovery_target_timeline",
];

impl Facts {
    pub(super) async fn read(session: &Session) -> Result<Facts, tokio_postgres::Error> {
        use crate::schema::{JOIN_ROLE, MONITOR_ROLE, REPLICATION_ROLE, REPLICATION_ROLE_APART};
        let settings: &[&str] = &SETTINGS;
        let roles: &[&str] = &[
            REPLICATION_ROLE,
            REPLICATION_ROLE_APART,
            MONITOR_ROLE,
            JOIN_ROLE,
        ];
        let row = session.query_one(FACTS_QUERY, &[&settings, &roles]).await?;
        let text: String = row.get(0);
        Ok(serde_json::from_str(&text).expect("the query builds what is read here"))
    }

    /// The value of a setting; empty where this version has none of that name.
    pub(super) fn value(&self, name: &str) -> &str {
        self.settings
            .get(name)
            .map_or("", |setting| setting.value.as_str())
    }
}
