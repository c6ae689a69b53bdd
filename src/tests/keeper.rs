//! The children that lock and copy files: what they keep out, and that this process feels nothing of them.

use crate::ffi::{LockRange, LockedFile, copy_in_child};
use rusqlite::Connection;
use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::time::Duration;

fn sample(mode: &str) -> (tempfile::TempDir, std::path::PathBuf, Connection) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.db");
    let conn = Connection::open(&path).unwrap();
    conn.busy_timeout(Duration::ZERO).unwrap();
    conn.execute_batch(&format!("PRAGMA journal_mode = {mode}; CREATE TABLE t (x); INSERT INTO t VALUES (1)")).unwrap();
    (dir, path, conn)
}

fn count(conn: &Connection) -> rusqlite::Result<i64> {
    conn.query_row("SELECT count(*) FROM t", [], |row| row.get(0))
}

#[test]
fn a_locked_database_is_busy_for_every_connection_until_it_is_let_go() {
    let (_dir, path, conn) = sample("DELETE");
    let locked = LockedFile::take(&path, LockRange::Database).unwrap().unwrap();
    assert!(count(&conn).unwrap_err().to_string().contains("locked"));
    assert!(LockedFile::take(&path, LockRange::Database).unwrap().is_none(), "held by the first child");
    drop(locked);
    assert_eq!(count(&conn), Ok(1));
}

#[test]
fn a_connection_in_wal_mode_keeps_it_from_being_locked() {
    let (_dir, path, conn) = sample("WAL");
    assert!(LockedFile::take(&path, LockRange::Database).unwrap().is_none());
    let index = path.with_file_name("x.db-shm");
    assert!(LockedFile::take(&index, LockRange::WalIndex).unwrap().is_none());
    let second = Connection::open(&path).unwrap();
    assert_eq!(count(&second), Ok(1), "the attempts have dropped no lock and kept none");
    drop((conn, second));
    assert!(LockedFile::take(&path, LockRange::Database).unwrap().is_some());
    let missing = LockedFile::take(&index, LockRange::WalIndex).unwrap_err();
    assert_eq!(missing.kind(), io::ErrorKind::NotFound);
}

#[test]
fn a_copy_has_every_byte_and_every_hole() {
    let dir = tempfile::tempdir().unwrap();
    let (from, to) = (dir.path().join("a"), dir.path().join("b"));
    let file = File::create(&from).unwrap();
    let content: Vec<u8> = (0..200_001_u32).map(|n| (n * 7) as u8).collect();
    file.write_all_at(&content, 3 << 20).unwrap();
    file.set_len(64 << 20).unwrap();
    copy_in_child(&from, File::create(&to).unwrap().as_fd()).unwrap();
    assert!(fs::read(&from).unwrap() == fs::read(&to).unwrap());
    let blocks = |path| fs::metadata(path).unwrap().blocks();
    assert!(blocks(&to) <= blocks(&from) + 256, "{} {}", blocks(&to), blocks(&from));
    let error = copy_in_child(&dir.path().join("none"), File::create(&to).unwrap().as_fd()).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::NotFound);
    let error = copy_in_child(dir.path(), File::create(&to).unwrap().as_fd()).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
}
