//! First connects: exactly one open and one init under any race, in one process and between several.

use super::*;
use std::sync::Barrier;
use std::sync::atomic::AtomicBool;

#[test]
fn threads_racing_on_a_cold_path_open_and_init_once() {
    const THREADS: i64 = 16;
    for _ in 0..10 {
        let world = World::new();
        let (cache, path, barrier) = (world.cache(), world.path(), Barrier::new(THREADS as usize));
        std::thread::scope(|scope| {
            for x in 0..THREADS {
                let (cache, path, barrier) = (&cache, &path, &barrier);
                scope.spawn(move || {
                    barrier.wait();
                    cache.write(path, |tx| insert(tx, x)).unwrap();
                });
            }
        });
        let health = cache.health(&path);
        assert_eq!(world.inits.load(SeqCst), 1);
        assert_eq!((health.opens, health.inits), (1, 1));
        assert_eq!(cache.read(&path, rows).unwrap(), (0..THREADS).collect::<Vec<_>>());
        assert_eq!(world.events(), [EventKind::Opened, EventKind::InitCompleted]);
    }
}

#[test]
fn an_init_that_fails_runs_again_and_one_that_succeeded_does_not() {
    let world = World::new();
    let (runs, fails) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicBool::new(true)));
    let (counter, switch) = (Arc::clone(&runs), Arc::clone(&fails));
    let cache = world
        .builder()
        .init(move |conn| {
            counter.fetch_add(1, SeqCst);
            if switch.load(SeqCst) { Err(sqlite_failure(1)) } else { conn.execute_batch(SCHEMA) }
        })
        .build();

    let error = cache.read(world.path(), rows).unwrap_err();
    assert_eq!((error.operation(), error.extended_code()), (crate::Operation::Init, Some(1)));
    assert!(cache.read(world.path(), rows).is_err());
    fails.store(false, SeqCst);
    cache.read(world.path(), rows).unwrap();
    cache.close(world.path()).unwrap();
    cache.read(world.path(), rows).unwrap();
    assert_eq!(runs.load(SeqCst), 3);
}

#[test]
fn an_init_that_leaves_its_transaction_open_has_not_succeeded() {
    let world = World::new();
    let cache = world.builder().init(|conn| conn.execute_batch("BEGIN; CREATE TABLE t (x)")).build();
    assert_eq!(cache.read(world.path(), rows).unwrap_err().operation(), crate::Operation::Init);
    assert_eq!(cache.health(world.path()).inits, 0);
}

#[test]
fn a_panic_in_init_leaves_the_next_caller_a_fresh_start() {
    let world = World::new();
    let panics = Arc::new(AtomicBool::new(true));
    let switch = Arc::clone(&panics);
    let init = move |conn: &mut Connection| {
        assert!(!switch.load(SeqCst), "as planned");
        conn.execute_batch(SCHEMA)
    };
    let cache = world.builder().init(init).build();
    let call = || cache.read(world.path(), rows);
    assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(call)).is_err());
    panics.store(false, SeqCst);
    assert_eq!(call().unwrap(), [0; 0]);
}

#[test]
fn the_first_connect_waits_for_other_processes_but_not_for_ever() {
    let world = World::new();
    let held = world.os.try_lock_file(&world.side_file(".init.lock"), &world.path()).unwrap().unwrap();
    let cache = world.builder().first_connect_wait(Duration::from_secs(10)).build();

    let error = cache.read(world.path(), rows).unwrap_err();
    assert!(error.is_busy() && error.is_transient());
    assert!(error.to_string().contains("x.db.init.lock for 10"), "{error}");
    assert_eq!(world.os.now(), Duration::from_secs(10));
    assert_eq!(cache.health(world.path()).breaker_failures, 0);
    assert!(!world.path().exists(), "never proceeds unlocked");

    drop(held);
    cache.read(world.path(), rows).unwrap();
}

#[test]
fn the_lock_is_held_while_connecting_only_and_reopening_does_without() {
    let world = World::new();
    let cache = world.cache();
    cache.read(world.path(), rows).unwrap();
    let held = world.os.try_lock_file(&world.side_file(".init.lock"), &world.path()).unwrap();
    assert!(held.is_some());
    cache.close(world.path()).unwrap();
    cache.read(world.path(), rows).unwrap();
}

#[test]
fn a_connection_is_set_up_before_any_caller_gets_it() {
    let world = World::new();
    // Not in WAL mode yet, as an older program may have left it.
    Connection::open(world.path()).unwrap().execute_batch("CREATE TABLE old (x)").unwrap();
    let cache = world.builder().busy_timeout(Duration::from_millis(1234)).build();
    let pragma = |name: &str| -> String {
        let sql = format!("SELECT CAST((SELECT * FROM pragma_{name}) AS TEXT)");
        cache.read(world.path(), |conn| conn.query_row(&sql, [], |row| row.get(0))).unwrap()
    };
    assert_eq!(pragma("journal_mode"), "wal");
    assert_eq!(pragma("busy_timeout"), "1234");
    assert_eq!(pragma("foreign_keys"), "1");
    assert_eq!(pragma("synchronous"), "2");
    assert_eq!(cache.health(world.path()).journal_mode.as_deref(), Some("wal"));
}
