//! The rollback journal: hot or not, and whether it belongs to this state of the database.
//!
//! What is certain holds in every state that an interrupted transaction leaves:
//!
//! - The file is cut only after the journal is gone. So it is never shorter than before the transaction.
//! - Page 1 is written once, at the commit, with a change counter that is one greater. So the counter in the database
//!   is the one of page 1 in the journal, or the next one; and if it is the same, so is the rest of page 1.
//! - The page size changes with page 1 alone.

use crate::doctor::bytes::be_u32;
use crate::doctor::codes::Code;
use crate::doctor::findings::{Finding, Findings, Severity, count, quoted};
use crate::doctor::holders::Holder;
use crate::doctor::journal::{Journal, JournalRecords, JournalState};
use crate::doctor::report::{DoctorReport, FileRole};
use crate::error::PrintablePath;

pub(super) fn journal(report: &DoctorReport, findings: &mut Findings) {
    let Some(journal) = report.journal.as_ref().filter(|_| report.database.is_some()) else { return };
    let counted = match (journal.records, journal.segments) {
        (Some(records), Some(segments)) => format!("{} in {}", count(records, "page"), count(segments, "segment")),
        _ => count(journal.bytes, "byte"),
    };
    if journal.is_hot != Some(false) && !is_in_use(report) && journal.state == JournalState::Written {
        origin(report, journal, findings);
    }
    let decided = journal.super_journal.as_ref().filter(|super_journal| !super_journal.exists);
    match journal.is_hot {
        // What another process would roll back is a transaction that goes on: see `lost-locks`, `renamed-under-holder`.
        Some(true) if is_in_use(report) => {}
        Some(true) => {
            let next = "open it with the application, or run seawall doctor DB --fix; never delete the journal";
            let evidence = match decided {
                Some(of) => {
                    format!("{counted}; its super-journal {} is gone, so it was committed", PrintablePath(&of.path))
                }
                None => format!("{counted}; no process holds RESERVED"),
            };
            findings.push(Finding::new(Code::HotJournal, evidence, next));
        }
        None => findings.push(Finding::new(Code::JournalSeen, &counted, "never delete the journal")),
        Some(false) => {}
    }
    if let Some(unread) =
        report.evidence.journal.as_ref().map(|records| records.unread_bytes).filter(|&bytes| bytes > 0)
    {
        let evidence = format!("{unread} of {} bytes of the -journal were not read", journal.bytes);
        findings.push(Finding::new(Code::ReadInPart, evidence, "nothing to do; what was counted is a part"));
    }
}

/// Whether a process that holds no lock has the journal open.
pub(super) fn writes_without_lock(report: &DoctorReport) -> bool {
    let is_writer =
        |holder: &Holder| holder.role == FileRole::Journal && holder.can_write && report.lockless.contains(&holder.pid);
    report.holders.iter().any(is_writer)
}

/// Whether a transaction goes on, of a process that has no lock on this database.
fn is_in_use(report: &DoctorReport) -> bool {
    let is_moved = |holder: &Holder| report.evidence.moved_to.iter().any(|(pid, _)| *pid == holder.pid);
    let writes = |holder: &Holder| holder.role == FileRole::Journal && holder.can_write && is_moved(holder);
    writes_without_lock(report) || report.holders.iter().any(writes)
}

fn origin(report: &DoctorReport, journal: &Journal, findings: &mut Findings) {
    let Some(records) = &report.evidence.journal else { return };
    let path = quoted(report);
    if let Some(evidence) = contradiction(report, journal, records) {
        let next = format!(
            "do not open it: the next open rolls back. Copy database and -journal, open a copy of the database alone \
             and a copy of both, and compare: seawall doctor {path} --fix shows both"
        );
        findings.push(Finding::new(Code::ForeignJournal, evidence, next));
    } else if report.evidence.is_journal_older && report.evidence.is_header_still {
        let evidence = "the database's file was made after the last change of the journal";
        let text = "the hot journal may belong to an older state of the database: this cannot be told from outside";
        let next = format!(
            "if the database was restored or copied here, do not open it yet. To tell: open a copy of the database \
             alone and a copy of both, and compare: seawall doctor {path} --fix shows both"
        );
        findings
            .push(Finding::new(Code::ForeignJournal, evidence, next).with_severity(Severity::Warning).with_text(text));
    }
}

/// What cannot be if the journal belongs to the database, with numbers.
fn contradiction(report: &DoctorReport, journal: &Journal, records: &JournalRecords) -> Option<String> {
    let bytes = report.database.as_ref().filter(|_| report.evidence.is_header_still)?.bytes;
    let (pages, page_bytes) = (journal.database_pages?, journal.page_bytes?);
    if records.page_bytes == 0 {
        return None;
    }
    let before = u64::from(pages) * u64::from(page_bytes);
    if before > bytes {
        return Some(format!("the journal is of a database of {before} bytes, and the file has {bytes}"));
    }
    let header = report.header()?;
    if header.page_bytes != page_bytes && records.first_page.is_none() && records.unread_bytes == 0 {
        let own = header.page_bytes;
        return Some(format!(
            "the journal has pages of {page_bytes} bytes and not page 1, and the database's have {own}"
        ));
    }
    let counter = records.change_counter()?;
    if header.change_counter != counter && header.change_counter != counter.wrapping_add(1) {
        return Some(format!(
            "change counter {} in the database; the journal is of a transaction from {counter} to {}",
            header.change_counter,
            counter.wrapping_add(1)
        ));
    }
    let (old, new) = (records.first_page.as_deref()?, report.evidence.first_bytes.get(..100)?);
    if header.change_counter == counter && old != new {
        let place = |bytes: &[u8]| (be_u32(bytes, 28), be_u32(bytes, 36), be_u32(bytes, 40));
        return Some(format!(
            "change counter {counter} in both, and page 1 is another: pages, free pages and schema {:?} in the \
             database, {:?} in the journal",
            place(new),
            place(old)
        ));
    }
    None
}
