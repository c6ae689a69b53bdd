//! What runs on a borrowed connection: one write transaction, one read, or a closure without restrictions.
//!
//! The error of each says what is known about the outcome. It is decided before the connection is cleaned up, because a
//! rollback removes the difference between a COMMIT that was refused and one that failed half way.

use super::connection::finding;
use super::files::{Files, Finding};
use crate::error::classify::{may_interrupt_commit, rolls_back};
use crate::error::{Cause, Error, Operation, Rescue, extended_code};
use crate::os::Os;
use rusqlite::{Connection, MAIN_DB, Transaction, TransactionBehavior, TransactionState};
use std::path::Path;

/// What a call sees of the database beside the connection.
pub(crate) struct View<'a> {
    pub(crate) path: &'a Path,
    pub(crate) files: Option<&'a Files>,
    pub(crate) os: &'a dyn Os,
}

impl View<'_> {
    /// An error if a name does not lead to the open files any more. Asked after a COMMIT: asked before, a name could
    /// still be lost in between.
    pub(crate) fn require_names(&self, conn: &Connection) -> Result<(), Error> {
        let cause = match finding(conn, self.files, self.os) {
            None => return Ok(()),
            Some(Finding::Lost(loss)) => Cause::Moved { loss, rescue: Rescue::InFile { moved_to: None } },
            Some(Finding::SecondName(names)) => Cause::SecondName { names },
        };
        Err(Error::new(self.path, Operation::Identity, cause).with_outcome_unknown(true))
    }
}

/// BEGIN IMMEDIATE, the closure, COMMIT.
///
/// IMMEDIATE takes the write lock where waiting for it is safe. A transaction that begins by reading may find at its
/// first write that its snapshot is old, and then no waiting helps.
pub(crate) fn write<T>(
    view: &View<'_>,
    conn: &mut Connection,
    body: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>,
) -> Result<T, Error> {
    let (path, conn) = (view.path, &*conn);
    let transaction = Transaction::new_unchecked(conn, TransactionBehavior::Immediate)
        .map_err(|error| Error::on(path, Operation::Begin, error, conn))?;
    // Dropping the transaction rolls it back, here and after a refused COMMIT.
    let value = body(&transaction).map_err(|error| {
        // Already over: rolled back by SQLite because of the error, or ended by the closure in an unknown way.
        let is_unknown = transaction.is_autocommit() && !extended_code(&error).is_some_and(rolls_back);
        Error::on(path, Operation::Write, error, &transaction).with_outcome_unknown(is_unknown)
    })?;
    if transaction.is_autocommit() {
        // Some errors make SQLite roll back by itself. A closure that swallowed one has written nothing, whatever it
        // says.
        return Err(Error::new(path, Operation::Commit, Cause::TransactionOver).with_outcome_unknown(true));
    }
    match transaction.execute_batch("COMMIT") {
        Ok(()) => view.require_names(&transaction).map(|()| value),
        Err(error) => {
            // Refused, the transaction is still open. Once SQLite has begun to carry out the COMMIT, it is over, and
            // the commit record may have reached the disk before the failure did.
            let is_over = transaction.is_autocommit();
            Err(Error::on(path, Operation::Commit, error, &transaction).with_outcome_unknown(is_over))
        }
    }
}

/// BEGIN, the closure, and the end of the transaction: all that the closure reads is of one moment.
pub(crate) fn read<T>(
    path: &Path,
    conn: &Connection,
    body: impl FnOnce(&Connection) -> rusqlite::Result<T>,
) -> Result<T, Error> {
    let run = |sql| conn.prepare_cached(sql).and_then(|mut statement| statement.execute([]));
    run("BEGIN").map_err(|error| Error::on(path, Operation::Begin, error, conn))?;
    let result = body(conn).map_err(|error| Error::on(path, Operation::Read, error, conn));
    let has_written =
        !matches!(conn.transaction_state(Some(MAIN_DB)), Ok(TransactionState::None | TransactionState::Read));
    if !conn.is_autocommit() {
        // If this fails, the transaction is still open, and the clean-up will see it.
        let _ = run("ROLLBACK");
    }
    match result {
        Ok(_) if has_written => Err(Error::new(path, Operation::Read, Cause::WroteInRead)),
        result => result,
    }
}

/// The closure is free to commit, so an error may come from a COMMIT that this layer has not seen.
pub(crate) fn call<T>(
    view: &View<'_>,
    conn: &mut Connection,
    body: impl FnOnce(&mut Connection) -> rusqlite::Result<T>,
) -> Result<T, Error> {
    let changes = conn.total_changes();
    match body(conn) {
        Ok(value) if conn.total_changes() == changes => Ok(value),
        Ok(value) => view.require_names(conn).map(|()| value),
        Err(error) => {
            let may_be_commit = conn.is_autocommit() && extended_code(&error).is_some_and(may_interrupt_commit);
            Err(Error::on(view.path, Operation::Call, error, conn).with_outcome_unknown(may_be_commit))
        }
    }
}
