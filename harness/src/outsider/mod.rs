//! Outsiders: whatever touches the files of a database without going through the code under test: a backup script,
//! `rm`, another program.
//!
//! An [`OutsideAction`] happens at a call, by a rule with `outside=NAME`, on either medium. What it does to files is
//! written once, in [`change_files`], over the few operations of [`Files`]: those of the system or those of the
//! simulated machine. The names of the files that an outsider makes begin with the database's name:
//!
//! | name | what |
//! |---|---|
//! | `x.db.moved-N` | the database after the N-th `move` |
//! | `x.db.backup` | a backup of an earlier moment; [`copy_early`] makes a raw one if none is there |
//! | `x.db.copy`, `x.db-wal.copy`, `x.db-journal.copy` | raw copies of that moment |
//! | `x.db.second` | the second name of `second-name` |

mod action;
mod sentence;
pub(crate) mod system;

pub use action::{ACTION_WORDS, OutsideAction};
pub use system::{CHILD_LIFE, SystemFiles};

use crate::actor::Actor;

/// What an outsider does at a call of a process.
#[derive(Clone, Debug)]
pub struct Intervention {
    /// What is done.
    pub action: OutsideAction,
    /// The path of the database.
    pub database: String,
    /// The process that makes the call.
    pub process: u16,
    /// Sixty-four random bits for actions that choose.
    pub dice: u64,
}

/// What an outsider does to files. Each returns false if the system refuses, which an outsider ignores.
pub trait Files {
    /// True if there is a file of this name.
    fn exists(&self, path: &str) -> bool;

    /// Renames a file over whatever has the name.
    fn rename(&mut self, from: &str, to: &str) -> bool;

    /// Takes the name from a file.
    fn unlink(&mut self, path: &str) -> bool;

    /// Copies as `cp` does: into the file that has the name, if there is one.
    fn copy(&mut self, from: &str, to: &str) -> bool;

    /// Gives a file a second name.
    fn link(&mut self, from: &str, to: &str) -> bool;

    /// Takes rights away from the database and its directory; see [`Revocation`].
    fn revoke(&mut self, database: &str, what: Revocation) -> bool;

    /// Gives the rights back.
    fn restore_rights(&mut self, database: &str) -> bool;
}

/// Which rights are taken away. Files that are open stay usable, as POSIX has it, unless the file system itself is
/// read-only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Revocation {
    /// The database can be read only (`chmod a-w`).
    ReadOnlyFile,
    /// The database cannot be opened at all (`chmod 0`).
    ClosedFile,
    /// No file can be created, renamed or unlinked in the directory (`chmod a-w` of the directory).
    ReadOnlyDirectory,
}

impl Revocation {
    /// What an outsider does, as the rest of a sentence; `name` is the file name of the database.
    fn predicate(self, name: &str) -> String {
        match self {
            Self::ReadOnlyFile => format!("makes {name} read-only (chmod a-w)"),
            Self::ClosedFile => format!("takes all rights to {name} away (chmod 0)"),
            Self::ReadOnlyDirectory => format!("makes the directory of {name} read-only (chmod a-w)"),
        }
    }

    /// One of them.
    pub const fn draw(dice: u64) -> Self {
        match dice % 3 {
            0 => Self::ReadOnlyFile,
            1 => Self::ClosedFile,
            _ => Self::ReadOnlyDirectory,
        }
    }
}

/// The files that a process opens and closes beside SQLite: the database, or, as a copy of the folder does, its side
/// files as well.
pub(crate) fn touched(intervention: &Intervention) -> impl Iterator<Item = String> {
    let suffixes: &[&str] = if intervention.dice & 1 == 0 { &[""] } else { &["", "-wal", "-shm"] };
    suffixes.iter().map(|suffix| format!("{}{suffix}", intervention.database))
}

/// What an intervention came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Deed {
    /// False if no file was changed that the action is about, because it was not there.
    pub is_done: bool,
    /// The path of the file that resulted, if that is another one than the database.
    pub file: Option<String>,
}

impl Deed {
    const fn of(is_done: bool) -> Self {
        Self { is_done, file: None }
    }
}

/// What the intervention does to files. Actions that concern processes only do nothing here.
pub fn change_files(intervention: &Intervention, files: &mut dyn Files) -> Deed {
    let Intervention { action, database, dice, .. } = intervention;
    let beside = |suffix: &str| format!("{database}{suffix}");
    match action {
        OutsideAction::UnlinkSideFiles => {
            let has_log = files.unlink(&beside("-wal"));
            Deed::of(files.unlink(&beside("-shm")) || has_log)
        }
        OutsideAction::Move => {
            let is_free = |name: &String| !files.exists(name);
            let to = (1..1000).map(|n| beside(&format!("{MOVED}{n}"))).find(is_free);
            let to = to.filter(|to| files.rename(database, to));
            Deed { is_done: to.is_some(), file: to }
        }
        OutsideAction::Delete => Deed::of(files.unlink(database)),
        OutsideAction::Replace => replace(database, &backup(database, files), files),
        OutsideAction::Overwrite => {
            let backup = backup(database, files);
            Deed::of(files.copy(&backup, database))
        }
        OutsideAction::RestoreStaleLog if dice & 1 == 0 => replace(database, &backup(database, files), files),
        OutsideAction::RestoreStaleLog => {
            let backup = backup(database, files);
            Deed::of(files.copy(&backup, database))
        }
        OutsideAction::TornCopy => start_on_torn_copy(database, *dice, files),
        OutsideAction::SecondName => {
            let second = beside(SECOND);
            let is_done = files.link(database, &second) || files.exists(&second);
            Deed { is_done, file: Some(second) }
        }
        OutsideAction::Revoke => Deed::of(files.revoke(database, Revocation::draw(*dice))),
        OutsideAction::Touch | OutsideAction::Foreign | OutsideAction::Suspend | OutsideAction::Fork => Deed::of(true),
    }
}

/// Keeps raw copies of a database and its side files for the actions that bring an earlier state back. Those that are
/// there already are replaced.
pub fn copy_early(database: &str, files: &mut dyn Files) {
    for suffix in ["", "-wal", "-journal"] {
        let name = format!("{database}{suffix}");
        let copy = format!("{name}{COPY}");
        files.unlink(&copy);
        if files.exists(&name) {
            files.copy(&name, &copy);
        }
    }
}

/// True if an outsider made the file: no copy or side file of the code under test.
pub fn is_outsiders(database: &str, path: &str) -> bool {
    let Some(suffix) = path.strip_prefix(database) else { return false };
    let suffix = ["-wal", "-shm", "-journal"].iter().find_map(|side| suffix.strip_suffix(side)).unwrap_or(suffix);
    suffix.starts_with(MOVED) || suffix.ends_with(COPY) || [BACKUP, NEXT, SECOND].contains(&suffix)
}

/// The actor in whose name another program works in the simulator.
pub const OUTSIDER: Actor = Actor { process: 900, thread: 1 };

/// What another program does to a database: it writes a row to a table of its own.
pub const OUTSIDE_PROGRAM_SQL: &str =
    "CREATE TABLE IF NOT EXISTS outsiders(note TEXT); INSERT INTO outsiders VALUES (hex(zeroblob(400)))";

/// The end of a backup's name.
pub const BACKUP: &str = ".backup";
/// The end of the second name of a database.
pub const SECOND: &str = ".second";
/// What a moved database's name continues with.
pub const MOVED: &str = ".moved-";
const COPY: &str = ".copy";
const NEXT: &str = ".next";

/// The backup, or else the raw copy of an earlier moment, or else the file as it is on the disk now, which lacks what
/// is in the log.
fn backup(database: &str, files: &mut dyn Files) -> String {
    let backup = format!("{database}{BACKUP}");
    if !files.exists(&backup) {
        let copy = format!("{database}{COPY}");
        let from = if files.exists(&copy) { &copy } else { database };
        files.copy(from, &backup);
    }
    backup
}

/// A copy of `source` is renamed over the database.
fn replace(database: &str, source: &str, files: &mut dyn Files) -> Deed {
    let next = format!("{database}{NEXT}");
    files.unlink(&next);
    Deed::of(files.copy(source, &next) && files.rename(&next, database))
}

/// The database of an earlier moment with the log of now, or the database of now with the log of an earlier moment.
fn start_on_torn_copy(database: &str, dice: u64, files: &mut dyn Files) -> Deed {
    let log = ["-wal", "-journal"].map(|suffix| format!("{database}{suffix}"));
    let is_early = |name: &str, files: &dyn Files| files.exists(&format!("{name}{COPY}"));
    let mut deed = Deed::default();
    if dice & 1 == 0 || log.iter().all(|log| !is_early(log, files)) {
        if is_early(database, files) {
            deed = replace(database, &format!("{database}{COPY}"), files);
        }
    } else {
        for log in log.iter().filter(|log| files.exists(&format!("{log}{COPY}"))).cloned().collect::<Vec<_>>() {
            deed.is_done |= replace(&log, &format!("{log}{COPY}"), files).is_done;
            deed.file = Some(log);
        }
    }
    // A copy has no wal-index.
    files.unlink(&format!("{database}-shm"));
    deed
}

#[cfg(test)]
mod tests;
