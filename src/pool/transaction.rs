//! What runs on a borrowed connection: one write transaction, one read, or a closure without restrictions.
//!
//! The error of each says what is known about the outcome. It is decided before the connection is cleaned up, because a
//! rollback removes the difference between a COMMIT that was refused and one that failed half way.

use crate::error::classify::{may_interrupt_commit, rolls_back};
use crate::error::{Cause, Error, Operation, Rescue, extended_code};
use crate::ffi::has_moved;
use rusqlite::{Connection, MAIN_DB, Transaction, TransactionBehavior, TransactionState};
use std::path::Path;

/// BEGIN IMMEDIATE, the closure, COMMIT.
///
/// IMMEDIATE takes the write lock where waiting for it is safe. A transaction that begins by reading may find at its
/// first write that its snapshot is old, and then no waiting helps.
pub(crate) fn write<T>(
    path: &Path,
    conn: &mut Connection,
    body: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>,
) -> Result<T, Error> {
    let conn = &*conn;
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
        // Asked after the COMMIT: asked before, the file could still lose its name in between.
        Ok(()) if has_moved(&transaction) => Err(moved(path).with_outcome_unknown(true)),
        Ok(()) => Ok(value),
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
    path: &Path,
    conn: &mut Connection,
    body: impl FnOnce(&mut Connection) -> rusqlite::Result<T>,
) -> Result<T, Error> {
    let changes = conn.total_changes();
    match body(conn) {
        Ok(_) if conn.total_changes() != changes && has_moved(conn) => Err(moved(path).with_outcome_unknown(true)),
        Ok(value) => Ok(value),
        Err(error) => {
            let may_be_commit = conn.is_autocommit() && extended_code(&error).is_some_and(may_interrupt_commit);
            Err(Error::on(path, Operation::Call, error, conn).with_outcome_unknown(may_be_commit))
        }
    }
}

fn moved(path: &Path) -> Error {
    Error::new(path, Operation::Identity, Cause::Moved { rescue: Rescue::InFile })
}
