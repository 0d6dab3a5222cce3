//! What a herd has in the database `postgres`: roles, the table of members, the door for newcomers.

use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use manada_postgres::Secret;
use manada_postgres::quote::{Unquotable, identifier, literal, shell_word};

use crate::home::Home;
use crate::member::Member;
use crate::remove::FACTS_EXPRESSION;

/// The database that holds it.
pub const DATABASE: &str = "postgres";
/// The role by which nodes read each other's status.
pub const MONITOR_ROLE: &str = "manada_monitor";
/// The role by which a newcomer asks to be admitted.
pub const JOIN_ROLE: &str = "manada_join";
/// The role by which standbys follow, where an adopted server does not use the name otherwise.
pub const REPLICATION_ROLE: &str = "replicator";
/// The role by which standbys follow a server where somebody else uses that name.
pub const REPLICATION_ROLE_APART: &str = "manada_replicator";

/// What marks a role or a schema as made by Manada, in its comment.
pub const COMMENT_MARK: &str = "manada:";

/// How long a token is good where nobody says otherwise.
pub const TOKEN_LIFETIME: Duration = Duration::from_secs(24 * 3600);

/// The largest request the door takes, in bytes.
pub const REQUEST_BYTES_MAX: usize = 16 * 1024;

/// How many newcomers may ask at once.
const JOIN_SESSIONS_MAX: u32 = 8;

/// The key of the lock that lets newcomers in one by one: "manada" in ASCII.
const ADMISSION_LOCK: i64 = 0x6d61_6e61_6461;

/// All that a new primary's database needs.
#[derive(Debug)]
pub struct Schema<'a> {
    /// The role by which standbys follow.
    pub replication_role: &'a str,
    /// The passwords of the two roles that nodes use among each other.
    pub passwords: &'a NodePasswords,
    /// The `manada` program as the server's user runs it.
    pub manada: &'a Path,
    /// The node's home.
    pub home: &'a Home,
    /// The primary itself.
    pub primary: &'a Member,
}

/// By these the nodes of a herd know each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodePasswords {
    /// Of the replication role.
    pub replication: Secret,
    /// Of [`MONITOR_ROLE`].
    pub monitor: Secret,
}

impl NodePasswords {
    /// New ones.
    pub fn random() -> NodePasswords {
        NodePasswords {
            replication: Secret::random(),
            monitor: Secret::random(),
        }
    }
}

impl Schema<'_> {
    /// One batch that makes it all, or brings what is there up to date.
    pub fn sql(&self) -> Result<String, Unquotable> {
        let replication = identifier(self.replication_role)?;
        Ok([
            role(
                self.replication_role,
                "LOGIN REPLICATION",
                "standbys follow with it",
            )?,
            role(
                MONITOR_ROLE,
                "LOGIN",
                "nodes read each other's status with it",
            )?,
            role(
                JOIN_ROLE,
                &format!("LOGIN CONNECTION LIMIT {JOIN_SESSIONS_MAX}"),
                "newcomers ask to be admitted with it",
            )?,
            format!(
                "ALTER ROLE {replication} PASSWORD {};\n\
                 ALTER ROLE {MONITOR_ROLE} PASSWORD {};\n\
                 GRANT pg_monitor TO {MONITOR_ROLE};\n\
                 GRANT CONNECT ON DATABASE {DATABASE} TO {MONITOR_ROLE}, {JOIN_ROLE};\n",
                literal(&self.passwords.replication.scram_verifier())?,
                literal(&self.passwords.monitor.scram_verifier())?,
            ),
            SCHEMA.to_owned(),
            MEMBER_TABLE.to_owned(),
            RULE_TABLE.to_owned(),
            rewind_grants(self.replication_role)?,
            self.primary.upsert_sql()?,
            functions_sql(self.manada, self.home)?,
        ]
        .concat())
    }
}

/// The functions, each for the role that may run it. They name the program and the home of the
/// primary's host.
pub(crate) fn functions_sql(manada: &Path, home: &Home) -> Result<String, Unquotable> {
    let admit = admit_source(manada, home)?;
    let leave = leave_source(manada, home)?;
    Ok([
        function("admit(request jsonb)", "jsonb", &admit, Some(JOIN_ROLE))?,
        function("forget(node text)", "void", FORGET_BODY, None)?,
        function("leave()", "jsonb", &leave, Some(MONITOR_ROLE))?,
    ]
    .concat())
}

/// A function with the superuser's rights, for `role` alone.
fn function(
    signature: &str,
    returns: &str,
    source: &str,
    role: Option<&str>,
) -> Result<String, Unquotable> {
    let grant = match role {
        Some(role) => format!("GRANT EXECUTE ON FUNCTION manada.{signature} TO {role};\n"),
        None => String::new(),
    };
    Ok(format!(
        "CREATE OR REPLACE FUNCTION manada.{signature} RETURNS {returns}\n\
         LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp\n\
         AS {};\n\
         REVOKE ALL ON FUNCTION manada.{signature} FROM PUBLIC;\n{grant}",
        literal(source)?
    ))
}

/// The source of `manada.admit` on a node: it runs `manada`, and reads the answer in `home`.
pub(crate) fn admit_source(manada: &Path, home: &Home) -> Result<String, Unquotable> {
    let text = ADMIT_BODY.replace("@REQUEST_BYTES_MAX@", &REQUEST_BYTES_MAX.to_string());
    asking_program(&text, "admit", manada, home)
}

fn leave_source(manada: &Path, home: &Home) -> Result<String, Unquotable> {
    let text = LEAVE_BODY.replace("@FACTS@", FACTS_EXPRESSION);
    asking_program(&text.replace("@NODE@", "node"), "leave", manada, home)
}

/// Fills in how a function asks `manada node WHAT`, and where the answer is.
fn asking_program(
    body: &str,
    what: &str,
    manada: &Path,
    home: &Home,
) -> Result<String, Unquotable> {
    let text = |path: &Path| path.to_string_lossy().into_owned();
    let command = format!(
        "{} node {what} --home {}",
        shell_word(&text(manada))?,
        shell_word(&text(home.path()))?
    );
    Ok(body
        .replace("@LOCK@", &ADMISSION_LOCK.to_string())
        .replace("@COMMAND@", &literal(&command)?)
        .replace("@ANSWER@", &literal(&text(&home.admission_answer()))?))
}

/// Gives the newcomers' role a new password, which ends the former token.
pub fn join_password_sql(password: &Secret, expires_at: Timestamp) -> Result<String, Unquotable> {
    Ok(format!(
        "ALTER ROLE {JOIN_ROLE} PASSWORD {} VALID UNTIL {};\n",
        literal(&password.scram_verifier())?,
        literal(&expires_at.to_string())?
    ))
}

fn role(name: &str, attributes: &str, purpose: &str) -> Result<String, Unquotable> {
    let quoted = identifier(name)?;
    Ok(format!(
        "DO $do$ BEGIN\n\
         IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = {}) THEN\n\
         CREATE ROLE {quoted};\n\
         END IF;\n\
         END $do$;\n\
         ALTER ROLE {quoted} {attributes};\n\
         COMMENT ON ROLE {quoted} IS {};\n",
        literal(name)?,
        literal(&format!("{COMMENT_MARK} {purpose}"))?
    ))
}

const SCHEMA: &str = "\
CREATE SCHEMA IF NOT EXISTS manada;
COMMENT ON SCHEMA manada IS 'manada: who belongs to the herd';
GRANT USAGE ON SCHEMA manada TO manada_monitor, manada_join;
";

const MEMBER_TABLE: &str = "\
CREATE TABLE IF NOT EXISTS manada.member (
    name text PRIMARY KEY,
    host text NOT NULL,
    port integer NOT NULL,
    addresses text[] NOT NULL,
    key_fingerprint text NOT NULL,
    added_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE manada.member IS 'The nodes of this herd. Holds no secret.';
GRANT SELECT ON manada.member TO manada_monitor;
";

/// The rules by which nodes compare their WAL. A leader's agent writes them.
const RULE_TABLE: &str = "\
CREATE TABLE IF NOT EXISTS manada.rule (
    epoch bigint NOT NULL,
    sub integer NOT NULL,
    leader text NOT NULL,
    policy jsonb NOT NULL,
    written_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (epoch, sub)
);
COMMENT ON TABLE manada.rule IS 'Who led from here on, and what commits waited for. Written by manada.';
GRANT SELECT ON manada.rule TO manada_monitor;
";

/// What protecting a herd needs where it was made before, or where somebody has dropped it: to be
/// run by its leader.
pub fn protection_sql(replication_role: &str) -> Result<String, Unquotable> {
    Ok([
        SCHEMA.to_owned(),
        RULE_TABLE.to_owned(),
        rewind_grants(replication_role)?,
    ]
    .concat())
}

/// `pg_rewind` reads what differs as the role by which standbys follow: it can copy all of it as a
/// base backup anyway. The functions give it no file outside of the data directory.
///
/// Source: PostgreSQL manual, "pg_rewind", Notes; `convert_and_check_filename` in `genfile.c`.
fn rewind_grants(replication_role: &str) -> Result<String, Unquotable> {
    let role = identifier(replication_role)?;
    Ok(format!(
        "GRANT CONNECT ON DATABASE {DATABASE} TO {role};\n\
         GRANT pg_checkpoint TO {role};\n\
         GRANT EXECUTE ON FUNCTION pg_catalog.pg_ls_dir(text, boolean, boolean), \
         pg_catalog.pg_stat_file(text, boolean), pg_catalog.pg_read_binary_file(text), \
         pg_catalog.pg_read_binary_file(text, bigint, bigint, boolean) TO {role};\n"
    ))
}

/// The request is only ever a value here: hexadecimal to the program, parameters to SQL.
const ADMIT_BODY: &str = r#"
DECLARE
  ticket text := gen_random_uuid()::text;
  answer jsonb;
  admitted jsonb;
BEGIN
  IF octet_length(request::text) > @REQUEST_BYTES_MAX@ THEN
    RAISE EXCEPTION 'the request is too large' USING ERRCODE = 'program_limit_exceeded';
  END IF;
  IF request->>'ask' = 'describe' THEN
    RETURN jsonb_build_object('described', jsonb_build_object(
        'server_version_num', current_setting('server_version_num')::integer,
        'system_identifier', (SELECT system_identifier::text FROM pg_control_system()),
        'superuser', current_user,
        'client_address', host(inet_client_addr()),
        'database_bytes', (SELECT sum(pg_database_size(oid)) FROM pg_database),
        'tablespaces', (SELECT count(*) FROM pg_tablespace WHERE spcname NOT IN ('pg_default', 'pg_global')),
        'config_in_data_directory', current_setting('config_file') = current_setting('data_directory') || '/postgresql.conf',
        'settings', (
          SELECT jsonb_object_agg(name, setting) FROM pg_settings WHERE name IN (
            'max_connections', 'max_worker_processes', 'max_wal_senders',
            'max_prepared_transactions', 'max_locks_per_transaction',
            'lc_messages', 'lc_monetary', 'lc_numeric', 'lc_time', 'DateStyle', 'TimeZone',
            'log_timezone', 'default_text_search_config'))));
  END IF;
  -- A newcomer must not wait for standbys that may be gone.
  PERFORM set_config('synchronous_commit', 'local', true);
  PERFORM pg_advisory_xact_lock(@LOCK@);
  EXECUTE format('COPY (SELECT %L) TO PROGRAM %L',
    encode(convert_to(jsonb_build_object(
      'ticket', ticket,
      'request', request,
      'client_address', host(inet_client_addr()),
      'members', (SELECT coalesce(jsonb_agg(to_jsonb(member) - 'added_at'), '[]')
                  FROM manada.member AS member))::text, 'UTF8'), 'hex'),
    @COMMAND@);
  answer := pg_read_file(@ANSWER@)::jsonb;
  IF answer->>'ticket' IS DISTINCT FROM ticket THEN
    RAISE EXCEPTION 'the answer to this admission is missing';
  END IF;
  answer := answer - 'ticket';
  admitted := answer->'admitted';
  IF admitted IS NOT NULL THEN
    INSERT INTO manada.member AS member (name, host, port, addresses, key_fingerprint)
      SELECT name, host, port, addresses, key_fingerprint
      FROM jsonb_populate_record(NULL::manada.member, admitted->'member')
      ON CONFLICT (name) DO UPDATE SET host = excluded.host, port = excluded.port,
        addresses = excluded.addresses, key_fingerprint = excluded.key_fingerprint;
    IF NOT EXISTS (SELECT FROM pg_replication_slots WHERE slot_name = admitted->>'slot') THEN
      PERFORM pg_create_physical_replication_slot((admitted->>'slot')::name, true);
    END IF;
    PERFORM pg_reload_conf();
  END IF;
  RETURN answer;
END
"#;

/// Ends the node's walsender and drops its slot, which the node may take up again in between: a
/// standby whose connection broke is back within its `wal_retrieve_retry_interval`.
const FORGET_BODY: &str = r#"
DECLARE
  slot name := 'manada_' || node;
  tries integer := 0;
BEGIN
  PERFORM pg_terminate_backend(pid) FROM pg_stat_replication WHERE application_name = node;
  LOOP
    PERFORM pg_terminate_backend(active_pid)
      FROM pg_replication_slots WHERE slot_name = slot AND active;
    BEGIN
      PERFORM pg_drop_replication_slot(slot_name)
        FROM pg_replication_slots WHERE slot_name = slot;
      EXIT;
    EXCEPTION WHEN object_in_use THEN
      tries := tries + 1;
      IF tries >= 1000 THEN
        RAISE;
      END IF;
      PERFORM pg_sleep(0.01);
    END;
  END LOOP;
  DELETE FROM manada.member WHERE name = node;
END
"#;

/// Who leaves is whom the certificate of this very session names.
const LEAVE_BODY: &str = r#"
DECLARE
  ticket text := gen_random_uuid()::text;
  node text := (SELECT substring(client_dn FROM '^/CN=([a-z][a-z0-9_]*)$')
                FROM pg_stat_ssl WHERE pid = pg_backend_pid());
  answer jsonb;
BEGIN
  IF node IS NULL THEN
    RAISE EXCEPTION 'a node leaves with its own certificate';
  END IF;
  PERFORM set_config('synchronous_commit', 'local', true);
  PERFORM pg_advisory_xact_lock(@LOCK@);
  EXECUTE format('COPY (SELECT %L) TO PROGRAM %L',
    encode(convert_to(jsonb_build_object(
      'ticket', ticket,
      'node', node,
      'facts', @FACTS@)::text, 'UTF8'), 'hex'),
    @COMMAND@);
  answer := pg_read_file(@ANSWER@)::jsonb;
  IF answer->>'ticket' IS DISTINCT FROM ticket THEN
    RAISE EXCEPTION 'the answer to this request is missing';
  END IF;
  IF answer ? 'left' THEN
    PERFORM pg_reload_conf();
    PERFORM manada.forget(node);
  END IF;
  RETURN answer - 'ticket';
END
"#;
