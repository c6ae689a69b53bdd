//! The rollback journal (file format, section 3), read as SQLite's own test for a hot one would.
//!
//! SQLite takes no lock on this file; opening and closing it cancels nothing.

use super::bytes::{array, be_u32};
use super::wal::open_file;
use serde::Serialize;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

const MAGIC: [u8; 8] = [0xd9, 0xd5, 0x05, 0xf9, 0x20, 0xa1, 0x63, 0xd7];
const HEADER_BYTES: u64 = 28;
/// `len`, checksum and magic behind the name of a super-journal.
const SUPER_TAIL_BYTES: u64 = 16;
/// Longer names than SQLite's longest path (SQLITE_MAX_PATHLEN) are none.
const SUPER_NAME_BYTES_MAX: u32 = 4096;
/// Instead of a count of pages: count them by the file's length.
const RECORDS_BY_LENGTH: u32 = u32::MAX;

/// What a journal file holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Journal {
    /// Length of the file.
    pub bytes: u64,
    /// What its first bytes say.
    pub state: JournalState,
    /// Pages that the first header says can be put back; `None` if the length of the file tells, or there is no header.
    /// 0 in a header means that nothing in the journal was synced, and so nothing in the database was changed.
    pub records: Option<u32>,
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

    fn scan(file: &mut (impl Read + Seek), bytes: u64) -> io::Result<Journal> {
        let mut header = Vec::new();
        file.take(HEADER_BYTES).read_to_end(&mut header)?;
        let state = match header.first() {
            None => JournalState::Empty,
            Some(0) => JournalState::Zeroed,
            Some(_) if header.starts_with(&MAGIC) => JournalState::Written,
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
            records: word(8).filter(|&records| records != RECORDS_BY_LENGTH),
            database_pages: word(16),
            page_bytes: word(24),
            super_journal,
            is_hot: None,
            nonce: word(12),
        })
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
    let (Some(name_at), 1..SUPER_NAME_BYTES_MAX, Some(MAGIC)) = (name_at, length, array(&tail, 8)) else {
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
mod tests {
    use super::super::bytes::tests::Damage;
    use super::*;
    use rusqlite::Connection;
    use std::io::Cursor;

    fn scan(bytes: &[u8]) -> Journal {
        Journal::scan(&mut Cursor::new(bytes), bytes.len() as u64).unwrap()
    }

    /// The journal of a transaction that has changed the file but is not over.
    fn sample(dir: &Path) -> (Connection, Vec<u8>) {
        let conn = Connection::open(dir.join("x.db")).unwrap();
        conn.execute_batch(
            "CREATE TABLE t (x); INSERT INTO t VALUES (zeroblob(200000)); PRAGMA cache_size = 1;
             BEGIN; UPDATE t SET x = randomblob(200000)",
        )
        .unwrap();
        let bytes = std::fs::read(dir.join("x.db-journal")).unwrap();
        (conn, bytes)
    }

    fn named(journal: &[u8], name: &[u8]) -> Vec<u8> {
        let sum = name.iter().fold(0_u32, |sum, &byte| sum.wrapping_add(u32::from(byte)));
        let length = name.len() as u32;
        [journal, name, &length.to_be_bytes(), &sum.to_be_bytes(), &MAGIC].concat()
    }

    #[test]
    fn a_journal_of_an_open_transaction_is_hot_unless_reserved_is_held() {
        let dir = tempfile::tempdir().unwrap();
        let (_conn, bytes) = sample(dir.path());
        let mut journal = Journal::read(&dir.path().join("x.db-journal")).unwrap().unwrap();
        assert_eq!(journal, scan(&bytes));
        assert_eq!((journal.state, journal.page_bytes), (JournalState::Written, Some(4096)));
        assert!(journal.database_pages > Some(40) && journal.records.is_some(), "{journal:?}");
        for (has_pages, is_reserved, expected) in [
            (true, Some(true), Some(false)),
            (true, Some(false), Some(true)),
            (true, None, None),
            (false, Some(false), Some(false)),
        ] {
            journal.judge(has_pages, is_reserved);
            assert_eq!(journal.is_hot, expected, "{has_pages} {is_reserved:?}");
        }
        assert_eq!(Journal::read(&dir.path().join("none")).unwrap(), None);
    }

    #[test]
    fn what_other_journal_modes_leave_behind_is_not_hot() {
        for (mode, state) in [("TRUNCATE", JournalState::Empty), ("PERSIST", JournalState::Zeroed)] {
            let dir = tempfile::tempdir().unwrap();
            let conn = Connection::open(dir.path().join("x.db")).unwrap();
            conn.execute_batch(&format!("PRAGMA journal_mode = {mode}; CREATE TABLE t (x); INSERT INTO t VALUES (1)"))
                .unwrap();
            let mut journal = Journal::read(&dir.path().join("x.db-journal")).unwrap().unwrap();
            journal.judge(true, Some(false));
            assert_eq!((journal.state, journal.is_hot, journal.records), (state, Some(false), None));
        }
    }

    #[test]
    fn the_super_journal_has_to_be_named_properly() {
        let dir = tempfile::tempdir().unwrap();
        let (_conn, bytes) = sample(dir.path());
        let path = dir.path().join("other-mj123");
        let name = path.as_os_str().as_encoded_bytes();
        let found = scan(&named(&bytes, name)).super_journal.unwrap();
        assert_eq!((found.path.as_path(), found.exists), (path.as_path(), false));
        std::fs::write(&path, "").unwrap();
        assert!(scan(&named(&bytes, name)).super_journal.unwrap().exists);
        let mut wrong = named(&bytes, name);
        let at = wrong.len() - 20;
        wrong[at] ^= 1;
        assert_eq!(scan(&wrong).super_journal, None);
        assert_eq!(scan(&bytes).super_journal, None);
    }

    #[test]
    fn no_bytes_make_it_panic() {
        let dir = tempfile::tempdir().unwrap();
        let (_conn, bytes) = sample(dir.path());
        let mut damage = Damage(4);
        for _ in 0..500 {
            let cut = damage.next() as usize % 64;
            scan(&damage.of(&named(&bytes[..cut], b"/tmp/x")));
        }
    }
}
