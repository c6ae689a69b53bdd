//! What to do about an error: a reviewed table over every result code of SQLite.
//!
//! The extended code alone often does not decide. `CANTOPEN` may mean "no such directory" or "out of descriptors", and
//! the same `IOERR` is harmless in a read and undecidable in a COMMIT. So the judgement takes the code, the errno where
//! it is known, and the operation that failed. Codes that are not in this table are judged by their primary code, and
//! unknown primary codes are given up on: nothing is retried without a review.
//!
//! # The errno
//!
//! SQLite keeps an errno for two families only, CANTOPEN and IOERR; what `sqlite3_system_errno` says after any other
//! code is left over from an earlier failure and is not looked at. Nor is it after `IOERR_SHORT_READ` (522), which no
//! system call has failed with. `FULL` (13) has none and needs none. For the rest, where the code says Reopen or, for
//! the wal-index, Degrade:
//!
//! | errno | CANTOPEN while finding the file | CANTOPEN | IOERR | wal-index | wal-index of a writer |
//! |---|---|---|---|---|---|
//! | none, EIO, ENXIO, ESTALE, EINVAL | Reopen | Reopen | Reopen | Degrade | Degrade |
//! | EINTR | RetryNow | RetryNow | RetryNow | RetryNow | RetryNow |
//! | EAGAIN | RetryLater | RetryLater | RetryLater | RetryLater | RetryLater |
//! | EMFILE, ENFILE | RetryLater | RetryLater | RetryLater | RetryLater | RetryLater |
//! | ENOMEM, EBUSY, ETIMEDOUT | RetryLater | RetryLater | RetryLater | Degrade | Degrade |
//! | ENOSPC, EDQUOT, EFBIG | RetryLater | RetryLater | RetryLater | Degrade | RetryLater |
//! | EACCES, EPERM, EROFS | GiveUp | GiveUp | GiveUp | Degrade | Degrade |
//! | ENOTDIR, EISDIR, ENAMETOOLONG, ELOOP, EEXIST | GiveUp | GiveUp | GiveUp | Degrade | Degrade |
//! | ENOENT | GiveUp | Reopen | Reopen | Degrade | Degrade |
//!
//! Why, row by row:
//!
//! - The device, the mount or the server did not answer: only a new descriptor can tell whether it is back. An errno
//!   that has not been reviewed is treated the same, so that it counts as an outage and does not go unnoticed.
//! - A signal has come and gone. SQLite repeats most interrupted calls by itself, but not all.
//! - "Not now" says that another operation has to end first, so there is a pause.
//! - The process or the system has too many files open. The database is well, so this must not open its circuit, and a
//!   degraded connection would need descriptors too.
//! - Memory is short, or another process holds the file. Exclusive mode keeps the wal-index on the heap and maps
//!   nothing, so for the wal-index it is still the way out.
//! - The disk is full, and the database says so: no outage. A wal-index that cannot grow does not prevent *reading* in
//!   exclusive mode. A *writer* would gain nothing there: the log needs room as well. It is told that the disk is full
//!   instead, and keeps its connection; after three such writes "circuit open" would hide the reason.
//! - Rights, and a file system that has become read-only, do not come back by trying. Exclusive mode needs none of
//!   them for the `-shm`.
//! - The path itself is wrong. The wal-index has the same path but for its ending, and may be the only wrong one.
//! - While the file is being found, directories are created, so one that is still missing cannot be. Later, a
//!   directory that was there has been taken away, as by an unmounted volume: the very outage that the circuit is for.
//!
//! # The operation
//!
//! - A COMMIT that fails is in doubt, whatever the reason, unless SQLite refused it before it had begun to write.
//! - `NOTADB` on a connection that has worked before says more about its descriptor than about the file: Reopen.
//! - While a connection is set up, CANTOPEN means a side file, since the file itself has been opened by then. Recovery
//!   tries exclusive mode for it whatever the errno; the table says what to do when that does not help.

use rusqlite::ffi;
use std::fmt;

/// What the caller, or the connection layer on the caller's behalf, should do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Class {
    /// Not a failure: success, rows, notices for the log.
    Notice,
    /// Start again at once: the statement or transaction lost a race that is already over.
    RetryNow,
    /// Start again after a pause: another connection holds a lock, or memory, disk or descriptors are short.
    RetryLater,
    /// Close the connection and open a new one: the files behind it did not answer.
    Reopen,
    /// The wal-index (`-shm`) does not serve: reopen, and if that fails too, go on without it in exclusive mode.
    Degrade,
    /// Trying again changes nothing: wrong SQL, wrong rights, a violated constraint.
    GiveUp,
    /// A COMMIT failed half way: the transaction is durable or it is not, and only reading tells.
    OutcomeUnknown,
    /// SQLite says that the content is malformed. Confirm it on a new connection, then put the file aside whole, with
    /// its `-wal`. Unconfirmed it may be a misread page; or a read that failed with EIO, which SQLite's Unix VFS also
    /// reports as malformed content.
    Quarantine,
}

impl Class {
    /// Whether the circuit breaker counts it: the database's files did not answer.
    ///
    /// Busy databases, full disks, constraints and malformed content do not count. In those cases the file is there
    /// and says so, and hiding that behind "circuit open" would only take away the better message.
    pub fn is_availability(self) -> bool {
        matches!(self, Class::Reopen | Class::Degrade)
    }

    /// Whether a live connection that reported it is closed rather than used again. Malformed content counts here,
    /// since it may sit in the connection's page cache alone.
    pub fn discards_connection(self) -> bool {
        self.is_availability() || self == Class::Quarantine
    }
}

/// The step that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Operation {
    /// Finding the canonical path and creating the parent directory.
    Resolve,
    /// Waiting for the lock that serialises first connects between processes.
    FirstConnect,
    /// Opening the database file.
    Open,
    /// The pragmas of a new connection, and its first read.
    Configure,
    /// The caller's init closure.
    Init,
    /// The migrations of the schema.
    Migrate,
    /// Waiting for a connection that another caller has borrowed.
    Borrow,
    /// Asking whether the open file still has its name.
    Identity,
    /// The closure of `with_connection`, which owns its transactions.
    Call,
    /// The closure of `read`.
    Read,
    /// BEGIN IMMEDIATE of `write`.
    Begin,
    /// The closure of `write`.
    Write,
    /// COMMIT of `write`.
    Commit,
    /// Moving a damaged database out of the way, or filling its successor.
    Recover,
    /// A checkpoint asked for by the caller.
    Checkpoint,
    /// Closing connections.
    Close,
}

impl Operation {
    /// Whether the step belongs to opening a connection, where trying again is safe.
    pub fn is_opening(self) -> bool {
        matches!(self, Operation::Open | Operation::Configure)
    }

    /// Whether the caller's closure was not reached: there was no connection for it.
    pub fn precedes_closure(self) -> bool {
        self.is_opening()
            || matches!(self, Operation::Resolve | Operation::FirstConnect | Operation::Init | Operation::Migrate)
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Operation::Resolve => "finding the file",
            Operation::FirstConnect => "waiting for the first-connect lock",
            Operation::Open => "opening the file",
            Operation::Configure => "setting up the connection",
            Operation::Init => "the init closure",
            Operation::Migrate => "migrating the schema",
            Operation::Borrow => "waiting for the connection",
            Operation::Identity => "checking which file it is",
            Operation::Call => "the caller's closure",
            Operation::Read => "the read closure",
            Operation::Begin => "BEGIN IMMEDIATE",
            Operation::Write => "the write closure",
            Operation::Commit => "COMMIT",
            Operation::Recover => "recovering the database",
            Operation::Checkpoint => "the checkpoint",
            Operation::Close => "closing the connection",
        })
    }
}

/// Judges an extended result code.
///
/// `errno` is the operating system's reason, where one is known; it separates what passes (descriptors, interrupts)
/// from what stays (rights, a read-only file system). 0 stands for none.
///
/// ```
/// use seawall::error::classify::{Class, Operation, classify, code_name};
///
/// assert_eq!(classify(5, None, Operation::Begin), Class::RetryLater);
/// assert_eq!(classify(1034, None, Operation::Commit), Class::OutcomeUnknown);
/// assert_eq!(code_name(4874), "IOERR_SHMSIZE");
/// ```
pub fn classify(extended_code: i32, errno: Option<i32>, operation: Operation) -> Class {
    let class = refine(listed(extended_code), reason(extended_code, errno), operation);
    match operation {
        Operation::Commit if class != Class::Notice && !is_refused_before_commit(extended_code) => {
            Class::OutcomeUnknown
        }
        // On a connection that has worked before, "not a database" says more about the descriptor than about the file.
        Operation::Call | Operation::Read | Operation::Begin | Operation::Write
            if primary(extended_code) == ffi::SQLITE_NOTADB =>
        {
            Class::Reopen
        }
        _ => class,
    }
}

/// Whether there is no room left for the file: the disk is full, a quota is used up, or the file has reached the size
/// that the process, the file system or `max_page_count` allows.
pub fn is_disk_full(extended_code: i32, errno: Option<i32>) -> bool {
    primary(extended_code) == ffi::SQLITE_FULL || reason(extended_code, errno) == Some(Reason::Full)
}

/// Whether the process or the system has as many files open as it may.
pub fn is_out_of_descriptors(extended_code: i32, errno: Option<i32>) -> bool {
    reason(extended_code, errno) == Some(Reason::Descriptors)
}

/// The symbol of an errno that this module tells apart, such as `ENOSPC`.
pub fn errno_name(errno: i32) -> Option<&'static str> {
    ERRNOS.iter().find(|row| row.errno == errno).map(|row| row.name)
}

/// SQLite's name of a result code, without the `SQLITE_` in front; unknown codes get the name of their primary code.
pub fn code_name(extended_code: i32) -> &'static str {
    row(extended_code).or_else(|| row(primary(extended_code))).map_or("UNKNOWN", |row| row.name)
}

/// The primary code inside an extended one.
pub(crate) fn primary(extended_code: i32) -> i32 {
    extended_code & 0xff
}

/// Whether the code belongs to the wal-index: mapping, growing, opening or locking the `-shm` file.
pub(crate) fn is_wal_index(extended_code: i32) -> bool {
    listed(extended_code) == Class::Degrade
}

/// Whether a COMMIT hidden in a caller's closure may have failed with it half way. Wider than need be: the same codes
/// also come from statements that were never near a COMMIT.
pub(crate) fn may_interrupt_commit(extended_code: i32) -> bool {
    matches!(primary(extended_code), ffi::SQLITE_IOERR | ffi::SQLITE_FULL | ffi::SQLITE_NOMEM | ffi::SQLITE_CORRUPT)
}

/// Whether SQLite may roll a transaction back by itself with this code (lang_transaction, "Response To Errors Within A
/// Transaction"; a constraint with ON CONFLICT ROLLBACK).
pub(crate) fn rolls_back(extended_code: i32) -> bool {
    matches!(
        primary(extended_code),
        ffi::SQLITE_FULL
            | ffi::SQLITE_IOERR
            | ffi::SQLITE_NOMEM
            | ffi::SQLITE_BUSY
            | ffi::SQLITE_INTERRUPT
            | ffi::SQLITE_CONSTRAINT
            | ffi::SQLITE_CORRUPT
    )
}

fn listed(extended_code: i32) -> Class {
    row(extended_code).or_else(|| row(primary(extended_code))).map_or(Class::GiveUp, |row| row.class)
}

fn row(extended_code: i32) -> Option<&'static Row> {
    TABLE.iter().find(|row| row.code == extended_code)
}

/// Codes with which SQLite refuses a COMMIT before a byte of it is on its way to the disk.
fn is_refused_before_commit(extended_code: i32) -> bool {
    matches!(
        primary(extended_code),
        ffi::SQLITE_BUSY
            | ffi::SQLITE_LOCKED
            | ffi::SQLITE_CONSTRAINT
            | ffi::SQLITE_ERROR
            | ffi::SQLITE_MISUSE
            | ffi::SQLITE_AUTH
            | ffi::SQLITE_SCHEMA
            | ffi::SQLITE_INTERRUPT
    )
}

/// What the errno says, if it belongs to the code: see the module's description.
fn reason(extended_code: i32, errno: Option<i32>) -> Option<Reason> {
    let has_errno = matches!(primary(extended_code), ffi::SQLITE_IOERR | ffi::SQLITE_CANTOPEN)
        && extended_code != ffi::SQLITE_IOERR_SHORT_READ;
    let row = ERRNOS.iter().find(|row| Some(row.errno) == errno)?;
    has_errno.then_some(row.reason)
}

fn refine(class: Class, reason: Option<Reason>, operation: Operation) -> Class {
    let Some(reason) = reason else { return class };
    let is_writer = matches!(operation, Operation::Begin | Operation::Write);
    match (class, reason) {
        (Class::Reopen | Class::Degrade, Reason::Interrupted) => Class::RetryNow,
        (Class::Reopen | Class::Degrade, Reason::NotNow | Reason::Descriptors) => Class::RetryLater,
        (Class::Reopen, Reason::Memory | Reason::Held | Reason::Full) => Class::RetryLater,
        (Class::Degrade, Reason::Full) if is_writer => Class::RetryLater,
        (Class::Reopen, Reason::Rights | Reason::Path) => Class::GiveUp,
        (Class::Reopen, Reason::Missing) if operation == Operation::Resolve => Class::GiveUp,
        _ => class,
    }
}

/// What an errno means to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reason {
    /// A signal came.
    Interrupted,
    /// Something has to end first.
    NotNow,
    /// Too many open files.
    Descriptors,
    /// Too little memory.
    Memory,
    /// Another process holds it, or released it too late.
    Held,
    /// No room for the file.
    Full,
    /// No right to it.
    Rights,
    /// No such path can be.
    Path,
    /// Nothing at the path.
    Missing,
    /// The device, the mount or the server.
    Device,
}

struct ErrnoRow {
    errno: i32,
    name: &'static str,
    reason: Reason,
}

macro_rules! errnos {
    ($($reason:ident: $($name:ident)+;)+) => {
        &[$($(ErrnoRow { errno: libc::$name, name: stringify!($name), reason: Reason::$reason },)+)+]
    };
}

/// Every errno that changes a judgement, and those of devices, for their names.
const ERRNOS: &[ErrnoRow] = errnos! {
    Interrupted: EINTR;
    NotNow: EAGAIN;
    Descriptors: EMFILE ENFILE;
    Memory: ENOMEM;
    Held: EBUSY ETIMEDOUT;
    Full: ENOSPC EDQUOT EFBIG;
    Rights: EACCES EPERM EROFS;
    Path: ENOTDIR EISDIR ENAMETOOLONG ELOOP EEXIST;
    Missing: ENOENT;
    Device: EIO ENXIO ESTALE;
};

struct Row {
    code: i32,
    name: &'static str,
    class: Class,
}

macro_rules! table {
    ($($class:ident: $($name:ident)+;)+) => {
        &[$($(Row { code: ffi::$name, name: stringify!($name).split_at("SQLITE_".len()).1, class: Class::$class },)+)+]
    };
}

/// Every result code of SQLite 3.54.
const TABLE: &[Row] = table! {
    Notice: SQLITE_OK SQLITE_OK_LOAD_PERMANENTLY SQLITE_OK_SYMLINK SQLITE_ROW SQLITE_DONE SQLITE_NOTICE
        SQLITE_NOTICE_RECOVER_WAL SQLITE_NOTICE_RECOVER_ROLLBACK SQLITE_NOTICE_RBU SQLITE_WARNING
        SQLITE_WARNING_AUTOINDEX;

    // BUSY_SNAPSHOT: the snapshot is older than the database; no waiting helps, a new transaction does.
    RetryNow: SQLITE_BUSY_SNAPSHOT SQLITE_SCHEMA SQLITE_ABORT_ROLLBACK SQLITE_ERROR_RETRY;

    // PROTOCOL: too many races for the wal-index's locks.
    RetryLater: SQLITE_BUSY SQLITE_BUSY_RECOVERY SQLITE_BUSY_TIMEOUT SQLITE_LOCKED SQLITE_LOCKED_SHAREDCACHE
        SQLITE_LOCKED_VTAB SQLITE_PROTOCOL SQLITE_NOMEM SQLITE_IOERR_NOMEM SQLITE_IOERR_BLOCKED SQLITE_FULL;

    // CANTOPEN_FULLPATH: a part of the path did not answer. DELETE_NOENT: another process has unlinked a side file.
    // READONLY_DBMOVED: the file under the connection has another name by now, or none.
    Reopen: SQLITE_CANTOPEN SQLITE_CANTOPEN_FULLPATH SQLITE_CANTOPEN_DIRTYWAL SQLITE_READONLY_DBMOVED SQLITE_IOERR
        SQLITE_IOERR_READ SQLITE_IOERR_SHORT_READ SQLITE_IOERR_WRITE SQLITE_IOERR_FSYNC SQLITE_IOERR_DIR_FSYNC
        SQLITE_IOERR_TRUNCATE SQLITE_IOERR_FSTAT SQLITE_IOERR_UNLOCK SQLITE_IOERR_RDLOCK SQLITE_IOERR_DELETE
        SQLITE_IOERR_ACCESS SQLITE_IOERR_CHECKRESERVEDLOCK SQLITE_IOERR_LOCK SQLITE_IOERR_CLOSE
        SQLITE_IOERR_DIR_CLOSE SQLITE_IOERR_SEEK SQLITE_IOERR_DELETE_NOENT SQLITE_IOERR_MMAP SQLITE_IOERR_VNODE
        SQLITE_IOERR_BEGIN_ATOMIC SQLITE_IOERR_COMMIT_ATOMIC SQLITE_IOERR_ROLLBACK_ATOMIC SQLITE_IOERR_IN_PAGE;

    // The READONLY ones mean a `-shm` that this process may not write: exclusive mode does without it.
    Degrade: SQLITE_IOERR_SHMOPEN SQLITE_IOERR_SHMSIZE SQLITE_IOERR_SHMLOCK SQLITE_IOERR_SHMMAP
        SQLITE_READONLY_RECOVERY SQLITE_READONLY_CANTLOCK SQLITE_READONLY_CANTINIT;

    // INTERRUPT is a request of the caller. READONLY_ROLLBACK and READONLY_DIRECTORY: a rollback journal that may not
    // be played back, or made. SNAPSHOT: that snapshot is gone for ever. EMPTY, FORMAT and AUTH_USER are not used.
    // NOTEMPDIR, GETTEMPPATH: there is no directory for temporary files, until one is made.
    GiveUp: SQLITE_ERROR SQLITE_ERROR_MISSING_COLLSEQ SQLITE_ERROR_SNAPSHOT SQLITE_ERROR_RESERVESIZE
        SQLITE_ERROR_KEY SQLITE_ERROR_UNABLE SQLITE_INTERNAL SQLITE_PERM SQLITE_ABORT SQLITE_READONLY
        SQLITE_READONLY_ROLLBACK SQLITE_READONLY_DIRECTORY SQLITE_INTERRUPT SQLITE_NOTFOUND SQLITE_EMPTY SQLITE_TOOBIG
        SQLITE_CONSTRAINT SQLITE_CONSTRAINT_CHECK SQLITE_CONSTRAINT_COMMITHOOK SQLITE_CONSTRAINT_FOREIGNKEY
        SQLITE_CONSTRAINT_FUNCTION SQLITE_CONSTRAINT_NOTNULL SQLITE_CONSTRAINT_PRIMARYKEY SQLITE_CONSTRAINT_TRIGGER
        SQLITE_CONSTRAINT_UNIQUE SQLITE_CONSTRAINT_VTAB SQLITE_CONSTRAINT_ROWID SQLITE_CONSTRAINT_PINNED
        SQLITE_CONSTRAINT_DATATYPE SQLITE_MISMATCH SQLITE_MISUSE SQLITE_NOLFS SQLITE_AUTH SQLITE_AUTH_USER
        SQLITE_FORMAT SQLITE_RANGE SQLITE_CANTOPEN_ISDIR SQLITE_CANTOPEN_CONVPATH SQLITE_CANTOPEN_SYMLINK
        SQLITE_IOERR_CONVPATH SQLITE_IOERR_AUTH SQLITE_IOERR_BADKEY SQLITE_IOERR_CODEC SQLITE_CANTOPEN_NOTEMPDIR
        SQLITE_IOERR_GETTEMPPATH;

    // IOERR_DATA: a page with a wrong checksum (cksumvfs). IOERR_CORRUPTFS: a read that the file system refused, or
    // that the device failed; within a statement SQLite turns it into CORRUPT.
    Quarantine: SQLITE_CORRUPT SQLITE_CORRUPT_VTAB SQLITE_CORRUPT_SEQUENCE SQLITE_CORRUPT_INDEX SQLITE_NOTADB
        SQLITE_IOERR_DATA SQLITE_IOERR_CORRUPTFS;
};

#[cfg(test)]
mod tests;
