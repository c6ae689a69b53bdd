//! Crashes, power cuts, faults and outsiders in user code.

use super::{found, planted};
use seawall_harness::sim::World;

/// Two processes insert three rows each, one by one, and acknowledge them. `before` acknowledges before the COMMIT.
fn rows(world: &mut World<(u16, i64)>, before: bool) {
    world.setup(|db| db.execute_batch("CREATE TABLE line (process, n, PRIMARY KEY (process, n))"));
    world.processes(2, move |p| {
        let mut db = p.open()?;
        for n in 0..3 {
            let transaction = db.transaction()?;
            transaction.execute("INSERT OR IGNORE INTO line VALUES (?1, ?2)", (p.number(), n))?;
            if before {
                p.ack((p.number(), n))?;
            }
            transaction.commit()?;
            if !before {
                p.ack((p.number(), n))?;
            }
        }
        Ok(())
    });
    world.invariant(|db, acked| {
        for (process, n) in acked {
            let found: i64 =
                db.query_row("SELECT count(*) FROM line WHERE process = ?1 AND n = ?2", (process, n), |r| r.get(0))?;
            assert_eq!(found, 1, "line {n} of process {process} is gone");
        }
        Ok(())
    });
}

#[test]
fn what_was_committed_survives_crashes_and_power_cuts() {
    let passed = planted().crashes(3).run(|world| rows(world, false));
    assert!(passed.acked > 6 * passed.iterations, "processes start again: {passed:?}");
    let passed = planted().crashes(1).power_cuts(2).wal().run(|world| rows(world, false));
    assert!(passed.acked > 6 * passed.iterations, "processes start again: {passed:?}");
}

#[test]
fn an_acknowledgement_before_the_commit_is_found_by_a_crash() {
    let failure = found(planted().crashes(2).restarts(0), |world| rows(world, true));
    assert!(failure.finding.detail.contains("is gone"), "{failure}");
    assert_eq!((failure.preemptions.1, failure.faults.len()), (0, 1), "{failure}");
    let steps = failure.steps();
    assert!(steps.iter().any(|step| step.contains("was killed in `")), "{failure}");
    // Nothing is told of a process after its death.
    let killed = steps.iter().position(|step| step.contains("was killed")).unwrap();
    let dead = steps[killed].split(' ').next().unwrap();
    assert!(!steps[killed + 1..].iter().any(|step| step.starts_with(dead)), "{failure}");
}

#[test]
fn a_commit_without_syncs_is_found_by_a_power_cut() {
    let check = planted().power_cuts(1).restarts(0);
    let failure = found(check, |world: &mut World<i64>| {
        world.setup(|db| db.execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE line (n)"));
        world.process(|p| {
            let db = p.open()?;
            db.execute_batch("PRAGMA synchronous = NORMAL")?;
            for n in 0..4 {
                db.execute("INSERT INTO line VALUES (?1)", [n])?;
                p.ack(n)?;
            }
            Ok(())
        });
        world.invariant(|db, acked| {
            let rows = db.query_row("SELECT count(*) FROM line", [], |row| row.get::<_, i64>(0))? as usize;
            assert!(rows >= acked.len(), "{rows} rows of {} that were acknowledged", acked.len());
            Ok(())
        });
    });
    assert!(failure.steps().iter().any(|step| step.starts_with("the power is cut")), "{failure}");
    assert_eq!(failure.faults.len(), 1, "{failure}");
}

#[test]
fn errors_are_right_where_a_fault_has_fired_and_wrong_otherwise() {
    let passed = planted().fault("write@*:error=FULL:p=0.1").run(|world| rows(world, false));
    assert!(passed.acked < 6 * passed.iterations, "{passed:?}");
    let failure = found(planted(), |world: &mut World| {
        world.process(|p| Ok(p.open()?.execute_batch("SELECT 1 FROM missing")?));
    });
    assert_eq!(failure.finding.oracle, "error");
    assert!(failure.finding.detail.contains("p1.t1 returned an error: no such table: missing"), "{failure}");
}

#[test]
fn an_outsider_that_unlinks_the_log_is_found() {
    let check = planted().wal().fault("write@wal:outside=unlink-side-files:when=4");
    let failure = found(check, |world| rows(world, false));
    assert!(failure.steps().iter().any(|step| step.contains("an outsider unlinks app.db-wal")), "{failure}");
}

#[test]
#[should_panic(expected = "did you mean `shmmap`?")]
fn a_mistake_in_a_rule_is_marked() {
    let _ = planted().fault("shmap@shm:error=IOERR");
}
