//! Tests that other tests start as programs of their own, with an environment of their own. Otherwise they do nothing.

use super::planted;
use seawall_harness::sim::{self, World};

/// True in a program that another test has started.
fn is_child() -> bool {
    std::env::var_os("SIM_TEST_CHILD").is_some()
}

fn wallet(world: &mut World<i64>) {
    world.setup(|db| db.execute_batch("CREATE TABLE wallet (coins); INSERT INTO wallet VALUES (100)"));
    world.processes(2, |p| {
        let db = p.open()?;
        let coins: i64 = db.query_row("SELECT coins FROM wallet", [], |row| row.get(0))?;
        db.execute("UPDATE wallet SET coins = ?1", [coins - 10])?;
        p.ack(10)
    });
    let is_mended = std::env::var_os("SIM_TEST_MENDED").is_some();
    world.invariant(move |db, spent| {
        let coins: i64 = db.query_row("SELECT coins FROM wallet", [], |row| row.get(0))?;
        assert!(is_mended || coins == 100 - spent.iter().sum::<i64>(), "{coins} coins");
        Ok(())
    });
}

#[test]
fn no_money_is_lost() {
    if is_child() {
        sim::check(wallet);
    }
}

/// One of eight checks that run at the same time, each from a seed of its own. It prints what it has done.
fn one_of_eight(number: u64) {
    if !is_child() {
        return;
    }
    let passed = planted().seed(number).iterations(40).crashes(1).run(move |world: &mut World<u64>| {
        let seed = world.seed();
        world.setup(|db| db.execute_batch("CREATE TABLE t (x, y)"));
        for _ in 0..2 + seed % 2 {
            world.process(move |p| {
                let db = p.open()?;
                for n in 0..1 + seed % 3 {
                    db.execute("INSERT INTO t VALUES (?1, random())", [n as i64])?;
                    p.ack(n)?;
                }
                Ok(())
            });
        }
        world.invariant(move |db, _| {
            let drawn: i64 = db.query_row("SELECT sum(y % 1000000) FROM t", [], |row| row.get(0))?;
            println!("drawn {number} {seed} {drawn}");
            Ok(())
        });
    });
    println!("passed {passed:?}");
    let failed = planted().seed(number).search(wallet).unwrap_err();
    println!("failed {number} {} {} {:?}", failed.iteration, failed.replay, failed.steps());
}

macro_rules! eight {
    ($($name:ident = $number:literal,)*) => {
        $(#[test]
        fn $name() {
            one_of_eight($number);
        })*
    };
}

eight! {
    eight_1 = 1, eight_2 = 2, eight_3 = 3, eight_4 = 4, eight_5 = 5, eight_6 = 6, eight_7 = 7, eight_8 = 8,
}
