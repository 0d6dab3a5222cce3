//! Ports for the lab's servers: easy to remember, free, and not another lab's.

use std::net::TcpListener;
use std::ops::RangeInclusive;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::sync::{Mutex, PoisonError};

/// Above PostgreSQL's own, below those the kernel hands out to outgoing connections.
const PORTS: RangeInclusive<u16> = 5441..=5999;

/// Gives one port after the other. Somebody else may take one before the server does; then the
/// next is tried.
#[derive(Debug)]
pub(crate) struct Ports {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    left: RangeInclusive<u16>,
    reserved: Vec<UnixListener>,
}

impl Ports {
    pub(crate) fn new() -> Ports {
        Ports {
            state: Mutex::new(State {
                left: PORTS,
                reserved: Vec::new(),
            }),
        }
    }

    /// The next one nobody listens on at this host. No other lab takes it while this exists, also
    /// when its server is stopped for a demonstration.
    pub(crate) fn next_free(&self) -> Option<u16> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(port) = state.left.next() {
            let Some(reservation) = reserve(port) else {
                continue;
            };
            if TcpListener::bind(("127.0.0.1", port)).is_ok() {
                state.reserved.push(reservation);
                return Some(port);
            }
        }
        None
    }
}

/// Labs tell each other by names without files (abstract Unix sockets), which vanish with their
/// holder and are as local to a network namespace as ports are.
fn reserve(port: u16) -> Option<UnixListener> {
    let address = SocketAddr::from_abstract_name(format!("manada-lab-port-{port}")).ok()?;
    UnixListener::bind_addr(&address).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_is_passed_over_and_none_given_twice() {
        let ports = Ports::new();
        let first = ports.next_free().expect("one of hundreds is free");
        let second = ports.next_free().expect("one of hundreds is free");
        assert!(second > first);
        let other = Ports::new();
        let third = other.next_free().expect("one of hundreds is free");
        assert!(third > second, "another lab reserved {first} and {second}");
    }

    #[test]
    fn a_port_somebody_listens_on_is_passed_over() {
        let taken = Ports::new().next_free().expect("one of hundreds is free");
        if let Ok(_listener) = TcpListener::bind(("127.0.0.1", taken)) {
            assert_ne!(Ports::new().next_free(), Some(taken));
        }
    }
}
