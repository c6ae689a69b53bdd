//! A plain cached connection behind a mutex: what the canaries are grafted onto. Flawless where nothing fails.

use rusqlite::Connection;
use seawall_harness::sched::sync::{Mutex, MutexGuard};

use super::{Env, Failure, opening};

/// One connection, opened when it is first needed.
pub(super) struct Cached {
    env: Env,
    connection: Mutex<Option<Connection>>,
}

impl Cached {
    pub(super) fn new(env: Env) -> Self {
        Self { env, connection: Mutex::new(None) }
    }

    pub(super) fn env(&self) -> &Env {
        &self.env
    }

    /// Runs `work` on the connection.
    pub(super) fn with<T>(&self, work: impl FnOnce(&mut Connection) -> rusqlite::Result<T>) -> Result<T, Failure> {
        let mut slot: MutexGuard<'_, Option<Connection>> = self.connection.lock();
        let connection = match &mut *slot {
            Some(connection) => connection,
            empty => empty.insert(opening::open_and_init(&self.env)?),
        };
        Ok(work(connection)?)
    }

    pub(super) fn close(&self) {
        self.connection.lock().take();
    }
}
