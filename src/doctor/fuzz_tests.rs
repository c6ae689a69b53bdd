//! Seeded mutations of valid files through all parsers: no panic, and no more work than there are bytes.

use super::bytes::tests::Damage;
use super::bytes::{Checksum, be_u32};
use super::header::Header;
use super::journal::{Journal, JournalRecords};
use super::wal::Wal;
use super::wal_index::WalIndex;
use rusqlite::Connection;
use std::cell::Cell;
use std::io::{self, Cursor, Read, Seek, SeekFrom};
use std::rc::Rc;

/// Reads and seeks that one parser may do with a file of so many bytes.
fn calls_max(bytes: usize) -> u64 {
    4096 + bytes as u64
}

/// A file in memory that counts what is done with it.
struct Counted<'a> {
    file: Cursor<&'a [u8]>,
    calls: Rc<Cell<u64>>,
    bytes: Rc<Cell<u64>>,
}

impl Counted<'_> {
    fn new(bytes: &[u8]) -> Counted<'_> {
        Counted { file: Cursor::new(bytes), calls: Rc::default(), bytes: Rc::default() }
    }
}

impl Read for Counted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(buffer)?;
        self.calls.set(self.calls.get() + 1);
        self.bytes.set(self.bytes.get() + read as u64);
        Ok(read)
    }
}

impl Seek for Counted<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.calls.set(self.calls.get() + 1);
        self.file.seek(to)
    }
}

/// Valid files: databases, logs, wal-indexes and journals, with small and large pages.
struct Samples {
    headers: Vec<Vec<u8>>,
    logs: Vec<Vec<u8>>,
    indexes: Vec<Vec<u8>>,
    journals: Vec<Vec<u8>>,
}

impl Samples {
    fn make() -> Samples {
        let mut samples = Samples { headers: vec![], logs: vec![], indexes: vec![], journals: vec![] };
        for page_bytes in [512, 1024] {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("x.db");
            let conn = Connection::open(&path).unwrap();
            let sql = format!(
                "PRAGMA page_size = {page_bytes}; PRAGMA journal_mode = WAL; CREATE TABLE t (x); INSERT INTO t VALUES (zeroblob(900))"
            );
            conn.execute_batch(&sql).unwrap();
            let read = |suffix: &str| std::fs::read(format!("{}{suffix}", path.display())).unwrap();
            samples.logs.push(read("-wal"));
            samples.indexes.push(read("-shm")[..136].to_vec());
            conn.execute_batch("PRAGMA journal_mode = DELETE; PRAGMA cache_size = 1; BEGIN; UPDATE t SET x = randomblob(9000); INSERT INTO t SELECT x FROM t").unwrap();
            samples.headers.push(read("")[..500].to_vec());
            let mut journal = read("-journal");
            journal.truncate(6000);
            samples.journals.push(journal);
        }
        samples
    }
}

/// Makes the sums of a log right, whatever it says.
fn mend_log(log: &mut [u8]) {
    let Some((header, frames)) = log.split_at_mut_checked(32) else { return };
    let word = if header[3] & 1 == 1 { u32::from_be_bytes } else { u32::from_le_bytes };
    let mut sum = Checksum::default().extend(&header[..24], word);
    header[24..28].copy_from_slice(&sum.0.to_be_bytes());
    header[28..].copy_from_slice(&sum.1.to_be_bytes());
    let page_bytes = be_u32(header, 8).unwrap_or(0) as usize;
    if !(512..=65536).contains(&page_bytes) {
        return;
    }
    for frame in frames.chunks_exact_mut(24 + page_bytes) {
        frame[8..16].copy_from_slice(&header[16..24]);
        sum = sum.extend(&frame[..8], word).extend(&frame[24..], word);
        frame[16..20].copy_from_slice(&sum.0.to_be_bytes());
        frame[20..24].copy_from_slice(&sum.1.to_be_bytes());
    }
}

/// Makes both copies of the header of a wal-index the same, with the right sum.
fn mend_index(index: &mut [u8]) {
    let Some((first, rest)) = index.split_at_mut_checked(48) else { return };
    let sum = Checksum::default().extend(&first[..40], u32::from_ne_bytes);
    first[40..44].copy_from_slice(&sum.0.to_ne_bytes());
    first[44..].copy_from_slice(&sum.1.to_ne_bytes());
    if let Some(second) = rest.get_mut(..48) {
        second.copy_from_slice(first);
    }
}

/// One input through the parser that it is for.
fn try_one(samples: &Samples, damage: &mut Damage) {
    let kind = damage.next() % 4;
    let list = [&samples.headers, &samples.logs, &samples.indexes, &samples.journals][kind as usize];
    let sample = &list[damage.next() as usize % list.len()];
    let mut bytes = damage.of(sample);
    // With wrong sums, little of it would be looked at.
    if damage.next().is_multiple_of(2) {
        match kind {
            1 => mend_log(&mut bytes),
            2 => mend_index(&mut bytes),
            _ => {}
        }
    }
    let file = Counted::new(&bytes);
    let (calls, read) = (Rc::clone(&file.calls), Rc::clone(&file.bytes));
    // As long as it is, or as long as it was when that was asked, which may be anything.
    let length =
        if damage.next().is_multiple_of(8) { damage.next() >> (damage.next() % 64) } else { bytes.len() as u64 };
    match kind {
        0 => drop(Header::parse(&bytes)),
        1 => {
            let wal = Wal::scan(&mut { file }, length).unwrap();
            assert!(wal.committed_frames + wal.uncommitted_frames <= bytes.len() as u64 / 536, "{wal:?}");
        }
        2 => drop(WalIndex::parse(&bytes).map(|index| index.pending_frames())),
        _ if damage.next().is_multiple_of(2) => drop(Journal::scan(&mut { file }, length).unwrap()),
        _ => drop(JournalRecords::scan(&mut { file }, length).unwrap()),
    }
    let limit = calls_max(bytes.len()).max(40_000);
    assert!(calls.get() < limit, "{} calls for {} bytes", calls.get(), bytes.len());
    assert!(read.get() < 64 * (bytes.len() as u64 + 70_000), "{} bytes read of {}", read.get(), bytes.len());
}

/// SEAWALL_FUZZ sets how many inputs; 20,000 without.
#[test]
fn no_input_makes_a_parser_panic_or_work_without_bound() {
    let inputs = std::env::var("SEAWALL_FUZZ").ok().and_then(|number| number.parse().ok()).unwrap_or(20_000_u64);
    let samples = Samples::make();
    let workers = std::thread::available_parallelism().map_or(1, |workers| workers.get() as u64).min(8);
    std::thread::scope(|scope| {
        for worker in 0..workers {
            let samples = &samples;
            scope.spawn(move || {
                let mut damage = Damage(worker);
                for _ in 0..inputs / workers {
                    try_one(samples, &mut damage);
                }
            });
        }
    });
}
