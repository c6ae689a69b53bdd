//! What SQLite leaves is healthy, and each broken promise is caught.

use super::layout::{COPY_BYTES, FRAME_HEADER_BYTES, FRAMES, FRAMES_FIRST, WAL_HEADER_BYTES, array, u32_at};
use super::*;
use rusqlite::{Connection, ErrorCode};
use std::fs;
use std::path::PathBuf;

/// A database in WAL mode, in a folder of its own. The files are read beside SQLite, which cancels the process's
/// locks: harmless here, where there is one process.
struct World {
    folder: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn path(&self, suffix: &str) -> PathBuf {
        self.folder.path().join(format!("db{suffix}"))
    }

    fn open(&self) -> Connection {
        let db = Connection::open(self.path("")).unwrap();
        db.busy_timeout(std::time::Duration::ZERO).unwrap();
        db.execute_batch(
            "PRAGMA page_size = 512; PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF;
             PRAGMA wal_autocheckpoint = 0; PRAGMA cache_size = 10;
             CREATE TABLE IF NOT EXISTS t(id INTEGER PRIMARY KEY, body)",
        )
        .unwrap();
        db
    }

    fn bytes(&self) -> (Vec<u8>, Vec<u8>) {
        (fs::read(self.path("-shm")).unwrap(), fs::read(self.path("-wal")).unwrap())
    }

    #[track_caller]
    fn is_healthy(&self, readers: &[usize]) -> WalIndex {
        let (shm, wal) = self.bytes();
        assert_eq!(check_deep(&shm, Surroundings { readers, wal: Some(&wal) }), []);
        WalIndex::parse(&shm).unwrap()
    }
}

fn fill(db: &Connection, rows: u32) {
    let sql = "WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i + 1 FROM n WHERE i < ?1)
               INSERT INTO t(body) SELECT zeroblob(400) FROM n";
    db.execute(sql, [rows]).unwrap();
}

/// Thirty frames and a reader at mark 1 that has held a checkpoint back.
fn half_backfilled() -> (World, Connection, Connection) {
    let world = World::new();
    let (writer, reader) = (world.open(), world.open());
    fill(&writer, 10);
    reader.execute_batch("BEGIN; SELECT count(*) FROM t").unwrap();
    reader.query_row("SELECT count(*) FROM t", [], |row| row.get::<_, i64>(0)).unwrap();
    fill(&writer, 20);
    writer.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(())).unwrap();
    (world, writer, reader)
}

#[test]
fn what_sqlite_leaves_between_two_statements_is_healthy() {
    let (world, writer, reader) = half_backfilled();
    let index = world.is_healthy(&[1]);
    assert!(0 < index.backfilled && index.backfilled < index.header.max_frame, "{index:?}");
    reader.execute_batch("COMMIT").unwrap();
    // A transaction that spills, undone in part and then as a whole, leaves entries beyond mxFrame.
    writer.execute_batch("BEGIN; SAVEPOINT one").unwrap();
    fill(&writer, 100);
    world.is_healthy(&[]);
    writer.execute_batch("ROLLBACK TO one").unwrap();
    fill(&writer, 50);
    world.is_healthy(&[]);
    writer.execute_batch("UPDATE t SET body = zeroblob(300); ROLLBACK").unwrap();
    world.is_healthy(&[]);
    fill(&writer, 6000);
    assert!(world.is_healthy(&[]).header.max_frame as usize > FRAMES_FIRST, "a second region");
    // A checkpoint of everything, a restarted log, a truncated one.
    for mode in ["FULL", "RESTART", "PASSIVE", "TRUNCATE"] {
        writer.query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], |_| Ok(())).unwrap();
        let index = world.is_healthy(&[]);
        assert_eq!(index.backfilled, index.header.max_frame, "{mode}");
        fill(&writer, 3);
        world.is_healthy(&[]);
    }
}

#[test]
fn what_recovery_leaves_is_healthy() {
    let (world, _writer, _reader) = half_backfilled();
    let copy = World::new();
    for suffix in ["", "-wal"] {
        fs::copy(world.path(suffix), copy.path(suffix)).unwrap();
    }
    let db = copy.open();
    let index = copy.is_healthy(&[]);
    assert_eq!((index.backfilled, index.backfill_attempted), (0, index.header.max_frame));
    fill(&db, 1);
    copy.is_healthy(&[]);
    let empty = World::new();
    let _db = empty.open();
    empty.is_healthy(&[]);
}

#[test]
fn what_racing_connections_leave_is_healthy() {
    let world = World::new();
    let mut connections = [world.open(), world.open(), world.open()];
    let mut state = 1_u32;
    for _ in 0..2000 {
        state = state.wrapping_mul(1_103_515_245).wrapping_add(12345);
        let (who, what) = ((state >> 16) as usize % 3, (state >> 20) % 9);
        let sql = match what {
            0 => "BEGIN",
            1 => "BEGIN IMMEDIATE",
            2 => "COMMIT",
            3 => "ROLLBACK",
            4 => "PRAGMA wal_checkpoint(PASSIVE)",
            5 => "PRAGMA wal_checkpoint(TRUNCATE)",
            6 => "INSERT INTO t(body) VALUES(zeroblob(4000))",
            7 => "UPDATE t SET body = zeroblob(3000) WHERE id % 3 = 0",
            _ => "SELECT count(*) FROM t",
        };
        let result =
            connections[who].prepare(sql).and_then(|mut s| s.query([]).and_then(|mut rows| rows.next().map(|_| ())));
        if let Err(error) = result {
            let expected = [ErrorCode::DatabaseBusy, ErrorCode::DatabaseLocked, ErrorCode::Unknown];
            assert!(expected.contains(&error.sqlite_error_code().unwrap()), "{sql}: {error}");
        }
        world.is_healthy(&[]);
        if state.is_multiple_of(97) {
            connections[who] = world.open();
        }
    }
}

/// Writes a number into both copies of the header, or behind them, and makes the header's checksum right again.
fn planted(shm: &[u8], offset: usize, bytes: &[u8]) -> Vec<u8> {
    let mut shm = shm.to_vec();
    shm[offset..offset + bytes.len()].copy_from_slice(bytes);
    let sum = checksum(&shm[..SUMMED_BYTES], u32::from_ne_bytes, [0; 2]);
    shm[40..44].copy_from_slice(&sum[0].to_ne_bytes());
    shm[44..48].copy_from_slice(&sum[1].to_ne_bytes());
    shm.copy_within(..COPY_BYTES, COPY_BYTES);
    shm
}

fn texts(violations: &[Violation]) -> Vec<String> {
    violations.iter().map(Violation::to_string).collect()
}

#[test]
fn canary_each_broken_promise_of_the_header_is_caught() {
    let (world, _writer, _reader) = half_backfilled();
    let (shm, _) = world.bytes();
    let index = WalIndex::parse(&shm).unwrap();
    let (max, done) = (index.header.max_frame, index.backfilled);
    assert_eq!(check(&shm), []);
    let found = |offset, value: u32| texts(&check(&planted(&shm, offset, &value.to_ne_bytes()))).join("; ");
    assert_eq!(
        found(96, max + 1),
        format!("nBackfill {} > mxFrame {max}; nBackfill {} > nBackfillAttempted {done}", max + 1, max + 1)
    );
    assert_eq!(found(128, max + 1), format!("nBackfillAttempted {} > mxFrame {max}", max + 1));
    assert_eq!(found(128, done - 1), format!("nBackfill {done} > nBackfillAttempted {}", done - 1));
    assert_eq!(found(100, 7), "aReadMark[0] 7, not 0");
    assert_eq!(found(0, 3_008_000), "iVersion 3008000, not 3007000");
    assert_eq!(found(20, 0), format!("nPage 0 beside mxFrame {max}"));
    let page_size = |code: u16| texts(&check(&planted(&shm, 14, &code.to_ne_bytes()))).join("; ");
    assert_eq!(page_size(0), format!("szPage 0 beside mxFrame {max} is no page size"));
    assert_eq!(page_size(1000), format!("szPage 1000 beside mxFrame {max} is no page size"));
    assert_eq!([page_size(1), page_size(32768)], ["", ""]);
    let mut unsealed = shm.clone();
    (unsealed[8], unsealed[COPY_BYTES + 8]) = (99, 99);
    assert!(texts(&check(&unsealed))[0].starts_with("the header's checksum is ["));
    // While a connection writes it, and before the first one has, there is nothing to judge.
    unsealed[9] ^= 1;
    assert_eq!(check(&unsealed), []);
    assert_eq!(check(&planted(&planted(&shm, 96, &[255; 4]), 12, &[0])), []);
    assert_eq!([check(&[]), check(&[1; HEADER_BYTES - 1])], [[], []]);
}

#[track_caller]
fn deep(shm: &[u8], surroundings: Surroundings<'_>, expected: &str) {
    assert_eq!(texts(&check_deep(shm, surroundings)).join("; "), expected);
    assert_eq!(check(shm), [], "the header alone shows nothing");
}

#[test]
fn canary_each_broken_promise_of_marks_and_hash_table_is_caught() {
    let (world, _writer, _reader) = half_backfilled();
    let (shm, _) = world.bytes();
    let max = WalIndex::parse(&shm).unwrap().header.max_frame;
    let readers = Surroundings { readers: &[2, 1], wal: None };
    let unused = format!("aReadMark[2] {NOT_USED} of a reader > mxFrame {max}");
    deep(&shm, readers, &unused);
    let stale = planted(&shm, 104, &(max + 9).to_ne_bytes());
    deep(&stale, readers, &format!("{unused}; aReadMark[1] {} of a reader > mxFrame {max}", max + 9));
    deep(&stale, Surroundings::default(), "");

    let page_of = |frame: u32| HEADER_BYTES + 4 * (frame as usize - 1);
    let nameless = planted(&shm, page_of(5), &[0; 4]);
    deep(&nameless, Surroundings::default(), &format!("frame 5 of {max} has no page number"));
    let renamed = planted(&shm, page_of(5), &77_u32.to_ne_bytes());
    let lost = format!("frame 5 of {max}, page 77, is not to be found by its hash");
    deep(&renamed, Surroundings::default(), &lost);
    let page = u32_at(&shm, page_of(max));
    let table = 4 * FRAMES;
    let slot = (table..REGION_BYTES).step_by(2).find(|at| array(&shm, *at) == (max as u16).to_ne_bytes()).unwrap();
    let lost = format!("frame {max} of {max}, page {page}, is not to be found by its hash");
    deep(&planted(&shm, slot, &[0; 2]), Surroundings::default(), &lost);
    deep(&planted(&shm, page_of(max + 1), &[9; 4]), Surroundings::default(), "");
}

#[test]
fn canary_each_difference_between_wal_and_wal_index_is_caught() {
    let (world, _writer, _reader) = half_backfilled();
    let (shm, wal) = world.bytes();
    let max = WalIndex::parse(&shm).unwrap().header.max_frame;
    fn of(wal: &[u8]) -> Surroundings<'_> {
        Surroundings { readers: &[], wal: Some(wal) }
    }
    let frame = |number: usize| WAL_HEADER_BYTES + (number - 1) * (FRAME_HEADER_BYTES + 512);
    let damaged = |at: usize, expected: &str| {
        let mut wal = wal.clone();
        wal[at] ^= 1;
        deep(&shm, of(&wal), expected);
    };
    let in_header =
        |what: &str| format!("{what} in the WAL's header is not that of the wal-index beside mxFrame {max}");
    damaged(10, &in_header("the page size"));
    damaged(16, &in_header("the salt"));
    damaged(3, &in_header("the byte order"));
    for at in [0, 7, 12, 24, 31] {
        damaged(at, &format!("the WAL's header is not valid beside mxFrame {max}"));
    }
    let in_frame = |number: usize, what: &str| format!("frame {number} of {max} in the WAL has a wrong {what}");
    damaged(frame(3) + 3, &in_frame(3, "page number"));
    damaged(frame(3) + 7, &in_frame(3, "checksum"));
    damaged(frame(3) + 8, &in_frame(3, "salt"));
    damaged(frame(3) + 16, &in_frame(3, "checksum"));
    damaged(frame(3) + FRAME_HEADER_BYTES + 99, &in_frame(3, "checksum"));
    damaged(frame(max as usize) + FRAME_HEADER_BYTES, &in_frame(max as usize, "checksum"));
    let bigger = planted(&shm, 20, &99_u32.to_ne_bytes());
    deep(&bigger, of(&wal), &in_frame(max as usize, "database size"));
    let other = planted(&shm, 24, &[9; 8]);
    deep(&other, of(&wal), &in_frame(max as usize, "checksum, by the wal-index"));
    let short = &wal[..frame(max as usize + 1) - 1];
    let needs = format!("the WAL has {} bytes, which is less than mxFrame {max} needs", short.len());
    deep(&shm, of(short), &needs);
    deep(&shm, of(&wal[..frame(max as usize + 1)]), "");
}

#[test]
fn canary_what_was_seen_is_reported() {
    let judge = |walindex| judge(&Evidence { walindex, ..Evidence::default() });
    assert_eq!(judge(Vec::new()), []);
    let note = Violation::Backfilled { backfilled: 95, max_frame: 30 }.to_string();
    let detail = "nBackfill 95 > mxFrame 30 (2 such observations)".to_owned();
    assert_eq!(judge(vec![note.clone(), note]), [(Verdict::Corrupt, detail)]);
}
