//! Your own code in the simulator, as a test of a few lines.
//!
//! ```should_panic
//! use seawall_harness::sim;
//!
//! // #[test] fn no_money_is_lost() {
//! sim::check(|world| {
//!     world.setup(|db| db.execute_batch("CREATE TABLE wallet (coins); INSERT INTO wallet VALUES (100)"));
//!     world.processes(2, |p| {
//!         let db = p.open()?;
//!         let coins: i64 = db.query_row("SELECT coins FROM wallet", [], |row| row.get(0))?;
//!         db.execute("UPDATE wallet SET coins = ?1", [coins - 10])?;
//!         p.ack(10)
//!     });
//!     world.invariant(|db, spent| {
//!         let coins: i64 = db.query_row("SELECT coins FROM wallet", [], |row| row.get(0))?;
//!         assert_eq!(coins, 100 - spent.iter().sum::<i64>());
//!         Ok(())
//!     });
//! });
//! // }
//! ```
//!
//! The closure describes a world: a database, processes that work on it at the same time, and what must be true at the
//! end. It is called once for each execution, and an execution follows from its seed alone: at every call that SQLite
//! makes to its VFS, another process may continue. The first execution that fails is shrunk to as few preemptions and
//! faults as possible, and the test panics with the message, the story and a line that repeats it. The example loses
//! money: both processes read 100 and write 90.
//!
//! # What runs
//! - [`World::setup`] makes the database. [`World::process`] adds a process: its closure runs on connections from
//!   [`Process::open`], on any number of threads ([`Process::spawn`]). Code that opens SQLite by itself uses
//!   [`World::path`] and the name [`World::vfs`].
//! - [`Process::ack`] records what the process has told its caller, after its COMMIT. Acknowledged values survive the
//!   death of the process.
//! - [`World::invariant`] gets a fresh connection and the acknowledged values, after all processes have ended.
//! - [`Check`] sets seed, number of executions, faults, crashes and power cuts.
//!
//! # What fails
//! A panic of a process; an error that a process returns, unless a fault has fired; processes that wait for each other
//! or do not end; an invariant that panics or returns an error; a database that `PRAGMA integrity_check` complains of.
//! What a process does after it was killed is not looked at.
//!
//! # Environment
//! | variable | effect |
//! |---|---|
//! | `SEAWALL_SEED` | another seed: other executions |
//! | `SEAWALL_ITERATIONS` | how many executions |
//! | `SEAWALL_SECONDS` | executes until so many seconds have passed |
//! | `SEAWALL_REPLAY` | repeats the execution that a failure has printed |
//!
//! A failure is also kept in a file beside the test, `seawall-regressions/FILE.txt`, and executed first the next time.
//!
//! # Limits
//! - The code must be deterministic: time, random numbers and the order of a `HashMap` make it differ. [`World::seed`]
//!   gives a number to draw from, [`Process::sleep`] lets virtual time pass.
//! - All actors run on one thread of the system. Locks that are held across a call must be those of [`crate::sync`];
//!   one of `std` would wait for ever, and a watchdog then ends the test and names the actor. Threads are made by
//!   [`Process::spawn`]; a call of another thread fails, and the test says so.
//! - Time passes by calls and by sleeping, in SQLite's busy timeout or [`Process::sleep`]. `std::thread::sleep`, in a
//!   busy handler for example, stops all actors and lets no virtual time pass.
//! - An actor has a stack of 2 MiB.
//! - Statics are shared by all processes and all executions.
//! - The checks of one program run one after the other. While one runs, SQLite's own random generator has its seed for
//!   all connections of the program.

mod bench;
mod case;
mod check;
mod environment;
mod executor;
mod failure;
mod judge;
mod narrator;
mod panics;
mod process;
mod processes;
mod regressions;
mod replay;
mod schedules;
mod search;
mod statements;
mod watchdog;
mod world;

pub use check::{Check, check};
pub use failure::Failure;
pub use process::{Process, Thread};
pub use search::Passed;
pub use world::World;

/// What the closures of a world return: any error, by `?`.
pub type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;

/// The database of a world.
const DATABASE: &str = "/sim/app.db";
