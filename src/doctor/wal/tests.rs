//! Logs that SQLite wrote, whole and damaged.

use super::super::bytes::tests::Damage;
use super::*;
use rusqlite::Connection;
use std::io::Cursor;

/// A database in WAL mode with two transactions in its log; the connection keeps the log from being checkpointed.
fn sample() -> (tempfile::TempDir, Connection, Vec<u8>) {
    let dir = tempfile::tempdir().unwrap();
    let conn = Connection::open(dir.path().join("x.db")).unwrap();
    conn.execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE t (x); INSERT INTO t VALUES (zeroblob(20000))")
        .unwrap();
    let log = std::fs::read(dir.path().join("x.db-wal")).unwrap();
    (dir, conn, log)
}

fn scan(bytes: &[u8]) -> Wal {
    Wal::scan(&mut Cursor::new(bytes), bytes.len() as u64).unwrap()
}

fn max_frame(conn: &Connection) -> u64 {
    conn.query_row("PRAGMA wal_checkpoint(NOOP)", [], |row| row.get::<_, i64>(1)).unwrap().cast_unsigned()
}

#[test]
fn a_log_has_as_many_frames_as_sqlite_says() {
    let (dir, conn, log) = sample();
    let wal = scan(&log);
    assert_eq!(wal.committed_frames, max_frame(&conn));
    assert_eq!((wal.uncommitted_frames, wal.older_frames, wal.torn_frames, wal.rest_bytes), (0, 0, 0, 0));
    let pages: u32 = conn.query_row("PRAGMA page_count", [], |row| row.get(0)).unwrap();
    assert_eq!(wal.database_pages, Some(pages));
    assert_eq!(wal.header.as_ref().map(|header| header.page_bytes), Some(4096));
    assert!(wal.change_counter.is_some() && wal.is_stable);
    assert_eq!(Wal::read(&dir.path().join("x.db-wal")).unwrap(), Some(wal));
    assert_eq!(Wal::read(&dir.path().join("none")).unwrap(), None);
}

#[test]
fn frames_of_an_earlier_round_are_recognised() {
    let (dir, conn, log) = sample();
    conn.execute_batch("PRAGMA wal_checkpoint(RESTART); INSERT INTO t VALUES (1)").unwrap();
    let again = Wal::read(&dir.path().join("x.db-wal")).unwrap().unwrap();
    assert_eq!(again.bytes, log.len() as u64, "the file keeps its length");
    assert_eq!(again.committed_frames, max_frame(&conn));
    assert_eq!(again.committed_frames + again.older_frames, scan(&log).committed_frames);
    assert_eq!(again.header.unwrap().checkpoint_sequence, scan(&log).header.unwrap().checkpoint_sequence + 1);
}

#[test]
fn an_open_transaction_that_spilled_is_uncommitted() {
    let (dir, conn, log) = sample();
    conn.execute_batch("PRAGMA cache_size = 1; BEGIN; INSERT INTO t VALUES (zeroblob(200000))").unwrap();
    let wal = Wal::read(&dir.path().join("x.db-wal")).unwrap().unwrap();
    assert_eq!(wal.committed_frames, scan(&log).committed_frames);
    assert!(wal.uncommitted_frames > 10, "{wal:?}");
}

#[test]
fn a_torn_frame_ends_the_log_at_the_last_commit_before_it() {
    let (_dir, _conn, log) = sample();
    let whole = scan(&log);
    let mut torn = log.clone();
    *torn.last_mut().unwrap() ^= 1;
    let wal = scan(&torn);
    assert!(wal.committed_frames < whole.committed_frames && wal.torn_frames == 1, "{wal:?}");
    let wal = scan(&log[..log.len() - 1]);
    assert_eq!((wal.torn_frames, wal.rest_bytes), (0, 4096 + 24 - 1));
    let mut headless = log.clone();
    headless[30] ^= 1;
    assert_eq!(scan(&headless).header, None);
}

#[test]
fn no_bytes_make_it_panic_or_count_more_than_there_is() {
    let (_dir, _conn, log) = sample();
    let mut damage = Damage(2);
    for _ in 0..300 {
        let bytes = damage.of(&log);
        let wal = scan(&bytes);
        let frames = wal.committed_frames + wal.uncommitted_frames + wal.older_frames + wal.torn_frames;
        assert!(frames * 536 <= bytes.len() as u64);
        // As if the file had been cut short after its length was asked.
        assert!(Wal::scan(&mut Cursor::new(&bytes), u64::MAX / 2 + 1).is_ok());
    }
    assert_eq!(scan(&[]), Wal { is_stable: true, ..Wal::default() });
}
