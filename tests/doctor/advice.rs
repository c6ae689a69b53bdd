//! The advice, followed literally: no commit is lost by it. Beside it, what the opposite of the advice loses.

use crate::world::{World, codes};
use rusqlite::Connection;
use seawall::doctor::{DoctorReport, FileRole};
use std::fs;
use std::path::Path;

const WAL: &str = "c = connect(path, 'PRAGMA journal_mode=WAL; CREATE TABLE t(x); INSERT INTO t VALUES(1)')\n";

/// The next step of the worst finding of that code.
#[track_caller]
fn next(report: &DoctorReport, code: &str) -> String {
    assert!(codes(report).contains(code), "no {code}: {report:#?}");
    report.findings.iter().find(|finding| finding.code == code).unwrap().next.clone()
}

/// The rows of a table, as another program finds them.
#[track_caller]
fn rows(path: &Path, table: &str) -> Vec<i64> {
    let conn = Connection::open(path).unwrap();
    let verdict: String = conn.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(verdict, "ok");
    let mut rows = conn.prepare(&format!("SELECT x FROM {table} ORDER BY x")).unwrap();
    rows.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
}

#[test]
fn lost_locks_the_process_without_locks_ends_first() {
    let Some(world) = World::new() else { return };
    let (mut sick, mut other) = (world.python(), world.python());
    sick.run(WAL);
    other.run("c = connect(path, 'INSERT INTO t VALUES(2)')");
    sick.run("open(path).close()");
    let next = next(&world.examine(), "lost-locks");
    assert!(next.contains(&format!("First stop process {} ", sick.pid())), "{next}");
    assert!(next.contains(&format!("while process {} ", other.pid())), "{next}");
    sick.run("c.execute('INSERT INTO t VALUES(3)')");
    sick.stop();
    other.run("c.execute('INSERT INTO t VALUES(4)')");
    other.stop();
    assert_eq!(rows(&world.path, "t"), [1, 2, 3, 4]);
}

#[test]
fn lost_locks_a_single_process_is_stopped_in_its_usual_way() {
    let Some(world) = World::new() else { return };
    let mut sick = world.python();
    sick.run(&format!("{WAL}open(path).close(); c.execute('INSERT INTO t VALUES(2)')"));
    let next = next(&world.examine(), "lost-locks");
    assert!(next.starts_with(&format!("Stop process {} ", sick.pid())), "{next}");
    sick.stop();
    assert_eq!(rows(&world.path, "t"), [1, 2]);
}

#[test]
fn lost_locks_several_processes_are_killed_together() {
    let Some(world) = World::new() else { return };
    let (mut one, mut two) = (world.python(), world.python());
    one.run(&format!("{WAL}open(path).close()"));
    two.run("c = connect(path, 'INSERT INTO t VALUES(2)'); open(path).close()");
    one.run("c.execute('INSERT INTO t VALUES(3)')");
    let next = next(&world.examine(), "lost-locks");
    assert!(next.contains("kill -KILL"), "{next}");
    one.kill();
    two.kill();
    assert_eq!(rows(&world.path, "t"), [1, 2, 3]);
}

/// What the advice keeps from happening, with SQLite before 3.51.0.
#[test]
fn lost_locks_against_the_advice_commits_are_lost() {
    let Some(world) = World::new() else { return };
    let mut sick = world.python();
    sick.run(&format!("{WAL}open(path).close()"));
    world.python_once("c = connect(path, 'INSERT INTO t VALUES(2)')");
    let is_defended = sick.run("answer = sqlite3.sqlite_version_info >= (3, 51, 0)").as_bool().unwrap();
    let _ = sick.try_run("c.execute('INSERT INTO t VALUES(3)')");
    sick.kill();
    let kept = rows(&world.path, "t");
    assert!(is_defended || kept == [1, 2], "{kept:?}");
}

#[test]
fn deleted_log_without_other_writers_a_close_carries_it_over() {
    let Some(world) = World::new() else { return };
    let (mut one, mut two) = (world.python(), world.python());
    one.run(WAL);
    two.run("c = connect(path, 'INSERT INTO t VALUES(2)')");
    world.shell("rm x.db-wal x.db-shm");
    let next = next(&world.examine(), "deleted-log");
    assert!(next.contains("in its usual way") && !next.contains("kill"), "{next}");
    one.stop();
    two.stop();
    assert_eq!(rows(&world.path, "t"), [1, 2]);
}

#[test]
fn deleted_log_with_other_writers_it_is_saved_and_the_process_is_killed() {
    let Some(world) = World::new() else { return };
    let mut sick = world.python();
    sick.run(WAL);
    world.shell("cp x.db base; rm x.db-wal x.db-shm; sleep 0.1");
    world.python_once("c = connect(path, 'CREATE TABLE u(x); INSERT INTO u VALUES(7)'); c.close()");
    sick.run("c.execute('INSERT INTO t VALUES(2)')");
    let report = world.examine();
    let next = next(&report, "deleted-log");
    assert!(next.contains(&format!("kill -KILL {}", sick.pid())), "{next}");
    let log = &report.deleted_logs[0];
    assert_eq!(log.commits, 3);
    world.shell(&format!("cp /proc/{}/fd/{} saved-wal", log.pid, log.descriptor));
    sick.kill();
    // What the others wrote is in the database, and what the process wrote is in the saved log.
    assert_eq!(rows(&world.path, "u"), [7]);
    world.shell("cp base y.db; cp saved-wal y.db-wal");
    assert_eq!(rows(&world.name("y.db"), "t"), [1, 2]);
}

/// What the advice keeps from happening.
#[test]
fn deleted_log_against_the_advice_a_close_overwrites_the_others() {
    let Some(world) = World::new() else { return };
    let mut sick = world.python();
    sick.run(WAL);
    world.shell("rm x.db-wal x.db-shm; sleep 0.1");
    world.python_once("c = connect(path, 'CREATE TABLE u(x); INSERT INTO u VALUES(7)'); c.close()");
    sick.run("c.execute('INSERT INTO t VALUES(2)')");
    sick.stop();
    let conn = Connection::open(&world.path).unwrap();
    assert!(conn.prepare("SELECT x FROM u").is_err(), "the commit of the other process is still there");
}

#[test]
fn foreign_log_the_database_alone_and_both_are_compared_on_copies() {
    let Some(world) = World::new() else { return };
    world.python_once("connect(path, 'PRAGMA journal_mode=WAL; CREATE TABLE t(x); INSERT INTO t VALUES(1); INSERT INTO t VALUES(2)').close()");
    world.shell("cp x.db backup");
    world.killed("c = connect(path, 'CREATE TABLE v(x); INSERT INTO v VALUES(zeroblob(90000)); DELETE FROM t; PRAGMA wal_checkpoint(RESTART); INSERT INTO t VALUES(9)')");
    world.shell("cp backup x.db");
    let next = next(&world.examine(), "foreign-log");
    assert!(next.contains("do not open it") && next.contains("a copy of the database alone"), "{next}");
    world.shell("cp x.db alone.db; cp x.db both.db; cp x.db-wal both.db-wal");
    assert_eq!(rows(&world.name("alone.db"), "t"), [1, 2], "what was restored");
    let both = Connection::open(world.name("both.db")).unwrap();
    let found: Result<Vec<i64>, _> =
        both.prepare("SELECT x FROM t ORDER BY x").and_then(|mut rows| rows.query_map([], |row| row.get(0))?.collect());
    assert_ne!(found.ok(), Some(vec![1, 2]), "with the log it is another database");
    // Nothing was touched.
    assert_eq!(fs::read(&world.path).unwrap(), fs::read(world.name("backup")).unwrap());
}

#[test]
fn foreign_journal_the_database_alone_and_both_are_compared_on_copies() {
    let Some(world) = World::new() else { return };
    world.python_once("c = connect(path, 'CREATE TABLE t(x)')\nfor i in range(300): c.execute('INSERT INTO t VALUES(?)', (i,))\nc.close()");
    world.shell("cp x.db backup");
    world.killed("c = connect(path, 'CREATE TABLE v(x); INSERT INTO v VALUES(zeroblob(200000)); PRAGMA cache_size=1; BEGIN; UPDATE v SET x=randomblob(200000); UPDATE t SET x=1')");
    world.shell("cp backup x.db");
    let next = next(&world.examine(), "foreign-journal");
    assert!(next.contains("do not open it") && next.contains("a copy of the database alone"), "{next}");
    world.shell("cp x.db alone.db; cp x.db both.db; cp x.db-journal both.db-journal");
    assert_eq!(rows(&world.name("alone.db"), "t"), (0..300).collect::<Vec<i64>>());
    drop(Connection::open(world.name("both.db")).and_then(|conn| conn.execute_batch("SELECT count(*) FROM t")));
    let bytes = |name: &str| fs::metadata(world.name(name)).unwrap().len();
    assert_ne!(bytes("both.db"), bytes("alone.db"), "with the journal it is another database");
    assert_eq!(fs::read(&world.path).unwrap(), fs::read(world.name("backup")).unwrap());
}

#[test]
fn second_log_the_holder_of_the_other_name_closes_first() {
    let Some(world) = World::new() else { return };
    world.python_once(&format!("{WAL}c.close()"));
    world.shell("mkdir a; ln x.db a/y.db");
    let mut other = world.python();
    other.run("c = connect(path[:-4] + 'a/y.db', 'INSERT INTO t VALUES(2)')");
    let next = next(&world.examine(), "second-log");
    assert!(next.contains(&format!("stop process {} ", other.pid())) && next.contains("--save"), "{next}");
    other.stop();
    world.shell("rm a/y.db");
    world.python_once("connect(path, 'INSERT INTO t VALUES(3)').close()");
    assert_eq!(rows(&world.path, "t"), [1, 2, 3]);
}

#[test]
fn renamed_under_holder_the_name_is_given_back_before_it_closes() {
    for by_new_name in [true, false] {
        let Some(mut world) = World::new() else { return };
        let mut sick = world.python();
        sick.run(WAL);
        let (old, moved) = (world.path.clone(), world.name("y.db"));
        world.shell("mv x.db y.db");
        if by_new_name {
            world.path = moved.clone();
        }
        let next = next(&world.examine(), "renamed-under-holder");
        let (back, stop) = (format!("back to {}", old.display()), format!("stop process {} ", sick.pid()));
        assert!(next.contains(&back) && next.contains(&stop), "{next}");
        sick.run("c.execute('INSERT INTO t VALUES(2)')");
        fs::rename(&moved, &old).unwrap();
        sick.stop();
        assert_eq!(rows(&old, "t"), [1, 2]);
    }
}

/// What the advice keeps from happening: SQLite carries no log into a database that has moved.
#[test]
fn renamed_under_holder_against_the_advice_the_rows_stay_in_the_log() {
    let Some(world) = World::new() else { return };
    let mut sick = world.python();
    sick.run(WAL);
    world.shell("mv x.db y.db");
    sick.stop();
    let moved = Connection::open(world.name("y.db")).unwrap();
    assert!(moved.prepare("SELECT x FROM t").is_err());
    drop(moved);
    world.shell("mv x.db-wal y.db-wal");
    assert_eq!(rows(&world.name("y.db"), "t"), [1]);
}

#[test]
fn renamed_log_gets_its_name_back_before_the_process_closes() {
    let Some(world) = World::new() else { return };
    let mut sick = world.python();
    sick.run(WAL);
    world.shell("mv x.db-wal x.db-wal.bak");
    let next = next(&world.examine(), "renamed-under-holder");
    assert!(next.contains(&format!("x.db-wal.bak back to {}", world.file(FileRole::Wal).display())), "{next}");
    sick.run("c.execute('INSERT INTO t VALUES(2)')");
    world.shell("mv x.db-wal.bak x.db-wal");
    sick.stop();
    assert_eq!(rows(&world.path, "t"), [1, 2]);
}

#[test]
fn renamed_under_holder_that_has_been_killed_the_log_gets_the_new_name() {
    let Some(mut world) = World::new() else { return };
    let mut sick = world.python();
    sick.run(WAL);
    world.shell("mv x.db y.db");
    let old = world.file(FileRole::Wal);
    world.path = world.name("y.db");
    let next = next(&world.examine(), "renamed-under-holder");
    assert!(next.contains(&format!("rename {} to {}", old.display(), world.file(FileRole::Wal).display())), "{next}");
    sick.kill();
    fs::rename(old, world.file(FileRole::Wal)).unwrap();
    assert_eq!(rows(&world.path, "t"), [1]);
}

#[test]
fn deleted_but_open_the_process_is_saved_from_its_descriptors() {
    let Some(world) = World::new() else { return };
    let mut sick = world.python();
    sick.run(WAL);
    world.shell("rm x.db");
    let report = world.examine();
    let next = next(&report, "deleted-but-open");
    assert!(next.contains("--save") && next.contains(&format!("kill -KILL {}", sick.pid())), "{next}");
    let of = |role: FileRole| report.holders.iter().find(|holder| holder.role == role).unwrap().descriptor;
    let pid = sick.pid();
    world.shell(&format!(
        "cp /proc/{pid}/fd/{} saved.db; cp /proc/{pid}/fd/{} saved.db-wal",
        of(FileRole::Database),
        of(FileRole::Wal)
    ));
    sick.kill();
    assert_eq!(rows(&world.name("saved.db"), "t"), [1]);
}

#[test]
fn orphan_side_files_the_database_comes_back_beside_them() {
    let Some(world) = World::new() else { return };
    world.killed(WAL);
    world.shell("mv x.db elsewhere");
    let next = next(&world.examine(), "orphan-side-files");
    assert!(next.contains("put it back"), "{next}");
    world.shell("mv elsewhere x.db");
    assert_eq!(rows(&world.path, "t"), [1]);
}

#[test]
fn wal_beside_empty_database_the_log_is_moved_away() {
    let Some(world) = World::new() else { return };
    world.killed(WAL);
    world.shell("cp x.db kept; : > x.db");
    let next = next(&world.examine(), "wal-beside-empty-database");
    assert!(next.contains("move the -wal away"), "{next}");
    world.shell("mv x.db-wal kept-wal");
    assert_eq!(rows(&world.name("kept"), "t"), [1]);
}
