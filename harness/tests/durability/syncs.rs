//! Syncs of SQLite's: what they make durable, and what a failing one leaves.

use super::{simulation, with};
use seawall_harness::media::sim::durability::{ChangeKind, Fate};
use seawall_harness::rig::Simulation;

const DATABASE: &str = "/d/a.db";

/// A database with a table and one row, all durable.
fn prepare(simulation: &Simulation, pragmas: &str) -> seawall_harness::engine::Db {
    let db = simulation.open(DATABASE).expect("a database");
    db.execute("CREATE TABLE t(x); INSERT INTO t VALUES (1)").expect("a table");
    db.execute(pragmas).expect("pragmas");
    with(simulation, |machine| machine.record_disk(true));
    db
}

/// How many rows a fresh process finds if every pending change is lost.
fn rows_after_loss(simulation: &Simulation) -> i64 {
    with(simulation, |machine| {
        let state = machine.disk_state().expect("a recorded disk");
        let image = state.image(&vec![Fate::Lost; state.pending().len()]);
        machine.install(&image);
    });
    let db = simulation.open(DATABASE).expect("a database");
    db.query_int("SELECT count(*) FROM t").expect("a count").expect("a row")
}

#[test]
fn what_a_commit_syncs_survives() {
    #[track_caller]
    fn check(pragmas: &str, rows: i64) {
        let (_rig, simulation) = simulation(&[]);
        let db = prepare(&simulation, pragmas);
        db.execute("INSERT INTO t VALUES (2)").expect("an insert");
        assert_eq!(rows_after_loss(&simulation), rows, "{pragmas}");
    }
    check("PRAGMA journal_mode = DELETE; PRAGMA synchronous = FULL", 1);
    check("PRAGMA journal_mode = DELETE; PRAGMA synchronous = EXTRA", 2);
    check("PRAGMA journal_mode = TRUNCATE; PRAGMA synchronous = FULL", 2);
    check("PRAGMA journal_mode = PERSIST; PRAGMA synchronous = FULL", 2);
    check("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL", 2);
    check("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL", 1);
    check("PRAGMA journal_mode = DELETE; PRAGMA synchronous = OFF", 1);
}

#[test]
fn a_new_log_is_synced_with_its_directory() {
    let (_rig, simulation) = simulation(&[]);
    let db = prepare(&simulation, "PRAGMA synchronous = FULL");
    with(&simulation, |machine| machine.set_device("strict".parse().expect("a device")));
    db.execute("PRAGMA journal_mode = WAL; INSERT INTO t VALUES (2)").expect("an insert");
    let names = with(&simulation, |machine| {
        let pending = machine.disk_state().expect("a recorded disk").pending().to_vec();
        pending.iter().filter(|change| matches!(change.kind, ChangeKind::Bind { .. })).count()
    });
    assert_eq!(names, 0);
    assert_eq!(rows_after_loss(&simulation), 2);
}

/// Under a rule: does COMMIT succeed, twice; how many rows are visible then; how many are after an eviction of the
/// cache; how many after a power cut that loses all that is pending.
#[track_caller]
fn check_fate(rule: &str, expected: ([bool; 2], i64, i64, i64)) {
    let outcome = |end: &dyn Fn(&Simulation) -> i64| {
        let (_rig, simulation) = simulation(&[rule]);
        let db = prepare(&simulation, "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; SELECT * FROM t");
        simulation.arm();
        let commit = |x| db.execute(&format!("INSERT INTO t VALUES ({x})")).is_ok();
        let commits = [commit(2), commit(3)];
        simulation.disarm();
        // The process dies: its close would check the log in.
        with(&simulation, |machine| machine.kill(0));
        drop(db);
        with(&simulation, |machine| machine.revive(0));
        (commits, end(&simulation))
    };
    let visible = outcome(&|simulation| {
        simulation.open(DATABASE).and_then(|db| db.query_int("SELECT count(*) FROM t")).ok().flatten().unwrap_or(-1)
    });
    let evicted = outcome(&|simulation| {
        with(simulation, |machine| machine.evict_cache());
        simulation.open(DATABASE).and_then(|db| db.query_int("SELECT count(*) FROM t")).ok().flatten().unwrap_or(-1)
    });
    let lost = outcome(&rows_after_loss);
    assert_eq!((visible.0, visible.1, evicted.1, lost.1), expected, "{rule}");
}

#[test]
fn a_failing_sync_leaves_what_it_says() {
    // Without a fault: both commit, and nothing is ever lost.
    check_fate("sync@wal:error=IOERR_FSYNC:when=99", ([true, true], 3, 3, 3));
    check_fate("sync@wal:lie", ([true, true], 3, 3, 1));
    // The second sync is that of the first commit's frames. The next commit writes its frames over them.
    check_fate("sync@wal:error=IOERR_FSYNC:when=2", ([false, true], 2, 2, 2));
    check_fate("sync@wal:error=IOERR_FSYNC,dirty=dropped:when=2", ([false, true], 2, 2, 2));
    check_fate("sync@wal:error=IOERR_FSYNC,dirty=reverted:when=2", ([false, true], 2, 2, 2));
    // The first commit is acknowledged and lost; the second one fails, and is visible to a fresh process.
    check_fate("sync@wal:error=IOERR_FSYNC,dirty=late:when=2", ([true, false], 3, 1, 1));
}

#[test]
fn a_power_cut_ends_the_processes_and_keeps_what_is_durable() {
    let (mut rig, simulation) = simulation(&["write@wal:power-cut:when=3"]);
    let db = prepare(&simulation, "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL");
    drop(db);
    simulation.arm();
    let inner = simulation.clone();
    let actor = seawall_harness::actor::Actor { process: 1, thread: 1 };
    let work = move || {
        let db = inner.open(DATABASE).expect("a database");
        let results: Vec<bool> = (2..6).map(|x| db.execute(&format!("INSERT INTO t VALUES ({x})")).is_ok()).collect();
        assert_eq!(results.iter().filter(|done| **done).count(), 0, "{results:?}");
    };
    rig.run(seawall_harness::seed::Seed(1), vec![(actor, Box::new(work))]);
    simulation.disarm();
    with(&simulation, |machine| {
        assert!(machine.is_dead(1));
        machine.revive(1);
        assert_eq!((machine.open_files(), machine.panic_message()), (0, None));
    });
    let db = simulation.open(DATABASE).expect("a database");
    assert_eq!(db.query_int("SELECT count(*) FROM t").expect("a count"), Some(1));
}

/// The rollback finds an empty journal and leaves the first page in the cache, though it is not in the file.
#[test]
fn a_new_database_whose_journal_was_reverted_may_have_its_rows_in_the_log_alone() {
    let (_rig, simulation) = simulation(&["sync@journal:error=IOERR_FSYNC,dirty=reverted:when=1"]);
    let db = simulation.open(DATABASE).expect("a database");
    simulation.arm();
    let changed = [(); 2].map(|()| db.execute("PRAGMA journal_mode = WAL").is_ok());
    let committed = db.execute("CREATE TABLE t(x); INSERT INTO t VALUES (1)").is_ok();
    simulation.disarm();
    let bytes = with(&simulation, |machine| machine.bytes(DATABASE).map(|bytes| bytes.len()));
    // The process dies, without any power cut.
    with(&simulation, |machine| machine.kill(0));
    drop(db);
    with(&simulation, |machine| machine.revive(0));
    let rows = simulation.open(DATABASE).expect("a database").query_int("SELECT count(*) FROM t").ok().flatten();
    assert_eq!((changed, committed, bytes, rows), ([false, true], true, Some(0), None));
}
