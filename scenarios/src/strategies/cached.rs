//! A plain cached connection behind a mutex, to which the canaries add their defects. It has no defect of its own.

use super::{Context, Failure, opening};
use rusqlite::Connection;
use seawall_harness::sched::sync::{Mutex, MutexGuard};

/// One connection, opened when it is first needed.
pub(super) struct Cached {
    context: Context,
    connection: Mutex<Option<Connection>>,
}

impl Cached {
    pub(super) fn new(context: Context) -> Self {
        Self { context, connection: Mutex::new(None) }
    }

    pub(super) fn context(&self) -> &Context {
        &self.context
    }

    /// Runs `work` on the connection.
    pub(super) fn with<T>(&self, work: impl FnOnce(&mut Connection) -> rusqlite::Result<T>) -> Result<T, Failure> {
        let mut slot: MutexGuard<'_, Option<Connection>> = self.connection.lock();
        let connection = match &mut *slot {
            Some(connection) => connection,
            empty => empty.insert(opening::open_and_init(&self.context)?),
        };
        Ok(work(connection)?)
    }

    pub(super) fn close(&self) {
        self.connection.lock().take();
    }
}
