//! Examinations of real databases, above all of ones that this very process has open.

use super::*;
use rusqlite::Connection;
use sha2::{Digest, Sha256};
use std::cell::RefCell;
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::process::Command;
use std::rc::{Rc, Weak};
use std::sync::{Mutex, MutexGuard, PoisonError};
use tempfile::TempDir;

/// One test at a time: for a moment, a child that one examination makes has everything open that the others hold.
static TURN: Mutex<()> = Mutex::new(());

thread_local! {
    /// The turn of the test that this thread runs, while it has places.
    static MINE: RefCell<Weak<Turn>> = RefCell::default();
}

/// Held by all places of one test.
struct Turn {
    _guard: MutexGuard<'static, ()>,
}

impl Turn {
    fn take() -> Rc<Turn> {
        MINE.with_borrow_mut(|mine| {
            mine.upgrade().unwrap_or_else(|| {
                let turn = Rc::new(Turn { _guard: TURN.lock().unwrap_or_else(PoisonError::into_inner) });
                *mine = Rc::downgrade(&turn);
                turn
            })
        })
    }
}

/// A file: its path, the hash of its content, when it was written and when it was changed.
type Entry = (PathBuf, String, i64, i64);

/// A folder with room for one database.
pub(super) struct Place {
    _dir: TempDir,
    pub(super) path: PathBuf,
    // Given back last.
    _turn: Rc<Turn>,
}

impl Place {
    pub(super) fn new() -> Place {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().canonicalize().unwrap().join("x.db");
        Place { _dir: dir, path, _turn: Turn::take() }
    }

    pub(super) fn file(&self, role: FileRole) -> PathBuf {
        role.path(&self.path)
    }

    /// Opens it and runs statements.
    pub(super) fn open(&self, sql: &str) -> Connection {
        let conn = Connection::open(&self.path).unwrap();
        conn.execute_batch(sql).unwrap();
        conn
    }

    /// A copy of the files as they are now, as after the death of all processes that have them open. Another process
    /// reads them, so that no lock of this one is dropped.
    pub(super) fn copy(&self, roles: &[FileRole]) -> Place {
        let copy = Place::new();
        for &role in roles {
            fs::write(copy.file(role), content(&self.file(role))).unwrap();
        }
        copy
    }

    pub(super) fn examine(&self) -> DoctorReport {
        examine(&self.path).unwrap()
    }

    /// Every file with the hash of its content and its times, and the locks of all processes on it.
    fn state(&self) -> (Vec<Entry>, Vec<String>) {
        let paths = fs::read_dir(self.path.parent().unwrap()).unwrap().map(|entry| entry.unwrap().path());
        let describe = |path: PathBuf| {
            let status = fs::metadata(&path).unwrap();
            (path.clone(), format!("{:x?}", Sha256::digest(content(&path))), status.mtime_nsec(), status.ctime_nsec())
        };
        let mut files: Vec<_> = paths.map(describe).collect();
        files.sort();
        let inodes: Vec<_> = files.iter().map(|file| format!(":{} ", fs::metadata(&file.0).unwrap().ino())).collect();
        let look = || {
            let table = crate::os::lock_table().unwrap_or_default();
            let ours = table.lines().filter(|line| inodes.iter().any(|inode| line.contains(inode)));
            // The number in front is the place in the table.
            let locks = ours.filter_map(|line| line.split_once(": ")).map(|(_, lock)| lock.to_owned());
            let mut locks: Vec<_> = locks.collect();
            locks.sort();
            locks
        };
        // A long table comes in pieces, and a line may be missed in between.
        let locks = (0..100).map(|_| (look(), look())).find(|(one, other)| one == other);
        (files, locks.expect("the table of locks never stood still").0)
    }
}

pub(super) const WAL: &str = "PRAGMA journal_mode = WAL; CREATE TABLE t (x); INSERT INTO t VALUES (zeroblob(20000));";

/// Read by another process.
pub(super) fn content(path: &Path) -> Vec<u8> {
    Command::new("cat").arg(path).output().unwrap().stdout
}

pub(super) fn has_proc() -> bool {
    let is_there = Path::new("/proc/locks").exists();
    if !is_there {
        println!("skipped: there is no /proc/locks here");
    }
    is_there
}

fn codes_of(report: &DoctorReport) -> Vec<&'static str> {
    // What depends on the machine that the tests run on.
    let of_machine = ["file-system", "network-file-system", "confined"];
    report.findings.iter().map(|finding| finding.code).filter(|code| !of_machine.contains(code)).collect()
}

/// Holds a database in every way there is: a reader of an old snapshot, and a writer in the middle of a transaction.
fn hold(place: &Place, sql: &str) -> [Connection; 2] {
    let writer = place.open(sql);
    let reader = place.open("BEGIN; SELECT count(*) FROM t");
    writer.execute_batch("BEGIN IMMEDIATE; INSERT INTO t VALUES (1)").unwrap();
    [reader, writer]
}

#[test]
fn an_examination_in_the_holders_own_process_changes_no_lock_and_no_file() {
    if !has_proc() {
        return;
    }
    for sql in [WAL, "CREATE TABLE t (x)", "PRAGMA locking_mode = EXCLUSIVE; BEGIN; CREATE TABLE t (x); COMMIT"] {
        let place = Place::new();
        let held = if sql.contains("EXCLUSIVE") { vec![place.open(sql)] } else { hold(&place, sql).into() };
        let before = place.state();
        assert!(!before.1.is_empty(), "nothing is locked under {sql}");
        for _ in 0..3 {
            let report = place.examine();
            assert!(report.holders.iter().all(|holder| holder.is_self) && report.is_held(), "{report:#?}");
            assert_eq!(report.notes, [""; 0]);
        }
        let after = place.state();
        assert_eq!(after.1, before.1, "{sql}");
        assert_eq!(after.0, before.0, "{sql}");
        drop(held);
    }
}

/// The canary of the test above: what it compares does change after a wrong access.
#[test]
fn a_plain_look_at_the_file_drops_the_locks_of_its_holder() {
    if !has_proc() {
        return;
    }
    for role in [FileRole::Database, FileRole::WalIndex] {
        let place = Place::new();
        let _held = hold(&place, WAL);
        let before = place.state();
        drop(File::open(place.file(role)).unwrap());
        let after = place.state();
        assert_eq!(after.0, before.0);
        assert!(after.1.len() < before.1.len(), "{role}: {before:?}, then {after:?}");
    }
}

#[test]
fn holders_and_locks_are_reported_with_sqlites_names() {
    if !has_proc() {
        return;
    }
    let place = Place::new();
    let _held = hold(&place, WAL);
    let report = place.examine();
    let own = std::process::id();
    assert_eq!(report.pids(), [own]);
    for role in [FileRole::Database, FileRole::Wal, FileRole::WalIndex] {
        assert!(report.holders.iter().any(|holder| holder.role == role && !holder.deleted), "{role}: {report:#?}");
    }
    for (role, name) in [(FileRole::Database, "SHARED"), (FileRole::WalIndex, "WRITE"), (FileRole::WalIndex, "DMS")] {
        assert_eq!(report.lock_owners(role, name), [own], "{role} {name}");
    }
    assert!(codes_of(&report).contains(&"writing"), "{:?}", codes_of(&report));
    assert_eq!((report.journal_mode.configured, report.journal_mode.effective), (Some("wal"), "wal"));
    assert_eq!(report.severity, Severity::Notice);
}

#[test]
fn what_waits_for_a_checkpoint_is_counted_exactly_while_the_wal_index_is_in_use() {
    let place = Place::new();
    let conn = place.open(WAL);
    let frames = place.examine().wal.unwrap().committed_frames;
    assert!(frames > 0);
    assert_eq!(place.examine().pending, PendingFrames { frames, is_exact: true });
    let left = place.copy(&[FileRole::Database, FileRole::Wal]);
    conn.execute_batch("PRAGMA wal_checkpoint(PASSIVE)").unwrap();
    let report = place.examine();
    assert_eq!(report.pending, PendingFrames { frames: 0, is_exact: true });
    assert_eq!(report.wal_index.unwrap().agrees, Some(true));
    assert_eq!(
        left.examine().pending,
        PendingFrames { frames, is_exact: false },
        "no process is there to say how many"
    );
    // What is checkpointed counts for nothing, whether the log still has it or is about to begin anew.
    for kind in ["RESTART", "TRUNCATE"] {
        conn.execute_batch(&format!("PRAGMA wal_checkpoint({kind})")).unwrap();
        let report = place.examine();
        assert_eq!((report.pending.frames, report.wal_index.unwrap().agrees), (0, Some(true)), "{kind}");
    }
    conn.execute_batch("PRAGMA cache_size = 1; BEGIN; INSERT INTO t VALUES (zeroblob(200000)); ROLLBACK").unwrap();
    let report = place.examine();
    assert_eq!((report.pending.frames, report.wal_index.unwrap().agrees), (0, Some(true)), "rolled back");
}

#[test]
fn what_is_no_database_is_an_error_with_advice() {
    let place = Place::new();
    let missing = examine(&place.path).unwrap_err().to_string();
    assert!(missing.contains("nothing is there") && missing.contains("check the path"), "{missing}");
    let deeper = examine(&place.path.join("y.db")).unwrap_err();
    assert_eq!(deeper.operation(), Operation::Resolve);
    let folder = examine(place.path.parent().unwrap()).unwrap_err().to_string();
    assert!(folder.contains("directory"), "{folder}");
    let device = examine(Path::new("/dev/null")).unwrap_err().to_string();
    assert!(device.contains("device"), "{device}");
    assert!(examine(Path::new("")).is_err());
}

#[track_caller]
fn check(place: &Place, severity: Severity, expected: &[&str]) {
    let report = place.examine();
    assert_eq!((report.severity, codes_of(&report)), (severity, expected.to_vec()), "{report:#?}");
    assert_eq!(report.next, report.findings[0].next);
    assert!(report.to_string().ends_with(&format!("next: {}", report.next)) && !report.unseen.is_empty());
    assert!(report.findings.iter().all(|f| !f.text.is_empty() && !f.evidence.is_empty() && !f.next.is_empty()));
    assert!(!format!("{report:?}").contains("corrupt"), "nothing is called corrupt from outside");
}

/// Writes over some bytes of a file that is not open.
pub(super) fn patch(path: &Path, offset_bytes: usize, bytes: &[u8]) {
    let mut content = fs::read(path).unwrap();
    content[offset_bytes..offset_bytes + bytes.len()].copy_from_slice(bytes);
    fs::write(path, content).unwrap();
}

#[test]
fn files_without_holders_are_judged_by_their_content() {
    use Severity::{Danger, Notice, Ok, Warning};
    let place = Place::new();
    fs::write(&place.path, "").unwrap();
    check(&place, Notice, &["empty"]);
    drop(place.open("CREATE TABLE t (x); INSERT INTO t VALUES (zeroblob(20000))"));
    check(&place, Ok, &["nothing-found"]);

    let all = [FileRole::Database, FileRole::Wal, FileRole::WalIndex];
    let live = Place::new();
    let _conn = live.open(WAL);
    check(&live.copy(&all), Notice, &["pending-frames", "leftover-shm"]);
    check(&live.copy(&[FileRole::Wal]), Danger, &["orphan-side-files"]);
    check(&live.copy(&[FileRole::WalIndex]), Warning, &["orphan-side-files"]);
    let older = live.copy(&all);
    // By another connection: one alone may write the same change counter again and again.
    drop(live.open("CREATE TABLE u (x); PRAGMA wal_checkpoint(PASSIVE)"));
    fs::write(&older.path, content(&live.path)).unwrap();
    check(&older, Danger, &["foreign-log", "pending-frames", "leftover-shm"]);

    let beside = live.copy(&[FileRole::Wal]);
    fs::write(&beside.path, "").unwrap();
    check(&beside, Danger, &["wal-beside-empty-database", "pending-frames"]);
    fs::write(&beside.path, [7; 4096]).unwrap();
    check(&beside, Danger, &["no-header", "pending-frames"]);
    fs::write(&beside.path, fs::read(&place.path).unwrap()).unwrap();
    check(&beside, Danger, &["foreign-log", "pending-frames"]);
    fs::remove_file(beside.file(FileRole::Wal)).unwrap();
    drop(beside.open("PRAGMA page_size = 8192; VACUUM; PRAGMA journal_mode = WAL"));
    fs::write(beside.file(FileRole::Wal), content(&live.file(FileRole::Wal))).unwrap();
    check(&beside, Danger, &["foreign-log", "pending-frames"]);

    let copy = live.copy(&[FileRole::Database, FileRole::Wal]);
    patch(&copy.file(FileRole::Wal), 24, &[1, 2, 3, 4]);
    check(&copy, Warning, &["wal-without-header"]);
    patch(&copy.path, 96, &3_051_001_u32.to_be_bytes());
    check(&copy, Warning, &["wal-without-header", "wal-reset-defect"]);
    fs::remove_file(copy.file(FileRole::Wal)).unwrap();
    patch(&copy.path, 18, &[3, 3]);
    check(&copy, Warning, &["unknown-format"]);

    fs::create_dir(copy.file(FileRole::Wal)).unwrap();
    check(&copy, Warning, &["unknown-format", "unreadable"]);
    assert!(!copy.examine().pending.is_exact, "who knows what is in there");
    assert!(fix::plan(&copy.examine()).steps.is_empty());

    let bytes = fs::read(&place.path).unwrap();
    fs::write(&place.path, &bytes[..bytes.len() - 4096]).unwrap();
    check(&place, Danger, &["short-file"]);
    fs::write(&place.path, &bytes).unwrap();
    fs::hard_link(&place.path, place.path.with_file_name("y.db")).unwrap();
    check(&place, Warning, &["hard-links"]);
    fs::write(place.path.with_file_name("y.db-wal"), content(&live.file(FileRole::Wal))).unwrap();
    check(&place, Danger, &["second-log", "hard-links"]);
    fs::remove_file(place.path.with_file_name("y.db-wal")).unwrap();
    fs::remove_file(place.path.with_file_name("y.db")).unwrap();
    for number in 0..21 {
        fs::write(place.path.with_file_name(format!("x.db.corrupt.{number}.bak")), "x").unwrap();
    }
    check(&place, Warning, &["copies"]);
}

#[test]
fn an_interrupted_transaction_is_a_hot_journal_and_a_running_one_is_not() {
    if !has_proc() {
        return;
    }
    let place = Place::new();
    let conn = place.open(
        "CREATE TABLE t (x); INSERT INTO t VALUES (zeroblob(200000)); PRAGMA cache_size = 1;
         BEGIN; UPDATE t SET x = randomblob(200000)",
    );
    check(&place, Severity::Notice, &["writing", "exclusive"]);
    let died = place.copy(&[FileRole::Database, FileRole::Journal]);
    check(&died, Severity::Warning, &["hot-journal"]);
    assert_eq!(died.examine().journal.unwrap().is_hot, Some(true));
    drop(conn);
    check(&place, Severity::Ok, &["nothing-found"]);
}

#[test]
fn files_that_were_taken_from_under_a_connection_are_found_with_their_holder() {
    if !has_proc() {
        return;
    }
    for (role, code) in [
        (FileRole::Database, "deleted-but-open"),
        (FileRole::Wal, "deleted-log"),
        (FileRole::WalIndex, "deleted-but-open"),
    ] {
        let place = Place::new();
        let _conn = place.open(WAL);
        fs::remove_file(place.file(role)).unwrap();
        let report = place.examine();
        let finding = report.findings.iter().find(|finding| finding.code == code).unwrap();
        let own = std::process::id();
        assert!(finding.evidence.contains(&format!("{own} (")), "{finding:?}");
        assert_eq!(report.severity, Severity::Danger);
    }
    let place = Place::new();
    let _conn = place.open(WAL);
    fs::rename(&place.path, place.path.with_file_name("moved.db")).unwrap();
    drop(Connection::open(&place.path).unwrap());
    fs::write(&place.path, "").unwrap();
    assert!(codes_of(&place.examine()).contains(&"renamed-under-holder"), "{:?}", codes_of(&place.examine()));
}

#[test]
fn a_wal_index_in_use_that_does_not_fit_is_dangerous() {
    if !has_proc() {
        return;
    }
    let (place, other) = (Place::new(), Place::new());
    let conn = place.open(WAL);
    let _other = other.open(&format!("{WAL} INSERT INTO t VALUES (2)"));
    let log = content(&place.file(FileRole::Wal));
    fs::write(place.file(FileRole::Wal), content(&other.file(FileRole::Wal))).unwrap();
    assert!(codes_of(&place.examine()).contains(&"wal-index-disagrees"), "{:?}", codes_of(&place.examine()));
    fs::write(place.file(FileRole::Wal), log).unwrap();
    check(&place, Severity::Notice, &["pending-frames"]);
    // More checkpointed than there is: what the defect of SQLite before 3.51.3 leaves behind. The patch drops this
    // process's locks, which do not matter here.
    let mut index = fs::read(place.file(FileRole::WalIndex)).unwrap();
    index[96..100].copy_from_slice(&1_000_000_u32.to_ne_bytes());
    fs::write(place.file(FileRole::WalIndex), index).unwrap();
    check(&place, Severity::Danger, &["wal-reset"]);
    drop(conn);
}

#[test]
fn logs_that_grow_and_transactions_that_spill_are_noticed() {
    if !has_proc() {
        return;
    }
    let place = Place::new();
    let conn = place.open("PRAGMA page_size = 512; PRAGMA wal_autocheckpoint = 0;");
    conn.execute_batch(&format!("{WAL} INSERT INTO t VALUES (zeroblob(6000000))")).unwrap();
    check(&place, Severity::Warning, &["long-log", "pending-frames"]);
    conn.execute_batch("PRAGMA wal_checkpoint(PASSIVE); PRAGMA cache_size = 1; BEGIN; INSERT INTO t SELECT * FROM t")
        .unwrap();
    check(&place, Severity::Notice, &["unfinished-transaction", "writing"]);
    assert!(place.examine().wal.unwrap().uncommitted_frames > 0);
}

#[test]
fn an_exclusive_connection_is_distinguished_from_a_shared_one() {
    if !has_proc() {
        return;
    }
    let place = Place::new();
    let conn = place.open(WAL);
    drop(conn);
    assert_eq!(place.examine().journal_mode.effective, "wal-idle");
    let conn = place.open("PRAGMA locking_mode = EXCLUSIVE; INSERT INTO t VALUES (1)");
    assert_eq!(place.examine().journal_mode.effective, "wal-exclusive");
    check(&place, Severity::Notice, &["pending-frames", "exclusive"]);
    drop(conn);
    for mode in ["persist", "truncate"] {
        let place = Place::new();
        drop(place.open(&format!("PRAGMA journal_mode = {mode}; CREATE TABLE t (x); INSERT INTO t VALUES (1)")));
        assert_eq!(place.examine().journal_mode.effective, mode);
    }
}

#[test]
fn a_database_at_work_is_never_called_anything_worse_than_busy() {
    if !has_proc() {
        return;
    }
    for mode in ["WAL", "DELETE"] {
        let place = Place::new();
        let path = place.path.clone();
        drop(place.open(&format!("PRAGMA journal_mode = {mode}; CREATE TABLE t (x)")));
        let is_over = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            for worker in 0..2 {
                let (path, is_over) = (&path, &is_over);
                scope.spawn(move || {
                    let conn = Connection::open(path).unwrap();
                    conn.busy_timeout(std::time::Duration::from_secs(30)).unwrap();
                    conn.execute_batch("PRAGMA wal_autocheckpoint = 20; PRAGMA synchronous = OFF").unwrap();
                    while !is_over.load(std::sync::atomic::Ordering::SeqCst) {
                        conn.execute("INSERT INTO t VALUES (zeroblob(3000))", []).unwrap();
                        if worker == 0 {
                            conn.execute_batch("BEGIN IMMEDIATE; DELETE FROM t; ROLLBACK").unwrap();
                        }
                        // Moments without a lock are as many as moments with one.
                        std::thread::sleep(std::time::Duration::from_micros(500));
                    }
                });
            }
            for _ in 0..60 {
                let report = place.examine();
                if report.severity > Severity::Notice {
                    is_over.store(true, std::sync::atomic::Ordering::SeqCst);
                    panic!("{mode}: {report:#?}");
                }
            }
            is_over.store(true, std::sync::atomic::Ordering::SeqCst);
        });
        let verdict: String = place.open("").query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
        assert_eq!(verdict, "ok");
    }
}

#[test]
fn no_bytes_in_any_file_make_an_examination_panic() {
    let live = Place::new();
    let _conn = live.open(WAL);
    let files: Vec<_> =
        [FileRole::Database, FileRole::Wal, FileRole::WalIndex].map(|role| (role, content(&live.file(role)))).into();
    let mut damage = bytes::tests::Damage(6);
    let place = Place::new();
    for _ in 0..60 {
        for (role, content) in &files {
            fs::write(place.file(*role), damage.of(content)).unwrap();
        }
        fs::write(place.file(FileRole::Journal), damage.of(&files[0].1[..64])).unwrap();
        let report = place.examine();
        assert!(!report.findings.is_empty() && serde_json::to_string(&report).is_ok());
        fix::plan(&report);
    }
}
