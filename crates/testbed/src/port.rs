//! Free ports.

use std::net::{Ipv4Addr, Ipv6Addr, TcpListener};
use std::sync::atomic::{AtomicU32, Ordering};

/// Below the range from which the kernel takes ports for outgoing connections (32768 and up).
const FIRST: u32 = 20_000;
/// How many there are to choose from.
const COUNT: u32 = 12_000;
/// How far apart two test processes begin to look; prime to [`COUNT`].
const STRIDE: u32 = 97;

/// A port on which nothing listens now. Another may take it before it is used: who uses it
/// asks again then.
///
/// # Panics
/// When every port is taken.
pub fn free_port() -> u16 {
    static LOOKED_AT: AtomicU32 = AtomicU32::new(0);
    let begin = std::process::id().wrapping_mul(STRIDE);
    for _ in 0..COUNT {
        let offset = begin.wrapping_add(LOOKED_AT.fetch_add(1, Ordering::Relaxed)) % COUNT;
        let port = u16::try_from(FIRST + offset).expect("the range ends below 65536");
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
            && TcpListener::bind((Ipv6Addr::LOCALHOST, port))
                .err()
                .is_none_or(|error| error.kind() != std::io::ErrorKind::AddrInUse);
        if free {
            return port;
        }
    }
    panic!("no free port from {FIRST} on");
}
