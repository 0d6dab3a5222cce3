//! The primary's side of an admission: the server hands a request to `manada node admit`, which
//! decides, signs, lets the newcomer in, and leaves its answer for the server to read.

use std::io::Read;
use std::net::IpAddr;

use manada_model::NodeName;
use manada_postgres::address::HostAddress;
use manada_postgres::authority::{AuthorityError, CertificateRequest};
use manada_postgres::os_user::{OsUser, OsUserError};
use manada_postgres::replace_file::ReplaceFileError;
use serde::Deserialize;

use crate::admission::{Admission, Newcomer, Refusal, Reply, Request};
use crate::home::HomeError;
use crate::identity::{IdentityError, load_authority};
use crate::member::Member;
use crate::node::{HomeFiles, Node};
use crate::server_files::{ServerFilesError, write_access_block};

/// The most that is read from the server, in bytes of hexadecimal.
const PAYLOAD_BYTES_MAX: u64 = 1 << 20;

/// The most addresses a node may have.
const ADDRESSES_MAX: usize = 8;

/// An admission could not be dealt with. A refusal is none of these: it is an answer.
#[derive(Debug, thiserror::Error)]
pub enum AdmitError {
    /// What the server hands over is not what `manada.admit` writes.
    #[error("what came on standard input is not an admission: {reason}")]
    Payload {
        /// Why not.
        reason: String,
    },
    /// Nobody suitable.
    #[error(transparent)]
    User(#[from] OsUserError),
    /// The home can't be used.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// The authority can't be used.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The certificate can't be signed.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// The password file is missing or damaged.
    #[error("the passwords of the herd's roles are not in {}", path.display())]
    Passwords {
        /// The password file.
        path: std::path::PathBuf,
    },
    /// The access rules can't be written.
    #[error(transparent)]
    Files(#[from] ServerFilesError),
    /// The answer can't be written.
    #[error(transparent)]
    Answer(#[from] ReplaceFileError),
}

/// What `manada.admit` hands over. All but `request` is the server's own word.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Payload {
    ticket: String,
    request: serde_json::Value,
    client_address: IpAddr,
    members: Vec<Member>,
}

/// Reads a request, deals with it, and leaves the answer in the node's home.
pub fn admit(node: &Node, input: impl Read) -> Result<(), AdmitError> {
    let payload = read_payload(input)?;
    let user = node.user()?;
    let _lock = node.home.lock(&user)?;
    let reply = match decide(&payload, &node.file.name) {
        Ok(newcomer) => let_in(node, &user, &payload, newcomer)?,
        Err(refusal) => Reply::Refused(refusal),
    };
    let mut answer = serde_json::to_value(&reply).expect("own types have string keys");
    answer["ticket"] = payload.ticket.into();
    let files = HomeFiles {
        home: &node.home,
        user: &user,
    };
    Ok(files.write(&node.home.admission_answer(), &answer.to_string())?)
}

fn read_payload(input: impl Read) -> Result<Payload, AdmitError> {
    let json = read_hexadecimal(input)?;
    serde_json::from_slice(&json).map_err(|error| AdmitError::Payload {
        reason: error.to_string(),
    })
}

/// The bytes that the server hands over in hexadecimal, within a bound.
pub(crate) fn read_hexadecimal(input: impl Read) -> Result<Vec<u8>, AdmitError> {
    let refuse = |reason: String| AdmitError::Payload { reason };
    let mut text = String::new();
    input
        .take(PAYLOAD_BYTES_MAX + 1)
        .read_to_string(&mut text)
        .map_err(|error| refuse(error.to_string()))?;
    if text.len() as u64 > PAYLOAD_BYTES_MAX {
        return Err(refuse(format!(
            "it is larger than {PAYLOAD_BYTES_MAX} bytes"
        )));
    }
    from_hexadecimal(text.trim_end()).ok_or_else(|| refuse("it is not hexadecimal".to_owned()))
}

fn from_hexadecimal(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).map(|digit| digit as u8);
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let bytes = pairs
        .iter()
        .map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?))
        .collect();
    if rest.is_empty() { bytes } else { None }
}

/// A newcomer that may be let in.
#[derive(Debug)]
struct Acceptable {
    member: Member,
    request: CertificateRequest,
}

/// Whether the request to the node `own` may be granted. Decided from the payload alone.
fn decide(payload: &Payload, own: &NodeName) -> Result<Acceptable, Refusal> {
    let malformed = |reason: String| Refusal::Malformed { reason };
    let request: Request = serde_json::from_value(payload.request.clone())
        .map_err(|error| malformed(error.to_string()))?;
    let Request::Admit(newcomer) = request else {
        return Err(malformed("nothing is asked for".to_owned()));
    };
    if newcomer.port == 0 {
        return Err(malformed("the port is 0".to_owned()));
    }
    if !(1..=ADDRESSES_MAX).contains(&newcomer.addresses.len()) {
        return Err(malformed(format!(
            "a node has 1 to {ADDRESSES_MAX} addresses"
        )));
    }
    let request = CertificateRequest::parse(&newcomer.certificate_request)
        .map_err(|error| malformed(error.to_string()))?;
    let key_fingerprint = request.key_fingerprint();
    check_against_members(payload, own, &newcomer, &key_fingerprint)?;

    // It follows from where it comes now, whatever it is called.
    let mut addresses = newcomer.addresses.clone();
    addresses.push(HostAddress::Ip(payload.client_address.to_canonical()));
    let mut seen = std::collections::BTreeSet::new();
    addresses.retain(|address| seen.insert(address.clone()));
    Ok(Acceptable {
        member: Member {
            name: newcomer.name,
            host: newcomer.addresses[0].clone(),
            port: newcomer.port,
            addresses,
            key_fingerprint,
        },
        request,
    })
}

fn check_against_members(
    payload: &Payload,
    own: &NodeName,
    newcomer: &Newcomer,
    key_fingerprint: &str,
) -> Result<(), Refusal> {
    let came_from = payload.client_address.to_canonical();
    // Whoever comes through the loopback interface is on this node's host.
    let is_at = |member: &Member| {
        let at_its_address = |address: &HostAddress| address.ip() == Some(came_from);
        member.addresses.iter().any(at_its_address)
            || (came_from.is_loopback() && member.name == *own)
    };
    for member in &payload.members {
        if member.name == newcomer.name {
            // The same node, once more: its first try broke off.
            if member.key_fingerprint == key_fingerprint {
                continue;
            }
            return Err(Refusal::NameTaken {
                name: member.name.clone(),
                host: member.host.clone(),
                port: member.port,
            });
        }
        for address in &newcomer.addresses {
            if !member.addresses.contains(address) {
                continue;
            }
            if member.port == newcomer.port {
                return Err(Refusal::AddressTaken {
                    host: address.clone(),
                    port: newcomer.port,
                    by: member.name.clone(),
                });
            }
            if !is_at(member) {
                return Err(Refusal::ForeignAddress {
                    address: address.clone(),
                    by: member.name.clone(),
                    came_from,
                });
            }
        }
    }
    let from_this_host = came_from.is_loopback()
        || payload
            .members
            .iter()
            .any(|member| member.name == *own && is_at(member));
    let loopback = newcomer
        .addresses
        .iter()
        .find(|address| address.is_loopback());
    match loopback {
        Some(address) if !from_this_host => Err(Refusal::Loopback {
            address: address.clone(),
            came_from,
        }),
        Some(_) | None => Ok(()),
    }
}

/// Signs the certificate and opens the door.
fn let_in(
    node: &Node,
    user: &OsUser,
    payload: &Payload,
    newcomer: Acceptable,
) -> Result<Reply, AdmitError> {
    let files = HomeFiles {
        home: &node.home,
        user,
    };
    let Some(authority) = load_authority(&files)? else {
        return Ok(Reply::Refused(Refusal::NoAuthority));
    };
    let passwords = files
        .passwords(&node.file.replication_role)
        .ok_or_else(|| AdmitError::Passwords {
            path: node.home.passfile(),
        })?;
    let Acceptable { member, request } = newcomer;
    let certificate = authority.sign(&request, &member.name, &member.addresses)?;
    let mut members = payload.members.clone();
    members.retain(|present| present.name != member.name);
    members.push(member.clone());
    write_access_block(&node.file, &members)?;
    Ok(Reply::Admitted(Box::new(Admission {
        slot: member.name.slot().to_string(),
        member,
        certificate,
        authority: authority.certificate_pem().to_owned(),
        authority_key: authority.key_pem().reveal().to_owned(),
        replication_role: node.file.replication_role.clone(),
        replication_password: passwords.replication.reveal().to_owned(),
        monitor_password: passwords.monitor.reveal().to_owned(),
        archive_directory: node.file.archive_directory.clone(),
        members,
    })))
}

#[cfg(test)]
mod tests {
    use super::*;
    use manada_postgres::authority::NodeKey;
    use proptest::prelude::*;
    use serde_json::json;

    fn member(name: &str, address: &str, port: u16) -> Member {
        Member {
            name: name.parse().expect("valid"),
            host: address.parse().expect("valid"),
            port,
            addresses: vec![address.parse().expect("valid")],
            key_fingerprint: "of another".to_owned(),
        }
    }

    fn payload(request: serde_json::Value, from: &str) -> Payload {
        Payload {
            ticket: "t".to_owned(),
            request,
            client_address: from.parse().expect("an address"),
            members: vec![member("n1", "10.0.0.1", 5432)],
        }
    }

    fn own() -> NodeName {
        "n1".parse().expect("valid")
    }

    fn asked(name: &str, addresses: &[&str], port: u16) -> serde_json::Value {
        let key = NodeKey::generate().expect("made");
        json!({
            "ask": "admit", "name": name, "port": port, "addresses": addresses,
            "certificate_request": key.request().expect("made"),
        })
    }

    fn decided(request: serde_json::Value, from: &str) -> Result<Member, Refusal> {
        decide(&payload(request, from), &own()).map(|acceptable| acceptable.member)
    }

    #[test]
    fn a_newcomer_follows_from_where_it_came() {
        let member = decided(asked("n2", &["db2", "10.0.0.2"], 5432), "10.9.9.9").expect("fine");
        let addresses: Vec<String> = member.addresses.iter().map(ToString::to_string).collect();
        assert_eq!(addresses, ["db2", "10.0.0.2", "10.9.9.9"]);
        assert_eq!(member.host.to_string(), "db2");
    }

    #[test]
    fn names_and_addresses_of_others_are_refused() {
        let case = |name, addresses: &[&str], port, from| {
            decided(asked(name, addresses, port), from).expect_err("a refusal")
        };
        assert!(matches!(
            case("n1", &["10.0.0.2"], 5432, "10.0.0.2"),
            Refusal::NameTaken { .. }
        ));
        assert!(matches!(
            case("n2", &["10.0.0.1"], 5432, "10.0.0.1"),
            Refusal::AddressTaken { .. }
        ));
        assert!(matches!(
            case("n2", &["10.0.0.1"], 5433, "10.0.0.2"),
            Refusal::ForeignAddress { .. }
        ));
        assert!(matches!(
            case("n2", &["127.0.0.1"], 5432, "10.0.0.2"),
            Refusal::Loopback { .. }
        ));
        assert!(matches!(
            decide(
                &Payload {
                    members: vec![
                        member("n1", "10.0.0.1", 5432),
                        member("n3", "10.0.0.3", 5432)
                    ],
                    ..payload(asked("n2", &["10.0.0.3"], 5433), "127.0.0.1")
                },
                &own()
            )
            .map(|acceptable| acceptable.member),
            Err(Refusal::ForeignAddress { .. })
        ));
        // On the primary's own host another port is all it takes.
        decided(asked("n2", &["10.0.0.1"], 5433), "10.0.0.1").expect("fine");
        decided(asked("n2", &["127.0.0.1"], 5433), "127.0.0.1").expect("fine");
    }

    #[test]
    fn the_same_key_may_come_again() {
        let request = asked("n1", &["10.0.0.1"], 5432);
        let mut payload = payload(request, "10.0.0.1");
        let pem = payload.request["certificate_request"]
            .as_str()
            .expect("text")
            .to_owned();
        payload.members[0].key_fingerprint = CertificateRequest::parse(&pem)
            .expect("valid")
            .key_fingerprint();
        decide(&payload, &own()).expect("fine");
    }

    #[test]
    fn hostile_requests_are_refused() {
        let good = asked("n2", &["10.0.0.2"], 5432);
        let with = |field: &str, value: serde_json::Value| {
            let mut request = good.clone();
            request[field] = value;
            request
        };
        for request in [
            json!(null),
            json!([]),
            json!({}),
            json!({"ask": "describe"}),
            json!({"ask": "admit"}),
            with("more", json!(1)),
            with("name", json!("N2; DROP")),
            with("name", json!("n2'")),
            with("name", json!(7)),
            with("port", json!(0)),
            with("port", json!(65536)),
            with("port", json!("5432")),
            with("addresses", json!([])),
            with("addresses", json!(["10.0.0.2\nhost all all all trust"])),
            with("addresses", json!(vec!["all"; 9])),
            with("addresses", json!(["10.0.0.0/8"])),
            with("addresses", json!("10.0.0.2")),
            with("certificate_request", json!("x")),
            with("certificate_request", json!("A".repeat(10_000))),
        ] {
            let refusal = decided(request.clone(), "10.0.0.2");
            assert!(
                matches!(refusal, Err(Refusal::Malformed { .. })),
                "{request}"
            );
        }
    }

    #[test]
    fn what_is_too_large_is_not_read() {
        assert!(matches!(
            read_payload(std::io::repeat(b'a')),
            Err(AdmitError::Payload { .. })
        ));
    }

    proptest! {
        #[test]
        fn no_input_makes_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(read_payload(bytes.as_slice()).is_err());
            let hexadecimal: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            prop_assert_eq!(from_hexadecimal(&hexadecimal), Some(bytes));
            prop_assert!(read_payload(hexadecimal.as_bytes()).is_err());
        }

        #[test]
        fn no_name_or_address_reaches_further_than_its_type(name: String, address: String) {
            let mut request = asked("n2", &["10.0.0.2"], 5432);
            request["name"] = name.into();
            request["addresses"] = json!([address]);
            if let Ok(member) = decided(request, "10.0.0.2") {
                let line = format!("{} {}", member.name, member.host);
                prop_assert!(!line.contains(['\n', '"', '\'', '#', '/', ',']));
            }
        }
    }
}
