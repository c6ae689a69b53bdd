//! Twenty-one races of application code, planted. Each must be found; its sound form must pass.

mod crashing;
mod reading;
mod writing;

use super::planted;
use rusqlite::Connection;
use seawall_harness::sim::{Check, World};

/// Describes the world of a race: its sound form, or the planted one.
type Plant = fn(&mut World<i64>, bool);

/// A race: its name, how its check differs, its world.
type Race = (&'static str, fn(Check) -> Check, Plant);

const RACES: &[Race] = &[
    ("lost update", plain, writing::lost_update),
    ("write skew", plain, writing::write_skew),
    ("check, then insert", plain, writing::check_then_insert),
    ("a job claimed twice", plain, writing::double_claim),
    ("deferred upgrade, stale retry", Check::wal, writing::deferred_upgrade),
    ("cached row", plain, writing::cached_row),
    ("REPLACE for an upsert", plain, writing::replace_for_upsert),
    ("next number", plain, writing::next_number),
    ("two leaders", plain, writing::two_leaders),
    ("running balance", plain, writing::running_balance),
    ("quota", plain, writing::quota),
    ("BUSY is ignored", impatient, writing::ignored_busy),
    ("migration without transaction", plain, writing::migration),
    ("shared connection, foreign rollback", plain, writing::foreign_rollback),
    ("torn read", plain, reading::torn_read),
    ("delete, then insert", plain, reading::delete_then_insert),
    ("pages that shift", plain, reading::shifting_pages),
    ("acknowledge before commit", crash, crashing::acknowledged_too_early),
    ("half a transfer", crash, crashing::half_a_transfer),
    ("repeated after a restart", crash, crashing::repeated_after_restart),
    ("sent twice", crash, crashing::sent_twice),
];

fn plain(check: Check) -> Check {
    check
}

fn crash(check: Check) -> Check {
    check.crashes(1)
}

fn impatient(check: Check) -> Check {
    check.busy_timeout(std::time::Duration::ZERO)
}

/// The one number that a query gives.
fn number(db: &Connection, sql: &str) -> rusqlite::Result<i64> {
    db.query_row(sql, [], |row| row.get(0))
}

/// Begins a write transaction in the sound form.
fn begin(db: &Connection, is_sound: bool) -> rusqlite::Result<()> {
    db.execute_batch(if is_sound { "BEGIN IMMEDIATE" } else { "" })
}

/// Commits in the sound form.
fn commit(db: &Connection, is_sound: bool) -> rusqlite::Result<()> {
    db.execute_batch(if is_sound { "COMMIT" } else { "" })
}

/// Seeds of the checks.
const SEEDS: u64 = 5;

#[test]
fn each_planted_race_is_found_and_shrunk() {
    println!("| race | executions to find, median of {SEEDS} seeds | most | preemptions | crashes | steps |");
    println!("|---|---:|---:|---:|---:|---:|");
    for (name, with, plant) in RACES {
        let mut failures: Vec<_> = (0..SEEDS)
            .map(|seed| {
                let check = with(planted().name(name).seed(seed));
                let searched = check.search(move |world| plant(world, false));
                searched.err().unwrap_or_else(|| panic!("{name} was not found from seed {seed}"))
            })
            .collect();
        failures.sort_by_key(|failure| failure.iteration);
        let (median, most) = (&failures[failures.len() / 2], &failures[failures.len() - 1]);
        let (steps, preemptions) = (median.steps().len(), median.preemptions.1);
        println!(
            "| {name} | {} | {} | {preemptions} | {} | {steps} |",
            median.iteration,
            most.iteration,
            median.faults.len()
        );
        assert!(preemptions <= 2 && steps <= 25, "{median}");
    }
}

#[test]
fn the_sound_forms_pass() {
    for (name, with, plant) in RACES {
        let passed = with(planted().name(name).iterations(400)).run(move |world| plant(world, true));
        assert_eq!(passed.iterations, 400, "{name}");
    }
}
