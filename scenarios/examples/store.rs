//! A `seawall::Store` under an outsider, beside plain SQLite: `rm x.db-wal x.db-shm` while two processes write.
//!
//! `cargo run -p seawall-scenarios --example store`. The store is the production code, built with the simulator's locks.

use rusqlite::{Connection, OpenFlags};
use seawall_harness::sim::{Check, Process, Result, World};
use seawall_scenarios::run::simulated::os_of;
use seawall_simulated::{Os, Registry, Store};
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

/// Rows of each process.
const ROWS: i64 = 3;

/// A row: the process, and its number.
type Row = (u16, i64);

/// Inserts the rows by SQLite alone.
fn plain(p: &Process<Row>) -> Result {
    let db = p.open()?;
    for n in 0..ROWS {
        db.execute("INSERT INTO line VALUES (?1, ?2)", (p.number(), n))?;
        p.ack((p.number(), n))?;
    }
    Ok(())
}

/// Inserts the rows by a store.
fn stored(p: &Process<Row>, os: &Arc<dyn Os>) -> Result {
    let builder = Store::builder().registry(Registry::new()).os(Arc::clone(os)).vfs(p.vfs());
    let store = builder.identity_check_interval(Duration::ZERO).open(p.path())?;
    for n in 0..ROWS {
        store.write(|tx| tx.execute("INSERT INTO line VALUES (?1, ?2)", (p.number(), n)))?;
        p.ack((p.number(), n))?;
    }
    store.close(Duration::from_secs(1))?;
    Ok(())
}

fn lines(world: &mut World<Row>, is_stored: bool) {
    world.setup(|db| db.execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE line (process, n)"));
    let os = os_of(world.simulation());
    world.processes(2, move |p| if is_stored { stored(p, &os) } else { plain(p) });
    let simulation = world.simulation().clone();
    world.invariant(move |_, acked| {
        // A store that loses its log copies the rows to a file that its error names.
        let names = simulation.machine().borrow().list().into_iter().map(|(name, _)| name);
        let is_database = |name: &String| name == "/sim/app.db" || name.starts_with("/sim/app.db.rescued");
        let mut rows: Vec<Row> = Vec::new();
        for name in names.filter(is_database).collect::<Vec<_>>() {
            let db = Connection::open_with_flags_and_vfs(name, OpenFlags::default(), simulation.vfs())?;
            let mut all = db.prepare("SELECT process, n FROM line")?;
            for row in all.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))? {
                rows.push(row?);
            }
        }
        let gone: Vec<&Row> = acked.iter().filter(|row| !rows.contains(row)).collect();
        assert!(gone.is_empty(), "gone: {gone:?}");
        Ok(())
    });
}

/// Everything, as text.
pub fn run() -> String {
    let mut out = String::new();
    let check = || {
        let check = Check::new().name("store").without_regressions();
        check.fault("write@wal:outside=unlink-side-files:p=0.1:times=1")
    };
    if let Err(found) = check().search(|world| lines(world, false)) {
        let _ = writeln!(out, "plain SQLite:\n\n{found}");
    }
    match check().search(|world| lines(world, true)) {
        Ok(passed) => {
            let refused = passed.iterations * 2 * ROWS as u64 - passed.acked;
            let _ = writeln!(out, "store: {} executions, no row lost, {refused} refused", passed.iterations);
        }
        Err(found) => {
            let _ = writeln!(out, "store:\n\n{found}");
        }
    }
    out
}

#[allow(dead_code, reason = "a test calls `run`")]
fn main() {
    print!("{}", run());
}
