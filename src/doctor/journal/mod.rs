//! The rollback journal (file format, section 3), read as SQLite's own test for a hot one would.
//!
//! SQLite takes no lock on this file; opening and closing it cancels nothing.

mod records;

pub(super) use records::JournalRecords;

use super::bytes::{array, be_u32};
use super::wal::open_file;
use serde::Serialize;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

pub(super) const JOURNAL_MAGIC: [u8; 8] = [0xd9, 0xd5, 0x05, 0xf9, 0x20, 0xa1, 0x63, 0xd7];
const HEADER_BYTES: u64 = 28;
/// `len`, checksum and magic behind the name of a super-journal.
const SUPER_TAIL_BYTES: u64 = 16;
/// Longer names than SQLite's longest path (SQLITE_MAX_PATHLEN) are none.
const SUPER_NAME_BYTES_MAX: u32 = 4096;

/// What a journal file holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Journal {
    /// Length of the file.
    pub bytes: u64,
    /// What its first bytes say.
    pub state: JournalState,
    /// Pages that can be put back, over all segments; `None` if that was not counted, because the journal is not hot.
    /// 0 means that nothing in the journal was synced, and so nothing in the database was changed.
    pub records: Option<u64>,
    /// Segments with such pages. A transaction that was written in parts has several.
    pub segments: Option<u64>,
    /// Size of the database before the transaction, in pages.
    pub database_pages: Option<u32>,
    /// Page size, in bytes.
    pub page_bytes: Option<u32>,
    /// The super-journal of a transaction over several databases.
    pub super_journal: Option<SuperJournal>,
    /// Whether SQLite would roll back from it now; `None` if it cannot be told, because locks cannot be seen.
    pub is_hot: Option<bool>,
    /// Drawn anew for each transaction.
    #[serde(skip)]
    nonce: Option<u32>,
}

/// What the first bytes of a journal say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum JournalState {
    /// Nothing at all: what `journal_mode=TRUNCATE` leaves behind, or a journal not yet written to.
    Empty,
    /// Zeros: what `journal_mode=PERSIST` leaves behind.
    Zeroed,
    /// A header: a transaction that is going on, or was interrupted.
    Written,
    /// Something else: a header that was never finished, or another kind of file.
    Unknown,
}

/// The journal that decides about a transaction over several databases: if it is gone, the transaction was committed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct SuperJournal {
    /// Where it is, as the journal has it.
    pub path: PathBuf,
    /// Whether it is still there.
    pub exists: bool,
}

impl Journal {
    /// Reads the journal at `path`; `None` if there is none. Whether it is hot is not known here.
    pub(super) fn read(path: &Path) -> io::Result<Option<Journal>> {
        let Some(mut file) = open_file(path)? else { return Ok(None) };
        let bytes = file.metadata()?.len();
        Journal::scan(&mut file, bytes).map(Some)
    }

    pub(super) fn scan(file: &mut (impl Read + Seek), bytes: u64) -> io::Result<Journal> {
        let mut header = Vec::new();
        file.take(HEADER_BYTES).read_to_end(&mut header)?;
        let state = match header.first() {
            None => JournalState::Empty,
            Some(0) => JournalState::Zeroed,
            Some(_) if header.starts_with(&JOURNAL_MAGIC) => JournalState::Written,
            Some(_) => JournalState::Unknown,
        };
        let word = |offset| be_u32(&header, offset).filter(|_| state == JournalState::Written);
        let super_journal = match state {
            JournalState::Written => super_journal(file, bytes)?,
            _ => None,
        };
        Ok(Journal {
            bytes,
            state,
            records: None,
            segments: None,
            database_pages: word(16),
            page_bytes: word(24),
            super_journal,
            is_hot: None,
            nonce: word(12),
        })
    }

    /// Reads all that the journal at `path` can put back, and counts it.
    pub(super) fn read_records(&mut self, path: &Path) -> io::Result<Option<JournalRecords>> {
        let Some(mut file) = open_file(path)? else { return Ok(None) };
        let bytes = file.metadata()?.len();
        let records = JournalRecords::scan(&mut file, bytes)?;
        if self.state == JournalState::Written {
            self.records = Some(records.records);
            self.segments = Some(records.segments);
        }
        Ok(Some(records))
    }

    /// SQLite's own rule (`hasHotJournal`): a first byte that is not zero, a database with pages, and no RESERVED lock,
    /// of which `is_reserved` is `None` if locks cannot be seen.
    pub(super) fn judge(&mut self, has_pages: bool, is_reserved: Option<bool>) {
        let may_be = has_pages && matches!(self.state, JournalState::Written | JournalState::Unknown);
        self.is_hot = if may_be { is_reserved.map(|reserved| !reserved) } else { Some(false) };
    }
}

/// The name at the end of a journal, tested as SQLite does (`readSuperJournal`).
fn super_journal(file: &mut (impl Read + Seek), bytes: u64) -> io::Result<Option<SuperJournal>> {
    let Some(tail_at) = bytes.checked_sub(SUPER_TAIL_BYTES) else { return Ok(None) };
    let mut tail = Vec::new();
    file.seek(SeekFrom::Start(tail_at))?;
    file.take(SUPER_TAIL_BYTES).read_to_end(&mut tail)?;
    let (Some(length), Some(checksum)) = (be_u32(&tail, 0), be_u32(&tail, 4)) else { return Ok(None) };
    let name_at = tail_at.checked_sub(u64::from(length));
    let (Some(name_at), 1..SUPER_NAME_BYTES_MAX, Some(JOURNAL_MAGIC)) = (name_at, length, array(&tail, 8)) else {
        return Ok(None);
    };
    let mut name = Vec::new();
    file.seek(SeekFrom::Start(name_at))?;
    file.take(u64::from(length)).read_to_end(&mut name)?;
    // C's plain `char` has a sign on some machines and none on others; either sum is valid on some machine.
    let signed = name.iter().fold(0_u32, |sum, &byte| sum.wrapping_add_signed(i32::from(byte.cast_signed())));
    let unsigned = name.iter().fold(0_u32, |sum, &byte| sum.wrapping_add(u32::from(byte)));
    if (checksum != signed && checksum != unsigned) || name.contains(&0) {
        return Ok(None);
    }
    let path = PathBuf::from(std::ffi::OsString::from_vec(name));
    Ok(Some(SuperJournal { exists: path.try_exists().unwrap_or(true), path }))
}

#[cfg(test)]
mod tests;
