//! Logs and journals that a holder of the database has open and that are not those beside it.

use super::{Descriptor, Holder, can_write, former_name};
use crate::doctor::wal::WalHeader;
use crate::doctor::{FileRole, Target};
use crate::ffi::read_in_child;
use crate::os::{FileId, beside};
use serde::Serialize;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// The most descriptors of one process that are looked at.
const DESCRIPTORS_MAX: usize = 1 << 16;
/// The most files of one process whose first bytes are looked at.
const FILES_MAX: usize = 64;

/// A log or a journal at another name, open in a process that has this database open.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct OtherLog {
    /// The process.
    pub pid: u32,
    /// Its name.
    pub command: String,
    /// Its descriptor of the log, as in `/proc/PID/fd`.
    pub descriptor: u32,
    /// The name of the log, as the kernel shows it.
    #[serde(serialize_with = "super::lossy")]
    pub name: PathBuf,
    /// Whether that name exists no more.
    pub is_deleted: bool,
    /// The name under which the process has the database open, as the kernel shows it.
    #[serde(serialize_with = "super::lossy")]
    pub database: PathBuf,
    /// Whether the log is beside that name: a second name of the same file. Else it was left behind by a rename.
    pub is_second_name: bool,
    /// The name that the database had when it was opened, by the name of the log; `None` if the log itself has another
    /// name.
    #[serde(skip)]
    pub(in crate::doctor) former: Option<PathBuf>,
    /// Whether there is a file of that name now.
    #[serde(skip)]
    pub(in crate::doctor) is_former_taken: bool,
    /// Whether it is the journal of a transaction that is going on.
    #[serde(skip)]
    pub(in crate::doctor) is_journal: bool,
}

/// The logs of holders that have the database open and not its log, and the journals of those that have neither.
pub(in crate::doctor) fn scan(targets: &[Target], holders: &[Holder]) -> Vec<OtherLog> {
    let mut logs = Vec::new();
    for holder in holders.iter().filter(|holder| holder.role == FileRole::Database && !holder.deleted) {
        let has = |role: FileRole| holders.iter().any(|other| other.pid == holder.pid && other.role == role);
        if has(FileRole::Wal) {
            continue;
        }
        let found = of_holder(holder, has(FileRole::WalIndex), targets);
        if found.is_empty() && !has(FileRole::Journal) {
            logs.extend(journals(holder, targets));
        } else {
            logs.extend(found);
        }
    }
    logs
}

/// Journals that a process writes at other names than that of the database. SQLite begins no transaction in a rollback
/// mode on a database that has been renamed; but one that is going on then, and one with a journal that stays open,
/// goes on.
fn journals(holder: &Holder, targets: &[Target]) -> Vec<OtherLog> {
    let process = PathBuf::from(format!("/proc/{}", holder.pid));
    let open = open_files(&process);
    let names: Vec<&Path> = open.iter().filter(|file| file.id == holder.id()).map(|file| file.name.as_path()).collect();
    let mut logs = Vec::new();
    for file in open.iter().filter(|file| file.links > 0 && !targets.iter().any(|target| target.id == Some(file.id))) {
        let Some(base) = file.name.as_os_str().as_bytes().strip_suffix(b"-journal") else { continue };
        let base = Path::new(std::ffi::OsStr::from_bytes(base));
        // The journal of another database of the process, or of a second name.
        let is_of_other = open.iter().any(|other| other.name == base);
        if !is_of_other && can_write(&process, file.number) {
            logs.push(OtherLog {
                pid: holder.pid,
                command: holder.command.clone(),
                descriptor: file.number,
                former: Some(base.to_owned()),
                is_former_taken: fs::symlink_metadata(base).is_ok(),
                name: file.name.clone(),
                is_deleted: false,
                database: names.first().map_or_else(PathBuf::new, |name| (*name).to_owned()),
                is_second_name: false,
                is_journal: true,
            });
        }
    }
    logs
}

fn of_holder(holder: &Holder, has_index: bool, targets: &[Target]) -> Vec<OtherLog> {
    let process = PathBuf::from(format!("/proc/{}", holder.pid));
    let open = open_files(&process);
    let is_database = |file: &Descriptor| file.id == holder.id();
    let names: Vec<&Path> = open.iter().filter(|file| is_database(file)).map(|file| file.name.as_path()).collect();
    let mut looked_at = 0;
    let mut logs = Vec::new();
    for file in open.iter().filter(|file| !targets.iter().any(|target| target.id == Some(file.id))) {
        let (name, has_remark) = former_name(&file.name);
        let base =
            name.as_os_str().as_bytes().strip_suffix(b"-wal").map(|base| Path::new(std::ffi::OsStr::from_bytes(base)));
        let is_deleted = has_remark && file.links == 0;
        let is_second_name = base.is_some_and(|base| names.contains(&base));
        // The log of another database that the process has open.
        let is_of_other =
            base.is_some_and(|base| !names.contains(&base) && open.iter().any(|other| other.name == base));
        let is_log = is_second_name
            || (!is_of_other && (base.is_some() || has_index) && can_write(&process, file.number) && {
                looked_at += 1;
                looked_at <= FILES_MAX && is_log(&process, file.number)
            });
        if is_log {
            logs.push(OtherLog {
                pid: holder.pid,
                command: holder.command.clone(),
                descriptor: file.number,
                former: base.filter(|_| !is_second_name).map(Path::to_owned),
                is_former_taken: base.is_some_and(|base| fs::symlink_metadata(base).is_ok()),
                name: name.clone(),
                is_deleted,
                database: names.first().map_or_else(PathBuf::new, |name| (*name).to_owned()),
                is_second_name,
                is_journal: false,
            });
        }
    }
    logs
}

fn open_files(process: &Path) -> Vec<Descriptor> {
    let entries = fs::read_dir(process.join("fd")).into_iter().flatten().flatten();
    entries.take(DESCRIPTORS_MAX).filter_map(|entry| Descriptor::read(&entry.path())).collect()
}

/// Whether a file begins like a log; an empty one may be one as well, and has nothing in it.
fn is_log(process: &Path, descriptor: u32) -> bool {
    read_in_child(&process.join(format!("fd/{descriptor}"))).is_ok_and(|bytes| WalHeader::parse(&bytes).is_some())
}

/// Names under which a process that has side files of the database open has another database open: what has become of
/// one that was moved away.
pub(in crate::doctor) fn databases_without_log(pid: u32, targets: &[Target]) -> Vec<PathBuf> {
    let process = PathBuf::from(format!("/proc/{pid}"));
    let open = open_files(&process);
    let is_target = |id: FileId| targets.iter().any(|target| target.id == Some(id));
    let has_log = |file: &Descriptor| {
        ["-wal", "-journal"].iter().any(|suffix| open.iter().any(|other| other.name == beside(&file.name, suffix)))
    };
    let others = open.iter().filter(|file| !is_target(file.id) && !has_log(file)).take(FILES_MAX);
    let is_database = |file: &&Descriptor| {
        read_in_child(&process.join(format!("fd/{}", file.number)))
            .is_ok_and(|bytes| bytes.starts_with(b"SQLite format 3\0"))
    };
    let mut names: Vec<PathBuf> = others.filter(is_database).map(|file| file.name.clone()).collect();
    names.sort();
    names.dedup();
    names
}
