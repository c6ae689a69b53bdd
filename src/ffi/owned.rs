//! A connection with the statements that the layer runs on it at every call: each is prepared once.
//!
//! They are not in rusqlite's cache. So a lookup costs nothing, and no borrower can flush them. They are finalized
//! before the connection is lent by `&mut`, with which a borrower may take it away.
//!
//! rusqlite makes a `Transaction` by preparing a BEGIN. So the first one is kept as well, and lent again for those that
//! a kept statement begins: it is no more than a reference to the connection.
//!
//! The C contracts relied upon, beside those of the parent module:
//!
//! - `sqlite3_prepare_v3(db, text, -1, flags, &statement, NULL)` (c3ref) reads up to the zero byte, and writes a
//!   statement or NULL. It stays valid until `sqlite3_finalize`, which must come before the connection is closed.
//! - `sqlite3_step` and `sqlite3_reset` (c3ref) may be called on it by the thread that uses the connection.
//! - `sqlite3_stmt_status(statement, counter, 1)` (c3ref) reads a counter of the statement and sets it to 0.
//! - `sqlite3_errmsg(db)` and `sqlite3_errstr(code)` (c3ref) return text that ends with a zero byte. The first is valid
//!   until the next call on the connection.
#![expect(unsafe_code, reason = "the module exists for it")]

use super::watch::free_leaked_statements;
use super::{handle, last_code};
use rusqlite::{Connection, Error, Transaction, TransactionBehavior, ffi};
use std::cell::{Cell, OnceCell};
use std::ffi::{CStr, c_int};
use std::mem::ManuallyDrop;
use std::ops::{Deref, DerefMut};
use std::ptr;
use std::rc::Rc;

/// A statement that begins or ends a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kept {
    Begin,
    BeginImmediate,
    Commit,
    Rollback,
}

impl Kept {
    const ALL: [Kept; 4] = [Kept::Begin, Kept::BeginImmediate, Kept::Commit, Kept::Rollback];

    fn sql(self) -> &'static CStr {
        match self {
            Kept::Begin => c"BEGIN /* seawall */",
            Kept::BeginImmediate => c"BEGIN IMMEDIATE /* seawall */",
            Kept::Commit => c"COMMIT /* seawall */",
            Kept::Rollback => c"ROLLBACK /* seawall */",
        }
    }
}

/// A connection that can always be closed: statements that were leaked are freed first.
pub(crate) struct OwnedConnection {
    /// Never cloned. It is in an `Rc` for its address, which `transaction` has.
    conn: Option<Rc<Connection>>,
    /// In the order of [`Kept::ALL`]. Those that are not NULL belong to `conn`.
    statements: [Cell<*mut ffi::sqlite3_stmt>; Kept::ALL.len()],
    /// Borrows `conn`. Dropping it would roll back.
    transaction: OnceCell<ManuallyDrop<Transaction<'static>>>,
}

// SAFETY: the `Rc` is never cloned, so its count goes where the connection goes, which may be sent. The statements and
// the transaction are used with their connection alone. SQLite lets any thread use all of them, one at a time.
unsafe impl Send for OwnedConnection {}

/// A write transaction that has begun. It is rolled back when it is dropped, unless it has ended.
pub(crate) struct Begun<'a>(&'a OwnedConnection);

impl<'a> Deref for Begun<'a> {
    type Target = Transaction<'a>;

    fn deref(&self) -> &Transaction<'a> {
        self.0.transaction.get().expect("it was set when the transaction began")
    }
}

impl Drop for Begun<'_> {
    fn drop(&mut self) {
        if !self.0.is_autocommit() {
            // If this fails, the transaction is still open, and the clean-up will see it.
            let _ = self.0.run(Kept::Rollback);
        }
    }
}

impl OwnedConnection {
    pub(crate) fn new(conn: Connection) -> OwnedConnection {
        OwnedConnection { conn: Some(Rc::new(conn)), statements: Default::default(), transaction: OnceCell::new() }
    }

    /// Begins a transaction with the write lock.
    pub(crate) fn begin(&self) -> rusqlite::Result<Begun<'_>> {
        if self.transaction.get().is_some() {
            self.run(Kept::BeginImmediate)?;
            return Ok(Begun(self));
        }
        let conn = ptr::from_ref::<Connection>(self);
        // SAFETY: the connection stays at its address until it is closed. Before that, and before it is borrowed by
        // `&mut`, the transaction is taken away. It is lent for no longer than `self` is borrowed.
        let conn: &'static Connection = unsafe { &*conn };
        let transaction = ManuallyDrop::new(Transaction::new_unchecked(conn, TransactionBehavior::Immediate)?);
        self.transaction.get_or_init(|| transaction);
        Ok(Begun(self))
    }

    /// Prepares the statement, if it is not yet.
    pub(crate) fn keep(&self, kept: Kept) -> rusqlite::Result<()> {
        self.statement(kept).map(drop)
    }

    /// Runs the statement. True if SQLite had no reason to prepare it again.
    pub(crate) fn run(&self, kept: Kept) -> rusqlite::Result<bool> {
        let statement = self.statement(kept)?;
        // SAFETY: the statement is not finalized, and the connection is borrowed.
        let stepped = unsafe { ffi::sqlite3_step(statement) };
        // SAFETY: as above.
        let reset = unsafe { ffi::sqlite3_reset(statement) };
        // SAFETY: as above.
        let prepared = unsafe { ffi::sqlite3_stmt_status(statement, ffi::SQLITE_STMTSTATUS_REPREPARE, 1) };
        match stepped {
            ffi::SQLITE_DONE if reset == ffi::SQLITE_OK => Ok(prepared == 0),
            ffi::SQLITE_DONE => Err(error(self, reset)),
            code => Err(error(self, code)),
        }
    }

    /// Closes the connection; gives it back if SQLite refuses.
    pub(crate) fn close(&mut self) -> rusqlite::Result<()> {
        self.forget_statements();
        self.transaction.take();
        let Some(conn) = self.conn.take().and_then(Rc::into_inner) else { return Ok(()) };
        // The first attempt makes virtual tables free the statements that are their own.
        let Err((conn, _)) = conn.close() else { return Ok(()) };
        free_leaked_statements(&conn);
        conn.close().map_err(|(conn, error)| {
            self.conn = Some(Rc::new(conn));
            error
        })
    }

    fn statement(&self, kept: Kept) -> rusqlite::Result<*mut ffi::sqlite3_stmt> {
        let cell = &self.statements[kept as usize];
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
        for cell in self.statements.iter().filter(|cell| !cell.get().is_null()) {
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
        self.conn.as_deref().expect("it is taken out by `close` alone, after which it is not used")
    }
}

impl DerefMut for OwnedConnection {
    fn deref_mut(&mut self) -> &mut Connection {
        self.forget_statements();
        self.transaction.take();
        let conn = self.conn.as_mut().and_then(Rc::get_mut);
        conn.expect("it is taken out by `close` alone, after which it is not used, and never cloned")
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
    fn a_transaction_that_is_dropped_is_rolled_back_the_first_and_the_next() {
        let mut owned = opened();
        owned.execute_batch("CREATE TABLE t (x)").unwrap();
        let count =
            |conn: &Connection| conn.query_row("SELECT count(*) FROM t", [], |row| row.get::<_, i64>(0)).unwrap();
        for rows in 1..4 {
            for is_lent_between in [false, true] {
                let transaction = owned.begin().unwrap();
                assert!(!transaction.is_autocommit());
                transaction.execute_batch("INSERT INTO t VALUES (1)").unwrap();
                assert!(owned.begin().is_err(), "there is one already, and it goes on");
                drop(transaction);
                assert!(owned.is_autocommit());
                let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                    let transaction = owned.begin().unwrap();
                    transaction.execute_batch("INSERT INTO t VALUES (1)").unwrap();
                    panic!("on purpose");
                }));
                assert!(panicked.is_err() && owned.is_autocommit());
                if is_lent_between {
                    // To another address, with the same rows.
                    let (lent, other) = (&mut *owned, Connection::open_in_memory().unwrap());
                    let taken = Box::new(mem::replace(lent, other));
                    *lent = *taken;
                }
            }
            let transaction = owned.begin().unwrap();
            transaction.execute_batch("INSERT INTO t VALUES (1)").unwrap();
            owned.run(Kept::Commit).unwrap();
            drop(transaction);
            assert_eq!(count(&owned), rows);
        }
        let owned = std::thread::spawn(move || owned.begin().map(drop).map(|()| owned).unwrap()).join().unwrap();
        assert_eq!(count(&owned), 3);
    }

    #[test]
    fn a_write_lock_that_another_connection_has_is_an_error_and_then_none() {
        let dir = tempfile::tempdir().unwrap();
        let open = || Connection::open(dir.path().join("x.db")).unwrap();
        let (owned, other) = (OwnedConnection::new(open()), open());
        owned.busy_timeout(std::time::Duration::ZERO).unwrap();
        for _ in 0..2 {
            other.execute_batch("BEGIN IMMEDIATE").unwrap();
            let Err(refused) = owned.begin() else { panic!("two have the write lock") };
            assert_eq!(refused.to_string(), "database is locked");
            assert!(owned.is_autocommit() && statements(&owned).all(|statement| !is_running(statement)));
            other.execute_batch("ROLLBACK").unwrap();
            owned.begin().unwrap();
            assert!(other.execute_batch("BEGIN IMMEDIATE; ROLLBACK").is_ok(), "it is given back");
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
