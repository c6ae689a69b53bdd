//! `openhuman`: a process-wide cache of connections with a circuit breaker and a cleanup of side files.
//!
//! From the field report:
//! - two maps by path, one of connections behind a mutex, one of breakers; a cached connection is never evicted;
//! - the breaker is asked before the cache; three failures trip it for 30 s; then *every* caller passes until one
//!   fails, and each failure re-arms it;
//! - where opening fails with 14, 1546 or 4874, `-shm` and then `-wal` are unlinked, without checking for live
//!   connections, and the open is retried once; only then a failure is counted.

use super::opening::{self, codes};
use super::{Context, Entry, Failure, Strategy, Work};
use rusqlite::Connection;
use seawall_harness::oracle::economy::Promise;
use seawall_harness::sched::sync::Mutex;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

pub(super) const ENTRY: Entry = Entry {
    name: "openhuman",
    summary: "caches a connection behind a breaker; unlinks -shm and -wal when an open fails with 14, 1546 or 4874",
    // Threads that start together may all open before one of them has filled the cache.
    promise: Some(Promise { opens_max: 4, schema_inits_max: 4 }),
    is_canary: false,
    is_layer: false,
    build: |context| Box::new(OpenHuman { context, connections: Mutex::default(), breakers: Mutex::default() }),
};

const FAILURES_MAX: u32 = 3;
const COOLDOWN: Duration = Duration::from_secs(30);

struct OpenHuman {
    context: Context,
    connections: Mutex<BTreeMap<PathBuf, Arc<Mutex<Connection>>>>,
    breakers: Mutex<BTreeMap<PathBuf, Breaker>>,
}

#[derive(Default)]
struct Breaker {
    failures: u32,
    tripped_at: Option<Duration>,
}

impl Breaker {
    fn is_open(&self, now: Duration) -> bool {
        self.tripped_at.is_some_and(|tripped_at| now.saturating_sub(tripped_at) < COOLDOWN)
    }

    fn failed(&mut self, now: Duration) {
        self.failures += 1;
        if self.failures >= FAILURES_MAX {
            self.tripped_at = Some(now);
        }
    }
}

impl OpenHuman {
    fn connection(&self) -> Result<Arc<Mutex<Connection>>, Failure> {
        let path = &self.context.path;
        if self.breakers.lock().entry(path.clone()).or_default().is_open(self.context.clock.now()) {
            return Err(Failure::other("circuit breaker open"));
        }
        if let Some(connection) = self.connections.lock().get(path) {
            return Ok(Arc::clone(connection));
        }
        match self.open_with_cleanup() {
            Ok(connection) => {
                self.breakers.lock().insert(path.clone(), Breaker::default());
                let mut connections = self.connections.lock();
                let cached = connections.entry(path.clone()).or_insert_with(|| Arc::new(Mutex::new(connection)));
                Ok(Arc::clone(cached))
            }
            Err(error) => {
                self.breakers.lock().entry(path.clone()).or_default().failed(self.context.clock.now());
                Err(error.into())
            }
        }
    }

    fn open_with_cleanup(&self) -> rusqlite::Result<Connection> {
        let error = match opening::open_and_init(&self.context) {
            Ok(connection) => return Ok(connection),
            Err(error) => error,
        };
        let code = error.sqlite_error().map(|e| e.extended_code);
        if !matches!(code, Some(codes::CANTOPEN | codes::IOERR_TRUNCATE | codes::IOERR_SHMSIZE)) {
            return Err(error);
        }
        for suffix in ["-shm", "-wal"] {
            let mut side_file = self.context.path.clone().into_os_string();
            side_file.push(suffix);
            let _ = self.context.host.remove_file(side_file.as_ref());
        }
        opening::open_and_init(&self.context)
    }
}

impl Strategy for OpenHuman {
    fn with_connection(&self, work: &mut Work<'_>) -> Result<(), Failure> {
        let connection = self.connection()?;
        let mut connection = connection.lock();
        Ok(work(&mut connection)?)
    }

    fn close(&self) -> Result<(), Failure> {
        self.connections.lock().clear();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_the_cooldown_every_caller_passes_until_one_fails() {
        let mut breaker = Breaker::default();
        let at = Duration::from_secs;
        breaker.failed(at(1));
        breaker.failed(at(2));
        assert!(!breaker.is_open(at(2)));
        breaker.failed(at(3));
        assert!(breaker.is_open(at(32)));
        assert!(!breaker.is_open(at(33)), "and not for one caller alone");
        breaker.failed(at(33));
        assert!(breaker.is_open(at(62)), "each failure re-arms it");
    }
}
