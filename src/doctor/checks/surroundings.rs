//! What lies around: the file system, room, rights, temporary files, versions, and what could not be seen.

use crate::doctor::codes::Code;
use crate::doctor::findings::{Finding, Findings, Severity, count};
use crate::doctor::header::has_wal_reset_defect;
use crate::doctor::report::DoctorReport;
use crate::doctor::surroundings::known;
use crate::error::PrintablePath;

/// More copies beside a database than this are reported.
const COPIES_MAX: u64 = 20;
/// What SQLite needs to make a `-shm` and to write to a log.
const ROOM_BYTES_MIN: u64 = 64 << 10;

pub(super) fn surroundings(report: &DoctorReport, findings: &mut Findings) {
    let around = &report.evidence.surroundings;
    let is_wal = report.header().is_some_and(|header| header.is_wal());
    file_system(report, is_wal, findings);
    room(report, is_wal, findings);
    for problem in &around.rights {
        let is_meant = !problem.can_write_database && !is_wal && report.journal.is_none();
        // A file that may only be read, with a rollback journal, works for readers.
        if is_meant || report.database.is_none() {
            continue;
        }
        let evidence = format!("{}: {}; SQLite says {}", problem.whose, problem.what, problem.code);
        let next = "give all files and the directory to the user of the database, or the database's group the right to \
                    write (chown, chmod)";
        findings.push(Finding::new(Code::Rights, evidence, next));
    }
    for problem in &around.temp {
        let tried: Vec<String> = problem.tried.iter().map(|path| PrintablePath(path).to_string()).collect();
        let evidence = format!("{} may write to none of {}", problem.whose, tried.join(", "));
        let next = "set SQLITE_TMPDIR to a directory that the process may write to";
        findings.push(Finding::new(Code::TempUnwritable, evidence, next));
    }
    if around.is_read_only {
        let waits =
            report.pending.frames > 0 || report.journal.as_ref().is_some_and(|journal| journal.is_hot == Some(true));
        let severity = if waits || is_wal { Severity::Warning } else { Severity::Notice };
        let evidence = if waits { "a log or a hot journal waits to be carried over" } else { "mounted read-only" };
        let next = "mount it for writing, or copy the database with all side files to another disk and open it there";
        findings.push(Finding::new(Code::ReadOnlyMedium, evidence, next).with_severity(severity));
    }
    defects(report, is_wal, findings);
    if report.copies.count > COPIES_MAX {
        let evidence = format!("{}, {} bytes", count(report.copies.count, "file"), report.copies.bytes);
        findings.push(Finding::new(Code::Copies, evidence, "bound the backups by number, and drop duplicates"));
    }
}

fn file_system(report: &DoctorReport, is_wal: bool, findings: &mut Findings) {
    let Some(mount) = &report.evidence.surroundings.mount else { return };
    let Some(known) = known(&mount.kind) else { return };
    let severity = if is_wal { known.in_wal_mode } else { known.else_ };
    let next = match severity {
        Severity::Notice => "nothing to do, if that is known",
        _ => "use a local disk, or let one machine alone use the database",
    };
    let evidence = format!("{}: {}", mount.kind, known.text);
    findings.push(Finding::new(known.code, evidence, next).with_severity(severity));
}

fn room(report: &DoctorReport, is_wal: bool, findings: &mut Findings) {
    let around = &report.evidence.surroundings;
    if around.is_read_only {
        return;
    }
    let next = "make room on this file system, or raise the quota; delete none of the database's files";
    if let Some(free) = around.free_bytes.filter(|&free| free < ROOM_BYTES_MIN) {
        let what =
            if is_wal { "SQLITE_FULL (13), or SQLITE_IOERR_SHMSIZE (4874) without a -shm" } else { "SQLITE_FULL (13)" };
        findings.push(Finding::new(Code::NoRoom, format!("{free} bytes are free; SQLite will say {what}"), next));
    } else if around.free_inodes == Some(0) {
        let evidence = "no inode is free, so no side file can be made; SQLite will say SQLITE_CANTOPEN (14)";
        findings.push(Finding::new(Code::NoRoom, evidence, next));
    }
}

fn defects(report: &DoctorReport, is_wal: bool, findings: &mut Findings) {
    if !is_wal {
        return;
    }
    let of_holders =
        report.holder_processes.iter().filter(|process| process.sqlite_number.is_some_and(has_wal_reset_defect));
    let told = of_holders.map(|process| {
        format!(
            "process {} ({}) has SQLite {}",
            process.pid,
            process.command,
            process.sqlite.as_deref().unwrap_or_default()
        )
    });
    let mut told: Vec<String> = told.collect();
    if told.is_empty()
        && let Some(header) = report.header().filter(|header| has_wal_reset_defect(header.written_by_number))
    {
        told.push(format!("last written by SQLite {}", header.written_by.as_deref().unwrap_or_default()));
    }
    if !told.is_empty() {
        let next = "move to SQLite 3.51.3 or later (or 3.50.7, 3.44.6)";
        findings.push(Finding::new(Code::WalResetDefect, told.join("; "), next));
    }
}

pub(super) fn scope(report: &DoctorReport, findings: &mut Findings) {
    if !report.notes.is_empty() {
        let next = "run the doctor as the user that owns the files";
        findings.push(Finding::new(Code::Unreadable, report.notes.join("; "), next));
    }
    let processes = &report.processes;
    if processes.is_available && processes.is_complete() && report.evidence.unseen_locks.is_empty() {
        return;
    }
    let mut evidence = Vec::new();
    if !processes.is_available {
        evidence.push("there is no /proc".to_owned());
    }
    if processes.is_confined {
        evidence.push("this is a PID namespace".to_owned());
    }
    if processes.unreadable > 0 {
        let hidden = count(processes.unreadable.into(), "process");
        evidence.push(format!("the open files of {hidden} of other users cannot be seen"));
    }
    let locks: Vec<String> =
        report.evidence.unseen_locks.iter().map(|lock| format!("{} on {}", lock.name, lock.role)).collect();
    evidence.push(if locks.is_empty() {
        "the kernel knows of no lock of a process that cannot be seen; one without a lock stays unknown".to_owned()
    } else {
        format!("a process that cannot be seen holds {}", locks.join(", "))
    });
    let next = "run the doctor as root on the host before anything is moved, deleted or repaired";
    findings.push(Finding::new(Code::Confined, evidence.join("; "), next));
}
