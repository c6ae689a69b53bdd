//! Whose failure an error of a closure is.
//!
//! A closure may fail for many reasons that say nothing about the database: a file that it attaches or opens by itself
//! is missing, a sort finds no room for its temporary file, an extension fails. The codes are the same. So after such
//! an error the database itself is asked on the live connection: only if it does not answer, the breaker counts.

use super::Database;
use super::connection::PooledConnection;
use crate::error::classify::classify;
use crate::error::{Error, LockOwner, Operation, extended_code};
use crate::ffi;
use crate::os::{FileId, Os, beside};
use crate::settings::Settings;
use crate::sync::Ordering;
use rusqlite::{Connection, MAIN_DB};
use std::path::Path;
use std::time::Duration;

/// At most one look at the system's table of locks in this time.
const LOOK_PAUSE: Duration = Duration::from_millis(10);

/// The same error, marked if the database is well and the failure is of something else.
pub(super) fn attributed(error: Error, conn: &Connection, settings: &Settings) -> Error {
    if !error.fault().is_availability() || error.is_moved() || !needs_probe(error.operation(), conn) {
        return error;
    }
    let answers = answers(conn);
    ffi::set_busy_timeout(conn, settings.busy_timeout);
    error.with_elsewhere(answers)
}

/// Whether the error says that the wal-index of this database fails, and not the one of another database.
pub(super) fn is_of_main(error: &Error, pooled: &PooledConnection) -> bool {
    let is_alone = !pooled.has_touched_other_files() && !ffi::has_attached(&pooled.conn);
    error.is_of_connection() && is_alone
}

/// What the layer does itself is of the database, unless `on_connect` has attached another one: BEGIN and COMMIT are
/// for all of them.
fn needs_probe(operation: Operation, conn: &Connection) -> bool {
    match operation {
        Operation::Begin | Operation::Commit => ffi::has_attached(conn),
        _ => true,
    }
}

/// Whether the main database can be read, from its file, and locked for writing. A lock that another connection holds
/// is an answer.
fn answers(conn: &Connection) -> bool {
    ffi::set_busy_timeout(conn, Duration::ZERO);
    // A page that is remembered is no answer.
    let _ = conn.execute_batch("PRAGMA shrink_memory");
    let read = conn.query_row("SELECT count(*) FROM main.sqlite_schema", [], |_| Ok(()));
    let may_write = matches!(conn.is_readonly(MAIN_DB), Ok(false)) && !ffi::has_attached(conn);
    let locked = match read {
        Ok(()) if may_write && conn.is_autocommit() => lock_for_writing(conn),
        other => other,
    };
    match locked {
        Ok(()) => true,
        Err(error) => {
            let errno = ffi::system_errno(conn);
            extended_code(&error).is_none_or(|code| !classify(code, errno, Operation::Begin).is_availability())
        }
    }
}

fn lock_for_writing(conn: &Connection) -> rusqlite::Result<()> {
    conn.execute_batch("BEGIN IMMEDIATE")?;
    conn.execute_batch("ROLLBACK")
}

impl Database {
    /// The same error; if it says busy, with the process that holds the lock, as far as the system shows it.
    pub(super) fn with_lock_owner(&self, error: Error) -> Error {
        let os = &*self.settings.os;
        if !error.extended_code().is_some_and(crate::error::is_busy_code) || !self.may_look(os.now()) {
            return error;
        }
        let owner = lock_owner(&self.path, os);
        error.with_lock_owner(owner)
    }

    fn may_look(&self, now: Duration) -> bool {
        let now_ns = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX).max(1);
        let last_ns = self.looked_at_ns.load(Ordering::Relaxed);
        let is_due = last_ns == 0 || Duration::from_nanos(now_ns.saturating_sub(last_ns)) >= LOOK_PAUSE;
        if is_due {
            self.looked_at_ns.store(now_ns, Ordering::Relaxed);
        }
        is_due
    }
}

/// The process with the strongest lock on the database or its wal-index: a write lock, or else a read lock of another
/// process.
fn lock_owner(path: &Path, os: &dyn Os) -> Option<LockOwner> {
    let id = |path: &Path| os.status(path).ok().flatten().map(|file| file.id);
    let ids: Vec<FileId> = id(path).into_iter().chain(id(&beside(path, "-shm"))).collect();
    let own = os.pid();
    let locks: Vec<(bool, u32)> = os.lock_lines(&ids).ok()?.iter().filter_map(|line| held(line)).collect();
    let others = || locks.iter().filter(|(_, pid)| *pid != own);
    let writer = others().find(|(is_write, _)| *is_write).map(|(_, pid)| LockOwner::Process(*pid));
    let own_write = locks.iter().any(|(is_write, pid)| *is_write && *pid == own).then_some(LockOwner::Own);
    writer.or(own_write).or_else(|| others().next().map(|(_, pid)| LockOwner::Process(*pid)))
}

/// Whether a line of the table is a write lock, and whose. A lock that is waited for is not held. The locks that say
/// that a process is connected (byte 128 of the wal-index) keep no call waiting.
fn held(line: &str) -> Option<(bool, u32)> {
    const CONNECTED: &str = "128";
    let mut words = line.split_ascii_whitespace().skip(1).peekable();
    if words.peek() == Some(&"->") {
        return None;
    }
    let (class, kind, pid) = (words.next()?, words.nth(1)?, words.next()?);
    let (first, last) = (words.nth(1)?, words.next()?);
    let pid = pid.parse::<u32>().ok().filter(|pid| *pid != 0)?;
    (class != "FLOCK" && !(first == CONNECTED && last == CONNECTED)).then_some((kind == "WRITE", pid))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;

    struct Table<'a>(&'a [&'a str]);

    impl Os for Table<'_> {
        fn pid(&self) -> u32 {
            7
        }

        fn lock_lines(&self, _: &[FileId]) -> io::Result<Vec<String>> {
            Ok(self.0.iter().map(|&line| line.to_owned()).collect())
        }
    }

    #[test]
    fn the_owner_of_the_strongest_lock_is_named() {
        fn check(table: &[&str], expected: Option<LockOwner>) {
            assert_eq!(lock_owner(Path::new("x"), &Table(table)), expected, "{table:?}");
        }
        check(&[], None);
        check(&["1: POSIX  ADVISORY  READ 12 fe:10:78 128 128"], None);
        check(&["1: POSIX  ADVISORY  WRITE 7 fe:10:78 120 120"], Some(LockOwner::Own));
        let reader = "2: POSIX  ADVISORY  READ 12 fe:10:78 124 124";
        check(&[reader], Some(LockOwner::Process(12)));
        check(&[reader, "1: POSIX  ADVISORY  WRITE 7 fe:10:78 120 120"], Some(LockOwner::Own));
        check(&[reader, "3: POSIX  ADVISORY  WRITE 13 fe:10:78 120 120"], Some(LockOwner::Process(13)));
        check(&["3: -> POSIX  ADVISORY  WRITE 13 fe:10:78 120 120"], None);
        check(&["3: FLOCK  ADVISORY  WRITE 13 fe:10:78 0 EOF", "", "4: POSIX"], None);
    }
}
