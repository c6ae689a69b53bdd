//! The doctor: examines a database from outside, while others use it.
//!
//! ```
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let dir = tempfile::tempdir()?;
//! # let path = dir.path().join("notes.db");
//! let cache = seawall::Cache::builder().build();
//! cache.write(&path, |tx| tx.execute_batch("CREATE TABLE note (text TEXT)"))?;
//!
//! let report = seawall::doctor::examine(&path)?;
//! assert!(report.severity < seawall::doctor::Severity::Warning);
//! assert_eq!(report.journal_mode.effective, "wal");
//! assert!(report.holders.iter().all(|holder| holder.is_self));
//! println!("{} committed frames wait for a checkpoint; next: {}", report.pending.frames, report.next);
//! # Ok(())
//! # }
//! ```
//!
//! # Why it disturbs no process
//!
//! [`examine`] opens nothing for writing, creates nothing, and does not use SQLite at all: so it takes no lock, rolls
//! back no journal, checkpoints nothing. What is left is the trap of POSIX locks: a process that closes *any*
//! descriptor of a file drops all the locks that it holds on that file. The doctor may be called in the very process
//! that has the database open, on any thread, by way of any copy of SQLite, so it has to be safe whatever the process
//! has open:
//!
//! - The **database** and the **`-shm`** are the files that SQLite locks. This process never opens them. A child
//!   process opens them, reads a few hundred bytes, and ends (`read_in_child` in `ffi`). Locks of `fcntl` belong to a
//!   process: the child inherits none, so it has none to drop, and it cannot drop its parent's. There is no moment to
//!   get wrong between looking who has the file open and opening it, and it holds for a second copy of SQLite in the
//!   process, of whose files a connection of ours would know nothing. That is why no connection with `immutable=1` is
//!   used, which closes carefully, but only with respect to the files of its own library.
//! - The **`-wal`** and the **`-journal`** carry no locks, ever, so they are read with plain means.
//! - Holders and locks are read from `/proc`; descriptors of other processes are looked at with `stat`, not opened.
//!
//! What is read while others write may be of two moments. So what moves is read again after the locks have been looked
//! at, and nothing alarming is said that two looks in a row have not seen.
//!
//! The doctor is the one part of the crate that does not go through [`Os`] for its files: it looks at the
//! machine it runs on, and there is nothing to be gained from looking at another one. It asks for no time.
//!
//! [`fix::fix`] repairs, on copies, and only a database that no process has open. [`save`] copies files without a name
//! that processes have open.

mod backups;
mod bytes;
mod checks;
mod codes;
mod deleted;
mod display;
mod find;
mod findings;
pub mod fix;
mod header;
mod holders;
mod journal;
mod kernel_locks;
mod locks;
mod observe;
mod report;
mod save;
mod scope;
mod summary;
mod surroundings;
mod wal;
mod wal_index;

pub use codes::{Explanation, codes, explain};
pub use deleted::DeletedLog;
pub use find::{Found, find};
pub use findings::{Finding, Severity};
pub use header::Header;
pub use holders::{Holder, HolderProcess, OtherLog, Processes};
pub use journal::{Journal, JournalState, SuperJournal};
pub use locks::Lock;
pub use report::{BackupFiles, DatabaseFile, DoctorReport, FileRole, JournalModes, PendingFrames, WalIndexFile};
pub use save::{SavedFile, save};
pub use wal::{Wal, WalHeader};
pub use wal_index::WalIndex;

use crate::error::{Cause, Error, Operation};
use crate::os::{FileId, FileKind, Os, SystemOs};
use holders::Libraries;
use std::io;
use std::path::{Path, PathBuf};

/// How often a database is looked at until two looks say the same, or there is nothing to worry about.
const LOOKS_MAX: u32 = 5;

/// A file to look for among descriptors and locks.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Target {
    role: FileRole,
    path: PathBuf,
    /// `None` if there is no such file.
    id: Option<FileId>,
}

/// Examines a database, its side files and their holders, without disturbing any process. See the [module](self).
///
/// # Errors
///
/// If there is nothing at the path, and no side file of it either; if a directory is; if the system does not let us
/// look. What cannot be read of an existing database is no error: [`DoctorReport::notes`] says so.
pub fn examine(path: &Path) -> Result<DoctorReport, Error> {
    let os = SystemOs::new();
    let refuse = |cause| Error::new(path, Operation::Resolve, cause);
    let path = &resolve(path, &os).map_err(|error| refuse(Cause::Io(error)))?;
    let status = |role: FileRole| os.status(&role.path(path)).map_err(|error| refuse(Cause::Io(error)));
    let database = status(FileRole::Database)?;
    match database.map(|status| status.kind) {
        Some(FileKind::Directory) => return Err(refuse(Cause::Directory)),
        Some(FileKind::Special) => {
            return Err(refuse(Cause::NoFile("it is a pipe, a socket or a device, not a file")));
        }
        Some(FileKind::File) => {}
        None if FileRole::SIDE_FILES.iter().all(|&role| matches!(status(role), Ok(None))) => {
            return Err(refuse(Cause::Missing));
        }
        None => {}
    }
    let mut libraries = Libraries::default();
    let mut report = look(path, &os, &mut libraries);
    // One look alone raises no alarm: files that were read at different moments may not fit each other.
    for _ in 1..LOOKS_MAX {
        let alarms = report.alarms();
        if alarms.is_empty() {
            break;
        }
        report = look(path, &os, &mut libraries);
        if report.alarms() == alarms {
            break;
        }
    }
    Ok(report)
}

/// The path that SQLite derives the names of the side files from: absolute and without symbolic links.
fn resolve(path: &Path, os: &SystemOs) -> io::Result<PathBuf> {
    match os.canonicalize(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            // The database may be gone while its side files are there.
            let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return Err(error) };
            let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
            os.canonicalize(parent).map(|parent| parent.join(name))
        }
        other => other,
    }
}

/// One look at everything, and what is to be said of it.
fn look(path: &Path, os: &SystemOs, libraries: &mut Libraries) -> DoctorReport {
    let mut report = observe::observe(path, os, libraries).summarize(path);
    report.copies = BackupFiles::beside(path);
    findings::add(&mut report);
    report
}

#[cfg(test)]
mod fuzz_tests;
#[cfg(test)]
mod tests;
