//! `reopening`: keeps one connection, and opens a new one after an error.

use crate::strategies::{Context, Entry, Failure, Strategy, Work, open_and_init};
use rusqlite::Connection;
use seawall_harness::oracle::economy::Promise;
use seawall_harness::sched::sync::Mutex;

pub(super) const ENTRY: Entry = Entry {
    name: "reopening",
    summary: "keeps one connection, and opens a new one after an error",
    promise: Some(Promise { opens_max: 1, schema_inits_max: 1 }),
    is_canary: false,
    is_layer: false,
    build: |context| Box::new(Reopening { context, connection: Mutex::new(None) }),
};

struct Reopening {
    context: Context,
    connection: Mutex<Option<Connection>>,
}

impl Strategy for Reopening {
    fn with_connection(&self, work: &mut Work<'_>) -> Result<(), Failure> {
        let mut kept = self.connection.lock();
        let mut connection = match kept.take() {
            Some(connection) => connection,
            None => open_and_init(&self.context)?,
        };
        work(&mut connection)?;
        // After an error it is closed instead.
        *kept = Some(connection);
        Ok(())
    }

    fn close(&self) -> Result<(), Failure> {
        self.connection.lock().take();
        Ok(())
    }
}
