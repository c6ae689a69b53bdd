//! The next step: what the reader of an error message can do about it.

use super::classify::Class;
use super::{Cause, Error, Rescue};
use rusqlite::ffi;
use std::io;

impl Error {
    /// The message without the next step, which is meant for callers of the layer.
    pub(crate) fn without_advice(&self) -> String {
        let text = self.to_string();
        text.strip_suffix(&format!("; {}", self.advice())).map(str::to_owned).unwrap_or(text)
    }

    /// What to do about it, at the end of the message.
    pub(super) fn advice(&self) -> &'static str {
        match (&self.inner.cause, self.class()) {
            (Cause::Directory | Cause::NoFile(_), _) => "give the path of a file",
            (Cause::Missing, _) => "check the path",
            (Cause::NoDirectory { .. }, _) => {
                "check the path and what should be mounted there; create it, or let the layer do it \
                (Builder::create_directories)"
            }
            (Cause::ForkedChild { .. }, _) => {
                "SQLite's table of locks came along, so not even a new connection is safe \
                here: exec first, or fork before opening"
            }
            (Cause::HeldElsewhere { .. }, _) => {
                "nothing is lost: close the connections of other processes, or repair \
                the -shm file's surroundings (space, rights, memory)"
            }
            (Cause::LockFile { error, whose, .. }, Class::GiveUp) => lock_file_advice(error, whose.is_some()),
            (Cause::FirstConnectTimeout { .. }, _) => "look for a process that hangs while opening",
            (Cause::BreakerOpen { retry_after: None }, _) => "set the breaker's mode to enforcing to let calls pass",
            (Cause::BreakerOpen { .. }, _) => "wait; the reason is in health().last_error",
            (Cause::DanglingWrite, _) => "commit inside the closure",
            (Cause::HardLinked { .. }, _) => {
                "use one of the names everywhere: the names of the side files follow from it"
            }
            (Cause::OtherSettings { .. }, _) => "open it in one place, or with the same settings everywhere",
            (Cause::OrphanedLog { .. }, _) => {
                "it may hold committed rows: put the database back beside it, or rename it out of the way"
            }
            (Cause::ForeignLog { .. }, _) => {
                "opening it would mix the two: rename the log out of the way, or put the file back that it belongs to"
            }
            (Cause::SecondName { .. }, _) => {
                "remove the other names: the names of the side files follow from the name, and two logs corrupt a file"
            }
            (Cause::Claimed { .. }, _) => "it lets go with its next call, or when it ends; then try again",
            (Cause::NoWal { .. }, _) => {
                "see what keeps SQLite from WAL (file system, VFS, other connections), or allow it"
            }
            (Cause::SchemaNewer { .. }, _) => "run the newer program",
            (Cause::Migration { .. } | Cause::ForeignKeys { .. }, _) => {
                "the file has its old schema and all its rows: mend the migration"
            }
            (Cause::Closed, _) => "open a new one",
            (Cause::NoRuntime, _) => "await it inside a runtime that runs until the call has ended",
            (Cause::TooManyWaiting { .. }, _) => "let some of them end first: start fewer calls at a time",
            (Cause::StillBorrowed(_), _) => {
                "new calls are refused; call close again when these connections have been returned"
            }
            (Cause::AcquireTimeout { .. }, _) => "see why the borrower takes so long, or raise the acquire timeout",
            (Cause::Reentrant(_), _) => "use the connection that the closure was given",
            (Cause::Moved { rescue: Rescue::Pending(_), .. }, _) => {
                "the connection is kept, so that nothing is lost: make room and call again"
            }
            (Cause::Moved { .. }, _) if !self.outcome_unknown() => "the next call opens what is there now",
            (Cause::DiskFull { .. }, _) => "make room; reads go on",
            (Cause::WroteInRead | Cause::CommittedInRead, _) => "use write",
            (Cause::Quarantined { .. }, _) => "the next call begins with a new database",
            (Cause::NotQuarantined { .. } | Cause::Quarantine(_), _) => "nothing is deleted; see what holds it",
            (Cause::PathTooLong { .. }, _) => "give the database a shorter path, or use a VFS that takes longer ones",
            (_, Class::OutcomeUnknown) => "the writes may or may not be durable: read before writing them again",
            (_, Class::RetryNow) => "run it again in a new transaction",
            (_, Class::RetryLater) if self.is_busy() => "try again later, or raise the busy timeout",
            (_, Class::RetryLater) => "free memory, disk or descriptors and try again",
            (_, Class::Degrade) if self.is_read_only() => self.advice_on_code(),
            (_, Class::Reopen | Class::Degrade) => "the next call opens a new connection",
            (_, Class::Quarantine) => "do not delete anything; run PRAGMA quick_check",
            (_, Class::GiveUp | Class::Notice) => self.advice_on_code(),
        }
    }

    /// Where trying again does not help: what does.
    fn advice_on_code(&self) -> &'static str {
        match self.extended_code() {
            Some(ffi::SQLITE_READONLY) => {
                "let this process write the file and its directory (owner, mode, mount), or open it with write access (flags)"
            }
            Some(ffi::SQLITE_READONLY_ROLLBACK) => {
                "a transaction that was cut off has to be rolled back: open the database once with write access to it, \
                its -journal and its directory"
            }
            Some(ffi::SQLITE_READONLY_DIRECTORY) => {
                "let this process create files in the directory (owner, mode, mount): SQLite needs its side files there"
            }
            Some(ffi::SQLITE_READONLY_RECOVERY | ffi::SQLITE_READONLY_CANTINIT) => {
                "the log has to be recovered: open the database once with write access to it, its -wal and its -shm"
            }
            Some(ffi::SQLITE_READONLY_CANTLOCK) => "let this process write the -shm file (owner, mode)",
            Some(ffi::SQLITE_IOERR_GETTEMPPATH | ffi::SQLITE_CANTOPEN_NOTEMPDIR) => {
                "give SQLite a directory for temporary files that exists and may be written to (SQLITE_TMPDIR, TMPDIR), or \
                set PRAGMA temp_store = MEMORY in on_connect"
            }
            Some(ffi::SQLITE_CANTOPEN | ffi::SQLITE_PERM | ffi::SQLITE_CANTOPEN_FULLPATH) => {
                "see the path, the owner and the mode of the file and of its directories"
            }
            _ => "trying again will not help",
        }
    }
}

fn lock_file_advice(error: &io::Error, is_there: bool) -> &'static str {
    if error.kind() == io::ErrorKind::InvalidInput {
        "find out how it came there, and remove it while no process has the database open"
    } else if is_there {
        "give it the owner, the group and the mode of the database (chown --reference, chmod --reference)"
    } else {
        "let the directory be written to, or go without the lock (first_connect_wait)"
    }
}
