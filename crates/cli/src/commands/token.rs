//! `manada token`: a new join token.

use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;
use manada_herd::schema::TOKEN_LIFETIME;
use manada_herd::{IssueTokenError, Node, OpenNodeError, Token, answer_here, issue_token};
use manada_model::{HerdName, NodeName};

use super::init::own_program;
use crate::block_on;
use crate::error::{Failure, Outcome};
use crate::privilege::as_whom;
use crate::ui::{Format, Ui, accent, paint};

/// Print a new join token, on the primary's host.
///
/// On whichever host the primary is now, also after a failover; the token leads newcomers there. The
/// former token is of no use from then on. A token is a secret: whoever has it can copy the
/// databases until it expires.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  manada token
  manada token --hours 1 | ssh db2 manada join -")]
pub(crate) struct TokenArgs {
    #[command(flatten)]
    which: LocalNodeArgs,

    /// How long it is good, in hours.
    #[arg(long, value_name = "HOURS", value_parser = clap::value_parser!(u64).range(1..=8760))]
    hours: Option<u64>,
}

/// Which of this host's nodes is meant, where it has several.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Which node")]
pub(crate) struct LocalNodeArgs {
    /// The node's directory.
    #[arg(long, value_name = "DIR", env = "MANADA_HOME")]
    pub(crate) home: Option<PathBuf>,

    /// The node's herd.
    #[arg(long, value_name = "NAME")]
    pub(crate) herd: Option<HerdName>,

    /// The node's name.
    #[arg(long = "node", value_name = "NAME")]
    pub(crate) node: Option<NodeName>,
}

impl LocalNodeArgs {
    /// The one node that is meant.
    pub(crate) fn find(&self) -> Result<Node, Failure> {
        use manada_herd::FindNodeError;
        Node::find(self.home.as_deref(), self.herd.as_ref(), self.node.as_ref()).map_err(|error| {
            let failure = match &error {
                FindNodeError::None => Failure::usage(&error)
                    .next("manada init, or manada join")
                    .next("or name its directory: --home DIR"),
                FindNodeError::Several { .. } => {
                    Failure::usage(&error).next("say which: --herd NAME --node NAME, or --home DIR")
                }
                FindNodeError::Home(_) | FindNodeError::File(_) => Failure::usage(&error),
            };
            as_whom(&error).into_iter().fold(failure, Failure::next)
        })
    }
}

pub(crate) fn run(args: &TokenArgs, ui: Ui) -> Result<Outcome, Failure> {
    let node = args.which.find()?;
    let lifetime = args
        .hours
        .map_or(TOKEN_LIFETIME, |hours| Duration::from_secs(hours * 3600));
    let token = block_on(async {
        let session = node.open_superuser().await.map_err(cannot_open)?;
        let program = own_program()?;
        let issued = async {
            answer_here(&node, &session, &program).await?;
            issue_token(&node, &session, lifetime, Timestamp::now()).await
        };
        issued.await.map_err(not_issued)
    })?;
    let report = TokenReport::of(&token);
    match ui.format() {
        Format::Json => ui.json(&serde_json::json!({
            "format": "manada.token/1",
            "token": report.token,
            "expires_at": report.expires_at,
        })),
        Format::Text => {
            // The token alone goes to standard output: it can be piped.
            ui.note(format!("good until {}", report.expires_at));
            ui.text(&report.token);
        }
    }
    Ok(Outcome::Done)
}

fn not_issued(error: IssueTokenError) -> Failure {
    match &error {
        IssueTokenError::Standby { .. } => Failure::refused(&error)
            .next("run it on the primary's host; manada status says which that is"),
        IssueTokenError::User(_) => Failure::refused(&error),
        IssueTokenError::Home(_)
        | IssueTokenError::Authority(_)
        | IssueTokenError::Lifetime { .. }
        | IssueTokenError::Unquotable(_)
        | IssueTokenError::Sql { .. } => Failure::failed(&error),
    }
}

/// No superuser's session with this host's server.
pub(crate) fn cannot_open(error: OpenNodeError) -> Failure {
    match &error {
        OpenNodeError::User(_) => Failure::refused(&error),
        OpenNodeError::Connect(_) => Failure::unreachable(&error).next("manada start"),
    }
}

/// A token as it is shown.
pub(super) struct TokenReport {
    pub(super) token: String,
    pub(super) expires_at: Timestamp,
}

impl TokenReport {
    pub(super) fn of(token: &Token) -> TokenReport {
        TokenReport {
            token: token.reveal().reveal().to_owned(),
            expires_at: token.expires_at,
        }
    }

    pub(super) fn text(&self) -> String {
        format!(
            "On each standby's host, until {}:\n  {}\nand paste this token, which is a secret:\n{}",
            self.expires_at,
            paint(accent::TYPE, "manada join -"),
            self.token
        )
    }
}
