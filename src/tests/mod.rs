//! Tests of the whole layer, on real files, with a clock that only moves when it is told to.

#[cfg(feature = "tokio")]
mod asynchronous;
mod attribution;
mod bad_input;
mod borrow;
mod bounds;
mod checkpoints;
mod clock;
mod cold_start;
mod damage;
mod degraded;
mod disk_full;
mod health;
mod hygiene;
mod keeper;
mod knobs;
#[cfg(feature = "prometheus")]
mod metrics;
mod migrations;
mod orphans;
mod outage;
mod outsiders;
mod paths;
mod processes;
mod quarantine;
mod rights;
mod store;
mod supervisor;
#[cfg(feature = "tracing")]
mod tracing;
mod truth;
mod worker;

use crate::{Builder, Cache, Event, EventKind, Os, Registry, Store, SystemOs};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::SeqCst};
use std::time::Duration;
use tempfile::TempDir;

const SCHEMA: &str = "CREATE TABLE IF NOT EXISTS t (x INTEGER PRIMARY KEY)";

/// A temporary directory with a database in it, a clock, and a list of the events so far.
struct World {
    dir: TempDir,
    os: Arc<FakeOs>,
    inits: Arc<AtomicU32>,
    events: Arc<parking_lot::Mutex<Vec<EventKind>>>,
}

impl World {
    fn new() -> World {
        World { dir: tempfile::tempdir().unwrap(), os: Arc::default(), inits: Arc::default(), events: Arc::default() }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("x.db")
    }

    fn side_file(&self, suffix: &str) -> PathBuf {
        self.dir.path().join(format!("x.db{suffix}"))
    }

    fn builder(&self) -> Builder {
        let (inits, events) = (Arc::clone(&self.inits), Arc::clone(&self.events));
        Cache::builder()
            .registry(Registry::new())
            .os(Arc::clone(&self.os) as Arc<dyn Os>)
            .busy_timeout(Duration::ZERO)
            .events(Arc::new(move |event: &Event| events.lock().push(event.kind.clone())))
            .init(move |conn| {
                inits.fetch_add(1, SeqCst);
                conn.execute_batch(SCHEMA)
            })
    }

    fn cache(&self) -> Cache {
        self.builder().build()
    }

    fn store(&self) -> Store {
        self.builder().open(self.path()).unwrap()
    }

    /// The content of the file, read by a connection outside this crate.
    #[track_caller]
    fn check_rows(&self, expected: &[i64]) {
        check_rows(&self.path(), expected);
    }

    /// Runs the calls while the directory of the database is somewhere else, as after a lost mount.
    fn unreachable<T>(&self, calls: impl FnOnce() -> T) -> T {
        let away = self.dir.path().with_extension("away");
        std::fs::rename(self.dir.path(), &away).unwrap();
        let result = calls();
        std::fs::rename(&away, self.dir.path()).unwrap();
        result
    }

    /// The events since the last look.
    fn events(&self) -> Vec<EventKind> {
        std::mem::take(&mut *self.events.lock())
    }
}

/// Real files; the clock and the process id are set by the test. Sleeping moves the clock.
struct FakeOs {
    system: SystemOs,
    now_ms: AtomicU64,
    pid: AtomicU32,
    /// Whether no file may be renamed.
    is_rename_refused: AtomicBool,
}

impl Default for FakeOs {
    fn default() -> FakeOs {
        FakeOs {
            system: SystemOs::new(),
            now_ms: AtomicU64::new(0),
            pid: AtomicU32::new(1),
            is_rename_refused: AtomicBool::new(false),
        }
    }
}

impl FakeOs {
    fn advance(&self, time: Duration) {
        self.now_ms.fetch_add(time.as_millis() as u64, SeqCst);
    }

    fn become_process(&self, pid: u32) {
        self.pid.store(pid, SeqCst);
    }
}

impl Os for FakeOs {
    fn base(&self) -> Option<&dyn Os> {
        Some(&self.system)
    }

    fn now(&self) -> Duration {
        Duration::from_millis(self.now_ms.load(SeqCst))
    }

    fn sleep(&self, pause: Duration) {
        self.advance(pause);
        std::thread::yield_now();
    }

    fn pid(&self) -> u32 {
        self.pid.load(SeqCst)
    }

    fn rename_new(&self, from: &Path, to: &Path) -> std::io::Result<()> {
        if self.is_rename_refused.load(SeqCst) {
            return Err(std::io::ErrorKind::PermissionDenied.into());
        }
        self.system.rename_new(from, to)
    }
}

fn insert(conn: &Connection, x: i64) -> rusqlite::Result<()> {
    conn.execute("INSERT INTO t VALUES (?1)", [x]).map(drop)
}

fn rows(conn: &Connection) -> rusqlite::Result<Vec<i64>> {
    conn.prepare("SELECT x FROM t ORDER BY x")?.query_map([], |row| row.get(0))?.collect()
}

/// The content of a database, read by a connection outside this crate; and its integrity.
#[track_caller]
fn check_rows(path: &Path, expected: &[i64]) {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE;
    let conn = Connection::open_with_flags(path, flags).unwrap();
    assert_eq!(rows(&conn).unwrap(), expected, "{}", path.display());
    let intact: String = conn.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(intact, "ok");
}

/// A pragma's value, as text.
fn pragma(conn: &Connection, name: &str) -> rusqlite::Result<String> {
    conn.query_row(&format!("PRAGMA {name}"), [], |row| {
        Ok(match row.get_ref(0)? {
            ValueRef::Integer(number) => number.to_string(),
            value => value.as_str()?.to_owned(),
        })
    })
}

/// An error that the connection reports, to be returned by a closure.
fn connection_failure(conn: &Connection, code: i32) -> rusqlite::Error {
    conn.set_errmsg(code, None).unwrap();
    sqlite_failure(code)
}

/// An error as SQLite would report it, to be returned by a closure. No connection knows of it.
fn sqlite_failure(code: i32) -> rusqlite::Error {
    rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(code), None)
}
