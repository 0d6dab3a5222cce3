//! A TCP proxy that damages or cuts what the server sends.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

/// What the proxy does to the first connection on which the server has sent `after_bytes`.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Fault {
    FlipByte { after_bytes: u64 },
    Cut { after_bytes: u64 },
}

/// A proxy in front of a server. Its threads end with the connections.
pub(crate) struct Proxy {
    port: u16,
    struck: Arc<AtomicU64>,
}

impl Proxy {
    pub(crate) fn start(server_port: u16, fault: Fault) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        let port = listener.local_addr().expect("it is bound").port();
        let struck = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&struck);
        thread::spawn(move || {
            for client in listener.incoming() {
                let Ok(client) = client else { return };
                let Ok(server) = TcpStream::connect(("127.0.0.1", server_port)) else {
                    return;
                };
                forward(client, server, fault, Arc::clone(&counted));
            }
        });
        Proxy { port, struck }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// How often the fault has struck.
    pub(crate) fn struck(&self) -> u64 {
        self.struck.load(Ordering::Relaxed)
    }
}

fn forward(client: TcpStream, server: TcpStream, fault: Fault, struck: Arc<AtomicU64>) {
    let (mut to_server, mut from_client) = (twin(&server), twin(&client));
    thread::spawn(move || {
        // Either side may be gone, which ends the other too.
        let _ = std::io::copy(&mut from_client, &mut to_server);
        let _ = to_server.shutdown(Shutdown::Both);
    });
    thread::spawn(move || {
        let (mut from_server, mut to_client) = (server, client);
        damage(&mut from_server, &mut to_client, fault, &struck);
        let _ = to_client.shutdown(Shutdown::Both);
        let _ = from_server.shutdown(Shutdown::Both);
    });
}

fn damage(from: &mut TcpStream, to: &mut TcpStream, fault: Fault, struck: &AtomicU64) {
    let mut buffer = vec![0; 64 << 10];
    let mut sent = 0;
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        let piece = &mut buffer[..count];
        match fault {
            Fault::FlipByte { after_bytes } | Fault::Cut { after_bytes }
                if !(sent..sent + count as u64).contains(&after_bytes) => {}
            Fault::FlipByte { after_bytes } => {
                struck.fetch_add(1, Ordering::Relaxed);
                piece[(after_bytes - sent) as usize] ^= 0x10;
            }
            Fault::Cut { .. } => {
                struck.fetch_add(1, Ordering::Relaxed);
                return;
            }
        }
        if to.write_all(piece).is_err() {
            return;
        }
        sent += count as u64;
    }
}

fn twin(stream: &TcpStream) -> TcpStream {
    stream.try_clone().expect("descriptors are left")
}
