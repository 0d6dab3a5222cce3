//! What a commit waits for: `synchronous_standby_names`, read and written as PostgreSQL does.
//!
//! Source: `syncrep_scanner.l`, `syncrep_gram.y` and `syncrep.c` of PostgreSQL 15 to 18.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;

use serde::{Deserialize, Serialize, Serializer};

/// The most standbys a policy can ask for: PostgreSQL reads the number into a C `int`.
const COUNT_MAX: u32 = i32::MAX as u32;

/// What a commit waits for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum SyncPolicy {
    /// Nothing: replication is asynchronous.
    #[default]
    Off,
    /// Standbys, by name.
    Wait(SyncRule),
}

/// How many of which standbys must have a commit before it is acknowledged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyncRule {
    /// How the standbys are chosen.
    pub method: SyncMethod,
    /// How many of them must have the commit.
    pub count: NonZeroU32,
    /// Their names, in order of priority. Never empty once parsed.
    pub names: Vec<StandbyName>,
}

/// How a [`SyncRule`] chooses among its names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SyncMethod {
    /// `FIRST`: the streaming ones that stand first in the list.
    First,
    /// `ANY`: whichever streaming ones answer first.
    Any,
}

/// One entry of the list: an `application_name`, or `*` for every standby.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct StandbyName(String);

impl SyncPolicy {
    /// `FIRST count (names)`.
    pub fn first(count: NonZeroU32, names: Vec<StandbyName>) -> SyncPolicy {
        SyncPolicy::Wait(SyncRule {
            method: SyncMethod::First,
            count,
            names,
        })
    }

    /// `ANY count (names)`.
    pub fn any(count: NonZeroU32, names: Vec<StandbyName>) -> SyncPolicy {
        SyncPolicy::Wait(SyncRule {
            method: SyncMethod::Any,
            count,
            names,
        })
    }

    /// The rule, where there is one.
    pub fn rule(&self) -> Option<&SyncRule> {
        match self {
            SyncPolicy::Off => None,
            SyncPolicy::Wait(rule) => Some(rule),
        }
    }
}

impl SyncRule {
    /// The priority PostgreSQL gives a standby of that `application_name`, as in
    /// `pg_stat_replication.sync_priority`: `None` where no entry matches.
    pub fn priority_of(&self, application_name: &str) -> Option<u32> {
        let position = self
            .names
            .iter()
            .position(|name| name.matches(application_name))?;
        Some(match self.method {
            SyncMethod::First => u32::try_from(position).unwrap_or(u32::MAX - 1) + 1,
            SyncMethod::Any => 1,
        })
    }

    /// Whether `*` is among the names.
    pub fn has_wildcard(&self) -> bool {
        self.names.iter().any(StandbyName::is_wildcard)
    }
}

impl StandbyName {
    /// The entry that matches every standby.
    pub const WILDCARD: &str = "*";

    /// An entry of any text: quoting is added when it is printed.
    pub fn new(name: impl Into<String>) -> StandbyName {
        StandbyName(name.into())
    }

    /// The name itself, unquoted.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this is `*`, which PostgreSQL takes as such even in quotes.
    pub fn is_wildcard(&self) -> bool {
        self.0 == StandbyName::WILDCARD
    }

    /// Whether PostgreSQL would count a standby of that `application_name` here: letters' case does
    /// not matter (`pg_strcasecmp`), and `*` is everybody.
    pub fn matches(&self, application_name: &str) -> bool {
        self.is_wildcard() || self.0.eq_ignore_ascii_case(application_name)
    }

    fn is_plain_identifier(&self) -> bool {
        let mut bytes = self.0.bytes();
        bytes.next().is_some_and(is_identifier_start) && bytes.all(is_identifier_part)
    }
}

impl fmt::Display for SyncPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SyncPolicy::Off => Ok(()),
            SyncPolicy::Wait(rule) => rule.fmt(f),
        }
    }
}

impl fmt::Display for SyncRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} (", self.method, self.count)?;
        for (position, name) in self.names.iter().enumerate() {
            if position > 0 {
                f.write_str(", ")?;
            }
            name.fmt(f)?;
        }
        f.write_str(")")
    }
}

impl fmt::Display for SyncMethod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SyncMethod::First => "FIRST",
            SyncMethod::Any => "ANY",
        })
    }
}

/// As it stands in the list: quoted where PostgreSQL would not read it as a name otherwise.
impl fmt::Display for StandbyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plain = self.is_wildcard() || self.is_plain_identifier() && keyword(&self.0).is_none();
        if plain {
            f.write_str(&self.0)
        } else {
            write!(f, "\"{}\"", self.0.replace('"', "\"\""))
        }
    }
}

/// The text is not a `synchronous_standby_names` that PostgreSQL would take.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseSyncPolicyError {
    /// The grammar breaks here.
    #[error("synchronous_standby_names: syntax error at or near {near:?}")]
    Syntax {
        /// The token it breaks at.
        near: String,
    },
    /// More was to come.
    #[error("synchronous_standby_names: syntax error at the end: {expected} is missing")]
    Incomplete {
        /// What was to come.
        expected: &'static str,
    },
    /// A `"` without its pair.
    #[error("synchronous_standby_names: unterminated quoted name {name:?}")]
    UnterminatedQuote {
        /// The name up to the end.
        name: String,
    },
    /// The number of standbys is 0, or more than fits.
    #[error(
        "synchronous_standby_names: the number of standbys must be 1 to {COUNT_MAX}, not {text}"
    )]
    Count {
        /// The number as written.
        text: String,
    },
}

impl FromStr for SyncPolicy {
    type Err = ParseSyncPolicyError;

    fn from_str(text: &str) -> Result<SyncPolicy, ParseSyncPolicyError> {
        // Only the empty string means "off": PostgreSQL refuses one of spaces.
        if text.is_empty() {
            return Ok(SyncPolicy::Off);
        }
        let tokens = scan(text)?;
        let mut parser = Parser { tokens: &tokens };
        let rule = parser.rule()?;
        match parser.tokens.first() {
            None => Ok(SyncPolicy::Wait(rule)),
            Some(token) => Err(token.unexpected()),
        }
    }
}

crate::serde_as_text!(SyncPolicy);

impl Serialize for StandbyName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Name(String),
    Number(String),
    Method(SyncMethod, String),
    Comma,
    Open,
    Close,
}

impl Token {
    fn unexpected(&self) -> ParseSyncPolicyError {
        let near = match self {
            Token::Name(text) | Token::Number(text) | Token::Method(_, text) => text.clone(),
            Token::Comma => ",".to_owned(),
            Token::Open => "(".to_owned(),
            Token::Close => ")".to_owned(),
        };
        ParseSyncPolicyError::Syntax { near }
    }
}

fn is_identifier_start(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte == b'_' || byte >= 0x80
}

fn is_identifier_part(byte: u8) -> bool {
    is_identifier_start(byte) || byte.is_ascii_digit() || byte == b'$'
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | b'\x0c' | b'\x0b')
}

fn keyword(text: &str) -> Option<SyncMethod> {
    if text.eq_ignore_ascii_case("first") {
        Some(SyncMethod::First)
    } else if text.eq_ignore_ascii_case("any") {
        Some(SyncMethod::Any)
    } else {
        None
    }
}

/// The longest prefix of `text` whose bytes all satisfy `belongs`. Such bytes are whole characters:
/// every byte of a multi-byte character is 0x80 or more, and those belong together or not at all.
fn take_while(text: &str, belongs: impl Fn(u8) -> bool) -> (&str, &str) {
    let end = text
        .bytes()
        .position(|byte| !belongs(byte))
        .unwrap_or(text.len());
    text.split_at(end)
}

fn scan(text: &str) -> Result<Vec<Token>, ParseSyncPolicyError> {
    let mut tokens = Vec::new();
    let mut rest = text;
    while let Some(&first) = rest.as_bytes().first() {
        let single = match first {
            b',' => Some(Token::Comma),
            b'(' => Some(Token::Open),
            b')' => Some(Token::Close),
            b'*' => Some(Token::Name(StandbyName::WILDCARD.to_owned())),
            _ => None,
        };
        if let Some(token) = single {
            tokens.push(token);
            rest = &rest[1..];
        } else if is_space(first) {
            rest = take_while(rest, is_space).1;
        } else if first == b'"' {
            let (name, after) = scan_quoted(&rest[1..])?;
            tokens.push(Token::Name(name));
            rest = after;
        } else if first.is_ascii_digit() {
            let (digits, after) = take_while(rest, |byte| byte.is_ascii_digit());
            tokens.push(Token::Number(digits.to_owned()));
            rest = after;
        } else if is_identifier_start(first) {
            let (word, after) = take_while(rest, is_identifier_part);
            tokens.push(match keyword(word) {
                Some(method) => Token::Method(method, word.to_owned()),
                None => Token::Name(word.to_owned()),
            });
            rest = after;
        } else {
            return Err(ParseSyncPolicyError::Syntax {
                near: char::from(first).to_string(),
            });
        }
    }
    Ok(tokens)
}

/// A quoted name, from after its opening quote; a quote within is doubled.
fn scan_quoted(text: &str) -> Result<(String, &str), ParseSyncPolicyError> {
    let mut name = String::new();
    let mut rest = text;
    while let Some((inside, after)) = rest.split_once('"') {
        name.push_str(inside);
        match after.strip_prefix('"') {
            Some(doubled) => {
                name.push('"');
                rest = doubled;
            }
            None => return Ok((name, after)),
        }
    }
    name.push_str(rest);
    Err(ParseSyncPolicyError::UnterminatedQuote { name })
}

struct Parser<'a> {
    tokens: &'a [Token],
}

impl Parser<'_> {
    /// `standby_config`: a bare list is `FIRST 1`, a bare number before parentheses is `FIRST`.
    fn rule(&mut self) -> Result<SyncRule, ParseSyncPolicyError> {
        let (method, count) = match self.tokens {
            [Token::Method(method, _), rest @ ..] => {
                self.tokens = rest;
                (*method, self.number()?)
            }
            [Token::Number(_), Token::Open, ..] => (SyncMethod::First, self.number()?),
            _ => {
                return Ok(SyncRule {
                    method: SyncMethod::First,
                    count: NonZeroU32::MIN,
                    names: self.names()?,
                });
            }
        };
        self.expect(&Token::Open, "(")?;
        let names = self.names()?;
        self.expect(&Token::Close, ")")?;
        // PostgreSQL looks at the number only once the grammar holds.
        let count = parse_count(&count)?;
        Ok(SyncRule {
            method,
            count,
            names,
        })
    }

    fn number(&mut self) -> Result<String, ParseSyncPolicyError> {
        match self.next("a number")? {
            Token::Number(digits) => Ok(digits.clone()),
            other => Err(other.unexpected()),
        }
    }

    fn names(&mut self) -> Result<Vec<StandbyName>, ParseSyncPolicyError> {
        let mut names = Vec::new();
        loop {
            match self.next("a standby's name")? {
                Token::Name(name) | Token::Number(name) => names.push(StandbyName(name.clone())),
                other => return Err(other.unexpected()),
            }
            match self.tokens {
                [Token::Comma, rest @ ..] => self.tokens = rest,
                _ => return Ok(names),
            }
        }
    }

    fn expect(&mut self, token: &Token, name: &'static str) -> Result<(), ParseSyncPolicyError> {
        match self.next(name)? {
            met if met == token => Ok(()),
            other => Err(other.unexpected()),
        }
    }
}

impl<'a> Parser<'a> {
    fn next(&mut self, expected: &'static str) -> Result<&'a Token, ParseSyncPolicyError> {
        let (first, rest) = self
            .tokens
            .split_first()
            .ok_or(ParseSyncPolicyError::Incomplete { expected })?;
        self.tokens = rest;
        Ok(first)
    }
}

fn parse_count(digits: &str) -> Result<NonZeroU32, ParseSyncPolicyError> {
    digits
        .parse::<NonZeroU32>()
        .ok()
        .filter(|count| count.get() <= COUNT_MAX)
        .ok_or_else(|| ParseSyncPolicyError::Count {
            text: digits.to_owned(),
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parsed(text: &str) -> SyncPolicy {
        text.parse()
            .unwrap_or_else(|error| panic!("{text:?}: {error}"))
    }

    fn names(names: &[&str]) -> Vec<StandbyName> {
        names.iter().map(|name| StandbyName::new(*name)).collect()
    }

    fn count(number: u32) -> NonZeroU32 {
        NonZeroU32::new(number).expect("not zero")
    }

    #[test]
    fn every_form_of_the_grammar_is_read() {
        let first = |number, list: &[&str]| SyncPolicy::first(count(number), names(list));
        let any = |number, list: &[&str]| SyncPolicy::any(count(number), names(list));
        assert_eq!(parsed(""), SyncPolicy::Off);
        assert_eq!(parsed("a"), first(1, &["a"]));
        assert_eq!(parsed(" a , b\t"), first(1, &["a", "b"]));
        assert_eq!(parsed("*"), first(1, &["*"]));
        assert_eq!(parsed("2 (a, b, c)"), first(2, &["a", "b", "c"]));
        assert_eq!(parsed("2(a,b)"), first(2, &["a", "b"]));
        assert_eq!(parsed("First 2 (a, b)"), first(2, &["a", "b"]));
        assert_eq!(parsed("any 1(a,b)"), any(1, &["a", "b"]));
        assert_eq!(parsed("ANY 1 (*)"), any(1, &["*"]));
        assert_eq!(parsed("7"), first(1, &["7"]));
        assert_eq!(parsed("7, 8"), first(1, &["7", "8"]));
        assert_eq!(parsed("007 (7)"), first(7, &["7"]));
        assert_eq!(
            parsed(r#""any", "a""b", """#),
            first(1, &["any", "a\"b", ""])
        );
        assert_eq!(parsed("firsts, any_"), first(1, &["firsts", "any_"]));
        assert_eq!(parsed("ñu$1, _x"), first(1, &["ñu$1", "_x"]));
        assert_eq!(parsed("\"a\nb\""), first(1, &["a\nb"]));
    }

    #[test]
    fn what_postgresql_refuses_is_refused() {
        for text in [
            " ",
            "any",
            "first",
            "any, a",
            "a, first",
            "ANY 1",
            "ANY (a)",
            "ANY 1 ()",
            "ANY 1 (a",
            "ANY 1 (a))",
            "1 (a) b",
            "a b",
            "a,",
            ",a",
            "1a",
            "a-b",
            "$a",
            "'a'",
            "\"a",
            "0 (a)",
            "ANY 0 (a)",
            "ANY -1 (a)",
            "ANY 1 (a;b)",
            "99999999999 (a)",
            "2147483648 (a)",
            "()",
        ] {
            assert!(text.parse::<SyncPolicy>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn names_match_regardless_of_case_and_a_star_matches_all() {
        let rule = parsed("FIRST 1 (Db_1, db_2)");
        let rule = rule.rule().expect("a rule");
        assert_eq!(rule.priority_of("dB_1"), Some(1));
        assert_eq!(rule.priority_of("DB_2"), Some(2));
        assert_eq!(rule.priority_of("db_3"), None);
        let rule = parsed("ANY 1 (a, \"*\")");
        assert_eq!(rule.rule().expect("a rule").priority_of("whoever"), Some(1));
    }

    fn any_policy() -> impl Strategy<Value = SyncPolicy> {
        let name = prop_oneof![
            "[a-z_][a-z0-9_$]{0,5}",
            "[0-9]{1,4}",
            r#"[ "*,()'\\;ñ\na-c]{0,6}"#,
            Just("first".to_owned()),
            Just("ANY".to_owned()),
            Just("*".to_owned()),
        ];
        let names = proptest::collection::vec(name.prop_map(StandbyName::new), 1..5);
        let count = (1..=COUNT_MAX).prop_map(count);
        let method = prop_oneof![Just(SyncMethod::First), Just(SyncMethod::Any)];
        (method, count, names).prop_map(|(method, count, names)| {
            SyncPolicy::Wait(SyncRule {
                method,
                count,
                names,
            })
        })
    }

    proptest! {
        #[test]
        fn what_is_printed_parses_back(policy in any_policy()) {
            prop_assert_eq!(policy.to_string().parse::<SyncPolicy>(), Ok(policy));
        }

        #[test]
        fn any_text_is_read_or_refused_and_never_panics(text in r#"[a-b12 ,()"*anyfirstñ$-]{0,20}"#) {
            if let Ok(policy) = text.parse::<SyncPolicy>() {
                prop_assert_eq!(policy.to_string().parse::<SyncPolicy>(), Ok(policy));
            }
        }
    }
}
