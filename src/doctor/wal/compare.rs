//! The newest pages of a log against those of the database file.

use super::{FRAME_HEADER_BYTES, HEADER_BYTES, Wal, fill, open_file};
use crate::ffi::{HASH_START, hash, hashes_in_child};
use std::collections::BTreeMap;
use std::io::{self, Seek, SeekFrom};
use std::path::Path;

/// The most pages that are compared.
const PAGES_MAX: usize = 200;

/// How many pages of a log the database has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::doctor) struct PageComparison {
    /// Pages that were compared.
    pub(in crate::doctor) compared: usize,
    /// Those of them that are not the same in the database.
    pub(in crate::doctor) differing: usize,
}

impl PageComparison {
    /// Compares some of the pages, spread over all.
    pub(in crate::doctor) fn of(wal: &Wal, log: &Path, database: &Path) -> io::Result<Option<PageComparison>> {
        let Some(header) = &wal.header else { return Ok(None) };
        let newest: BTreeMap<u32, u64> = wal.page_numbers.iter().copied().zip(0..).collect();
        // A page beyond the end of the last transaction is not carried over.
        let last = wal.database_pages.unwrap_or(u32::MAX);
        let newest: Vec<(u32, u64)> = newest.into_iter().filter(|&(page, _)| page > 0 && page <= last).collect();
        let step = newest.len().div_ceil(PAGES_MAX).max(1);
        let chosen: Vec<(u32, u64)> = newest.into_iter().step_by(step).collect();
        let page_bytes = u64::from(header.page_bytes);
        let offsets: Vec<u64> = chosen.iter().map(|&(page, _)| u64::from(page - 1) * page_bytes).collect();
        let there = hashes_in_child(database, &offsets, header.page_bytes as usize)?;
        let Some(mut file) = open_file(log)? else { return Ok(None) };
        let mut page = vec![0; header.page_bytes as usize];
        let mut comparison = PageComparison::default();
        for ((_, frame), there) in chosen.into_iter().zip(there) {
            file.seek(SeekFrom::Start(HEADER_BYTES + frame * (FRAME_HEADER_BYTES + page_bytes) + FRAME_HEADER_BYTES))?;
            if !fill(&mut file, &mut page)? {
                break;
            }
            comparison.compared += 1;
            comparison.differing += usize::from(there != Some(hash(HASH_START, &page)));
        }
        Ok(Some(comparison))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rusqlite::Connection;

    #[test]
    fn a_checkpoint_makes_the_pages_equal() {
        let dir = tempfile::tempdir().unwrap();
        let (path, log) = (dir.path().join("x.db"), dir.path().join("x.db-wal"));
        let conn = Connection::open(&path).unwrap();
        conn.execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE t (x); INSERT INTO t VALUES (zeroblob(9000))")
            .unwrap();
        let compare = || {
            let wal = Wal::read(&log).unwrap().unwrap();
            PageComparison::of(&wal, &log, &path).unwrap().unwrap()
        };
        let before = compare();
        assert!(before.compared > 2 && before.differing == before.compared, "{before:?}");
        conn.execute_batch("PRAGMA wal_checkpoint(PASSIVE)").unwrap();
        assert_eq!(compare(), PageComparison { differing: 0, ..before });
    }
}
