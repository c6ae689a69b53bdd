//! What is repaired, what is refused, and that neither loses anything.

use super::super::tests::{Place, WAL, content, has_proc, patch};
use super::super::*;
use super::{FixOutcome, FixStep, fix, plan};
use std::fs;

const JOURNAL: &str = "CREATE TABLE t (x); INSERT INTO t VALUES (zeroblob(200000)); PRAGMA cache_size = 1;
    BEGIN; UPDATE t SET x = randomblob(200000)";

fn repair(place: &Place) -> FixOutcome {
    fix(&place.path).unwrap()
}

fn names(place: &Place) -> Vec<String> {
    let folder = place.path.parent().unwrap();
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// The files, as bytes.
fn files(place: &Place) -> Vec<Vec<u8>> {
    FileRole::ALL.iter().map(|role| content(&role.path(&place.path))).collect()
}

#[track_caller]
fn check_refused(place: &Place, reason: &str) {
    let before = files(place);
    let outcome = repair(place);
    assert!(outcome.plan.steps.is_empty() && outcome.done.is_empty() && outcome.after.is_none(), "{outcome:#?}");
    assert!(outcome.plan.refusals.iter().any(|refusal| refusal.contains(reason)), "{:?}", outcome.plan.refusals);
    assert_eq!(files(place), before);
}

#[test]
fn a_log_that_was_left_behind_is_carried_into_the_database_with_every_row() {
    let live = Place::new();
    let _conn = live.open(&format!("{WAL} INSERT INTO t VALUES ('last')"));
    let died = live.copy(&[FileRole::Database, FileRole::Wal, FileRole::WalIndex]);
    let frames = died.examine().pending.frames;
    assert_eq!(plan(&died.examine()).steps, [FixStep::Recover { rolls_back: false, frames }]);
    let outcome = repair(&died);
    assert_eq!(outcome.failure, None);
    assert!(outcome.done[0].contains(&format!("{frames} frames")), "{:?}", outcome.done);
    assert_eq!((outcome.before.pending.frames, outcome.after.unwrap().pending.frames), (frames, 0));
    assert_eq!(names(&died), ["x.db", "x.db.init.lock"]);
    let rows: i64 = died.open("").query_row("SELECT count(*) FROM t", [], |row| row.get(0)).unwrap();
    assert_eq!(rows, 2);
    assert_eq!(repair(&died).plan, Default::default(), "nothing is left to do");
}

#[test]
fn an_interrupted_transaction_is_rolled_back() {
    if !has_proc() {
        return;
    }
    let live = Place::new();
    let _conn = live.open(JOURNAL);
    let died = live.copy(&[FileRole::Database, FileRole::Journal]);
    assert!(matches!(plan(&died.examine()).steps[..], [FixStep::Recover { rolls_back: true, .. }]));
    let outcome = repair(&died);
    assert_eq!((outcome.failure, outcome.after.unwrap().journal), (None, None));
    let is_as_before = |row: &rusqlite::Row<'_>| row.get::<_, bool>(0);
    assert!(died.open("").query_row("SELECT x = zeroblob(200000) FROM t", [], is_as_before).unwrap());
}

#[test]
fn an_open_database_is_left_alone() {
    let place = Place::new();
    let conn = place.open(WAL);
    let outcome = repair(&place);
    assert!(outcome.plan.steps.is_empty() && outcome.done.is_empty());
    if has_proc() {
        assert!(outcome.plan.refusals[0].contains(&std::process::id().to_string()), "{:?}", outcome.plan);
        check_refused(&place, "it is open");
    }
    drop(conn);
}

#[test]
fn the_doctor_does_not_wait_for_the_lock_of_first_connects() {
    let live = Place::new();
    let _conn = live.open(WAL);
    let died = live.copy(&[FileRole::Database, FileRole::Wal]);
    let held = SystemOs::new().try_lock_file(&FileRole::InitLock.path(&died.path), &died.path).unwrap();
    check_refused(&died, "x.db.init.lock is held by");
    drop(held);
    assert_eq!(repair(&died).failure, None);
}

#[test]
fn whatever_looks_dangerous_is_left_alone() {
    let live = Place::new();
    let conn = live.open(WAL);
    let both = [FileRole::Database, FileRole::Wal];
    let place = live.copy(&both);
    fs::hard_link(&place.path, place.path.with_file_name("y.db")).unwrap();
    check_refused(&place, "more than one name");
    let place = live.copy(&both);
    fs::write(&place.path, "").unwrap();
    check_refused(&place, "SQLite deletes the log");
    let place = live.copy(&both);
    patch(&place.path, 24, &[0, 0, 1, 0]);
    check_refused(&place, "newer than its -wal");
    drop(conn);
}

#[test]
fn a_log_is_not_carried_into_pages_that_do_not_pass() {
    let live = Place::new();
    let _conn = live.open(&format!("{WAL} CREATE TABLE u (x); PRAGMA wal_checkpoint; INSERT INTO t VALUES (1)"));
    let died = live.copy(&[FileRole::Database, FileRole::Wal]);
    // The root page of a table that the log has no newer copy of.
    let pages = fs::read(&died.path).unwrap().len() / 4096;
    patch(&died.path, (pages - 1) * 4096, &[0xff; 64]);
    let (database, log) = (fs::read(&died.path).unwrap(), fs::read(died.file(FileRole::Wal)).unwrap());
    let outcome = repair(&died);
    let failure = outcome.failure.unwrap();
    assert!(failure.contains("quick_check") || failure.contains("CORRUPT"), "{failure}");
    assert_eq!(fs::read(&died.path).unwrap(), database);
    assert_eq!(fs::read(died.file(FileRole::Wal)).unwrap(), log);
}

#[test]
fn side_files_without_a_database_go_into_quarantine_whole() {
    let live = Place::new();
    let _conn = live.open(WAL);
    for number in 1..=2 {
        let orphan = live.copy(&[FileRole::Wal, FileRole::WalIndex]);
        if number == 2 {
            fs::create_dir(orphan.path.with_file_name("x.db.quarantine-1")).unwrap();
        }
        let processes = orphan.examine().processes;
        if !processes.is_complete() {
            println!("not all processes can be looked into here, so it has to be refused");
            check_refused(&orphan, "could be looked into");
            continue;
        }
        let log = fs::read(orphan.file(FileRole::Wal)).unwrap();
        let outcome = repair(&orphan);
        assert_eq!((outcome.failure, outcome.done.len()), (None, 2));
        let folder = orphan.path.with_file_name(format!("x.db.quarantine-{number}"));
        assert_eq!(fs::read(folder.join("x.db-wal")).unwrap(), log);
        assert!(folder.join("x.db-shm").exists() && !orphan.file(FileRole::Wal).exists());
        assert!(outcome.after.is_none(), "nothing is left to look at");
    }
}
