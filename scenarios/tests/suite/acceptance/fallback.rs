//! Where the wal-index fails for good, `seawall` reads every committed row and commits, says that it is degraded, and
//! goes back when it can.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rusqlite::Connection;
use seawall::HealthState;
use seawall::{Cache, Health};
use seawall_harness::board::{Board, Mode};
use seawall_harness::clock::Clock;
use seawall_harness::codes::ResultCode;
use seawall_harness::fault::Plan;
use seawall_harness::seed::Seed;
use seawall_harness::trace;
use seawall_harness::vfs::Registration;
use seawall_harness::vfs::api::SqliteApi;
use seawall_harness::vfs::call::Method;
use seawall_harness::vfs::lab::Lab;
use seawall_lab::clocked_os::ClockedOs;
use tempfile::TempDir;

const ROWS: i64 = 100;

/// A database whose committed rows are all in its `-wal`, as a crash leaves it behind.
fn crashed(dir: &TempDir) -> PathBuf {
    let (origin, path) = (dir.path().join("origin.db"), dir.path().join("app.db"));
    let connection = Connection::open(&origin).unwrap();
    connection.execute_batch("PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0").unwrap();
    connection.execute_batch("CREATE TABLE t (x INTEGER PRIMARY KEY)").unwrap();
    (0..ROWS).for_each(|x| insert(&connection, x).unwrap());
    std::fs::copy(&origin, &path).unwrap();
    std::fs::copy(dir.path().join("origin.db-wal"), dir.path().join("app.db-wal")).unwrap();
    path
}

fn insert(connection: &Connection, x: i64) -> rusqlite::Result<()> {
    connection.execute("INSERT INTO t VALUES (?1)", [x]).map(drop)
}

fn rows(connection: &Connection) -> rusqlite::Result<Vec<i64>> {
    connection.prepare("SELECT x FROM t ORDER BY x")?.query_map([], |row| row.get(0))?.collect()
}

fn code(health: &Health) -> Option<ResultCode> {
    health.degraded_reason.map(|reason| ResultCode(reason.code))
}

#[track_caller]
fn check(name: &str) {
    let dir = tempfile::tempdir().unwrap();
    let path = crashed(&dir);
    let board = Arc::new(Board::private(1 << 14));
    let clock = Clock::new(Arc::clone(&board));
    clock.set_scale(0);
    let plan = Plan::new(vec![format!("shmmap@shm:error={name}").parse().unwrap()], Seed(0)).unwrap();
    let lab = Lab::new(Arc::clone(&board), plan).with_clock(clock.clone());
    let shim = Registration::new(SqliteApi::linked(), &format!("fallback-{name}"), None, false, lab).unwrap();
    let os = ClockedOs::new(clock.clone(), 1).with_lock_patience(Duration::from_millis(200));
    let cache = Cache::builder().vfs(shim.name()).os(Arc::new(os)).build();
    let (healthy, degraded) = (HealthState::Healthy, HealthState::Degraded);

    board.set_mode(Mode::ARMED.and(Mode::TRACE));
    assert_eq!(cache.with_connection(&path, |connection| rows(connection)).unwrap(), (0..ROWS).collect::<Vec<_>>());
    cache.with_connection(&path, |connection| insert(connection, ROWS)).unwrap();
    let health = cache.health(&path);
    assert_eq!((health.state, code(&health)), (degraded, Some(name.parse().unwrap())), "{name}");
    assert_eq!(health.breaker_failures, 0, "{name}: it serves");

    clock.advance(Duration::from_secs(5));
    cache.with_connection(&path, |connection| insert(connection, ROWS + 1)).unwrap();
    assert_eq!(cache.health(&path).state, degraded, "{name}: probing does not help as long as it fails");

    board.set_mode(Mode::TRACE);
    cache.with_connection(&path, |connection| insert(connection, ROWS + 2)).unwrap();
    assert_eq!(cache.health(&path).state, degraded, "{name}: not probed before its time");
    clock.advance(Duration::from_secs(5));
    assert_eq!(cache.with_connection(&path, |connection| rows(connection)).unwrap().len() as i64, ROWS + 3);
    let health = cache.health(&path);
    assert_eq!((health.state, code(&health)), (healthy, None), "{name}");

    cache.close_all().unwrap();
    assert_eq!(shim.lab().open_files().len(), 0, "{name}");
    let mapped = trace::read(&board).iter().filter(|entry| entry.call.method == Method::ShmMap).count();
    assert!(mapped > 0 && board.rule(0).fired() > 0, "{name}: the shim was in the way");
    drop(cache);
    let fresh = Connection::open(&path).unwrap();
    assert_eq!(rows(&fresh).unwrap().len() as i64, ROWS + 3, "{name}");
}

#[test]
fn committed_rows_are_read_and_written_where_the_wal_index_fails_for_good() {
    check("IOERR_SHMMAP");
    check("IOERR_SHMSIZE");
    check("IOERR_SHMOPEN");
}

#[test]
fn a_directory_in_the_place_of_the_database_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let error = Cache::builder().build().with_connection(dir.path(), |_| Ok(())).unwrap_err().to_string();
    let path = dir.path().canonicalize().unwrap();
    assert!(error.contains(path.to_str().unwrap()) && error.contains("a directory"), "{error}");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "nothing was made in it");
}
