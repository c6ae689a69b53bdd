//! `percall`: opens a connection for every call, with the whole schema set up each time.
//!
//! The first version of the reports: four workers that poll every 5 s open it about 69,000 times a day, each time with
//! a full initialisation. There is no breaker, and every error is reported.

use super::{Context, Entry, Failure, Strategy, Work, opening};

pub(super) const ENTRY: Entry = Entry {
    name: "percall",
    summary: "opens a connection and sets the schema up for every call",
    promise: None,
    is_canary: false,
    is_layer: false,
    build: |context| Box::new(PerCall { context }),
};

struct PerCall {
    context: Context,
}

impl Strategy for PerCall {
    fn with_connection(&self, work: &mut Work<'_>) -> Result<(), Failure> {
        let mut connection = opening::open_and_init(&self.context)?;
        Ok(work(&mut connection)?)
    }

    fn close(&self) -> Result<(), Failure> {
        Ok(())
    }
}
