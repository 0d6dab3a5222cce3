//! Whether a server can have a port.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};

use manada_postgres::address::HostAddress;

/// Somebody else listens there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("port {} is taken at {}: another server, or another program, listens there", address.port(), address.ip())]
pub struct PortTaken {
    /// Where.
    pub address: SocketAddr,
}

/// Proves that a server can listen on `port` at this host itself and at those of `addresses` that
/// are its own.
pub(crate) fn prove_free(addresses: &[HostAddress], port: u16) -> Result<(), PortTaken> {
    let own = addresses.iter().filter_map(HostAddress::ip);
    for address in [IpAddr::from([127, 0, 0, 1])].into_iter().chain(own) {
        let address = SocketAddr::new(address, port);
        // Any other reason not to bind is none of the port's.
        if TcpListener::bind(address).is_err_and(|error| error.kind() == io::ErrorKind::AddrInUse) {
            return Err(PortTaken { address });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_is_named() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        let address = listener.local_addr().expect("bound");
        let nobody: HostAddress = "192.0.2.1".parse().expect("an address");
        assert_eq!(
            prove_free(std::slice::from_ref(&nobody), address.port()),
            Err(PortTaken { address })
        );
        drop(listener);
        assert_eq!(prove_free(&[nobody], address.port()), Ok(()));
    }
}
