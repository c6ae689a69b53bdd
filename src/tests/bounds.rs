//! Everything is bounded: retired connections, the log, open databases, subscribers.

use super::processes::{Player, play, wait_for_word};
use super::*;
use crate::health::HealthState;
use crate::{CheckpointMode, Synchronous};
use std::fs;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

/// A size of a test, which may be set to measure with another one.
fn size(name: &str, default: i64) -> i64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap())
}

/// The descriptors of this process that lead into a directory.
fn descriptors(directory: &Path) -> usize {
    let entries = fs::read_dir("/proc/self/fd").unwrap();
    let targets = entries.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
    targets.filter(|target| target.starts_with(directory)).count()
}

/// The resident memory of this process.
fn memory() -> u64 {
    let pages = fs::read_to_string("/proc/self/statm").unwrap();
    pages.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
}

#[test]
fn writers_that_are_replaced_beside_a_reader_are_closed() {
    let world = World::new();
    let store = world.builder().readers(1).synchronous(Synchronous::Normal).open(world.path()).unwrap();
    let count = size("SEAWALL_TEST_CLOSURES", 400);
    let other = world.dir.path().join("other.db");
    let attach = format!("ATTACH '{}' AS other; CREATE TABLE IF NOT EXISTS other.t (x)", other.display());
    let closures = [attach.as_str(), "CREATE TEMP TABLE u (x)", "VACUUM", "PRAGMA case_sensitive_like = 1"];
    store
        .read(|_| {
            for (closure, x) in closures.iter().cycle().zip(0..count) {
                store.with_connection(|conn| insert(conn, x).and_then(|()| conn.execute_batch(closure))).unwrap();
                // A failure of the files discards a connection, too.
                store.with_connection(|_| Err::<(), _>(sqlite_failure(266))).unwrap_err();
            }
            let open = descriptors(world.dir.path());
            println!("{open} descriptors, {} bytes of memory", memory());
            assert!(open <= 12, "{open} descriptors");
            Ok(())
        })
        .unwrap();
    assert_eq!(store.read(rows).unwrap().len() as i64, count);
    store.write(|tx| insert(tx, -1)).unwrap();
    assert!(descriptors(world.dir.path()) <= 6);
    drop(store);
    assert!(!world.side_file("-wal").exists(), "the last close has checkpointed");
    world.check_rows(&(-1..count).collect::<Vec<i64>>());
}

/// Overlapping reads beside a writer, for this long. Returns the largest log, how much was written, and the longest
/// write.
fn read_and_write(world: &World, store: &Store, time: Duration) -> (u64, u64, Duration) {
    store.with_connection(|conn| conn.execute_batch("CREATE TABLE b (id INTEGER PRIMARY KEY, x)")).unwrap();
    let (is_over, log) = (AtomicBool::new(false), world.side_file("-wal"));
    let (mut log_max, mut written, mut longest) = (0, 0, Duration::ZERO);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !is_over.load(SeqCst) {
                    let read = store.read(|conn| {
                        let count: i64 = conn.query_row("SELECT count(*) FROM b", [], |row| row.get(0))?;
                        std::thread::sleep(Duration::from_millis(3));
                        Ok(count)
                    });
                    read.unwrap();
                }
            });
        }
        let start = Instant::now();
        while start.elapsed() < time {
            let begun = Instant::now();
            // The same few rows, so that the database stays small.
            let sql = "INSERT OR REPLACE INTO b VALUES (?1, randomblob(20000))";
            store.write(|tx| tx.execute(sql, [i64::try_from(written / 20_000 % 50).unwrap()])).unwrap();
            written += 20_000;
            longest = longest.max(begun.elapsed());
            log_max = log_max.max(fs::metadata(&log).unwrap().len());
        }
        is_over.store(true, SeqCst);
    });
    (log_max, written, longest)
}

#[test]
fn overlapping_reads_do_not_let_the_log_grow() {
    const LIMIT: u64 = 1 << 20;
    let world = World::new();
    let builder = world.builder().os(Arc::new(SystemOs::new())).readers(4).synchronous(Synchronous::Normal);
    let store = builder.wal_limit(LIMIT).busy_timeout(Duration::from_secs(5)).open(world.path()).unwrap();
    let seconds = size("SEAWALL_TEST_SECONDS", 2).unsigned_abs();
    let (log_max, written, longest) = read_and_write(&world, &store, Duration::from_secs(seconds));
    println!("log {log_max}, written {written}, the longest write {longest:?}");
    assert!(written > 3 * LIMIT, "{written}");
    // On an idle machine it is hardly more than the limit. Without one it is all that was written.
    assert!(log_max < LIMIT + written / 4, "{log_max} bytes after {written}");
    assert!(longest < Duration::from_secs(3), "{longest:?}");
    assert_eq!(store.health().state, HealthState::Healthy);
    assert_eq!(world.events().iter().filter(|event| matches!(event, EventKind::LogOverLimit { .. })).count(), 0);
    let begun = Instant::now();
    store.checkpoint(CheckpointMode::Truncate).unwrap();
    assert!(begun.elapsed() < Duration::from_secs(1));
}

/// Holds a snapshot, until it is told to end.
pub(super) fn hold_a_snapshot(path: &Path) {
    let conn = Connection::open(path).unwrap();
    conn.execute_batch("BEGIN; SELECT count(*) FROM t").unwrap();
    assert!(rows(&conn).unwrap().is_empty());
    wait_for_word();
}

fn fill_log(store: &Store, x: i64) {
    store.write(|tx| tx.execute("INSERT INTO b VALUES (?1, randomblob(20000))", [x])).unwrap();
}

#[test]
fn a_long_read_that_keeps_the_log_is_told_once_and_shows_in_health() {
    let world = World::new();
    let store = world.builder().readers(2).wal_limit(100_000).open(world.path()).unwrap();
    let told = |world: &World| -> Vec<EventKind> {
        world.events().into_iter().filter(|event| matches!(event, EventKind::LogOverLimit { .. })).collect()
    };
    store.with_connection(|conn| conn.execute_batch("CREATE TABLE b (id INTEGER PRIMARY KEY, x)")).unwrap();
    // Of another process.
    let reader = Player::start("hold a snapshot", &world.path());
    (0..20).for_each(|x| fill_log(&store, x));
    assert_eq!((store.health().state, told(&world).len()), (HealthState::Healthy, 0), "it may be a slow moment");
    world.os.advance(Duration::from_millis(100));
    (0..20).for_each(|x| fill_log(&store, 100 + x));
    world.os.advance(Duration::from_secs(1));
    (0..20).for_each(|x| fill_log(&store, 200 + x));
    let [EventKind::LogOverLimit { bytes, borrower: None, pids }] = &told(&world)[..] else { panic!("told once") };
    assert!(*bytes > 100_000);
    assert_eq!(pids, &[reader.id()]);
    let health = store.health();
    assert_eq!((health.state, health.is_log_over_limit), (HealthState::LogOverLimit, true));
    reader.kill();
    world.os.advance(Duration::from_secs(1));
    (20..25).for_each(|x| fill_log(&store, x));
    assert_eq!((store.health().state, told(&world).len()), (HealthState::Healthy, 0));
    assert!(store.health().wal.unwrap().bytes <= 200_000, "the limit, and four writes");

    // Of this store: writers wait for it for a moment, once in a while.
    let before = world.os.now();
    let fill = |store: &Store| {
        (300..320).for_each(|x| fill_log(store, x));
        world.os.advance(Duration::from_millis(100));
        (320..340).for_each(|x| fill_log(store, x));
    };
    let fill_beside = |_: &Connection| {
        std::thread::scope(|scope| scope.spawn(|| fill(&store)).join().unwrap());
        Ok(())
    };
    store.read(fill_beside).unwrap();
    assert!(world.os.now() - before < Duration::from_millis(500), "{:?}", world.os.now() - before);
    let [EventKind::LogOverLimit { borrower: Some(borrower), .. }] = &told(&world)[..] else { panic!("told once") };
    assert!(borrower.to_string().contains("bounds.rs"), "{borrower}");
    assert_eq!(store.health().state, HealthState::LogOverLimit);
    world.os.advance(Duration::from_secs(1));
    store.maintain();
    assert_eq!(store.health().state, HealthState::Healthy);
    drop(store);
}

#[test]
fn without_a_limit_the_log_is_left_to_sqlite() {
    let world = World::new();
    let store = world.builder().readers(1).wal_limit(None).open(world.path()).unwrap();
    store.with_connection(|conn| conn.execute_batch("CREATE TABLE b (id INTEGER PRIMARY KEY, x)")).unwrap();
    (0..20).for_each(|x| fill_log(&store, x));
    assert!(store.health().wal.unwrap().bytes > 400_000);
}

fn tenant(world: &World, number: usize) -> PathBuf {
    world.dir.path().join(format!("tenant-{number}.db"))
}

#[test]
fn a_cache_closes_what_was_not_used_for_longest_and_loses_nothing() {
    let world = World::new();
    let cache = world.builder().readers(1).databases_max(4).build();
    let is_open = |number| cache.health(tenant(&world, number)).state == HealthState::Healthy;
    let handle = world.builder().readers(1).open(tenant(&world, 100));
    drop(handle);
    for round in 0..3 {
        for number in 0..20 {
            // The first one is used all the time.
            for number in [0, number] {
                cache.read(tenant(&world, number), |_| Ok(())).unwrap();
            }
            cache.write(tenant(&world, number), |tx| insert(tx, round)).unwrap();
            assert!(descriptors(world.dir.path()) <= 4 * 7);
        }
        assert!(is_open(0) && is_open(19) && !is_open(10));
    }
    assert_eq!((0..20).filter(|number| is_open(*number)).count(), 4);
    assert_eq!(world.inits.load(SeqCst), 21, "once for each, and not again after it was closed");
    for number in 0..20 {
        assert_eq!(cache.read(tenant(&world, number), rows).unwrap(), [0, 1, 2]);
    }
    cache.close_all().unwrap();
    (0..20).for_each(|number| check_rows(&tenant(&world, number), &[0, 1, 2]));
}

#[test]
fn a_database_in_use_stays_open() {
    let world = World::new();
    let registry = Registry::new();
    let cache = world.builder().registry(Arc::clone(&registry)).databases_max(1).build();
    cache
        .write(tenant(&world, 0), |tx| {
            insert(tx, 1)?;
            for number in 1..10 {
                cache.write(tenant(&world, number), |tx| insert(tx, 1)).unwrap();
            }
            insert(tx, 2)
        })
        .unwrap();
    assert_eq!(cache.health(tenant(&world, 0)).opens, 1);
    // Another cache under the same registry and settings shares the database, and has it in use.
    let open = (0..10).filter(|number| cache.health(tenant(&world, *number)).state == HealthState::Healthy).count();
    assert!(open <= 2, "{open}");
    cache.write(tenant(&world, 3), |tx| insert(tx, 2)).unwrap();
    assert_eq!(cache.read(tenant(&world, 0), rows).unwrap(), [1, 2]);
}

#[test]
fn an_idle_database_of_a_cache_is_closed_with_its_writer() {
    let world = World::new();
    let cache = world.builder().readers(1).max_idle(Duration::from_secs(60)).build();
    cache.write(tenant(&world, 0), |tx| insert(tx, 1)).unwrap();
    cache.read(tenant(&world, 0), rows).unwrap();
    cache.maintain();
    assert_eq!(cache.health(tenant(&world, 0)).state, HealthState::Healthy);
    world.os.advance(Duration::from_secs(50));
    cache.write(tenant(&world, 1), |tx| insert(tx, 1)).unwrap();
    world.os.advance(Duration::from_secs(20));
    cache.maintain();
    let states = [0, 1].map(|number| cache.health(tenant(&world, number)).state);
    assert_eq!(states, [HealthState::Unopened, HealthState::Healthy]);
    assert_eq!(cache.read(tenant(&world, 0), rows).unwrap(), [1]);
}

/// With few descriptors.
pub(super) fn serve_many_tenants(path: &Path) {
    let tenants = size("SEAWALL_TEST_TENANTS", 200);
    let directory = path.parent().unwrap();
    let builder = Cache::builder().registry(Registry::new()).synchronous(Synchronous::Normal);
    let cache = builder.init(|conn| conn.execute_batch(SCHEMA)).build();
    let path = |number: i64| directory.join(format!("tenant-{number}.db"));
    for round in 0..2 {
        std::thread::scope(|scope| {
            for part in 0..4 {
                let (cache, path) = (&cache, &path);
                scope.spawn(move || {
                    for number in (part..tenants).step_by(4) {
                        cache.write(path(number), |tx| insert(tx, round)).unwrap_or_else(|error| panic!("{error}"));
                    }
                });
            }
        });
    }
    println!("{} descriptors", fs::read_dir("/proc/self/fd").unwrap().count());
    for number in (0..tenants).rev() {
        assert_eq!(cache.read(path(number), rows).unwrap(), [0, 1]);
    }
}

#[test]
fn many_tenants_are_served_with_few_descriptors() {
    let world = World::new();
    println!("{}", play("serve many tenants", &world.path(), "ulimit -n ${SEAWALL_TEST_DESCRIPTORS:-100}"));
}

#[test]
fn a_channel_ends_with_its_store() {
    let world = World::new();
    let store = world.store();
    let (first, second) = (store.subscribe(4), store.subscribe(4));
    drop(first);
    store.set_breaker_mode(crate::BreakerMode::MetricsOnly);
    drop(store);
    assert!(matches!(second.recv().unwrap().kind, EventKind::BreakerModeChanged { .. }));
    assert!(second.recv().is_err());
}
