//! What is repaired, what is refused, and that neither loses anything.

use super::super::tests::{Place, WAL, content, has_proc, patch};
use super::super::*;
use super::{FixOptions, FixOutcome, FixStep, Soundness, Take, fix};
use rusqlite::Connection;
use std::fs;

const JOURNAL: &str = "CREATE TABLE t (x); INSERT INTO t VALUES (zeroblob(200000)); PRAGMA cache_size = 1;
    BEGIN; UPDATE t SET x = randomblob(200000)";
const BOTH: [FileRole; 2] = [FileRole::Database, FileRole::Wal];

fn repair(place: &Place) -> FixOutcome {
    fix(&place.path, &FixOptions::new()).unwrap()
}

fn repair_with(place: &Place, take: Take) -> FixOutcome {
    fix(&place.path, &FixOptions::new().with_take(take)).unwrap()
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn beside(place: &Place) -> Vec<String> {
    names(place.path.parent().unwrap())
}

/// The files, as bytes.
fn files(place: &Place) -> Vec<Vec<u8>> {
    FileRole::ALL.iter().map(|role| content(&role.path(&place.path))).collect()
}

fn rows(place: &Place) -> i64 {
    place.open("").query_row("SELECT count(*) FROM t", [], |row| row.get(0)).unwrap()
}

#[track_caller]
fn check_untouched(place: &Place, options: &FixOptions, reason: &str) -> FixOutcome {
    let before = files(place);
    let outcome = fix(&place.path, options).unwrap();
    assert!(outcome.plan.steps.is_empty() && outcome.done.is_empty() && outcome.after.is_none(), "{outcome:#?}");
    assert!(outcome.plan.refusals.iter().any(|refusal| refusal.contains(reason)), "{:?}", outcome.plan.refusals);
    assert_eq!((outcome.failure.as_deref(), &outcome.kept), (None, &None));
    assert_eq!(files(place), before);
    let left: Vec<_> = beside(place).into_iter().filter(|name| name.contains(".cure-")).collect();
    assert_eq!(left, [""; 0]);
    outcome
}

#[track_caller]
fn check_refused(place: &Place, reason: &str) -> FixOutcome {
    check_untouched(place, &FixOptions::new().with_dry_run(true), "");
    check_untouched(place, &FixOptions::new(), reason)
}

/// A database with a log that no process uses: `WAL`'s row and another one.
fn left_behind() -> Place {
    let live = Place::new();
    let _conn = live.open(&format!("{WAL} INSERT INTO t VALUES ('last')"));
    live.copy(&[FileRole::Database, FileRole::Wal, FileRole::WalIndex])
}

#[test]
fn both_outcomes_are_shown_and_neither_is_chosen() {
    let died = left_behind();
    let outcome = check_refused(&died, "--take alone or --take log");
    let [alone, log] = &outcome.outcomes[..] else { panic!("{outcome:#?}") };
    assert_eq!((alone.take, alone.content.rows), (Take::Alone, 0));
    assert_eq!((log.take, log.content.rows, log.content.soundness), (Take::Log, 2, Soundness::Sound));
    let t = log.content.tables.iter().find(|table| table.name == "t").unwrap();
    assert_eq!((t.rows, t.last_rowid), (2, Some(2)));
    assert!(log.changed_unix_s >= alone.changed_unix_s && log.changed_unix_s.is_some());
}

#[test]
fn with_the_log_taken_every_row_is_in_the_database_and_the_files_as_they_were_are_kept() {
    let died = left_behind();
    let before = files(&died);
    let frames = died.examine().wal.unwrap().committed_frames;
    let outcome = repair_with(&died, Take::Log);
    assert_eq!(outcome.failure, None, "{outcome:#?}");
    assert_eq!(outcome.plan.steps[0], FixStep::Recover { rolls_back: false, frames });
    assert_eq!((outcome.taken, outcome.after.unwrap().pending.frames), (Some(Take::Log), 0));
    assert_eq!(beside(&died), ["x.db", "x.db.cure-1", "x.db.init.lock"]);
    let kept = outcome.kept.unwrap();
    assert_eq!(names(&kept), ["x.db", "x.db-shm", "x.db-wal"]);
    for (name, bytes) in ["x.db", "x.db-wal", "x.db-shm"].iter().zip(&before) {
        assert_eq!(content(&kept.join(name)), *bytes, "{name}");
    }
    assert_eq!(rows(&died), 2);
    let again = repair(&died);
    assert_eq!((again.plan, again.outcomes), (Default::default(), vec![]), "nothing is left to do");
}

#[test]
fn with_the_database_taken_alone_it_stays_as_it_is_and_the_log_is_kept() {
    let died = left_behind();
    let before = files(&died);
    let outcome = repair_with(&died, Take::Alone);
    assert_eq!(outcome.failure, None, "{outcome:#?}");
    assert_eq!(content(&died.path), before[0]);
    assert_eq!(beside(&died), ["x.db", "x.db.cure-1", "x.db.init.lock"]);
    assert_eq!(content(&outcome.kept.unwrap().join("x.db-wal")), before[1]);
}

#[test]
fn a_log_without_effect_needs_no_choice() {
    let live = Place::new();
    let _conn = live.open(&format!("{WAL} PRAGMA wal_checkpoint"));
    let died = live.copy(&BOTH);
    assert!(died.examine().wal.unwrap().committed_frames > 0);
    let outcome = repair(&died);
    assert_eq!((outcome.failure, outcome.taken), (None, Some(Take::Alone)), "{:?}", outcome.plan);
    assert_eq!(rows(&died), 1);
}

#[test]
fn an_interrupted_transaction_is_rolled_back_if_the_caller_says_so() {
    if !has_proc() {
        return;
    }
    let live = Place::new();
    let _conn = live.open(JOURNAL);
    let died = live.copy(&[FileRole::Database, FileRole::Journal]);
    check_refused(&died, "--take alone or --take log");
    let before = files(&died);
    let outcome = repair_with(&died, Take::Log);
    assert!(matches!(outcome.plan.steps[0], FixStep::Recover { rolls_back: true, .. }));
    assert_eq!((outcome.failure, outcome.after.unwrap().journal), (None, None));
    let is_as_before = |row: &rusqlite::Row<'_>| row.get::<_, bool>(0);
    assert!(died.open("").query_row("SELECT x = zeroblob(200000) FROM t", [], is_as_before).unwrap());
    assert_eq!(content(&outcome.kept.unwrap().join("x.db-journal")), before[3]);
}

#[test]
fn a_restored_file_with_an_old_log_is_refused_and_both_outcomes_are_shown() {
    let live = Place::new();
    let conn = live.open(&format!("{WAL} PRAGMA wal_checkpoint(TRUNCATE)"));
    let backup = content(&live.path);
    conn.execute_batch("INSERT INTO t VALUES (2), (3); UPDATE t SET x = 'new'").unwrap();
    let restored = live.copy(&BOTH);
    fs::write(&restored.path, &backup).unwrap();
    let outcome = check_refused(&restored, "--take");
    let rows_of = |take| outcome.outcomes.iter().find(|outcome| outcome.take == take).map(|found| found.content.rows);
    assert_eq!((rows_of(Take::Alone), rows_of(Take::Log)), (Some(1), Some(3)));
    assert_eq!(repair_with(&restored, Take::Alone).failure, None);
    assert_eq!((content(&restored.path), rows(&restored)), (backup, 1));
}

#[test]
fn a_restored_file_with_an_old_hot_journal_is_refused_and_both_outcomes_are_shown() {
    if !has_proc() {
        return;
    }
    let live = Place::new();
    let conn = live.open("CREATE TABLE t (x); INSERT INTO t VALUES (zeroblob(200000))");
    let backup = content(&live.path);
    conn.execute_batch("INSERT INTO t VALUES (1); PRAGMA cache_size = 1; BEGIN; UPDATE t SET x = randomblob(200000)")
        .unwrap();
    let restored = live.copy(&[FileRole::Database, FileRole::Journal]);
    fs::write(&restored.path, &backup).unwrap();
    let outcome = check_refused(&restored, "");
    assert_eq!(outcome.outcomes.len(), 2, "{:?}", outcome.plan);
    assert_eq!(repair_with(&restored, Take::Alone).failure, None);
    assert_eq!((content(&restored.path), rows(&restored)), (backup, 1));
}

#[test]
fn the_log_of_an_empty_file_is_not_left_to_sqlite_which_deletes_it() {
    let live = Place::new();
    let _conn = live.open(&format!("{WAL} INSERT INTO t VALUES ('last')"));
    let place = live.copy(&BOTH);
    fs::write(&place.path, "").unwrap();
    let outcome = check_refused(&place, "--take");
    assert_eq!(outcome.outcomes.iter().map(|outcome| outcome.content.rows).collect::<Vec<_>>(), [0, 2]);
    assert_eq!(repair_with(&place, Take::Log).failure, None);
    assert_eq!(rows(&place), 2);
}

#[test]
fn an_open_database_is_left_alone() {
    let place = Place::new();
    let conn = place.open(WAL);
    for options in [FixOptions::new(), FixOptions::new().with_take(Take::Log), FixOptions::new().with_take(Take::Alone)]
    {
        check_untouched(&place, &options, if has_proc() { "it is open" } else { "" });
    }
    // Without a look at copies: they would be of several moments.
    check_untouched(&place, &FixOptions::new().with_dry_run(true), if has_proc() { "it is open" } else { "" });
    drop(conn);
}

#[test]
fn the_doctor_does_not_wait_for_the_lock_of_first_connects() {
    let died = left_behind();
    let held = SystemOs::new().try_lock_file(&FileRole::InitLock.path(&died.path), &died.path).unwrap();
    check_untouched(&died, &FixOptions::new().with_take(Take::Log), "x.db.init.lock is held by");
    drop(held);
    assert_eq!(repair_with(&died, Take::Log).failure, None);
}

#[test]
fn without_the_right_to_the_lock_of_first_connects_it_is_refused() {
    /// A directory that may not be written to.
    struct ReadOnly(SystemOs);
    impl Os for ReadOnly {
        fn base(&self) -> Option<&dyn Os> {
            Some(&self.0)
        }
        fn try_lock_file(&self, _: &Path, _: &Path) -> std::io::Result<Option<crate::os::FileLock>> {
            Err(std::io::ErrorKind::PermissionDenied.into())
        }
    }
    let died = left_behind();
    let before = files(&died);
    let outcome = super::fix_on(&died.path, &FixOptions::new().with_take(Take::Log), &ReadOnly(SystemOs::new()));
    let outcome = outcome.unwrap();
    let refusals = &outcome.plan.refusals;
    assert!(refusals.iter().any(|refusal| refusal.contains("as the owner of the files")), "{outcome:#?}");
    assert!(outcome.done.is_empty() && outcome.failure.is_none() && files(&died) == before);
}

#[test]
fn without_room_for_two_copies_it_is_refused() {
    struct Full(SystemOs);
    impl Os for Full {
        fn base(&self) -> Option<&dyn Os> {
            Some(&self.0)
        }
        fn file_system(&self, path: &Path) -> Option<crate::os::FileSystem> {
            self.0.file_system(path).map(|found| crate::os::FileSystem { free_bytes: 1 << 20, ..found })
        }
    }
    let died = left_behind();
    let before = files(&died);
    for is_dry_run in [true, false] {
        let options = FixOptions::new().with_take(Take::Log).with_dry_run(is_dry_run);
        let outcome = super::fix_on(&died.path, &options, &Full(SystemOs::new())).unwrap();
        let refusals = &outcome.plan.refusals;
        assert!(refusals.iter().any(|refusal| refusal.contains("the copies need")), "{outcome:#?}");
        assert!(outcome.done.is_empty() && files(&died)[..4] == before[..4]);
    }
}

#[test]
fn files_that_change_while_they_are_copied_are_not_repaired() {
    /// Another program appends to the log when the copies begin.
    struct Busy(SystemOs, std::path::PathBuf);
    impl Os for Busy {
        fn base(&self) -> Option<&dyn Os> {
            Some(&self.0)
        }
        fn create_dir(&self, path: &Path, rights: crate::os::Rights) -> std::io::Result<()> {
            let mut bytes = fs::read(&self.1)?;
            bytes.push(0);
            fs::write(&self.1, bytes)?;
            self.0.create_dir(path, rights)
        }
    }
    for is_dry_run in [true, false] {
        let died = left_behind();
        let os = Busy(SystemOs::new(), FileRole::Wal.path(&died.path));
        let options = FixOptions::new().with_take(Take::Log).with_dry_run(is_dry_run);
        let outcome = super::fix_on(&died.path, &options, &os).unwrap();
        let refusals = &outcome.plan.refusals;
        assert!(refusals.iter().any(|refusal| refusal.contains("has changed meanwhile")), "{outcome:#?}");
        assert!(outcome.done.is_empty() && outcome.kept.is_none() && outcome.plan.steps.is_empty());
        assert!(beside(&died).iter().all(|name| !name.contains(".cure-")), "{:?}", beside(&died));
    }
}

/// A copy that fails is no repair, and no advice to the layer's callers is given.
#[test]
fn a_copy_that_fails_changes_nothing() {
    struct Full(SystemOs);
    impl Os for Full {
        fn base(&self) -> Option<&dyn Os> {
            Some(&self.0)
        }
        fn sync_dir(&self, _: &Path) -> std::io::Result<()> {
            Err(std::io::Error::from_raw_os_error(libc::ENOSPC))
        }
    }
    let died = left_behind();
    let before = files(&died);
    let outcome = super::fix_on(&died.path, &FixOptions::new().with_take(Take::Log), &Full(SystemOs::new())).unwrap();
    let failure = outcome.failure.unwrap();
    assert!(failure.contains("No space left") && !failure.contains("try again"), "{failure}");
    assert!(outcome.done.is_empty() && outcome.kept.is_none() && files(&died)[..4] == before[..4]);
    assert!(beside(&died).iter().all(|name| !name.contains(".cure-")), "{:?}", beside(&died));
}

#[test]
fn whatever_looks_dangerous_is_left_alone() {
    let live = Place::new();
    let conn = live.open(WAL);
    let place = live.copy(&BOTH);
    fs::hard_link(&place.path, place.path.with_file_name("y.db")).unwrap();
    check_untouched(&place, &FixOptions::new().with_take(Take::Log), "2 names");
    let place = live.copy(&BOTH);
    patch(&place.path, 0, b"no database");
    check_untouched(&place, &FixOptions::new().with_take(Take::Alone), "the first 16 bytes are not those");
    drop(conn);
}

#[test]
fn an_outcome_that_is_damaged_is_not_taken() {
    let live = Place::new();
    let _conn = live.open(&format!("{WAL} CREATE TABLE u (x); PRAGMA wal_checkpoint; INSERT INTO t VALUES (1)"));
    let died = live.copy(&BOTH);
    // The root page of a table that the log has no newer copy of.
    let pages = fs::read(&died.path).unwrap().len() / 4096;
    patch(&died.path, (pages - 1) * 4096, &[0xff; 64]);
    for take in [Take::Alone, Take::Log] {
        let outcome = check_untouched(&died, &FixOptions::new().with_take(take), "it is damaged");
        assert!(outcome.outcomes.iter().all(|outcome| outcome.content.soundness == Soundness::Damaged));
    }
}

#[test]
fn side_files_without_a_database_go_into_quarantine_whole() {
    let live = Place::new();
    let _conn = live.open(WAL);
    for number in 1..=2 {
        let orphan = live.copy(&[FileRole::Wal, FileRole::WalIndex]);
        if number == 2 {
            fs::create_dir(orphan.path.with_file_name("x.db.quarantine-1")).unwrap();
        }
        let processes = orphan.examine().processes;
        if !processes.is_complete() {
            println!("not all processes can be looked into here, so it has to be refused");
            check_untouched(&orphan, &FixOptions::new(), "could be looked into");
            continue;
        }
        let log = fs::read(orphan.file(FileRole::Wal)).unwrap();
        let outcome = repair(&orphan);
        assert_eq!((outcome.failure, outcome.done.len()), (None, 2));
        let folder = orphan.path.with_file_name(format!("x.db.quarantine-{number}"));
        assert_eq!(fs::read(folder.join("x.db-wal")).unwrap(), log);
        assert!(folder.join("x.db-shm").exists() && !orphan.file(FileRole::Wal).exists());
        assert!(outcome.after.is_none(), "nothing is left to look at");
    }
}

#[test]
fn the_journal_of_a_transaction_over_several_databases_is_rolled_back_without_its_super_journal() {
    if !has_proc() {
        return;
    }
    // As SQLite leaves it when it dies after the super-journal was written: the name at the end of the journal.
    let live = Place::new();
    let held = live.open(JOURNAL);
    let died = live.copy(&[FileRole::Database, FileRole::Journal]);
    let super_journal = died.path.with_file_name("x.db-mj0123");
    fs::write(&super_journal, [died.file(FileRole::Journal).as_os_str().as_encoded_bytes(), b"\0"].concat()).unwrap();
    let name = super_journal.as_os_str().as_encoded_bytes();
    let sum = name.iter().fold(0_u32, |sum, &byte| sum.wrapping_add(u32::from(byte)));
    let magic = [0xd9, 0xd5, 0x05, 0xf9, 0x20, 0xa1, 0x63, 0xd7];
    let mut journal = fs::read(died.file(FileRole::Journal)).unwrap();
    journal.extend([&[0, 4, 0, 1][..], name, &(name.len() as u32).to_be_bytes(), &sum.to_be_bytes(), &magic].concat());
    fs::write(died.file(FileRole::Journal), journal).unwrap();
    assert!(died.examine().journal.unwrap().super_journal.is_some_and(|of| of.exists));
    let outcome = repair_with(&died, Take::Log);
    assert_eq!(outcome.failure, None, "{:?}", outcome.plan);
    assert!(super_journal.exists(), "the other databases need it");
    assert!(outcome.kept.unwrap().join("x.db-mj0123").exists());
    let is_as_before = |row: &rusqlite::Row<'_>| row.get::<_, bool>(0);
    assert!(died.open("").query_row("SELECT x = zeroblob(200000) FROM t", [], is_as_before).unwrap());
    drop(held);
}

#[test]
fn a_process_that_opens_the_file_during_the_repair_makes_it_undone() {
    /// Opens the database, without a lock, when the names have been exchanged.
    struct Intruder(SystemOs, std::sync::Mutex<Option<std::process::Child>>);
    impl Os for Intruder {
        fn base(&self) -> Option<&dyn Os> {
            Some(&self.0)
        }
        fn exchange(&self, a: &Path, b: &Path) -> std::io::Result<()> {
            let mut intruder = self.1.lock().unwrap();
            if intruder.is_none() {
                let mut tail = std::process::Command::new("tail");
                let child = tail.args(["-f", "-n0"]).arg(b).stdout(std::process::Stdio::null()).spawn().unwrap();
                let name = format!("/proc/{}/fd/3", child.id());
                while fs::read_link(&name).ok().as_deref() != Some(b) {
                    std::thread::sleep(std::time::Duration::from_millis(2));
                }
                *intruder = Some(child);
            }
            self.0.exchange(a, b)
        }
    }
    if !has_proc() {
        return;
    }
    let died = left_behind();
    let before = files(&died);
    let intruder = Intruder(SystemOs::new(), std::sync::Mutex::default());
    let outcome = super::fix_on(&died.path, &FixOptions::new().with_take(Take::Log), &intruder).unwrap();
    let mut child = intruder.1.into_inner().unwrap().unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    let pid = child.id();
    let refusals = &outcome.plan.refusals;
    assert!(refusals.iter().any(|refusal| refusal.contains(&format!("opened by process {pid}"))), "{outcome:#?}");
    assert_eq!(files(&died)[..4], before[..4]);
    assert_eq!(outcome.kept, None);
}

/// A process that is killed by its system at the n-th call, in a copy of this test's process.
#[test]
fn the_process_that_is_killed() {
    let (Ok(path), Ok(calls)) = (std::env::var("SEAWALL_TEST_CURE"), std::env::var("SEAWALL_TEST_CALLS")) else {
        return;
    };
    let take = if std::env::var("SEAWALL_TEST_TAKE").unwrap() == "alone" { Take::Alone } else { Take::Log };
    let killing = Killing(SystemOs::new(), std::sync::atomic::AtomicI64::new(calls.parse().unwrap()));
    let outcome = super::fix_on(Path::new(&path), &FixOptions::new().with_take(take), &killing).unwrap();
    assert_eq!(outcome.failure, None, "{:?}", outcome.plan);
    assert_eq!(outcome.taken, Some(take), "{:?}", outcome.plan);
    println!("the repair is complete");
}

struct Killing(SystemOs, std::sync::atomic::AtomicI64);

impl Killing {
    fn step(&self) -> &SystemOs {
        if self.1.fetch_sub(1, std::sync::atomic::Ordering::SeqCst) == 0 {
            let _ = std::process::Command::new("kill").args(["-9", &std::process::id().to_string()]).status();
        }
        &self.0
    }
}

impl Os for Killing {
    fn base(&self) -> Option<&dyn Os> {
        Some(&self.0)
    }
    fn create_dir(&self, path: &Path, rights: crate::os::Rights) -> std::io::Result<()> {
        self.step().create_dir(path, rights)
    }
    fn rights(&self, path: &Path) -> std::io::Result<Option<crate::os::Rights>> {
        self.step().rights(path)
    }
    fn status(&self, path: &Path) -> std::io::Result<Option<crate::os::FileStatus>> {
        self.step().status(path)
    }
    fn sync_dir(&self, path: &Path) -> std::io::Result<()> {
        self.step().sync_dir(path)
    }
    fn rename(&self, from: &Path, to: &Path) -> std::io::Result<()> {
        self.step().rename(from, to)
    }
    fn exchange(&self, a: &Path, b: &Path) -> std::io::Result<()> {
        self.step().exchange(a, b)
    }
    fn holders(&self, ids: &[FileId]) -> std::io::Result<crate::os::Holders> {
        self.step().holders(ids)
    }
}

/// What the database contains as SQLite opens it now, on a copy of it with its side files.
fn as_opened(path: &Path) -> super::Content {
    let dir = tempfile::tempdir().unwrap();
    let copy = dir.path().join("x.db");
    for role in [FileRole::Database, FileRole::Wal, FileRole::Journal] {
        if role.path(path).exists() {
            fs::write(role.path(&copy), content(&role.path(path))).unwrap();
        }
    }
    super::Content::of(&Connection::open(copy).unwrap())
}

#[test]
fn a_repair_that_is_killed_at_any_step_leaves_the_files_complete_under_a_name() {
    if !has_proc() {
        return;
    }
    for (take, roles, sql) in [
        ("log", [FileRole::Database, FileRole::Wal], format!("{WAL} INSERT INTO t VALUES ('last')")),
        (
            "alone",
            [FileRole::Database, FileRole::Wal],
            format!("{WAL} PRAGMA wal_checkpoint; INSERT INTO t VALUES (2)"),
        ),
        ("log", [FileRole::Database, FileRole::Journal], JOURNAL.to_owned()),
    ] {
        let live = Place::new();
        let _conn = live.open(&sql);
        let mut steps = 0;
        loop {
            let died = live.copy(&roles);
            let before = files(&died);
            let given = as_opened(&died.path);
            let alone = died.copy(&[FileRole::Database]);
            let chosen = if take == "log" { given.clone() } else { as_opened(&alone.path) };
            let output = std::process::Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "doctor::fix::tests::the_process_that_is_killed", "--nocapture"])
                .env("SEAWALL_TEST_CURE", &died.path)
                .env("SEAWALL_TEST_CALLS", steps.to_string())
                .env("SEAWALL_TEST_TAKE", take)
                .output()
                .unwrap();
            let is_complete = String::from_utf8_lossy(&output.stdout).contains("the repair is complete");
            assert!(is_complete || !output.status.success(), "{output:?}");
            let state = as_opened(&died.path);
            let is_untouched = files(&died)[..4] == before[..4];
            let is_expected = if is_complete {
                state.is_same_as(&chosen)
            } else {
                state.is_same_as(&given) || state.is_same_as(&chosen)
            };
            assert!(is_expected, "{take} killed at step {steps}: {state:#?}");
            if !is_untouched {
                let folder = died.path.with_file_name("x.db.cure-1");
                for role in roles {
                    let name = role.path(Path::new("x.db"));
                    let kept = content(&folder.join(name));
                    let at = FileRole::ALL.iter().position(|other| *other == role).unwrap();
                    assert!(kept == before[at], "{take} killed at step {steps}: {role} is not complete");
                }
            }
            if is_complete {
                println!("{take} {roles:?}: {steps} steps");
                assert!(steps > 20, "the steps were not counted");
                break;
            }
            steps += 1;
        }
    }
}
