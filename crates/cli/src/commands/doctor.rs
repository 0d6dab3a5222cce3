//! `manada doctor`: known mistakes in a live cluster, and what to type.

mod json;
mod text;

use clap::{Args, Subcommand, ValueEnum};
use manada_doctor::facts::{Herd, Target, gather};
use manada_doctor::{RULES, Report, Rule, Severity, examine};
use manada_herd::Survey;
use manada_model::{HerdStatus, NodeState, wording};
use manada_postgres::{Conninfo, Endpoint};

use crate::error::{Failure, Outcome};
use crate::herd_args::{HerdArgs, nobody_answered};
use crate::ui::{Format, Ui};

/// Find known mistakes in a live herd: what was seen, why it hurts, and the exact fix.
///
/// Works with any PostgreSQL 15 to 18, whether Manada made it or not; it changes nothing. A member
/// of pg_monitor sees most; what a role may not read is reported as not checked, with the right it
/// needs. The exit code is 1 where something was found that is as grave as --fail-on.
#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "\
Examples:
  manada doctor
  manada doctor --uri postgresql://watcher@db1.example,db2.example/postgres
  manada doctor --ignore MND003,MND024 --fail-on critical
  manada doctor explain MND011"
)]
pub(crate) struct DoctorArgs {
    #[command(subcommand)]
    topic: Option<Topic>,

    #[command(flatten)]
    herd: HerdArgs,

    /// Check these rules only, by id or name, separated by commas.
    #[arg(
        long, value_name = "RULE", value_delimiter = ',', value_parser = rule,
        help_heading = "Which rules"
    )]
    only: Vec<&'static Rule>,

    /// Leave these rules out.
    #[arg(
        long, value_name = "RULE", value_delimiter = ',', value_parser = rule,
        help_heading = "Which rules"
    )]
    ignore: Vec<&'static Rule>,

    /// The least grave finding that makes the exit code 1.
    #[arg(
        long, value_name = "SEVERITY", value_enum, default_value_t = FailOn::Warning,
        help_heading = "Which rules"
    )]
    fail_on: FailOn,
}

#[derive(Debug, Subcommand)]
enum Topic {
    /// Print a rule's page: why it hurts, what to do, what it reads, what it does not see.
    Explain {
        /// The rule, by id or name.
        #[arg(value_name = "RULE", value_parser = rule)]
        rule: &'static Rule,
    },
    /// List all rules.
    List,
}

/// What makes the exit code 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum FailOn {
    /// Any finding.
    Note,
    /// A warning or what is graver.
    Warning,
    /// Critical findings only.
    Critical,
    /// Nothing.
    Never,
}

/// A rule by its id, such as MND011, or by its name.
fn rule(text: &str) -> Result<&'static Rule, String> {
    let by_id = text.parse().ok().and_then(manada_doctor::find);
    let by_name = || RULES.iter().copied().find(|rule| rule.slug == text);
    by_id.or_else(by_name).ok_or_else(|| {
        format!(
            "there is no rule {:?}: see `manada doctor list`",
            wording::shown(text)
        )
    })
}

pub(crate) fn run(args: &DoctorArgs, ui: Ui) -> Result<Outcome, Failure> {
    match &args.topic {
        None => crate::block_on(check(args, ui)),
        Some(Topic::List) => {
            match ui.format() {
                Format::Text => ui.text(text::list()),
                Format::Json => ui.json(&json::list()),
            }
            Ok(Outcome::Done)
        }
        Some(Topic::Explain { rule }) => {
            match ui.format() {
                Format::Text => ui.text(text::explain(rule)),
                Format::Json => ui.json(&json::explain(rule)),
            }
            Ok(Outcome::Done)
        }
    }
}

/// What was examined, and what came of it.
struct Examination {
    herd: Herd,
    /// Servers that are known from others only and could not be asked.
    not_asked: Vec<String>,
    report: Report,
}

async fn check(args: &DoctorArgs, ui: Ui) -> Result<Outcome, Failure> {
    let survey = args.herd.target()?.survey;
    let status = survey.run().await;
    if !status.any_answered() {
        return Err(nobody_answered(&status));
    }
    let herd = gather(&targets(&survey, &status)).await;
    let chosen = RULES.iter().copied().filter(|rule| args.wants(rule));
    let report = examine(&herd, chosen);
    let failed = args.fails(&report);
    let examination = Examination {
        herd,
        not_asked: not_asked(&status),
        report,
    };
    match ui.format() {
        Format::Text => ui.text(text::render(&examination)),
        Format::Json => ui.json(&json::Document::of(&examination)),
    }
    Ok(if failed {
        Outcome::FoundWrong
    } else {
        Outcome::Done
    })
}

impl DoctorArgs {
    fn wants(&self, rule: &Rule) -> bool {
        let among = |rules: &[&Rule]| rules.iter().any(|one| one.id == rule.id);
        (self.only.is_empty() || among(&self.only)) && !among(&self.ignore)
    }

    fn fails(&self, report: &Report) -> bool {
        let least = match self.fail_on {
            FailOn::Note => Severity::Note,
            FailOn::Warning => Severity::Warning,
            FailOn::Critical => Severity::Critical,
            FailOn::Never => return false,
        };
        report.gravest().is_some_and(|gravest| gravest >= least)
    }
}

/// How to reach each server that the survey asked.
fn targets(survey: &Survey, status: &HerdStatus) -> Vec<Target> {
    let nodes = status.nodes.iter().filter_map(|node| {
        let (conninfo, peer) = match &node.state {
            NodeState::Answered(_) | NodeState::Unreachable { .. } => {
                reach(survey, node.endpoint.as_deref()?)?
            }
            NodeState::SeenByUpstream => return None,
        };
        Some(Target {
            name: node.name.clone(),
            conninfo,
            peer,
        })
    });
    nodes.collect()
}

/// The connection to the server at `endpoint`, which the survey writes as text.
fn reach(
    survey: &Survey,
    endpoint: &str,
) -> Option<(Conninfo, Option<manada_postgres::transport::Peer>)> {
    let seeds = &survey.seeds.endpoints;
    let (mut conninfo, peer) = match seeds.iter().find(|seed| seed.to_string() == endpoint) {
        Some(seed) => (survey.seeds.for_endpoint(seed.clone()), survey.peer),
        None => {
            let (host, port) = endpoint.rsplit_once(':')?;
            let host = host.trim_start_matches('[').trim_end_matches(']');
            let endpoint = Endpoint::tcp(host, port.parse().ok()?);
            (survey.others.for_endpoint(endpoint), None)
        }
    };
    conninfo.connect_timeout = conninfo.connect_timeout.min(survey.limit);
    Some((conninfo, peer))
}

/// Those that only their upstream tells of.
fn not_asked(status: &HerdStatus) -> Vec<String> {
    let seen = status.nodes.iter().filter(|node| match &node.state {
        NodeState::SeenByUpstream => true,
        NodeState::Answered(_) | NodeState::Unreachable { .. } => false,
    });
    seen.map(|node| node.name.clone()).collect()
}
