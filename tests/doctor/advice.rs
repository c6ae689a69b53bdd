//! The advice, followed literally: no commit is lost by it. Beside it, what the opposite of the advice loses.
//!
//! The name of each test begins with the code of a danger, and each danger has one.

use crate::world::{Python, World, codes};
use rusqlite::Connection;
use seawall::doctor::{DoctorReport, FileRole, Severity};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

const WAL: &str = "c = connect(path, 'PRAGMA journal_mode=WAL; CREATE TABLE t(x); INSERT INTO t VALUES(1)')\n";

/// A transaction that has written to the database and is not over, with the rows 0 to 299 before it.
const IN_TRANSACTION: &str = "c = connect(path, 'CREATE TABLE t(x)')
c.execute('BEGIN')
for i in range(300): c.execute('INSERT INTO t VALUES(?)', (i,))
c.execute('COMMIT'); c.execute('CREATE TABLE v(x)'); c.execute('INSERT INTO v VALUES(zeroblob(90000))')
c.execute('PRAGMA cache_size=1'); c.execute('BEGIN'); c.execute('UPDATE t SET x=7'); c.execute('UPDATE v SET x=randomblob(90000)')";

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
fn renamed_under_holder_the_log_gets_its_name_back_before_the_process_closes() {
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

#[test]
fn renamed_under_holder_in_a_transaction_it_ends_before_the_name_is_given_back() {
    for by_new_name in [true, false] {
        let Some(mut world) = World::new() else { return };
        let mut sick = world.python();
        sick.run(IN_TRANSACTION);
        let (old, moved) = (world.path.clone(), world.name("y.db"));
        world.shell("mv x.db y.db");
        if by_new_name {
            world.path = moved.clone();
        }
        let next = next(&world.examine(), "renamed-under-holder");
        let back = format!("rename {} back to {}", moved.display(), old.display());
        let end = format!("let process {} (python3) end its transaction and stop", sick.pid());
        assert!(next.contains(&end) && next.contains(&back), "{next}");
        sick.run("c.execute('COMMIT')");
        sick.stop();
        fs::rename(&moved, &old).unwrap();
        assert_eq!(rows(&old, "t"), (0..300).map(|_| 7).collect::<Vec<i64>>());
    }
}

#[test]
fn renamed_under_holder_that_was_killed_in_a_transaction_the_journal_gets_the_new_name() {
    for follows in [true, false] {
        let Some(mut world) = World::new() else { return };
        let mut sick = world.python();
        sick.run(IN_TRANSACTION);
        let old = world.file(FileRole::Journal);
        world.shell("mv x.db y.db");
        world.path = world.name("y.db");
        let own = world.file(FileRole::Journal);
        let next = next(&world.examine(), "renamed-under-holder");
        assert!(next.contains(&format!("rename {} to {}", old.display(), own.display())), "{next}");
        sick.kill();
        if follows {
            fs::rename(&old, &own).unwrap();
            assert_eq!(rows(&world.path, "t"), (0..300).collect::<Vec<i64>>());
        } else {
            // What the advice keeps from happening: rows of a transaction that was never committed.
            let conn = Connection::open(&world.path).unwrap();
            let found = conn.query_row("SELECT count(*) FROM t WHERE x = 7", [], |row| row.get::<_, i64>(0));
            assert_ne!(found.ok(), Some(1), "only the row that was always 7");
        }
    }
}

#[test]
fn no_header_the_first_bytes_are_put_back_in_a_copy() {
    let Some(world) = World::new() else { return };
    world.python_once(&format!("{WAL}c.execute('INSERT INTO t VALUES(2)'); c.close()"));
    world.shell("printf 'not a database !' | dd of=x.db conv=notrunc status=none");
    let before = fs::read(&world.path).unwrap();
    let next = next(&world.examine(), "no-header");
    let copy = format!("cp '{}' COPY", world.path.display());
    let mend = "printf 'SQLite format 3\\000' | dd of=COPY conv=notrunc";
    assert!(next.contains(&copy) && next.contains(mend), "{next}");
    world.shell(&format!("{copy}; {mend} 2>/dev/null"));
    assert_eq!(rows(&world.name("COPY"), "t"), [1, 2]);
    assert_eq!(fs::read(&world.path).unwrap(), before);
}

#[test]
fn no_header_of_another_file_nothing_is_written_to_it() {
    let Some(world) = World::new() else { return };
    world.python_once(&format!("{WAL}c.close()"));
    world.shell("gzip -c x.db > y.db; mv x.db elsewhere; mv y.db x.db");
    let next = next(&world.examine(), "no-header");
    assert!(next.contains("copy the file before anything else") && next.contains("check the path"), "{next}");
    world.shell("cp x.db copy; gzip -dc < copy > z.db");
    assert_eq!(rows(&world.name("z.db"), "t"), [1]);
}

#[test]
fn short_file_it_is_fetched_again() {
    let Some(world) = World::new() else { return };
    world.python_once("connect(path, 'CREATE TABLE t(x); INSERT INTO t VALUES(1); CREATE TABLE u(x); INSERT INTO u VALUES(zeroblob(90000))').close()");
    world.shell("mv x.db source; cp source x.db; truncate -s 40960 x.db");
    let before = fs::read(&world.path).unwrap();
    let next = next(&world.examine(), "short-file");
    let copy = format!("cp '{}' COPY", world.path.display());
    assert!(
        next.contains("Get it again from where it was copied")
            && next.contains(&copy)
            && next.contains("PRAGMA writable_schema=ON"),
        "{next}"
    );
    // What can be read is read out of a copy.
    world.shell(&copy);
    let conn = Connection::open(world.name("COPY")).unwrap();
    conn.execute_batch("PRAGMA writable_schema = ON").unwrap();
    assert_eq!(conn.query_row("SELECT x FROM t", [], |row| row.get::<_, i64>(0)), Ok(1));
    assert_eq!(fs::read(&world.path).unwrap(), before);
    world.shell("cp source x.db");
    assert_eq!(rows(&world.path, "t"), [1]);
}

/// Copies and kills as the advice says.
fn save_and_kill(world: &World, sick: Python, next: &str) {
    let path = world.path.display();
    let copy = format!("cp '{path}' COPY; cp '{path}'-wal COPY-wal");
    assert!(next.contains(&copy) && next.contains(&format!("kill -KILL {}, all at once", sick.pid())), "{next}");
    world.shell(&copy);
    sick.kill();
}

/// Commits in a log that was begun anew, of which the wal-index says that all is checkpointed.
const RESET: &str = "c = connect(path, 'PRAGMA journal_mode=WAL; CREATE TABLE t(x); INSERT INTO t VALUES(1); PRAGMA wal_checkpoint(RESTART); INSERT INTO t VALUES(2); INSERT INTO t VALUES(3)')\ns = os.open(path + '-shm', os.O_RDWR); os.pwrite(s, b'\\xff\\xff\\0\\0', 96)";

#[test]
fn wal_reset_the_log_is_copied_and_the_processes_are_killed() {
    let Some(world) = World::new() else { return };
    let mut sick = world.python();
    sick.run(RESET);
    let next = next(&world.examine(), "wal-reset");
    save_and_kill(&world, sick, &next);
    assert_eq!(rows(&world.path, "t"), [1, 2, 3]);
    assert_eq!(rows(&world.name("COPY"), "t"), [1, 2, 3]);
}

/// What the advice keeps from happening.
#[test]
fn wal_reset_against_the_advice_a_close_removes_the_log() {
    let Some(world) = World::new() else { return };
    let mut sick = world.python();
    sick.run(RESET);
    assert_eq!(rows(&world.path, "t"), [1], "a new connection passes the frames over");
    sick.stop();
    assert_eq!(rows(&world.path, "t"), [1]);
}

#[test]
fn wal_index_disagrees_it_is_built_anew_after_a_kill() {
    let Some(world) = World::new() else { return };
    let mut sick = world.python();
    sick.run(WAL);
    world.shell("cp x.db-shm old");
    sick.run("c.execute('PRAGMA wal_checkpoint(RESTART)').fetchall()\nfor i in (2, 3): c.execute('INSERT INTO t VALUES(%d)' % i)");
    world.shell("cat old > x.db-shm");
    let next = next(&world.examine(), "wal-index-disagrees");
    save_and_kill(&world, sick, &next);
    assert_eq!(rows(&world.path, "t"), [1, 2, 3]);
    assert_eq!(rows(&world.name("COPY"), "t"), [1, 2, 3]);
}

#[test]
fn wal_index_disagrees_with_a_log_that_was_replaced_the_copies_are_compared() {
    let Some(world) = World::new() else { return };
    world.killed(&WAL.replace("INSERT INTO t VALUES(1)", "CREATE TABLE v(x); INSERT INTO v VALUES(zeroblob(90000))"));
    world.shell("cp x.db-wal old; rm x.db*");
    let mut sick = world.python();
    sick.run(&format!(
        "{WAL}c.execute('PRAGMA wal_checkpoint(RESTART)').fetchall(); c.execute('PRAGMA user_version=1')"
    ));
    world.shell("cat old > x.db-wal");
    let next = next(&world.examine(), "wal-index-disagrees");
    save_and_kill(&world, sick, &next);
    assert!(next.contains("compare before that"), "{next}");
    world.shell("cp COPY alone.db");
    assert_eq!(rows(&world.name("alone.db"), "t"), [1], "what was checkpointed is in the database alone");
}

/// Each danger has a test here, and each test here is of a danger and asks for its advice or follows it not.
#[test]
fn every_danger_has_a_test_of_its_advice() {
    let dangers: BTreeSet<String> = seawall::doctor::codes()
        .iter()
        .filter(|kind| kind.severities.contains(&Severity::Danger))
        .map(|kind| kind.code.to_owned())
        .collect();
    let source = include_str!("advice.rs").split_once("#[test]\nfn every_danger_has_a_test").unwrap().0;
    let mut tested = BTreeSet::new();
    for test in source.split("#[test]\nfn ").skip(1) {
        let name = test.split('(').next().unwrap();
        let is_of = |code: &&String| name.starts_with(&format!("{}_", code.replace('-', "_")));
        let code = dangers.iter().find(is_of).unwrap_or_else(|| panic!("{name} is of no danger"));
        let asks = test.contains(&format!(", \"{code}\")"));
        assert!(asks || name.contains("against_the_advice"), "{name} does not ask for the advice");
        if asks {
            tested.insert(code.clone());
        }
    }
    assert_eq!(tested, dangers);
}
