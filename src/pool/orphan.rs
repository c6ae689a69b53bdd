//! Files that have lost a name while they were open: what is done so that no row is lost, and none gets into another
//! file.
//!
//! A connection goes on with the files that it has open, whatever their names. Others find the files by name. So no
//! file may be opened at the path beside a log or a wal-index that is still in use with another one, and no log may be
//! written into a file that does not belong to it. The caller holds the lock of first connects, and no reader is out.
//!
//! | lost | sole user | others use the files |
//! |---|---|---|
//! | the database, which has another name | the log is emptied into it | log and wal-index get names beside it |
//! | the database, which has no name | copied; the log is emptied | copied; log and wal-index get other names |
//! | the log | emptied into the database, if that is proven to be safe; else copied | copied |
//! | the wal-index | nothing: the log has all rows. Copied, if another process has made a new index | copied |
//! | the content: overwritten | the log gets another name | the same |
//!
//! Files that get another name stay in use: a process that has them open has all three, and goes on undisturbed.
//! Afterwards the connection is closed without a checkpoint and without unlinking a name. Where another program still
//! has the old log open under a database that has its name, the connection is kept instead, and no call is served.
//!
//! A database that loses its last name while it is opened is copied too, and nothing else is done to its files.
//!
//! Emptying is proven to be safe if SQLite's own question for a sole user is answered with yes, no other process claims
//! the database or is seen to have one of the files open, no other log with frames has the name, and the database is as
//! it was at the last check at which all names were right. If a part of a lost log has been checkpointed, the database
//! is of no use without the rest: then a sole user empties the log into it as well, after the copy.

use super::claims::Claim;
use super::files::{Files, Identity, look};
use crate::error::{Loss, Rescue, describe, extended_code};
use crate::ffi::{self, Backfill, SoleUser};
use crate::open::LockingMode;
use crate::open::log_memory::{LOG_HEADER_BYTES, Note};
use crate::os::{FileId, Os, beside, create_for_copy};
use crate::quarantine::keep_log;
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, OpenFlags};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// How many files with one suffix are kept beside a database.
const NAMES_MAX: u32 = 1000;

/// A copy that was tried: where it is and what is wrong with it, or why there can be none.
pub(crate) type Copied = Result<(PathBuf, Option<String>), rusqlite::Error>;

/// A connection whose files have lost a name.
pub(crate) struct Orphan<'a> {
    pub(super) path: &'a Path,
    pub(super) conn: &'a Connection,
    pub(super) locking: LockingMode,
    /// `None` if it is not known which files they are.
    pub(super) files: Option<&'a Files>,
    pub(super) claim: Option<&'a Claim>,
    pub(super) vfs: Option<&'a str>,
    pub(super) os: &'a dyn Os,
}

/// Who uses the files.
enum Users<'a> {
    /// This connection alone. The lock that proves it is held.
    Sole { _lock: Option<SoleUser<'a>> },
    /// Other processes with this layer, which will notice as this one did.
    Layered,
    /// Others. `has_log` says whether they have the log or the wal-index of this connection open, where it is known.
    Others { who: String, has_log: Option<bool> },
}

impl Orphan<'_> {
    /// Does what the table says. Afterwards the connection may be closed, unless the answer is [`Rescue::Pending`];
    /// then call it again with the same `copied`, so that there is one copy.
    pub(crate) fn secure(&self, loss: Loss, copied: &mut Option<Copied>) -> Rescue {
        let Some(files) = self.files else { return self.secure_unidentified(copied) };
        let secured = match loss {
            Loss::Database => self.secure_database(files.identity, copied),
            Loss::Log | Loss::Index => self.secure_log(files, loss, copied),
            Loss::Overwritten => {
                self.set_aside(files.identity, None).map(|base| Rescue::LogKept(beside(&base, "-wal")))
            }
        };
        let rescue = secured.and_then(|rescue| keep_log(self.conn).map(|()| rescue));
        match (rescue, copied.take()) {
            (Err(error), before) => {
                *copied = before;
                Rescue::Pending(error)
            }
            (Ok(_), Some(copied)) => rescue_of(copied),
            (Ok(rescue), None) => rescue,
        }
    }

    /// Copies a database that lost its last name while it was opened. Nothing else is done: its log was opened by name
    /// and may be in use with the file that is at the path now.
    pub(crate) fn copy_nameless(&self, database: FileId) -> Rescue {
        let mut copied = None;
        match self.copy(database, &mut copied).map(|()| copied) {
            Ok(Some(copied)) => rescue_of(copied),
            Err(error) => Rescue::Unreadable(error),
            Ok(None) => Rescue::InFile { moved_to: None },
        }
    }

    fn secure_database(&self, identity: Identity, copied: &mut Option<Copied>) -> rusqlite::Result<Rescue> {
        if self.is_at(self.path, identity.database) {
            // It has come back meanwhile.
            return Ok(Rescue::InFile { moved_to: None });
        }
        let moved_to = self.os.name_of(identity.database);
        let has_name = moved_to.is_some() || self.os.names_left(identity.database).is_some_and(|names| names > 0);
        let in_file = Rescue::InFile { moved_to: moved_to.clone() };
        let Some(log) = identity.log else {
            return if has_name { Ok(in_file) } else { self.copy(identity.database, copied).map(|()| in_file) };
        };
        let is_log_at = |base: &Path| self.is_at(&beside(base, "-wal"), log);
        let bases = [Some(self.path.to_owned()), moved_to.clone()].into_iter().flatten();
        let log_base = bases.chain(self.orphan_bases(identity.database)).find(|base| is_log_at(base));
        if !has_name || log_base.is_none() {
            self.copy(identity.database, copied)?;
        }
        let users = self.users(&identity);
        let is_emptied = log_base.is_some() && matches!(users, Users::Sole { .. }) && empty_log(self.conn).is_ok();
        drop(users);
        if is_emptied {
            return Ok(in_file);
        }
        if moved_to.is_none() {
            // Where it is cannot be told, so its log cannot be put beside it.
            self.copy(identity.database, copied)?;
        }
        if log_base.as_deref() == Some(self.path) {
            self.set_aside(identity, moved_to.as_deref())?;
        }
        Ok(in_file)
    }

    fn secure_log(&self, files: &Files, loss: Loss, copied: &mut Option<Copied>) -> rusqlite::Result<Rescue> {
        let in_file = Rescue::InFile { moved_to: None };
        let users = self.users(&files.identity);
        let is_free = |suffix: &str, bytes_max: u64| {
            let found = look(&beside(self.path, suffix), self.os);
            found.is_ok_and(|file| file.is_none_or(|file| file.bytes <= bytes_max))
        };
        if matches!(users, Users::Sole { .. }) && copied.is_none() {
            let is_safe = match loss {
                // The log has its name, and all rows.
                Loss::Index => is_free("-shm", 0),
                _ => {
                    let is_provable = is_free("-wal", LOG_HEADER_BYTES) && files.is_unchanged(self.path, self.os);
                    is_provable && empty_log(self.conn).is_ok()
                }
            };
            if is_safe {
                return Ok(in_file);
            }
        }
        self.copy(files.identity.database, copied)?;
        let is_partial =
            || files.identity.index.and_then(|_| Backfill::of(self.conn)).is_some_and(Backfill::is_partial);
        if matches!(users, Users::Sole { .. }) && loss == Loss::Log && is_free("-wal", LOG_HEADER_BYTES) && is_partial()
        {
            // The rest of the log cannot make it worse, and no other place has it. The rows are in the copy already.
            let _ = empty_log(self.conn);
        }
        match users {
            Users::Sole { .. } | Users::Layered | Users::Others { has_log: Some(false), .. } => Ok(in_file),
            Users::Others { who, .. } => Err(busy(format!("{who} still has the old log open"))),
        }
    }

    /// Without knowing the files: as far as SQLite's own answers go.
    fn secure_unidentified(&self, copied: &mut Option<Copied>) -> Rescue {
        match empty_log(self.conn).and_then(|()| keep_log(self.conn)) {
            Ok(()) => Rescue::InFile { moved_to: None },
            Err(error) => {
                *copied = None;
                Rescue::Pending(error)
            }
        }
    }

    fn users(&self, identity: &Identity) -> Users<'_> {
        if self.claim.is_some_and(|claim| claim.is_shared(identity)) {
            return Users::Layered;
        }
        let pids =
            |ids: &[FileId]| self.os.holders(ids).ok().map(|holders| (holders.has_others(), holders.to_string()));
        let log_files: Vec<FileId> = [identity.log, identity.index].into_iter().flatten().collect();
        let lock = SoleUser::ask(self.conn);
        let is_locked = lock.is_some() || self.locking == LockingMode::Exclusive;
        let seen = pids(&[&[identity.database], log_files.as_slice()].concat());
        let is_seen = seen.as_ref().is_some_and(|(has_others, _)| *has_others);
        if is_locked && !is_seen {
            return Users::Sole { _lock: lock };
        }
        let who = seen.filter(|(has_others, _)| *has_others).map_or("another connection".to_owned(), |(_, who)| who);
        Users::Others { who, has_log: pids(&log_files).map(|(has_others, _)| has_others) }
    }

    /// Gives log and wal-index names beside the database, or beside a name that no database has. The wal-index goes
    /// first: a log without its index is rebuilt into a new one by the next opener.
    fn set_aside(&self, identity: Identity, moved_to: Option<&Path>) -> rusqlite::Result<PathBuf> {
        let is_missing = |path: &Path| matches!(self.os.status(path), Ok(None));
        let is_free = |base: &PathBuf| ["-wal", "-shm"].iter().all(|suffix| is_missing(&beside(base, suffix)));
        let orphan_base = self.orphan_bases(identity.database).find(is_free);
        let bases = [moved_to, orphan_base.as_deref()];
        let mut failure = None;
        for base in bases.into_iter().flatten() {
            match self.rename_to(base, identity) {
                Ok(()) => {
                    if let Some(log) = identity.log
                        && let Some(path) = moved_to
                        && let Some(note) = Note::about(
                            path,
                            (identity.database, ffi::raw_prefix(self.conn)),
                            &beside(base, "-wal"),
                            log,
                            self.os,
                        )
                    {
                        note.with_set_aside(base).write(self.path, self.os);
                    }
                    return Ok(base.to_owned());
                }
                Err(error) => failure = Some(error),
            }
        }
        let why = failure.map(|error| error.to_string()).unwrap_or_default();
        Err(busy(format!("its log is in use and cannot be renamed ({why})")))
    }

    fn rename_to(&self, base: &Path, identity: Identity) -> std::io::Result<()> {
        let index = identity.index.filter(|index| self.is_at(&beside(self.path, "-shm"), *index));
        if index.is_some() {
            self.os.rename_new(&beside(self.path, "-shm"), &beside(base, "-shm"))?;
        }
        self.os.rename_new(&beside(self.path, "-wal"), &beside(base, "-wal")).inspect_err(|_| {
            if index.is_some() {
                // If this fails too, the next opener of the database makes a new one, as it does after a crash.
                let _ = self.os.rename_new(&beside(base, "-shm"), &beside(self.path, "-shm"));
            }
        })
    }

    fn is_at(&self, path: &Path, id: FileId) -> bool {
        look(path, self.os).ok().flatten().is_some_and(|file| file.id == id)
    }

    /// Where a log is put whose database is nowhere. There may be one from an earlier time: a file that is overwritten
    /// in place stays the same file.
    fn orphan_bases(&self, database: FileId) -> impl Iterator<Item = PathBuf> + use<'_> {
        self.numbered(format!(".orphan-{:x}", database.inode))
    }

    /// Names beside the database: this suffix, then with numbers.
    fn numbered(&self, suffix: String) -> impl Iterator<Item = PathBuf> + use<'_> {
        (0..NAMES_MAX).map(move |n| beside(self.path, &if n == 0 { suffix.clone() } else { format!("{suffix}-{n}") }))
    }

    /// Copies what the connection sees, once.
    fn copy(&self, database: FileId, copied: &mut Option<Copied>) -> rusqlite::Result<()> {
        if copied.is_some() {
            return Ok(());
        }
        let suffix = format!(".rescued-{:x}", database.inode);
        let is_free = |to: &PathBuf| matches!(self.os.status(to), Ok(None));
        let to = self.numbered(suffix.clone()).find(is_free).unwrap_or_else(|| beside(self.path, &suffix));
        let partial = beside(self.path, &format!("{suffix}.partial"));
        self.begin_copy(&to, &partial, database).map_err(|error| cannot_create(&to, &error))?;
        // As bytes: a path may not be valid text.
        let name = ToSqlOutput::Borrowed(ValueRef::Text(partial.as_os_str().as_bytes()));
        match self.conn.execute("VACUUM INTO ?1", [name]) {
            Ok(_) => {
                self.os.rename(&partial, &to).map_err(|error| cannot_create(&to, &error))?;
                let _ = to.parent().map(|directory| self.os.sync_dir(directory));
                *copied = Some(Ok((to.clone(), self.finding_in(&to))));
            }
            Err(error) => {
                // It holds nothing of use, and the disk may be full.
                let _ = self.begin_copy(&to, &partial, database);
                if !is_unreadable(&error) {
                    return Err(error);
                }
                *copied = Some(Err(error));
            }
        }
        Ok(())
    }

    /// An empty file under the name of copies that are not complete, in the place of what an earlier attempt has left.
    /// SQLite fills an empty file, and would create one that others may read.
    fn begin_copy(&self, to: &Path, partial: &Path, database: FileId) -> io::Result<()> {
        create_for_copy(to, Some(database), self.os)?;
        self.os.rename(to, partial)
    }

    /// What is wrong with a copy, if anything is.
    fn finding_in(&self, copy: &Path) -> Option<String> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let conn = match ffi::open(copy, flags, self.vfs) {
            Ok(conn) => conn,
            Err(failure) => return Some(describe(&failure.error)),
        };
        match conn.query_row("PRAGMA main.integrity_check(1)", [], |row| row.get::<_, String>(0)) {
            Ok(finding) => (finding != "ok").then_some(finding),
            Err(error) => Some(describe(&error)),
        }
    }
}

fn rescue_of(copied: Copied) -> Rescue {
    match copied {
        Ok((to, finding)) => Rescue::Copied { to, finding },
        Err(error) => Rescue::Unreadable(error),
    }
}

/// Whether the content, and not the way to it, keeps it from being copied.
fn is_unreadable(error: &rusqlite::Error) -> bool {
    use rusqlite::ffi::{SQLITE_CONSTRAINT, SQLITE_CORRUPT, SQLITE_ERROR, SQLITE_NOTADB};
    let primary = extended_code(error).map(|code| code & 0xff);
    primary.is_some_and(|code| [SQLITE_CORRUPT, SQLITE_NOTADB, SQLITE_CONSTRAINT, SQLITE_ERROR].contains(&code))
}

pub(super) fn busy(why: String) -> rusqlite::Error {
    rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_BUSY), Some(why))
}

fn cannot_create(to: &Path, error: &io::Error) -> rusqlite::Error {
    let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CANTOPEN);
    rusqlite::Error::SqliteFailure(code, Some(format!("{} cannot be created: {error}", to.display())))
}

/// Checkpoints the log into the file that it belongs to.
fn empty_log(conn: &Connection) -> rusqlite::Result<()> {
    let sql = "PRAGMA main.wal_checkpoint(TRUNCATE)";
    let is_busy: bool = conn.query_row(sql, [], |row| row.get(0))?;
    if is_busy { Err(busy("another connection is still reading from the log".to_owned())) } else { Ok(()) }
}
