#!/usr/bin/env bash
# The practice as a person would script it, and nothing more: the measure for `manada lab`.
# usage: lab.sh BINDIR DIRECTORY PRIMARY_PORT STANDBY_PORT
# No TLS, no certificates, no slot, no archive; every fsync that PostgreSQL's programs do by themselves.
set -euo pipefail
bin=$1 dir=$2 primary=$3 standby=$4
export PGPASSWORD=secret PGUSER=postgres PGHOST=$dir PGDATABASE=postgres LC_ALL=C

sql() { "$bin/psql" -qAtX -v ON_ERROR_STOP=1 -p "$1" -c "$2"; }

"$bin/initdb" -D "$dir/primary" -U postgres --auth-local=trust --auth-host=scram-sha-256 \
  --pwfile=<(echo secret) >"$dir/initdb.log"
cat >>"$dir/primary/postgresql.conf" <<CONF
listen_addresses = '127.0.0.1'
port = $primary
unix_socket_directories = '$dir'
wal_level = replica
max_wal_senders = 3
CONF
echo "host replication replicator 127.0.0.1/32 scram-sha-256" >>"$dir/primary/pg_hba.conf"
"$bin/pg_ctl" -D "$dir/primary" -l "$dir/primary.log" -w start >/dev/null
sql "$primary" "CREATE ROLE replicator WITH REPLICATION LOGIN PASSWORD 'secret'"

"$bin/pg_basebackup" -c fast -R -D "$dir/standby" \
  -d "host=127.0.0.1 port=$primary user=replicator application_name=standby_server"
echo "port = $standby" >>"$dir/standby/postgresql.conf"
"$bin/pg_ctl" -D "$dir/standby" -l "$dir/standby.log" -w start >/dev/null

sql "$primary" "CREATE TABLE test_replication (id SERIAL PRIMARY KEY, data TEXT);
                INSERT INTO test_replication (data) VALUES ('Test')"
until [ "$(sql "$standby" "SELECT data FROM test_replication" 2>/dev/null)" = Test ]; do sleep 0.01; done

echo "synchronous_standby_names = 'FIRST 1 (standby_server)'" >>"$dir/primary/postgresql.conf"
"$bin/pg_ctl" -D "$dir/primary" reload >/dev/null
until [ "$(sql "$primary" "SELECT sync_state FROM pg_stat_replication")" = sync ]; do sleep 0.01; done
sql "$primary" "CREATE TABLE test_sync_replication (id SERIAL PRIMARY KEY, data TEXT);
                INSERT INTO test_sync_replication (data) VALUES ('Test')"
until [ "$(sql "$standby" "SELECT data FROM test_sync_replication" 2>/dev/null)" = Test ]; do sleep 0.01; done
