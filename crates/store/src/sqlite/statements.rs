//! What is read and written, each in one transaction.

use std::collections::BTreeMap;

use manada_core::lease::Lease;
use manada_core::record::{Record, Revision, Versioned};
use manada_model::{HerdName, NodeName};
use rusqlite::{Connection, OptionalExtension as _, Transaction, TransactionBehavior, params};
use serde::de::DeserializeOwned;

use crate::contact::Contact;
use crate::error::Cause;
use crate::store::Snapshot;

/// What was there instead of what was expected.
pub(super) struct Found(pub(super) Option<Versioned<Record>>);

pub(super) fn read(connection: &mut Connection, herd: &HerdName) -> Result<Snapshot, Cause> {
    let transaction = connection.transaction().map_err(Cause::Sqlite)?;
    Ok(Snapshot {
        record: record(&transaction, herd)?,
        lease: lease(&transaction, herd)?,
        book: book(&transaction, herd)?,
    })
}

pub(super) fn write(
    connection: &mut Connection,
    herd: &HerdName,
    expected: Option<Revision>,
    recoveries: u32,
    text: &str,
) -> Result<Result<(Revision, Option<Lease>), Found>, Cause> {
    let transaction = begin(connection)?;
    let current = record(&transaction, herd)?;
    if current.as_ref().map(|record| record.revision) != expected {
        return Ok(Err(Found(current)));
    }
    let lease = lease(&transaction, herd)?;
    let next = expected.map_or(1, |revision| revision.0 + 1);
    let revision = Revision(next.max(first_revision(recoveries)));
    transaction
        .execute(
            "INSERT INTO record VALUES (?1, ?2, ?3) ON CONFLICT (herd) DO UPDATE SET
                 revision = excluded.revision, value = excluded.value",
            params![herd.as_str(), revision.0.cast_signed(), text],
        )
        .and_then(|_| transaction.commit())
        .map_err(Cause::Sqlite)?;
    Ok(Ok((revision, lease)))
}

/// The first revision after that many recoveries. Whoever has slept through one expects none that
/// comes again.
fn first_revision(recoveries: u32) -> u64 {
    /// More changes than a record sees in its time.
    const REVISIONS_MAX: u64 = 1 << 31;
    u64::from(recoveries) * REVISIONS_MAX + 1
}

pub(super) fn renew(
    connection: &mut Connection,
    herd: &HerdName,
    expected: Revision,
    text: &str,
) -> Result<Result<(), Found>, Cause> {
    let transaction = begin(connection)?;
    let current = record(&transaction, herd)?;
    if current.as_ref().map(|record| record.revision) != Some(expected) {
        return Ok(Err(Found(current)));
    }
    transaction
        .execute(
            "INSERT INTO lease VALUES (?1, ?2)
             ON CONFLICT (herd) DO UPDATE SET value = excluded.value",
            [herd.as_str(), text],
        )
        .and_then(|_| transaction.commit())
        .map_err(Cause::Sqlite)?;
    Ok(Ok(()))
}

pub(super) fn register(
    connection: &mut Connection,
    herd: &HerdName,
    name: &NodeName,
    text: &str,
) -> Result<(), Cause> {
    connection
        .execute(
            "INSERT INTO contact VALUES (?1, ?2, ?3)
             ON CONFLICT (herd, node) DO UPDATE SET value = excluded.value",
            [herd.as_str(), name.as_str(), text],
        )
        .map(|_| ())
        .map_err(Cause::Sqlite)
}

pub(super) fn unregister(
    connection: &mut Connection,
    herd: &HerdName,
    name: &NodeName,
) -> Result<(), Cause> {
    connection
        .execute(
            "DELETE FROM contact WHERE herd = ?1 AND node = ?2",
            [herd.as_str(), name.as_str()],
        )
        .map(|_| ())
        .map_err(Cause::Sqlite)
}

/// The lock is taken at the beginning: a transaction that reads first and writes then could
/// find that another has written in between, and would have to be run again.
fn begin(connection: &mut Connection) -> Result<Transaction<'_>, Cause> {
    connection
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(Cause::Sqlite)
}

fn record(
    transaction: &Transaction<'_>,
    herd: &HerdName,
) -> Result<Option<Versioned<Record>>, Cause> {
    let row: Option<(i64, String)> = transaction
        .prepare("SELECT revision, value FROM record WHERE herd = ?1")
        .and_then(|mut query| {
            query
                .query_row([herd.as_str()], |row| Ok((row.get(0)?, row.get(1)?)))
                .optional()
        })
        .map_err(Cause::Sqlite)?;
    let versioned = |(revision, text): (i64, String)| {
        Ok(Versioned {
            revision: Revision(revision.cast_unsigned()),
            value: parse("the herd's record", &text)?,
        })
    };
    row.map(versioned).transpose()
}

fn lease(transaction: &Transaction<'_>, herd: &HerdName) -> Result<Option<Lease>, Cause> {
    let text: Option<String> = transaction
        .prepare("SELECT value FROM lease WHERE herd = ?1")
        .and_then(|mut query| {
            query
                .query_row([herd.as_str()], |row| row.get(0))
                .optional()
        })
        .map_err(Cause::Sqlite)?;
    text.map(|text| parse("the lease", &text)).transpose()
}

fn book(
    transaction: &Transaction<'_>,
    herd: &HerdName,
) -> Result<BTreeMap<NodeName, Contact>, Cause> {
    let mut query = transaction
        .prepare("SELECT value FROM contact WHERE herd = ?1")
        .map_err(Cause::Sqlite)?;
    let rows = query
        .query_map([herd.as_str()], |row| row.get::<_, String>(0))
        .map_err(Cause::Sqlite)?;
    let mut book = BTreeMap::new();
    for text in rows {
        let contact: Contact = parse("a node's contact", &text.map_err(Cause::Sqlite)?)?;
        book.insert(contact.name.clone(), contact);
    }
    Ok(book)
}

fn parse<T: DeserializeOwned>(what: &'static str, text: &str) -> Result<T, Cause> {
    serde_json::from_str(text).map_err(|error| Cause::Malformed { what, error })
}
