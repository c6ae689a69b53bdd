//! One look at everything.

use super::deleted::{self, DeletedLog};
use super::holders::{self, Holder, HolderProcess, Libraries, OtherLog};
use super::journal::{Journal, JournalRecords};
use super::kernel_locks::{self, KernelLock};
use super::locks::{self, Lock};
use super::report::FileRole;
use super::summary::Observations;
use super::surroundings::Surroundings;
use super::wal::{PageComparison, Wal};
use super::{Target, wal_index};
use crate::ffi::read_in_child;
use crate::os::{Os, SystemOs};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What the findings are made from beside what the report shows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Evidence {
    /// Whether the header of the database was the same before the log was read and after the locks were looked at.
    pub(super) is_header_still: bool,
    /// The first bytes of the database.
    pub(super) first_bytes: Vec<u8>,
    /// Whether the database was written or replaced after the last change of the log.
    pub(super) is_database_later: bool,
    /// Whether the database's file was made after the last change of the journal.
    pub(super) is_journal_older: bool,
    /// How much of the log is in the database; looked at where no process has it open.
    pub(super) comparison: Option<PageComparison>,
    pub(super) journal: Option<JournalRecords>,
    /// Locks that the kernel knows of and that belong to no process that can be seen.
    pub(super) unseen_locks: Vec<KernelLock>,
    pub(super) surroundings: Surroundings,
    /// For a process that has the side files open and another database: the names of its databases.
    pub(super) moved_to: Vec<(u32, Vec<PathBuf>)>,
    /// Side files with content beside another name of the database in the same directory.
    pub(super) other_side_files: Vec<PathBuf>,
}

/// What was found out about processes.
#[derive(Default)]
pub(super) struct Users {
    pub(super) details: Vec<HolderProcess>,
    pub(super) lockless: Vec<u32>,
    pub(super) other_logs: Vec<OtherLog>,
    pub(super) deleted_logs: Vec<DeletedLog>,
}

impl Users {
    fn of(
        path: &Path,
        targets: &[Target],
        holders: &[Holder],
        locks: Option<&[Lock]>,
        libraries: &mut Libraries,
        os: &SystemOs,
    ) -> Users {
        let other_logs = holders::strays::scan(targets, holders);
        Users {
            details: holders::details_of(holders, libraries),
            lockless: holders::lockless::scan(targets, holders, locks, os),
            deleted_logs: deleted::scan(path, holders, &other_logs, os),
            other_logs,
        }
    }
}

/// How much of a log is in the database, where no process has either open.
fn comparison(path: &Path, wal: &Wal, holders: &[Holder]) -> Option<PageComparison> {
    let is_open = |holder: &Holder| !holder.deleted && matches!(holder.role, FileRole::Wal | FileRole::Database);
    if holders.iter().any(is_open) || wal.committed_frames == 0 {
        return None;
    }
    PageComparison::of(wal, &FileRole::Wal.path(path), path).ok().flatten()
}

pub(super) fn observe(path: &Path, os: &SystemOs, libraries: &mut Libraries) -> Observations {
    let mut notes = Vec::new();
    let mut told = |step: &str, error: &io::Error| notes.push(format!("{step}: {error}"));
    let status = |role: FileRole| os.status(&role.path(path)).ok().flatten();
    let header = status(FileRole::Database).and_then(|_| {
        read_in_child(path).map_err(|error| told("the header of the database could not be read", &error)).ok()
    });
    let database = status(FileRole::Database);
    let journal_path = FileRole::Journal.path(path);
    let read_journal = || Journal::read(&journal_path);
    let journal = read_journal();

    // In this order: a wal-index that is the same all the time belongs to the log in between, unless a process that
    // held a lock when the locks were read was writing; and a journal that is the same before and after was not being
    // written.
    let index = wal_index(path);
    let wal = Wal::read(&FileRole::Wal.path(path));
    let targets = targets(path, os);
    let (holders, processes) = holders::scan(&targets, os);
    let locks = locks::scan(&targets, &holders);
    let unseen_locks = kernel_locks::unseen(path, locks.as_deref());
    let is_index_still = match (&index, wal_index(path)) {
        (Some(Ok(before)), Some(Ok(after))) => *before == after,
        _ => false,
    };
    let is_journal_still = match (&journal, read_journal()) {
        (Ok(before), Ok(after)) => *before == after,
        _ => false,
    };
    let wal = wal.map_err(|error| told("the -wal could not be read", &error)).ok().flatten();
    let mut journal = journal.map_err(|error| told("the -journal could not be read", &error)).ok().flatten();
    if let Some(Err(error)) = &index {
        told("the -shm could not be read", error);
    }
    let users = Users::of(path, &targets, &holders, locks.as_deref(), libraries, os);
    let is_reserved = locks.iter().flatten().any(|lock| lock.holds(FileRole::Database, "RESERVED"));
    let records = journal.as_mut().filter(|_| is_journal_still && !is_reserved);
    let records = records.and_then(|journal| journal.read_records(&journal_path).ok().flatten());
    let evidence = Evidence {
        is_header_still: header.is_some() && header == read_in_child(path).ok(),
        first_bytes: header.clone().unwrap_or_default(),
        is_database_later: is_database_later(path, os),
        is_journal_older: is_journal_older(path, os),
        comparison: wal.as_ref().and_then(|wal| comparison(path, wal, &holders)),
        journal: records,
        unseen_locks,
        surroundings: Surroundings::of(path, &users.details, os.pid()),
        moved_to: moved_to(&targets, &holders),
        other_side_files: other_side_files(path, os),
    };
    Observations {
        database,
        header,
        wal,
        journal,
        index: index.and_then(Result::ok),
        index_status: status(FileRole::WalIndex),
        is_index_still,
        is_journal_still,
        holders,
        processes,
        locks,
        file_system: os.file_system(path.parent().unwrap_or(path)),
        notes,
        users,
        evidence,
    }
}

/// Where the processes have their database that use the side files and not this database.
fn moved_to(targets: &[Target], holders: &[Holder]) -> Vec<(u32, Vec<PathBuf>)> {
    let has = |pid: u32, role: FileRole| holders.iter().any(|holder| holder.pid == pid && holder.role == role);
    let mut pids: Vec<u32> = holders.iter().map(|holder| holder.pid).collect();
    pids.dedup();
    let writes_journal = |pid: u32| {
        let is_it = |holder: &Holder| holder.pid == pid && holder.role == FileRole::Journal && holder.can_write;
        holders.iter().any(is_it)
    };
    pids.retain(|&pid| !has(pid, FileRole::Database) && (has(pid, FileRole::WalIndex) || writes_journal(pid)));
    let moved = pids.into_iter().map(|pid| (pid, holders::strays::databases_without_log(pid, targets)));
    // What writes to a journal and has no database open may be any program.
    moved.filter(|(pid, databases)| has(*pid, FileRole::WalIndex) || !databases.is_empty()).collect()
}

/// How long a program may take to give all files of a database a new owner or mode.
const ROW_MAX: Duration = Duration::from_secs(2);

/// Whether the database was written or replaced after the last change of the log, as far as times tell. A log that is
/// a copy with its old times tells nothing.
fn is_database_later(path: &Path, os: &SystemOs) -> bool {
    let log = FileRole::Wal.path(path);
    let (Some(database), Some(wal)) = (os.changed(path), os.changed(&log)) else { return false };
    let modified = |path: &Path| os.status(path).ok().flatten().map(|status| status.modified);
    let (Some(content), Some(of_log)) = (modified(path), modified(&log)) else { return false };
    let is_copy = os.born(&log).is_some_and(|born| of_log + Duration::from_millis(1) < born);
    // A new owner or mode for all files in a row is no restore. Where the log has got one, the database may have got
    // its own some time after.
    let is_touched = wal > of_log + Duration::from_millis(1);
    let is_replaced = database > wal + if is_touched { ROW_MAX } else { Duration::from_millis(5) };
    database > wal && !is_copy && (content > of_log || is_replaced)
}

/// Whether the database's file was made after the last change of the journal.
fn is_journal_older(path: &Path, os: &SystemOs) -> bool {
    let journal = FileRole::Journal.path(path);
    let (Some(born), Ok(Some(status))) = (os.born(path), os.status(&journal)) else { return false };
    let is_copy = os.born(&journal).is_none_or(|born| status.modified + Duration::from_millis(1) < born);
    born > status.modified && !is_copy
}

/// Logs and journals with content beside other names of the same file, in the directory of the database.
fn other_side_files(path: &Path, os: &SystemOs) -> Vec<PathBuf> {
    const ENTRIES_MAX: usize = 10_000;
    let Ok(Some(database)) = os.status(path) else { return Vec::new() };
    if database.links < 2 {
        return Vec::new();
    }
    let entries = path.parent().and_then(|directory| os.list_dir(directory, ENTRIES_MAX).ok()).unwrap_or_default();
    let is_same =
        |other: &PathBuf| other != path && matches!(os.status(other), Ok(Some(found)) if found.id == database.id);
    let side_files = |name: PathBuf| [FileRole::Wal, FileRole::Journal].map(|role| role.path(&name));
    let has_content = |file: &PathBuf| matches!(os.status(file), Ok(Some(found)) if found.bytes > 0);
    entries.into_iter().filter(is_same).flat_map(side_files).filter(has_content).collect()
}

/// The beginning of the `-shm`; `None` if there is none.
fn wal_index(path: &Path) -> Option<io::Result<Vec<u8>>> {
    match read_in_child(&FileRole::WalIndex.path(path)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Ok(mut bytes) => {
            bytes.truncate(wal_index::WAL_INDEX_BYTES);
            Some(Ok(bytes))
        }
        other => Some(other),
    }
}

fn targets(path: &Path, os: &SystemOs) -> Vec<Target> {
    let target = |role: FileRole| {
        let path = role.path(path);
        let id = os.status(&path).ok().flatten().map(|status| status.id);
        Target { role, path, id }
    };
    FileRole::ALL.into_iter().map(target).collect()
}
