//! The files: which there are, under how many names, and what the header says.

use crate::doctor::codes::Code;
use crate::doctor::findings::{Finding, Findings, Severity, count, quick_check, quoted, quoted_path};
use crate::doctor::header::Header;
use crate::doctor::journal::{JOURNAL_MAGIC, JournalState};
use crate::doctor::report::DoctorReport;
use crate::doctor::wal::WalHeader;
use crate::error::PrintablePath;
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// SQLite's smallest page: encrypted databases are whole pages as well.
const PAGE_BYTES_MIN: u64 = 512;

pub(super) fn identity(report: &DoctorReport, findings: &mut Findings) {
    let Some(database) = &report.database else { return };
    if database.links > 1 {
        let next = "use one name in all programs; remove the other names while no process has it open";
        findings.push(Finding::new(Code::HardLinks, count(database.links, "name"), next));
    }
    for side_file in &report.evidence.other_side_files {
        let name = PrintablePath(side_file);
        let next = format!(
            "open it under neither name. Copy all files, open a copy of the database with each of the logs, and compare; \
             {name} has what was written under the other name"
        );
        findings.push(Finding::new(Code::SecondLog, format!("{name} is beside another name of the same file"), next));
    }
    if report.evidence.surroundings.is_mounted_alone {
        let next = "mount the directory and not the file; until then, let one side alone use the database";
        let evidence = "the path is a mount point: the file has another name elsewhere, where side files are not seen";
        let text = "the database file is a mount point of its own, so it has a second name with side files of its own";
        findings.push(Finding::new(Code::SecondLog, evidence, next).with_severity(Severity::Warning).with_text(text));
    }
    // A file of `/proc` has content and no length.
    if database.bytes == 0 && report.evidence.first_bytes.is_empty() {
        let log = report.wal.as_ref().map_or(0, |wal| wal.bytes);
        if log > 0 {
            let next = "do not open it; move the -wal away and find the database that it belongs to";
            let evidence = format!("a -wal of {log} bytes, {}", count(report.pending.frames, "committed frame"));
            findings.push(Finding::new(Code::WalBesideEmptyDatabase, evidence, next));
        } else {
            findings.push(Finding::new(Code::Empty, "0 bytes", "nothing to do, unless data was expected"));
        }
    } else if database.header.is_none() && database.is_readable {
        findings.push(without_header(report, database.bytes));
    }
}

/// The database of a side file that was named in its place.
fn database_of(path: &Path, first: &[u8]) -> Option<PathBuf> {
    let name = path.as_os_str().as_bytes();
    let of_log = name.strip_suffix(b"-wal").filter(|_| WalHeader::parse(first).is_some());
    let of_journal = || name.strip_suffix(b"-journal").filter(|_| first.starts_with(&JOURNAL_MAGIC));
    of_log.or_else(of_journal).map(|name| PathBuf::from(OsStr::from_bytes(name)))
}

/// A file that has no header: what it looks like.
fn without_header(report: &DoctorReport, bytes: u64) -> Finding {
    let first = &report.evidence.first_bytes;
    let size = count(bytes, "byte");
    if let Some(database) = database_of(&report.path, first) {
        let text = "this is the -wal or the -journal of a database, and no database";
        let evidence = format!("{size}, with the header of a log or a journal");
        let next = format!("look at its database: seawall doctor {}", quoted_path(&database));
        return Finding::new(Code::NoHeader, evidence, next).with_severity(Severity::Warning).with_text(text);
    }
    if is_random(first) && bytes.is_multiple_of(PAGE_BYTES_MIN) {
        let text = "no SQLite header: the database is encrypted, or its beginning was overwritten";
        let evidence = format!("{size}, of which the first {} look random", first.len());
        let next = "if it is meant to be encrypted, nothing is wrong with it: look at it with the application and its \
                    key. If not, copy it before anything else, and get it again from a backup";
        return Finding::new(Code::NoHeader, evidence, next).with_severity(Severity::Warning).with_text(text);
    }
    if Header::parse_behind_magic(first).is_some() {
        let text = "the first 16 bytes are not those of a database, and what follows is";
        let evidence = format!("{size}; behind its first 16 bytes it has the header of a database");
        let next = format!(
            "write nothing to it. Copy it with its side files (cp {} COPY), put the first 16 bytes back in the copy \
             (printf 'SQLite format 3\\000' | dd of=COPY conv=notrunc), and run PRAGMA integrity_check on the copy",
            quoted(report)
        );
        return Finding::new(Code::NoHeader, evidence, next).with_text(text);
    }
    let next = "check the path; let no program create a database in its place; copy the file before anything else";
    Finding::new(Code::NoHeader, size, next)
}

/// Whether bytes look as if they were drawn: encrypted pages do. Compressed files do as well, behind a mark of their
/// kind, and 500 bytes that are drawn have about 220 different values.
fn is_random(bytes: &[u8]) -> bool {
    const MARKS: [&[u8]; 8] = [
        b"PK\x03\x04",
        b"\x1f\x8b",
        b"BZh",
        b"\xfd7zXZ",
        b"\x28\xb5\x2f\xfd",
        b"7z\xbc\xaf",
        b"\x89PNG",
        b"\xff\xd8\xff",
    ];
    let values: BTreeSet<u8> = bytes.iter().copied().collect();
    bytes.len() >= 500 && values.len() > 180 && !MARKS.iter().any(|mark| bytes.starts_with(mark))
}

pub(super) fn content(report: &DoctorReport, findings: &mut Findings) {
    let (Some(database), Some(header)) = (&report.database, report.header()) else { return };
    if header.read_version > 2 || header.write_version > 2 {
        let evidence = format!("read version {}, write version {}", header.read_version, header.write_version);
        findings.push(Finding::new(Code::UnknownFormat, evidence, quick_check(report)));
    }
    // Only where nothing else may explain it: no log or journal that is not carried over yet, and no process at work.
    let is_explained = report.is_held() || report.pending.frames > 0 || report.journal.is_some();
    let pages_bytes = header.pages.map(|pages| u64::from(pages) * u64::from(header.page_bytes));
    if let Some(expected) = pages_bytes.filter(|&expected| !is_explained && database.bytes < expected) {
        let evidence = format!("{} bytes, and the header says {expected}", database.bytes);
        let next = format!(
            "write nothing to it. Get it again from where it was copied; without that, copy it with its side files, \
             and read out of the copy what can be read: cp {} COPY, then .recover, or SELECT after PRAGMA \
             writable_schema=ON, without which SQLite refuses it",
            quoted(report)
        );
        findings.push(Finding::new(Code::ShortFile, evidence, next));
    }
}

pub(super) fn side_files_alone(report: &DoctorReport, findings: &mut Findings) {
    // A process that has the side files open has the database somewhere.
    if report.database.is_some() || !report.evidence.moved_to.is_empty() {
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
    let next = if report.is_held() {
        "create no database of this name; let the processes that have the side files open end first"
    } else {
        "find where the database went and put it back, or move the side files away: seawall doctor DB --fix"
    };
    findings.push(Finding::new(Code::OrphanSideFiles, evidence, next).with_severity(severity));
}
