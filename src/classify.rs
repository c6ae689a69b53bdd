//! What to do about an error: a reviewed table over every result code of SQLite.
//!
//! The extended code alone often does not decide. `CANTOPEN` may mean "no such directory" or "out of descriptors", and
//! the same `IOERR` is harmless in a read and undecidable in a COMMIT. So the judgement takes the code, the errno where
//! it is known, and the operation that failed. Codes that this table has never heard of are judged by their primary
//! code, and unknown primary codes are given up on: nothing is retried that nobody has thought about.

use rusqlite::ffi;
use std::fmt;
use std::io;

/// What the caller, or the connection layer on the caller's behalf, should do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Class {
    /// Not a failure: success, rows, notices for the log.
    Notice,
    /// Start again at once: the statement or transaction lost a race that is already over.
    RetryNow,
    /// Start again after a pause: somebody holds a lock, or memory, disk or descriptors are short.
    RetryLater,
    /// Close the connection and open a new one: the files behind it did not answer.
    Reopen,
    /// The wal-index (`-shm`) does not serve: reopen, and if that fails too, go on without it in exclusive mode.
    Degrade,
    /// Trying again changes nothing: wrong SQL, wrong rights, a violated constraint.
    GiveUp,
    /// A COMMIT failed half way: the transaction is durable or it is not, and only reading tells.
    OutcomeUnknown,
    /// SQLite says that the content is malformed. Unconfirmed: a misread page looks the same.
    Corruption,
}

impl Class {
    /// Whether the circuit breaker counts it: the database's files did not answer.
    ///
    /// Busy databases, full disks, constraints and malformed content do not count. In those cases the file is there
    /// and says so, and hiding that behind "circuit open" would only take away the better message.
    pub fn is_availability(self) -> bool {
        matches!(self, Class::Reopen | Class::Degrade)
    }

    /// Whether a live connection that reported it is closed rather than lent out again. Malformed content counts here,
    /// since it may sit in the connection's page cache alone.
    pub fn discards_connection(self) -> bool {
        self.is_availability() || self == Class::Corruption
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
    /// Closing a cached connection.
    Close,
}

impl Operation {
    /// Whether the step belongs to opening a connection, where trying again is safe.
    pub fn is_opening(self) -> bool {
        matches!(self, Operation::Open | Operation::Configure)
    }

    /// Whether the caller's closure was not reached: there was no connection to lend.
    pub fn precedes_closure(self) -> bool {
        self.is_opening() || matches!(self, Operation::Resolve | Operation::FirstConnect | Operation::Init)
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
            Operation::Call => "the caller's closure",
            Operation::Read => "the read closure",
            Operation::Begin => "BEGIN IMMEDIATE",
            Operation::Write => "the write closure",
            Operation::Commit => "COMMIT",
            Operation::Close => "closing the connection",
        })
    }
}

/// Judges an extended result code.
///
/// `errno` is the operating system's reason, where one is known; it separates what passes (descriptors, interrupts)
/// from what stays (rights, a read-only file system).
pub fn classify(extended_code: i32, errno: Option<i32>, operation: Operation) -> Class {
    let class = refine(listed(extended_code), errno);
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

fn refine(class: Class, errno: Option<i32>) -> Class {
    let Some(errno) = errno else { return class };
    if !matches!(class, Class::Reopen | Class::Degrade) {
        return class;
    }
    // Process and system limit on descriptors: the same numbers on every Unix, and no `ErrorKind` for them.
    const ENFILE: i32 = 23;
    const EMFILE: i32 = 24;
    match io::Error::from_raw_os_error(errno).kind() {
        io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock => Class::RetryNow,
        _ if errno == ENFILE || errno == EMFILE => Class::RetryLater,
        // Exclusive mode needs neither room nor rights for a `-shm`, so a wal-index failure stays what it is.
        _ if class == Class::Degrade => class,
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Class::RetryLater,
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => Class::GiveUp,
        // The path itself is wrong: too long, or with a file where a directory belongs.
        io::ErrorKind::NotADirectory | io::ErrorKind::AlreadyExists | io::ErrorKind::InvalidFilename => Class::GiveUp,
        _ => class,
    }
}

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

    RetryLater: SQLITE_BUSY SQLITE_BUSY_RECOVERY SQLITE_BUSY_TIMEOUT SQLITE_LOCKED SQLITE_LOCKED_SHAREDCACHE
        SQLITE_LOCKED_VTAB SQLITE_PROTOCOL SQLITE_NOMEM SQLITE_IOERR_NOMEM SQLITE_IOERR_BLOCKED SQLITE_FULL
        SQLITE_CANTOPEN_NOTEMPDIR SQLITE_IOERR_GETTEMPPATH;

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

    GiveUp: SQLITE_ERROR SQLITE_ERROR_MISSING_COLLSEQ SQLITE_ERROR_SNAPSHOT SQLITE_ERROR_RESERVESIZE
        SQLITE_ERROR_KEY SQLITE_ERROR_UNABLE SQLITE_INTERNAL SQLITE_PERM SQLITE_ABORT SQLITE_READONLY
        SQLITE_READONLY_ROLLBACK SQLITE_READONLY_DIRECTORY SQLITE_INTERRUPT SQLITE_NOTFOUND SQLITE_EMPTY SQLITE_TOOBIG
        SQLITE_CONSTRAINT SQLITE_CONSTRAINT_CHECK SQLITE_CONSTRAINT_COMMITHOOK SQLITE_CONSTRAINT_FOREIGNKEY
        SQLITE_CONSTRAINT_FUNCTION SQLITE_CONSTRAINT_NOTNULL SQLITE_CONSTRAINT_PRIMARYKEY SQLITE_CONSTRAINT_TRIGGER
        SQLITE_CONSTRAINT_UNIQUE SQLITE_CONSTRAINT_VTAB SQLITE_CONSTRAINT_ROWID SQLITE_CONSTRAINT_PINNED
        SQLITE_CONSTRAINT_DATATYPE SQLITE_MISMATCH SQLITE_MISUSE SQLITE_NOLFS SQLITE_AUTH SQLITE_AUTH_USER
        SQLITE_FORMAT SQLITE_RANGE SQLITE_CANTOPEN_ISDIR SQLITE_CANTOPEN_CONVPATH SQLITE_CANTOPEN_SYMLINK
        SQLITE_IOERR_CONVPATH SQLITE_IOERR_AUTH SQLITE_IOERR_BADKEY SQLITE_IOERR_CODEC;

    Corruption: SQLITE_CORRUPT SQLITE_CORRUPT_VTAB SQLITE_CORRUPT_SEQUENCE SQLITE_CORRUPT_INDEX SQLITE_NOTADB
        SQLITE_IOERR_DATA SQLITE_IOERR_CORRUPTFS;
};

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(code: i32, errno: Option<i32>, operation: Operation, expected: Class) {
        assert_eq!(classify(code, errno, operation), expected, "{} ({code}), errno {errno:?}", code_name(code));
    }

    /// The codes by construction: primary codes, and for each how many extended ones SQLite has hung under it.
    fn all_codes() -> Vec<i32> {
        let extended = [
            (ffi::SQLITE_OK, 1..=2),
            (ffi::SQLITE_ERROR, 1..=6),
            (ffi::SQLITE_ABORT, 2..=2),
            (ffi::SQLITE_BUSY, 1..=3),
            (ffi::SQLITE_LOCKED, 1..=2),
            (ffi::SQLITE_READONLY, 1..=6),
            (ffi::SQLITE_IOERR, 1..=36),
            (ffi::SQLITE_CORRUPT, 1..=3),
            (ffi::SQLITE_CANTOPEN, 1..=6),
            (ffi::SQLITE_CONSTRAINT, 1..=12),
            (ffi::SQLITE_AUTH, 1..=1),
            (ffi::SQLITE_NOTICE, 1..=3),
            (ffi::SQLITE_WARNING, 1..=1),
        ];
        let primary_codes = (0..=28).chain([ffi::SQLITE_ROW, ffi::SQLITE_DONE]);
        primary_codes.chain(extended.into_iter().flat_map(|(p, range)| range.map(move |n| p | (n << 8)))).collect()
    }

    #[test]
    fn the_table_lists_every_code_once_and_no_other() {
        let expected = all_codes();
        for &code in &expected {
            assert_eq!(TABLE.iter().filter(|row| row.code == code).count(), 1, "code {code}");
            assert!(!code_name(code).is_empty());
        }
        assert_eq!(TABLE.len(), expected.len());
    }

    #[test]
    fn every_code_has_a_judgement_that_fits_its_family() {
        for code in all_codes() {
            let class = classify(code, None, Operation::Call);
            match primary(code) {
                ffi::SQLITE_BUSY | ffi::SQLITE_LOCKED | ffi::SQLITE_CONSTRAINT | ffi::SQLITE_FULL => {
                    assert!(!class.is_availability(), "the breaker must not count {}", code_name(code));
                    assert!(!class.discards_connection(), "{} must keep the connection", code_name(code));
                }
                ffi::SQLITE_IOERR => assert_ne!(class, Class::Notice, "{}", code_name(code)),
                _ => {}
            }
            let class = classify(code, None, Operation::Commit);
            if matches!(primary(code), ffi::SQLITE_IOERR | ffi::SQLITE_FULL | ffi::SQLITE_CANTOPEN) {
                assert_eq!(class, Class::OutcomeUnknown, "{}", code_name(code));
            }
        }
    }

    #[test]
    fn the_wal_index_family_degrades() {
        for code in [4618, 4874, 5130, 5386] {
            check(code, None, Operation::Call, Class::Degrade);
            check(code, None, Operation::Configure, Class::Degrade);
            check(code, None, Operation::Commit, Class::OutcomeUnknown);
        }
    }

    #[test]
    fn the_operation_decides_where_the_code_cannot() {
        check(26, None, Operation::Configure, Class::Corruption);
        check(26, None, Operation::Read, Class::Reopen);
        check(778, None, Operation::Write, Class::Reopen);
        check(778, None, Operation::Commit, Class::OutcomeUnknown);
        check(5, None, Operation::Commit, Class::RetryLater);
        check(517, None, Operation::Begin, Class::RetryNow);
        check(787, None, Operation::Commit, Class::GiveUp);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn the_errno_tells_what_passes_from_what_stays() {
        let (eintr, eacces, emfile, enospc, erofs) = (4, 13, 24, 28, 30);
        check(14, Some(emfile), Operation::Open, Class::RetryLater);
        check(14, Some(eacces), Operation::Open, Class::GiveUp);
        check(14, Some(erofs), Operation::Open, Class::GiveUp);
        check(266, Some(eintr), Operation::Read, Class::RetryNow);
        check(778, Some(enospc), Operation::Write, Class::RetryLater);
        check(4874, Some(enospc), Operation::Write, Class::Degrade);
        check(5386, Some(emfile), Operation::Configure, Class::RetryLater);
        check(778, Some(enospc), Operation::Commit, Class::OutcomeUnknown);
        check(5, Some(enospc), Operation::Begin, Class::RetryLater);
    }

    #[test]
    fn unknown_codes_fail_safe() {
        check(ffi::SQLITE_IOERR | (200 << 8), None, Operation::Read, Class::Reopen);
        check(99, None, Operation::Read, Class::GiveUp);
        check(99, None, Operation::Commit, Class::OutcomeUnknown);
        check(-1, None, Operation::Read, Class::GiveUp);
        assert_eq!(code_name(99), "UNKNOWN");
        assert_eq!(code_name(5386), "IOERR_SHMMAP");
    }
}
