//! Damaged databases: what is moved, what is refused, and what a crash in between leaves behind.

use crate::error::QuarantineError;
use crate::os::{FileId, FileSystem, Holders, Os, Rights, SystemOs};
use crate::quarantine::*;
use rusqlite::Connection;
use rusqlite::config::DbConfig;
use std::collections::BTreeMap;
use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::SeqCst};
use std::time::Duration;
use tempfile::TempDir;

/// Rows of the table `late`: all of them in the log alone.
const LATE: i64 = 3;

/// Contents by suffix of the file's name.
type Files = BTreeMap<&'static str, Vec<u8>>;

/// Called right before a change of the files.
type Hook = Option<Box<dyn Fn(&Path) + Send + Sync>>;

/// A directory with a database: a table over many pages, and another one whose rows are only in the log.
struct Patient {
    dir: TempDir,
    os: Surgeon,
    policy: QuarantinePolicy,
}

impl Patient {
    fn sound() -> Patient {
        let dir = tempfile::tempdir().unwrap();
        let patient = Patient { dir, os: Surgeon::new(), policy: QuarantinePolicy::default() };
        let conn = patient.open();
        conn.execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0;
             CREATE TABLE late (x INTEGER); CREATE TABLE t (x INTEGER PRIMARY KEY, pad TEXT);
             WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < 500)
             INSERT INTO t SELECT x, hex(zeroblob(200)) FROM n;
             PRAGMA wal_checkpoint(TRUNCATE);
             INSERT INTO late VALUES (1), (2), (3);",
        )
        .unwrap();
        close_keeping_log(conn);
        assert!(patient.file("-wal").exists() && patient.file("-shm").exists());
        patient
    }

    fn damaged() -> Patient {
        let patient = Patient::sound();
        patient.damage(0xff);
        patient
    }

    /// Overwrites the header of the last page, a leaf of `t`.
    fn damage(&self, byte: u8) {
        let mut bytes = fs::read(self.path()).unwrap();
        let start = bytes.len() - 4096;
        bytes[start..start + 16].fill(byte);
        fs::write(self.path(), bytes).unwrap();
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("x.db")
    }

    fn file(&self, suffix: &str) -> PathBuf {
        self.dir.path().join(format!("x.db{suffix}"))
    }

    fn root(&self) -> PathBuf {
        self.file(".quarantine")
    }

    fn open(&self) -> Connection {
        Connection::open(self.path()).unwrap()
    }

    fn examine(&self) -> Examination {
        let conn = self.open();
        let examination = confirm(&conn);
        close_keeping_log(conn);
        examination
    }

    fn quarantine(&self) -> Result<Bundle, QuarantineError> {
        let trigger =
            Trigger { step: "read".to_owned(), code: Some(11), errno: Some(5), error: "malformed".to_owned() };
        let examination = Examination { verdict: damaged_verdict(), pragmas: Vec::new() };
        let evidence = Evidence { trigger, examination, unix_seconds: Some(1_700_000_000) };
        quarantine(&self.path(), &evidence, &self.policy, None, &self.os)
    }

    fn resume(&self) -> Result<Resumed, QuarantineError> {
        resume(&self.path(), &self.policy, None, &SystemOs::new())
    }

    /// All files of the database in its place, with their contents.
    fn in_place(&self) -> Files {
        files(&self.path())
    }

    fn names(&self) -> Vec<String> {
        let mut names: Vec<String> =
            fs::read_dir(self.dir.path()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

fn damaged_verdict() -> CheckVerdict {
    CheckVerdict::Damaged { findings: vec!["Tree 3 page 9: btreeInitPage() returns error code 11".to_owned()] }
}

fn files(database: &Path) -> Files {
    let file = |suffix| PathBuf::from(format!("{}{suffix}", database.display()));
    ["", "-wal", "-shm", "-journal"].into_iter().filter_map(|s| Some((s, fs::read(file(s)).ok()?))).collect()
}

fn close_keeping_log(conn: Connection) {
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).unwrap();
    conn.close().unwrap();
}

/// The rows of `late`, read from a copy of the database and its log.
fn late_rows(database: &Path) -> Option<i64> {
    let copy = tempfile::tempdir().unwrap();
    for (suffix, bytes) in files(database).into_iter().filter(|(suffix, _)| *suffix != "-shm") {
        fs::write(copy.path().join(format!("x.db{suffix}")), bytes).unwrap();
    }
    let conn = Connection::open(copy.path().join("x.db")).unwrap();
    conn.query_row("SELECT count(*) FROM late", [], |row| row.get(0)).ok()
}

fn manifest(bundle: &Bundle) -> Manifest {
    serde_json::from_slice(&fs::read(&bundle.manifest).unwrap()).unwrap()
}

/// The machine's own files, and a process that can be made to die, or to fail once, at its n-th change of them.
struct Surgeon {
    system: SystemOs,
    changes_left: AtomicU32,
    is_mortal: bool,
    is_failed: AtomicBool,
    /// Changes left from the one failure on; then it dies.
    changes_after_failure: u32,
    on_rename: Hook,
    on_sync: Hook,
    unreadable: u32,
    knows_holders: bool,
    is_network: bool,
}

impl Surgeon {
    fn new() -> Surgeon {
        Surgeon {
            system: SystemOs::new(),
            changes_left: AtomicU32::new(u32::MAX),
            is_mortal: true,
            is_failed: AtomicBool::new(false),
            changes_after_failure: u32::MAX,
            on_rename: None,
            on_sync: None,
            unreadable: 0,
            knows_holders: true,
            is_network: false,
        }
    }

    fn change(&self) -> io::Result<()> {
        match self.changes_left.load(SeqCst) {
            u32::MAX => Ok(()),
            0 if self.is_mortal || self.is_failed.load(SeqCst) => Err(io::Error::other("the process is dead")),
            0 => {
                self.is_failed.store(true, SeqCst);
                self.changes_left.store(self.changes_after_failure, SeqCst);
                Err(io::Error::other("fails once"))
            }
            left => {
                self.changes_left.store(left - 1, SeqCst);
                Ok(())
            }
        }
    }
}

impl Os for Surgeon {
    fn base(&self) -> Option<&dyn Os> {
        Some(&self.system)
    }

    fn create_dir(&self, path: &Path, rights: Rights) -> io::Result<()> {
        self.change()?;
        self.system.create_dir(path, rights)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.change()?;
        self.system.rename(from, to)
    }

    fn file_system(&self, path: &Path) -> Option<FileSystem> {
        let is_network = self.is_network;
        self.system.file_system(path).map(|file_system| FileSystem { is_network, ..file_system })
    }

    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.change()?;
        if let Some(on_rename) = &self.on_rename {
            on_rename(from);
        }
        self.system.rename_new(from, to)
    }

    fn write_durably(&self, path: &Path, bytes: &[u8], rights: Rights) -> io::Result<()> {
        self.change()?;
        self.system.write_durably(path, bytes, rights)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.change()?;
        if let Some(on_sync) = &self.on_sync {
            on_sync(path);
        }
        self.system.sync_dir(path)
    }

    fn holders(&self, ids: &[FileId]) -> io::Result<Holders> {
        if !self.knows_holders {
            return Err(io::ErrorKind::Unsupported.into());
        }
        let mut holders = self.system.holders(ids)?;
        holders.unreadable += self.unreadable;
        Ok(holders)
    }
}

/// Another process with the database open; it ends with its standard input.
struct Holder {
    child: Child,
}

impl Holder {
    fn start(path: &Path, how: &str) -> Holder {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["tests::quarantine::a_process_holds_a_database_open", "--exact", "--nocapture"])
            .env("SEAWALL_TEST_HOLD", path)
            .env("SEAWALL_TEST_HOW", how)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.as_mut().unwrap()).lines();
        assert!(lines.any(|line| line.unwrap().contains("holding")), "the child did not open the database");
        Holder { child }
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        self.child.wait().unwrap();
    }
}

/// Run by itself, it shows that a child would open the database. Run by [`Holder`], it is the child.
#[test]
fn a_process_holds_a_database_open() {
    let patient = Patient::sound();
    let given = std::env::var_os("SEAWALL_TEST_HOLD").map(PathBuf::from);
    let conn = Connection::open(given.clone().unwrap_or_else(|| patient.path())).unwrap();
    conn.busy_timeout(Duration::ZERO).unwrap();
    match std::env::var("SEAWALL_TEST_HOW").as_deref() {
        // No lock is held, and nothing has been read: only the descriptor is there.
        Ok("idle") => {}
        _ => {
            conn.execute_batch("BEGIN").unwrap();
            conn.query_row("SELECT count(*) FROM late", [], |row| row.get::<_, i64>(0)).unwrap();
        }
    }
    println!("holding");
    io::stdout().flush().unwrap();
    if given.is_some() {
        let _ = io::stdin().lock().lines().next();
        close_keeping_log(conn);
    }
}

#[test]
fn a_damaged_page_is_confirmed_and_the_log_survives_the_close() {
    let patient = Patient::damaged();
    let before = patient.in_place();
    let conn = patient.open();
    let examination = confirm(&conn);
    let CheckVerdict::Damaged { findings } = &examination.verdict else { panic!("{examination:?}") };
    assert!(!findings.is_empty() && findings.len() <= 20, "{findings:?}");
    let value = |name: &str| examination.pragmas.iter().find(|pragma| pragma.name == name).unwrap().value.clone();
    assert_eq!(value("journal_mode").as_deref(), Some("wal"));
    assert_eq!(value("page_size").as_deref(), Some("4096"));
    assert_eq!(value("wal_checkpoint(NOOP)").as_deref(), Some("0|1|0"), "one frame, and it stays in the log");
    // Without protection, the last close would write the log into the damaged file and delete it.
    conn.close().unwrap();
    assert_eq!(patient.in_place()["-wal"], before["-wal"]);
    assert_eq!(patient.in_place()[""], before[""]);
}

#[test]
fn a_sound_database_is_sound_and_a_busy_one_is_undecided() {
    let patient = Patient::sound();
    assert_eq!(patient.examine().verdict, CheckVerdict::Sound);

    patient.damage(0xff);
    let conn = patient.open();
    conn.execute_batch("PRAGMA journal_mode = DELETE").unwrap();
    conn.busy_timeout(Duration::ZERO).unwrap();
    let other = patient.open();
    other.execute_batch("BEGIN EXCLUSIVE").unwrap();
    let verdict = confirm(&conn).verdict;
    assert!(matches!(&verdict, CheckVerdict::Undecided { error } if error.contains("BUSY")), "{verdict:?}");
    other.execute_batch("ROLLBACK").unwrap();
    assert!(matches!(confirm(&conn).verdict, CheckVerdict::Damaged { .. }));
}

#[test]
fn what_the_connection_remembers_does_not_count() {
    let patient = Patient::sound();
    let sound = fs::read(patient.path()).unwrap();
    let conn = patient.open();
    let sum = |conn: &Connection| conn.query_row("SELECT sum(length(pad)) FROM t", [], |row| row.get::<_, i64>(0));
    sum(&conn).unwrap();
    patient.damage(0xff);
    assert!(sum(&conn).is_ok(), "the page was to be in the cache");
    assert!(matches!(confirm(&conn).verdict, CheckVerdict::Damaged { .. }));
    // And a page that was misread once, of a file that is sound.
    assert!(sum(&conn).is_err());
    fs::write(patient.path(), sound).unwrap();
    assert_eq!(confirm(&conn).verdict, CheckVerdict::Sound);
}

#[test]
fn a_bundle_has_every_file_byte_for_byte_and_a_full_manifest() {
    let patient = Patient::damaged();
    let before = patient.in_place();
    assert_eq!(before.keys().copied().collect::<Vec<_>>(), ["", "-shm", "-wal"]);
    let examination = patient.examine();
    let trigger = Trigger { step: "read".to_owned(), code: Some(11), errno: Some(5), error: "malformed".to_owned() };
    let evidence = Evidence { trigger: trigger.clone(), examination, unix_seconds: Some(7) };
    let before =
        BTreeMap::from_iter(before.into_iter().map(|(s, b)| (s, if s == "-shm" { read_shm(&patient) } else { b })));
    let bundle = quarantine(&patient.path(), &evidence, &patient.policy, None, &patient.os).unwrap();

    assert_eq!(files(&bundle.database), before);
    assert_eq!(patient.names(), ["x.db.quarantine"], "the place is free");
    assert_eq!((bundle.wal.is_some(), bundle.shm.is_some(), bundle.journal.is_some()), (true, true, false));
    assert_eq!(late_rows(&bundle.database), Some(LATE));
    let manifest = manifest(&bundle);
    assert_eq!((manifest.schema, manifest.state, manifest.seen), (1, ManifestState::Complete, 1));
    assert_eq!((manifest.trigger, manifest.unix_seconds), (trigger, Some(7)));
    assert_eq!(manifest.sqlite_version, rusqlite::version());
    assert_eq!(manifest.path, patient.path().to_str().unwrap());
    assert!(!manifest.findings.is_empty() && !manifest.pragmas.is_empty());
    assert!(manifest.file_system.is_some_and(|file_system| !file_system.kind.is_empty()));
    assert!(manifest.sole_owner.starts_with("exclusive lock"), "{}", manifest.sole_owner);
    let holders = manifest.holders.unwrap();
    assert!(holders.pids.is_empty() && !holders.locks.is_empty(), "{holders:?}");
    for file in &manifest.files {
        let bytes = &before[file.role.suffix()];
        assert_eq!(file.sha256.as_deref(), Some(crate::os::sha256_of(bytes).as_str()), "{:?}", file.role);
        assert_eq!((file.bytes, file.links), (bytes.len() as u64, 1));
    }
    assert_eq!(manifest.files.len(), 3);
    assert_eq!(patient.resume().unwrap(), Resumed::Nothing);
}

/// Looking at the database has changed its index; what counts is what is there right before.
fn read_shm(patient: &Patient) -> Vec<u8> {
    fs::read(patient.file("-shm")).unwrap()
}

#[track_caller]
fn check_refused(patient: &Patient, reason: &str) {
    let before = patient.in_place();
    let error = patient.quarantine().unwrap_err();
    assert!(error.to_string().contains(reason), "{error}");
    assert_eq!(patient.in_place(), before, "{error}");
    assert!(!patient.root().join("incoming/x.db").exists());
    // The refusal leaves nothing behind that would be in the way of the next attempt.
    let resumed = patient.resume().unwrap();
    assert!(matches!(resumed, Resumed::Nothing | Resumed::PutBack), "{resumed:?}");
    assert_eq!(patient.in_place(), before, "{error}");
}

#[test]
fn a_holder_is_named_and_nothing_is_moved() {
    for how in ["reading", "idle"] {
        let patient = Patient::damaged();
        let holder = Holder::start(&patient.path(), how);
        check_refused(&patient, &format!("process {} has it open", holder.child.id()));
        assert!(patient.quarantine().unwrap_err().is_busy());
        drop(holder);
        patient.quarantine().unwrap();
    }
    let patient = Patient::damaged();
    let conn = patient.open();
    check_refused(&patient, "this process itself has it open");
    close_keeping_log(conn);
    patient.quarantine().unwrap();
}

#[test]
fn a_lock_counts_where_descriptors_cannot_be_looked_at() {
    let mut patient = Patient::damaged();
    patient.os.knows_holders = false;
    let holder = Holder::start(&patient.path(), "reading");
    check_refused(&patient, "has it open, and nothing was moved");
    drop(holder);
    let manifest = manifest(&patient.quarantine().unwrap());
    assert!(manifest.sole_owner.contains("not all descriptors"), "{}", manifest.sole_owner);
}

/// A database whose first page is noise, beside a log whose frames do not mend that page.
fn no_database() -> Patient {
    let patient = Patient::sound();
    let mut bytes = fs::read(patient.path()).unwrap();
    bytes[..100].fill(b'x');
    fs::write(patient.path(), bytes).unwrap();
    patient
}

#[test]
fn a_file_that_is_no_database_is_moved_only_if_it_has_no_holder() {
    let mut patient = no_database();
    let verdict = patient.examine().verdict;
    assert!(matches!(&verdict, CheckVerdict::Damaged { findings } if findings[0].contains("NOTADB")), "{verdict:?}");
    let before = patient.in_place();
    patient.os.unreadable = 2;
    check_refused(&patient, "the descriptors of 2 processes may not be looked at");
    patient.os = Surgeon { knows_holders: false, ..Surgeon::new() };
    check_refused(&patient, "cannot be determined");
    patient.os = Surgeon { is_network: true, ..Surgeon::new() };
    check_refused(&patient, "other machines");
    patient.os = Surgeon::new();
    let holder = Holder::start(&patient.path(), "idle");
    check_refused(&patient, &format!("process {} has it open", holder.child.id()));
    drop(holder);
    let bundle = patient.quarantine().unwrap();
    assert_eq!(files(&bundle.database), before);
    assert!(manifest(&bundle).sole_owner.starts_with("no lock"), "{}", manifest(&bundle).sole_owner);
}

#[test]
fn opening_an_empty_database_would_delete_the_log_beside_it_so_it_is_not_opened() {
    let patient = Patient::sound();
    fs::write(patient.path(), "").unwrap();
    let before = patient.in_place();
    let bundle = patient.quarantine().unwrap();
    assert_eq!(files(&bundle.database), before);
    assert!(!before["-wal"].is_empty());
}

#[test]
fn a_hot_journal_is_neither_rolled_back_nor_lost() {
    let patient = Patient::sound();
    let conn = patient.open();
    conn.execute_batch(
        "PRAGMA journal_mode = DELETE; PRAGMA cache_size = 1; PRAGMA cache_spill = 1; BEGIN;
         UPDATE t SET pad = 'y' || pad;",
    )
    .unwrap();
    // What a crash right now would leave behind.
    let crashed =
        Patient { dir: tempfile::tempdir().unwrap(), os: Surgeon::new(), policy: QuarantinePolicy::default() };
    for (suffix, bytes) in patient.in_place() {
        fs::write(crashed.file(suffix), bytes).unwrap();
    }
    let before = crashed.in_place();
    assert!(before["-journal"][0] != 0, "the journal was to be hot");
    let bundle = crashed.quarantine().unwrap();
    assert_eq!(files(&bundle.database), before);
    assert!(bundle.journal.is_some());
}

#[test]
fn equal_content_is_kept_once_and_counted() {
    let patient = Patient::damaged();
    let content = patient.in_place();
    let restore = || content.iter().for_each(|(suffix, bytes)| fs::write(patient.file(suffix), bytes).unwrap());
    let first = patient.quarantine().unwrap();
    assert!(!first.is_duplicate);
    for seen in 2..=4 {
        restore();
        let again = patient.quarantine().unwrap();
        assert!(again.is_duplicate && again.directory == first.directory);
        assert_eq!(manifest(&again).seen, seen);
        assert_eq!(files(&again.database), content);
        assert_eq!(patient.resume().unwrap(), Resumed::Nothing);
    }
    // A bundle that was changed since is not equal, whatever its manifest says.
    restore();
    fs::write(first.wal.as_ref().unwrap(), "changed").unwrap();
    let other = patient.quarantine().unwrap();
    assert!(!other.is_duplicate && other.directory != first.directory);
    assert_eq!(files(&other.database), content);
    assert_eq!(fs::read(first.wal.unwrap()).unwrap(), b"changed");
}

#[test]
fn at_the_bound_quarantine_is_refused_and_nothing_old_is_deleted() {
    let mut patient = Patient::damaged();
    patient.policy.bundles_max = 2;
    let content = patient.in_place();
    let mut bundles = Vec::new();
    for byte in [0xfe, 0xfd] {
        content.iter().for_each(|(suffix, bytes)| fs::write(patient.file(suffix), bytes).unwrap());
        patient.damage(byte);
        bundles.push(patient.quarantine().unwrap());
    }
    content.iter().for_each(|(suffix, bytes)| fs::write(patient.file(suffix), bytes).unwrap());
    check_refused(&patient, "holds 2 bundles already");
    for bundle in &bundles {
        assert_eq!(files(&bundle.database)["-wal"], content["-wal"]);
    }
    // One is taken away, and there is room again.
    fs::rename(&bundles[0].directory, patient.dir.path().join("taken")).unwrap();
    patient.quarantine().unwrap();
}

#[test]
fn a_directory_of_ones_own_keeps_equal_names_apart() {
    let store = tempfile::tempdir().unwrap();
    let mut patients = [Patient::damaged(), Patient::damaged()];
    let mut roots = Vec::new();
    for patient in &mut patients {
        patient.policy.directory = Some(store.path().to_owned());
        let bundle = patient.quarantine().unwrap();
        assert!(bundle.directory.starts_with(store.path()), "{bundle:?}");
        roots.push(bundle.directory.parent().unwrap().to_owned());
    }
    assert_ne!(roots[0], roots[1]);
}

#[test]
fn another_file_system_is_refused() {
    let Ok(store) = tempfile::tempdir_in("/dev/shm") else { return };
    let mut patient = Patient::damaged();
    let device = |path: &Path| patient.os.status(path).unwrap().unwrap().id.device;
    if device(store.path()) == device(patient.dir.path()) {
        return;
    }
    patient.policy.directory = Some(store.path().to_owned());
    let before = patient.in_place();
    let error = patient.quarantine().unwrap_err();
    assert!(error.to_string().contains("another file system"), "{error}");
    assert_eq!(patient.in_place(), before);
}

#[test]
fn side_files_go_first_and_the_database_last_with_syncs_in_between() {
    let steps = std::sync::Arc::new(parking_lot::Mutex::new(Vec::new()));
    let mut patient = Patient::damaged();
    let note = |verb: &'static str| -> Hook {
        let steps = std::sync::Arc::clone(&steps);
        let dir = patient.dir.path().to_owned();
        Some(Box::new(move |path| {
            let name = path.strip_prefix(&dir).unwrap().to_str().unwrap();
            steps.lock().push(format!("{verb} {name}").trim().to_owned());
        }))
    };
    (patient.os.on_rename, patient.os.on_sync) = (note("rename"), note("sync"));
    patient.quarantine().unwrap();
    let expected = [
        "sync x.db.quarantine",
        "sync",
        "rename x.db-shm",
        "rename x.db-wal",
        "sync x.db.quarantine/incoming",
        "sync",
        "rename x.db",
        "sync x.db.quarantine/incoming",
        "sync",
        "rename x.db.quarantine/incoming",
        "sync x.db.quarantine",
    ];
    assert_eq!(*steps.lock(), expected);
}

#[test]
fn the_database_is_locked_as_long_as_it_has_its_name() {
    let tried = std::sync::Arc::new(AtomicU32::new(0));
    let mut patient = Patient::damaged();
    let (count, path, root) = (std::sync::Arc::clone(&tried), patient.path(), patient.root());
    patient.os.on_rename = Some(Box::new(move |from| {
        // POSIX locks do not hold within a process, so another one has to try.
        if !from.starts_with(&root) && Holder::try_to_read(&path) {
            count.fetch_add(1, SeqCst);
        }
    }));
    patient.quarantine().unwrap();
    assert_eq!(tried.load(SeqCst), 0, "another process could read while files were missing");
}

impl Holder {
    /// Whether another process can read the database.
    fn try_to_read(path: &Path) -> bool {
        let status = Command::new(std::env::current_exe().unwrap())
            .args(["tests::quarantine::a_process_holds_a_database_open", "--exact"])
            .env("SEAWALL_TEST_HOLD", path)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .unwrap();
        status.success()
    }
}

#[test]
fn a_process_that_opens_during_the_move_makes_it_undone() {
    let holder = std::sync::Arc::new(parking_lot::Mutex::new(None));
    let mut patient = Patient::damaged();
    let before = patient.in_place();
    let (started, path) = (std::sync::Arc::clone(&holder), patient.path());
    patient.os.on_rename = Some(Box::new(move |from| {
        if from == path && started.lock().is_none() {
            *started.lock() = Some(Holder::start(&path, "idle"));
        }
    }));
    let error = patient.quarantine().unwrap_err();
    let pid = holder.lock().as_ref().unwrap().child.id();
    assert!(error.to_string().contains(&format!("process {pid} has it open")), "{error}");
    assert_eq!(patient.in_place(), before);
    assert_eq!(patient.resume().unwrap(), Resumed::Nothing);
    drop(holder.lock().take());
    patient.os.on_rename = None;
    patient.quarantine().unwrap();
}

/// Kills the quarantine at its `k`-th change of files; `None` if it had fewer.
fn killed_at(k: u32, is_mortal: bool) -> Option<(Patient, Files, QuarantineError)> {
    let mut patient = Patient::damaged();
    let before = patient.in_place();
    patient.os.is_mortal = is_mortal;
    patient.os.changes_left = AtomicU32::new(k);
    let error = patient.quarantine().err()?;
    Some((patient, before, error))
}

/// Database and log are together, unchanged, in their place or in a complete bundle.
#[track_caller]
fn check_whole(patient: &Patient, before: &Files, context: &str) {
    let resumed = patient.resume().unwrap_or_else(|error| panic!("{context}: {error}"));
    match resumed {
        Resumed::Completed(bundle) => {
            assert_eq!(files(&bundle.database), *before, "{context}");
            assert_eq!(patient.names(), ["x.db.quarantine"], "{context}");
            assert_eq!(manifest(&bundle).files.len(), before.len(), "{context}");
        }
        Resumed::Nothing | Resumed::PutBack if patient.path().exists() => {
            // SQLite builds another index.
            let data = |files: &Files| (files[""].clone(), files["-wal"].clone());
            assert_eq!(data(&patient.in_place()), data(before), "{context}");
            assert_eq!(patient.quarantine_again(), Some(LATE), "{context}");
        }
        // It was complete but for the last sync.
        Resumed::Nothing | Resumed::PutBack => assert_eq!(late_rows(&only_bundle(patient)), Some(LATE), "{context}"),
    }
    assert_eq!(patient.resume().unwrap(), Resumed::Nothing, "{context}");
}

impl Patient {
    /// After a failure, the same process or the next one tries again.
    fn quarantine_again(&self) -> Option<i64> {
        self.os.changes_left.store(u32::MAX, SeqCst);
        late_rows(&self.quarantine().unwrap().database)
    }
}

fn only_bundle(patient: &Patient) -> PathBuf {
    let mut bundles: Vec<PathBuf> = fs::read_dir(patient.root())
        .unwrap()
        .map(|entry| entry.unwrap().path().join("x.db"))
        .filter(|database| database.exists())
        .collect();
    assert_eq!(bundles.len(), 1, "{bundles:?}");
    bundles.pop().unwrap()
}

#[test]
fn a_crash_at_any_moment_loses_nothing_and_the_next_open_goes_on() {
    let mut crashes = 0;
    while let Some((patient, before, error)) = killed_at(crashes, true) {
        check_whole(&patient, &before, &format!("killed at change {crashes}: {error}"));
        crashes += 1;
    }
    assert!(crashes > 12, "only {crashes} moments were tried");
}

#[test]
fn a_rename_that_fails_once_is_undone_at_once() {
    let mut failures = 0;
    while let Some((patient, before, error)) = killed_at(failures, false) {
        let context = format!("failed at change {failures}: {error}");
        if !matches!(error, QuarantineError::Interrupted { .. }) {
            assert_eq!(patient.in_place(), before, "{context}");
        }
        check_whole(&patient, &before, &context);
        failures += 1;
    }
    assert!(failures > 12, "only {failures} moments were tried");
}

#[test]
fn a_crash_while_undoing_loses_nothing_either() {
    let mut interrupted = 0;
    for failing in 4..11 {
        // At most four renames, two syncs and the manifest.
        for k in 0..8 {
            let mut patient = Patient::damaged();
            let before = patient.in_place();
            (patient.os.is_mortal, patient.os.changes_after_failure) = (false, k);
            patient.os.changes_left = AtomicU32::new(failing);
            let error = patient.quarantine().unwrap_err();
            interrupted += u32::from(matches!(error, QuarantineError::Interrupted { .. }));
            check_whole(&patient, &before, &format!("failed at change {failing}, killed {k} changes later: {error}"));
        }
    }
    assert!(interrupted > 10, "only {interrupted} were interrupted");
}

#[test]
fn a_log_is_not_put_back_under_a_reader_without_it() {
    let (patient, before, _) = (0..)
        .map_while(|k| killed_at(k, true))
        .find(|(patient, ..)| patient.root().join("incoming/x.db-wal").exists())
        .unwrap();
    let holder = Holder::start(&patient.path(), "reading");
    let error = patient.resume().unwrap_err();
    assert!(error.to_string().contains(&format!("process {} has it open", holder.child.id())), "{error}");
    assert!(patient.root().join("incoming/x.db-wal").exists());
    drop(holder);
    assert_eq!(patient.resume().unwrap(), Resumed::PutBack);
    assert_eq!(patient.in_place()["-wal"], before["-wal"]);
}

#[test]
fn what_a_person_took_away_meanwhile_is_missed() {
    // Killed at the sync after the database's rename.
    let (patient, ..) = (0..)
        .map_while(|k| killed_at(k, true))
        .find(|(patient, ..)| patient.root().join("incoming/x.db").exists())
        .unwrap();
    let (wal, away) = (patient.root().join("incoming/x.db-wal"), patient.file(".away"));
    fs::rename(&wal, &away).unwrap();
    let error = patient.resume().unwrap_err();
    assert!(error.to_string().contains("its -wal is not where it was put"), "{error}");
    fs::rename(&away, &wal).unwrap();
    assert!(matches!(patient.resume(), Ok(Resumed::Completed(_))));
}

#[test]
fn a_bundle_that_was_taken_away_while_it_was_joined_is_missed() {
    let patient = Patient::damaged();
    let content = patient.in_place();
    let (first, away) = (patient.quarantine().unwrap(), patient.file(".away"));
    let join = (0..).find(|&k| {
        content.iter().for_each(|(suffix, bytes)| fs::write(patient.file(suffix), bytes).unwrap());
        patient.os.changes_left.store(k, SeqCst);
        patient.quarantine().unwrap_err();
        let incoming = files(&patient.root().join("incoming/x.db"));
        let is_half_joined = incoming.len() == 2 && !patient.path().exists();
        if !is_half_joined {
            patient.resume().unwrap();
        }
        is_half_joined
    });
    fs::rename(&first.directory, &away).unwrap();
    let error = patient.resume().unwrap_err();
    assert!(error.to_string().contains("is not where it was put"), "change {join:?}: {error}");
    fs::rename(&away, &first.directory).unwrap();
    assert!(matches!(patient.resume(), Ok(Resumed::Completed(bundle)) if bundle.is_duplicate));
    assert_eq!(files(&first.database), content);
}

#[test]
fn a_program_without_this_crate_meets_no_foreign_log_after_a_crash() {
    let (mut crashes, mut changed) = (0, 0);
    while let Some((patient, before, error)) = killed_at(crashes, true) {
        let context = format!("killed at change {crashes}: {error}");
        let had_database = patient.path().exists();
        let had_log = patient.file("-wal").exists();
        let conn = patient.open();
        conn.execute_batch("CREATE TABLE foreigner (x INTEGER); INSERT INTO foreigner VALUES (1)").unwrap();
        let late = conn.query_row("SELECT count(*) FROM late", [], |row| row.get::<_, i64>(0)).ok();
        conn.close().unwrap();
        match (had_database, had_log) {
            // Nothing had been moved that counts.
            (true, true) => assert_eq!(late, Some(LATE), "{context}"),
            (true, false) => assert_eq!(late, Some(0), "{context}"),
            (false, _) => assert_eq!((late, had_log), (None, false), "{context}: a foreign log was read"),
        }
        let kept = || fs::read(patient.root().join("incoming/x.db-wal")).is_ok_and(|wal| wal == before["-wal"]);
        match patient.resume() {
            Err(error @ QuarantineError::Changed { .. }) => {
                assert!(had_database && kept(), "{context}: {error}");
                assert!(error.to_string().contains("decide by hand"), "{error}");
                assert!(patient.quarantine().is_err(), "{context}");
                assert!(kept(), "{context}: the log has to wait for a person");
                changed += 1;
            }
            Err(error) => panic!("{context}: {error}"),
            Ok(Resumed::Completed(bundle)) => assert_eq!(files(&bundle.database), before, "{context}"),
            Ok(_) if had_database => assert_eq!(late_rows(&patient.path()), Some(LATE), "{context}"),
            Ok(_) => assert_eq!(late_rows(&only_bundle(&patient)), Some(LATE), "{context}"),
        }
        crashes += 1;
    }
    assert!(changed > 0, "no crash left the database without its log");
}

#[test]
fn a_crash_while_joining_an_equal_bundle_is_gone_on_with() {
    for k in 0.. {
        let patient = Patient::damaged();
        let content = patient.in_place();
        let first = patient.quarantine().unwrap();
        content.iter().for_each(|(suffix, bytes)| fs::write(patient.file(suffix), bytes).unwrap());
        patient.os.changes_left.store(k, SeqCst);
        let Err(error) = patient.quarantine() else {
            assert!(k > 12, "only {k} moments were tried");
            break;
        };
        let context = format!("killed at change {k}: {error}");
        match patient.resume().unwrap() {
            Resumed::Completed(bundle) => {
                assert!(bundle.is_duplicate && bundle.directory == first.directory, "{context}");
                assert!(manifest(&bundle).seen >= 2, "{context}");
            }
            _ => assert_eq!(late_rows(&patient.path()), Some(LATE), "{context}"),
        }
        assert_eq!(files(&first.database), content, "{context}");
        assert_eq!(patient.resume().unwrap(), Resumed::Nothing, "{context}");
    }
}

/// The new database beside a bundle, with the table to be filled.
fn rebuilt() -> (Patient, Bundle, Connection) {
    let patient = Patient::damaged();
    let bundle = patient.quarantine().unwrap();
    let conn = patient.open();
    conn.execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE late (x INTEGER)").unwrap();
    (patient, bundle, conn)
}

fn copy_late(bundle: &Bundle, conn: &mut Connection) -> rusqlite::Result<()> {
    conn.execute("ATTACH ?1 AS old", [bundle.database.to_str().unwrap()])?;
    conn.execute("INSERT INTO main.late SELECT x FROM old.late", []).map(drop)
}

fn count_late(conn: &Connection) -> i64 {
    conn.query_row("SELECT count(*) FROM late", [], |row| row.get(0)).unwrap()
}

#[test]
fn salvage_reads_the_bundle_with_its_log_and_leaves_both_as_they_are() {
    let (_patient, bundle, mut conn) = rebuilt();
    let before = files(&bundle.database);
    salvage(&bundle, &mut conn, &copy_late).unwrap();
    assert_eq!(count_late(&conn), LATE);
    let after = files(&bundle.database);
    assert_eq!((&after[""], &after["-wal"]), (&before[""], &before["-wal"]));
    let attached: i64 = conn.query_row("SELECT count(*) FROM pragma_database_list", [], |row| row.get(0)).unwrap();
    assert_eq!((attached, conn.is_autocommit()), (1, true), "the bundle is let go");
    assert!(!conn.db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE).unwrap(), "as it was before");
}

#[test]
fn failing_salvage_is_rolled_back_and_the_bundle_stays() {
    let (_patient, bundle, mut conn) = rebuilt();
    let before = files(&bundle.database);
    let error = salvage(&bundle, &mut conn, &|bundle: &Bundle, conn: &mut Connection| {
        copy_late(bundle, conn)?;
        conn.execute("INSERT INTO main.t SELECT * FROM old.t", []).map(drop)
    })
    .unwrap_err();
    assert!(error.to_string().contains("rolled back") && error.to_string().contains("x.db.quarantine"), "{error}");
    assert_eq!((count_late(&conn), conn.is_autocommit()), (0, true));
    assert_eq!(files(&bundle.database)["-wal"], before["-wal"]);

    let panic = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        salvage(&bundle, &mut conn, &|bundle: &Bundle, conn: &mut Connection| {
            copy_late(bundle, conn)?;
            panic!("in the closure")
        })
    }));
    assert!(panic.is_err() && conn.is_autocommit() && count_late(&conn) == 0);

    let ends = |_: &Bundle, conn: &mut Connection| conn.execute_batch("INSERT INTO late VALUES (1); COMMIT");
    let error = salvage(&bundle, &mut conn, &ends).unwrap_err();
    assert!(error.to_string().contains("ended its own transaction"), "{error}");
}

#[test]
fn by_default_nothing_is_done_about_corruption() {
    let policy = QuarantinePolicy::default();
    assert!(matches!(policy.on_corruption, OnCorruption::Refuse));
    assert_eq!((policy.bundles_max, policy.directory), (10, None));
    let salvage = OnCorruption::Salvage(std::sync::Arc::new(copy_late));
    assert_eq!(format!("{salvage:?} {:?}", OnCorruption::Rebuild), "Salvage(..) Rebuild");
}

#[test]
fn what_cannot_be_opened_is_left_alone_and_the_reason_is_reported() {
    let patient = Patient::damaged();
    let trigger = Trigger::default();
    let examination = Examination { verdict: damaged_verdict(), pragmas: Vec::new() };
    let evidence = Evidence { trigger, examination, unix_seconds: None };
    let before = patient.in_place();
    let quarantine = |path: &Path, vfs| quarantine(path, &evidence, &patient.policy, vfs, &patient.os);
    let error = quarantine(&patient.path(), Some("no such vfs")).unwrap_err();
    assert!(error.to_string().contains("no such vfs") && !error.is_busy(), "{error}");
    let error = quarantine(&patient.file(".other"), None).unwrap_err();
    assert!(error.to_string().contains("looking for the database failed at"), "{error}");
    assert_eq!(patient.in_place(), before);
}

#[test]
fn a_manifest_that_makes_no_sense_stops_everything() {
    let patient = Patient::damaged();
    let incoming = patient.root().join("incoming");
    fs::create_dir_all(&incoming).unwrap();
    fs::write(incoming.join("manifest.json"), "{\"schema\":1").unwrap();
    assert!(matches!(patient.resume(), Err(QuarantineError::Manifest { .. })));
    fs::rename(incoming.join("manifest.json"), incoming.join("x.db-wal")).unwrap();
    let before = patient.in_place();
    for error in [patient.resume().unwrap_err(), patient.quarantine().unwrap_err()] {
        assert!(error.to_string().contains("nothing is known about"), "{error}");
    }
    assert_eq!(patient.in_place(), before);
    assert_eq!(fs::read(incoming.join("x.db-wal")).unwrap(), b"{\"schema\":1");
}
