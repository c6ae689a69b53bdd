//! The shim against real SQLite on real files: what it forwards, what it injects, what it never does.

mod drop_locks;

use crate::actor::Actor;
use crate::call::{Method, Role};
use crate::fault::effect::tests::toy_rule;
use crate::runtime;
use crate::seed::Seed;
use crate::shared_state::{Counter, Mode};
use crate::vfs::{FaultVfs, FaultVfsBuilder, RegisterError};
use rusqlite::{Connection, OpenFlags, ffi};
use std::path::PathBuf;
use std::time::Duration;

/// A shim with a plan, over a folder.
struct Fixture {
    shim: FaultVfs,
    dir: tempfile::TempDir,
}

impl Fixture {
    fn new(rules: &[&str]) -> Self {
        Self::with(rules, |builder| builder)
    }

    fn with(rules: &[&str], options: impl FnOnce(FaultVfsBuilder) -> FaultVfsBuilder) -> Self {
        let rules = rules.iter().map(|rule| rule.parse().unwrap());
        let shim = options(FaultVfs::builder().rules(rules).seed(1)).register().unwrap();
        Self { shim, dir: tempfile::tempdir().unwrap() }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("a.db")
    }

    fn open(&self) -> rusqlite::Result<Connection> {
        self.shim.open(self.path())
    }

    fn count(&self, method: Method, role: Role) -> usize {
        self.shim.trace().iter().filter(|e| e.call.method == method && e.call.role == role).count()
    }
}

fn wal(fixture: &Fixture) -> Connection {
    let connection = fixture.open().unwrap();
    let mode: String = connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0)).unwrap();
    assert_eq!(mode, "wal");
    connection.execute_batch("CREATE TABLE t(x); INSERT INTO t VALUES(1)").unwrap();
    connection
}

fn rows(connection: &Connection) -> rusqlite::Result<i64> {
    connection.query_row("SELECT count(*) FROM t", [], |row| row.get(0))
}

fn extended(error: &rusqlite::Error) -> i32 {
    error.sqlite_error().expect("an SQLite error").extended_code
}

#[test]
fn every_kind_of_call_passes_through() {
    let fixture = Fixture::new(&[]);
    let connection = wal(&fixture);
    connection
        .execute_batch(
            "PRAGMA mmap_size = 1000000; PRAGMA temp_store = 1; PRAGMA cache_size = 5;
             CREATE TEMP TABLE big(x);
             WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000)
             INSERT INTO big SELECT zeroblob(500) FROM n;
             INSERT INTO t SELECT zeroblob(500) FROM big;
             PRAGMA wal_checkpoint(TRUNCATE);
             SELECT sum(length(x)) FROM t;
             SELECT datetime('now');
             PRAGMA journal_mode = DELETE; PRAGMA synchronous = EXTRA; INSERT INTO t VALUES(2);
             ATTACH ':memory:' AS m; VACUUM;",
        )
        .unwrap();
    assert_eq!(rows(&connection).unwrap(), 3002);
    drop(connection);
    let trace = fixture.shim.trace();
    let seen = |method| trace.iter().any(|entry| entry.call.method == method);
    use Method::*;
    for method in [
        Open,
        Delete,
        Access,
        FullPathname,
        CurrentTimeInt64,
        Close,
        Read,
        Write,
        Truncate,
        Sync,
        FileSize,
        Lock,
        Unlock,
        FileControl,
        DeviceCharacteristics,
        ShmMap,
        ShmLock,
        ShmBarrier,
        ShmUnmap,
        Fetch,
        Unfetch,
    ] {
        assert!(seen(method), "{method} was never called");
    }
    for role in [Role::Db, Role::Journal, Role::Wal, Role::Shm, Role::Temp, Role::Dir] {
        assert!(trace.iter().any(|entry| entry.call.role == role), "no call on {role}");
    }
    assert_eq!(
        fixture.shim.shared_state().counted(Counter::FilesOpened),
        fixture.shim.shared_state().counted(Counter::FilesClosed)
    );
    assert!(fixture.shim.injector().open_files().is_empty());
}

#[test]
fn the_abilities_of_the_vfs_below_are_kept() {
    let fixture = Fixture::new(&[]);
    let connection = wal(&fixture);
    let name: String = vfs_name(&connection);
    assert!(name.starts_with(&format!("{}/unix", fixture.shim.name())), "{name}");
    let plain = tempfile::tempdir().unwrap();
    let below = Connection::open(plain.path().join("b.db")).unwrap();
    assert_eq!(characteristics(&connection), characteristics(&below));
}

fn vfs_name(connection: &Connection) -> String {
    super::ffi::tests::vfs_name(connection)
}

fn characteristics(connection: &Connection) -> (i32, i32, i32) {
    super::ffi::tests::characteristics(connection)
}

#[test]
fn uri_parameters_reach_the_vfs_below() {
    let fixture = Fixture::new(&[]);
    let uri = format!("file:{}?psow=0&nolock=1", fixture.path().display());
    let connection = fixture.shim.open(&uri).unwrap();
    connection.execute_batch("CREATE TABLE t(x)").unwrap();
    // SQLITE_IOCAP_POWERSAFE_OVERWRITE is what the unix VFS takes from `psow`.
    assert_eq!(characteristics(&connection).2 & ffi::SQLITE_IOCAP_POWERSAFE_OVERWRITE, 0);
    let plain = fixture.open().unwrap();
    assert_ne!(characteristics(&plain).2 & ffi::SQLITE_IOCAP_POWERSAFE_OVERWRITE, 0);
}

#[test]
fn shims_stand_side_by_side_and_on_each_other() {
    let below = Fixture::new(&["write@*:error=FULL"]);
    let above = FaultVfs::builder().base(below.shim.name()).register().unwrap();
    let connection = above.open(below.path()).unwrap();
    connection.execute_batch("CREATE TABLE t(x)").unwrap();
    assert!(below.shim.shared_state().calls() > 10 && above.shared_state().calls() > 10);
    below.shim.arm();
    assert_eq!(extended(&connection.execute_batch("INSERT INTO t VALUES(1)").unwrap_err()), ffi::SQLITE_FULL);
}

#[test]
fn names_are_checked() {
    let fixture = Fixture::new(&[]);
    let register = |name: &str, base: Option<&str>| {
        base.into_iter().fold(FaultVfs::builder().name(name), FaultVfsBuilder::base).register().map(drop)
    };
    assert_eq!(register(fixture.shim.name(), None), Err(RegisterError::NameTaken(fixture.shim.name().to_owned())));
    assert_eq!(register("x", Some("no such vfs")), Err(RegisterError::NoBase("no such vfs".to_owned())));
    assert_eq!(register("a\0b", None), Err(RegisterError::BadName("a\0b".to_owned())));
    let gone = fixture.shim.name().to_owned();
    let path = fixture.path();
    drop(fixture);
    assert!(
        Connection::open_with_flags_and_vfs(path, OpenFlags::default(), &*gone).is_err(),
        "an unregistered name is not found"
    );
}

#[test]
fn errors_are_injected_with_their_codes_and_heal() {
    #[track_caller]
    fn check(rule: &str, sql: &str, code: i32) {
        let fixture = Fixture::new(&[rule]);
        let connection = wal(&fixture);
        fixture.shim.arm();
        let error = connection.execute_batch(sql).expect_err(rule);
        assert_eq!(extended(&error), code, "{rule}");
        assert_eq!(fixture.shim.shared_state().rule(0).fired(), 1, "{rule}");
        fixture.shim.disarm();
        connection.execute_batch(sql).unwrap();
        assert_eq!(crate::oracle::integrity::check(&connection, "live").complaints, Vec::<String>::new());
    }
    check("write@wal:error=FULL:times=1", "INSERT INTO t VALUES(2)", ffi::SQLITE_FULL);
    check("write@wal:errno=ENOSPC:times=1", "INSERT INTO t VALUES(2)", ffi::SQLITE_FULL);
    check("write@wal:errno=EIO:times=1", "INSERT INTO t VALUES(2)", ffi::SQLITE_IOERR_WRITE);
    check("sync@wal:error=IOERR_FSYNC:times=1", "PRAGMA wal_checkpoint", ffi::SQLITE_IOERR_FSYNC);
    check("truncate@wal:error=1546:times=1", "PRAGMA wal_checkpoint(TRUNCATE)", ffi::SQLITE_IOERR_TRUNCATE);
    check("shmlock@shm:error=IOERR_SHMLOCK:times=1", "SELECT * FROM t", ffi::SQLITE_IOERR_SHMLOCK);
    check("write@wal:torn=100,error=IOERR_WRITE:times=1", "INSERT INTO t VALUES(2)", ffi::SQLITE_IOERR_WRITE);
}

#[test]
fn the_wal_index_can_fail_in_every_way_when_a_connection_comes_to_it() {
    for (rule, code) in [
        ("shmmap@shm:error=IOERR_SHMMAP", ffi::SQLITE_IOERR_SHMMAP),
        ("shmmap@shm:error=IOERR_SHMSIZE", ffi::SQLITE_IOERR_SHMSIZE),
        ("shmmap@shm:error=IOERR_SHMOPEN", ffi::SQLITE_IOERR_SHMOPEN),
        ("open@wal:error=CANTOPEN", ffi::SQLITE_CANTOPEN),
    ] {
        let fixture = Fixture::new(&[rule]);
        let holder = wal(&fixture);
        fixture.shim.arm();
        let late = fixture.open().unwrap();
        assert_eq!(extended(&rows(&late).unwrap_err()), code, "{rule}");
        assert_eq!(rows(&holder).unwrap(), 1, "who has it mapped is unharmed");
        fixture.shim.disarm();
        assert_eq!(rows(&late).unwrap(), 1);
    }
}

#[test]
fn a_read_only_wal_index_can_be_read() {
    let fixture = Fixture::new(&["shmmap@shm:error=READONLY"]);
    let _holder = wal(&fixture);
    fixture.shim.arm();
    let late = fixture.open().unwrap();
    assert_eq!(rows(&late).unwrap(), 1);
    assert!(late.execute_batch("INSERT INTO t VALUES(2)").is_err());
}

#[test]
fn a_dropping_disk_is_believed() {
    let fixture = Fixture::new(&["write@db:drop", "truncate@wal:drop"]);
    let connection = wal(&fixture);
    fixture.shim.arm();
    connection.execute_batch("INSERT INTO t VALUES(2); PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
    let shared_state = fixture.shim.shared_state();
    assert!(shared_state.rule(0).fired() > 0 && shared_state.rule(1).fired() > 0);
}

#[test]
fn what_only_a_simulated_disk_can_do_is_refused_on_real_files() {
    for rule in ["sync@wal:lie", "sync@db:error=IOERR_FSYNC,dirty=late", "write@*:power-cut"] {
        let refused = FaultVfs::builder().fault(rule).unwrap().register().unwrap_err().to_string();
        assert!(refused.contains(rule) && refused.contains("simulated disk"), "{refused}");
    }
}

#[test]
fn a_flipped_bit_a_short_read_and_a_torn_write_are_what_they_say() {
    let fixture = Fixture::new(&["read@db:bitflip:when=1", "read@db:short=100:when=2", "write@db:torn=512:when=1"]);
    let connection = fixture.open().unwrap();
    connection.execute_batch("CREATE TABLE t(x); INSERT INTO t VALUES(zeroblob(3000))").unwrap();
    let before = std::fs::read(fixture.path()).unwrap();
    drop(connection);
    fixture.shim.arm();
    let (mut page, mut again, mut short) = ([0_u8; 4096], [0_u8; 4096], [0_u8; 4096]);
    super::ffi::tests::with_file(&fixture.path(), fixture.shim.name(), |file| {
        assert_eq!(file.read(&mut page, 4096), ffi::SQLITE_OK);
        assert_eq!(file.read(&mut short, 4096), ffi::SQLITE_IOERR_SHORT_READ);
        assert_eq!(file.read(&mut again, 4096), ffi::SQLITE_OK);
        assert_eq!(file.write(&[0xff; 4096], 0), ffi::SQLITE_OK);
    });
    let flipped: u32 = page.iter().zip(&before[4096..]).map(|(a, b)| (a ^ b).count_ones()).sum();
    assert_eq!(flipped, 1);
    assert_eq!(again, before[4096..8192]);
    assert_eq!((&short[..100], &short[100..]), (&before[4096..4196], &[0_u8; 3996][..]));
    let after = std::fs::read(fixture.path()).unwrap();
    assert_eq!((&after[..512], &after[512..]), (&[0xff_u8; 512][..], &before[512..]));
}

#[test]
fn the_toy_effect_of_the_page_on_effects_brings_zeroes() {
    let fixture = Fixture::with(&[], |builder| builder.rules([toy_rule("read@db:zero:when=1")]));
    fixture.open().unwrap().execute_batch("CREATE TABLE t(x)").unwrap();
    let before = std::fs::read(fixture.path()).unwrap();
    fixture.shim.arm();
    let (mut zeroed, mut again) = ([7_u8; 4096], [7_u8; 4096]);
    super::ffi::tests::with_file(&fixture.path(), fixture.shim.name(), |file| {
        assert_eq!(file.read(&mut zeroed, 0), ffi::SQLITE_OK);
        assert_eq!(file.read(&mut again, 0), ffi::SQLITE_OK);
    });
    assert_eq!((&zeroed, &again[..]), (&[0; 4096], &before[..4096]));
}

#[test]
fn a_quota_lets_so_many_bytes_pass() {
    let fixture = Fixture::new(&["write@wal:error=FULL:after=64KiB"]);
    let connection = wal(&fixture);
    fixture.shim.arm();
    let mut inserted = 0;
    let error = loop {
        match connection.execute_batch("INSERT INTO t VALUES(zeroblob(3000))") {
            Ok(()) => inserted += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(extended(&error), ffi::SQLITE_FULL);
    assert!((3..=16).contains(&inserted), "{inserted}");
}

#[test]
fn a_directory_sync_fails_by_itself_and_the_file_is_gone() {
    let fixture = Fixture::new(&["sync@dir:error=IOERR_DIR_FSYNC:times=1"]);
    let connection = fixture.open().unwrap();
    // Only synchronous=EXTRA syncs the directory when it deletes a journal.
    connection.execute_batch("PRAGMA synchronous = EXTRA; CREATE TABLE t(x)").unwrap();
    fixture.shim.arm();
    let error = connection.execute_batch("INSERT INTO t VALUES(1)").unwrap_err();
    assert_eq!(extended(&error), ffi::SQLITE_IOERR_DIR_FSYNC);
    assert!(!fixture.dir.path().join("a.db-journal").exists());
}

#[test]
fn an_injected_failure_of_close_leaks_nothing() {
    let fixture = Fixture::new(&["close@*:error=IOERR_CLOSE"]);
    let connection = wal(&fixture);
    fixture.shim.arm();
    drop(connection);
    assert!(fixture.shim.injector().open_files().is_empty());
    let descriptors =
        std::fs::read_dir("/proc/self/fd").unwrap().filter_map(|e| std::fs::read_link(e.ok()?.path()).ok());
    let ours: Vec<_> = descriptors.filter(|target| target.starts_with(fixture.dir.path())).collect();
    assert_eq!(ours, Vec::<PathBuf>::new());
}

#[test]
fn the_errno_of_an_injected_failure_can_be_asked_for() {
    let fixture = Fixture::new(&["open@db:error=CANTOPEN,errno=EMFILE:times=1", "read@db:error=IOERR_READ:times=1"]);
    wal(&fixture);
    fixture.shim.arm();
    let (rc, errno) = super::ffi::tests::open_errno(&fixture.path(), fixture.shim.name());
    assert_eq!((rc, errno), (ffi::SQLITE_CANTOPEN, libc::EMFILE));
    // A genuine failure afterwards is reported with its own errno.
    let missing = fixture.dir.path().join("none").join("a.db");
    let (rc, errno) = super::ffi::tests::open_errno(&missing, fixture.shim.name());
    assert_eq!((rc, errno), (ffi::SQLITE_CANTOPEN, libc::ENOENT));
}

#[test]
fn a_panic_in_a_callback_is_an_io_error_and_is_recorded() {
    let observer = |_: Actor, call: &crate::call::Call| {
        assert!(call.method != Method::Write || call.role != Role::Wal, "canary");
    };
    let fixture = Fixture::with(&[], |builder| builder.observer(observer));
    let connection = fixture.open().unwrap();
    connection.execute_batch("PRAGMA journal_mode = WAL").unwrap();
    let error = connection.execute_batch("CREATE TABLE t(x)").unwrap_err();
    assert_eq!(extended(&error), ffi::SQLITE_IOERR);
    assert!(fixture.shim.shared_state().counted(Counter::Panics) > 0);
    assert!(fixture.shim.injector().panic_message().unwrap().contains("canary"));
}

#[test]
fn a_stall_passes_the_time_of_the_run() {
    let fixture = Fixture::with(&["write@wal:stall=90s:times=1"], |builder| builder.clock_scale(0));
    let connection = wal(&fixture);
    fixture.shim.arm();
    connection.execute_batch("INSERT INTO t VALUES(2)").unwrap();
    assert_eq!(fixture.shim.clock().now(), Duration::from_secs(90));
    let date: String = connection.query_row("SELECT datetime('now')", [], |row| row.get(0)).unwrap();
    assert_eq!(date, "2026-01-01 00:01:30");
}

#[test]
fn a_busy_timeout_takes_no_time_where_time_is_virtual() {
    let fixture = Fixture::with(&[], |builder| builder.clock_scale(0));
    let holder = wal(&fixture);
    holder.execute_batch("BEGIN IMMEDIATE").unwrap();
    let waiter = fixture.open().unwrap();
    waiter.busy_timeout(Duration::from_secs(3600)).unwrap();
    assert_eq!(extended(&waiter.execute_batch("BEGIN IMMEDIATE").unwrap_err()), ffi::SQLITE_BUSY);
    let now = fixture.shim.clock().now();
    assert!(now >= Duration::from_secs(3599), "{now:?}");
}

#[test]
fn actors_are_told_apart_and_locks_are_known() {
    let fixture = Fixture::new(&["write@wal:error=FULL:actor=p7.t2"]);
    let connection = wal(&fixture);
    fixture.shim.arm();
    runtime::set_current_actor(Actor { process: 7, thread: 1 });
    connection.execute_batch("BEGIN IMMEDIATE; INSERT INTO t VALUES(2)").unwrap();
    let held: Vec<_> =
        fixture.shim.injector().open_files().iter().filter(|f| f.shm_exclusive() != 0).map(|f| f.role).collect();
    assert_eq!(held, [Role::Db], "the write lock is known");
    connection.execute_batch("COMMIT").unwrap();
    assert!(fixture.shim.injector().open_files().iter().all(|f| f.shm_exclusive() == 0 && f.lock_level() <= 1));
    runtime::set_current_actor(Actor { process: 7, thread: 2 });
    assert_eq!(extended(&connection.execute_batch("INSERT INTO t VALUES(3)").unwrap_err()), ffi::SQLITE_FULL);
    runtime::set_current_actor(Actor { process: 0, thread: 0 });
}

#[test]
fn switched_off_it_neither_counts_nor_traces() {
    let fixture = Fixture::new(&["*@*:error=IOERR"]);
    fixture.shim.shared_state().set_mode(Mode::OFF);
    let connection = wal(&fixture);
    assert_eq!(rows(&connection).unwrap(), 1);
    assert_eq!((fixture.shim.shared_state().calls(), fixture.count(Method::Open, Role::Db)), (0, 0));
}

#[test]
fn the_system_call_family_reaches_the_vfs_below() {
    let fixture = Fixture::new(&[]);
    assert_eq!(super::ffi::tests::first_system_call(fixture.shim.name()), super::ffi::tests::first_system_call("unix"));
}

#[test]
fn a_seed_makes_the_salts_of_the_wal() {
    // SQLite's generator is seeded from the default VFS, once per process, so the shim's answer is asked for directly.
    let bytes = |seed| {
        let fixture = Fixture::with(&[], |builder| builder.entropy(Seed(seed)));
        super::ffi::tests::randomness(fixture.shim.name())
    };
    assert_eq!(bytes(1), bytes(1));
    assert_ne!(bytes(1), bytes(2));
}
