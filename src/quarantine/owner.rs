//! Becoming the only user of a database, with proof.
//!
//! Both are required, because each alone is incomplete:
//!
//! 1. **SQLite's exclusive lock**, on a connection in exclusive locking mode, so that no `-shm` is touched. Every
//!    connection in WAL mode holds a lock on the database for as long as it exists, so this lock excludes them all. The
//!    connection is told not to checkpoint and not to delete the log when it is closed. It is held while the files are
//!    moved: a lock belongs to the file, not to its name.
//! 2. **No other process has a descriptor**, according to `/proc`, without opening anything. This finds connections
//!    without a lock: those in a rollback mode between two transactions, and those waiting for the exclusive lock,
//!    which would continue under the old name with the moved file. Checked before, after, and once more when everything
//!    is moved.
//!
//! Where the second cannot be known, the first suffices in WAL mode and not otherwise. The first cannot be had if page
//! 1 is unreadable. And it must not be tried where SQLite itself would repair: opening an empty database deletes the
//! log beside it, and a hot journal is rolled back and deleted. In these cases the second has to do, and it does only
//! if everything could be looked at and no other machine can have the file open.

use super::manifest::FileRole;
use super::{confirm, exists, is_hot, side_file};
use crate::error::{QuarantineError, count, extended_code, is_busy_code};
use crate::ffi;
use crate::os::{FileId, Holders, Os};
use rusqlite::{Connection, OpenFlags};
use std::path::Path;
use std::time::Duration;

/// Between fork and exec, a child that some thread of a process starts has copies of all descriptors. It is gone soon.
const LOOKS: u32 = 4;
const LOOK_PAUSE: Duration = Duration::from_millis(10);

/// The only user of a database, until dropped.
pub(super) struct SoleOwner {
    // Holds the lock, and is not used otherwise.
    _conn: Option<Connection>,
    ids: Vec<FileId>,
    /// The holders right after the lock was taken.
    pub(super) holders: Option<Holders>,
    /// How it is known, in words.
    pub(super) proof: String,
}

impl SoleOwner {
    /// Becomes the sole owner, or names the holders. Does not wait.
    pub(super) fn become_of(path: &Path, vfs: Option<&str>, os: &dyn Os) -> Result<SoleOwner, QuarantineError> {
        let ids = ids(path, os)?;
        let before = look(&ids, os, |holders| holders.own_descriptors > 0 || holders.has_others());
        if let Ok(holders) = &before
            && (holders.own_descriptors > 0 || holders.has_others())
        {
            return Err(QuarantineError::Held { holders: holders.to_string() });
        }
        let lock =
            if may_be_opened(path, os)? { lock(path, vfs, os)? } else { Lock::Unlockable("opening it is not safe") };
        let holders = look(&ids, os, Holders::has_others);
        if let Ok(holders) = &holders
            && holders.has_others()
        {
            return Err(QuarantineError::Held { holders: holders.to_string() });
        }
        let proof = match (&lock, &holders) {
            (Lock::Wal(_), Ok(holders)) if holders.unreadable == 0 => {
                "exclusive lock; no other process is visible".to_owned()
            }
            (Lock::Wal(_), _) => "exclusive lock in WAL mode; not all descriptors could be looked at".to_owned(),
            (Lock::Rollback(_), Ok(holders)) if holders.unreadable == 0 => {
                "exclusive lock in a rollback mode; no other process is visible".to_owned()
            }
            (Lock::Unlockable(reason), Ok(holders)) if holders.unreadable == 0 && !is_shared(path, os) => {
                format!("no lock ({reason}); no process has the files open")
            }
            (_, Ok(_)) if is_shared(path, os) => {
                return Err(QuarantineError::Unprovable { reason: "other machines may have it open".to_owned() });
            }
            (_, Ok(holders)) => {
                let reason =
                    format!("the descriptors of {} may not be looked at", count(holders.unreadable.into(), "process"));
                return Err(QuarantineError::Unprovable { reason });
            }
            (_, Err(error)) => {
                let reason = format!("the processes that have it open cannot be determined ({error})");
                return Err(QuarantineError::Unprovable { reason });
            }
        };
        let conn = match lock {
            Lock::Wal(conn) | Lock::Rollback(conn) => Some(conn),
            Lock::Unlockable(_) => None,
        };
        Ok(SoleOwner { _conn: conn, ids, holders: holders.ok(), proof })
    }

    /// Checks that no other process has opened the files since, under any name.
    pub(super) fn confirm_still_alone(&self, os: &dyn Os) -> Result<(), QuarantineError> {
        match look(&self.ids, os, Holders::has_others) {
            Ok(holders) if holders.has_others() => Err(QuarantineError::Held { holders: holders.to_string() }),
            _ => Ok(()),
        }
    }
}

enum Lock {
    Wal(Connection),
    Rollback(Connection),
    Unlockable(&'static str),
}

/// Whether SQLite would leave all files as they are if it opened the database.
fn may_be_opened(path: &Path, os: &dyn Os) -> Result<bool, QuarantineError> {
    let status = os.status(path).map_err(QuarantineError::io("looking at the database", path))?;
    let is_empty = status.is_none_or(|status| status.bytes == 0);
    Ok(!is_empty && !is_hot(&side_file(path, FileRole::Journal), os)?)
}

fn lock(path: &Path, vfs: Option<&str>, os: &dyn Os) -> Result<Lock, QuarantineError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let sqlite = |step, error, errno| QuarantineError::Sqlite { step, error, errno };
    let conn = ffi::open(path, flags, vfs)
        .map_err(|failure| sqlite("opening it as the sole owner", failure.error, failure.errno))?;
    confirm::keep_log(&conn).map_err(|error| sqlite("protecting the log", error, None))?;
    let locked = conn
        .busy_timeout(Duration::ZERO)
        .and_then(|()| conn.query_row("PRAGMA locking_mode = EXCLUSIVE", [], |_| Ok(())))
        .and_then(|()| conn.execute_batch("BEGIN EXCLUSIVE"));
    match locked {
        // To ask for the journal mode would mean to parse the schema, which may be what is damaged. In WAL mode, a
        // transaction has a log; in the others there is none, or SQLite would have taken it for its own.
        Ok(()) if exists(&side_file(path, FileRole::Wal), os)? => Ok(Lock::Wal(conn)),
        Ok(()) => Ok(Lock::Rollback(conn)),
        Err(error) => match extended_code(&error) {
            Some(code) if confirm::is_damage(code) => Ok(Lock::Unlockable("its first page is unreadable")),
            Some(code) if is_busy_code(code) => {
                drop(conn);
                let holders = os.holders(&ids(path, os)?).unwrap_or_default();
                Err(QuarantineError::Held { holders: holders.to_string() })
            }
            _ => Err(sqlite("locking it as the sole owner", error, ffi::system_errno(&conn))),
        },
    }
}

/// Looks up the holders of the files; repeats while the result is `unwelcome`, which may be transient.
fn look(ids: &[FileId], os: &dyn Os, unwelcome: impl Fn(&Holders) -> bool) -> std::io::Result<Holders> {
    let mut holders = os.holders(ids)?;
    for _ in 1..LOOKS {
        if !unwelcome(&holders) {
            break;
        }
        os.sleep(LOOK_PAUSE);
        holders = os.holders(ids)?;
    }
    Ok(holders)
}

fn ids(path: &Path, os: &dyn Os) -> Result<Vec<FileId>, QuarantineError> {
    let mut ids = Vec::new();
    for role in [FileRole::Database, FileRole::Wal, FileRole::Shm, FileRole::Journal] {
        let file = side_file(path, role);
        let status = os.status(&file).map_err(QuarantineError::io("looking at a file", &file))?;
        ids.extend(status.map(|status| status.id));
    }
    Ok(ids)
}

/// Whether other machines may have it open, as far as is known.
fn is_shared(path: &Path, os: &dyn Os) -> bool {
    os.file_system(path).is_none_or(|file_system| file_system.is_network)
}
