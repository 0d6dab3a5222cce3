//! What this host would be called, and by what address others reach it, where nobody says.

use std::net::UdpSocket;

use manada_model::NodeName;
use manada_postgres::address::HostAddress;

use crate::error::Failure;

/// A documentation address (RFC 5737): the route to it is the route to the world. Nothing is sent.
const SOMEWHERE: &str = "192.0.2.1:9";

/// A node's name made of the host's: `db-1.example.org` becomes `db_1`.
pub(crate) fn node_name() -> NodeName {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname")
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    let first_label = host.split('.').next().unwrap_or_default();
    let mut name: String = first_label
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '_' })
        .collect();
    if !name.starts_with(|c: char| c.is_ascii_lowercase()) {
        name.insert_str(0, "node_");
    }
    name.truncate(40);
    name.parse().expect("made of what a name may have")
}

/// The address from which this host reaches others.
pub(crate) fn address() -> Result<HostAddress, Failure> {
    let found = UdpSocket::bind("0.0.0.0:0").and_then(|socket| {
        socket.connect(SOMEWHERE)?;
        socket.local_addr()
    });
    match found {
        Ok(address) if !address.ip().is_unspecified() => Ok(HostAddress::Ip(address.ip())),
        Ok(_) | Err(_) => Err(Failure::usage(
            "by which address other hosts reach this one can't be told",
        )
        .because("this host has no default route")
        .next("say it with --address ADDRESS")),
    }
}
