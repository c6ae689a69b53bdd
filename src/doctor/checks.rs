//! The single checks: each examines one part of a report, and adds its findings.

use super::codes::Code;
use super::findings::{Findings, Severity, add_to, count, quick_check};
use super::journal::JournalState;
use super::report::{DoctorReport, FileRole};
use crate::error::PrintablePath;

/// Logs with more frames that wait for a checkpoint are reported: ten times what SQLite lets them grow to before it
/// tries a checkpoint by itself (`wal_autocheckpoint`, 1000 pages).
const PENDING_FRAMES_MAX: u64 = 10_000;
/// More copies beside a database than this are reported.
const COPIES_MAX: u64 = 20;

/// All of them; findings of the same severity come in this order.
pub(super) const CHECKS: [fn(&DoctorReport, &mut Findings); 10] = [
    identity,
    content,
    side_files_alone,
    holders_of_lost_files,
    log_and_database,
    log,
    wal_index,
    journal,
    locks,
    surroundings,
];

fn identity(report: &DoctorReport, findings: &mut Findings) {
    let Some(database) = &report.database else { return };
    if database.links > 1 {
        add_to(
            findings,
            Severity::Danger,
            Code::HardLinks,
            "the file has more than one name, and SQLite looks for side files by name",
            count(database.links, "name"),
            "use one name in all programs; remove the other names while no process has it open",
        );
    }
    if database.bytes == 0 {
        let log = report.wal.as_ref().map_or(0, |wal| wal.bytes);
        if log > 0 {
            let what = "the database is empty and has a log: at the next open SQLite deletes the log";
            let next = "do not open it; move the -wal away and find the database that it belongs to";
            let evidence = format!("a -wal of {log} bytes, {}", count(report.pending.frames, "committed frame"));
            add_to(findings, Severity::Danger, Code::WalBesideEmptyDatabase, what, evidence, next);
        } else {
            let what = "the file is empty, which SQLite takes for a new database";
            add_to(findings, Severity::Notice, Code::Empty, what, "0 bytes", "nothing to do, unless data was expected");
        }
    } else if database.header.is_none() && database.is_readable {
        let what = "no SQLite header: another kind of file, or an encrypted database";
        let next = "check the path; with an encrypted database, ask the application";
        add_to(findings, Severity::Danger, Code::NoHeader, what, count(database.bytes, "byte"), next);
    }
}

fn content(report: &DoctorReport, findings: &mut Findings) {
    let (Some(database), Some(header)) = (&report.database, report.header()) else { return };
    if header.read_version > 2 || header.write_version > 2 {
        let evidence = format!("read version {}, write version {}", header.read_version, header.write_version);
        let what = "the file format is newer than SQLite knows: it will be refused or opened read-only";
        add_to(findings, Severity::Warning, Code::UnknownFormat, what, evidence, quick_check(report));
    }
    // Only where nothing else may explain it: no log or journal that is not carried over yet, and no process at work.
    let is_explained = report.is_held() || report.pending.frames > 0 || report.journal.is_some();
    let pages_bytes = header.pages.map(|pages| u64::from(pages) * u64::from(header.page_bytes));
    if let Some(expected) = pages_bytes.filter(|&expected| !is_explained && database.bytes < expected) {
        let evidence = format!("{} bytes, and the header says {expected}", database.bytes);
        let what = "the file is shorter than its header says: cut off, or an unfinished copy";
        add_to(findings, Severity::Danger, Code::ShortFile, what, evidence, quick_check(report));
    }
}

fn side_files_alone(report: &DoctorReport, findings: &mut Findings) {
    if report.database.is_some() {
        return;
    }
    let committed = report.wal.as_ref().map_or(0, |wal| wal.committed_frames);
    let left = [
        report.wal.as_ref().map(|wal| format!("-wal of {} bytes, {}", wal.bytes, count(committed, "committed frame"))),
        report.wal_index.as_ref().map(|index| format!("-shm of {} bytes", index.bytes)),
        report.journal.as_ref().map(|journal| format!("-journal of {} bytes", journal.bytes)),
    ];
    let evidence = left.into_iter().flatten().collect::<Vec<_>>().join("; ");
    let has_data = committed > 0 || report.journal.as_ref().is_some_and(|j| j.state == JournalState::Written);
    let severity = if has_data { Severity::Danger } else { Severity::Warning };
    let what = "the database is gone and its side files are not: a new database of that name would lose or mix them";
    let next = "find where the database went and put it back, or move the side files away: seawall doctor DB --fix";
    add_to(findings, severity, Code::OrphanSideFiles, what, evidence, next);
}

fn holders_of_lost_files(report: &DoctorReport, findings: &mut Findings) {
    let lost: Vec<_> =
        report.holders.iter().filter(|holder| holder.deleted && holder.role != FileRole::InitLock).collect();
    if !lost.is_empty() {
        let told = lost.iter().map(|holder| {
            format!("{} ({}) has a deleted {} open, inode {}", holder.pid, holder.command, holder.role, holder.inode)
        });
        let what =
            "a process works on a file that has been deleted or replaced: its commits go to a file without a name";
        let next = format!(
            "stop writing; copy what is only there (/proc/{}/fd), then close and reopen that connection",
            lost[0].pid
        );
        add_to(findings, Severity::Danger, Code::DeletedButOpen, what, told.collect::<Vec<_>>().join("; "), next);
    }
    let has = |pid: u32, role: FileRole| report.holders.iter().any(|holder| holder.pid == pid && holder.role == role);
    let strangers =
        report.pids().into_iter().filter(|&pid| has(pid, FileRole::WalIndex) && !has(pid, FileRole::Database));
    let strangers: Vec<String> = strangers.map(|pid| pid.to_string()).collect();
    if !strangers.is_empty() {
        let what =
            "a process uses the -shm of this database and has another database file open: it was moved or replaced";
        let next = "stop writing; close and reopen the connections of that process";
        let evidence = format!("process {}", strangers.join(", "));
        add_to(findings, Severity::Danger, Code::RenamedUnderHolder, what, evidence, next);
    }
}

fn log_and_database(report: &DoctorReport, findings: &mut Findings) {
    let (Some(wal), Some(header)) = (&report.wal, report.header()) else { return };
    let Some(wal_header) = wal.header.as_ref().filter(|_| wal.committed_frames > 0) else { return };
    let next = "do not open it; copy database and -wal, and find out which database the -wal belongs to";
    if wal_header.page_bytes != header.page_bytes {
        let what = "the -wal belongs to another database";
        let evidence = format!("pages of {} bytes, the database's have {}", wal_header.page_bytes, header.page_bytes);
        add_to(findings, Severity::Danger, Code::ForeignLog, what, evidence, next);
    } else if !header.is_wal() {
        let what = "the database is not in WAL mode and has a -wal, which SQLite would replay into it";
        let evidence = count(wal.committed_frames, "committed frame");
        add_to(findings, Severity::Danger, Code::ForeignLog, what, evidence, next);
    } else if let Some(counter) = wal.change_counter.filter(|&counter| wal.is_stable && counter < header.change_counter)
    {
        let what = "the database is newer than its -wal, which SQLite would replay over it";
        let evidence = format!("change counter {} in the database, {counter} in the log", header.change_counter);
        add_to(findings, Severity::Danger, Code::ForeignLog, what, evidence, next);
    }
}

fn log(report: &DoctorReport, findings: &mut Findings) {
    let Some(wal) = report.wal.as_ref().filter(|_| report.database.is_some()) else { return };
    let pending = report.pending.frames;
    let at_most = if report.pending.is_exact { "" } else { "at most " };
    let evidence = format!("{at_most}{} of {} committed", count(pending, "frame"), wal.committed_frames);
    if pending > 0 {
        let next = if report.is_held() {
            "nothing to do; never delete the -wal, and copy it with the database"
        } else {
            "open it with the application, or run seawall doctor DB --fix; never delete the -wal"
        };
        let what = "the -wal has commits that the database file has not: it is data";
        add_to(findings, Severity::Notice, Code::PendingFrames, what, &evidence, next);
    }
    if pending > PENDING_FRAMES_MAX && report.pending.is_exact {
        let readers: Vec<String> = ["READ1", "READ2", "READ3", "READ4"]
            .iter()
            .flat_map(|name| report.lock_owners(FileRole::WalIndex, name))
            .map(|pid| pid.to_string())
            .collect();
        let what = "checkpoints do not keep up: a long reader, or none is ever run";
        let next = format!("end the long read transactions (process {}), then checkpoint", readers.join(", "));
        add_to(findings, Severity::Warning, Code::LongLog, what, &evidence, next);
    }
    if wal.uncommitted_frames > 0 {
        let evidence = format!("{} after the last commit", count(wal.uncommitted_frames, "frame"));
        let what =
            "the -wal ends in an unfinished transaction: going on, rolled back, or interrupted; no reader sees it";
        add_to(findings, Severity::Notice, Code::UnfinishedTransaction, what, evidence, "nothing to do");
    }
    if wal.header.is_none() && wal.bytes > 32 && wal.is_stable {
        let what = "the -wal has no valid header, so SQLite takes it for empty";
        let next = "copy it before a process writes, in case it is not";
        add_to(findings, Severity::Warning, Code::WalWithoutHeader, what, count(wal.bytes, "byte"), next);
    }
}

fn wal_index(report: &DoctorReport, findings: &mut Findings) {
    let Some(index) = report.wal_index.as_ref().filter(|_| report.database.is_some()) else { return };
    if !index.is_live {
        let what = "the -shm is a leftover: SQLite builds it anew at the next open, whatever it says";
        let next = "nothing to do; never delete it under an open connection";
        add_to(findings, Severity::Notice, Code::LeftoverShm, what, count(index.bytes, "byte"), next);
        return;
    }
    let Some(content) = &index.content else { return };
    if content.backfilled_frames > content.max_frame {
        let evidence = format!("nBackfill {} > mxFrame {}", content.backfilled_frames, content.max_frame);
        let what = "the wal-index says that more was checkpointed than there is: commits will be skipped";
        let next = "stop writing; read everything out through the live connection, then restore from it";
        add_to(findings, Severity::Danger, Code::WalReset, what, evidence, next);
    }
    if index.agrees == Some(false) {
        let committed = report.wal.as_ref().map_or(0, |wal| wal.committed_frames);
        let evidence = format!("{} frames in the wal-index, {committed} committed in the log", content.max_frame);
        let what = "the wal-index in use is not that of this -wal: one of the two was replaced under a connection";
        add_to(findings, Severity::Danger, Code::WalIndexDisagrees, what, evidence, quick_check(report));
    }
}

fn journal(report: &DoctorReport, findings: &mut Findings) {
    let Some(journal) = report.journal.as_ref().filter(|_| report.database.is_some()) else { return };
    let records = journal.records.map_or_else(|| "as many pages as it is long".to_owned(), |n| count(n.into(), "page"));
    let decided = journal.super_journal.as_ref().filter(|super_journal| !super_journal.exists);
    match journal.is_hot {
        Some(true) => {
            let what = "a transaction was interrupted: the journal is hot, and SQLite rolls it back at the next open";
            let next = "open it with the application, or run seawall doctor DB --fix; never delete the journal";
            let evidence = match decided {
                Some(of) => {
                    format!("{records}; its super-journal {} is gone, so it was committed", PrintablePath(&of.path))
                }
                None => format!("{records}; no process holds RESERVED"),
            };
            add_to(findings, Severity::Warning, Code::HotJournal, what, evidence, next);
        }
        None => {
            let what = "there is a journal, and locks cannot be seen: a transaction is going on, or was interrupted";
            add_to(findings, Severity::Notice, Code::JournalSeen, what, records, "never delete the journal");
        }
        Some(false) => {}
    }
}

fn locks(report: &DoctorReport, findings: &mut Findings) {
    let mut told = |role: FileRole, name: &'static str, code: Code, what: &str| {
        let owners = report.lock_owners(role, name);
        if !owners.is_empty() {
            let owners: Vec<String> = owners.iter().map(ToString::to_string).collect();
            let evidence = format!("process {} holds {name} on {role}", owners.join(", "));
            add_to(findings, Severity::Notice, code, what, evidence, "nothing to do, unless it lasts");
        }
    };
    told(FileRole::WalIndex, "WRITE", Code::Writing, "a write transaction is open");
    told(FileRole::WalIndex, "CKPT", Code::Checkpointing, "a checkpoint is running");
    told(FileRole::Database, "RESERVED", Code::Writing, "a write transaction is open");
    told(FileRole::Database, "EXCLUSIVE", Code::Exclusive, "one process has the database to itself");
}

fn surroundings(report: &DoctorReport, findings: &mut Findings) {
    if !report.notes.is_empty() {
        let next = "run the doctor as the user that owns the files";
        let what = "not every file could be read, so something may be hidden";
        add_to(findings, Severity::Warning, Code::Unreadable, what, report.notes.join("; "), next);
    }
    if let Some(system) = report.file_system.as_ref().filter(|system| system.is_network) {
        let is_wal = report.header().is_some_and(|header| header.is_wal());
        let severity = if is_wal { Severity::Warning } else { Severity::Notice };
        let what = "a network file system: its locks may not hold, and WAL mode works on one machine alone";
        let next = "use a local disk, or let one machine alone use the database";
        add_to(findings, severity, Code::NetworkFileSystem, what, &system.kind, next);
    }
    if report.copies.count > COPIES_MAX {
        let evidence = format!("{}, {} bytes", count(report.copies.count, "file"), report.copies.bytes);
        let what = "copies pile up beside the database";
        add_to(
            findings,
            Severity::Warning,
            Code::Copies,
            what,
            evidence,
            "bound the backups by number, and drop duplicates",
        );
    }
    if let Some(header) = report.header().filter(|header| header.is_wal() && header.has_wal_reset_defect()) {
        let by = header.written_by.as_deref().unwrap_or_default();
        let what = "last written by a SQLite that can lose commits when a checkpoint meets a restart of the log";
        let next = "move to SQLite 3.51.3 or later (or 3.50.7, 3.44.6)";
        add_to(findings, Severity::Notice, Code::WalResetDefect, what, format!("SQLite {by}"), next);
    }
}
