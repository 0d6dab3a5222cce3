//! Getting in: from the startup message to the first ReadyForQuery.

use std::fmt;

use bytes::BytesMut;
use postgres_protocol::authentication::md5_hash;
use postgres_protocol::authentication::sasl::{
    ChannelBinding, SCRAM_SHA_256, SCRAM_SHA_256_PLUS, ScramSha256,
};

use crate::authentication::{
    Authentication, UnsupportedMethod, encode_password, encode_sasl_initial, encode_sasl_response,
};
use crate::backend::BackendMessage;
use crate::diagnostics::Diagnostics;
use crate::session::ParameterStatus;
use crate::startup::EncodeError;

/// Who logs in, and what over.
pub struct Credentials {
    /// The role.
    pub user: String,
    /// Its password, if there is one.
    pub password: Option<String>,
    /// How far the stream can be trusted.
    pub channel: Channel,
}

/// What the bytes travel over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Channel {
    /// Bytes that others may read: no password goes over it but by SCRAM.
    Open,
    /// A Unix socket: nobody else is on it.
    Local,
    /// TLS. With the `tls-server-end-point` hash of the server's certificate, SCRAM is bound to
    /// it wherever the server can do that.
    Tls {
        /// The hash, where the certificate's signature algorithm has one.
        server_end_point: Option<Vec<u8>>,
    },
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("user", &self.user)
            .field("channel", &self.channel)
            .finish_non_exhaustive()
    }
}

/// Why nobody gets in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LoginError {
    /// The server said no.
    #[error("{0}")]
    Refused(Box<Diagnostics>),
    /// It wants a password and there is none.
    #[error("the server asks for a password, and none was given")]
    PasswordMissing,
    /// It wants the password in a way that others could read or replay.
    #[error(
        "the server asks for the password by the method {method}, which is not safe without TLS: use scram-sha-256, or TLS"
    )]
    UnsafeMethod {
        /// PostgreSQL's name for it.
        method: &'static str,
    },
    /// It wants a method that Manada does not have.
    #[error("the server asks for authentication by {method:?}, which Manada does not have")]
    UnsupportedMethod {
        /// The method.
        method: UnsupportedMethod,
    },
    /// It offers SASL, but no SCRAM.
    #[error("the server offers the SASL mechanisms {offered:?}; Manada has SCRAM-SHA-256")]
    NoScram {
        /// What it offers.
        offered: Vec<String>,
    },
    /// The SCRAM exchange failed: the server does not know the password either, or is not the
    /// one that TLS speaks to.
    #[error("SCRAM authentication failed: {reason}")]
    Scram {
        /// What was wrong.
        reason: String,
    },
    /// A message that does not belong here.
    #[error("the server sent {message} in the middle of a login")]
    UnexpectedMessage {
        /// The message.
        message: &'static str,
    },
    /// A text can't be sent.
    #[error(transparent)]
    Encode(#[from] EncodeError),
}

/// What to do next.
#[derive(Debug, PartialEq, Eq)]
pub enum LoginStep {
    /// Read on.
    Wait,
    /// Send what was appended, then read on.
    Send,
    /// The session has begun.
    Done,
}

/// A login in progress.
pub struct Login {
    credentials: Credentials,
    progress: Progress,
    /// Settings that the server has reported. At most [`PARAMETERS_MAX`].
    parameters: Vec<ParameterStatus>,
}

enum Progress {
    Unanswered,
    PasswordSent,
    ScramFirst(Box<ScramSha256>),
    ScramFinal(Box<ScramSha256>),
    ScramProven,
    In,
}

/// The most settings of a server that are remembered. PostgreSQL 18 reports 15.
const PARAMETERS_MAX: usize = 64;

impl Login {
    /// A login whose startup message has been sent.
    pub fn new(credentials: Credentials) -> Self {
        Login {
            credentials,
            progress: Progress::Unanswered,
            parameters: Vec::new(),
        }
    }

    /// Takes the server's next message; appends an answer to `out` where it needs one.
    ///
    /// # Errors
    /// The login has failed.
    pub fn handle(
        &mut self,
        message: BackendMessage,
        out: &mut BytesMut,
    ) -> Result<LoginStep, LoginError> {
        match message {
            BackendMessage::Authentication(authentication) => {
                self.authenticate(authentication, out)
            }
            BackendMessage::ParameterStatus(parameter) => {
                if self.parameters.len() < PARAMETERS_MAX {
                    self.parameters.push(parameter);
                }
                Ok(LoginStep::Wait)
            }
            BackendMessage::BackendKeyData(_)
            | BackendMessage::NegotiateProtocolVersion(_)
            | BackendMessage::NoticeResponse(_) => Ok(LoginStep::Wait),
            BackendMessage::ErrorResponse(error) => Err(LoginError::Refused(error)),
            BackendMessage::ReadyForQuery(_) if matches!(self.progress, Progress::In) => {
                Ok(LoginStep::Done)
            }
            other @ (BackendMessage::ReadyForQuery(_)
            | BackendMessage::RowDescription(_)
            | BackendMessage::DataRow(_)
            | BackendMessage::CommandComplete(_)
            | BackendMessage::EmptyQueryResponse
            | BackendMessage::CopyInResponse(_)
            | BackendMessage::CopyOutResponse(_)
            | BackendMessage::CopyBothResponse(_)
            | BackendMessage::CopyData(_)
            | BackendMessage::CopyDone
            | BackendMessage::Notification(_)) => Err(LoginError::UnexpectedMessage {
                message: other.name(),
            }),
        }
    }

    /// The settings that the server reported.
    pub fn into_parameters(self) -> Vec<ParameterStatus> {
        self.parameters
    }

    fn authenticate(
        &mut self,
        authentication: Authentication,
        out: &mut BytesMut,
    ) -> Result<LoginStep, LoginError> {
        let progress = std::mem::replace(&mut self.progress, Progress::Unanswered);
        let (progress, step) = match (progress, authentication) {
            // A server that was asked to prove itself by SCRAM is believed only once it has.
            (
                Progress::Unanswered | Progress::PasswordSent | Progress::ScramProven,
                Authentication::Ok,
            ) => (Progress::In, LoginStep::Wait),
            (Progress::Unanswered, Authentication::CleartextPassword) => {
                self.allow_replayable("password")?;
                encode_password(self.password()?.as_bytes(), out)?;
                (Progress::PasswordSent, LoginStep::Send)
            }
            (Progress::Unanswered, Authentication::Md5Password { salt }) => {
                self.allow_replayable("md5")?;
                let user = self.credentials.user.as_bytes();
                let hash = md5_hash(user, self.password()?.as_bytes(), salt);
                encode_password(hash.as_bytes(), out)?;
                (Progress::PasswordSent, LoginStep::Send)
            }
            (Progress::Unanswered, Authentication::Sasl { mechanisms }) => {
                let scram = self.begin_scram(mechanisms, out)?;
                (Progress::ScramFirst(Box::new(scram)), LoginStep::Send)
            }
            (Progress::ScramFirst(mut scram), Authentication::SaslContinue(data)) => {
                scram.update(&data).map_err(scram_error)?;
                encode_sasl_response(scram.message(), out)?;
                (Progress::ScramFinal(scram), LoginStep::Send)
            }
            (Progress::ScramFinal(mut scram), Authentication::SaslFinal(data)) => {
                scram.finish(&data).map_err(scram_error)?;
                (Progress::ScramProven, LoginStep::Wait)
            }
            (_, Authentication::Unsupported(method)) => {
                return Err(LoginError::UnsupportedMethod { method });
            }
            (
                _,
                Authentication::Ok
                | Authentication::CleartextPassword
                | Authentication::Md5Password { .. }
                | Authentication::Sasl { .. }
                | Authentication::SaslContinue(_)
                | Authentication::SaslFinal(_),
            ) => {
                return Err(LoginError::UnexpectedMessage {
                    message: "Authentication out of its order",
                });
            }
        };
        self.progress = progress;
        Ok(step)
    }

    fn begin_scram(
        &self,
        offered: Vec<String>,
        out: &mut BytesMut,
    ) -> Result<ScramSha256, LoginError> {
        let offers = |mechanism| offered.iter().any(|name| name == mechanism);
        let (mechanism, binding) = match &self.credentials.channel {
            Channel::Tls {
                server_end_point: Some(hash),
            } if offers(SCRAM_SHA_256_PLUS) => (
                SCRAM_SHA_256_PLUS,
                ChannelBinding::tls_server_end_point(hash.clone()),
            ),
            Channel::Tls {
                server_end_point: Some(_),
            } if offers(SCRAM_SHA_256) => (SCRAM_SHA_256, ChannelBinding::unrequested()),
            Channel::Tls { .. } | Channel::Open | Channel::Local if offers(SCRAM_SHA_256) => {
                (SCRAM_SHA_256, ChannelBinding::unsupported())
            }
            Channel::Tls { .. } | Channel::Open | Channel::Local => {
                return Err(LoginError::NoScram { offered });
            }
        };
        let scram = ScramSha256::new(self.password()?.as_bytes(), binding);
        encode_sasl_initial(mechanism, scram.message(), out)?;
        Ok(scram)
    }

    fn password(&self) -> Result<&str, LoginError> {
        let password = self.credentials.password.as_deref();
        password.ok_or(LoginError::PasswordMissing)
    }

    /// What is sent by these methods would serve whoever read it.
    fn allow_replayable(&self, method: &'static str) -> Result<(), LoginError> {
        match self.credentials.channel {
            Channel::Tls { .. } | Channel::Local => Ok(()),
            Channel::Open => Err(LoginError::UnsafeMethod { method }),
        }
    }
}

fn scram_error(error: std::io::Error) -> LoginError {
    LoginError::Scram {
        reason: error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::session::TransactionStatus;

    fn login(channel: Channel, password: Option<&str>) -> Login {
        Login::new(Credentials {
            user: "replicator".to_owned(),
            password: password.map(str::to_owned),
            channel,
        })
    }

    fn told(login: &mut Login, said: Authentication) -> Result<LoginStep, LoginError> {
        login.handle(BackendMessage::Authentication(said), &mut BytesMut::new())
    }

    fn sasl(mechanisms: &[&str]) -> Authentication {
        Authentication::Sasl {
            mechanisms: mechanisms.iter().map(|name| (*name).to_owned()).collect(),
        }
    }

    #[test]
    fn a_password_is_not_shown_to_whoever_listens() {
        for said in [
            Authentication::CleartextPassword,
            Authentication::Md5Password { salt: [0; 4] },
        ] {
            let refused = told(&mut login(Channel::Open, Some("secret")), said.clone());
            assert!(matches!(refused, Err(LoginError::UnsafeMethod { .. })));
            let sent = told(&mut login(Channel::Local, Some("secret")), said);
            assert_eq!(sent, Ok(LoginStep::Send));
        }
    }

    #[test]
    fn a_server_that_breaks_scram_off_is_not_believed() {
        let mut login = login(Channel::Open, Some("secret"));
        let first = told(&mut login, sasl(&[SCRAM_SHA_256]));
        assert_eq!(first, Ok(LoginStep::Send));
        assert!(matches!(
            told(&mut login, Authentication::Ok),
            Err(LoginError::UnexpectedMessage { .. })
        ));
    }

    #[test]
    fn a_server_without_the_password_fails_scram() {
        let mut login = login(Channel::Open, Some("secret"));
        assert_eq!(
            told(&mut login, sasl(&[SCRAM_SHA_256])),
            Ok(LoginStep::Send)
        );
        let forged = Authentication::SaslContinue(Bytes::from_static(b"r=forged,s=QSXCR,i=4096"));
        assert!(matches!(
            told(&mut login, forged),
            Err(LoginError::Scram { .. })
        ));
    }

    #[test]
    fn scram_is_bound_to_the_channel_where_both_sides_can() {
        let hash = Channel::Tls {
            server_end_point: Some(vec![1; 32]),
        };
        for (channel, offered, header) in [
            (
                hash.clone(),
                &[SCRAM_SHA_256_PLUS, SCRAM_SHA_256][..],
                &b"p=tls-server-end-point,,"[..],
            ),
            (hash, &[SCRAM_SHA_256], b"y,,"),
            (Channel::Open, &[SCRAM_SHA_256_PLUS, SCRAM_SHA_256], b"n,,"),
        ] {
            let mut out = BytesMut::new();
            let message = BackendMessage::Authentication(sasl(offered));
            let step = login(channel, Some("secret")).handle(message, &mut out);
            assert_eq!(step, Ok(LoginStep::Send));
            assert!(
                out.windows(header.len()).any(|window| window == header),
                "{out:?}"
            );
        }
    }

    #[test]
    fn no_session_begins_before_the_server_is_satisfied() {
        let ready = BackendMessage::ReadyForQuery(TransactionStatus::Idle);
        let mut login = login(Channel::Local, None);
        assert!(matches!(
            login.handle(ready.clone(), &mut BytesMut::new()),
            Err(LoginError::UnexpectedMessage { .. })
        ));
        assert_eq!(told(&mut login, Authentication::Ok), Ok(LoginStep::Wait));
        assert_eq!(
            login.handle(ready, &mut BytesMut::new()),
            Ok(LoginStep::Done)
        );
    }
}
