//! First connects, one process at a time.
//!
//! Creating a database, switching it to WAL and creating its schema is the one moment where processes that start
//! together disturb each other. A lock on a side file, `<database>.init.lock`, admits them one by one. The database
//! file itself is never locked: closing a descriptor of it would drop SQLite's locks in the whole process.
//!
//! The wait is bounded. A process that does not get the lock gets an error and no connection: without the lock, the
//! race would be back.

use crate::error::{Cause, Error, Operation};
use crate::os::{FileLock, Os, Rights, beside};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

const POLL_FIRST: Duration = Duration::from_millis(10);
const POLL_MAX: Duration = Duration::from_millis(50);

/// Waits for the lock of the database at `path`.
pub(crate) fn lock(path: &Path, timeout: Duration, os: &dyn Os) -> Result<FileLock, Error> {
    let lock_path = lock_path(path);
    let start = os.now();
    let mut pause = POLL_FIRST;
    loop {
        match os.try_lock_file(&lock_path, path) {
            Ok(Some(lock)) => return Ok(lock),
            Ok(None) => {}
            Err(error) => {
                // Of a lock file that is there, and may not be opened.
                let is_refused = error.kind() == ErrorKind::PermissionDenied;
                let rights = if is_refused { os.rights(&lock_path).ok().flatten() } else { None };
                let cause = Cause::LockFile { lock: lock_path, error, whose: rights.map(Rights::told) };
                return Err(Error::new(path, Operation::FirstConnect, cause));
            }
        }
        let waited = os.now().saturating_sub(start);
        if waited >= timeout {
            let holder = os.lock_holder(&lock_path);
            let cause = Cause::FirstConnectTimeout { lock: lock_path, waited, holder };
            return Err(Error::new(path, Operation::FirstConnect, cause));
        }
        os.sleep(pause.min(timeout - waited));
        pause = (pause * 2).min(POLL_MAX);
    }
}

/// The side file that serialises first connects to a database. It is created once and never removed.
pub(crate) fn lock_path(path: &Path) -> PathBuf {
    beside(path, ".init.lock")
}
