//! Canaries: toy stores that use the simulated VFS themselves. Each has one defect, and must lose exactly what theory
//! says; the one without a defect must lose nothing.
//!
//! A store holds one number in two halves, in different sectors. Transaction N sets both halves to N.

use super::raw::{RawFile, RawVfs};
use super::{simulation, with};
use rusqlite::ffi;
use seawall_harness::media::sim::durability::{Choices, Coverage, Enumeration, Image, Recording};
use seawall_harness::rig::Simulation;
use seawall_harness::seed::Seed;
use std::collections::BTreeSet;
use std::ops::ControlFlow;

const DATA: &str = "/d/data";
const LOG: &str = "/d/log";

/// Where the second half stands; and the commit record in a log.
const SECOND: i64 = 4096;
const COMMIT: i64 = 8192;

const TRANSACTIONS: u8 = 3;

/// What can be wrong after a cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Damage {
    /// An acknowledged transaction is gone.
    Lost,
    /// The halves differ.
    Torn,
    /// A commit record stands before data that is not there.
    Empty,
}

/// A way to commit: true if it reports success.
type Commit = fn(&Files, u8) -> bool;

/// What a recovery reads: the halves, and the number of the commit record if there is one.
type Recover = fn(&Image) -> (u8, u8, Option<u8>);

struct Files {
    data: RawFile,
    log: RawFile,
}

impl Files {
    fn open(simulation: &Simulation) -> Self {
        let vfs = RawVfs::find(simulation.vfs());
        let flags = ffi::SQLITE_OPEN_READWRITE | ffi::SQLITE_OPEN_CREATE | ffi::SQLITE_OPEN_MAIN_DB;
        let open = |name| vfs.open(Some(name), flags).map(|(file, _)| file).unwrap_or_else(|code| panic!("{code}"));
        Self { data: open(DATA), log: open(LOG) }
    }
}

fn write_halves(file: &RawFile, number: u8) -> bool {
    file.write(&[number; 8], 0) == 0 && file.write(&[number; 8], SECOND) == 0
}

fn byte(image: &Image, name: &str, at: i64) -> u8 {
    image.file(name).and_then(|content| content.to_vec().get(at as usize).copied()).unwrap_or(0)
}

fn in_place(files: &Files, number: u8) -> bool {
    write_halves(&files.data, number) && files.data.sync() == 0
}

fn read_in_place(image: &Image) -> (u8, u8, Option<u8>) {
    (byte(image, DATA, 0), byte(image, DATA, SECOND), None)
}

/// The log has room for all transactions, so nothing is overwritten.
fn slot(number: u8) -> i64 {
    i64::from(number) * 3 * SECOND
}

fn write_record(log: &RawFile, number: u8) -> bool {
    log.write(&[number; 8], slot(number)) == 0 && log.write(&[number; 8], slot(number) + SECOND) == 0
}

fn write_commit(log: &RawFile, number: u8) -> bool {
    log.write(&[number; 8], slot(number) + COMMIT) == 0
}

/// The record is durable before the commit record, and that one before success is reported.
fn logged(files: &Files, number: u8) -> bool {
    let log = &files.log;
    write_record(log, number) && log.sync() == 0 && write_commit(log, number) && log.sync() == 0
}

/// The record is synced after the commit record.
fn logged_late(files: &Files, number: u8) -> bool {
    let log = &files.log;
    write_commit(log, number) && log.sync() == 0 && write_record(log, number) && log.sync() == 0
}

/// What a sync returns is not looked at.
fn logged_deaf(files: &Files, number: u8) -> bool {
    let log = &files.log;
    write_record(log, number);
    log.sync();
    write_commit(log, number);
    log.sync();
    true
}

fn read_log(image: &Image) -> (u8, u8, Option<u8>) {
    let is_committed = |number: &u8| byte(image, LOG, slot(*number) + COMMIT) == *number;
    let last = (1..=TRANSACTIONS).rev().find(is_committed);
    let half = |at: i64| last.map_or(0, |number| byte(image, LOG, slot(number) + at));
    (half(0), half(SECOND), last)
}

/// All damage that any cut can do.
fn damage(rule: &str, commit: Commit, recover: Recover) -> BTreeSet<Damage> {
    let (_rig, simulation) = simulation(&[rule]);
    let files = Files::open(&simulation);
    with(&simulation, |machine| machine.record_disk(true));
    simulation.arm();
    // How many events there were when a transaction was acknowledged.
    let mut acked: Vec<(usize, u8)> = Vec::new();
    for number in 1..=TRANSACTIONS {
        if commit(&files, number) {
            acked.push((with(&simulation, |machine| machine.recorded_events()), number));
        }
    }
    simulation.disarm();
    let Recording { base: mut state, events } =
        with(&simulation, |machine| machine.take_recording()).expect("a recording");
    assert_eq!((files.data.close(), files.log.close()), (0, 0));
    let mut found = BTreeSet::new();
    let choices = Choices { enumeration: Enumeration::Exhaustive, samples: 0, seed: Seed(0) };
    for position in 0..=events.len() {
        let promised = acked.iter().rfind(|(at, _)| *at <= position).map_or(0, |(_, number)| *number);
        let coverage = choices.visit(&state, &mut |fates| {
            let (first, second, committed) = recover(&state.image(fates));
            let present = committed.unwrap_or(first.min(second));
            found.extend((present < promised).then_some(Damage::Lost));
            if committed.is_some_and(|number| first != number || second != number) {
                found.insert(Damage::Empty);
            } else if first != second {
                found.insert(Damage::Torn);
            }
            ControlFlow::Continue(())
        });
        assert_eq!(coverage, Coverage::Complete);
        if let Some(event) = events.get(position) {
            state.apply(event);
        }
    }
    found
}

const NONE: &str = "sync@super:lie";
const DROPPED: &str = "sync@db:error=IOERR_FSYNC,dirty=dropped:when=3+";
const LATE_RECORD: &str = "sync@db:error=IOERR_FSYNC,dirty=late:when=3";
const LATE_COMMIT: &str = "sync@db:error=IOERR_FSYNC,dirty=late:when=4";
const KEPT: &str = "sync@db:error=IOERR_FSYNC,dirty=kept:when=3+";
const REVERTED: &str = "sync@db:error=IOERR_FSYNC,dirty=reverted:when=3+";
const LIE: &str = "sync@db:lie";

#[track_caller]
fn check(rule: &str, commit: Commit, recover: Recover, expected: &[Damage]) {
    assert_eq!(damage(rule, commit, recover).into_iter().collect::<Vec<_>>(), expected, "{rule}");
}

#[test]
fn a_correct_store_loses_nothing_unless_the_disk_lies() {
    for rule in [NONE, KEPT, DROPPED, REVERTED] {
        check(rule, logged, read_log, &[]);
    }
    // The failure is reported too late: when the commit record stands already, or when success was reported.
    check(LATE_RECORD, logged, read_log, &[Damage::Empty]);
    check(LATE_COMMIT, logged, read_log, &[Damage::Lost]);
    check(LIE, logged, read_log, &[Damage::Lost, Damage::Empty]);
}

#[test]
fn canary_a_store_without_a_journal_tears_transactions_and_loses_none() {
    check(NONE, in_place, read_in_place, &[Damage::Torn]);
}

#[test]
fn canary_a_store_that_syncs_data_after_the_commit_record_has_commits_without_data() {
    check(NONE, logged_late, read_log, &[Damage::Empty]);
}

#[test]
fn canary_a_store_that_ignores_errors_of_fsync_loses_what_a_sync_did_not_write() {
    check(NONE, logged_deaf, read_log, &[]);
    check(KEPT, logged_deaf, read_log, &[Damage::Lost, Damage::Empty]);
    // The commit record is written though the record is gone.
    check(DROPPED, logged_deaf, read_log, &[Damage::Lost, Damage::Empty]);
    check(REVERTED, logged_deaf, read_log, &[Damage::Lost, Damage::Empty]);
}
