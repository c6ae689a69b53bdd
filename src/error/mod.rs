//! The crate's error type: opaque, with predicates and a message that says what to do next.

mod borrower;
mod cause;
pub mod classify;
mod degraded_reason;
mod loss;
mod next_step;
mod printable;
mod quarantine_error;

pub use borrower::{BorrowKind, Borrower};
pub(crate) use cause::Cause;
pub use classify::{Class, Operation};
pub use degraded_reason::DegradedReason;
pub(crate) use loss::{Loss, Rescue};
pub(crate) use printable::{PrintablePath, count, printable};
pub(crate) use quarantine_error::QuarantineError;

use crate::ffi::{last_code, pid, system_errno};
use classify::{classify, code_name, errno_name, is_disk_full, is_out_of_descriptors, primary};
use rusqlite::{Connection, ffi};
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fmt, io};

/// Why a call did not give a result.
///
/// The message names the path, the step, the extended result code and the errno where it is known, and what to do next.
/// An error that the caller's own closure returned comes back inside; see [`Error::sqlite_error`].
///
/// The [guide](crate::guide#what-to-do-about-an-error) has a table of what to do.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// # let store = seawall::Store::open(dir.path().join("x.db"))?;
/// let error = store.write(|tx| tx.execute("INSERT INTO nowhere VALUES (1)", [])).unwrap_err();
/// assert_eq!((error.operation(), error.class()), (seawall::Operation::Write, seawall::Class::GiveUp));
/// assert!(!error.is_transient() && !error.outcome_unknown());
/// assert_eq!(error.extended_code(), Some(1));
/// assert!(error.to_string().contains("no such table: nowhere"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Error {
    // Boxed, so that `Result` stays small on the good path.
    inner: Box<Inner>,
}

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    operation: Operation,
    cause: Cause,
    errno: Option<i32>,
    outcome_unknown: bool,
    /// Whether the connection said the same when the closure returned.
    is_of_connection: bool,
    /// Whether the database itself was asked, and answered.
    is_elsewhere: bool,
    /// The process that holds the lock that was waited for.
    lock_owner: Option<LockOwner>,
}

/// The owner of a lock that keeps a call from going on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LockOwner {
    /// Another process.
    Process(u32),
    /// Another connection of this process.
    Own,
}

impl Error {
    pub(crate) fn new(path: &Path, operation: Operation, cause: Cause) -> Error {
        let path = path.to_owned();
        let (outcome_unknown, is_of_connection, is_elsewhere) = (false, false, false);
        let (errno, lock_owner) = (None, None);
        let inner =
            Inner { path, operation, cause, errno, outcome_unknown, is_of_connection, is_elsewhere, lock_owner };
        Error { inner: Box::new(inner) }
    }

    /// An error of SQLite on a connection that knows the system's reason.
    pub(crate) fn on(path: &Path, operation: Operation, error: rusqlite::Error, conn: &Connection) -> Error {
        let has_reason =
            extended_code(&error).is_some_and(|code| matches!(primary(code), ffi::SQLITE_CANTOPEN | ffi::SQLITE_IOERR));
        let errno = if has_reason { system_errno(conn) } else { None };
        let is_of_connection = extended_code(&error) == Some(last_code(conn));
        let mut error = Error::sqlite(path, operation, error).with_errno(errno);
        error.inner.is_of_connection = is_of_connection;
        error
    }

    /// The failure is not of this database: it was asked after the failure, and answered.
    pub(crate) fn with_elsewhere(mut self, is_elsewhere: bool) -> Error {
        self.inner.is_elsewhere = is_elsewhere;
        self
    }

    pub(crate) fn with_lock_owner(mut self, owner: Option<LockOwner>) -> Error {
        self.inner.lock_owner = owner;
        self
    }

    /// Whether the connection had the same code when the caller's closure returned. If not, the error is not of this
    /// connection, or another call has succeeded since.
    pub(crate) fn is_of_connection(&self) -> bool {
        self.inner.is_of_connection
    }

    /// Whether the database answers, and the failure is of something else.
    pub(crate) fn is_elsewhere(&self) -> bool {
        self.inner.is_elsewhere
    }

    /// Whether the database did not answer: what the breaker counts.
    pub(crate) fn is_outage(&self) -> bool {
        self.fault().is_availability() && !self.is_moved() && !self.is_elsewhere()
    }

    pub(crate) fn with_errno(mut self, errno: Option<i32>) -> Error {
        self.inner.errno = errno;
        self
    }

    pub(crate) fn sqlite(path: &Path, operation: Operation, error: rusqlite::Error) -> Error {
        Error::new(path, operation, Cause::Sqlite(error))
    }

    pub(crate) fn with_outcome_unknown(mut self, outcome_unknown: bool) -> Error {
        self.inner.outcome_unknown = outcome_unknown;
        self
    }

    /// What to do about it.
    pub fn class(&self) -> Class {
        if self.inner.outcome_unknown { Class::OutcomeUnknown } else { self.fault() }
    }

    /// Another connection or process holds a lock; nothing was changed, and the same call may work later.
    pub fn is_busy(&self) -> bool {
        match &self.inner.cause {
            Cause::FirstConnectTimeout { .. }
            | Cause::HeldElsewhere { .. }
            | Cause::Claimed { .. }
            | Cause::AcquireTimeout { .. }
            | Cause::TooManyWaiting { .. } => true,
            _ => self.extended_code().is_some_and(is_busy_code),
        }
    }

    /// The same call may work later, and running it again cannot do anything twice.
    pub fn is_transient(&self) -> bool {
        matches!(self.class(), Class::RetryNow | Class::RetryLater | Class::Reopen | Class::Degrade)
    }

    /// The database was not called, because it has not answered before. See [`Error::retry_after`].
    pub fn is_breaker_open(&self) -> bool {
        matches!(self.inner.cause, Cause::BreakerOpen { .. })
    }

    /// The call's writes may be durable or may be gone: read before you write them again.
    ///
    /// Exact for [`write`](crate::Cache::write), where the crate itself commits: true only if the file has lost its
    /// name, the closure has ended the transaction itself (also if it has begun another), or COMMIT failed after
    /// SQLite had begun to carry it out.
    /// Conservative for [`with_connection`](crate::Cache::with_connection), whose closure owns its transactions: true
    /// for any error of an I/O kind that leaves no transaction open. For [`read`](crate::Cache::read) true only if the
    /// closure has committed a write, which is refused, but cannot be taken back.
    pub fn outcome_unknown(&self) -> bool {
        self.inner.outcome_unknown
    }

    /// SQLite reported malformed content. Unconfirmed: a misread page looks the same.
    pub fn is_corruption(&self) -> bool {
        self.fault() == Class::Quarantine
    }

    /// SQLite may read and not write. It decides that when a connection is opened or first looks at its wal-index, and
    /// does not ask again, so only another connection notices that the reason is gone.
    pub(crate) fn is_read_only(&self) -> bool {
        self.extended_code().is_some_and(|code| primary(code) == ffi::SQLITE_READONLY)
    }

    /// SQLite's extended result code, if SQLite was involved.
    pub fn extended_code(&self) -> Option<i32> {
        match &self.inner.cause {
            Cause::Sqlite(error)
            | Cause::HeldElsewhere { busy: error, .. }
            | Cause::Migration { error, .. }
            | Cause::Moved { rescue: Rescue::Pending(error) | Rescue::Unreadable(error), .. } => extended_code(error),
            Cause::Quarantined { error, .. } | Cause::NotQuarantined { error, .. } => error.extended_code(),
            _ => None,
        }
    }

    /// The operating system's reason, where it is known: for files that cannot be opened, read or written.
    pub fn errno(&self) -> Option<i32> {
        match &self.inner.cause {
            Cause::Io(error) | Cause::LockFile { error, .. } | Cause::NoDirectory { error, .. } => error.raw_os_error(),
            _ => self.inner.errno,
        }
    }

    /// The process that holds the lock of SQLite that the call waited for, as far as the system shows it: another
    /// one, or this one with another connection.
    pub fn lock_holder(&self) -> Option<u32> {
        match self.inner.lock_owner? {
            LockOwner::Process(pid) => Some(pid),
            LockOwner::Own => Some(pid()),
        }
    }

    /// The borrowers of the connections that the caller waited for, or that could not be closed.
    pub fn borrowers(&self) -> &[Borrower] {
        match &self.inner.cause {
            Cause::StillBorrowed(borrowers) => borrowers,
            Cause::AcquireTimeout { borrower: Some(borrower), .. } => std::slice::from_ref(borrower),
            _ => &[],
        }
    }

    /// The file under the connection has lost its name: another file is at the path, or none. Or its log or wal-index
    /// has. The rows of the old one are safe: in the file under its new name ([`moved_to`](Error::moved_to)) or, if it
    /// has none, in [`rescued_to`](Error::rescued_to). The next call opens what is there now.
    pub fn is_moved(&self) -> bool {
        matches!(self.inner.cause, Cause::Moved { .. }) || self.extended_code() == Some(ffi::SQLITE_READONLY_DBMOVED)
    }

    /// Where the rows of a deleted file, or of a deleted log, have been copied to.
    pub fn rescued_to(&self) -> Option<&Path> {
        match &self.inner.cause {
            Cause::Moved { rescue: Rescue::Copied { to, .. }, .. } => Some(to),
            _ => None,
        }
    }

    /// Where the file is now that has lost its name, if it has another one. Its log is beside it, if it has one.
    pub fn moved_to(&self) -> Option<&Path> {
        match &self.inner.cause {
            Cause::Moved { rescue: Rescue::InFile { moved_to }, .. } => moved_to.as_deref(),
            _ => None,
        }
    }

    /// Another process uses files of the database with others than are there now.
    pub(crate) fn is_claimed(&self) -> bool {
        matches!(self.inner.cause, Cause::Claimed { .. })
    }

    /// Which name was lost.
    pub(crate) fn loss(&self) -> Option<Loss> {
        match &self.inner.cause {
            Cause::Moved { loss, .. } => Some(*loss),
            _ => (self.extended_code() == Some(ffi::SQLITE_READONLY_DBMOVED)).then_some(Loss::Database),
        }
    }

    /// The disk had no room: this write met that, or an earlier one did and this one was not tried.
    pub fn is_disk_full(&self) -> bool {
        match &self.inner.cause {
            Cause::DiskFull { .. } => true,
            _ => is_disk_full(self.code_or_cantopen(), self.errno()),
        }
    }

    /// The process, or the system, has as many files open as it may.
    pub fn is_out_of_descriptors(&self) -> bool {
        is_out_of_descriptors(self.code_or_cantopen(), self.errno())
    }

    /// Where the damaged database was moved to, if this error reports the move.
    pub fn quarantined_to(&self) -> Option<&Path> {
        match &self.inner.cause {
            Cause::Quarantined { bundle, .. } => Some(bundle),
            _ => None,
        }
    }

    /// The store was closed by [`close`](crate::Store::close).
    pub fn is_closed(&self) -> bool {
        matches!(self.inner.cause, Cause::Closed)
    }

    /// The file's schema is newer than this program.
    pub fn is_schema_newer(&self) -> bool {
        matches!(self.inner.cause, Cause::SchemaNewer { .. })
    }

    /// How long a retry is useless: the circuit is open, or the disk was full. `None` also if the circuit is forced
    /// open, until its mode is changed.
    pub fn retry_after(&self) -> Option<Duration> {
        match self.inner.cause {
            Cause::BreakerOpen { retry_after } => retry_after,
            Cause::DiskFull { retry_after } => Some(retry_after),
            _ => None,
        }
    }

    /// The database: its canonical path once that is known, else the path as given.
    pub fn path(&self) -> &Path {
        &self.inner.path
    }

    /// The step that failed.
    pub fn operation(&self) -> Operation {
        self.inner.operation
    }

    /// The error of SQLite or of the caller's own closure.
    pub fn sqlite_error(&self) -> Option<&rusqlite::Error> {
        match &self.inner.cause {
            Cause::Sqlite(error) | Cause::Migration { error, .. } => Some(error),
            _ => None,
        }
    }

    /// A file that the system refused is judged as SQLite would have reported it.
    fn code_or_cantopen(&self) -> i32 {
        self.extended_code().unwrap_or(ffi::SQLITE_CANTOPEN)
    }

    fn cause(&self) -> &Cause {
        &self.inner.cause
    }

    /// The error of SQLite by value.
    pub(crate) fn into_sqlite(self) -> Option<rusqlite::Error> {
        match self.inner.cause {
            Cause::Sqlite(error) => Some(error),
            _ => None,
        }
    }

    /// The nature of the failure, whatever became of the transaction. The breaker and the connection are judged by
    /// this.
    pub(crate) fn fault(&self) -> Class {
        match &self.inner.cause {
            Cause::Sqlite(error) => match (extended_code(error), self.inner.operation) {
                (Some(code), Operation::Commit) => classify(code, self.errno(), Operation::Write),
                (Some(code), operation) => classify(code, self.errno(), operation),
                (None, _) => Class::GiveUp,
            },
            Cause::Migration { error, .. } => {
                extended_code(error).map_or(Class::GiveUp, |code| classify(code, self.errno(), Operation::Migrate))
            }
            Cause::LockFile { error, .. } if error.kind() == io::ErrorKind::InvalidInput => Class::GiveUp,
            // The file system would refuse SQLite in the same way.
            Cause::Io(_) | Cause::LockFile { .. } | Cause::NoDirectory { .. } => {
                classify(ffi::SQLITE_CANTOPEN, self.errno(), self.inner.operation)
            }
            Cause::Moved { .. } => Class::Reopen,
            Cause::Quarantined { .. } | Cause::NotQuarantined { .. } => Class::Quarantine,
            Cause::Quarantine(why) if why.is_busy() => Class::RetryLater,
            Cause::BreakerOpen { .. }
            | Cause::FirstConnectTimeout { .. }
            | Cause::HeldElsewhere { .. }
            | Cause::Claimed { .. }
            | Cause::AcquireTimeout { .. }
            | Cause::DiskFull { .. }
            | Cause::TooManyWaiting { .. }
            | Cause::StillBorrowed(_) => Class::RetryLater,
            Cause::Directory
            | Cause::Missing
            | Cause::NoFile(_)
            | Cause::HardLinked { .. }
            | Cause::OtherSettings { .. }
            | Cause::OrphanedLog { .. }
            | Cause::ForeignLog { .. }
            | Cause::SecondName { .. }
            | Cause::PathTooLong { .. }
            | Cause::NoWal { .. }
            | Cause::SchemaNewer { .. }
            | Cause::ForeignKeys { .. }
            | Cause::Closed
            | Cause::NoRuntime
            | Cause::Quarantine(_)
            | Cause::Reentrant(_)
            | Cause::ForkedChild { .. }
            | Cause::TransactionOver
            | Cause::DanglingWrite
            | Cause::WroteInRead
            | Cause::CommittedInRead => Class::GiveUp,
        }
    }
}

/// About a lock file that cannot be used; `is_there` if it exists and may not be opened.
impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { path, operation, cause, lock_owner, .. } = &*self.inner;
        // A message is one line, whatever a path or a text of SQLite has in it.
        let cause = cause.to_string();
        write!(f, "{}: {operation} failed: {}", PrintablePath(path), printable(&cause))?;
        if let Some(errno) = self.inner.errno {
            let name = errno_name(errno).map(|name| format!(", {name}")).unwrap_or_default();
            write!(f, " ({}{name})", io::Error::from_raw_os_error(errno))?;
        }
        match lock_owner {
            Some(LockOwner::Process(pid)) => write!(f, "; process {pid} holds the lock")?,
            Some(LockOwner::Own) => f.write_str("; another connection of this process holds the lock")?,
            None => {}
        }
        write!(f, "; {}", self.advice())
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.inner.cause {
            Cause::Sqlite(error) | Cause::HeldElsewhere { busy: error, .. } | Cause::Migration { error, .. } => {
                Some(error)
            }
            Cause::Io(error) | Cause::LockFile { error, .. } | Cause::NoDirectory { error, .. } => Some(error),
            Cause::Quarantined { error, .. } | Cause::NotQuarantined { error, .. } => Some(error),
            _ => None,
        }
    }
}

/// The extended code inside rusqlite's error, if it came from SQLite.
pub(crate) fn extended_code(error: &rusqlite::Error) -> Option<i32> {
    match error {
        rusqlite::Error::SqliteFailure(error, _) | rusqlite::Error::SqlInputError { error, .. } => {
            Some(error.extended_code)
        }
        _ => None,
    }
}

/// Whether the code says that another connection or process holds a lock.
pub(crate) fn is_busy_code(code: i32) -> bool {
    matches!(primary(code), ffi::SQLITE_BUSY | ffi::SQLITE_LOCKED)
}

/// An error with its code's name.
pub(crate) fn describe(error: &rusqlite::Error) -> String {
    match extended_code(error) {
        Some(code) => format!("{} ({code}): {error}", code_name(code)),
        None => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(operation: Operation, code: i32, outcome_unknown: bool, expected: &str) {
        let source = rusqlite::Error::SqliteFailure(ffi::Error::new(code), Some("text of SQLite".into()));
        let error = Error::sqlite(Path::new("/d/x.db"), operation, source).with_outcome_unknown(outcome_unknown);
        assert_eq!(error.to_string(), expected);
        assert_eq!(error.extended_code(), Some(code));
        assert!(std::error::Error::source(&error).is_some());
    }

    #[test]
    fn the_message_says_where_what_and_what_next() {
        check(
            Operation::Configure,
            5386,
            false,
            "/d/x.db: setting up the connection failed: IOERR_SHMMAP (5386): text of SQLite; \
             the next call opens a new connection",
        );
        check(
            Operation::Commit,
            1034,
            true,
            "/d/x.db: COMMIT failed: IOERR_FSYNC (1034): text of SQLite; \
             the writes may or may not be durable: read before writing them again",
        );
        check(
            Operation::Begin,
            5,
            false,
            "/d/x.db: BEGIN IMMEDIATE failed: BUSY (5): text of SQLite; try again later, or raise the busy timeout",
        );
    }

    #[test]
    fn an_unknown_outcome_is_never_transient() {
        let source = || rusqlite::Error::SqliteFailure(ffi::Error::new(778), None);
        let error = Error::sqlite(Path::new("x"), Operation::Call, source());
        assert!(error.is_transient() && !error.outcome_unknown());
        let error = error.with_outcome_unknown(true);
        assert!(!error.is_transient() && error.outcome_unknown());
        assert_eq!((error.class(), error.fault()), (Class::OutcomeUnknown, Class::Reopen));
    }

    #[test]
    fn a_full_disk_in_commit_is_unknown_but_no_outage() {
        let source = rusqlite::Error::SqliteFailure(ffi::Error::new(13), None);
        let error = Error::sqlite(Path::new("x"), Operation::Commit, source).with_outcome_unknown(true);
        assert_eq!(error.class(), Class::OutcomeUnknown);
        assert!(!error.fault().is_availability());
    }

    #[test]
    fn an_open_circuit_says_how_long_or_who_can_close_it() {
        let open = |retry_after| Error::new(Path::new("x"), Operation::Open, Cause::BreakerOpen { retry_after });
        let for_a_while = open(Some(Duration::from_secs(2)));
        assert_eq!(for_a_while.retry_after(), Some(Duration::from_secs(2)));
        assert!(for_a_while.to_string().contains("is open for another 2s"), "{for_a_while}");
        let forced = open(None);
        assert!(forced.is_breaker_open() && forced.retry_after().is_none());
        assert!(forced.to_string().contains("is forced open; set the breaker's mode"), "{forced}");
    }
}
