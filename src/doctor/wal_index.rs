//! The `-shm` file: the header of the wal-index and what checkpoints and readers note in it (WAL format, section 2).
//!
//! Its first 136 bytes are all that is looked at. They are in the byte order of the machine, and they are written while
//! they are read: SQLite keeps two copies of the header, and a copy counts only if it agrees with the other one.

use super::bytes::{Checksum, array, ne_u32};
use serde::Serialize;

/// How many bytes of the file have a meaning here.
pub(super) const WAL_INDEX_BYTES: usize = 136;

const COPY_BYTES: usize = 48;
const VERSION: u32 = 3_007_000;
/// The value of a read mark that is not set.
const UNUSED_MARK: u32 = u32::MAX;

/// What a `-shm` file says of its log. While no process has the database open it is a leftover, which SQLite builds
/// anew from the log at the next open.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct WalIndex {
    /// The last frame of the last committed transaction; 0 for a log that is empty or about to be restarted.
    pub max_frame: u32,
    /// Frames that a checkpoint has carried into the database.
    pub backfilled_frames: u32,
    /// Frames that a checkpoint has begun to carry into the database.
    pub backfill_attempted_frames: u32,
    /// Up to which frame the readers of each mark read; the first mark stands for readers of the database file alone.
    /// Old values stay, so a mark counts only while its lock is held.
    pub read_marks: [Option<u32>; 5],
    /// Page size, in bytes.
    pub page_bytes: u32,
    /// Size of the database, in pages.
    pub database_pages: u32,
    /// Counts the transactions.
    pub change_counter: u32,
    /// The salts of the log that it belongs to; new ones already if the log is about to be restarted.
    pub salts: [u32; 2],
}

impl WalIndex {
    /// Reads the header; `None` if it is not initialised, is being written just now, or is damaged.
    pub(super) fn parse(bytes: &[u8]) -> Option<WalIndex> {
        let first: [u8; COPY_BYTES] = array(bytes, 0)?;
        let second: [u8; COPY_BYTES] = array(bytes, COPY_BYTES)?;
        let checksum = Checksum::default().extend(first.get(..40)?, u32::from_ne_bytes);
        let is_valid = first == second
            && ne_u32(&first, 0)? == VERSION
            && first[12] != 0
            && checksum == Checksum(ne_u32(&first, 40)?, ne_u32(&first, 44)?);
        is_valid.then_some(())?;
        let page_bytes = u32::from(u16::from_ne_bytes(array(&first, 14)?));
        let mark = |n: usize| ne_u32(bytes, 100 + 4 * n).filter(|&mark| mark != UNUSED_MARK);
        Some(WalIndex {
            max_frame: ne_u32(&first, 16)?,
            backfilled_frames: ne_u32(bytes, 96)?,
            backfill_attempted_frames: ne_u32(bytes, 128)?,
            read_marks: [mark(0), mark(1), mark(2), mark(3), mark(4)],
            page_bytes: (page_bytes & 0xfe00) + ((page_bytes & 1) << 16),
            database_pages: ne_u32(&first, 20)?,
            change_counter: ne_u32(&first, 8)?,
            // Copied from the log byte by byte, so big-endian as there.
            salts: [u32::from_be_bytes(array(&first, 32)?), u32::from_be_bytes(array(&first, 36)?)],
        })
    }

    /// Committed frames that the database file does not have yet.
    pub fn pending_frames(&self) -> u32 {
        self.max_frame.saturating_sub(self.backfilled_frames)
    }
}

#[cfg(test)]
mod tests {
    use super::super::bytes::tests::Damage;
    use super::super::wal::Wal;
    use super::*;
    use rusqlite::Connection;

    #[test]
    fn a_wal_index_agrees_with_its_log_and_counts_what_is_checkpointed() {
        let dir = tempfile::tempdir().unwrap();
        let conn = Connection::open(dir.path().join("x.db")).unwrap();
        conn.execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE t (x); INSERT INTO t VALUES (1)").unwrap();
        // Read here with plain means: no connection here depends on these locks.
        let look = || WalIndex::parse(&std::fs::read(dir.path().join("x.db-shm")).unwrap()).unwrap();
        let wal = Wal::read(&dir.path().join("x.db-wal")).unwrap().unwrap();
        let index = look();
        assert_eq!(u64::from(index.max_frame), wal.committed_frames);
        assert_eq!(index.salts, wal.header.as_ref().unwrap().salts);
        assert_eq!((index.page_bytes, Some(index.database_pages)), (4096, wal.database_pages));
        assert_eq!((index.backfilled_frames, index.pending_frames()), (0, index.max_frame));
        conn.execute_batch("PRAGMA wal_checkpoint(PASSIVE)").unwrap();
        let index = look();
        assert_eq!((index.backfilled_frames, index.pending_frames()), (index.max_frame, 0));
        assert_eq!(index.backfill_attempted_frames, index.max_frame);
        assert_eq!(index.read_marks[0], Some(0));
    }

    #[test]
    fn pages_of_64_kib_have_a_number_of_their_own() {
        let dir = tempfile::tempdir().unwrap();
        let conn = Connection::open(dir.path().join("x.db")).unwrap();
        conn.execute_batch("PRAGMA page_size = 65536; PRAGMA journal_mode = WAL; CREATE TABLE t (x)").unwrap();
        let bytes = std::fs::read(dir.path().join("x.db-shm")).unwrap();
        assert_eq!(WalIndex::parse(&bytes).unwrap().page_bytes, 65536);
    }

    #[test]
    fn no_bytes_make_it_panic_and_damage_is_not_believed() {
        let dir = tempfile::tempdir().unwrap();
        let conn = Connection::open(dir.path().join("x.db")).unwrap();
        conn.execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE t (x)").unwrap();
        let sample = std::fs::read(dir.path().join("x.db-shm")).unwrap()[..WAL_INDEX_BYTES].to_vec();
        let whole = WalIndex::parse(&sample).unwrap();
        for place in (0..2 * COPY_BYTES).filter(|place| !(4..8).contains(&(place % COPY_BYTES))) {
            let mut bytes = sample.clone();
            bytes[place] ^= 0x55;
            assert_eq!(WalIndex::parse(&bytes), None, "byte {place}");
        }
        let mut damage = Damage(3);
        for _ in 0..3000 {
            if let Some(index) = WalIndex::parse(&damage.of(&sample)) {
                assert_eq!(index.max_frame, whole.max_frame);
                index.pending_frames();
            }
        }
        assert_eq!(WalIndex::parse(&[0; WAL_INDEX_BYTES]), None);
    }
}
