//! How other hosts name a host: an address or a DNS name.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// A host's address or DNS name. Nothing else fits: no keyword, wildcard, port or line break.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HostAddress {
    /// An IPv4 or IPv6 address of one host.
    Ip(IpAddr),
    /// A DNS name in lower case.
    Name(DnsName),
}

/// A DNS name: labels of `a-z 0-9 - _`, in lower case, 253 bytes at most.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DnsName(String);

impl DnsName {
    /// The name itself.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The text names no single host.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not the address of a host: give an IP address or a DNS name, without a port")]
pub struct InvalidAddress {
    text: String,
}

/// The longest DNS name and the longest label, in bytes (RFC 1035, section 2.3.4).
const NAME_BYTES_MAX: usize = 253;
const LABEL_BYTES_MAX: usize = 63;

impl HostAddress {
    /// The address, where this is one.
    pub fn ip(&self) -> Option<IpAddr> {
        match self {
            HostAddress::Ip(address) => Some(*address),
            HostAddress::Name(_) => None,
        }
    }

    /// Whether it leads back to the host itself, seen from any host.
    pub fn is_loopback(&self) -> bool {
        match self {
            HostAddress::Ip(address) => address.is_loopback(),
            HostAddress::Name(name) => name.0 == "localhost",
        }
    }
}

impl FromStr for HostAddress {
    type Err = InvalidAddress;

    fn from_str(text: &str) -> Result<HostAddress, InvalidAddress> {
        let invalid = || InvalidAddress {
            text: text.chars().take(80).collect(),
        };
        if let Ok(address) = text.parse::<IpAddr>() {
            let of_one_host = !address.is_unspecified() && !address.is_multicast();
            return of_one_host
                .then(|| HostAddress::Ip(address.to_canonical()))
                .ok_or_else(invalid);
        }
        let name = text.to_ascii_lowercase();
        let label_is_valid = |label: &str| {
            let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
            (1..=LABEL_BYTES_MAX).contains(&label.len())
                && label.bytes().all(allowed)
                && !label.starts_with('-')
                && !label.ends_with('-')
        };
        // A last label of digits alone is an address with a mistake in it.
        let last_is_a_number = name
            .rsplit('.')
            .next()
            .is_some_and(|label| label.bytes().all(|byte| byte.is_ascii_digit()));
        let valid = name.len() <= NAME_BYTES_MAX
            && name.split('.').all(label_is_valid)
            && !last_is_a_number;
        if valid {
            Ok(HostAddress::Name(DnsName(name)))
        } else {
            Err(invalid())
        }
    }
}

impl fmt::Display for HostAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HostAddress::Ip(address) => address.fmt(f),
            HostAddress::Name(name) => f.pad(&name.0),
        }
    }
}

crate::serde_as_text!(HostAddress);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_single_hosts_are_addresses() {
        for text in [
            "",
            " ",
            "10.0.0.1/32",
            "10.0.0",
            "0.0.0.0",
            "::",
            "224.0.0.1",
            "a b",
            "a\nb",
            "a,b",
            "*",
            "-a",
            "a-",
            "a..b",
            ".",
            "[::1]",
            "fe80::1%eth0",
            "db:5432",
            "ñ.example",
            "a'b",
            "10.0.0.1\nhost all all all trust",
        ] {
            assert!(text.parse::<HostAddress>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn addresses_and_names_print_as_they_are_written() {
        for (text, printed) in [
            ("10.0.0.1", "10.0.0.1"),
            ("fd00::0:1", "fd00::1"),
            ("::ffff:10.0.0.1", "10.0.0.1"),
            ("DB1.Example.org", "db1.example.org"),
            ("db_1", "db_1"),
        ] {
            let address: HostAddress = text.parse().expect(text);
            assert_eq!(address.to_string(), printed);
        }
    }
}
