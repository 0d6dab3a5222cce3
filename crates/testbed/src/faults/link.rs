//! Faults of the link between hosts: silence, resets, slowness.

use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::host::Host;
use crate::run::{output, output_given};

/// Traffic that does not arrive. It does again when this is dropped.
#[derive(Debug)]
#[must_use = "the partition heals when this is dropped"]
pub struct Partition {
    host: Host,
    table: String,
}

impl Partition {
    /// Nothing goes between `one` and `other` any more, and neither is told.
    ///
    /// # Panics
    /// When it can't be made, as the others here.
    #[track_caller]
    pub fn between(one: &Host, other: &Host) -> Partition {
        Partition::of(
            other,
            &format!(
                "chain input {{ type filter hook input priority 0; ip saddr {0} counter drop; }}\n\
                 chain output {{ type filter hook output priority 0; ip daddr {0} counter drop; }}",
                one.address()
            ),
        )
    }

    /// What `from` sends no longer arrives at `to`; the other way is open.
    #[track_caller]
    pub fn one_way(from: &Host, to: &Host) -> Partition {
        Partition::of(
            to,
            &format!(
                "chain input {{ type filter hook input priority 0; ip saddr {} counter drop; }}",
                from.address()
            ),
        )
    }

    /// `host` is alone: it reaches itself, and nobody else.
    #[track_caller]
    pub fn isolating(host: &Host) -> Partition {
        Partition::of(
            host,
            "chain input { type filter hook input priority 0; iif != lo counter drop; }\n\
             chain output { type filter hook output priority 0; oif != lo counter drop; }",
        )
    }

    /// TCP from `from` to `to` is answered with a reset, open connections included.
    #[track_caller]
    pub fn resetting(from: &Host, to: &Host) -> Partition {
        Partition::of(
            to,
            &format!(
                "chain input {{ type filter hook input priority 0; \
                 ip saddr {} meta l4proto tcp counter reject with tcp reset; }}",
                from.address()
            ),
        )
    }

    /// Whether anything has been held up so far.
    pub fn was_felt(&self) -> bool {
        let mut nft = self.host.command("nft");
        let listed = output(nft.args(["list", "table", "inet", &self.table]));
        let packets = |text: String| {
            let counts = text.split("counter packets ").skip(1);
            let mut counts = counts.filter_map(|rest| rest.split(' ').next()?.parse::<u64>().ok());
            counts.any(|packets| packets > 0)
        };
        listed.is_ok_and(packets)
    }

    /// Ends it.
    pub fn heal(self) {}

    #[track_caller]
    fn of(host: &Host, chains: &str) -> Partition {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let table = format!("fault{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let rules = format!("table inet {table} {{\n{chains}\n}}\n");
        if let Err(error) = output_given(host.command("nft").args(["-f", "-"]), &rules) {
            panic!("{error}");
        }
        let host = host.clone();
        Partition { host, table }
    }
}

impl Drop for Partition {
    fn drop(&mut self) {
        let mut nft = self.host.command("nft");
        // The host, and the rule with it, may be gone.
        output(nft.args(["delete", "table", "inet", &self.table])).ok();
    }
}

/// A host whose sending is slow. It is fast again when this is dropped.
#[derive(Debug)]
#[must_use = "the link is fast again when this is dropped"]
pub struct SlowLink {
    host: Host,
}

impl SlowLink {
    /// `host` sends at most this much.
    ///
    /// # Panics
    /// When the link is slow already, or the kernel can't do it.
    #[track_caller]
    pub fn from(host: &Host, kilobytes_per_second: u32) -> SlowLink {
        let rate = format!("{kilobytes_per_second}kbps");
        let mut tc = qdisc(host, "add");
        tc.args(["tbf", "rate", &rate, "burst", "16kb", "latency", "500ms"]);
        if let Err(error) = output(&mut tc) {
            panic!("{error}");
        }
        SlowLink { host: host.clone() }
    }
}

impl Drop for SlowLink {
    fn drop(&mut self) {
        // The host may be gone.
        output(&mut qdisc(&self.host, "delete")).ok();
    }
}

fn qdisc(host: &Host, verb: &str) -> Command {
    let mut tc = host.command("tc");
    tc.args(["qdisc", verb, "dev", "eth0", "root"]);
    tc
}
