//! The files under a connection: which they are, and whether the names still lead to them.
//!
//! A database in WAL mode is three files. A connection has them open by inode; a process that opens the database later
//! finds them by name. Where these are not the same files, two processes no longer see the same database: a row that is
//! acknowledged then is lost for the other, or for both. So the names are compared with the open files after each
//! COMMIT, before it is acknowledged.
//!
//! What cannot be seen: a name that leads elsewhere and back between two checks; a second name that is a mount, not a
//! link. A status that cannot be had (a directory that may not be searched any more) says nothing and counts as
//! nothing.

use crate::error::Loss;
use crate::ffi::{Backfill, has_moved, raw_prefix};
use crate::open::LockingMode;
use crate::os::{FileId, FileStatus, Os, beside};
use crate::sync::{Arc, Mutex};
use rusqlite::Connection;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The paths of a database's files.
#[derive(Debug)]
pub(crate) struct Names {
    pub(crate) database: Arc<Path>,
    pub(crate) log: PathBuf,
    pub(crate) index: PathBuf,
}

/// Which files a connection has open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) database: FileId,
    /// `None` outside of WAL mode.
    pub(crate) log: Option<FileId>,
    /// `None` outside of WAL mode, and in exclusive mode.
    pub(crate) index: Option<FileId>,
}

/// When the file was changed last, and its length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    modified: Duration,
    bytes: u64,
}

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Files {
    names: Arc<Names>,
    pub(crate) identity: Identity,
    /// At the last check that found nothing wrong; in WAL mode alone.
    seen: Mutex<Option<Seen>>,
}

/// What a check found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Finding {
    Lost(Loss),
    /// The database has so many names.
    SecondName(u64),
}

/// What was found when a connection was set up.
pub(crate) enum Identified {
    Files(Files),
    /// A name leads elsewhere already.
    Lost(Loss),
    /// The log is not where SQLite keeps it.
    NoLog(Files),
    /// The files are not at their paths, or the system does not tell. SQLite's own question has to do.
    Unknown,
}

/// The database file at a check that found nothing wrong.
#[derive(Clone, Copy, Debug)]
struct Seen {
    stamp: Stamp,
    /// What page 1 begins with on the disk, and how far checkpoints had come then. `None` during a checkpoint, and
    /// where there is no wal-index.
    content: Option<([u8; 100], Backfill)>,
}

impl Names {
    pub(crate) fn new(database: Arc<Path>) -> Names {
        let (log, index) = (beside(&database, "-wal"), beside(&database, "-shm"));
        Names { database, log, index }
    }

    /// The files at the names, as far as the system tells.
    pub(crate) fn identity(&self, os: &dyn Os) -> (Option<FileId>, Option<FileId>, Option<FileId>) {
        let id = |path: &Path| look(path, os).ok().flatten().map(|file| file.id);
        (id(&self.database), id(&self.log), id(&self.index))
    }
}

/// The file at a path. Where a directory on the way is missing, so is the file.
pub(crate) fn look(path: &Path, os: &dyn Os) -> io::Result<Option<FileStatus>> {
    match os.status(path) {
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => Ok(None),
        answer => answer,
    }
}

impl Files {
    /// The files of a connection that has just been set up. Afterwards it is known that they are open in this process.
    pub(crate) fn identify(
        names: &Arc<Names>,
        conn: &Connection,
        (journal_mode, locking): (&str, LockingMode),
        os: &dyn Os,
    ) -> Identified {
        let Ok(Some(database)) = look(&names.database, os) else {
            return if has_moved(conn) { Identified::Lost(Loss::Database) } else { Identified::Unknown };
        };
        // In this order, a file that replaces the open one meanwhile is not mistaken for it.
        if has_moved(conn) {
            return Identified::Lost(Loss::Database);
        }
        let is_wal = journal_mode == "wal";
        let id = |path: &Path| look(path, os).ok().flatten().map(|file| file.id);
        let log = if is_wal { id(&names.log) } else { None };
        let index = if is_wal && locking == LockingMode::Shared { id(&names.index) } else { None };
        let identity = Identity { database: database.id, log, index };
        let files = Files { names: Arc::clone(names), identity, seen: Mutex::new(None) };
        if is_wal && log.is_none() {
            return Identified::NoLog(files);
        }
        if is_wal {
            let ids: Vec<FileId> = [log, index].into_iter().flatten().collect();
            if os.has_open(&ids) == Some(false) {
                return Identified::Lost(Loss::Log);
            }
            *files.seen.lock() = Some(files.look_closely(&database, conn, os));
        }
        Identified::Files(files)
    }

    /// What is wrong with the names, if anything is.
    pub(crate) fn check(&self, conn: &Connection, os: &dyn Os) -> Option<Finding> {
        let Identity { database, log, index } = self.identity;
        let found = match look(&self.names.database, os) {
            Ok(Some(file)) if file.id == database => file,
            Ok(_) => return Some(Finding::Lost(Loss::Database)),
            Err(_) => return None,
        };
        let is_lost = |path: &Path, id: Option<FileId>| {
            id.is_some_and(|id| look(path, os).is_ok_and(|file| file.is_none_or(|file| file.id != id)))
        };
        let loss = if is_lost(&self.names.log, log) {
            Some(Loss::Log)
        } else if is_lost(&self.names.index, index) {
            Some(Loss::Index)
        } else {
            None
        };
        // Switched off by the caller, on this connection: then SQLite itself has removed them.
        if let Some(loss) = loss
            && has_log(conn)
        {
            return Some(Finding::Lost(loss));
        }
        if loss.is_none() && log.is_some() && self.is_overwritten(&found, conn, os) {
            return Some(Finding::Lost(Loss::Overwritten));
        }
        if found.links > 1 {
            return Some(Finding::SecondName(found.links));
        }
        None
    }

    /// Looks at the content again if the file is as it was: the log may have begun anew, which changes no file.
    pub(crate) fn refresh(&self, conn: &Connection, os: &dyn Os) {
        let (Some(seen), Ok(Some(found))) = (self.seen(), look(&self.names.database, os)) else { return };
        if seen.stamp == Stamp::of(&found) {
            let now = self.look_closely(&found, conn, os);
            *self.seen.lock() = Some(Seen { content: now.content.or(seen.content), ..seen });
        }
    }

    /// Whether the database file is as it was when all names were right.
    pub(crate) fn is_unchanged(&self, path: &Path, os: &dyn Os) -> bool {
        let now = look(path, os).ok().flatten().filter(|file| file.id == self.identity.database);
        self.seen().is_some_and(|seen| now.is_some_and(|file| Stamp::of(&file) == seen.stamp))
    }

    /// In WAL mode only checkpoints change the file, and each of them says in the wal-index how far it wants to go
    /// before it begins. So other content without a checkpoint has come from elsewhere.
    fn is_overwritten(&self, found: &FileStatus, conn: &Connection, os: &dyn Os) -> bool {
        // Compared in place: the content is long.
        if self.seen.lock().as_ref().is_some_and(|seen| seen.stamp == Stamp::of(found)) {
            return false;
        }
        let now = self.look_closely(found, conn, os);
        let is_overwritten = self.seen().is_some_and(|before| now.is_foreign_after(&before));
        if !is_overwritten {
            *self.seen.lock() = Some(now);
        }
        is_overwritten
    }

    fn seen(&self) -> Option<Seen> {
        *self.seen.lock()
    }

    fn look_closely(&self, found: &FileStatus, conn: &Connection, os: &dyn Os) -> Seen {
        let stamp = Stamp::of(found);
        // A page may be read while it is written, and a read may fail in silence.
        let header = || raw_prefix(conn).filter(|header| raw_prefix(conn).as_ref() == Some(header));
        let backfill = || self.identity.index.and_then(|_| Backfill::of(conn)).filter(|backfill| backfill.is_at_rest());
        let content = backfill().and_then(|before| {
            let header = header()?;
            let is_at_rest = backfill().is_some_and(|now| now.is_as_far_as(before));
            let file = look(&self.names.database, os).ok().flatten()?;
            // Otherwise a checkpoint has come in between, and it is not known what belongs together.
            (is_at_rest && Stamp::of(&file) == stamp).then_some((header, before))
        });
        Seen { stamp, content }
    }
}

impl Seen {
    fn is_foreign_after(&self, before: &Seen) -> bool {
        let (Some((header, backfill)), Some((header_before, backfill_before))) = (self.content, before.content) else {
            return false;
        };
        backfill.is_as_far_as(backfill_before) && (header != header_before || self.stamp.bytes != before.stamp.bytes)
    }
}

impl Stamp {
    fn of(file: &FileStatus) -> Stamp {
        Stamp { modified: file.modified, bytes: file.bytes }
    }
}

fn has_log(conn: &Connection) -> bool {
    conn.query_row("PRAGMA main.journal_mode", [], |row| row.get::<_, String>(0)).is_ok_and(|mode| mode == "wal")
}
