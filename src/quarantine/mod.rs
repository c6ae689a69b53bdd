//! What happens to a damaged database: confirmed, moved away as a whole, and kept.
//!
//! ```text
//! live connection ─► confirm ─► closed by the caller ─► quarantine ─► rebuild or salvage, if the caller wants it
//!                      (never on a busy or unread file)      ▲
//! next first open ─► resume ── what a crash left half done ──┘
//! ```
//!
//! Nothing is deleted. A bundle is a directory with the database, its `-wal`, `-shm` and `-journal` under their own
//! names, so that SQLite finds them together, and a [`Manifest`]. It is named by its content. There is a bound on the
//! number of bundles: at the bound, quarantine is refused. The same content again takes the dir of the older equal
//! copy, byte for byte compared, and is counted.
//!
//! # The order of the renames
//!
//! A half-moved database can do harm in three ways:
//!
//! - a `-wal` or hot journal beside no database: SQLite deletes it when a process creates a new database there;
//! - a `-wal` beside another database: SQLite replays it into that one, and the check says ok;
//! - a `-shm` that another process uses, moved away: two indices of one log.
//!
//! So the side files go first, and the database last: `-shm`, `-wal`, `-journal`, a sync of both directories, the
//! database, a sync again. As long as the database has its name, it is locked by this process, so no other one can use
//! or create a side file. Once it has lost the name, nothing is left to move, so no file of a new database can be moved
//! by mistake.
//!
//! If the process dies in between, the database stands there without its log until the next opener calls `resume`. That
//! puts log and journal back, after checking that the database is still the recorded one, is unchanged, and has no new
//! log. If a program without this crate has written to it meanwhile, there are two histories, and nothing is moved: the
//! log waits in quarantine, and a person has to decide. If the database itself has been moved, `resume` completes the
//! bundle instead.
//!
//! If a rename fails and the process lives on, everything moved so far is put back at once, in reverse order.
//!
//! At the end the holders of the files are checked once more: a process that opened the database by its name during the
//! move would now combine it with side files of the new one. Then everything is put back, too.

mod bundle;
mod confirm;
mod manifest;
mod owner;

pub use manifest::{FileEvidence, FileRole, FileSystemEvidence, Manifest, ManifestState, PragmaValue, Trigger};

pub(crate) use bundle::{Evidence, quarantine, resume};
pub(crate) use confirm::{CheckVerdict, Examination, confirm, integrity, keep_log};

use crate::error::QuarantineError;
use crate::os::{Os, beside};
use crate::sync::Arc;
use rusqlite::Connection;
use rusqlite::config::DbConfig;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};

/// Copies what can be saved from a bundle into the new database.
///
/// Runs in a transaction on a connection to the new, empty, initialised database; an error rolls it back. The bundle's
/// database may be attached by its path, and is then read with its log. What the closure attached is detached
/// afterwards without writing the log into the damaged file. Reading it rebuilds the bundle's `-shm`; to keep that
/// unchanged, read a copy of the bundle.
pub type SalvageFn = dyn Fn(&Bundle, &mut Connection) -> rusqlite::Result<()> + Send + Sync;

/// What to do with a database whose damage is confirmed.
///
/// ```
/// use seawall::{OnCorruption, QuarantinePolicy, Store};
/// use std::sync::Arc;
///
/// # let dir = tempfile::tempdir()?;
/// let mut policy = QuarantinePolicy::default();
/// policy.on_corruption = OnCorruption::Salvage(Arc::new(|bundle, conn| {
///     conn.execute("ATTACH ?1 AS old", [bundle.database.to_string_lossy()])?;
///     conn.execute_batch("INSERT OR IGNORE INTO note SELECT * FROM old.note")
/// }));
/// policy.bundles_max = 3;
/// let store = Store::builder()
///     .init(|conn| conn.execute_batch("CREATE TABLE IF NOT EXISTS note (text TEXT)"))
///     .quarantine(policy)
///     .open(dir.path().join("x.db"))?;
/// # drop(store);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Default)]
#[non_exhaustive]
pub enum OnCorruption {
    /// Leave it where it is and return errors. A person decides.
    #[default]
    Refuse,
    /// Quarantine it and begin with an empty one. What was in it is in the bundle, and nowhere else.
    Rebuild,
    /// Quarantine it, begin with an empty one, and let this closure fill it.
    Salvage(Arc<SalvageFn>),
}

impl std::fmt::Debug for OnCorruption {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            OnCorruption::Refuse => "Refuse",
            OnCorruption::Rebuild => "Rebuild",
            OnCorruption::Salvage(_) => "Salvage(..)",
        })
    }
}

/// What to do with damaged databases, and where to keep them.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct QuarantinePolicy {
    /// What to do. Default [`OnCorruption::Refuse`].
    pub on_corruption: OnCorruption,
    /// Bundles of different content kept for one database. Default 10. One more is refused; old ones are never deleted.
    pub bundles_max: u32,
    /// Where the bundles are kept, each database's in its own directory. It has to be on the same file system as the
    /// databases. Default: `<database>.quarantine` beside the database.
    pub directory: Option<PathBuf>,
}

impl Default for QuarantinePolicy {
    fn default() -> QuarantinePolicy {
        QuarantinePolicy { on_corruption: OnCorruption::default(), bundles_max: 10, directory: None }
    }
}

impl QuarantinePolicy {
    /// Whether both are equal, except for what the closures do.
    pub(crate) fn is_like(&self, other: &QuarantinePolicy) -> bool {
        mem::discriminant(&self.on_corruption) == mem::discriminant(&other.on_corruption)
            && self.bundles_max == other.bundles_max
            && self.directory == other.directory
    }
}

/// A quarantined database.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Bundle {
    /// The directory with everything in it.
    pub directory: PathBuf,
    /// The damaged database.
    pub database: PathBuf,
    /// Its log, if it had one.
    pub wal: Option<PathBuf>,
    /// The log's index, if it had one.
    pub shm: Option<PathBuf>,
    /// Its rollback journal, if it had one.
    pub journal: Option<PathBuf>,
    /// The [`Manifest`], in JSON.
    pub manifest: PathBuf,
    /// Whether the same content had been quarantined before. It is kept once.
    pub is_duplicate: bool,
}

/// What [`resume`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Resumed {
    /// No quarantine had been interrupted.
    Nothing,
    /// One had been, before the database was moved. It has its log and journal again.
    PutBack,
    /// One had been, after the database was moved. The bundle is complete, and there may be no database in its dir.
    Completed(Bundle),
}

/// Runs the closure in a transaction on a connection to the new database.
pub(crate) fn salvage(bundle: &Bundle, conn: &mut Connection, salvage: &SalvageFn) -> Result<(), QuarantineError> {
    let failed = |error| QuarantineError::Salvage { bundle: bundle.directory.clone(), error };
    // While it is set, detaching the bundle's database neither writes its log into it nor deletes that.
    let keeps_log = conn.db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE).map_err(failed)?;
    keep_log(conn).map_err(failed)?;
    let attached = attached(conn).map_err(failed)?;
    let outcome = in_transaction(bundle, conn, salvage);
    let tidied = detach_all_but(&attached, conn)
        .and_then(|()| conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, keeps_log).map(drop));
    match outcome {
        Ok(result) => result.and(tidied.map_err(failed)),
        Err(panic) => resume_unwind(panic),
    }
}

type Caught<T> = Result<T, Box<dyn std::any::Any + Send>>;

fn in_transaction(bundle: &Bundle, conn: &mut Connection, salvage: &SalvageFn) -> Caught<Result<(), QuarantineError>> {
    let failed = |error| QuarantineError::Salvage { bundle: bundle.directory.clone(), error };
    if let Err(error) = conn.execute_batch("BEGIN IMMEDIATE") {
        return Ok(Err(failed(error)));
    }
    let outcome = catch_unwind(AssertUnwindSafe(|| salvage(bundle, conn)));
    let is_over = conn.is_autocommit();
    let result = match &outcome {
        Ok(Ok(())) if !is_over => conn.execute_batch("COMMIT").map_err(failed),
        Ok(Ok(())) => Err(QuarantineError::SalvageOver { bundle: bundle.directory.clone() }),
        _ => Ok(()),
    };
    if !conn.is_autocommit() {
        // A connection that fails to roll back is discarded because of the error.
        let _ = conn.execute_batch("ROLLBACK");
    }
    outcome.map(|answer| answer.map_err(failed).and(result))
}

fn attached(conn: &Connection) -> rusqlite::Result<Vec<String>> {
    conn.prepare("SELECT name FROM pragma_database_list")?.query_map([], |row| row.get(0))?.collect()
}

fn detach_all_but(names: &[String], conn: &Connection) -> rusqlite::Result<()> {
    for name in attached(conn)?.iter().filter(|name| !names.contains(name) && *name != "temp") {
        conn.execute("DETACH ?1", [name])?;
    }
    Ok(())
}

/// The path of one of a database's files.
fn side_file(path: &Path, role: FileRole) -> PathBuf {
    beside(path, role.suffix())
}

fn exists(path: &Path, os: &dyn Os) -> Result<bool, QuarantineError> {
    os.status(path).map(|status| status.is_some()).map_err(QuarantineError::io("looking at a file", path))
}

/// Whether SQLite would roll a journal back: it goes by the first byte, too.
fn is_hot(journal: &Path, os: &dyn Os) -> Result<bool, QuarantineError> {
    if !exists(journal, os)? {
        return Ok(false);
    }
    let first = os.read_prefix(journal, 1).map_err(QuarantineError::io("looking at a journal", journal))?;
    Ok(first.first().is_some_and(|&byte| byte != 0))
}
