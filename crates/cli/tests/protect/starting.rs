//! Servers that do not start.

use std::fs;

use manada_testbed::{Outcome, Programs, wait_until};

use super::herd::Protected;
use super::typed::manada;

/// A standby, and then the primary that another one has replaced.
pub(crate) fn a_mistake_in_a_configuration_costs_no_data_and_is_named() -> Outcome {
    let herd = Protected::of_three(&Programs::any()?, "any");
    for (node, file, mistake, words) in [
        (
            "n2",
            "postgresql.conf",
            "no_such_setting = 1",
            "no_such_setting",
        ),
        ("n1", "pg_hba.conf", "hostsl all all all trust", "hostsl"),
    ] {
        let path = herd.path(node).join("data").join(file);
        let before = fs::read_to_string(&path).expect("there");
        fs::write(&path, format!("{before}{mistake}\n")).expect("written");
        let leader = if node == "n1" {
            herd.kill_until_replaced(node)
        } else {
            herd.kill_postmaster(node);
            "n1"
        };
        wait_until("it has been tried again and again", || {
            told(&herd, node, "why")["blocked"]
                .as_array()
                .is_some_and(|blocked| blocked.iter().any(|one| fails(one, node) > 3))
        });
        for command in ["status", "why"] {
            let output = manada(&[command, "--home", &herd.home(leader)]).output();
            let text = String::from_utf8(output.expect("manada runs").stdout).expect("text");
            let said = text.split_whitespace().collect::<Vec<_>>().join(" ");
            for part in [words, file, "line ", "correct the line that is named"] {
                assert!(said.contains(part), "{command} has no {part}: {text}");
            }
        }
        let now = fs::read_to_string(&path).expect("there");
        fs::write(&path, now.replace(mistake, "")).expect("written");
        wait_until("it streams again", || {
            let sql = format!(
                "SELECT count(*) FROM pg_stat_replication \
                 WHERE application_name = '{node}' AND state = 'streaming'"
            );
            herd.try_sql(leader, &sql).as_deref() == Ok("1")
        });
        let journal = herd.path(node).join("agent/journal.jsonl");
        let journal = fs::read_to_string(journal).expect("there");
        assert!(journal.contains("\"Hindered\""), "{journal}");
        assert!(journal.contains(words), "{journal}");
        assert!(!journal.contains("\"clone\""), "{journal}");
    }
    Ok(())
}

/// What a command says in JSON.
fn told(herd: &Protected, node: &str, command: &str) -> serde_json::Value {
    let output = manada(&[command, "--format", "json", "--home", &herd.home(node)]).output();
    serde_json::from_slice(&output.expect("manada runs").stdout).unwrap_or_default()
}

/// How often that node's server has not started, as its obstacle says.
fn fails(blocked: &serde_json::Value, node: &str) -> u64 {
    let obstacle = &blocked["obstacle"];
    if blocked["node"] == node && obstacle["obstacle"] == "start_fails" {
        obstacle["failures"].as_u64().unwrap_or_default()
    } else {
        0
    }
}
