//! What an [`Error`] is about: one variant for each kind of failure, with its text.

use super::{Borrower, DegradedReason, Error, Loss, PrintablePath, QuarantineError, Rescue, count, describe};
use std::io;
use std::panic::Location;
use std::path::PathBuf;
use std::time::Duration;

/// What happened, without where.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Cause {
    #[error("{}", describe(.0))]
    Sqlite(rusqlite::Error),
    #[error("{0}")]
    Io(io::Error),
    #[error("the directory {} is missing", directory.display())]
    NoDirectory { directory: PathBuf, error: io::Error },
    #[error("it stands for a directory, not for a file")]
    Directory,
    #[error("nothing is there, and no side file of it either")]
    Missing,
    #[error("it does not name a file: {0}")]
    NoFile(&'static str),
    #[error("{} is another name of the same file and open in this process", PrintablePath(other))]
    HardLinked { other: PathBuf },
    #[error("this process has it open already, with another setting of `{knob}`")]
    OtherSettings { knob: &'static str },
    #[error("{} has {bytes} bytes and belongs to a database that is not there", PrintablePath(log))]
    OrphanedLog { log: PathBuf, bytes: u64 },
    #[error("the path has {bytes} bytes, and SQLite's VFS takes {bytes_max} with room for the side files")]
    PathTooLong { bytes: usize, bytes_max: usize },
    #[error("SQLite refused WAL; the journal mode is {effective}")]
    NoWal { effective: String },
    #[error("the schema has version {found}, and this program knows versions up to {known}")]
    SchemaNewer { found: u32, known: u32 },
    #[error("version {version}: {}", describe(error))]
    Migration { version: u32, error: rusqlite::Error },
    #[error("a row of table {table} would refer to a row that is not there")]
    ForeignKeys { table: String },
    #[error("the store was closed")]
    Closed,
    #[cfg_attr(not(feature = "tokio"), allow(dead_code))]
    #[error("there is no tokio runtime here, or it is shutting down; the closure has not run")]
    NoRuntime,
    #[cfg_attr(not(feature = "tokio"), allow(dead_code))]
    #[error("{} already", waiting_calls(*waiting))]
    TooManyWaiting { waiting: u32 },
    #[error("still borrowed: {}", list(.0))]
    StillBorrowed(Vec<Borrower>),
    #[error("waited for {waited:?}{}", borrower.map(|by| format!(": {by}")).unwrap_or_default())]
    AcquireTimeout { borrower: Option<Borrower>, waited: Duration },
    #[error("this thread has it already, borrowed at {0}")]
    Reentrant(&'static Location<'static>),
    #[error("{loss}{}", rescue.told())]
    Moved { loss: Loss, rescue: Rescue },
    #[error("the file has {names} names, and another name may be in use as well")]
    SecondName { names: u64 },
    #[error("{} has {bytes} bytes and belongs to another file than the one that is there now", log.display())]
    ForeignLog { log: PathBuf, bytes: u64 },
    #[error("{holders} still has files of it open that have lost their names")]
    Claimed { holders: String },
    #[error("the disk was full a moment ago; writes are tried again in {retry_after:?}")]
    DiskFull { retry_after: Duration },
    #[error("it is damaged ({}) and has been quarantined in {}", error.cause(), PrintablePath(bundle))]
    Quarantined { bundle: PathBuf, error: Box<Error> },
    #[error("it is damaged ({}) and stays where it is: {why}", error.cause())]
    NotQuarantined { error: Box<Error>, why: QuarantineError },
    #[error("{0}")]
    Quarantine(QuarantineError),
    #[error("the closure of read has written, and it was rolled back")]
    WroteInRead,
    #[error("the closure of read has written, and it was committed")]
    CommittedInRead,
    #[error("the circuit breaker {}", describe_open(*.retry_after))]
    BreakerOpen { retry_after: Option<Duration> },
    #[error("{} has held {} for {waited:?}", holder.map_or("another process".into(), |pid| format!("process {pid}")), PrintablePath(lock))]
    FirstConnectTimeout { lock: PathBuf, waited: Duration, holder: Option<u32> },
    #[error("{}: {error}{}", PrintablePath(lock), whose.as_deref().unwrap_or_default())]
    LockFile { lock: PathBuf, error: io::Error, whose: Option<String> },
    #[error("the wal-index does not serve ({reason}), and exclusive mode is not available: {}", describe(busy))]
    HeldElsewhere { busy: rusqlite::Error, reason: DegradedReason },
    #[error("process {parent} had the database open when it forked this one")]
    ForkedChild { parent: u32 },
    #[error("the transaction was over before COMMIT: an error inside rolled it back, or the closure ended it")]
    TransactionOver,
    #[error("the closure returned with a write transaction open, and it was rolled back")]
    DanglingWrite,
}

fn describe_open(retry_after: Option<Duration>) -> String {
    retry_after.map_or("is forced open".to_owned(), |wait| format!("is open for another {wait:?}"))
}

fn list(borrowers: &[Borrower]) -> String {
    borrowers.iter().map(Borrower::to_string).collect::<Vec<_>>().join(", ")
}

/// "1 call waits", "2 calls wait".
fn waiting_calls(waiting: u32) -> String {
    format!("{} {}", count(waiting.into(), "call"), if waiting == 1 { "waits" } else { "wait" })
}
