//! The checkpoint that a commit makes due: only into files that have their names.

use super::*;
use crate::Synchronous;
use std::fs;

fn builder(world: &World, frames: u32) -> Builder {
    world.builder().on_connect(move |conn| conn.pragma_update(None, "wal_autocheckpoint", frames))
}

/// Commits of a page or two each.
fn fill(conn: &Connection, from: i64, count: i64) -> rusqlite::Result<()> {
    (from..from + count).try_for_each(|x| insert(conn, x))
}

fn bytes(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |file| file.len())
}

#[test]
fn a_commit_is_followed_by_a_checkpoint_of_a_log_that_is_long() {
    fn check(frames: Option<u32>, log_frames_max: u64) {
        const FRAME_BYTES: u64 = 24 + 4096;
        let world = World::new();
        let builder = frames.map_or_else(|| world.builder(), |frames| builder(&world, frames));
        let store = builder.synchronous(Synchronous::Normal).open(world.path()).unwrap();
        // Within one closure, too.
        store.with_connection(|conn| fill(conn, 0, 2000)).unwrap();
        for x in 2000..2100 {
            store.write(|tx| insert(tx, x)).unwrap();
        }
        let log_frames = bytes(&world.side_file("-wal")) / FRAME_BYTES;
        assert!(log_frames <= log_frames_max, "{frames:?}: {log_frames}");
        assert_eq!(log_frames > 2000, frames == Some(0), "{frames:?}: {log_frames}");
        assert_eq!(store.health().opens, 1);
    }
    check(None, 1010);
    check(Some(20), 30);
    check(Some(0), u64::MAX);
}

#[test]
fn a_commit_into_files_without_a_name_checkpoints_nothing() {
    fn check(is_new_log: bool) {
        let world = World::new();
        let store = builder(&world, 4).open(world.path()).unwrap();
        let before = store.with_connection(|_| Ok(bytes(&world.path()))).unwrap();
        let error = store
            .with_connection(|conn| {
                fs::remove_file(world.side_file("-wal")).unwrap();
                if is_new_log {
                    fs::write(world.side_file("-wal"), []).unwrap();
                }
                fill(conn, 0, 100)?;
                assert_eq!(bytes(&world.path()), before);
                Ok(())
            })
            .unwrap_err();
        assert!(error.is_moved(), "{error}");
        drop(store);
    }
    check(false);
    check(true);
}

#[test]
fn a_file_with_a_second_name_gets_no_checkpoint_either() {
    let world = World::new();
    let store = builder(&world, 4).open(world.path()).unwrap();
    let before = bytes(&world.path());
    store
        .with_connection(|conn| {
            fs::hard_link(world.path(), world.dir.path().join("y.db")).unwrap();
            fill(conn, 0, 100)?;
            assert_eq!(bytes(&world.path()), before);
            Ok(())
        })
        .unwrap_err();
}

#[test]
fn an_attached_database_is_checkpointed_by_sqlite_itself() {
    let world = World::new();
    let other = world.dir.path().join("other.db");
    let attach = format!("ATTACH '{}' AS other; PRAGMA other.journal_mode = WAL", other.display());
    let builder = world.builder().on_connect(move |conn| {
        conn.execute_batch("PRAGMA wal_autocheckpoint = 4")?;
        conn.execute_batch(&attach)
    });
    let store = builder.open(world.path()).unwrap();
    store.with_connection(|conn| conn.execute_batch("CREATE TABLE IF NOT EXISTS other.u (x)")).unwrap();
    for x in 0..100 {
        store.write(|tx| tx.execute("INSERT INTO other.u VALUES (?1)", [x]).map(drop)).unwrap();
    }
    let log = world.dir.path().join("other.db-wal");
    assert!((1..20 * 4096).contains(&bytes(&log)), "{}", bytes(&log));
}

#[test]
fn the_bytes_of_a_log_stay_as_they_are() {
    let world = World::new();
    let store = world.store();
    store.write(|tx| insert(tx, 1)).unwrap();
    let log = || std::fs::read(world.side_file("-wal")).unwrap();
    let before = log();
    store
        .with_connection(|conn| {
            conn.execute_batch("BEGIN IMMEDIATE")?;
            crate::ffi::write_log_again(conn).unwrap();
            insert(conn, 2)?;
            conn.execute_batch("COMMIT")
        })
        .unwrap();
    assert!(before.len() > 4096 && log().starts_with(&before) && log().len() > before.len());
    world.check_rows(&[1, 2]);
}
