//! Connections and statements of any engine.

use crate::engine::error::SqlError;
use crate::engine::ffi::{Handle, Interrupter, Prepared};
use crate::engine::value::Value;
use rusqlite::ffi;
use std::borrow::Cow;
use std::fmt;

/// A connection of any engine, with extended result codes. Dropping it closes it.
///
/// It may be sent to another thread, but used by one at a time only.
pub struct Db {
    handle: Handle,
}

/// How much a checkpoint does, and whom it waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CheckpointMode {
    /// What is possible without waiting.
    Passive,
    /// All frames; waits for writers.
    Full,
    /// Full, and waits for the readers of the log, so that the next writer restarts it.
    Restart,
    /// Restart, and truncates the log.
    Truncate,
}

/// What transaction a connection is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum TransactionState {
    /// None, or one that has touched nothing yet.
    None,
    /// One that reads.
    Read,
    /// One that writes.
    Write,
}

/// What a step came to.
///
/// A closed list: what `sqlite3_step` returns on success.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StepResult {
    /// The statement stands on a row.
    Row,
    /// The statement has ended.
    Done,
}

impl Db {
    pub(super) fn new(handle: Handle) -> Self {
        Self { handle }
    }

    /// Executes all statements of the text. Rows are ignored.
    ///
    /// # Errors
    /// That of the first statement that failed; those behind it have not been executed.
    pub fn execute(&self, sql: &str) -> Result<(), SqlError> {
        self.handle.execute(sql)
    }

    /// All rows of one statement.
    ///
    /// # Errors
    /// What SQLite answers; MISUSE if the text is not one statement.
    pub fn query(&self, sql: &str) -> Result<Vec<Vec<Value>>, SqlError> {
        let mut statement = self.prepare(sql)?;
        let mut rows = Vec::new();
        while statement.step()? == StepResult::Row {
            rows.push((0..statement.columns()).map(|column| statement.value(column)).collect());
        }
        Ok(rows)
    }

    /// The first column of the first row, as an integer. `None` if there is no row, or it holds NULL. Further rows are
    /// not asked for.
    ///
    /// # Errors
    /// As for [`Self::query`].
    pub fn query_int(&self, sql: &str) -> Result<Option<i64>, SqlError> {
        let mut statement = self.prepare(sql)?;
        if statement.step()? == StepResult::Done || statement.is_null(0) {
            return Ok(None);
        }
        Ok(Some(statement.int(0)))
    }

    /// Compiles one statement, for repeated use.
    ///
    /// # Errors
    /// As for [`Self::query`].
    pub fn prepare(&self, sql: &str) -> Result<Statement<'_>, SqlError> {
        Ok(Statement { prepared: self.handle.prepare(sql)? })
    }

    /// How long a statement waits for another connection's lock. Zero is not at all.
    ///
    /// # Errors
    /// What SQLite answers.
    pub fn busy_timeout(&self, ms: u32) -> Result<(), SqlError> {
        self.handle.busy_timeout(i32::try_from(ms).unwrap_or(i32::MAX))
    }

    /// True if no transaction was begun.
    pub fn is_autocommit(&self) -> bool {
        self.handle.is_autocommit()
    }

    /// The state of the transaction, the greatest of all attached databases. `None` for versions before 3.34, which
    /// cannot tell.
    pub fn transaction_state(&self) -> Option<TransactionState> {
        self.handle.txn_state().map(|state| match state {
            ffi::SQLITE_TXN_READ => TransactionState::Read,
            ffi::SQLITE_TXN_WRITE => TransactionState::Write,
            _ => TransactionState::None,
        })
    }

    /// How many rows the last INSERT, UPDATE or DELETE changed.
    pub fn changes(&self) -> i32 {
        self.handle.changes()
    }

    /// The rowid of the last INSERT.
    pub fn last_insert_rowid(&self) -> i64 {
        self.handle.last_insert_rowid()
    }

    /// The extended result code of the last call.
    pub fn extended_code(&self) -> i32 {
        self.handle.extended_code()
    }

    /// The errno of the last failure of a system call, even if it is long ago.
    pub fn system_errno(&self) -> i32 {
        self.handle.system_errno()
    }

    /// Checkpoints the main database: the result code, the frames in the log, and how many of them are in the database
    /// file now. The numbers are -1 where there is no log or the code is an error other than BUSY.
    pub fn wal_checkpoint_v2(&self, mode: CheckpointMode) -> (i32, i32, i32) {
        self.handle.checkpoint(match mode {
            CheckpointMode::Passive => ffi::SQLITE_CHECKPOINT_PASSIVE,
            CheckpointMode::Full => ffi::SQLITE_CHECKPOINT_FULL,
            CheckpointMode::Restart => ffi::SQLITE_CHECKPOINT_RESTART,
            CheckpointMode::Truncate => ffi::SQLITE_CHECKPOINT_TRUNCATE,
        })
    }

    /// Makes the statements that are running return INTERRUPT.
    pub fn interrupt(&self) {
        self.handle.interrupter().interrupt();
    }

    /// A handle to interrupt this connection with from elsewhere.
    pub fn interrupter(&self) -> Interrupter {
        self.handle.interrupter().clone()
    }

    /// Closes the connection, and says what went wrong.
    ///
    /// # Errors
    /// BUSY if a statement was leaked, and the connection with it. What fails in the checkpoint of the last close is
    /// not told by SQLite.
    pub fn close(self) -> Result<(), SqlError> {
        self.handle.close()
    }
}

impl fmt::Debug for Db {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Db").finish_non_exhaustive()
    }
}

/// A compiled statement. Parameters are counted from 1 and columns from 0, as SQLite does.
pub struct Statement<'db> {
    prepared: Prepared<'db>,
}

impl Statement<'_> {
    /// Goes to the next row. After the last one, or after an error, the next step begins anew.
    ///
    /// # Errors
    /// What SQLite answers.
    #[inline]
    pub fn step(&mut self) -> Result<StepResult, SqlError> {
        let result = self.prepared.step();
        if !matches!(result, Ok(true)) {
            // At once, and not when the caller remembers: a statement that is not reset keeps its locks.
            self.prepared.reset();
        }
        result.map(|is_row| if is_row { StepResult::Row } else { StepResult::Done })
    }

    /// Steps to the end. Rows are ignored.
    ///
    /// # Errors
    /// As for [`Self::step`].
    pub fn execute(&mut self) -> Result<(), SqlError> {
        while self.step()? == StepResult::Row {}
        Ok(())
    }

    /// Leaves the row and gives back the locks. The parameters stay bound.
    pub fn reset(&mut self) {
        self.prepared.reset();
    }

    /// Makes all parameters NULL.
    pub fn clear_bindings(&mut self) {
        self.prepared.clear_bindings();
    }

    /// Binds NULL.
    ///
    /// # Errors
    /// RANGE if there is no such parameter, MISUSE if the statement stands on a row; so for all of these.
    pub fn bind_null(&mut self, index: usize) -> Result<(), SqlError> {
        self.prepared.bind_null(index)
    }

    /// Binds an integer.
    ///
    /// # Errors
    /// As for [`Self::bind_null`].
    pub fn bind_int(&mut self, index: usize, value: i64) -> Result<(), SqlError> {
        self.prepared.bind_int(index, value)
    }

    /// Binds a floating-point number.
    ///
    /// # Errors
    /// As for [`Self::bind_null`].
    pub fn bind_real(&mut self, index: usize, value: f64) -> Result<(), SqlError> {
        self.prepared.bind_real(index, value)
    }

    /// Binds a copy of a text.
    ///
    /// # Errors
    /// As for [`Self::bind_null`]; TOOBIG beyond 2 GiB.
    pub fn bind_text(&mut self, index: usize, value: &str) -> Result<(), SqlError> {
        self.prepared.bind_text(index, value)
    }

    /// Binds a copy of a blob.
    ///
    /// # Errors
    /// As for [`Self::bind_text`].
    pub fn bind_blob(&mut self, index: usize, value: &[u8]) -> Result<(), SqlError> {
        self.prepared.bind_blob(index, value)
    }

    /// Binds a value of any kind.
    ///
    /// # Errors
    /// As for [`Self::bind_text`].
    pub fn bind(&mut self, index: usize, value: &Value) -> Result<(), SqlError> {
        match value {
            Value::Null => self.bind_null(index),
            Value::Integer(value) => self.bind_int(index, *value),
            Value::Real(value) => self.bind_real(index, *value),
            Value::Text(value) => self.bind_text(index, value),
            Value::Blob(value) => self.bind_blob(index, value),
        }
    }

    /// How many columns the row has; 0 if the statement stands on none.
    pub fn columns(&self) -> usize {
        self.prepared.columns()
    }

    /// The column as an integer, converted as SQLite converts.
    ///
    /// # Panics
    /// If the statement stands on no row, or the row has no such column; so for all of these.
    #[track_caller]
    #[inline]
    pub fn int(&self, column: usize) -> i64 {
        self.prepared.int(column)
    }

    /// The column as a floating-point number.
    ///
    /// # Panics
    /// As [`Self::int`].
    #[track_caller]
    pub fn real(&self, column: usize) -> f64 {
        self.prepared.real(column)
    }

    /// True if the column is NULL.
    ///
    /// # Panics
    /// As [`Self::int`].
    #[track_caller]
    pub fn is_null(&self, column: usize) -> bool {
        self.prepared.kind(column) == ffi::SQLITE_NULL
    }

    /// The column as text. What is not UTF-8 in it is replaced by U+FFFD.
    ///
    /// # Panics
    /// As [`Self::int`].
    #[track_caller]
    pub fn text(&mut self, column: usize) -> Cow<'_, str> {
        String::from_utf8_lossy(self.prepared.text(column))
    }

    /// The column as bytes, without a copy.
    ///
    /// # Panics
    /// As [`Self::int`].
    #[track_caller]
    pub fn blob(&mut self, column: usize) -> &[u8] {
        self.prepared.blob(column)
    }

    /// A copy of the column.
    ///
    /// # Panics
    /// As [`Self::int`].
    #[track_caller]
    pub fn value(&mut self, column: usize) -> Value {
        self.prepared.value(column)
    }
}

impl fmt::Debug for Statement<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Statement").field("columns", &self.columns()).finish_non_exhaustive()
    }
}
