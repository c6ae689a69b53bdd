//! The canaries: strategies with one planted defect each, one for each oracle. If one of them survives, the lab is
//! broken.

use super::cached::Cached;
use super::{Context, Entry, Failure, Strategy, Work, opening};
use rusqlite::Connection;
use seawall_harness::oracle::economy::Promise;
use std::sync::atomic::{AtomicU32, Ordering};

/// What is wrong with a canary.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Defect {
    Integrity,
    Ledger,
    Atomicity,
    Progress,
    Hygiene,
    Economy,
    Alarm,
}

macro_rules! canary {
    ($constant:ident, $name:literal, $summary:literal, $defect:ident) => {
        pub(super) const $constant: Entry = Entry {
            name: $name,
            summary: $summary,
            promise: Some(Promise { opens_max: 2, schema_inits_max: 2 }),
            is_canary: true,
            is_layer: true,
            build: |context| {
                Box::new(Canary { cached: Cached::new(context), defect: Defect::$defect, calls: AtomicU32::new(0) })
            },
        };
    };
}

canary!(INTEGRITY, "canary-integrity", "overwrites an index page of the database at its 9th call", Integrity);
canary!(LEDGER, "canary-ledger", "deletes a row of an earlier transaction at every 5th call", Ledger);
canary!(ATOMICITY, "canary-atomicity", "updates one row of a transaction by itself at every 5th call", Atomicity);
canary!(PROGRESS, "canary-progress", "refuses everything from its 6th call on", Progress);
canary!(HYGIENE, "canary-hygiene", "leaves a copy of the database and an open connection behind", Hygiene);
canary!(ECONOMY, "canary-economy", "promises to keep its connection and opens one for every call", Economy);
canary!(ALARM, "canary-alarm", "calls the healthy database malformed at its 6th call", Alarm);

struct Canary {
    cached: Cached,
    defect: Defect,
    calls: AtomicU32,
}

impl Strategy for Canary {
    fn with_connection(&self, work: &mut Work<'_>) -> Result<(), Failure> {
        let call = self.calls.fetch_add(1, Ordering::Relaxed) + 1;
        match self.defect {
            Defect::Progress if call >= 6 => return Err(Failure::other("no")),
            Defect::Alarm if call == 6 => {
                return Err(Failure {
                    message: "database disk image is malformed".to_owned(),
                    code: None,
                    is_alarm: true,
                    is_refusal: false,
                });
            }
            Defect::Economy => {
                let mut connection = opening::open_and_init(self.cached.context())?;
                return Ok(work(&mut connection)?);
            }
            _ => {}
        }
        self.cached.with(|connection| work(connection))?;
        self.cached.with(|connection| sabotage(self.defect, call, connection, self.cached.context()))
    }

    fn close(&self) -> Result<(), Failure> {
        if self.defect == Defect::Hygiene {
            let context = self.cached.context();
            let _ = context.host.copy(&context.path, &context.path.with_extension("corrupt.1.bak"));
            std::mem::forget(opening::open(context)?);
        }
        self.cached.close();
        Ok(())
    }
}

/// Does the damage, after the caller's work has succeeded.
fn sabotage(defect: Defect, call: u32, connection: &Connection, context: &Context) -> rusqlite::Result<()> {
    match defect {
        Defect::Ledger if call.is_multiple_of(5) => {
            connection.execute_batch("DELETE FROM ledger WHERE (actor, txn) = (SELECT actor, min(txn) FROM ledger)")
        }
        Defect::Atomicity if call.is_multiple_of(5) => connection.execute_batch(
            "UPDATE ledger SET version = version + 1000
             WHERE rowid = (SELECT max(rowid) FROM ledger WHERE parts > 1)",
        ),
        Defect::Integrity if call == 9 => {
            connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
            let sql = "SELECT rootpage FROM sqlite_schema WHERE name = 'documents_by_title'";
            let page: i64 = connection.query_row(sql, [], |row| row.get(0))?;
            // Opening and closing the file also drops this process's POSIX locks, which is a defect too.
            let _ = context.host.overwrite(&context.path, (page as u64 - 1) * 4096 + 3, &[0xff; 64]);
            Ok(())
        }
        _ => Ok(()),
    }
}
