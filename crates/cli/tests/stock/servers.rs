//! The servers that are asked, and how patiently.

use std::process::Output;

use manada_testbed::{Programs, TestServer};

use crate::typed::{self};

/// How long one server may take to answer, in seconds, where nobody is meant to be silent: this
/// machine may be busy.
pub(crate) const PATIENT_SECONDS: &str = "20";
/// The same where somebody is.
pub(crate) const SILENT_SECONDS: &str = "3";

/// Runs `manada` with all the time it may need.
pub(crate) fn run(arguments: &[&str]) -> Output {
    if arguments.contains(&"--timeout") {
        return typed::run(arguments);
    }
    typed::run(&[arguments, &["--timeout", PATIENT_SECONDS]].concat())
}

/// A URI that lists several servers, the way libpq does.
pub(crate) fn uri_of(servers: &[&TestServer]) -> String {
    let hosts: Vec<String> = servers
        .iter()
        .map(|server| format!("127.0.0.1:{}", server.port()))
        .collect();
    let password = servers[0].password();
    format!(
        "postgresql://postgres:{password}@{}/postgres",
        hosts.join(",")
    )
}

/// A primary and two standbys of it, all streaming.
pub(crate) fn three(programs: &Programs) -> [TestServer; 3] {
    let primary = TestServer::with(programs)
        .setting("cluster_name", "p1")
        .setting("wal_retrieve_retry_interval", "100ms")
        .start();
    let standby = |name: &str| {
        TestServer::with(programs)
            .setting("cluster_name", name)
            .start_standby_of(&primary, name)
    };
    let standbys = ["s1", "s2"].map(standby);
    primary.wait_for(
        "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming' \
         AND replay_lsn = pg_current_wal_flush_lsn()",
        "2",
    );
    let [one, two] = standbys;
    [primary, one, two]
}
