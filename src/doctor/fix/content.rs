//! What a database contains: integrity, pages, and for each table its rows and a digest of them.

use crate::error::describe;
use crate::quarantine::{CheckVerdict, integrity};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, Row};
use serde::Serialize;
use sha2::{Digest, Sha256};

/// The outcome of SQLite's `integrity_check`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Soundness {
    /// Nothing is wrong.
    Sound,
    /// No page is damaged, but rows or indexes contradict the schema.
    OutOfStep,
    /// A page is damaged, or it is no database.
    Damaged,
    /// It could not be checked here: a collation, a function or a module is missing, or a read has failed.
    Unknown,
}

/// The content of one table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct TableContent {
    /// Its name.
    pub name: String,
    /// How many rows could be read.
    pub rows: u64,
    /// The largest rowid, for tables that have one.
    pub last_rowid: Option<i64>,
    /// The SHA-256 of all rows; `None` if not all could be read.
    pub sha256: Option<String>,
    /// Why not all could be read.
    pub error: Option<String>,
}

/// The content of a database.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Content {
    /// The outcome of `integrity_check`.
    pub soundness: Soundness,
    /// `ok`, or the first finding.
    pub integrity: String,
    /// Size in pages.
    pub pages: u64,
    /// The rows of all tables, `sqlite_schema` left out.
    pub rows: u64,
    /// The tables by name, `sqlite_schema` and the tables of virtual ones included.
    pub tables: Vec<TableContent>,
    /// `PRAGMA user_version`.
    pub user_version: i64,
    /// `PRAGMA application_id`.
    pub application_id: i64,
}

impl Content {
    /// Reads everything.
    pub(super) fn of(conn: &Connection) -> Content {
        let (soundness, integrity) = match integrity(conn) {
            CheckVerdict::Sound => (Soundness::Sound, "ok".to_owned()),
            CheckVerdict::OutOfStep { finding } => (Soundness::OutOfStep, finding),
            CheckVerdict::Damaged { findings } => {
                (Soundness::Damaged, findings.into_iter().next().unwrap_or_else(|| "damaged".to_owned()))
            }
            CheckVerdict::Undecided { error } => (Soundness::Unknown, error),
        };
        let number = |sql: &str| conn.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap_or_default();
        let tables: Vec<TableContent> = names(conn).iter().map(|name| table(conn, name)).collect();
        Content {
            soundness,
            integrity,
            pages: u64::try_from(number("PRAGMA page_count")).unwrap_or_default(),
            rows: tables.iter().filter(|table| table.name != SCHEMA).map(|table| table.rows).sum(),
            tables,
            user_version: number("PRAGMA user_version"),
            application_id: number("PRAGMA application_id"),
        }
    }

    /// Nothing can be read.
    pub(super) fn unreadable(error: String) -> Content {
        Content {
            soundness: Soundness::Damaged,
            integrity: error,
            pages: 0,
            rows: 0,
            tables: Vec::new(),
            user_version: 0,
            application_id: 0,
        }
    }

    /// Whether both have been read whole and have the same rows in the same tables.
    pub fn is_same_as(&self, other: &Content) -> bool {
        let is_whole = self.tables.iter().all(|table| table.sha256.is_some());
        let versions = |content: &Content| (content.user_version, content.application_id);
        is_whole && !self.tables.is_empty() && self.tables == other.tables && versions(self) == versions(other)
    }
}

const SCHEMA: &str = "sqlite_schema";

/// All tables that have pages; virtual ones have none.
fn names(conn: &Connection) -> Vec<String> {
    let sql = "SELECT name FROM main.sqlite_schema WHERE type = 'table' AND rootpage > 0 ORDER BY name";
    let mut names = vec![SCHEMA.to_owned()];
    if let Ok(mut statement) = conn.prepare(sql)
        && let Ok(found) = statement.query_map([], |row| row.get(0))
    {
        names.extend(found.flatten());
    }
    names
}

fn table(conn: &Connection, name: &str) -> TableContent {
    let quoted = name.replace('"', "\"\"");
    let last_rowid = format!("SELECT max(rowid) FROM main.\"{quoted}\"");
    let last_rowid = conn.query_row(&last_rowid, [], |row| row.get::<_, Option<i64>>(0));
    let columns = if last_rowid.is_ok() { "rowid, *" } else { "*" };
    let (mut rows, mut digest) = (0, Sha256::new());
    let read = conn.prepare(&format!("SELECT {columns} FROM main.\"{quoted}\"")).and_then(|mut statement| {
        let columns = statement.column_count();
        let mut found = statement.query([])?;
        while let Some(row) = found.next()? {
            add(&mut digest, row, columns)?;
            rows += 1;
        }
        Ok(())
    });
    let error = read.err().map(|error| describe(&error));
    let sha256 = error.is_none().then(|| digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect());
    TableContent { name: name.to_owned(), rows, last_rowid: last_rowid.ok().flatten(), sha256, error }
}

/// Each value with its type and its length, so that no two rows look alike.
fn add(digest: &mut Sha256, row: &Row<'_>, columns: usize) -> rusqlite::Result<()> {
    for column in 0..columns {
        let (kind, bytes): (u8, &[u8]) = match row.get_ref(column)? {
            ValueRef::Null => (0, &[]),
            ValueRef::Integer(number) => (1, &number.to_be_bytes()),
            ValueRef::Real(number) => (2, &number.to_bits().to_be_bytes()),
            ValueRef::Text(text) => (3, text),
            ValueRef::Blob(blob) => (4, blob),
        };
        digest.update([kind]);
        digest.update((bytes.len() as u64).to_be_bytes());
        digest.update(bytes);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(sql: &str) -> Content {
        let conn = Connection::open_in_memory().unwrap();
        conn.execute_batch(sql).unwrap();
        Content::of(&conn)
    }

    const BASE: &str = "CREATE TABLE t (x, y); INSERT INTO t VALUES (1, 'a'), (2.0, x'00'), (NULL, '')";

    #[test]
    fn every_row_counts_and_every_difference_is_seen() {
        let base = content(BASE);
        assert_eq!((base.soundness, base.integrity.as_str(), base.rows), (Soundness::Sound, "ok", 3));
        let names: Vec<_> =
            base.tables.iter().map(|table| (table.name.as_str(), table.rows, table.last_rowid)).collect();
        assert_eq!(names, [("sqlite_schema", 1, Some(1)), ("t", 3, Some(3))]);
        assert!(base.is_same_as(&content(BASE)));
        for change in [
            "UPDATE t SET y = 'b' WHERE x = 1",
            "UPDATE t SET x = 2 WHERE x = 2.0",
            "UPDATE t SET y = x'' WHERE x IS NULL",
            "DELETE FROM t WHERE x = 1",
            "CREATE TABLE u (x)",
            "PRAGMA user_version = 7",
            "PRAGMA application_id = 7",
        ] {
            let changed = content(&format!("{BASE}; {change}"));
            assert!(!base.is_same_as(&changed), "{change}");
        }
    }

    #[test]
    fn tables_without_rowid_and_those_of_virtual_ones_are_read_too() {
        let sql = "CREATE TABLE k (a PRIMARY KEY, b) WITHOUT ROWID; INSERT INTO k VALUES (2, 'x'), (1, 'y');
            CREATE VIRTUAL TABLE f USING fts5 (text); INSERT INTO f VALUES ('word')";
        let content = content(sql);
        let rows = |name: &str| content.tables.iter().find(|table| table.name == name).map(|table| table.rows);
        assert_eq!((rows("k"), rows("f_content"), rows("f")), (Some(2), Some(1), None));
        assert!(content.tables.iter().all(|table| table.error.is_none()), "{content:#?}");
    }

    #[test]
    fn what_cannot_be_read_is_the_same_as_nothing() {
        let unreadable = Content::unreadable("no".to_owned());
        assert!(!unreadable.is_same_as(&unreadable.clone()));
    }
}
