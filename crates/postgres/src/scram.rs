//! What a server stores of a password.

use crate::Secret;

impl Secret {
    /// The SCRAM-SHA-256 verifier of this password, to set it with: the password itself then
    /// never travels in an SQL statement, which a server may log.
    pub fn scram_verifier(&self) -> String {
        postgres_protocol::password::scram_sha_256(self.reveal().as_bytes())
    }
}
