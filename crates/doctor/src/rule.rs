//! What a rule is.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize, Serializer};

use crate::facts::{Herd, Server, Source, Unknown};
use crate::finding::Finding;

/// One known mistake: what it looks like in the facts, why it hurts, and what to do about it.
#[derive(Debug)]
pub struct Rule {
    /// Its number, which never changes and is never used again.
    pub id: RuleId,
    /// Its name in a few words joined by `-`.
    pub slug: &'static str,
    /// What is wrong, in one line.
    pub title: &'static str,
    /// How grave it is; a finding may be said to be graver or milder.
    pub severity: Severity,
    /// What it reads, and so what a role must be allowed to read.
    pub reads: &'static [Source],
    /// Why it hurts: what happens, and when.
    pub consequence: &'static str,
    /// How it is put right, in general; a finding has the commands with the real names.
    pub remedy: &'static str,
    /// What it does not see, or when it is silent although somebody might expect a word.
    pub limits: &'static str,
    /// Where PostgreSQL's manual or sources say so.
    pub sources: &'static [&'static str],
    /// Holds it against the facts.
    pub check: Check,
}

impl Rule {
    /// The mistake is on `server`.
    pub(crate) fn on(&self, server: &Server, headline: impl Into<String>) -> Finding {
        Finding {
            server: Some(server.name.clone()),
            ..self.of_herd(headline)
        }
    }

    /// The mistake is the herd's.
    pub(crate) fn of_herd(&self, headline: impl Into<String>) -> Finding {
        Finding {
            rule: self.id,
            severity: self.severity,
            server: None,
            headline: headline.into(),
            evidence: Vec::new(),
            fix: Vec::new(),
        }
    }
}

/// What a rule looks at, one by one.
#[derive(Clone, Copy, Debug)]
pub enum Check {
    /// Every server that was reached.
    EachServer(fn(&Server, &Herd) -> Verdict),
    /// Every server that is not in recovery; there should be one.
    Primary(fn(&Server, &Herd) -> Verdict),
    /// Every server that is in recovery.
    EachStandby(fn(&Server, &Herd) -> Verdict),
    /// The herd as a whole.
    Herd(fn(&Herd) -> Verdict),
}

/// What a rule comes to: its findings, none where all is well, or the fact that it lacks.
pub type Verdict = Result<Vec<Finding>, Unknown>;

/// A rule's number, written `MND001`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RuleId(pub u16);

/// What stands before the number.
const PREFIX: &str = "MND";

impl fmt::Display for RuleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{PREFIX}{:03}", self.0))
    }
}

/// The text is no rule's id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a rule like MND001")]
pub struct ParseRuleIdError {
    text: String,
}

impl FromStr for RuleId {
    type Err = ParseRuleIdError;

    /// Reads `MND001`; letters' case and leading zeros do not matter.
    fn from_str(text: &str) -> Result<RuleId, ParseRuleIdError> {
        let number = text
            .get(..PREFIX.len())
            .filter(|prefix| prefix.eq_ignore_ascii_case(PREFIX))
            .and_then(|prefix| text.get(prefix.len()..))
            .filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))
            .and_then(|digits| digits.parse().ok());
        number.map(RuleId).ok_or_else(|| ParseRuleIdError {
            text: text.chars().take(40).collect(),
        })
    }
}

impl Serialize for RuleId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// How grave a mistake is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing; it may be meant.
    Note,
    /// It will hurt when something else happens.
    Warning,
    /// It hurts now, or the next mishap loses data or stops the service.
    Critical,
}

impl Severity {
    /// All of them, the gravest first.
    pub const GRAVEST_FIRST: [Severity; 3] =
        [Severity::Critical, Severity::Warning, Severity::Note];

    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Severity::Critical => "critical",
            Severity::Warning => "warning",
            Severity::Note => "note",
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_read_as_people_type_it() {
        assert_eq!("MND007".parse(), Ok(RuleId(7)));
        assert_eq!("mnd7".parse(), Ok(RuleId(7)));
        assert_eq!(RuleId(7).to_string(), "MND007");
        for text in ["", "MND", "7", "MND+7", "MNDx", "ñññ7", "MND99999999"] {
            assert!(text.parse::<RuleId>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn the_gravest_is_the_greatest() {
        assert!(Severity::GRAVEST_FIRST.is_sorted_by(|graver, milder| graver > milder));
    }
}
