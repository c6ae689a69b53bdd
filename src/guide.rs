//! Which policy fits which case: the settings, what their defaults protect from, and what to do about an error.
//!
//! The defaults are for one program that keeps its data in one file on a local disk and does not want to lose any.
//! Change one when a sentence below describes you. Each default answers a failure that was seen in the field.
//!
//! - [Store or cache](#store-or-cache)
//! - [How many readers](#how-many-readers)
//! - [Journal mode and `synchronous`](#journal-mode-and-synchronous)
//! - [Two kinds of waiting](#two-kinds-of-waiting)
//! - [The circuit breaker](#the-circuit-breaker)
//! - [First connects and the schema](#first-connects-and-the-schema)
//! - [Files that move](#files-that-move)
//! - [How long connections live](#how-long-connections-live)
//! - [Damage](#damage)
//! - [A full disk](#a-full-disk)
//! - [Background workers](#background-workers)
//! - [`async` programs](#async-programs)
//! - [What to watch](#what-to-watch)
//! - [What to do about an error](#what-to-do-about-an-error)
//!
//! # Store or cache
//!
//! | you have | use |
//! |---|---|
//! | one database, or a few that are known at the start | a [`Store`](crate::Store) for each, passed around |
//! | a file per tenant, project or day, or no place to keep a handle | one [`Cache`](crate::Cache), asked by path |
//! | both | both: they share the connections, if the settings agree |
//!
//! Either way there is one connection per file that writes, however many threads there are. A program that opened a
//! connection for each call ran its whole schema init 69,000 times a day; here it runs once per process and file.
//!
//! ```
//! use seawall::{Cache, Store};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let dir = tempfile::tempdir()?;
//! # let (main, tenant) = (dir.path().join("main.db"), dir.path().join("tenant-7.db"));
//! let store = Store::open(&main)?;
//! store.write(|tx| tx.execute_batch("CREATE TABLE setting (name TEXT PRIMARY KEY, value)"))?;
//!
//! let tenants = Cache::builder()
//!     .init(|conn| conn.execute_batch("CREATE TABLE IF NOT EXISTS visit (at INTEGER)"))
//!     .build();
//! tenants.write(&tenant, |tx| tx.execute("INSERT INTO visit VALUES (unixepoch())", []))?;
//! # Ok(())
//! # }
//! ```
//!
//! # How many readers
//!
//! | your reads | [`readers`](crate::Builder::readers) |
//! |---|---|
//! | short, or rare, or from one thread | 0, the default: all share the connection that writes |
//! | many at a time, or long ones that writes must not wait for | as many as run at a time, up to the number of cores |
//! | a report that takes minutes | one more than that; see [`oldest_snapshot`](crate::Health::oldest_snapshot) |
//!
//! A reader costs memory for its page cache and some file descriptors, and a read that goes on for long keeps the log
//! from being checkpointed, so that it grows. More readers than cores only do more of both.
//!
//! # Journal mode and `synchronous`
//!
//! | your case | [`journal_mode`](crate::Builder::journal_mode) | [`synchronous`](crate::Builder::synchronous) |
//! |---|---|---|
//! | a local disk | `Wal` | `Full` |
//! | the commits since the last checkpoint may be lost in a power cut, commits must be fast | `Wal` | `Normal` |
//! | your design needs WAL, and anything else is an error | `RequireWal` | as above |
//! | a network file system | `Keep`, on a file with a rollback journal | `Full`, or `Extra` |
//! | the file of another program | `Keep` | `Full` |
//!
//! With `Normal`, a crash of the *process* loses nothing; only a power cut or a crash of the system takes back the last
//! commits, whole ones: those since the last checkpoint, 999 at most unless a reader holds a snapshot. It is a number
//! of commits and not a time. The default is `Full` because losing an acknowledged row is the worst defect.
//!
//! WAL is switched on only where it is not on yet, and the answer is read, not assumed. It is never switched *off*:
//! programs that went back to a rollback journal after an I/O error deleted the log that held their commits.
//! [`Health`](crate::Health) tells the mode that was asked for and the one in force.
//!
//! # Two kinds of waiting
//!
//! | holder | the wait | after it |
//! |---|---|---|
//! | another process, or a connection that is not ours | [`busy_timeout`](crate::Builder::busy_timeout), 5 s | `BUSY` |
//! | the queue of an `AsyncStore` | counts towards the acquire timeout | an error that names the borrower's line |
//! | another thread that has borrowed the connection | [`acquire_timeout`](crate::Builder::acquire_timeout), 30 s | an error that names the borrower's line |
//! | another process that opens for the first time | [`first_connect_wait`](crate::Builder::first_connect_wait), 10 s | an error that names the process |
//!
//! The busy timeout is set before any other statement. Programs that set it later, or had it reset by a hook, got
//! `BUSY` from their very first pragma. Raise it if other processes hold the write lock for long; 30 s to 120 s have
//! been used. If *your own* closures are slow, raise the acquire timeout, or better, make them shorter: what a closure
//! does not need the connection for belongs outside of it. Where a person waits for the answer, lower both.
//!
//! # The circuit breaker
//!
//! It counts only failures to *answer*: files that cannot be opened, read or mapped. Busy databases, full disks and
//! constraints never count. After three in a row, no call passes for 30 s; then one caller at a time tries.
//!
//! | your case | [`BreakerPolicy`](crate::BreakerPolicy) |
//! |---|---|
//! | a local disk | the default |
//! | failures come now and then between successes, as on a bad cable or mount | a [`rate`](crate::RateThreshold) besides |
//! | a person waits, and the fault is over in a moment | a cooldown of 1 s to 5 s |
//! | many processes on one file | the default: each has its own breaker, and one probe each is not many |
//! | you introduce it in a running system | [`MetricsOnly`](crate::BreakerMode::MetricsOnly): it counts and reports, and refuses no call |
//! | you are about to replace the disk | [`ForcedOpen`](crate::BreakerMode::ForcedOpen), and `Enforcing` afterwards |
//! | a tool that runs once | [`Disabled`](crate::BreakerMode::Disabled) |
//!
//! In the report that this comes from, all waiting callers were let through at once after the cooldown. Here it is one
//! at a time, a queued caller asks again, and the result of a call from before a change does not count.
//!
//! ```
//! use seawall::{BreakerMode, BreakerPolicy, RateThreshold, Store};
//! use std::time::Duration;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let dir = tempfile::tempdir()?;
//! # let path = dir.path().join("x.db");
//! let half = RateThreshold { window: Duration::from_secs(60), calls_min: 20, failures_percent: 50 };
//! let policy = BreakerPolicy { rate: Some(half), mode: BreakerMode::MetricsOnly, ..BreakerPolicy::default() };
//! let store = Store::builder().breaker(policy).open(&path)?;
//! assert_eq!(store.health().breaker_counters.refused, 0);
//! store.set_breaker_mode(BreakerMode::Enforcing);
//! # Ok(())
//! # }
//! ```
//!
//! # First connects and the schema
//!
//! First connects of several processes disturb each other: SQLite sets up the log and its index, and every process runs
//! the same `CREATE TABLE`. So they pass one by one, by a lock on `<database>.init.lock`. A program that went on
//! without the lock after 10 s had the race back just when it hurt; here the wait ends with an error. Set
//! [`first_connect_wait`](crate::Builder::first_connect_wait) to `None` only where no side file can be made.
//!
//! [`migration`](crate::Builder::migration) is for schemas with versions: all that is missing is applied in one
//! transaction. [`init`](crate::Builder::init) is for everything else and must be able to start over.
//!
//! ```
//! use seawall::Store;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let dir = tempfile::tempdir()?;
//! # let path = dir.path().join("x.db");
//! let version_1 = Store::builder().migration(|tx| tx.execute_batch("CREATE TABLE note (text TEXT)"));
//! version_1.open(&path)?.write(|tx| tx.execute("INSERT INTO note VALUES ('kept')", []))?;
//!
//! let version_2 = Store::builder()
//!     .migration(|tx| tx.execute_batch("CREATE TABLE note (text TEXT)"))
//!     .migration(|tx| tx.execute_batch("ALTER TABLE note ADD COLUMN is_done INTEGER NOT NULL DEFAULT 0"));
//! let store = version_2.open(&path)?;
//! let count = "SELECT count(*) FROM note WHERE NOT is_done";
//! let open: i64 = store.read(|conn| conn.query_row(count, [], |row| row.get(0)))?;
//! assert_eq!(open, 1);
//! # Ok(())
//! # }
//! ```
//!
//! # Files that move
//!
//! A database that is restored from a backup, synchronised or deleted under a running program has another file at its
//! path, and SQLite goes on writing to the old one: every commit is acknowledged, and all are gone at the next start.
//! So before a write is acknowledged, and each
//! [`identity_check_interval`](crate::Builder::identity_check_interval) for reads, the file's name is checked. Zero
//! checks each read, at the price of a system call. See [`is_moved`](crate::Error::is_moved) for what becomes of rows.
//!
//! # How long connections live
//!
//! | your case | setting |
//! |---|---|
//! | a server that runs for weeks | nothing: a connection has no age. [`max_lifetime`](crate::Builder::max_lifetime) only if an extension leaks |
//! | many databases, each used now and then | nothing: a cache closes the least recently used beyond [`databases_max`](crate::Builder::databases_max). To close idle ones sooner: [`max_idle`](crate::Builder::max_idle) and a timer with [`maintain`](crate::Cache::maintain) |
//! | closures that may hang | [`overdue_after`](crate::Builder::overdue_after) below the acquire timeout, and an eye on the event |
//! | the end of the program | [`close`](crate::Store::close) with a patience; what it cannot checkpoint is safe in the log |
//!
//! # Damage
//!
//! SQLite's "malformed" is not yet damage: a misread page, or a second connection at the wrong moment, looks the same.
//! It is confirmed by `PRAGMA quick_check` on a connection that is alone; if that finds nothing, it was a
//! [`FalseAlarm`](crate::EventKind::FalseAlarm), and the connection is replaced.
//!
//! | confirmed, and | [`OnCorruption`](crate::OnCorruption) |
//! |---|---|
//! | the rows are the only ones in the world | `Refuse`, the default: errors until a person has decided |
//! | it is a cache or an index that can be made again | `Rebuild` |
//! | some rows can be saved by the program itself | `Salvage` |
//!
//! Nothing is deleted. One program copied its database at each alarm: 73 copies in four bursts; another user had 88,500
//! files. So equal content is kept once, and there are 10 bundles at most, with the log beside each.
//!
//! ```
//! use seawall::{OnCorruption, QuarantinePolicy, Store};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let dir = tempfile::tempdir()?;
//! # let path = dir.path().join("index.db");
//! # std::fs::write(&path, "this is no database, and has not been one for a long time, however one looks at it")?;
//! let mut policy = QuarantinePolicy::default();
//! policy.on_corruption = OnCorruption::Rebuild;
//! let index = seawall::Cache::builder()
//!     .quarantine(policy)
//!     .init(|conn| conn.execute_batch("CREATE TABLE IF NOT EXISTS word (text TEXT)"))
//!     .build();
//!
//! let add = || index.write(&path, |tx| tx.execute("INSERT INTO word VALUES ('seawall')", []));
//! let damaged = add().unwrap_err();
//! let bundle = damaged.quarantined_to().expect("it was moved");
//! assert!(bundle.join("index.db").exists(), "nothing is deleted");
//! add()?;
//! # Ok(())
//! # }
//! ```
//!
//! # A full disk
//!
//! Reads go on. After a write has met a full disk, the next ones fail at once for
//! [`disk_full_pause`](crate::Builder::disk_full_pause), 1 s, rather than each filling what has just been freed. The
//! breaker stays out of it: a database on a full disk answers. Raise the pause if room is made by a job that takes
//! longer, and watch `free_bytes` in [`Health`](crate::Health) rather than the errors.
//!
//! # Background workers
//!
//! A [`Worker`](crate::workers::Worker) waits as its failure calls for: a second where another connection holds a lock,
//! 30 s and some jitter where the files do not answer, never shorter than the breaker's own wait. Poll as seldom as the
//! user can bear: each poll of each worker is a read. It reports the first error of an episode and its end, not each
//! one.
//!
//! | your case | [`WorkerPolicy`](crate::workers::WorkerPolicy) |
//! |---|---|
//! | jobs come from this process | a long `poll`, and a [`StopToken`](crate::StopToken) or your own channel to wake up |
//! | jobs come from other processes | `poll` 5 s |
//! | many processes on one file | a `seed` for each, so that their waits differ |
//!
//! # `async` programs
//!
//! With the feature `tokio`, `AsyncStore` runs closures on threads that may block: one for writes, one for each reader,
//! so a slow database cannot use up the runtime's. Dropping a call before its closure began means that it never runs;
//! dropping it later discards its result. So put a timeout around reads as you like, and around writes only if you can
//! read afterwards what became of them.
//!
//! # What to watch
//!
//! | sign | meaning |
//! |---|---|
//! | `state` is `Unavailable` | it does not serve; [`last_error`](crate::Health::last_error) says why |
//! | `state` is `Degraded` | it serves, one call at a time: the `-shm` cannot be used, look at space, rights, memory |
//! | `state` is `LogOverLimit` | it serves, and the log grows: the event [`LogOverLimit`](crate::EventKind::LogOverLimit) names the read or the processes that keep it |
//! | `journal_mode` is not what was configured | WAL was refused: a network file system, or an old connection of another process |
//! | `wal.frames` grows, and `frames_checkpointed` does not | a read that never ends: see `oldest_snapshot` |
//! | `calls.timed_out` grows | a closure that takes too long: the errors name its line |
//! | `calls.dangling` grows | a closure that forgets to commit; its writes were *not* acknowledged |
//! | an event [`Moved`](crate::EventKind::Moved) | files are replaced under the running program |
//!
//! The same as numbers: the feature `prometheus`. The same as events: [`subscribe`](crate::Store::subscribe), a sink in
//! the builder, or the feature `tracing`.
//!
//! # What to do about an error
//!
//! Ask in this order; the first that holds decides.
//!
//! | question | then |
//! |---|---|
//! | [`outcome_unknown`](crate::Error::outcome_unknown) | read whether the writes are there, then decide. Never simply run it again |
//! | [`is_closed`](crate::Error::is_closed) | the program is ending: end, too |
//! | [`is_breaker_open`](crate::Error::is_breaker_open) | come back after [`retry_after`](crate::Error::retry_after); `None`: after its mode is changed |
//! | [`is_disk_full`](crate::Error::is_disk_full) | make room; come back later. Reads work |
//! | [`is_moved`](crate::Error::is_moved) | run it again, if it makes sense on the database that is there now |
//! | [`quarantined_to`](crate::Error::quarantined_to) | tell a person; the next call begins with a new database |
//! | [`is_corruption`](crate::Error::is_corruption) | tell a person; delete nothing |
//! | [`is_schema_newer`](crate::Error::is_schema_newer) | an older program on a newer file: stop, and say so |
//! | [`is_busy`](crate::Error::is_busy) | run it again after a moment; often: shorten transactions somewhere |
//! | [`is_transient`](crate::Error::is_transient) | run it again later; it cannot do anything twice |
//! | nothing of these | a bug or a wrong setting: the message names the step and what to do |
//!
//! ```
//! use seawall::{Error, Store};
//! use std::time::Duration;
//!
//! /// What a caller does next.
//! #[derive(Debug, PartialEq)]
//! enum Next { ReadFirst, Wait(Duration), Again, GiveUp }
//!
//! fn next(error: &Error) -> Next {
//!     if error.outcome_unknown() {
//!         Next::ReadFirst
//!     } else if error.is_breaker_open() || error.is_disk_full() {
//!         Next::Wait(error.retry_after().unwrap_or(Duration::from_secs(30)))
//!     } else if error.is_busy() || error.is_moved() {
//!         Next::Again
//!     } else if error.is_transient() {
//!         Next::Wait(Duration::from_secs(1))
//!     } else {
//!         Next::GiveUp
//!     }
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let dir = tempfile::tempdir()?;
//! # let path = dir.path().join("x.db");
//! let store = Store::builder().busy_timeout(Duration::from_millis(10)).open(&path)?;
//! let typo = store.write(|tx| tx.execute("INSERT INTO no_such_table VALUES (1)", [])).unwrap_err();
//! assert_eq!(next(&typo), Next::GiveUp);
//!
//! let other = rusqlite::Connection::open(&path)?;
//! other.execute_batch("BEGIN IMMEDIATE")?;
//! let busy = store.write(|tx| tx.execute_batch("CREATE TABLE t (x)")).unwrap_err();
//! assert_eq!(next(&busy), Next::Again);
//! # Ok(())
//! # }
//! ```
