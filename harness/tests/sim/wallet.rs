//! The wallet: two processes take coins from it, and lose an update.

use super::{found, holds, planted};
use seawall_harness::sim::{self, World};

fn wallet(world: &mut World<i64>, update: &'static str) {
    world.setup(|db| db.execute_batch("CREATE TABLE wallet (coins); INSERT INTO wallet VALUES (100)"));
    world.processes(2, move |p| {
        let db = p.open()?;
        let coins: i64 = db.query_row("SELECT coins FROM wallet", [], |row| row.get(0))?;
        db.execute(update, [coins - 10])?;
        p.ack(10)
    });
    world.invariant(|db, spent| {
        let coins: i64 = db.query_row("SELECT coins FROM wallet", [], |row| row.get(0))?;
        assert_eq!(coins, 100 - spent.iter().sum::<i64>());
        Ok(())
    });
}

#[test]
fn a_lost_update_is_found_shrunk_and_told() {
    let failure = found(planted().name("wallet"), |world| wallet(world, "UPDATE wallet SET coins = ?1"));
    let steps = [
        "p1.t1 ran `SELECT coins FROM wallet`",
        "p1.t1 paused in `UPDATE wallet SET coins = 90` at its 3rd write@journal",
        "p2.t1 ran `SELECT coins FROM wallet`",
        "p2.t1 paused in `UPDATE wallet SET coins = 90`: waiting",
        "p1.t1 resumed and finished `UPDATE wallet SET coins = 90`",
        "p1.t1 acknowledged 10",
        "p2.t1 resumed and finished `UPDATE wallet SET coins = 90`",
        "p2.t1 acknowledged 10",
    ];
    assert_eq!(failure.steps(), steps);
    assert_eq!((failure.preemptions.1, failure.faults.len(), failure.difference.as_deref()), (1, 0, None));
    let printed = failure.to_string();
    assert!(printed.contains("  left: 90\n right: 80, at ") && printed.contains("tests/sim/wallet.rs:"), "{printed}");
    let last = printed.trim_end().lines().last().unwrap();
    let expected = format!("SEAWALL_REPLAY={} cargo test -p seawall-harness wallet", failure.replay);
    assert_eq!(last, expected);
}

#[test]
fn a_wallet_that_subtracts_in_one_statement_is_sound() {
    let passed = planted().run(|world| wallet(world, "UPDATE wallet SET coins = coins - 10 WHERE ?1 = ?1"));
    assert_eq!((passed.iterations, passed.acked), (1000, 2000));
}

#[test]
#[should_panic(expected = "the invariant does not hold")]
fn a_check_panics_with_its_failure() {
    planted().run(|world: &mut World| {
        world.invariant(|db, _| {
            db.query_row("SELECT 1 FROM missing", [], |_| Ok(()))?;
            Ok(())
        });
    });
}

#[test]
fn a_world_without_a_process_is_judged() {
    sim::check(|world: &mut World| world.invariant(|_, acked| holds(acked.is_empty())));
}
