//! A connection with the statements that the layer runs on it at every call: each is prepared once.
//!
//! They are not in rusqlite's cache. So a lookup costs nothing, and no borrower can flush them. They are finalized
//! before the connection is lent by `&mut`, with which a borrower may take it away.
//!
//! The C contracts relied upon, beside those of the parent module:
//!
//! - `sqlite3_prepare_v3(db, text, -1, flags, &statement, NULL)` (c3ref) reads up to the zero byte, and writes a
//!   statement or NULL. It stays valid until `sqlite3_finalize`, which must come before the connection is closed.
//! - `sqlite3_step` and `sqlite3_reset` (c3ref) may be called on it by the thread that uses the connection.
//! - `sqlite3_stmt_status(statement, counter, 0)` (c3ref) reads a counter of the statement.
//! - `sqlite3_errmsg(db)` and `sqlite3_errstr(code)` (c3ref) return text that ends with a zero byte. The first is valid
//!   until the next call on the connection.
#![expect(unsafe_code, reason = "the module exists for it")]

use super::watch::free_leaked_statements;
use super::{handle, last_code};
use rusqlite::{Connection, Error, ffi};
use std::cell::Cell;
use std::ffi::{CStr, c_int};
use std::ops::{Deref, DerefMut};
use std::ptr;

/// A statement that begins or ends a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kept {
    Begin,
    Commit,
    Rollback,
}

impl Kept {
    const ALL: [Kept; 3] = [Kept::Begin, Kept::Commit, Kept::Rollback];

    fn sql(self) -> &'static CStr {
        match self {
            Kept::Begin => c"BEGIN /* seawall */",
            Kept::Commit => c"COMMIT /* seawall */",
            Kept::Rollback => c"ROLLBACK /* seawall */",
        }
    }
}

/// A connection that can always be closed: statements that were leaked are freed first.
pub(crate) struct OwnedConnection {
    conn: Option<Connection>,
    /// In the order of [`Kept::ALL`]. Those that are not NULL belong to `conn`.
    statements: Statements,
}

#[derive(Default)]
struct Statements([Cell<*mut ffi::sqlite3_stmt>; Kept::ALL.len()]);

// SAFETY: the statements are used with their connection alone, which has the same owner and may be sent. SQLite lets
// any thread use both, one at a time.
unsafe impl Send for Statements {}

impl OwnedConnection {
    pub(crate) fn new(conn: Connection) -> OwnedConnection {
        OwnedConnection { conn: Some(conn), statements: Statements::default() }
    }

    /// Prepares the statement, if it is not yet.
    pub(crate) fn keep(&self, kept: Kept) -> rusqlite::Result<()> {
        self.statement(kept).map(drop)
    }

    /// Runs the statement. True if SQLite had no reason to prepare it again.
    pub(crate) fn run(&self, kept: Kept) -> rusqlite::Result<bool> {
        let statement = self.statement(kept)?;
        let prepared = || {
            // SAFETY: the statement is not finalized, and the connection is borrowed.
            unsafe { ffi::sqlite3_stmt_status(statement, ffi::SQLITE_STMTSTATUS_REPREPARE, 0) }
        };
        let before = prepared();
        // SAFETY: as above.
        let stepped = unsafe { ffi::sqlite3_step(statement) };
        // SAFETY: as above.
        let reset = unsafe { ffi::sqlite3_reset(statement) };
        match stepped {
            ffi::SQLITE_DONE if reset == ffi::SQLITE_OK => Ok(prepared() == before),
            ffi::SQLITE_DONE => Err(error(self, reset)),
            code => Err(error(self, code)),
        }
    }

    /// Closes the connection; gives it back if SQLite refuses.
    pub(crate) fn close(&mut self) -> rusqlite::Result<()> {
        self.forget_statements();
        let Some(conn) = self.conn.take() else { return Ok(()) };
        // The first attempt makes virtual tables free the statements that are their own.
        let Err((conn, _)) = conn.close() else { return Ok(()) };
        free_leaked_statements(&conn);
        conn.close().map_err(|(conn, error)| {
            self.conn = Some(conn);
            error
        })
    }

    fn statement(&self, kept: Kept) -> rusqlite::Result<*mut ffi::sqlite3_stmt> {
        let cell = &self.statements.0[kept as usize];
        if cell.get().is_null() {
            let (text, flags) = (kept.sql(), ffi::SQLITE_PREPARE_PERSISTENT);
            let mut statement = ptr::null_mut();
            // SAFETY: the connection is open and borrowed, and the text ends with a zero byte.
            let code = unsafe {
                ffi::sqlite3_prepare_v3(handle(self), text.as_ptr(), -1, flags, &raw mut statement, ptr::null_mut())
            };
            if code != ffi::SQLITE_OK {
                return Err(error(self, code));
            }
            cell.set(statement);
        }
        Ok(cell.get())
    }

    /// Finalizes the statements: the next call prepares those that it needs.
    pub(crate) fn forget_statements(&self) {
        for cell in self.statements.0.iter().filter(|cell| !cell.get().is_null()) {
            // SAFETY: no call is using the statement, and its connection is open. It is not used any more.
            unsafe { ffi::sqlite3_finalize(cell.replace(ptr::null_mut())) };
        }
    }
}

/// The error of a call that has just failed, as rusqlite says it.
fn error(conn: &Connection, code: c_int) -> Error {
    let text = if last_code(conn) == code {
        // SAFETY: the connection is open and borrowed.
        unsafe { ffi::sqlite3_errmsg(handle(conn)) }
    } else {
        // SAFETY: the function takes any number.
        unsafe { ffi::sqlite3_errstr(code) }
    };
    // SAFETY: a text that is not NULL ends with a zero byte, and it is copied at once.
    let text = (!text.is_null()).then(|| unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned());
    Error::SqliteFailure(ffi::Error::new(code), text)
}

impl Deref for OwnedConnection {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        self.conn.as_ref().expect("it is taken out by `close` alone, after which it is not used")
    }
}

impl DerefMut for OwnedConnection {
    fn deref_mut(&mut self) -> &mut Connection {
        self.forget_statements();
        self.conn.as_mut().expect("it is taken out by `close` alone, after which it is not used")
    }
}

impl Drop for OwnedConnection {
    fn drop(&mut self) {
        // One that cannot be closed stays open, as it would with rusqlite.
        let _ = self.close();
    }
}

#[cfg(test)]
mod tests {
    use super::super::watch::{is_running, statements};
    use super::*;
    use std::mem;

    fn opened() -> OwnedConnection {
        OwnedConnection::new(Connection::open_in_memory().unwrap())
    }

    #[test]
    fn a_kept_statement_runs_again_and_again() {
        let owned = opened();
        for _ in 0..3 {
            assert!(owned.run(Kept::Begin).unwrap());
            assert!(!owned.is_autocommit());
            assert!(owned.run(Kept::Commit).unwrap());
            assert!(owned.is_autocommit());
        }
        assert_eq!(statements(&owned).count(), 2, "each is prepared once");
    }

    #[test]
    fn a_kept_statement_outlives_a_change_of_the_schema() {
        let dir = tempfile::tempdir().unwrap();
        let owned = OwnedConnection::new(Connection::open(dir.path().join("x.db")).unwrap());
        let other = Connection::open(dir.path().join("x.db")).unwrap();
        for (round, conn) in [&other, &owned, &other, &owned].into_iter().enumerate() {
            Kept::ALL.into_iter().for_each(|kept| owned.keep(kept).unwrap());
            conn.execute_batch(&format!("CREATE TABLE t{round} (x); CREATE INDEX i{round} ON t{round} (x)")).unwrap();
            owned.run(Kept::Begin).unwrap();
            owned.execute_batch(&format!("INSERT INTO t{round} VALUES (1)")).unwrap();
            owned.run(Kept::Commit).unwrap();
            owned.run(Kept::Begin).unwrap();
            owned.execute_batch(&format!("DROP TABLE t{round}")).unwrap();
            owned.run(Kept::Rollback).unwrap();
            let rows = format!("SELECT count(*) FROM t{round}");
            assert_eq!(other.query_row(&rows, [], |row| row.get::<_, i64>(0)).unwrap(), 1);
        }
    }

    #[test]
    fn it_is_told_whether_sqlite_had_to_prepare_it_again() {
        let owned = opened();
        owned.keep(Kept::Rollback).unwrap();
        owned.run(Kept::Begin).unwrap();
        owned.execute_batch("PRAGMA query_only = ON").unwrap();
        assert!(!owned.run(Kept::Rollback).unwrap(), "the pragma makes SQLite prepare all again");
        owned.execute_batch("PRAGMA query_only = OFF").unwrap();
        owned.forget_statements();
        assert!(owned.run(Kept::Begin).unwrap() && owned.run(Kept::Rollback).unwrap(), "new ones are as they were");
    }

    #[test]
    fn a_refused_commit_leaves_no_statement_running() {
        let dir = tempfile::tempdir().unwrap();
        let open = || Connection::open(dir.path().join("x.db")).unwrap();
        let (owned, reader) = (OwnedConnection::new(open()), open());
        owned.execute_batch("CREATE TABLE t (x)").unwrap();
        owned.busy_timeout(std::time::Duration::ZERO).unwrap();
        for is_tried_again in [true, false] {
            reader.execute_batch("BEGIN; SELECT * FROM t").unwrap();
            owned.run(Kept::Begin).unwrap();
            owned.execute_batch("INSERT INTO t VALUES (1)").unwrap();
            let refused = owned.run(Kept::Commit).unwrap_err();
            assert_eq!(refused.sqlite_error_code(), Some(rusqlite::ErrorCode::DatabaseBusy));
            assert!(!owned.is_autocommit());
            assert!(statements(&owned).all(|statement| !is_running(statement)));
            reader.execute_batch("ROLLBACK").unwrap();
            owned.run(if is_tried_again { Kept::Commit } else { Kept::Rollback }).unwrap();
            assert!(owned.is_autocommit());
            assert_eq!(reader.query_row("SELECT count(*) FROM t", [], |row| row.get::<_, i64>(0)).unwrap(), 1);
        }
    }

    #[test]
    fn leaked_statements_are_freed_and_kept_ones_once() {
        let mut owned = opened();
        owned.execute_batch("CREATE TABLE t (x)").unwrap();
        Kept::ALL.into_iter().for_each(|kept| owned.keep(kept).unwrap());
        mem::forget(owned.prepare("SELECT * FROM t").unwrap());
        owned.close().unwrap();
        owned.close().unwrap();
    }

    #[test]
    fn its_error_is_the_one_of_rusqlite() {
        let owned = opened();
        let theirs = owned.execute("COMMIT", []).unwrap_err();
        assert_eq!(owned.run(Kept::Commit).unwrap_err().to_string(), theirs.to_string());
    }

    #[test]
    fn a_connection_that_is_taken_away_has_no_statement_of_the_layer() {
        let mut owned = opened();
        owned.run(Kept::Begin).unwrap();
        owned.run(Kept::Commit).unwrap();
        assert_eq!(statements(&owned).count(), 2);
        let taken = mem::replace(&mut *owned, Connection::open_in_memory().unwrap());
        taken.close().expect("no statement is left");
        owned.run(Kept::Begin).unwrap();
        owned.close().unwrap();
    }
}
