//! A throw-away certificate authority for servers under test.

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

/// A CA of one server, and what it certified.
pub(crate) struct ThrowAwayCa {
    /// The CA's certificate.
    pub(crate) ca_pem: String,
    /// The server's certificate, for `localhost` and the loopback addresses.
    pub(crate) certificate_pem: String,
    /// The server's key.
    pub(crate) key_pem: String,
}

impl ThrowAwayCa {
    /// A new one.
    pub(crate) fn new() -> Result<Self, rcgen::Error> {
        let mut ca = CertificateParams::new(Vec::new())?;
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca_key = KeyPair::generate()?;
        let ca_pem = ca.self_signed(&ca_key)?.pem();
        let issuer = Issuer::new(ca, ca_key);
        let names = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
        let key = KeyPair::generate()?;
        let certificate = CertificateParams::new(names)?.signed_by(&key, &issuer)?;
        Ok(ThrowAwayCa {
            ca_pem,
            certificate_pem: certificate.pem(),
            key_pem: key.serialize_pem(),
        })
    }
}
