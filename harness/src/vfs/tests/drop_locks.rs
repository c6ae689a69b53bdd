//! `drop-locks`: who else gets in afterwards, on real files and in the simulation.

use super::*;
use crate::fault::FaultPlan;
use crate::rig::Rig;
use crate::sched::Task;
use crate::sched::round_robin::RoundRobin;
use crate::trace::RulingKind;
use std::cell::RefCell;
use std::path::Path;
use std::process::Command;
use std::rc::Rc;

/// Tells the child process which database to work on.
const CHILD: &str = "SEAWALL_DROP_LOCKS_DATABASE";

/// What a transaction does that is not to commit. To a log it writes at once if the row is too big for the cache; the
/// rollback journal is written to anyway. The pragma is a `filecontrol@db`.
fn unfinished(journal_mode: &str) -> String {
    let bytes = if journal_mode == "WAL" { 100_000 } else { 1 };
    format!("INSERT INTO t VALUES(zeroblob({bytes})); PRAGMA page_size")
}

/// What another process comes to that wants to write.
fn another_process_writes(path: &Path) -> bool {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "vfs::tests::drop_locks::the_other_process", "--nocapture"])
        .env(CHILD, path)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    let answers = [text.contains("it got in"), text.contains("it was locked out")];
    assert_ne!(answers[0], answers[1], "{text}");
    answers[0]
}

#[test]
fn the_other_process() {
    let Some(path) = std::env::var_os(CHILD) else { return };
    let connection = Connection::open(path).unwrap();
    connection.busy_timeout(Duration::ZERO).unwrap();
    match connection.execute_batch("BEGIN IMMEDIATE") {
        Ok(()) => println!("it got in"),
        Err(error) => {
            assert_eq!(extended(&error), ffi::SQLITE_BUSY);
            println!("it was locked out");
        }
    }
}

#[track_caller]
fn check_real(rule: &str, journal_mode: &str, gets_in: bool) {
    let fixture = Fixture::new(&[rule]);
    let connection = fixture.open().unwrap();
    let setup = format!("PRAGMA journal_mode = {journal_mode}; PRAGMA cache_size = 2; CREATE TABLE t(x)");
    connection.execute_batch(&setup).unwrap();
    let other = fixture.open().unwrap();
    assert_eq!(rows(&other).unwrap(), 0);
    connection.execute_batch("BEGIN IMMEDIATE").unwrap();
    assert!(!another_process_writes(&fixture.path()), "{rule}: it is locked to begin with");
    fixture.shim.arm();
    connection.execute_batch(&unfinished(journal_mode)).unwrap();
    assert_eq!(rows(&other).map_err(|error| extended(&error)), Ok(0));
    fixture.shim.disarm();
    let fired = fixture.shim.shared_state().rule(0).fired();
    assert_eq!(fired > 0, !rule.contains("p9"), "{rule}");
    assert_eq!(another_process_writes(&fixture.path()), gets_in, "{rule}");
    let ruled = fixture.shim.trace().into_iter().filter(|entry| entry.ruling == RulingKind::DropLocks);
    // The call itself is carried out: what a file control is not for is answered by the VFS below.
    let outcomes: Vec<_> = ruled.map(|entry| (entry.rule, entry.outcome)).collect();
    let natural = if rule.starts_with("filecontrol") { ffi::SQLITE_NOTFOUND } else { ffi::SQLITE_OK };
    assert_eq!(outcomes, vec![(Some(0), natural); fired as usize], "{rule}");
}

#[test]
fn a_process_that_lost_its_locks_locks_no_other_out() {
    check_real("write@journal:drop-locks:when=2", "DELETE", true);
    check_real("write@journal:drop-locks:actor=p9.*", "DELETE", false);
    check_real("write@wal:drop-locks:when=3", "WAL", true);
    check_real("write@wal:drop-locks:actor=p9.*", "WAL", false);
    // Through another connection of the process, as the code beside SQLite would do it.
    check_real("shmlock@shm:drop-locks:when=1", "WAL", true);
    // The lock to write is one on the wal-index.
    check_real("filecontrol@db:drop-locks", "WAL", false);
}

#[test]
fn lost_locks_change_nothing_without_another_process() {
    let fixture = Fixture::new(&["*@*:drop-locks"]);
    let connection = wal(&fixture);
    fixture.shim.arm();
    connection
        .execute_batch(
            "PRAGMA temp_store = 1; PRAGMA cache_size = 5; CREATE TEMP TABLE big(x);
             WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000)
             INSERT INTO big SELECT zeroblob(500) FROM n;
             INSERT INTO t SELECT x FROM big; PRAGMA wal_checkpoint(TRUNCATE); PRAGMA journal_mode = DELETE;
             PRAGMA synchronous = EXTRA; INSERT INTO t VALUES(2); VACUUM",
        )
        .unwrap();
    assert_eq!(rows(&connection).unwrap(), 1002);
    assert_eq!(crate::oracle::integrity::check(&connection, "live").complaints, Vec::<String>::new());
    let trace = fixture.shim.trace();
    let of = |role| trace.iter().filter(move |entry| entry.call.role == role);
    for role in [Role::Db, Role::Journal, Role::Wal, Role::Shm] {
        assert!(of(role).any(|entry| entry.ruling == RulingKind::DropLocks), "{role}");
    }
    for role in [Role::Temp, Role::Dir] {
        assert!(of(role).count() > 0 && of(role).all(|entry| entry.ruling == RulingKind::Proceed), "{role}");
    }
    let mut without_file = trace.iter().filter(|entry| !entry.call.method.has_file());
    assert!(without_file.all(|entry| entry.ruling == RulingKind::Proceed));
}

/// Whether the simulated process still has any lock in the middle of a transaction.
fn is_locked_in_simulation(rule: &str, journal_mode: &'static str) -> bool {
    const DATABASE: &str = "/sim/a.db";
    let plan = FaultPlan::new(vec![rule.parse().unwrap()], Seed(1)).unwrap();
    let mut rig = Rig::builder().policy(Box::new(RoundRobin::default())).build().unwrap();
    let simulation = rig.begin(Seed(1), plan).unwrap();
    let found = Rc::new(RefCell::new(None));
    let task: Task = {
        let found = Rc::clone(&found);
        Box::new(move || {
            let db = simulation.open(DATABASE).unwrap();
            let setup = format!("PRAGMA journal_mode = {journal_mode}; PRAGMA cache_size = 2; CREATE TABLE t(x)");
            db.execute(&setup).unwrap();
            simulation.arm();
            db.execute("BEGIN").unwrap();
            db.execute(&unfinished(journal_mode)).unwrap();
            let is_locked = simulation.machine().borrow().any_locks();
            *found.borrow_mut() = Some((is_locked, simulation.shared_state().rule(0).fired()));
        })
    };
    rig.run(Seed(1), vec![(Actor { process: 1, thread: 1 }, task)]);
    let (is_locked, fired) = found.take().unwrap();
    assert_eq!(fired > 0, !rule.contains("p2"), "{rule}");
    is_locked
}

#[test]
fn a_simulated_process_loses_its_locks() {
    assert!(!is_locked_in_simulation("write@journal:drop-locks", "DELETE"));
    assert!(is_locked_in_simulation("write@journal:drop-locks:actor=p2.*", "DELETE"));
    assert!(!is_locked_in_simulation("write@wal:drop-locks:actor=p1.*", "WAL"));
    assert!(is_locked_in_simulation("write@wal:drop-locks:actor=p2.*", "WAL"));
    // The wal-index has locks of its own.
    assert!(is_locked_in_simulation("filecontrol@db:drop-locks", "WAL"));
    assert!(!is_locked_in_simulation("filecontrol@db:drop-locks", "MEMORY"));
}
