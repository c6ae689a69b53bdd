//! The database and the work, the same for every peer. Every statement is a cached one.

use crate::Failure;
use rusqlite::Connection;
use std::path::Path;
use std::time::Duration;

/// Rows of the table that is read.
pub const NOTES: i64 = 10_000;
/// Rows of a range scan.
const SCAN: i64 = 100;
/// Text of forty characters, in every row.
const TEXT: &str = "forty characters of text in every row...";

/// What a call does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// Reads a row by its key.
    PointRead,
    /// Reads 100 rows in a row.
    Scan,
    /// Commits one INSERT: `BEGIN IMMEDIATE`, `INSERT`, `COMMIT`.
    Commit,
}

impl Work {
    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::PointRead => "point reads",
            Self::Scan => "scans of 100 rows",
            Self::Commit => "commits",
        }
    }

    /// Does it for the `nth` time.
    ///
    /// # Errors
    /// SQLite's.
    ///
    /// # Panics
    /// If the answer is not the one that it must be.
    pub fn run(self, connection: &Connection, nth: i64) -> rusqlite::Result<()> {
        // A prime distance, so that consecutive reads hit different pages.
        let first = nth * 7919 % (NOTES - SCAN) + 1;
        match self {
            Self::PointRead => {
                let mut read = connection.prepare_cached("SELECT text FROM note WHERE id = ?1")?;
                let text: String = read.query_row([first], |row| row.get(0))?;
                assert_eq!(text, TEXT);
            }
            Self::Scan => {
                let mut read = connection.prepare_cached("SELECT text FROM note WHERE id BETWEEN ?1 AND ?2")?;
                let texts = read.query_map([first, first + SCAN - 1], |row| row.get::<_, String>(0))?;
                let bytes = texts.map(|text| Ok(text?.len())).sum::<rusqlite::Result<usize>>()?;
                assert_eq!(bytes, TEXT.len() * SCAN as usize);
            }
            Self::Commit => {
                for sql in ["BEGIN IMMEDIATE", INSERT, "COMMIT"] {
                    connection.prepare_cached(sql)?.execute([])?;
                }
            }
        }
        Ok(())
    }
}

/// One row more in the table that is written.
pub const INSERT: &str = "INSERT INTO log(text) VALUES ('forty characters of text in every row...')";

/// Makes a new database with both tables, and closes it.
///
/// # Errors
/// SQLite's.
pub fn create(path: &Path) -> Result<(), Failure> {
    let connection = open(path)?;
    connection.execute_batch(
        "CREATE TABLE note(id INTEGER PRIMARY KEY, text TEXT NOT NULL);
         CREATE TABLE log(id INTEGER PRIMARY KEY, text TEXT NOT NULL);",
    )?;
    let fill = "WITH RECURSIVE ids(id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM ids WHERE id < ?1)
                INSERT INTO note SELECT id, ?2 FROM ids";
    connection.execute(fill, (NOTES, TEXT))?;
    connection.close().map_err(|(_, error)| error)?;
    Ok(())
}

/// Opens a connection with the settings that all peers use.
///
/// # Errors
/// SQLite's.
pub fn open(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open(path)?;
    set_up(&connection)?;
    Ok(connection)
}

/// Sets a new connection up: WAL, every commit synced, and a busy timeout of 5 seconds.
///
/// # Errors
/// SQLite's.
pub fn set_up(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(Duration::from_secs(5))?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")
}

/// Rows of the table that is written, seen by a new connection.
///
/// # Errors
/// SQLite's.
pub fn logged(path: &Path) -> rusqlite::Result<i64> {
    open(path)?.query_row("SELECT count(*) FROM log", [], |row| row.get(0))
}
