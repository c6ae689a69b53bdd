//! Every knob of the builder, seen from outside.

use super::*;
use crate::{JournalMode, Synchronous};
use rusqlite::StatementStatus;

fn of_store(builder: Builder, world: &World, name: &str) -> String {
    builder.open(world.path()).unwrap().with_connection(|conn| pragma(conn, name)).unwrap()
}

#[test]
fn synchronous_and_busy_timeout_are_those_asked_for() {
    let world = World::new();
    for (knob, value) in [(Synchronous::Normal, "1"), (Synchronous::Full, "2"), (Synchronous::Extra, "3")] {
        assert_eq!(of_store(world.builder().synchronous(knob), &world, "synchronous"), value);
    }
    let millis = Duration::from_millis;
    for (knob, value) in [(millis(0), "0"), (millis(1234), "1234"), (Duration::MAX, "2147483647")] {
        assert_eq!(of_store(world.builder().busy_timeout(knob), &world, "busy_timeout"), value);
    }
    assert_eq!(of_store(Store::builder().registry(Registry::new()), &world, "busy_timeout"), "5000", "the default");
    assert_eq!(of_store(Store::builder().registry(Registry::new()), &world, "synchronous"), "2", "the default");
}

#[test]
fn a_vfs_is_chosen_by_its_name() {
    let world = World::new();
    let store = world.builder().vfs("unix-dotfile").open(world.path()).unwrap();
    let has_lock = || world.side_file(".lock").exists();
    assert!(store.write(|tx| insert(tx, 1).map(|()| has_lock())).unwrap(), "that is how this VFS locks");
    drop(store);
    let error = world.builder().vfs("no such vfs").open(world.path()).unwrap_err();
    assert!(error.to_string().contains("no such vfs: no such vfs"), "{error}");
    world.check_rows(&[1]);
}

#[test]
fn without_shared_memory_there_is_no_wal_which_is_reported_or_refused() {
    let world = World::new();
    let store = world.builder().vfs("unix-dotfile").readers(2).open(world.path()).unwrap();
    assert_eq!(world.events()[0], EventKind::Opened);
    store.write(|tx| insert(tx, 1)).unwrap();
    assert_eq!(store.read(rows).unwrap(), [1]);
    let health = store.health();
    assert_eq!((health.journal_mode.as_deref(), health.journal_mode_configured), (Some("delete"), JournalMode::Wal));
    assert_eq!((health.wal, health.readers_open), (None, 0), "readers would only get in each other's way");
    drop(store);

    let error = world.builder().vfs("unix-dotfile").journal_mode(JournalMode::RequireWal).open(world.path());
    let error = error.unwrap_err();
    assert!(error.to_string().contains("SQLite refused WAL; the journal mode is delete; see what keeps"), "{error}");
    assert!(!error.is_transient());
    world.check_rows(&[1]);
}

#[test]
fn a_refused_wal_is_an_event() {
    let world = World::new();
    let _store = world.builder().vfs("unix-dotfile").open(world.path()).unwrap();
    assert!(world.events().contains(&EventKind::JournalModeRefused { effective: "delete".to_owned() }));
}

#[test]
fn the_journal_mode_is_left_alone_if_it_is_to_be_kept() {
    let world = World::new();
    let keep = || world.builder().journal_mode(JournalMode::Keep);
    assert_eq!(of_store(keep(), &world, "journal_mode"), "delete");
    assert_eq!(of_store(world.builder(), &world, "journal_mode"), "wal");
    assert_eq!(of_store(keep(), &world, "journal_mode"), "wal", "never switched off");
    assert_eq!(of_store(world.builder().journal_mode(JournalMode::RequireWal), &world, "journal_mode"), "wal");
}

#[test]
fn statements_are_kept_as_many_as_asked_for() {
    let world = World::new();
    for (statements, runs) in [(0, 1), (8, 2)] {
        let store = world.builder().statement_cache(statements).open(world.path()).unwrap();
        let run = |conn: &mut Connection| {
            let mut statement = conn.prepare_cached("SELECT 1")?;
            statement.query_row([], |_| Ok(()))?;
            Ok(statement.get_status(StatementStatus::Run))
        };
        store.with_connection(run).unwrap();
        assert_eq!(store.with_connection(run).unwrap(), runs, "with room for {statements}");
    }
}

#[test]
fn a_store_that_only_reads_creates_and_changes_nothing() {
    let world = World::new();
    let read_only = || world.builder().flags(OpenFlags::SQLITE_OPEN_READ_ONLY);
    let error = read_only().open(world.path()).unwrap_err();
    assert_eq!((error.extended_code(), error.errno()), (Some(14), Some(libc::ENOENT)), "{error}");
    assert!(!world.path().exists() && !world.side_file(".init.lock").exists());

    Connection::open(world.path()).unwrap().execute_batch(&format!("{SCHEMA}; INSERT INTO t VALUES (1)")).unwrap();
    let store = read_only().open(world.path()).unwrap();
    assert_eq!(store.read(rows).unwrap(), [1]);
    let error = store.write(|tx| insert(tx, 2)).unwrap_err();
    assert_eq!(error.extended_code(), Some(8), "{error}");
    assert!(!error.outcome_unknown() && !error.is_transient(), "{error}");
    assert_eq!(store.read(rows).unwrap(), [1]);
    assert_eq!(world.inits.load(SeqCst), 0);
    assert!(!world.side_file(".init.lock").exists());
    assert_eq!(store.with_connection(|conn| pragma(conn, "journal_mode")).unwrap(), "delete");
    world.check_rows(&[1]);
}

#[test]
fn without_the_create_flag_nothing_is_created() {
    let world = World::new();
    let open = |path: PathBuf| world.builder().flags(OpenFlags::SQLITE_OPEN_READ_WRITE).open(path).unwrap_err();
    let error = open(world.path());
    assert_eq!((error.extended_code(), error.operation()), (Some(14), crate::Operation::Open), "{error}");
    let error = open(world.dir.path().join("missing/x.db"));
    assert_eq!((error.errno(), error.operation()), (Some(libc::ENOENT), crate::Operation::Resolve), "{error}");
    assert!(!world.path().exists() && !world.dir.path().join("missing").exists());
}

#[test]
fn each_connection_is_set_up_by_on_connect_readers_included() {
    let world = World::new();
    let count = Arc::new(AtomicU32::new(0));
    let counter = Arc::clone(&count);
    let on_connect = move |conn: &Connection| {
        counter.fetch_add(1, SeqCst);
        conn.execute_batch("CREATE TEMP TABLE mine (x)")
    };
    let store = world.builder().readers(1).on_connect(on_connect).open(world.path()).unwrap();
    let mine = |conn: &Connection| conn.query_row("SELECT count(*) FROM mine", [], |row| row.get::<_, i64>(0));
    assert_eq!(store.write(|tx| mine(tx)).unwrap(), 0);
    assert_eq!(store.read(mine).unwrap(), 0);
    assert_eq!((count.load(SeqCst), store.health().opens), (2, 2));
}

#[test]
fn the_lock_of_the_first_connect_is_a_side_file_or_is_not_at_all() {
    let world = World::new();
    drop(world.builder().first_connect_wait(None).open(world.path()).unwrap());
    assert!(!world.side_file(".init.lock").exists());
    drop(world.store());
    assert!(world.side_file(".init.lock").exists());
}

#[test]
fn the_breaker_follows_its_policy() {
    let world = World::new();
    let breaker = crate::BreakerPolicy { failures_max: 1, cooldown: Duration::from_secs(77), ..Default::default() };
    let store = world.builder().breaker(breaker).open(world.path()).unwrap();
    store.read(|_| Err::<(), _>(sqlite_failure(266))).unwrap_err();
    world.unreachable(|| store.read(rows)).unwrap_err();
    assert_eq!(store.read(rows).unwrap_err().retry_after(), Some(Duration::from_secs(77)));
    store.set_breaker_mode(crate::BreakerMode::Disabled);
    assert_eq!(store.read(rows).unwrap(), [0; 0]);
}

#[test]
fn the_shared_mode_is_probed_as_often_as_asked_for() {
    let world = World::new();
    std::os::unix::fs::symlink(world.dir.path().join("nowhere/shm"), world.side_file("-shm")).unwrap();
    let store = world.builder().shared_mode_probe_interval(Duration::from_secs(60)).open(world.path()).unwrap();
    std::fs::remove_file(world.side_file("-shm")).unwrap();
    let state_after = |secs| {
        world.os.advance(Duration::from_secs(secs));
        store.read(rows).unwrap();
        store.health().state
    };
    assert_eq!(state_after(59), crate::health::HealthState::Degraded);
    assert_eq!(state_after(1), crate::health::HealthState::Healthy);
}

#[test]
fn without_a_word_about_it_the_registry_is_the_processs_own() {
    let world = World::new();
    let (store, other) = (Store::open(world.path()).unwrap(), Store::open(world.dir.path().join("./x.db")).unwrap());
    store.write(|tx| tx.execute_batch(SCHEMA).and(insert(tx, 1))).unwrap();
    assert_eq!((other.read(rows).unwrap(), other.health().opens), (vec![1], 1));
    let apart = Store::builder().registry(Registry::new()).open(world.path()).unwrap();
    assert_eq!((apart.read(rows).unwrap(), apart.health().opens, other.health().opens), (vec![1], 1, 1));
}
