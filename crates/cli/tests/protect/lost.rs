//! `manada recover`: herds whose store has lost their record.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use manada_testbed::{Outcome, Programs, wait_until};
use serde_json::{Value, json};

use crate::etcd::Etcd;
use crate::herd::{NODES, Protected};
use crate::typed::{self, refused};

/// How long a writer waits between two rows.
const PAUSE: Duration = Duration::from_millis(10);

pub(crate) fn a_herd_whose_file_was_deleted_goes_on_without_a_pause() -> Outcome {
    let herd = Protected::of_three(&Programs::any()?, "any");
    let nothing_lost = herd.typed("n2", &["recover", "--yes"]);
    let (code, error) = refused(&nothing_lost);
    assert_eq!(code, 4, "{error}");
    assert!(error.contains("the store has the herd's record"), "{error}");

    let writer = Writer::start(&herd, "n1");
    herd.delete_store();
    until_all_say_it(&herd);
    assert_eq!(herd.health("n1", "/primary"), 200);
    assert_eq!(herd.health("n2", "/replica"), 200);
    let metrics = herd.asked("n3", "GET", "/metrics");
    let figure = "manada_store_record_lost{scope=\"main\",name=\"n3\"} 1\n";
    assert!(metrics.contains(figure), "{metrics}");
    for words in [["status"], ["why"]] {
        let said = herd.typed("n2", &words).stdout;
        let said = String::from_utf8(said).expect("text");
        let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
        for part in [
            "no record of the herd any more",
            "Writes go on",
            "manada recover",
        ] {
            assert!(said.contains(part), "{words:?}: {said}");
        }
    }
    let (code, error) = refused(&herd.typed("n2", &["switchover"]));
    assert_eq!(code, 4, "{error}");
    assert!(error.contains("manada recover"), "{error}");

    let plan = typed::json(&herd.typed("n2", &["recover", "--dry-run", "--format", "json"]));
    assert_eq!(plan["how"]["way"], "goes_on", "{plan}");
    assert_eq!(plan["done"], false, "{plan}");
    let done = recovered(&herd, "n2", &[]);
    assert_eq!((&done["leader"], &done["epoch"]), (&"n1".into(), &1.into()));
    writer.goes_on();
    until_nobody_says_it(&herd);
    writer.goes_on();
    let written = writer.end();

    let leader = herd.kill_until_replaced("n1");
    let kept: u64 = herd.sql(leader, COUNT).parse().expect("a number");
    assert!(kept >= written, "{kept} of {written} rows are there");
    Ok(())
}

pub(crate) fn a_herd_whose_leader_can_not_vouch_for_its_record_elects() -> Outcome {
    let mut herd = Protected::of_three(&Programs::any()?, "any");
    herd.sql("n1", "CREATE TABLE kept AS SELECT 42 AS number");
    until_remembered(&herd);
    let started = "SELECT pg_postmaster_start_time()";
    let before = herd.sql("n1", started);
    for node in NODES {
        herd.kill_agent(node);
    }
    herd.delete_store();
    for node in NODES {
        herd.start_agent(node);
    }
    until_all_say_it(&herd);
    wait_until("a primary that takes writes is called one", || {
        herd.health("n1", "/primary") == 200
    });
    assert_eq!(herd.sql("n1", started), before, "it was left alone");
    // Its agent can't vouch any more for what commits wait for.
    herd.kill_agent("n3");
    let (code, error) = refused(&herd.typed("n2", &["recover", "--yes", "--without", "n3"]));
    assert_eq!(code, 4, "{error}");
    assert!(error.contains("--allow-data-loss=any"), "{error}");
    herd.start_agent("n3");
    wait_until("it remembers, too", || says_it(&herd, "n3"));
    let done = recovered(&herd, "n2", &[]);
    assert_eq!(done["how"]["way"], "election", "{done}");
    let leader = done["leader"].as_str().expect("a name").to_owned();
    assert_eq!(herd.sql(&leader, "SELECT number FROM kept"), "42");
    herd.sql(&leader, "INSERT INTO kept VALUES (43)");
    until_nobody_says_it(&herd);

    // Commits wait for nobody from here on: nothing but its lease lets a primary go on.
    let policy = herd.typed(&leader, &["sync", "off"]);
    assert!(policy.status.success(), "{policy:?}");
    herd.sql(&leader, "INSERT INTO kept VALUES (44)");
    herd.delete_store();
    wait_until("it is stopped when its lease ends", || {
        herd.health(&leader, "/primary") != 200
    });
    until_all_say_it(&herd);
    let done = recovered(&herd, "n1", &[]);
    let leader = done["leader"].as_str().expect("a name");
    assert_eq!(herd.sql(leader, "SELECT sum(number) FROM kept"), "129");
    Ok(())
}

pub(crate) fn a_store_that_goes_back_or_begins_anew_is_not_believed() -> Outcome {
    let mut etcd = Etcd::start()?;
    let mut herd = Protected::with_store(&Programs::any()?, "any", Some(etcd.uri()));
    herd.sql("n1", "CREATE TABLE kept AS SELECT 42 AS number");
    etcd.copy();
    let leader = herd.kill_until_replaced("n1");
    wait_until("the former primary follows", || {
        herd.health("n1", "/replica") == 200
    });
    until_remembered(&herd);
    etcd.restore();
    until_all_say_it(&herd);
    // One that knows only what it finds there, and what it remembers.
    herd.kill_agent("n1");
    herd.start_agent("n1");
    until_all_say_it(&herd);
    let done = recovered(&herd, "n1", &[]);
    assert_eq!(done["found_epoch"], 1, "{done}");
    assert_eq!(done["how"], json!({ "way": "goes_on", "leader": leader }));
    until_nobody_says_it(&herd);

    herd.kill_agent("n1");
    herd.kill_postmaster("n1");
    wait_until("commits wait for the other one alone", || {
        let leads = herd.standing(leader);
        let standbys = leads["policy"]["standbys"].as_array();
        let left_out = |standbys: &Vec<Value>| standbys.iter().all(|name| name != "n1");
        leads["changing"] == false && standbys.is_some_and(left_out)
    });
    etcd.begin_anew();
    for node in NODES.into_iter().filter(|node| *node != "n1") {
        wait_until("the loss is said", || says_it(&herd, node));
    }
    let (code, error) = refused(&herd.typed(leader, &["recover", "--yes"]));
    assert_eq!(code, 4, "{error}");
    assert!(error.contains("--without n1"), "{error}");
    let done = recovered(&herd, leader, &["--without", "n1"]);
    assert_eq!(done["how"], json!({ "way": "goes_on", "leader": leader }));

    herd.start_agent("n1");
    until_nobody_says_it(&herd);
    let leader = herd.kill_until_replaced(leader);
    assert_eq!(herd.sql(leader, "SELECT number FROM kept"), "42");
    Ok(())
}

fn recovered(herd: &Protected, node: &str, more: &[&str]) -> Value {
    let words = [&["recover", "--yes", "--format", "json"], more].concat();
    let done = typed::json(&herd.typed(node, &words));
    assert_eq!(done["done"], true, "{done}");
    done
}

fn says_it(herd: &Protected, node: &str) -> bool {
    herd.obstacles(node)
        .iter()
        .any(|name| name == "record_lost")
}

fn until_all_say_it(herd: &Protected) {
    for node in NODES {
        wait_until("the loss is said", || says_it(herd, node));
    }
}

fn until_nobody_says_it(herd: &Protected) {
    for node in NODES {
        wait_until("the loss is over", || {
            let role = herd.health(node, "/read-only") == 200;
            role && !says_it(herd, node)
        });
    }
}

/// Waits until all nodes have written down the record as they know it.
fn until_remembered(herd: &Protected) {
    for node in NODES {
        wait_until("the record is written down", || {
            let file = herd.path(node).join("agent/memory.json");
            let text = std::fs::read_to_string(file).unwrap_or_default();
            let memory: Value = serde_json::from_str(&text).unwrap_or_default();
            memory["record"]["value"]["epoch"] == herd.epoch(node)
                && memory["record"]["value"]["members"]
                    .as_object()
                    .is_some_and(|members| members.len() == NODES.len())
        });
    }
}

const COUNT: &str = "SELECT count(*) FROM written";

/// A client that writes row after row in one session, which must not end.
struct Writer {
    rows: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    fn start(herd: &Protected, node: &str) -> Writer {
        herd.sql(node, "CREATE TABLE written (number bigint PRIMARY KEY)");
        let (rows, stop) = (
            Arc::new(AtomicU64::new(0)),
            Arc::new(AtomicBool::new(false)),
        );
        let (counted, stopped) = (Arc::clone(&rows), Arc::clone(&stop));
        let home = manada_herd::Home::at(Path::new(&herd.home(node))).expect("absolute");
        let node = manada_herd::Node::open(home).expect("a node");
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Runtime::new().expect("a runtime");
            runtime.block_on(async {
                let session = node.open_superuser().await.expect("a session");
                while !stopped.load(Ordering::Relaxed) {
                    let row = counted.load(Ordering::Relaxed) + 1;
                    let insert = format!("INSERT INTO written VALUES ({row})");
                    session.simple_query(&insert).await.expect("written");
                    counted.store(row, Ordering::Relaxed);
                    tokio::time::sleep(PAUSE).await;
                }
            });
        });
        let thread = Some(thread);
        Writer { rows, stop, thread }
    }

    /// Waits until it has written more.
    fn goes_on(&self) {
        let before = self.rows.load(Ordering::Relaxed);
        wait_until("the writer goes on", || {
            self.rows.load(Ordering::Relaxed) > before + 1
        });
    }

    /// How many rows it has written, in one session.
    fn end(mut self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        let thread = self.thread.take().expect("it runs");
        thread.join().expect("no write failed");
        self.rows.load(Ordering::Relaxed)
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}
