//! The table that a workload writes and the oracles read: one row for each part of each transaction.
//!
//! A transaction of an actor inserts `parts` rows at once and may later update all of them to a new version or delete
//! all of them, so any mixture that a reader sees was torn apart. The secondary index and the foreign key give
//! integrity checks something to disagree about.

use crate::actor::Actor;
use rusqlite::Connection;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// Creates the table and what belongs to it; does nothing where it exists.
pub const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS ledger_actors(name TEXT PRIMARY KEY NOT NULL);
CREATE TABLE IF NOT EXISTS ledger(
  actor TEXT NOT NULL REFERENCES ledger_actors(name),
  txn INTEGER NOT NULL,
  part INTEGER NOT NULL,
  parts INTEGER NOT NULL,
  version INTEGER NOT NULL,
  payload BLOB NOT NULL,
  PRIMARY KEY(actor, txn, part));
CREATE INDEX IF NOT EXISTS ledger_by_version ON ledger(version, txn);
";

/// Names a transaction: the actor, and the number among the actor's transactions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TxnKey {
    /// The actor.
    pub actor: Actor,
    /// Its number.
    pub txn: u32,
}

impl fmt::Display for TxnKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} transaction {}", self.actor, self.txn)
    }
}

/// What a transaction's rows look like to a reader.
///
/// A closed list: every observation is one of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum TxnState {
    /// No row of it is there.
    Absent,
    /// All rows of it are there, all with this version.
    Whole(u32),
    /// Some rows are missing or of another version.
    Torn,
}

impl fmt::Display for TxnState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => f.write_str("absent"),
            Self::Whole(version) => write!(f, "version {version}"),
            Self::Torn => f.write_str("torn"),
        }
    }
}

/// The whole table as one reader saw it. Transactions that are absent have no entry.
pub type Table = BTreeMap<TxnKey, TxnState>;

/// Reads the table in one statement, hence from one snapshot.
///
/// # Errors
/// What SQLite returned; a name that is no actor's is a conversion error.
pub fn read(connection: &Connection) -> rusqlite::Result<Table> {
    // NOT INDEXED makes it walk the table itself: what an index says is integrity_check's business.
    let mut statement = connection.prepare_cached(
        "SELECT actor, txn, count(*), min(parts), max(parts), min(version), max(version)
         FROM ledger NOT INDEXED GROUP BY actor, txn",
    )?;
    let mut rows = statement.query([])?;
    let mut table = Table::new();
    while let Some(row) = rows.next()? {
        let name: String = row.get(0)?;
        let actor = name.parse().map_err(|error: crate::actor::ActorError| {
            rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Text, error.into())
        })?;
        let (count, parts_min, parts_max): (u32, u32, u32) = (row.get(2)?, row.get(3)?, row.get(4)?);
        let (version_min, version_max): (u32, u32) = (row.get(5)?, row.get(6)?);
        let whole = count == parts_min && parts_min == parts_max && version_min == version_max;
        table.insert(
            TxnKey { actor, txn: row.get(1)? },
            if whole { TxnState::Whole(version_min) } else { TxnState::Torn },
        );
    }
    Ok(table)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn key(txn: u32) -> TxnKey {
        TxnKey { actor: Actor { process: 1, thread: 1 }, txn }
    }

    #[test]
    fn whole_and_torn_transactions_are_told_apart() {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(SCHEMA).unwrap();
        connection
            .execute_batch(
                "INSERT INTO ledger_actors VALUES('p1.t1');
                 INSERT INTO ledger VALUES('p1.t1', 1, 0, 2, 7, x''), ('p1.t1', 1, 1, 2, 7, x''),
                                          ('p1.t1', 2, 0, 2, 0, x''),
                                          ('p1.t1', 3, 0, 2, 0, x''), ('p1.t1', 3, 1, 2, 1, x'');",
            )
            .unwrap();
        let expected = [(key(1), TxnState::Whole(7)), (key(2), TxnState::Torn), (key(3), TxnState::Torn)];
        assert_eq!(read(&connection).unwrap(), Table::from(expected));
    }
}
