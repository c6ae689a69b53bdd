//! The reviewed tables against the code.

use super::*;

#[track_caller]
fn check(code: i32, errno: Option<i32>, operation: Operation, expected: Class) {
    assert_eq!(classify(code, errno, operation), expected, "{} ({code}), errno {errno:?}", code_name(code));
}

/// The codes by construction: primary codes, and for each how many extended ones SQLite has hung under it.
fn all_codes() -> Vec<i32> {
    let extended = [
        (ffi::SQLITE_OK, 1..=2),
        (ffi::SQLITE_ERROR, 1..=6),
        (ffi::SQLITE_ABORT, 2..=2),
        (ffi::SQLITE_BUSY, 1..=3),
        (ffi::SQLITE_LOCKED, 1..=2),
        (ffi::SQLITE_READONLY, 1..=6),
        (ffi::SQLITE_IOERR, 1..=36),
        (ffi::SQLITE_CORRUPT, 1..=3),
        (ffi::SQLITE_CANTOPEN, 1..=6),
        (ffi::SQLITE_CONSTRAINT, 1..=12),
        (ffi::SQLITE_AUTH, 1..=1),
        (ffi::SQLITE_NOTICE, 1..=3),
        (ffi::SQLITE_WARNING, 1..=1),
    ];
    let primary_codes = (0..=28).chain([ffi::SQLITE_ROW, ffi::SQLITE_DONE]);
    primary_codes.chain(extended.into_iter().flat_map(|(p, range)| range.map(move |n| p | (n << 8)))).collect()
}

#[test]
fn the_table_lists_every_code_once_and_no_other() {
    let expected = all_codes();
    for &code in &expected {
        assert_eq!(TABLE.iter().filter(|row| row.code == code).count(), 1, "code {code}");
        assert!(!code_name(code).is_empty());
    }
    assert_eq!(TABLE.len(), expected.len());
}

#[test]
fn every_code_has_a_judgement_that_fits_its_family() {
    for code in all_codes() {
        let class = classify(code, None, Operation::Call);
        match primary(code) {
            ffi::SQLITE_BUSY | ffi::SQLITE_LOCKED | ffi::SQLITE_CONSTRAINT | ffi::SQLITE_FULL => {
                assert!(!class.is_availability(), "the breaker must not count {}", code_name(code));
                assert!(!class.discards_connection(), "{} must keep the connection", code_name(code));
            }
            ffi::SQLITE_IOERR => assert_ne!(class, Class::Notice, "{}", code_name(code)),
            _ => {}
        }
        let class = classify(code, None, Operation::Commit);
        if matches!(primary(code), ffi::SQLITE_IOERR | ffi::SQLITE_FULL | ffi::SQLITE_CANTOPEN) {
            assert_eq!(class, Class::OutcomeUnknown, "{}", code_name(code));
        }
    }
}

#[test]
fn the_wal_index_family_degrades() {
    for code in [4618, 4874, 5130, 5386] {
        check(code, None, Operation::Call, Class::Degrade);
        check(code, None, Operation::Configure, Class::Degrade);
        check(code, None, Operation::Commit, Class::OutcomeUnknown);
    }
}

#[test]
fn the_operation_decides_where_the_code_cannot() {
    check(26, None, Operation::Configure, Class::Quarantine);
    check(26, None, Operation::Read, Class::Reopen);
    check(778, None, Operation::Write, Class::Reopen);
    check(778, None, Operation::Commit, Class::OutcomeUnknown);
    check(5, None, Operation::Commit, Class::RetryLater);
    check(517, None, Operation::Begin, Class::RetryNow);
    check(787, None, Operation::Commit, Class::GiveUp);
}

/// The errnos that the review has to speak about.
const REVIEWED: [&str; 24] = [
    "none",
    "EINTR",
    "EAGAIN",
    "EACCES",
    "EPERM",
    "EROFS",
    "ENOSPC",
    "EDQUOT",
    "EFBIG",
    "EMFILE",
    "ENFILE",
    "EIO",
    "ENXIO",
    "ENOENT",
    "ENOTDIR",
    "EISDIR",
    "EEXIST",
    "ENAMETOOLONG",
    "ELOOP",
    "ENOMEM",
    "EBUSY",
    "ETIMEDOUT",
    "ESTALE",
    "EINVAL",
];

/// The table in the module's description: an errno, its symbol, and the words of the five columns.
fn reviewed_table() -> Vec<(&'static str, Option<i32>, Vec<&'static str>)> {
    let lines = include_str!("mod.rs").lines().filter_map(|line| line.strip_prefix("//! | "));
    let mut rows = Vec::new();
    for line in lines.skip(1) {
        let mut cells = line.trim_end_matches('|').split('|').map(str::trim);
        let names = cells.next().unwrap().split(", ");
        let classes: Vec<&str> = cells.collect();
        rows.extend(names.map(|name| (name, errno_called(name), classes.clone())));
    }
    rows
}

fn errno_called(name: &str) -> Option<i32> {
    match name {
        "none" => None,
        "EINVAL" => Some(libc::EINVAL),
        _ => Some(ERRNOS.iter().find(|row| row.name == name).unwrap_or_else(|| panic!("{name}")).errno),
    }
}

#[test]
fn the_reviewed_table_of_errnos_is_what_the_code_does() {
    let opening = [Operation::Open, Operation::Configure];
    let reading = [Operation::Init, Operation::Call, Operation::Read, Operation::Close];
    let writing = [Operation::Begin, Operation::Write];
    let all = || opening.into_iter().chain(reading).chain(writing);
    let wal_index = || [4618, 4874, 5130, 5386].into_iter();
    let others = all_codes().into_iter().filter(|code| {
        primary(*code) == ffi::SQLITE_IOERR && listed(*code) == Class::Reopen && *code != ffi::SQLITE_IOERR_SHORT_READ
    });
    let columns: [Vec<(i32, Operation)>; 5] = [
        [14, 782].map(|code| (code, Operation::Resolve)).to_vec(),
        all().flat_map(|operation| [14, 782, 14 | 99 << 8].map(|code| (code, operation))).collect(),
        others.flat_map(|code| all().map(move |operation| (code, operation))).collect(),
        wal_index().flat_map(|code| opening.into_iter().chain(reading).map(move |step| (code, step))).collect(),
        wal_index().flat_map(|code| writing.map(|step| (code, step))).collect(),
    ];
    let table = reviewed_table();
    let mut names: Vec<&str> = table.iter().map(|(name, ..)| *name).collect();
    let mut reviewed = REVIEWED.to_vec();
    names.sort_unstable();
    reviewed.sort_unstable();
    assert_eq!(names, reviewed, "each errno stands in one row");
    for (name, errno, classes) in table {
        assert_eq!(classes.len(), columns.len(), "{name}");
        for (expected, cases) in classes.iter().zip(&columns) {
            for &(code, operation) in cases {
                let class = classify(code, errno, operation);
                assert_eq!(format!("{class:?}"), *expected, "{} with {name} in {operation}", code_name(code));
                let in_commit = classify(code, errno, Operation::Commit);
                assert_eq!(in_commit, Class::OutcomeUnknown, "{} with {name} in COMMIT", code_name(code));
            }
        }
    }
}

#[test]
fn an_errno_is_looked_at_only_where_sqlite_keeps_one() {
    let errnos = || ERRNOS.iter().map(|row| Some(row.errno)).chain([Some(0), Some(-1), Some(i32::MAX)]);
    for code in all_codes() {
        let has_errno = matches!(primary(code), ffi::SQLITE_IOERR | ffi::SQLITE_CANTOPEN) && code != 522;
        for errno in errnos().filter(|_| !has_errno) {
            check(code, errno, Operation::Read, classify(code, None, Operation::Read));
            assert_eq!(is_disk_full(code, errno), code == ffi::SQLITE_FULL, "{code}");
            assert!(!is_out_of_descriptors(code, errno), "{code}");
        }
        check(code, Some(0), Operation::Open, classify(code, None, Operation::Open));
    }
    check(522, Some(libc::ENOSPC), Operation::Write, Class::Reopen);
    check(ffi::SQLITE_READONLY_CANTINIT, Some(libc::EINTR), Operation::Configure, Class::Degrade);
}

#[test]
fn neither_a_full_disk_nor_a_lack_of_descriptors_is_an_outage() {
    for (code, errno) in [(778, "ENOSPC"), (778, "EDQUOT"), (1034, "ENOSPC"), (1546, "EFBIG"), (4874, "ENOSPC")] {
        let errno = errno_called(errno);
        assert!(is_disk_full(code, errno) && !is_out_of_descriptors(code, errno), "{code}");
        let class = classify(code, errno, Operation::Write);
        assert!(!class.is_availability() && !class.discards_connection(), "{code}");
    }
    for (code, errno) in [(14, "EMFILE"), (14, "ENFILE"), (4618, "EMFILE")] {
        let errno = errno_called(errno);
        assert!(is_out_of_descriptors(code, errno) && !is_disk_full(code, errno), "{code}");
        assert!(!classify(code, errno, Operation::Open).is_availability(), "{code}");
    }
    assert!(is_disk_full(13, None) && !is_disk_full(14, None) && !is_out_of_descriptors(14, None));
}

#[test]
fn errnos_have_names() {
    assert_eq!(errno_name(libc::ENOSPC), Some("ENOSPC"));
    assert_eq!(errno_name(libc::ESTALE), Some("ESTALE"));
    assert_eq!(errno_name(0), None);
}

#[test]
fn unknown_codes_fail_safe() {
    check(ffi::SQLITE_IOERR | (200 << 8), None, Operation::Read, Class::Reopen);
    check(99, None, Operation::Read, Class::GiveUp);
    check(99, None, Operation::Commit, Class::OutcomeUnknown);
    check(-1, None, Operation::Read, Class::GiveUp);
    assert_eq!(code_name(99), "UNKNOWN");
    assert_eq!(code_name(5386), "IOERR_SHMMAP");
}
