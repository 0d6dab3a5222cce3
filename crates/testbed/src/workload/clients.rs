//! What each kind of client does, over and over.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::sleep;

use super::session::{Answer, OpenSession};
use super::{Manners, Server, TABLE};
use crate::checker::{Read, Recorder, Write, WriteOutcome};

/// How many of the last numbers a read asks for.
const READ_BACK: u64 = 1000;

/// The sequences of a reader's markers begin here: no writer gets so far.
const READERS_SESSION: u32 = 1_000_000;

/// One client.
pub(super) struct Client {
    pub(super) servers: Vec<Server>,
    pub(super) manners: Manners,
    pub(super) recorder: Arc<Recorder>,
    pub(super) stop: Arc<AtomicBool>,
    pub(super) session: u32,
}

impl Client {
    /// Writes to whoever is the primary.
    pub(super) async fn write(self) {
        let mut open: Option<OpenSession> = None;
        let mut sequence = 0;
        while self.goes_on() {
            let Some(session) = self.open_read_write(open.take()).await else {
                continue;
            };
            sequence += 1;
            match self.insert(&session, sequence).await {
                WriteOutcome::Acknowledged { .. } => {
                    open = Some(session);
                    self.pause().await;
                }
                // What refuses is no primary any more.
                WriteOutcome::Refused | WriteOutcome::Unknown => {
                    sleep(self.manners.retry_pause).await
                }
            }
        }
    }

    /// Writes to its one server as long as the session holds, whatever that server is.
    pub(super) async fn write_settled(self) {
        let mut open: Option<OpenSession> = None;
        let mut sequence = 0;
        while self.goes_on() {
            let kept = open.take().filter(|session| !session.is_closed());
            let session = match kept {
                Some(session) => Some(session),
                None => OpenSession::with(&self.servers[0], self.manners, &self.recorder).await,
            };
            let Some(session) = session else {
                sleep(self.manners.retry_pause).await;
                continue;
            };
            sequence += 1;
            match self.insert(&session, sequence).await {
                WriteOutcome::Acknowledged { .. } => {
                    open = Some(session);
                    self.pause().await;
                }
                WriteOutcome::Refused => {
                    open = Some(session);
                    sleep(self.manners.retry_pause).await;
                }
                WriteOutcome::Unknown => sleep(self.manners.retry_pause).await,
            }
        }
    }

    /// Reads what whoever is the primary shows, half of the time in a transaction whose commit
    /// proves that it still was the primary.
    pub(super) async fn read(self) {
        let mut open: Option<OpenSession> = None;
        let mut confirmed = false;
        while self.goes_on() {
            let Some(session) = self.open_read_write(open.take()).await else {
                continue;
            };
            confirmed = !confirmed;
            if self.look(&session, confirmed).await {
                open = Some(session);
            }
            self.pause().await;
        }
    }

    async fn open_read_write(&self, kept: Option<OpenSession>) -> Option<OpenSession> {
        if let Some(session) = kept.filter(|session| !session.is_closed()) {
            return Some(session);
        }
        OpenSession::read_write(&self.servers, self.manners, &self.recorder).await
    }

    async fn insert(&self, session: &OpenSession, sequence: u32) -> WriteOutcome {
        let number = self.recorder.number();
        let sql = format!(
            "INSERT INTO {TABLE} VALUES ({number}, {0}, {sequence})
             RETURNING (SELECT max(sequence) FROM {TABLE} WHERE session = {0})",
            self.session
        );
        let invoked = self.recorder.now();
        let outcome = match session.run(&sql, self.manners.statement_max).await {
            Answer::Rows(rows) => WriteOutcome::Acknowledged {
                before: first(&rows).and_then(|text| text.parse().ok()),
            },
            Answer::Refused => WriteOutcome::Refused,
            Answer::Unknown | Answer::InDoubt => WriteOutcome::Unknown,
        };
        self.recorder.wrote(Write {
            number,
            session: self.session,
            sequence,
            node: session.node.clone(),
            opened: session.opened,
            invoked,
            ended: self.recorder.now(),
            outcome,
        });
        outcome
    }

    /// Whether the session is still good.
    async fn look(&self, session: &OpenSession, confirmed: bool) -> bool {
        let from = self.recorder.next_number().saturating_sub(READ_BACK);
        let marker = confirmed.then(|| self.recorder.number());
        let numbers = format!(
            "SELECT coalesce(string_agg(number::text, ','), '') FROM {TABLE} WHERE number >= {from}"
        );
        let sql = match marker {
            Some(marker) => format!(
                "INSERT INTO {TABLE} VALUES ({marker}, {READERS_SESSION}, {marker})
                 RETURNING ({numbers})"
            ),
            None => numbers,
        };
        let invoked = self.recorder.now();
        let answer = session.run(&sql, self.manners.statement_max).await;
        let ended = self.recorder.now();
        if let Some(number) = marker {
            self.recorder.wrote(Write {
                number,
                // Each marker is a session of its own: readers share no order.
                session: READERS_SESSION + u32::try_from(number).expect("few numbers"),
                sequence: 1,
                node: session.node.clone(),
                opened: session.opened,
                invoked,
                ended,
                outcome: match &answer {
                    Answer::Rows(_) => WriteOutcome::Acknowledged { before: None },
                    Answer::Refused => WriteOutcome::Refused,
                    Answer::Unknown | Answer::InDoubt => WriteOutcome::Unknown,
                },
            });
        }
        let Answer::Rows(rows) = answer else {
            return false;
        };
        let seen = first(&rows).map_or_else(BTreeSet::new, |text| numbers_in(&text));
        self.recorder.read(Read {
            node: session.node.clone(),
            invoked,
            ended,
            confirmed,
            from,
            seen,
        });
        true
    }

    fn goes_on(&self) -> bool {
        !self.stop.load(Ordering::Relaxed)
    }

    async fn pause(&self) {
        if self.manners.pause > Duration::ZERO {
            sleep(self.manners.pause).await;
        }
    }
}

fn first(rows: &[Vec<Option<String>>]) -> Option<String> {
    rows.first()?.first()?.clone()
}

/// Reads what `string_agg` has put together.
fn numbers_in(text: &str) -> BTreeSet<u64> {
    text.split(',')
        .filter(|word| !word.is_empty())
        .map(|word| word.parse().expect("the column is a number"))
        .collect()
}
