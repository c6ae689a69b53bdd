//! Whether the log belongs to this state of the database.
//!
//! What is certain is judged by rules that hold in every state that SQLite makes:
//!
//! - A transaction that changes the number of pages writes page 1. So if page 1 is not in the log, the number in the
//!   header is that of the log.
//! - A new page is written. So if the log ends with more pages than the file has, the pages behind its end are in the
//!   log, but for the page of the lock bytes.
//! - The change counter of page 1 grows, by one at a time or not at all. So the database is never newer than the newest
//!   page 1 of the log, and never older than the oldest one by more than one.
//!
//! A log that fits by all this may still be from another state of the same size. Then it cannot be told, but what makes
//! it likely can be seen: the database was written after the log, and not by a checkpoint of the log.

use crate::doctor::codes::Code;
use crate::doctor::findings::{Finding, Findings, Severity, count, quoted};
use crate::doctor::header::Header;
use crate::doctor::report::DoctorReport;
use crate::doctor::wal::{Wal, WalHeader};
use std::collections::BTreeSet;

/// The first byte of the page that SQLite never uses, since its locks are there.
const LOCK_BYTE: u64 = 0x4000_0000;

pub(super) fn log_and_database(report: &DoctorReport, findings: &mut Findings) {
    let (Some(wal), Some(header)) = (&report.wal, report.header()) else { return };
    let Some(wal_header) = wal.header.as_ref().filter(|_| wal.committed_frames > 0) else { return };
    let certain = contradiction(report, wal, wal_header, header);
    if let Some((text, evidence)) = certain {
        let next = format!(
            "do not open it: the next open replays the log. Copy database and -wal, open a copy of the database alone \
             and a copy of both, and compare: seawall doctor {} --fix shows both",
            quoted(report)
        );
        findings.push(Finding::new(Code::ForeignLog, evidence, next).with_text(text));
        return;
    }
    let Some(comparison) = report.evidence.comparison.filter(|_| report.evidence.is_database_later) else { return };
    if comparison.differing > 0 && !report.is_held() {
        let text = "the -wal may belong to an older state of the database: this cannot be told from outside";
        let evidence = format!(
            "the database was written or replaced after the last change of the log, and {} of {} that were compared \
             are not those of the log",
            comparison.differing,
            count(comparison.compared as u64, "page")
        );
        let next = format!(
            "if the database was restored or copied here, do not open it yet. To tell: open a copy of the database \
             alone and a copy of both, and compare: seawall doctor {} --fix shows both",
            quoted(report)
        );
        findings.push(Finding::new(Code::ForeignLog, evidence, next).with_severity(Severity::Warning).with_text(text));
    }
}

/// What cannot be if the log belongs to the database, and the numbers that say so.
fn contradiction(
    report: &DoctorReport,
    wal: &Wal,
    wal_header: &WalHeader,
    header: &Header,
) -> Option<(&'static str, String)> {
    if wal_header.page_bytes != header.page_bytes {
        let evidence = format!("pages of {} bytes, the database's have {}", wal_header.page_bytes, header.page_bytes);
        return Some(("the -wal belongs to another database", evidence));
    }
    if !header.is_wal() {
        let text = "the database is not in WAL mode and has a -wal, which SQLite would replay into it";
        return Some((text, count(wal.committed_frames, "committed frame")));
    }
    // Of files that change, what was read may be of two moments; and of a long log, only a part was read.
    if !wal.is_stable || !report.evidence.is_header_still || wal.is_cut() {
        return None;
    }
    if let Some(counter) = wal.change_counter.filter(|&counter| counter < header.change_counter) {
        let evidence = format!("change counter {} in the database, {counter} in the log", header.change_counter);
        return Some(("the database is newer than its -wal, which SQLite would replay over it", evidence));
    }
    if let Some(first) = wal.first_change_counter.filter(|&first| header.change_counter < first.saturating_sub(1)) {
        let evidence =
            format!("change counter {} in the database, and the log begins at {first}", header.change_counter);
        return Some(("the database is older than the one that its -wal was written for", evidence));
    }
    let pages = wal.database_pages?;
    let has_first_page = wal.page_numbers.contains(&1);
    if let Some(of_header) = header.pages.filter(|&of_header| !has_first_page && of_header != pages) {
        let evidence = format!(
            "the log ends with {pages} pages and the header says {of_header}, and the log does not have page 1, where \
             a transaction that changes this number is written"
        );
        return Some(("the -wal belongs to another database or another state of it", evidence));
    }
    let of_file = report.database.as_ref().map_or(0, |database| database.bytes / u64::from(header.page_bytes));
    let lock_page = LOCK_BYTE / u64::from(header.page_bytes) + 1;
    let in_log: BTreeSet<u64> =
        wal.page_numbers.iter().map(|&page| page.into()).filter(|&page| page > of_file).collect();
    let missing = (of_file + 1..=u64::from(pages)).find(|page| *page != lock_page && !in_log.contains(page));
    if let Some(page) = missing {
        let evidence =
            format!("the log ends with {pages} pages, the file has {of_file}, and page {page} is in neither");
        return Some(("the -wal belongs to another database or another state of it", evidence));
    }
    None
}
