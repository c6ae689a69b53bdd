//! What runs on a borrowed connection: one write transaction, one read, or a closure without restrictions.
//!
//! The error of each says what is known about the outcome. It is decided before the connection is cleaned up, because a
//! rollback removes the difference between a COMMIT that was refused and one that failed half way.

use super::connection::PooledConnection;
use super::files::Finding;
use crate::error::classify::{may_interrupt_commit, rolls_back};
use crate::error::{Cause, Error, Operation, Rescue, extended_code};
use crate::ffi::{self, Endings, Kept, pragmas};
use crate::os::Os;
use rusqlite::{Connection, Transaction, TransactionState};
use std::path::Path;

/// What a call sees of the database beside the connection.
pub(crate) struct View<'a> {
    pub(crate) path: &'a Path,
    pub(crate) os: &'a dyn Os,
}

impl View<'_> {
    /// An error if a name does not lead to the open files any more.
    pub(crate) fn require_names(&self, pooled: &PooledConnection) -> Result<(), Error> {
        let cause = match pooled.finding(self.os) {
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
    pooled: &PooledConnection,
    body: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>,
) -> Result<T, Error> {
    let (path, conn) = (view.path, &*pooled.conn);
    let begin_failed = |error| Error::on(path, Operation::Begin, error, conn);
    // Before the closure, so that its running tells whether something has changed since.
    pooled.conn.keep(Kept::Commit).map_err(begin_failed)?;
    let transaction = pooled.conn.begin().map_err(begin_failed)?;
    let before = pooled.watch().endings();
    // Dropping the transaction rolls it back, here and after a refused COMMIT.
    let value = body(&transaction).map_err(|error| {
        // If SQLite has rolled back because of the error, nothing is left. Else the closure has ended the transaction.
        let ended = ended(pooled, before);
        let by_sqlite = ended == Endings { commits: 0, rollbacks: 1 } || ended == Endings::NONE;
        let is_over = transaction.is_autocommit();
        let is_rolled_back = is_over && by_sqlite && extended_code(&error).is_some_and(rolls_back);
        let is_unknown = (is_over || ended != Endings::NONE) && !is_rolled_back;
        Error::on(path, Operation::Write, error, &transaction).with_outcome_unknown(is_unknown)
    })?;
    let ended = ended(pooled, before);
    if transaction.is_autocommit() || ended.rollbacks > 0 {
        // Some errors make SQLite roll back by itself. A closure that swallowed one has lost what it wrote, whatever it
        // says. One that has ended the transaction and begun another has lost the first, or has it committed.
        return Err(Error::new(path, Operation::Commit, Cause::TransactionOver).with_outcome_unknown(true));
    }
    match pooled.conclude(Kept::Commit) {
        Ok(()) => {
            pooled.has_written.set(true);
            Ok(value)
        }
        Err(error) => {
            // Refused, the transaction is still open. Once SQLite has begun to carry out the COMMIT, it is over, and
            // the commit record may have reached the disk before the failure did.
            let is_over = transaction.is_autocommit() || ended != Endings::NONE;
            Err(Error::on(path, Operation::Commit, error, &transaction).with_outcome_unknown(is_over))
        }
    }
}

/// BEGIN, the closure, and the end of the transaction: all that the closure reads is of one moment.
pub(crate) fn read<T>(
    path: &Path,
    pooled: &PooledConnection,
    body: impl FnOnce(&Connection) -> rusqlite::Result<T>,
) -> Result<T, Error> {
    let conn = &*pooled.conn;
    let begin_failed = |error| Error::on(path, Operation::Begin, error, conn);
    // Before the closure, so that its running tells whether something has changed since.
    pooled.conn.keep(Kept::Rollback).map_err(begin_failed)?;
    pooled.conn.run(Kept::Begin).map_err(begin_failed)?;
    let before = pooled.watch().endings();
    let result = body(conn).map_err(|error| Error::on(path, Operation::Read, error, conn));
    // VACUUM commits without the hook that counts.
    let mut has_committed = ended(pooled, before).commits > 0 || pooled.watch().bits() & pragmas::NAMELESS != 0;
    let has_written = is_writing(conn);
    // A statement that was left running outside of a transaction: closing it commits.
    has_committed |= has_written && conn.is_autocommit();
    if !conn.is_autocommit() {
        // If this fails, the transaction is still open, and the clean-up will see it.
        let _ = pooled.conclude(Kept::Rollback);
    }
    match result {
        Ok(_) if has_committed => {
            Err(Error::new(path, Operation::Read, Cause::CommittedInRead).with_outcome_unknown(true))
        }
        Ok(_) if has_written => Err(Error::new(path, Operation::Read, Cause::WroteInRead)),
        Err(error) => Err(error.with_outcome_unknown(has_committed)),
        result => result,
    }
}

/// The closure is free to commit, so an error may come from a COMMIT that this layer has not seen.
pub(crate) fn call<T>(
    view: &View<'_>,
    pooled: &mut PooledConnection,
    body: impl FnOnce(&mut Connection) -> rusqlite::Result<T>,
) -> Result<T, Error> {
    // Not the count of changed rows: the schema, pragmas, VACUUM, blobs and backups are writes, too.
    let version = ffi::data_version(&pooled.conn);
    let before = pooled.watch().endings();
    let result = body(&mut pooled.conn);
    let conn = &*pooled.conn;
    // A statement that the closure has leaked while it was running: what it has written is committed with it.
    let is_finished = !ffi::has_running_statement(conn) || ffi::reset_running_statements(conn);
    let may_have_written = ffi::data_version(conn) != version || ended(pooled, before).commits > 0;
    match result {
        Ok(_) if !is_finished => {
            Err(Error::new(view.path, Operation::Call, Cause::DanglingWrite).with_outcome_unknown(true))
        }
        Ok(value) => {
            pooled.has_written.set(may_have_written);
            Ok(value)
        }
        Err(error) => {
            let may_be_commit = conn.is_autocommit() && extended_code(&error).is_some_and(may_interrupt_commit);
            Err(Error::on(view.path, Operation::Call, error, conn).with_outcome_unknown(may_be_commit))
        }
    }
}

/// The transactions that have ended since then.
fn ended(pooled: &PooledConnection, before: Endings) -> Endings {
    pooled.watch().endings().since(before)
}

/// Whether a transaction has written to a database other than `temp`, which is the connection's own.
fn is_writing(conn: &Connection) -> bool {
    let state = |name: Option<&str>| conn.transaction_state(name);
    let is_write = |state| !matches!(state, Ok(TransactionState::None | TransactionState::Read));
    if !is_write(state(None)) {
        return false;
    }
    let names = (0..).map_while(|index| conn.db_name(index).ok());
    names.filter(|name| name != "temp").any(|name| is_write(state(Some(&name))))
}
