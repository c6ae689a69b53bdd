//! What runs on a borrowed connection: one write transaction, one read, or whatever the caller likes.
//!
//! Each body says in its error what it knows about the outcome. It has to say so before the connection is tidied up,
//! since a rollback wipes away the difference between a COMMIT that was refused and one that broke half way.

use crate::classify::{Operation, may_interrupt_commit};
use crate::error::{Cause, Error, extended_code};
use rusqlite::{Connection, Transaction, TransactionBehavior};
use std::path::Path;

/// BEGIN IMMEDIATE, the closure, COMMIT.
///
/// IMMEDIATE takes the write lock where waiting for it is safe. A transaction that begins by reading may find, when it
/// comes to write, that its snapshot is old, and no waiting helps then.
pub(crate) fn write<T>(
    path: &Path,
    conn: &mut Connection,
    body: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>,
) -> Result<T, Error> {
    let transaction = Transaction::new(conn, TransactionBehavior::Immediate)
        .map_err(|error| Error::sqlite(path, Operation::Begin, error))?;
    // Dropping the transaction rolls it back, here and after a refused COMMIT.
    let value = body(&transaction).map_err(|error| Error::sqlite(path, Operation::Write, error))?;
    if transaction.is_autocommit() {
        // Some errors make SQLite roll back by itself. A closure that swallowed one has written nothing, whatever it
        // says.
        return Err(Error::new(path, Operation::Commit, Cause::TransactionOver).with_outcome_unknown(true));
    }
    match transaction.execute_batch("COMMIT") {
        Ok(()) => Ok(value),
        Err(error) => {
            // Refused, the transaction is still open. Once SQLite has begun to carry out the COMMIT, it is over, and
            // the commit record may have reached the disk before the failure did.
            let is_over = transaction.is_autocommit();
            Err(Error::sqlite(path, Operation::Commit, error).with_outcome_unknown(is_over))
        }
    }
}

/// Reads do nothing that could be half done.
pub(crate) fn read<T>(
    path: &Path,
    conn: &Connection,
    body: impl FnOnce(&Connection) -> rusqlite::Result<T>,
) -> Result<T, Error> {
    body(conn).map_err(|error| Error::sqlite(path, Operation::Read, error))
}

/// The closure does as it likes, so an error may come from a COMMIT that we have not seen.
pub(crate) fn call<T>(
    path: &Path,
    conn: &mut Connection,
    body: impl FnOnce(&mut Connection) -> rusqlite::Result<T>,
) -> Result<T, Error> {
    body(conn).map_err(|error| {
        let may_be_commit = conn.is_autocommit() && extended_code(&error).is_some_and(may_interrupt_commit);
        Error::sqlite(path, Operation::Call, error).with_outcome_unknown(may_be_commit)
    })
}
