//! Debian's Patroni on the same kind of hosts, with an etcd cluster of its own.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use manada_postgres::os_user::OsUser;
use manada_testbed::workload::ROLE;
use manada_testbed::{Agent, EtcdCluster, HerdNode, Host, Network, Programs, ProtectedHerd};

use super::NAMES;

/// Where the package has it.
const PROGRAM: &str = "/usr/bin/patroni";

/// Where its agents answer.
const REST_PORT: u16 = 8008;

/// How long one may take to.
const ANSWER_MAX: Duration = Duration::from_secs(1);

/// How long a herd may take to come up.
const START_MAX: Duration = Duration::from_secs(180);

/// How often Patroni looks, and how long it waits, in seconds.
#[derive(Clone, Copy)]
pub(super) struct Timing {
    ttl: u32,
    loop_wait: u32,
    retry_timeout: u32,
    /// How long a primary that crashed may take to start in place; 0 fails over at once.
    primary_start_timeout: u32,
}

/// What it has when nothing is said.
pub(super) const DEFAULTS: Timing = Timing {
    ttl: 30,
    loop_wait: 10,
    retry_timeout: 10,
    primary_start_timeout: 300,
};

/// The least that works. Its validation asks for no more than whole numbers, its documentation
/// for `loop_wait + 2 * retry_timeout <= ttl`, and for a `retry_timeout` of 3: with 1 it was never
/// done with a lost member of etcd, and nobody was promoted.
pub(super) const FASTEST: Timing = Timing {
    ttl: 7,
    loop_wait: 1,
    retry_timeout: 3,
    primary_start_timeout: 0,
};

/// Installs the package where it is not, without a service that it would start.
pub(super) fn install() -> Result<(), String> {
    if Path::new(PROGRAM).exists() {
        return Ok(());
    }
    let status = Command::new("apt-get")
        .args(["install", "-qq", "-y", "--no-install-recommends", "patroni"])
        // The service has no configuration, so it would not start; it shall not try.
        .env("RUNLEVEL", "1")
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdin(std::process::Stdio::null())
        .status()
        .map_err(|error| format!("apt-get can't be run: {error}"))?;
    if status.success() {
        Ok(())
    } else {
        Err("apt-get install patroni failed: is `apt-get update` due?".to_owned())
    }
}

/// A herd that is whole: one standby is synchronous.
pub(super) fn start(programs: &Programs, timing: Timing) -> Result<ProtectedHerd, String> {
    let said = |error: &dyn std::error::Error| error.to_string();
    let network = Network::new().map_err(|error| said(&error))?;
    let user = OsUser::for_new_server().map_err(|error| said(&error))?;
    let hosts: Vec<Host> = NAMES.iter().map(|name| network.host(name)).collect();
    let homes: Vec<PathBuf> = hosts.iter().map(|host| host.home().to_owned()).collect();
    let etcd = EtcdCluster::start(&hosts, &homes).map_err(|error| said(&error))?;
    let nodes = hosts
        .iter()
        .map(|host| node(host, programs, &user, &etcd, timing))
        .collect::<Result<Vec<_>, _>>()?;
    for node in &nodes {
        node.start_agent();
    }
    let herd = ProtectedHerd::of(network, nodes, etcd, 1);
    herd.become_whole(START_MAX)
        .map_err(|why| format!("Patroni's herd is not whole: {why}\n{}", herd.last_words()))?;
    Ok(herd)
}

/// `patronictl switchover`.
pub(super) fn switchover(from: &HerdNode, to: &HerdNode) -> Command {
    let mut command = from.host().command("patronictl");
    command
        .arg("-c")
        .arg(configuration_file(from.host()))
        .args(["switchover", "--master", from.name()])
        .args(["--candidate", to.name(), "--force"])
        .env("LC_ALL", "C.UTF-8");
    command
}

/// Whether its store knows of a synchronous standby, which may take over: where only the server
/// knows, and the primary is lost, nobody is promoted before it is back.
pub(super) fn may_fail_over(herd: &ProtectedHerd) -> bool {
    herd.nodes().iter().any(|node| {
        let asked = || -> io::Result<String> {
            let mut stream = herd.client().connect(node.host().address(), REST_PORT)?;
            stream.set_read_timeout(Some(ANSWER_MAX))?;
            stream.write_all(b"GET /sync HTTP/1.0\r\n\r\n")?;
            let mut status = String::new();
            BufReader::new(stream).read_line(&mut status)?;
            Ok(status)
        };
        asked().is_ok_and(|status| status.contains(" 200 "))
    })
}

fn node(
    host: &Host,
    programs: &Programs,
    user: &OsUser,
    etcd: &EtcdCluster,
    timing: Timing,
) -> Result<HerdNode, String> {
    let place = host.home().join("patroni");
    let data = place.join("data");
    user.create_private_directory(&place)
        .map_err(|error| format!("can't make {}: {error}", place.display()))?;
    let file = configuration_file(host);
    fs::write(&file, configuration(host, programs, &place, etcd, timing))
        .map_err(|error| format!("can't write {}: {error}", file.display()))?;
    let arguments = [
        format!("--reuid={}", user.uid()),
        format!("--regid={}", user.gid()),
        "--init-groups".to_owned(),
        // It is forgotten where the user changes.
        "--pdeathsig=KILL".to_owned(),
        PROGRAM.to_owned(),
        file.display().to_string(),
    ];
    let agent = Agent {
        program: PathBuf::from("setpriv"),
        arguments: arguments.map(Into::into).to_vec(),
        environment: BTreeMap::from([("LC_ALL".to_owned(), "C.UTF-8".into())]),
    };
    Ok(HerdNode::new(host, &data, agent))
}

fn configuration_file(host: &Host) -> PathBuf {
    host.home().join("patroni.yml")
}

fn configuration(
    host: &Host,
    programs: &Programs,
    place: &Path,
    etcd: &EtcdCluster,
    timing: Timing,
) -> String {
    let (name, address) = (host.name(), host.address());
    let endpoints = etcd.endpoints().join(",");
    let place = place.display();
    let bin = programs.bin().display();
    let Timing {
        ttl,
        loop_wait,
        retry_timeout,
        primary_start_timeout,
    } = timing;
    format!(
        "scope: bench
name: {name}
restapi:
  listen: {address}:{REST_PORT}
  connect_address: {address}:{REST_PORT}
etcd3:
  hosts: {endpoints}
bootstrap:
  dcs:
    ttl: {ttl}
    loop_wait: {loop_wait}
    retry_timeout: {retry_timeout}
    master_start_timeout: {primary_start_timeout}
    synchronous_mode: true
    postgresql:
      use_pg_rewind: true
      use_slots: true
  initdb:
  - encoding: UTF8
  - data-checksums
postgresql:
  listen: {address}:5432
  connect_address: {address}:5432
  data_dir: {place}/data
  bin_dir: {bin}
  pgpass: {place}/pgpass
  authentication:
    superuser:
      username: postgres
      password: bench
    replication:
      username: replicator
      password: bench
  parameters:
    unix_socket_directories: '{place}'
  pg_hba:
  - local all all trust
  - host all {ROLE} samenet trust
  - host all all samenet scram-sha-256
  - host replication replicator samenet scram-sha-256
"
    )
}
