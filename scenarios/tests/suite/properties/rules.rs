//! Fault rules that a layer can survive: a call returns an error, waits, or ends with its process.
//!
//! What no layer can survive is left out: bytes that change or vanish though the call succeeds (`bitflip`, `drop`,
//! `lie`, `torn` without an error). So are short reads of the database and of a rollback journal. SQLite takes the
//! missing bytes of a database page for zeros, and the end of a journal for its end, so that there a short read is no
//! error but other content.

use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

/// Calls with the failures that a stock build can meet there.
const ERRORS: &[(&str, &[&str])] = &[
    ("open@db", &["CANTOPEN"]),
    ("open@wal", &["CANTOPEN"]),
    ("open@journal", &["CANTOPEN"]),
    ("open@*", &["CANTOPEN", "CANTOPEN,errno=EACCES"]),
    ("shmmap@shm", &["IOERR_SHMMAP", "IOERR_SHMSIZE", "IOERR_SHMOPEN", "READONLY_CANTINIT"]),
    ("shmlock@shm", &["IOERR_SHMLOCK", "BUSY"]),
    ("truncate@*", &["IOERR_TRUNCATE"]),
    ("read@db", &["IOERR_READ"]),
    ("read@wal", &["IOERR_READ", "IOERR_SHORT_READ"]),
    ("read@*", &["IOERR_READ"]),
    ("write@db", &["IOERR_WRITE", "FULL"]),
    ("write@wal", &["IOERR_WRITE", "FULL"]),
    ("write@journal", &["IOERR_WRITE", "FULL"]),
    ("write@*", &["IOERR_WRITE", "FULL"]),
    ("sync@db", &["IOERR_FSYNC"]),
    ("sync@wal", &["IOERR_FSYNC"]),
    ("sync@*", &["IOERR_FSYNC"]),
    ("lock@db", &["BUSY", "IOERR_LOCK"]),
    ("unlock@db", &["IOERR_UNLOCK"]),
    ("checkreservedlock@db", &["IOERR_CHECKRESERVEDLOCK"]),
    ("filesize@*", &["IOERR_FSTAT"]),
    ("access@*", &["IOERR_ACCESS"]),
    ("delete@*", &["IOERR_DELETE"]),
    ("close@*", &["IOERR_CLOSE"]),
    ("fullpathname@*", &["CANTOPEN_FULLPATH"]),
];

/// Calls on the way to the first statement of a new connection.
const OPENING: &[&str] =
    &["open@db", "open@wal", "open@journal", "open@*", "shmmap@shm", "shmlock@shm", "read@db", "write@db", "lock@db"];

/// Any failure that SQLite gets as an error.
pub(super) fn error() -> impl Strategy<Value = String> {
    let torn = (select(&["write@wal", "write@db", "write@*"][..]), 0..5000_u32, select(&["IOERR_WRITE", "FULL"][..]))
        .prop_map(|(call, bytes, code)| format!("{call}:torn={bytes},error={code}"));
    let natural = select(&["*@*:errno=EIO", "*@*:errno=ENOSPC", "*@wal:errno=EIO", "*@db:errno=EIO"][..]);
    let failure = prop_oneof![
        12 => error_of(|_| true),
        2 => torn,
        1 => Just("read@wal:short".to_owned()),
        1 => natural.prop_map(str::to_owned),
    ];
    with_modifiers(failure)
}

/// A failure that opening a connection meets.
pub(super) fn error_of_opening() -> impl Strategy<Value = String> {
    with_modifiers(error_of(|call| OPENING.contains(&call)))
}

/// A failure, a wait, or the death of the process.
pub(super) fn trouble() -> impl Strategy<Value = String> {
    let calls = &["write@wal", "write@db", "sync@*", "shmlock@shm", "shmmap@shm", "open@*", "truncate@*", "*@*"][..];
    // More or longer waits would make a run of many calls last for minutes.
    let stall = (select(calls), 1..200_u32, 1..20_u32)
        .prop_map(|(call, ms, times)| format!("{call}:stall={ms}ms:p=0.2:times={times}"));
    let kill = (select(calls), 1..120_u32).prop_map(|(call, nth)| format!("{call}:kill:when={nth}"));
    prop_oneof![6 => error(), 1 => stall, 2 => kill]
}

fn error_of(wanted: impl Fn(&str) -> bool) -> impl Strategy<Value = String> {
    let calls = ERRORS.iter().filter(|(call, _)| wanted(call));
    let failures = calls.flat_map(|(call, codes)| codes.iter().map(move |code| format!("{call}:error={code}")));
    select(failures.collect::<Vec<_>>())
}

fn with_modifiers(failure: impl Strategy<Value = String>) -> impl Strategy<Value = String> {
    let when = prop_oneof![
        4 => (1..12_u32).prop_map(|nth| format!(":when={nth}")),
        2 => (1..12_u32, 0..12_u32).prop_map(|(first, more)| format!(":when={first}..{}", first + more)),
        1 => (1..12_u32).prop_map(|first| format!(":when={first}+")),
        1 => (1..12_u32, 1..6_u32).prop_map(|(first, step)| format!(":when={first}+{step}")),
        2 => (1..50_u32).prop_map(|percent| format!(":p={}", f64::from(percent) / 100.0)),
    ];
    let times = option::of((1..20_u32).prop_map(|times| format!(":times={times}")));
    (failure, when, times).prop_map(|(failure, when, times)| format!("{failure}{when}{}", times.unwrap_or_default()))
}
