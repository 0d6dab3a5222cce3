//! Figures for Prometheus, in its text format (version 0.0.4).

use std::fmt::{Display, Write as _};

use manada_core::input::StoreState;
use manada_core::obstacle::Obstacle;
use manada_core::record::Mode;
use manada_core::server::{Gate, ServerFacts};

use super::answer::Known;

/// What the response says that it is.
pub(super) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// All figures of a node.
pub(super) fn text(known: &Known<'_>) -> String {
    let glance = known.glance;
    let record = glance.record.as_ref().map(|record| &record.value);
    let mut figures = Figures::of(known);
    figures.gauge(
        "postgres_running",
        "1 if the server takes connections.",
        number(known.runs()),
    );
    figures.gauge(
        "primary",
        "1 if this node leads and clients get in.",
        number(known.leads()),
    );
    figures.gauge(
        "replica",
        "1 if this node streams from the leader.",
        number(known.follows(None)),
    );
    figures.gauge(
        "sync_standby",
        "1 if this node is one of those that commits wait for.",
        number(known.follows(None) && known.counts()),
    );
    let is_foreign = |one: &Obstacle| matches!(one, Obstacle::ForeignSetting { .. });
    figures.gauge(
        "setting_foreign",
        "1 while somebody else sets what commits wait for.",
        number(glance.obstacles.iter().any(is_foreign)),
    );
    match glance.facts() {
        Some(ServerFacts::Primary(primary)) => {
            figures.gauge(
                "gate_open",
                "1 if the primary's gate lets clients in.",
                number(primary.gate == Gate::Open),
            );
            figures.counter(
                "xlog_location",
                "The end of the WAL that the primary has flushed, in bytes.",
                primary.position.flush_lsn.0,
            );
            figures.gauge(
                "followers_streaming",
                "How many standbys stream from this primary.",
                primary.followers.iter().filter(|one| one.streaming).count(),
            );
        }
        Some(ServerFacts::Standby(standby)) => {
            figures.counter(
                "xlog_received_location",
                "The end of the WAL that the standby has received and flushed, in bytes.",
                standby.position.flush_lsn.0,
            );
            if let Some(lag) = glance.lag_bytes() {
                figures.gauge(
                    "replication_lag_bytes",
                    "WAL that the leader had at its last sign of life and this standby has not.",
                    lag,
                );
            }
        }
        Some(
            ServerFacts::Stopped { .. }
            | ServerFacts::Unusable
            | ServerFacts::Starting
            | ServerFacts::Unresponsive,
        )
        | None => {}
    }
    figures.gauge(
        "store_reachable",
        "1 if the store answers this node.",
        number(glance.store != StoreState::Unreachable),
    );
    figures.gauge(
        "store_record_lost",
        "1 if the store has lost the herd's record: manada recover.",
        number(glance.store == StoreState::RecordLost),
    );
    let refuses = |obstacle: &Obstacle| matches!(obstacle, Obstacle::StoreRefuses { .. });
    figures.gauge(
        "store_refuses",
        "1 if the store answers this node, and refuses what it asks for.",
        number(glance.obstacles.iter().any(refuses)),
    );
    if let Some((_, since)) = &glance.lease {
        figures.gauge(
            "lease_age_seconds",
            "How long ago the leader gave its last sign of life, as seen from here.",
            known.now.0.saturating_sub(since.0).as_secs_f64(),
        );
    }
    if let Some(record) = record {
        figures.counter("epoch", "The number of the reign.", record.epoch);
        figures.gauge(
            "is_paused",
            "1 if the herd acts only when it is told to.",
            number(record.mode == Mode::Paused),
        );
        figures.gauge(
            "cluster_unlocked",
            "1 while nobody leads.",
            number(record.leader.is_none()),
        );
        figures.gauge(
            "policies_published",
            "How many policies a failover must cover: 1, or 2 while one is changed.",
            record.policies.len(),
        );
        if let Some(published) = record.policies.last() {
            figures.gauge(
                "sync_standbys_needed",
                "How many standbys must have a commit before it is acknowledged.",
                published.policy.count,
            );
            figures.gauge(
                "sync_standbys_named",
                "Among how many standbys these may be.",
                published.policy.standbys.len(),
            );
        }
    }
    figures.counter(
        "reigns_begun_total",
        "How often this node has begun to lead since its agent started.",
        glance.reigns_begun,
    );
    figures.text
}

fn number(holds: bool) -> u8 {
    u8::from(holds)
}

struct Figures {
    text: String,
    labels: String,
}

impl Figures {
    fn of(known: &Known<'_>) -> Figures {
        Figures {
            text: String::new(),
            // Both names have only letters, digits and underscores: nothing needs escaping.
            labels: format!(
                "{{scope=\"{}\",name=\"{}\"}}",
                known.who.herd, known.who.node
            ),
        }
    }

    fn gauge(&mut self, name: &str, help: &str, value: impl Display) {
        self.figure("gauge", name, help, &value);
    }

    fn counter(&mut self, name: &str, help: &str, value: impl Display) {
        self.figure("counter", name, help, &value);
    }

    fn figure(&mut self, kind: &str, name: &str, help: &str, value: &dyn Display) {
        let labels = &self.labels;
        write!(
            self.text,
            "# HELP manada_{name} {help}\n# TYPE manada_{name} {kind}\nmanada_{name}{labels} {value}\n"
        )
        .expect("a String takes everything");
    }
}
