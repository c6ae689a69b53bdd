//! The classification of errors: rules for every code, known or not, with every errno, in every operation.

use super::{config, regressions};
use proptest::prelude::*;
use proptest::sample::select;
use rusqlite::ffi;
use seawall::error::classify::{Class, Operation, classify, code_name, is_disk_full, is_out_of_descriptors};
use seawall_harness::codes::{Errno, ResultCode};

const OPERATIONS: [Operation; 11] = [
    Operation::Resolve,
    Operation::FirstConnect,
    Operation::Open,
    Operation::Configure,
    Operation::Init,
    Operation::Call,
    Operation::Read,
    Operation::Begin,
    Operation::Write,
    Operation::Commit,
    Operation::Close,
];

/// Opening, growing, locking and mapping the wal-index.
const WAL_INDEX: [i32; 4] = [4618, 4874, 5130, 5386];

/// The system can succeed later: EINTR, EAGAIN, ENFILE, EMFILE.
const PASSING: [i32; 4] = [4, 11, 23, 24];

/// There is no room for the file: EFBIG, ENOSPC, EDQUOT.
const FULL: [i32; 3] = [27, 28, 122];

fn primary(code: i32) -> i32 {
    code & 0xff
}

#[track_caller]
fn check(code: i32, errno: Option<i32>, operation: Operation) {
    let class = classify(code, errno, operation);
    let context = format!("{} ({code}), errno {errno:?}, {operation}: {class:?}", code_name(code));
    assert_eq!(class, classify(code, errno, operation), "the same inputs, the same class: {context}");
    assert!(!code_name(code).is_empty() && !operation.to_string().is_empty());
    never_counts_contention_as_an_outage(code, class, &context);
    reports_an_unknown_outcome_for_every_failed_commit(code, operation, class, &context);
    sends_wal_index_failures_to_exclusive_mode(code, errno, operation, class, &context);
    retries_at_once_only_after_a_transient_error(code, errno, class, &context);
    uses_the_errno_of_input_and_output_only(code, errno, operation, class, &context);
    calls_only_damaged_content_corrupt(code, class, &context);
    calls_no_failure_a_notice(code, class, &context);
}

fn never_counts_contention_as_an_outage(code: i32, class: Class, context: &str) {
    let is_answer = matches!(
        primary(code),
        ffi::SQLITE_BUSY | ffi::SQLITE_LOCKED | ffi::SQLITE_CONSTRAINT | ffi::SQLITE_FULL | ffi::SQLITE_ERROR
    );
    if is_answer {
        assert!(!class.is_availability(), "the database answered: {context}");
        assert!(!class.discards_connection(), "the connection is still good: {context}");
    }
}

fn reports_an_unknown_outcome_for_every_failed_commit(code: i32, operation: Operation, class: Class, context: &str) {
    if operation != Operation::Commit {
        assert_ne!(class, Class::OutcomeUnknown, "only a COMMIT has an unknown outcome: {context}");
        return;
    }
    let may_be_durable = matches!(
        primary(code),
        ffi::SQLITE_IOERR | ffi::SQLITE_FULL | ffi::SQLITE_CANTOPEN | ffi::SQLITE_CORRUPT | ffi::SQLITE_NOMEM
    );
    if may_be_durable {
        assert_eq!(class, Class::OutcomeUnknown, "{context}");
    }
    // An extended code may say more than its primary code about the cause, never about how far the COMMIT came.
    if classify(primary(code), None, Operation::Commit) == Class::OutcomeUnknown {
        assert_eq!(class, Class::OutcomeUnknown, "{context}");
    }
}

fn sends_wal_index_failures_to_exclusive_mode(
    code: i32,
    errno: Option<i32>,
    operation: Operation,
    class: Class,
    context: &str,
) {
    if WAL_INDEX.contains(&code) && operation != Operation::Commit {
        let is_writer = matches!(operation, Operation::Begin | Operation::Write);
        let expected: &[Class] = match errno {
            Some(errno) if PASSING.contains(&errno) => &[Class::RetryNow, Class::RetryLater],
            // The log of a writer needs space too.
            Some(errno) if is_writer && FULL.contains(&errno) => &[Class::RetryLater],
            _ => &[Class::Degrade],
        };
        assert!(expected.contains(&class), "{context}");
    }
}

fn retries_at_once_only_after_a_transient_error(code: i32, errno: Option<i32>, class: Class, context: &str) {
    if class != Class::RetryNow {
        return;
    }
    let lost_race =
        [ffi::SQLITE_BUSY_SNAPSHOT, ffi::SQLITE_SCHEMA, ffi::SQLITE_ABORT_ROLLBACK, ffi::SQLITE_ERROR_RETRY];
    let is_lost_race = lost_race.contains(&code) || primary(code) == ffi::SQLITE_SCHEMA;
    assert!(is_lost_race || errno.is_some_and(|errno| PASSING.contains(&errno)), "{context}");
}

fn uses_the_errno_of_input_and_output_only(
    code: i32,
    errno: Option<i32>,
    operation: Operation,
    class: Class,
    context: &str,
) {
    let without = classify(code, None, operation);
    if !without.is_availability() {
        assert_eq!(class, without, "a stale errno must not change an answer: {context}");
    } else if errno.is_some_and(|errno| [13, 30].contains(&errno)) {
        assert_ne!(class, Class::RetryNow, "rights do not return by themselves: {context}");
    }
    if is_disk_full(code, errno) && without.is_availability() {
        let is_reader_without_wal_index = class == Class::Degrade;
        assert!(class == Class::RetryLater || is_reader_without_wal_index, "a full disk is no outage: {context}");
    }
    if is_out_of_descriptors(code, errno) && without.is_availability() {
        assert_eq!(class, Class::RetryLater, "a lack of descriptors is no outage: {context}");
    }
}

fn calls_only_damaged_content_corrupt(code: i32, class: Class, context: &str) {
    let is_about_content = matches!(primary(code), ffi::SQLITE_CORRUPT | ffi::SQLITE_NOTADB)
        || [ffi::SQLITE_IOERR_DATA, ffi::SQLITE_IOERR_CORRUPTFS].contains(&code);
    assert!(class != Class::Quarantine || is_about_content, "{context}");
}

fn calls_no_failure_a_notice(code: i32, class: Class, context: &str) {
    let is_failure = !matches!(
        primary(code),
        ffi::SQLITE_OK | ffi::SQLITE_ROW | ffi::SQLITE_DONE | ffi::SQLITE_NOTICE | ffi::SQLITE_WARNING
    );
    assert_eq!(class != Class::Notice, is_failure, "{context}");
}

#[test]
fn the_rules_hold_for_every_code_that_sqlite_names() {
    for (_, code) in ResultCode::all() {
        for errno in [None].into_iter().chain((0..=134).map(Some)).chain([Some(-1), Some(Errno::MAX.0)]) {
            for operation in OPERATIONS {
                check(code.0, errno, operation);
            }
        }
    }
}

/// Known codes, codes that a later SQLite may add to a known family, and any other number.
fn code() -> impl Strategy<Value = i32> {
    let known: Vec<i32> = ResultCode::all().map(|(_, code)| code.0).collect();
    let primaries: Vec<i32> = known.iter().copied().filter(|code| *code < 256).collect();
    prop_oneof![
        select(known),
        (select(primaries), 1..1 << 15_i32).prop_map(|(primary, extension)| primary | extension << 8),
        0..=i32::MAX,
    ]
}

fn errno() -> impl Strategy<Value = Option<i32>> {
    prop_oneof![Just(None), (0..200).prop_map(Some), any::<i32>().prop_map(Some)]
}

proptest! {
    #![proptest_config(config(10_000, regressions!("classification")))]

    #[test]
    fn the_rules_hold_for_unknown_codes(
        code in code(),
        errno in errno(),
        operation in select(&OPERATIONS[..]),
    ) {
        check(code, errno, operation);
    }

    #[test]
    fn an_unknown_code_fails_safe(code in any::<i32>(), errno in errno(), operation in select(&OPERATIONS[..])) {
        let class = classify(code, errno, operation);
        let family = ResultCode(code).primary();
        if family.name().is_none() {
            let expected = if operation == Operation::Commit { Class::OutcomeUnknown } else { Class::GiveUp };
            prop_assert_eq!(class, expected);
        } else if ResultCode(code).name().is_none() {
            prop_assert_eq!(class, classify(family.0, errno, operation), "judged by its primary code");
        }
    }

    #[test]
    fn the_class_depends_on_nothing_but_its_inputs(
        inputs in prop::collection::vec((code(), errno(), select(&OPERATIONS[..])), 1..40),
    ) {
        let judge = |&(code, errno, step): &(i32, Option<i32>, Operation)| classify(code, errno, step);
        let forwards: Vec<Class> = inputs.iter().map(judge).collect();
        let mut backwards: Vec<Class> = inputs.iter().rev().map(judge).collect();
        backwards.reverse();
        prop_assert_eq!(forwards, backwards);
    }
}
