//! Journals that SQLite wrote, whole and damaged.

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
    [journal, name, &length.to_be_bytes(), &sum.to_be_bytes(), &JOURNAL_MAGIC].concat()
}

#[test]
fn a_journal_of_an_open_transaction_is_hot_unless_reserved_is_held() {
    let dir = tempfile::tempdir().unwrap();
    let (_conn, bytes) = sample(dir.path());
    let mut journal = Journal::read(&dir.path().join("x.db-journal")).unwrap().unwrap();
    assert_eq!(journal, scan(&bytes));
    assert_eq!((journal.state, journal.page_bytes), (JournalState::Written, Some(4096)));
    assert!(journal.database_pages > Some(40) && journal.records.is_none(), "{journal:?}");
    let records = journal.read_records(&dir.path().join("x.db-journal")).unwrap().unwrap();
    assert!(journal.records > Some(40) && journal.segments > Some(1), "written in parts: {journal:?}");
    assert_eq!((records.unread_bytes, records.page_bytes), (0, 4096));
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
