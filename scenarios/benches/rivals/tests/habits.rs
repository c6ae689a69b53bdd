//! What the contestants do about dirty transactions and replaced files. A new version that does otherwise is news, and
//! changes what the README says.

use rivals::Kind;
use rivals::habits::{self, Habits};
use tokio::runtime::Runtime;

#[track_caller]
fn check(kind: Kind, expected: Habits) {
    let folder = tempfile::tempdir().unwrap();
    let observed = Runtime::new().unwrap().block_on(habits::observe(kind, folder.path())).unwrap();
    assert_eq!(observed, expected, "{}", kind.name());
}

const HEEDLESS: Habits = Habits { hands_on_open_transactions: true, writes_to_replaced_files: true };
const CAREFUL: Habits = Habits { hands_on_open_transactions: false, writes_to_replaced_files: false };

#[test]
fn a_bare_mutex_hands_everything_on() {
    check(Kind::Mutex, HEEDLESS);
}

#[test]
fn seawall_hands_nothing_on() {
    check(Kind::Seawall, Habits { hands_on_open_transactions: false, writes_to_replaced_files: false });
}

#[test]
fn r2d2_sqlite_hands_everything_on() {
    check(Kind::R2d2, HEEDLESS);
}

#[test]
fn deadpool_sqlite_hands_everything_on() {
    check(Kind::Deadpool, HEEDLESS);
}

#[test]
fn tokio_rusqlite_hands_everything_on() {
    check(Kind::TokioRusqlite, HEEDLESS);
}

#[test]
fn a_connection_for_every_call_hands_nothing_on() {
    check(Kind::PerCall, CAREFUL);
}
