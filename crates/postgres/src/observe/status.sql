-- Everything `ServerStatus` needs in one row of JSON: to_jsonb() of a view gives the columns this
-- version has, so that one text serves PostgreSQL 15 to 18. Nothing here raises an error for a role
-- without rights: what it may not see is null.
SELECT jsonb_build_object(
  'server_time', clock_timestamp(),
  'started_at', pg_postmaster_start_time(),
  'version', current_setting('server_version_num')::int,
  'system_identifier', (SELECT system_identifier::text FROM pg_control_system()),
  'cluster_name', current_setting('cluster_name'),
  'address', host(inet_server_addr()),
  'port', current_setting('port')::int,
  'rights', jsonb_build_object(
    'statistics', pg_has_role(current_user, 'pg_read_all_stats', 'USAGE'),
    'superuser', (SELECT rolsuper FROM pg_roles WHERE rolname = current_user)),
  'in_recovery', pg_is_in_recovery(),
  'primary', CASE WHEN pg_is_in_recovery() THEN NULL ELSE jsonb_build_object(
    'wal_file', pg_walfile_name(pg_current_wal_lsn()),
    'write_lsn', pg_current_wal_lsn(),
    'flush_lsn', pg_current_wal_flush_lsn(),
    'waiting', (SELECT jsonb_build_object('count', count(*),
        'longest_us', (extract(epoch FROM clock_timestamp() - min(query_start)) * 1e6)::bigint)
      FROM pg_stat_activity WHERE wait_event = 'SyncRep')) END,
  'standby', CASE WHEN pg_is_in_recovery() THEN jsonb_build_object(
    'checkpoint_timeline', (SELECT timeline_id FROM pg_control_checkpoint()),
    'recovery_timeline', (SELECT min_recovery_end_timeline FROM pg_control_recovery()),
    'receive_lsn', pg_last_wal_receive_lsn(),
    'replay_lsn', pg_last_wal_replay_lsn(),
    'last_replayed_commit_at', pg_last_xact_replay_timestamp(),
    'replay', pg_get_wal_replay_pause_state(),
    'apply_delay_ms', (SELECT setting::bigint FROM pg_settings WHERE name = 'recovery_min_apply_delay'),
    -- Nobody asks for the password, so it stays there.
    'primary_conninfo', (SELECT regexp_replace(setting,
        $re$\mpassword\s*=\s*('(\\.|[^'\\])*'|(\\.|\S)*)$re$, '', 'g')
      FROM pg_settings WHERE name = 'primary_conninfo'),
    'walreceiver', (SELECT to_jsonb(receiver) FROM pg_stat_wal_receiver AS receiver)) END,
  'walsenders', coalesce((SELECT jsonb_agg(to_jsonb(sender)
      || jsonb_build_object(
        'slot_name', (SELECT slot_name FROM pg_replication_slots WHERE active_pid = sender.pid LIMIT 1),
        'client_addr', host(client_addr),
        'write_lag_us', (extract(epoch FROM write_lag) * 1e6)::bigint,
        'flush_lag_us', (extract(epoch FROM flush_lag) * 1e6)::bigint,
        'replay_lag_us', (extract(epoch FROM replay_lag) * 1e6)::bigint)
      ORDER BY application_name, pid)
    FROM pg_stat_replication AS sender), '[]'),
  'slots', coalesce((SELECT jsonb_agg(to_jsonb(slot) ORDER BY slot_name)
    FROM pg_replication_slots AS slot), '[]'),
  'standby_names', current_setting('synchronous_standby_names'),
  'synchronous_commit', current_setting('synchronous_commit'),
  'overrides', coalesce((SELECT jsonb_agg(jsonb_build_object(
        'role', rolname, 'database', datname, 'value', split_part(setting, '=', 2)))
    FROM pg_db_role_setting
      CROSS JOIN unnest(setconfig) AS setting
      LEFT JOIN pg_roles ON pg_roles.oid = setrole
      LEFT JOIN pg_database ON pg_database.oid = setdatabase
    WHERE setting LIKE 'synchronous\_commit=%'), '[]'),
  'recovery_limits', (SELECT jsonb_object_agg(name, current_setting(name)::int)
    FROM unnest('{max_connections, max_worker_processes, max_wal_senders,
      max_prepared_transactions, max_locks_per_transaction}'::text[]) AS name),
  'archive_mode', current_setting('archive_mode'),
  'has_archive_command', current_setting('archive_command') NOT IN ('', '(disabled)')
    OR current_setting('archive_library') <> '',
  'archiver', (SELECT to_jsonb(archiver) FROM pg_stat_archiver AS archiver),
  'has_members', coalesce(
    CASE WHEN has_schema_privilege(to_regnamespace('manada'), 'USAGE')
      THEN has_table_privilege(to_regclass('manada.member'), 'SELECT') END, false)
)::text
