//! How the peers handle open transactions and replaced files. If a new version behaves differently, the documentation
//! changes too.

use peers::Kind;
use peers::behavior::{self, Behavior};
use tokio::runtime::Runtime;

#[track_caller]
fn check(kind: Kind, expected: Behavior) {
    let folder = tempfile::tempdir().unwrap();
    let observed = Runtime::new().unwrap().block_on(behavior::observe(kind, folder.path())).unwrap();
    assert_eq!(observed, expected, "{}", kind.name());
}

const UNSAFE: Behavior = Behavior { leaks_open_transactions: true, writes_to_replaced_files: true };
const SAFE: Behavior = Behavior { leaks_open_transactions: false, writes_to_replaced_files: false };

#[test]
fn a_bare_mutex_has_both_defects() {
    check(Kind::Mutex, UNSAFE);
}

#[test]
fn seawall_has_no_defect() {
    check(Kind::Seawall, Behavior { leaks_open_transactions: false, writes_to_replaced_files: false });
}

#[test]
fn r2d2_sqlite_has_both_defects() {
    check(Kind::R2d2, UNSAFE);
}

#[test]
fn deadpool_sqlite_has_both_defects() {
    check(Kind::Deadpool, UNSAFE);
}

#[test]
fn tokio_rusqlite_has_both_defects() {
    check(Kind::TokioRusqlite, UNSAFE);
}

#[test]
fn a_connection_for_every_call_has_no_defect() {
    check(Kind::PerCall, SAFE);
}
