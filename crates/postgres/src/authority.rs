//! A herd's own certificate authority: whom its nodes believe.
//!
//! All keys are P-256, which every TLS library knows and which signs with SHA-256, so that channel
//! binding works. A node's private key never leaves its host: it asks with a certificate request.

use manada_model::{HerdName, NodeName};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName,
    DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, PublicKeyData as _,
    SanType,
};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use sha2::{Digest as _, Sha256};

use crate::Secret;
use crate::address::HostAddress;

/// How long the authority and every certificate it signs are valid. Long, because no daemon
/// renews them, and an expired certificate stops replication.
const VALIDITY_YEARS: i16 = 20;

/// A certificate is valid from this many days before it is made: hosts' clocks differ.
const CLOCK_TOLERANCE_DAYS: i64 = 2;

/// The largest certificate request that is read, in bytes. One with a P-256 key has about 400.
pub const REQUEST_BYTES_MAX: usize = 4096;

/// A certificate could not be made.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// Keys or certificates could not be generated.
    #[error("generating {what}: {source}")]
    Generate {
        /// What was to be made.
        what: &'static str,
        /// The reason.
        source: rcgen::Error,
    },
    /// The authority's files do not hold an authority.
    #[error("reading the herd's {what}: {reason}")]
    Load {
        /// The certificate or the key.
        what: &'static str,
        /// The reason.
        reason: String,
    },
    /// The certificate request is malformed, forged or not of the expected kind.
    #[error("the certificate request is not acceptable: {reason}")]
    Request {
        /// The reason.
        reason: String,
    },
}

/// The herd's authority with its private key. It exists on the host where the herd was made.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate_pem: String,
    key_pem: Secret,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority")
            .field("certificate_pem", &self.certificate_pem)
            .finish_non_exhaustive()
    }
}

impl Authority {
    /// A new authority for a herd.
    pub fn create(herd: &HerdName) -> Result<Authority, AuthorityError> {
        let generate = |source| AuthorityError::Generate {
            what: "the herd's authority",
            source,
        };
        let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).map_err(generate)?;
        let mut params = CertificateParams::default();
        params.distinguished_name = subject(&format!("manada herd {herd}"));
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        set_validity(&mut params);
        let certificate_pem = params.self_signed(&key).map_err(generate)?.pem();
        let key_pem = Secret::new(key.serialize_pem());
        Ok(Authority {
            issuer: Issuer::new(params, key),
            certificate_pem,
            key_pem,
        })
    }

    /// The authority whose certificate and key these are.
    pub fn load(certificate_pem: &str, key_pem: &Secret) -> Result<Authority, AuthorityError> {
        let load = |what| {
            move |error: rcgen::Error| AuthorityError::Load {
                what,
                reason: error.to_string(),
            }
        };
        let key = KeyPair::from_pem(key_pem.reveal()).map_err(load("authority key"))?;
        let issuer = Issuer::from_ca_cert_pem(certificate_pem, key)
            .map_err(load("authority certificate"))?;
        Ok(Authority {
            issuer,
            certificate_pem: certificate_pem.to_owned(),
            key_pem: key_pem.clone(),
        })
    }

    /// The authority's certificate.
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// The authority's private key.
    pub fn key_pem(&self) -> &Secret {
        &self.key_pem
    }

    /// Signs the key in a certificate request, and nothing else of it: the subject, the names and
    /// the usage are ours to say. Gives the node's certificate followed by the authority's, as
    /// `ssl_cert_file` takes it.
    pub fn sign(
        &self,
        request: &CertificateRequest,
        node: &NodeName,
        addresses: &[HostAddress],
    ) -> Result<String, AuthorityError> {
        let mut params = CertificateParams::default();
        params.distinguished_name = subject(node.as_str());
        params.subject_alt_names = alternative_names(addresses)?;
        params.is_ca = IsCa::ExplicitNoCa;
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        // A node is a server to its clients and a client to the other nodes.
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        set_validity(&mut params);
        let signed = params
            .signed_by(&request.0.public_key, &self.issuer)
            .map_err(|source| AuthorityError::Generate {
                what: "a server certificate",
                source,
            })?;
        Ok(format!("{}{}", signed.pem(), self.certificate_pem))
    }
}

/// The SHA-256 of a certificate: how a token names an authority. Of several, the last one's: a
/// node's file ends with its authority.
pub fn fingerprint(certificates_pem: &str) -> Result<[u8; 32], AuthorityError> {
    let load = |reason: String| AuthorityError::Load {
        what: "authority certificate",
        reason,
    };
    let certificates = CertificateDer::pem_slice_iter(certificates_pem.as_bytes())
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| load(error.to_string()))?;
    let authority = certificates
        .last()
        .ok_or_else(|| load("no certificate in it".to_owned()))?;
    Ok(Sha256::digest(authority).into())
}

/// A node's private key.
pub struct NodeKey {
    key: KeyPair,
}

impl std::fmt::Debug for NodeKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("NodeKey(***)")
    }
}

impl NodeKey {
    /// A new key.
    pub fn generate() -> Result<NodeKey, AuthorityError> {
        KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)
            .map(|key| NodeKey { key })
            .map_err(|source| AuthorityError::Generate {
                what: "a private key",
                source,
            })
    }

    /// The key in a PEM file's text.
    pub fn load(pem: &Secret) -> Result<NodeKey, AuthorityError> {
        KeyPair::from_pem(pem.reveal())
            .map(|key| NodeKey { key })
            .map_err(|error| AuthorityError::Load {
                what: "server key",
                reason: error.to_string(),
            })
    }

    /// The key as PEM, for `ssl_key_file`.
    pub fn pem(&self) -> Secret {
        Secret::new(self.key.serialize_pem())
    }

    /// A request for a certificate: proof that whoever asks holds the key.
    pub fn request(&self) -> Result<String, AuthorityError> {
        let mut params = CertificateParams::default();
        params.distinguished_name = subject("manada node");
        params
            .serialize_request(&self.key)
            .and_then(|request| request.pem())
            .map_err(|source| AuthorityError::Generate {
                what: "a certificate request",
                source,
            })
    }
}

/// A certificate request whose signature is right.
#[derive(Debug, Clone)]
pub struct CertificateRequest(CertificateSigningRequestParams);

impl CertificateRequest {
    /// Reads and proves a request in PEM of at most [`REQUEST_BYTES_MAX`].
    pub fn parse(pem: &str) -> Result<CertificateRequest, AuthorityError> {
        let refuse = |reason: String| AuthorityError::Request { reason };
        if pem.len() > REQUEST_BYTES_MAX {
            return Err(refuse(format!(
                "it is larger than {REQUEST_BYTES_MAX} bytes"
            )));
        }
        let parsed = CertificateSigningRequestParams::from_pem(pem)
            .map_err(|error| refuse(error.to_string()))?;
        if *parsed.public_key.algorithm() != rcgen::PKCS_ECDSA_P256_SHA256 {
            return Err(refuse("its key is not of P-256".to_owned()));
        }
        Ok(CertificateRequest(parsed))
    }

    /// The SHA-256 of the public key, in hexadecimal: who asks.
    pub fn key_fingerprint(&self) -> String {
        let digest = Sha256::digest(self.0.public_key.der_bytes());
        digest.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

fn subject(common_name: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common_name);
    name
}

/// The host's own names, and those by which every host reaches itself.
fn alternative_names(addresses: &[HostAddress]) -> Result<Vec<SanType>, AuthorityError> {
    let local = ["localhost", "127.0.0.1", "::1"]
        .into_iter()
        .map(|text| text.parse().expect("a host's address"));
    let mut all: Vec<HostAddress> = addresses.iter().cloned().chain(local).collect();
    all.sort();
    all.dedup();
    all.iter()
        .map(|address| match address {
            HostAddress::Ip(address) => Ok(SanType::IpAddress(*address)),
            HostAddress::Name(name) => {
                name.as_str()
                    .try_into()
                    .map(SanType::DnsName)
                    .map_err(|source| AuthorityError::Generate {
                        what: "a server certificate",
                        source,
                    })
            }
        })
        .collect()
}

fn set_validity(params: &mut CertificateParams) {
    use jiff::{ToSpan as _, Zoned, tz::TimeZone};
    let today = Zoned::now().with_time_zone(TimeZone::UTC).date();
    let first = today.saturating_sub(CLOCK_TOLERANCE_DAYS.days());
    let last = today.saturating_add(VALIDITY_YEARS.years());
    let at = |date: jiff::civil::Date| {
        let number = |value: i8| u8::try_from(value).expect("months and days are positive");
        rcgen::date_time_ymd(date.year().into(), number(date.month()), number(date.day()))
    };
    params.not_before = at(first);
    params.not_after = at(last);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn herd() -> HerdName {
        "herd".parse().expect("valid")
    }

    fn node() -> NodeName {
        "n1".parse().expect("valid")
    }

    #[test]
    fn a_certificate_names_what_the_authority_says_and_leads_to_it() {
        let authority = Authority::create(&herd()).expect("made");
        let again =
            Authority::load(authority.certificate_pem(), authority.key_pem()).expect("read");
        let key = NodeKey::generate().expect("made");
        let request = CertificateRequest::parse(&key.request().expect("made")).expect("valid");
        let addresses = [
            "10.0.0.1".parse().expect("ip"),
            "db1".parse().expect("name"),
        ];
        let chain = again.sign(&request, &node(), &addresses).expect("signed");
        assert_eq!(
            fingerprint(&chain).expect("a chain"),
            fingerprint(authority.certificate_pem()).expect("one")
        );
        let der = CertificateDer::pem_slice_iter(chain.as_bytes())
            .collect::<Result<Vec<_>, _>>()
            .expect("PEM");
        assert_eq!(der.len(), 2);
        let (_, leaf) = x509_parser::parse_x509_certificate(&der[0]).expect("X.509");
        let (_, root) = x509_parser::parse_x509_certificate(&der[1]).expect("X.509");
        leaf.verify_signature(Some(root.public_key()))
            .expect("signed by the authority");
        assert!(!leaf.is_ca());
        let names = leaf
            .subject_alternative_name()
            .expect("well formed")
            .expect("there");
        assert_eq!(names.value.general_names.len(), 5);
        assert!(root.validity().not_after.timestamp() >= leaf.validity().not_after.timestamp());
    }

    #[test]
    fn a_tampered_or_foreign_request_is_refused() {
        let key = NodeKey::generate().expect("made");
        let good = key.request().expect("made");
        // Another subject under the same signature.
        let tampered = good.replace("YWRh", "YWRi");
        assert_ne!(tampered, good);
        for text in [
            "",
            "x",
            &good[..good.len() / 2],
            &tampered,
            &"A".repeat(REQUEST_BYTES_MAX + 1),
        ] {
            assert!(CertificateRequest::parse(text).is_err(), "{text}");
        }
        let ed25519 = KeyPair::generate_for(&rcgen::PKCS_ED25519).expect("made");
        let other = CertificateParams::default()
            .serialize_request(&ed25519)
            .and_then(|request| request.pem())
            .expect("made");
        assert!(CertificateRequest::parse(&other).is_err());
    }

    #[test]
    fn the_same_key_has_the_same_fingerprint() {
        let key = NodeKey::generate().expect("made");
        let again = NodeKey::load(&key.pem()).expect("read");
        let print = |key: &NodeKey| {
            CertificateRequest::parse(&key.request().expect("made"))
                .expect("valid")
                .key_fingerprint()
        };
        assert_eq!(print(&key), print(&again));
        assert_eq!(format!("{key:?}"), "NodeKey(***)");
    }
}
