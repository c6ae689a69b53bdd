//! Bad input and faults: what the error says, and that no acknowledged row is lost by any of it.
//!
//! Elsewhere: files that are moved, replaced or deleted in `orphans`; a limit on the file's pages in `disk_full`; a
//! newer schema in `migrations`; forked children, killed processes and the first-connect lock in `processes`; a
//! wal-index that cannot be had in `degraded`.

use super::*;
use crate::health::HealthState;
use crate::{Class, Operation};
use processes::{Player, play as play_limited, play_as_unprivileged, wait_for_word};
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// What an error says. The texts begin after the path, and `{d}` stands for the world's directory.
#[track_caller]
fn check(world: &World, error: &crate::Error, operation: Operation, class: Class, code: Option<i32>, text: &str) {
    let dir = world.dir.path().canonicalize().unwrap().display().to_string();
    let told = error.to_string().replace(&dir, "{d}");
    assert_eq!(told, text);
    assert_eq!((error.operation(), error.class(), error.extended_code()), (operation, class, code));
    assert!(!error.outcome_unknown());
    assert_eq!(error.is_transient(), !matches!(class, Class::GiveUp | Class::Quarantine));
}

/// Leaves a database with the rows 1 and 2, closed, in WAL mode, and without a log.
fn two_rows(world: &World) {
    let store = world.store();
    store.write(|tx| insert(tx, 1)).unwrap();
    store.write(|tx| insert(tx, 2)).unwrap();
    drop(store);
    world.events();
}

/// The faults of other processes, with limits or rights that this one does not have.
pub(super) fn play(role: &str, path: &Path) {
    match role {
        "die with a hot journal" => die_with_a_hot_journal(path),
        "write into a file that may not grow" => write_into_a_file_that_may_not_grow(path),
        "run out of descriptors" => run_out_of_descriptors(path),
        "write a read-only file" => write_a_read_only_file(path),
        "open in a read-only directory" => open_in_a_read_only_directory(path),
        "create in a read-only directory" => create_in_a_read_only_directory(path),
        other => panic!("there is no role {other}"),
    }
}

#[test]
fn a_directory_is_no_database() {
    let world = World::new();
    fs::create_dir(world.path()).unwrap();
    let error = world.builder().open(world.path()).unwrap_err();
    let text = "{d}/x.db: finding the file failed: it stands for a directory, not for a file; give the path of a file";
    check(&world, &error, Operation::Resolve, Class::GiveUp, None, text);
}

#[test]
fn a_directory_that_replaces_a_database_is_an_error_each_time() {
    let world = World::new();
    let cache = world.cache();
    cache.write(world.path(), |tx| insert(tx, 1)).unwrap();
    cache.close(world.path()).unwrap();
    let kept = world.dir.path().join("kept.db");
    fs::rename(world.path(), &kept).unwrap();
    fs::create_dir(world.path()).unwrap();
    for _ in 0..5 {
        let error = cache.read(world.path(), rows).unwrap_err();
        assert!(error.to_string().contains("it stands for a directory"), "{error}");
    }
    fs::remove_dir(world.path()).unwrap();
    fs::rename(kept, world.path()).unwrap();
    assert_eq!(cache.read(world.path(), rows).unwrap(), [1]);
}

#[test]
fn a_missing_directory_is_an_error_that_names_it_unless_it_is_to_be_created() {
    let world = World::new();
    let path = world.dir.path().join("a/b/x.db");
    let read_write = OpenFlags::SQLITE_OPEN_READ_WRITE;
    let text = "{d}/a/b/x.db: finding the file failed: the directory {d}/a is missing; check the path and what should \
        be mounted there; create it, or let the layer do it (Builder::create_directories)";
    for builder in
        [world.builder(), world.builder().flags(read_write), world.builder().flags(read_write).create_directories(true)]
    {
        let error = builder.open(&path).unwrap_err();
        check(&world, &error, Operation::Resolve, Class::GiveUp, None, text);
        assert_eq!(error.errno(), Some(libc::ENOENT));
        assert!(!world.dir.path().join("a").exists());
    }
    // Through a cache, behind a link, and where only the last one is missing.
    let error = world.cache().write(&path, |tx| insert(tx, 1)).unwrap_err();
    check(&world, &error, Operation::Resolve, Class::GiveUp, None, text);
    std::os::unix::fs::symlink(world.dir.path().join("c/x.db"), world.path()).unwrap();
    let error = world.builder().open(world.path()).unwrap_err();
    assert!(
        error.to_string().contains(
            "the directory {d}/c is missing".replace("{d}", &world.dir.path().display().to_string()).as_str()
        ),
        "{error}"
    );
    fs::remove_file(world.path()).unwrap();
    let store = world.builder().create_directories(true).open(&path).unwrap();
    store.write(|tx| insert(tx, 1)).unwrap();
    drop(store);
    check_rows(&path, &[1]);
}

#[test]
fn a_path_that_is_no_file_is_an_error() {
    let world = World::new();
    for (path, why) in [
        ("", "it is empty, which is a temporary database to SQLite"),
        (":memory:", "a database in memory has no file to be shared or recovered"),
        ("file:x.db?mode=ro", "it is a URI; the builder has a method for each of its parameters"),
        ("x\0.db", "there is a zero byte in it"),
    ] {
        let error = world.builder().open(path).unwrap_err();
        let path = path.replace('\0', "\\u{0}");
        let text = format!("{path}: finding the file failed: it does not name a file: {why}; give the path of a file");
        check(&world, &error, Operation::Resolve, Class::GiveUp, None, &text);
    }
    let _pipe = std::os::unix::net::UnixListener::bind(world.path()).unwrap();
    let error = world.builder().open(world.path()).unwrap_err();
    let text = "{d}/x.db: finding the file failed: it does not name a file: it is a pipe, a socket or a device; \
        give the path of a file";
    check(&world, &error, Operation::Resolve, Class::GiveUp, None, text);
}

#[test]
fn a_file_that_is_not_a_database_is_left_as_it_is() {
    let world = World::new();
    let content = b"these are the notes of another user!\n".repeat(300);
    fs::write(world.path(), &content).unwrap();
    let error = world.builder().open(world.path()).unwrap_err();
    let text = "{d}/x.db: setting up the connection failed: NOTADB (26): file is not a database; \
        do not delete anything; run PRAGMA quick_check";
    check(&world, &error, Operation::Configure, Class::Quarantine, Some(26), text);
    assert!(error.is_corruption());
    assert!(fs::read(world.path()).unwrap() == content, "not a byte of it was changed");
}

#[test]
fn an_encrypted_database_is_left_as_it_is() {
    let world = World::new();
    // What a cipher makes of five pages: nothing that can be told from noise.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let noise = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    });
    let content: Vec<u8> = noise.take(5 * 4096).collect();
    fs::write(world.path(), &content).unwrap();
    let cache = world.cache();
    for _ in 0..5 {
        let error = cache.read(world.path(), rows).unwrap_err();
        assert_eq!((error.extended_code(), error.class()), (Some(26), Class::Quarantine), "{error}");
    }
    assert!(fs::read(world.path()).unwrap() == content, "not a byte of it was changed");
}

#[test]
fn a_file_of_zero_bytes_becomes_a_database() {
    let world = World::new();
    fs::write(world.path(), "").unwrap();
    let store = world.store();
    store.write(|tx| insert(tx, 1)).unwrap();
    assert_eq!(world.inits.load(SeqCst), 1);
    drop(store);
    world.check_rows(&[1]);
}

#[test]
fn a_log_without_its_database_is_not_thrown_away() {
    let world = World::new();
    let store = world.store();
    store.write(|tx| insert(tx, 1)).unwrap();
    store.write(|tx| insert(tx, 2)).unwrap();
    // As after a crash, and a database file that was moved.
    let (kept, log) = (world.dir.path().join("kept.db"), world.dir.path().join("kept.db-wal"));
    fs::copy(world.path(), &kept).unwrap();
    fs::copy(world.side_file("-wal"), &log).unwrap();
    let bytes = fs::metadata(&log).unwrap().len();
    drop(store);
    fs::remove_file(world.path()).unwrap();
    fs::rename(log, world.side_file("-wal")).unwrap();

    for is_empty in [false, true] {
        if is_empty {
            fs::write(world.path(), "").unwrap();
        }
        let error = world.builder().open(world.path()).unwrap_err();
        let text = format!(
            "{{d}}/x.db: opening the file failed: {{d}}/x.db-wal has {bytes} bytes and belongs to a database that is not \
             there; it may hold committed rows: put the database back beside it, or rename it out of the way"
        );
        check(&world, &error, Operation::Open, Class::GiveUp, None, &text);
    }
    fs::rename(kept, world.path()).unwrap();
    assert_eq!(world.store().read(rows).unwrap(), [1, 2]);
    world.check_rows(&[1, 2]);
}

fn die_with_a_hot_journal(path: &Path) {
    let keep = crate::JournalMode::Keep;
    let store = Store::builder().journal_mode(keep).init(|conn| conn.execute_batch(SCHEMA)).open(path).unwrap();
    store.write(|tx| insert(tx, 1).and(insert(tx, 2))).unwrap();
    let _: Result<(), _> = store.write(|tx| {
        // So little room that changed pages go to the file before the COMMIT.
        tx.execute_batch("PRAGMA cache_size = 2; PRAGMA cache_spill = 1; CREATE TABLE big (x)")?;
        for x in 0..100 {
            insert(tx, 1000 + x)?;
            tx.execute_batch("INSERT INTO big VALUES (zeroblob(3000))")?;
        }
        wait_for_word();
        Ok(())
    });
}

#[test]
fn a_hot_journal_is_rolled_back_and_what_was_acknowledged_is_there() {
    for journal_mode in [crate::JournalMode::Keep, crate::JournalMode::Wal] {
        let world = World::new();
        Player::start("die with a hot journal", &world.path()).kill();
        let journal = fs::metadata(world.side_file("-journal")).unwrap().len();
        let grown = fs::metadata(world.path()).unwrap().len();
        assert!(journal > 512 && grown > 50_000, "{journal} {grown}");
        let store = world.builder().journal_mode(journal_mode).open(world.path()).unwrap();
        assert_eq!(store.read(rows).unwrap(), [1, 2]);
        store.write(|tx| insert(tx, 3)).unwrap();
        drop(store);
        world.check_rows(&[1, 2, 3]);
    }
}

#[test]
fn a_hot_journal_without_its_database_is_not_thrown_away() {
    let world = World::new();
    Player::start("die with a hot journal", &world.path()).kill();
    let kept = world.dir.path().join("kept.db");
    fs::rename(world.path(), &kept).unwrap();
    let error = world.builder().open(world.path()).unwrap_err();
    assert!(error.to_string().contains("x.db-journal has"), "{error}");
    assert!(error.to_string().contains("bytes and belongs to a database that is not there"), "{error}");
    fs::rename(kept, world.path()).unwrap();
    assert_eq!(world.store().read(rows).unwrap(), [1, 2]);
}

fn write_into_a_file_that_may_not_grow(path: &Path) {
    let store = Store::builder()
        .disk_full_pause(Duration::ZERO)
        .init(|conn| conn.execute_batch("CREATE TABLE IF NOT EXISTS t (x INTEGER PRIMARY KEY); CREATE TABLE blob (x)"))
        .open(path)
        .unwrap();
    let mut acknowledged = 0;
    let error = loop {
        let write = store
            .write(|tx| insert(tx, acknowledged).and(tx.execute_batch("INSERT INTO blob VALUES (zeroblob(3000))")));
        match write {
            Ok(()) => acknowledged += 1,
            Err(error) => break error,
        }
        assert!(acknowledged < 10_000, "the file may grow after all");
    };
    println!("{error}");
    println!("acknowledged {acknowledged}");
    assert!(error.is_disk_full(), "{error}");
    assert_eq!((error.operation(), error.outcome_unknown()), (Operation::Commit, true), "{error}");
    assert_eq!(error.errno(), Some(libc::EFBIG), "{error}");
    assert_eq!(error.extended_code(), Some(778), "IOERR_WRITE: {error}");
    assert!(store.health().is_disk_full && store.health().breaker_failures == 0, "{:?}", store.health());
    assert_eq!(store.read(rows).unwrap(), (0..acknowledged).collect::<Vec<_>>(), "reads go on");
}

#[test]
fn a_disk_without_room_costs_no_row_that_was_acknowledged() {
    let world = World::new();
    // 256 KiB, in the shell's units of 512 bytes; without the trap, the system would end the process.
    let text = play_limited("write into a file that may not grow", &world.path(), "trap '' XFSZ; ulimit -f 512");
    let counted = text.lines().find_map(|line| line.strip_prefix("acknowledged ")).unwrap();
    let acknowledged: i64 = counted.parse().unwrap();
    assert!(acknowledged > 3, "{text}");
    let told = "x.db: COMMIT failed: IOERR_WRITE (778): disk I/O error (File too large (os error 27), EFBIG); \
        the writes may or may not be durable: read before writing them again";
    assert!(text.contains(told), "{text}");
    world.check_rows(&(0..acknowledged).collect::<Vec<_>>());
}

fn run_out_of_descriptors(path: &Path) {
    let cache = Cache::builder().init(|conn| conn.execute_batch(SCHEMA)).build();
    let other = path.with_extension("other.db");
    cache.write(path, |tx| insert(tx, 1)).unwrap();
    let open = || fs::File::open("/dev/null");
    let mut files: Vec<fs::File> = std::iter::repeat_with(open).take(1000).map_while(Result::ok).collect();
    assert!(files.len() < 900, "there is a limit");
    cache.write(path, |tx| insert(tx, 2)).unwrap();
    for _ in 0..5 {
        let error = cache.write(&other, |tx| insert(tx, 1)).unwrap_err();
        println!("{error}");
        assert_eq!((error.class(), error.errno()), (Class::RetryLater, Some(libc::EMFILE)), "{error}");
        assert!(error.is_transient() && !error.is_breaker_open() && !error.outcome_unknown(), "{error}");
        assert!(error.to_string().contains("free memory, disk or descriptors and try again"), "{error}");
    }
    // Room for the lock of the first connect, and not for the database.
    files.pop();
    for _ in 0..5 {
        let error = cache.write(&other, |tx| insert(tx, 1)).unwrap_err();
        assert_eq!((error.class(), error.errno()), (Class::RetryLater, Some(libc::EMFILE)), "{error}");
        assert_eq!(error.extended_code(), Some(14), "{error}");
        assert!(!error.is_breaker_open(), "{error}");
    }
    drop(files);
    cache.write(&other, |tx| insert(tx, 3)).unwrap();
    cache.write(path, |tx| insert(tx, 4)).unwrap();
    cache.close_all().unwrap();
    check_rows(path, &[1, 2, 4]);
    check_rows(&other, &[3]);
}

#[test]
fn descriptor_exhaustion_is_an_error_and_calls_work_again_afterwards() {
    let world = World::new();
    play_limited("run out of descriptors", &world.path(), "ulimit -n 40");
    world.check_rows(&[1, 2, 4]);
}

/// As a user who may read the file and not write it.
fn write_a_read_only_file(path: &Path) {
    let store = Store::builder().busy_timeout(Duration::ZERO).open(path).unwrap();
    for _ in 0..4 {
        let error = store.write(|tx| insert(tx, 3)).unwrap_err();
        let text = "the write closure failed: READONLY (8): attempt to write a readonly database; \
            let this process write the file and its directory (owner, mode, mount), or open it with write access (flags)";
        assert!(error.to_string().ends_with(text), "{error}");
        assert_eq!((error.class(), error.extended_code()), (Class::GiveUp, Some(8)));
        assert!(!error.outcome_unknown() && !error.is_transient());
        assert_eq!(store.read(rows).unwrap(), [1, 2], "reads go on");
    }
    assert_eq!(store.health().breaker_failures, 0);
}

/// As a user who may not write the directory, and so may not make a side file.
fn open_in_a_read_only_directory(path: &Path) {
    let error = Store::open(path).unwrap_err();
    let text = "x.db: waiting for the first-connect lock failed: ";
    assert!(error.to_string().contains(text), "{error}");
    let text = "x.db.init.lock: Permission denied (os error 13); \
        let the directory be written to, or go without the lock (first_connect_wait)";
    assert!(error.to_string().ends_with(text), "{error}");
    assert_eq!((error.operation(), error.class()), (Operation::FirstConnect, Class::GiveUp));
    assert_eq!((error.errno(), error.extended_code()), (Some(libc::EACCES), None));

    let error = Store::builder().first_connect_wait(None).open(path).unwrap_err();
    let text = "setting up the connection failed: READONLY_DIRECTORY (1544): attempt to write a readonly database; \
        let this process create files in the directory (owner, mode, mount): SQLite needs its side files there";
    assert!(error.to_string().ends_with(text), "{error}");
    assert_eq!((error.class(), error.extended_code()), (Class::GiveUp, Some(1544)));
}

fn create_in_a_read_only_directory(path: &Path) {
    let error = Store::open(path).unwrap_err();
    assert!(error.to_string().contains("x.db.init.lock: Permission denied (os error 13); let the"), "{error}");
    let error = Store::builder().first_connect_wait(None).open(path).unwrap_err();
    // SQLite has tried to open the file for reading last, and it is not there.
    let text = "opening the file failed: CANTOPEN (14): unable to open database file";
    assert!(error.to_string().contains(text), "{error}");
    assert_eq!((error.operation(), error.extended_code()), (Operation::Open, Some(14)));
    let error = Store::builder().create_directories(true).open(path.join("below/x.db")).unwrap_err();
    assert!(error.to_string().contains("finding the file failed: Permission denied (os error 13)"), "{error}");
    assert_eq!((error.operation(), error.class()), (Operation::Resolve, Class::GiveUp));
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
}

#[test]
fn a_file_that_may_not_be_written_is_read_and_writes_are_errors() {
    let world = World::new();
    two_rows(&world);
    set_mode(&world.path(), 0o444);
    fs::remove_file(world.side_file(".init.lock")).unwrap();
    play_as_unprivileged("write a read-only file", &world, 0o777);
    world.check_rows(&[1, 2]);
}

#[test]
fn a_directory_that_may_not_be_written_is_an_error() {
    let world = World::new();
    play_as_unprivileged("create in a read-only directory", &world, 0o755);
    two_rows(&world);
    fs::remove_file(world.side_file(".init.lock")).unwrap();
    set_mode(&world.path(), 0o666);
    play_as_unprivileged("open in a read-only directory", &world, 0o755);
    world.check_rows(&[1, 2]);
}

#[test]
fn a_clock_that_jumps_breaks_nothing() {
    let world = World::new();
    let lifetime = Duration::from_secs(3600);
    let builder = world.builder().readers(1).max_lifetime(lifetime).max_idle(lifetime);
    let store = builder.open(world.path()).unwrap();
    let set = |now: Duration| world.os.now_ms.store(now.as_millis() as u64, SeqCst);
    let year = Duration::from_secs(365 * 86400);
    let times = [year, Duration::ZERO, year * 500, year, Duration::from_millis(u64::MAX), Duration::ZERO];
    for (x, now) in (1..).zip(times) {
        store.write(|tx| insert(tx, x).map(|()| set(now))).unwrap();
        assert_eq!(store.read(rows).unwrap(), (1..=x).collect::<Vec<_>>());
        store.read(|_| Err::<(), _>(sqlite_failure(266))).unwrap_err();
        store.write(|tx| Err::<(), _>(connection_failure(tx, 13))).unwrap_err();
        set(now.saturating_add(Duration::from_secs(60)));
        store.maintain();
        assert_eq!(store.health().borrowers, []);
        while let Err(error) = store.write(|_| Ok(())) {
            assert!(error.is_disk_full() || error.is_breaker_open(), "{error}");
            world.os.advance(error.retry_after().unwrap() + Duration::from_millis(1));
        }
    }
    drop(store);
    world.check_rows(&[1, 2, 3, 4, 5, 6]);
}

#[test]
fn a_callback_that_panics_affects_its_own_caller_only() {
    let world = World::new();
    let panics = Arc::new(AtomicU32::new(0));
    let switch = Arc::clone(&panics);
    let on_connect = move |_: &Connection| {
        assert_eq!(switch.load(SeqCst), 0, "in on_connect");
        Ok(())
    };
    let builder = world.builder().readers(1).on_connect(on_connect).events(Arc::new(|_| panic!("in the sink")));
    let store = builder.open(world.path()).unwrap();
    store.write(|tx| insert(tx, 1)).unwrap();
    let check = |call: &dyn Fn()| {
        assert!(catch_unwind(AssertUnwindSafe(call)).is_err());
        assert_eq!(store.read(rows).unwrap(), [1]);
        assert_eq!((store.health().state, store.health().borrowers), (HealthState::Healthy, vec![]));
    };
    check(&|| store.write(|tx| insert(tx, 2).map(|()| panic!("in write"))).unwrap());
    check(&|| store.read(|_| -> rusqlite::Result<()> { panic!("in read") }).unwrap());
    check(&|| store.with_connection(|conn| insert(conn, 1).map_err(|error| panic!("{error}"))).unwrap());
    check(&|| {
        // Both connections go, and the next ones cannot be set up.
        store.with_connection(|conn| conn.execute_batch("PRAGMA read_uncommitted = ON")).unwrap();
        panics.store(1, SeqCst);
        let read = catch_unwind(AssertUnwindSafe(|| store.read(rows)));
        panics.store(0, SeqCst);
        read.unwrap().unwrap();
    });
    drop(store);
    world.check_rows(&[1]);
}

#[test]
fn a_connection_that_cannot_be_set_up_again_is_not_reused() {
    let world = World::new();
    let panics = Arc::new(AtomicU32::new(0));
    let switch = Arc::clone(&panics);
    let on_connect = move |_: &Connection| {
        assert_eq!(switch.load(SeqCst), 0, "in on_connect");
        Ok(())
    };
    let store = world.builder().on_connect(on_connect).open(world.path()).unwrap();
    panics.store(1, SeqCst);
    let change = |conn: &mut Connection| insert(conn, 1).and(conn.execute_batch("PRAGMA foreign_keys = OFF"));
    store.with_connection(change).expect("the borrower is not concerned");
    panics.store(0, SeqCst);
    assert_eq!(store.with_connection(|conn| pragma(conn, "foreign_keys")).unwrap(), "1");
    assert_eq!((store.health().opens, store.health().discards), (2, 1));
    drop(store);
    world.check_rows(&[1]);
}

#[test]
fn a_reader_that_cannot_be_set_up_releases_its_lease() {
    let world = World::new();
    let panics = Arc::new(AtomicU32::new(0));
    let switch = Arc::clone(&panics);
    let on_connect = move |_: &Connection| {
        assert_eq!(switch.load(SeqCst), 0, "in on_connect");
        Ok(())
    };
    let store = world.builder().readers(1).on_connect(on_connect).open(world.path()).unwrap();
    panics.store(1, SeqCst);
    assert!(catch_unwind(AssertUnwindSafe(|| store.read(rows))).is_err());
    panics.store(0, SeqCst);
    assert_eq!(store.read(rows).unwrap(), [0; 0]);
    assert_eq!(store.health().readers_open, 1);
}
