//! Hosts with addresses and names of their own, joined by a switch, apart from this machine's
//! network.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, Once, PoisonError};

use crate::host::Host;
use crate::process::{self, ProcessIdentity};
use crate::programs::Missing;
use crate::run::{output, output_given};
use crate::scratch::Scratch;

/// Begins the name of every network namespace made here; its owner's identity follows.
const PREFIX: &str = "manada-testbed.";
/// Where `ip netns` keeps namespaces, one file each.
const NAMESPACES: &str = "/run/netns";
/// Where `ip netns exec` looks for files to show in place of those in `/etc`, by namespace.
const NAMESPACE_FILES: &str = "/etc/netns";
/// How many hosts a network may have: those of a /24.
const HOSTS_MAX: usize = 250;

/// The way to the rest of the world, where nobody is.
const GATEWAY: &str = "10.77.0.254";

/// A network of hosts, each a namespace with an address in 10.77.0.0/24 (the same in every
/// network: no network sees another, or this machine's). Dropping it ends every process in it
/// and removes it; what a killed test process left is removed when the next one makes its first.
#[derive(Debug)]
pub struct Network {
    name: String,
    scratch: Scratch,
    hosts: Mutex<Vec<Host>>,
}

impl Network {
    /// Whether this machine can have one: root, `ip` and `nft`.
    pub fn available() -> Result<(), Missing> {
        if !rustix::process::geteuid().is_root() {
            return Err(Missing::new(
                "hosts are network namespaces, and only root makes those",
            ));
        }
        for (program, argument, package) in [
            ("ip", "-Version", "iproute2"),
            ("nft", "--version", "nftables"),
        ] {
            output(Command::new(program).arg(argument))
                .map_err(|error| Missing::new(format!("{error}: install the package {package}")))?;
        }
        Ok(())
    }

    /// A network without hosts.
    pub fn new() -> Result<Network, Missing> {
        static SWEPT: Once = Once::new();
        static NEXT: AtomicU32 = AtomicU32::new(0);
        Network::available()?;
        SWEPT.call_once(sweep);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let network = Network {
            name: format!("{PREFIX}{}.{number}", ProcessIdentity::this()),
            scratch: Scratch::new(),
            hosts: Mutex::new(Vec::new()),
        };
        let switch = network.switch();
        let batch = format!("netns add {switch}\n");
        ip(&batch)
            .and_then(|()| ip_in(&switch, "link add br0 type bridge\nlink set br0 up\n"))
            .map_err(|error| Missing::new(format!("no network namespaces here: {error}")))?;
        Ok(network)
    }

    /// A new host, known to all others of this network by `name`, which is its hostname too.
    ///
    /// # Panics
    /// When it can't be made.
    #[track_caller]
    pub fn host(&self, name: &str) -> Host {
        match self.add_host(name) {
            Ok(host) => host,
            Err(error) => panic!("can't make the host {name}: {error}"),
        }
    }

    fn add_host(&self, name: &str) -> io::Result<Host> {
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        let number = hosts.len() + 1;
        assert!(
            number <= HOSTS_MAX,
            "a network has at most {HOSTS_MAX} hosts"
        );
        let namespace = format!("{}.{name}", self.name);
        let switch = self.switch();
        let host = Host {
            name: name.to_owned(),
            address: format!("10.77.0.{number}"),
            home: self.scratch.path().join(name),
            namespace: namespace.clone(),
        };
        fs::create_dir(&host.home)?;
        ip(&format!(
            "netns add {namespace}\n\
             link add eth0 netns {namespace} type veth peer name port{number} netns {switch}\n"
        ))?;
        ip_in(&switch, &format!("link set port{number} master br0 up\n"))?;
        ip_in(
            &namespace,
            &format!(
                "link set lo up\naddress add {}/24 dev eth0\nlink set eth0 up\n\
                 route add default via {GATEWAY}\n",
                host.address
            ),
        )?;
        hosts.push(host.clone());
        write_names(&hosts)?;
        Ok(host)
    }

    /// A directory that all its hosts and users see, and that goes with it. Each host's home is
    /// in it, under the host's name.
    pub fn directory(&self) -> &Path {
        self.scratch.path()
    }

    /// The namespace that holds the bridge.
    fn switch(&self) -> String {
        format!("{}.-switch", self.name)
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        let prefix = format!("{}.", self.name);
        remove(|namespace| namespace.starts_with(&prefix));
    }
}

/// Removes the namespaces that test processes left which are no more.
fn sweep() {
    remove(|namespace| owner(namespace).is_some_and(|owner| !owner.is_alive()));
}

/// The process that made the namespace of this name: the identity has two numbers, the network
/// and the host follow.
fn owner(namespace: &str) -> Option<ProcessIdentity> {
    let mut parts = namespace.strip_prefix(PREFIX)?.splitn(3, '.');
    let (pid, start_ticks) = (parts.next()?, parts.next()?);
    format!("{pid}.{start_ticks}").parse().ok()
}

/// Ends the processes in the namespaces that `choose` says, and removes these.
fn remove(choose: impl Fn(&str) -> bool) {
    let chosen: Vec<String> = [NAMESPACES, NAMESPACE_FILES]
        .iter()
        .filter_map(|directory| fs::read_dir(directory).ok())
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|namespace| choose(namespace))
        .collect();
    process::end(|| {
        let paths: Vec<PathBuf> = chosen.iter().map(|name| namespace_file(name)).collect();
        process::in_namespaces(&paths)
    });
    for namespace in chosen {
        // Another test process may be sweeping the same one.
        output(Command::new("ip").args(["netns", "delete", &namespace])).ok();
        fs::remove_dir_all(Path::new(NAMESPACE_FILES).join(&namespace)).ok();
    }
}

/// Lets every host find every other by name.
fn write_names(hosts: &[Host]) -> io::Result<()> {
    let mut text = "127.0.0.1 localhost\n::1 localhost\n".to_owned();
    for host in hosts {
        writeln!(text, "{} {}", host.address, host.name).map_err(io::Error::other)?;
    }
    for host in hosts {
        let directory = Path::new(NAMESPACE_FILES).join(&host.namespace);
        fs::create_dir_all(&directory)?;
        // In place: a running program sees the file that was there when it started.
        fs::write(directory.join("hosts"), &text)?;
    }
    Ok(())
}

/// The file that stands for the namespace.
pub(crate) fn namespace_file(namespace: &str) -> PathBuf {
    Path::new(NAMESPACES).join(namespace)
}

fn ip(batch: &str) -> io::Result<()> {
    output_given(Command::new("ip").args(["-batch", "-"]), batch).map(|_| ())
}

fn ip_in(namespace: &str, batch: &str) -> io::Result<()> {
    let mut command = Command::new("ip");
    command.args(["-netns", namespace, "-batch", "-"]);
    output_given(&mut command, batch).map(|_| ())
}
