//! Single errors: what a sweep finds with SQLite, and with an application that does not look at the answer of COMMIT.

use crate::TURN;
use seawall_harness::fault::Rule;
use seawall_scenarios::powercut::sweep::{self, Class, Executed, SweepResult, Sweeper, Swept as _, Target, View};
use seawall_scenarios::powercut::{CellSettings, JournalMode, Level};
use std::collections::BTreeSet;
use std::sync::PoisonError;

fn sweeper(journal_mode: JournalMode) -> Sweeper {
    let settings = CellSettings { journal_mode, synchronous: Level::Full };
    Sweeper::new(sweep::case(settings, "linked", "immediate", 1)).unwrap()
}

fn calls(sweeper: &mut Sweeper) -> SweepResult {
    let settings = sweeper.case().settings;
    sweep::sweep(sweeper, (settings, Target::Calls), &Rule::to_string, &|| false, &|_| {}).unwrap()
}

fn outcome(sweeper: &mut Sweeper, rule: &str) -> (Class, Vec<View>) {
    let Executed { outcome, fired_at, .. } = sweeper.execute(&rule.parse().unwrap()).unwrap();
    assert!(fired_at.is_some(), "{rule}");
    (outcome.class, outcome.views)
}

/// The last of each of these syncs belongs to a COMMIT.
const SYNCS: [(JournalMode, &str); 4] = [
    (JournalMode::Delete, "sync@db:error=IOERR_FSYNC:when=2"),
    (JournalMode::Truncate, "sync@db:error=IOERR_FSYNC:when=2"),
    (JournalMode::Persist, "sync@db:error=IOERR_FSYNC:when=2"),
    (JournalMode::Wal, "sync@wal:error=IOERR_FSYNC,dirty=dropped:when=3"),
];

#[test]
fn canary_an_application_that_ignores_a_failed_sync_loses_commits_and_sqlite_does_not() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    for (mode, rule) in SYNCS {
        let (class, _) = outcome(&mut sweeper(mode), rule);
        assert!(matches!(class, Class::Failed | Class::FalseFailure), "{mode:?}: {class}");
        let (class, views) = outcome(&mut sweeper(mode).heedless(), rule);
        assert!(class == Class::Lost && views.contains(&View::Evicted), "{mode:?}: {class}, {views:?}");
    }
    let heedless = calls(&mut sweeper(JournalMode::Delete).heedless());
    assert!(heedless.news > 0 && heedless.of(Class::FalseFailure) == 0, "{:?}", heedless.classes);
}

#[test]
fn canary_an_application_that_begins_until_it_succeeds_does_not_end() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let rule = "lock@db:error=IOERR_LOCK:when=5+";
    assert_eq!(outcome(&mut sweeper(JournalMode::Delete), rule), (Class::Failed, vec![]));
    assert_eq!(outcome(&mut sweeper(JournalMode::Delete).insistent(), rule), (Class::Wedged, vec![View::Live]));
}

#[test]
fn a_sweep_whose_time_is_over_says_what_it_left_out() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let mut sweeper = sweeper(JournalMode::Wal);
    let settings = sweeper.case().settings;
    let left = std::cell::Cell::new(11);
    let is_over = || left.replace(left.get() - 1) <= 1;
    let result = sweep::sweep(&mut sweeper, (settings, Target::Calls), &Rule::to_string, &is_over, &|_| {}).unwrap();
    assert_eq!((result.injected, result.skipped), (10, 0));
    assert!(result.left_out > 1000, "{}", result.left_out);
}

#[test]
fn a_sweep_meets_every_call_and_costs_nothing_that_was_acknowledged() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    for mode in [JournalMode::Delete, JournalMode::Wal] {
        let mut sweeper = sweeper(mode);
        let result = calls(&mut sweeper);
        assert_eq!((result.skipped, result.news), (0, 0), "{mode:?}: {:?}", result.classes);
        // The calls of an execution whose fault comes too late are those without a fault.
        let late = "sync@db:error=IOERR_FSYNC:when=100000".parse().unwrap();
        let can_fail = sweeper.execute(&late).unwrap().calls.iter().filter(|(_, call)| call.method.can_fail()).count();
        assert_eq!(result.calls, can_fail as u64);
        let once: BTreeSet<&str> =
            result.runs.iter().map(|run| &*run.rule).filter(|rule| !rule.ends_with('+')).collect();
        assert_eq!(once.len() * 2, result.runs.len());
        for class in Class::ALL {
            assert_eq!(result.of(class) > 0, class != Class::Wedged, "{mode:?}: {class}");
        }
        // The same again, byte for byte.
        assert_eq!(calls(&mut sweeper), result);
    }
}

#[test]
fn failing_syncs_do_what_theory_says() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let mut delete = sweeper(JournalMode::Delete);
    // The database is durable after the sync, or COMMIT says that it is not.
    assert_eq!(outcome(&mut delete, "sync@db:error=IOERR_FSYNC:when=2").0, Class::Failed);
    assert_eq!(outcome(&mut delete, "sync@db:lie:when=2"), (Class::Lost, vec![View::Evicted]));
    assert_eq!(outcome(&mut delete, "sync@db:error=IOERR_FSYNC,dirty=late:when=2"), (Class::Lost, vec![View::Evicted]));
    let mut wal = sweeper(JournalMode::Wal);
    // The frames are in the log, and the next process takes them for committed.
    assert_eq!(outcome(&mut wal, "sync@wal:error=IOERR_FSYNC:when=3"), (Class::FalseFailure, vec![View::Restart]));
    assert_eq!(outcome(&mut wal, "sync@wal:lie:when=2").0, Class::Lost);
    // The checkpoint within COMMIT may fail: no statement says so, and the log is still there.
    assert_eq!(outcome(&mut wal, "sync@db:error=IOERR_FSYNC:when=1").0, Class::Swallowed);
}

#[test]
fn what_is_not_durable_without_a_fault_is_not_counted() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    // At NORMAL the truncation of the journal is not synced, and takes the last commit with it.
    for (journal_mode, synchronous, rule) in [
        (JournalMode::Truncate, Level::Normal, "lock@db:error=IOERR_LOCK:when=3"),
        (JournalMode::Wal, Level::Off, "shmlock@shm:error=IOERR_SHMLOCK:when=3"),
    ] {
        let settings = CellSettings { journal_mode, synchronous };
        let mut sweeper = Sweeper::new(sweep::case(settings, "linked", "immediate", 1)).unwrap();
        let (class, views) = outcome(&mut sweeper, rule);
        assert!(class < Class::Lost, "{settings}: {class}, {views:?}");
    }
}
