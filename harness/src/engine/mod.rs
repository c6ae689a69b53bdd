//! Engines: one SQLite library as a table of functions, be it the linked one or any shared object loaded at run time.
//!
//! One Cargo graph can link one SQLite only. What is to be said of other versions, above all of those with a known
//! defect, is found out on libraries that are loaded beside it:
//!
//! ```
//! use seawall_harness::engine::{Engine, OPEN_READ_WRITE_CREATE};
//!
//! let engine = Engine::linked(); // or Engine::load("/usr/lib/x86_64-linux-gnu/libsqlite3.so.0".as_ref())?
//! let db = engine.open(":memory:", OPEN_READ_WRITE_CREATE, None)?;
//! db.execute("CREATE TABLE t(x); INSERT INTO t VALUES (1), (2)")?;
//! assert_eq!(db.query_int("SELECT sum(x) FROM t")?, Some(3));
//! # Ok::<(), seawall_harness::engine::SqlError>(())
//! ```
//!
//! Two engines in one process share nothing of SQLite's: neither its VFSes nor its random generator nor its table of
//! file locks. That last point is a trap: POSIX locks belong to the process, so two engines must not open one and the
//! same file on the platform's own VFS at a time.

mod allocations;
mod db;
mod error;
mod ffi;
mod mutexes;
#[cfg(test)]
mod tests;
mod value;

use std::ffi::c_int;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub(crate) use allocations::Gate;
pub use db::{CheckpointMode, Db, Statement, StepResult, TransactionState};
pub use error::{EngineError, SqlError};
pub use ffi::{ConfigApi, Interrupter};
pub use value::Value;

use crate::seed::Seed;
use crate::vfs::api::SqliteApi;
use ffi::{Functions, Handle};

/// The usual flags for [`Engine::open`]: read, write, create.
pub const OPEN_READ_WRITE_CREATE: i32 = rusqlite::ffi::SQLITE_OPEN_READWRITE | rusqlite::ffi::SQLITE_OPEN_CREATE;

/// For [`Engine::open`], beside other flags: SQLite takes no mutex of the connection. [`Db`] and its statements are
/// used by one thread at a time in any case.
pub const OPEN_NO_MUTEX: i32 = rusqlite::ffi::SQLITE_OPEN_NOMUTEX;

/// The beginnings of the shared objects that there are: ELF; Mach-O in both orders and for several processors.
const MAGICS: [[u8; 4]; 4] = [*b"\x7fELF", *b"\xcf\xfa\xed\xfe", *b"\xfe\xed\xfa\xcf", *b"\xca\xfe\xba\xbe"];

/// One SQLite library. Clones are the same one. A loaded library stays loaded until the process ends.
#[derive(Clone)]
pub struct Engine {
    functions: Arc<Functions>,
    about: Arc<About>,
}

struct About {
    version: String,
    source_id: String,
    path: Option<PathBuf>,
}

impl Engine {
    /// The SQLite that this program links.
    pub fn linked() -> Self {
        Self::new(Functions::linked(), None)
    }

    /// Loads a shared object. Loading the same file again gives the same library.
    ///
    /// # Errors
    /// If the file is no shared object, or not a whole SQLite; if it was built without threads or without WAL; if its
    /// calls end up in another SQLite of this process.
    pub fn load(path: &Path) -> Result<Self, EngineError> {
        let unreadable =
            |error: &io::Error| EngineError::Unreadable { path: path.to_owned(), reason: system_text(error) };
        // The loader searches its own folders for a name without a slash, and knows libraries by their names.
        let file = path.canonicalize().map_err(|error| unreadable(&error))?;
        if !is_shared_object(&file).map_err(|error| unreadable(&error))? {
            return Err(EngineError::NotShared { path: path.to_owned() });
        }
        let functions = Functions::load(&file, path)?;
        let engine = Self::new(functions, Some(file));
        match engine.unfit() {
            None => Ok(engine),
            Some(reason) => {
                Err(EngineError::Unfit { path: path.to_owned(), version: engine.version().to_owned(), reason })
            }
        }
    }

    fn new(functions: Functions, path: Option<PathBuf>) -> Self {
        let about = About { version: functions.version(), source_id: functions.source_id(), path };
        Self { functions: Arc::new(functions), about: Arc::new(about) }
    }

    /// What keeps a whole library from being of use.
    fn unfit(&self) -> Option<&'static str> {
        if !self.functions.is_threadsafe() {
            return Some("was built without threads (SQLITE_THREADSAFE=0)");
        }
        if self.functions.has_compile_option(c"OMIT_WAL") {
            return Some("was built without write-ahead logs (SQLITE_OMIT_WAL)");
        }
        if self.functions.has_compile_option(c"OMIT_AUTOINIT")
            && self.functions.initialize() != rusqlite::ffi::SQLITE_OK
        {
            return Some("does not start");
        }
        // A library whose calls of its own functions were bound to another SQLite starts that one instead of itself,
        // and so has no VFS.
        (!self.functions.has_vfs(None))
            .then_some("is mixed up with another one in this process: link it with -Wl,-Bsymbolic")
    }

    /// Like `3.51.1`.
    pub fn version(&self) -> &str {
        &self.about.version
    }

    /// Date, time and hash of the sources.
    pub fn source_id(&self) -> &str {
        &self.about.source_id
    }

    /// The file that it was loaded from, with all links followed; `None` for the linked one.
    pub fn path(&self) -> Option<&Path> {
        self.about.path.as_deref()
    }

    /// What it was compiled with, without `SQLITE_`. Empty for a library that does not tell.
    pub fn compile_options(&self) -> Vec<String> {
        (0..).map_while(|number: c_int| self.functions.compile_option(number)).collect()
    }

    /// The functions to register a VFS with.
    pub fn vfs_api(&self) -> SqliteApi {
        self.functions.vfs_api()
    }

    /// The functions to configure it with. It has been started already if it was loaded, or had a connection.
    pub fn config_api(&self) -> ConfigApi {
        self.functions.config_api()
    }

    /// Makes the library go by mutexes that keep the actors of an execution apart as they do threads, so that several
    /// actors may share a connection. For good, and for all that use the library in this process. Does nothing if it
    /// has been done.
    ///
    /// The library is shut down for it and started again. Nothing of it may be in use then, and no other thread in it.
    /// Registered VFSes stay, and so does the default one; automatic extensions are forgotten.
    ///
    /// A process in which an execution has deadlocked while actors held such mutexes is of no further use for their
    /// connections: waiting for one outside of an execution aborts the process.
    ///
    /// # Errors
    /// BUSY if memory of the library is in use, as it is while a connection is open; MISUSE if the library does not
    /// count its memory; what it answers otherwise.
    pub fn install_scheduled_mutexes(&self) -> Result<(), SqlError> {
        mutexes::install(&self.functions)
    }

    /// Makes fault rules reach the library's allocations (`alloc:error=NOMEM`), in the simulator. For good, and for all
    /// that use the library in this process; lookaside memory is turned off. Does nothing if it has been done.
    /// [`Rig::begin`](crate::rig::Rig::begin) does it where a rule needs it.
    ///
    /// The library is shut down for it and started again, as for [`Self::install_scheduled_mutexes`].
    ///
    /// # Errors
    /// MISUSE if this is not the library that the program links; BUSY if memory of the library is in use, as it is
    /// while a connection is open; what it answers otherwise.
    pub fn install_allocation_faults(&self) -> Result<(), SqlError> {
        if let Some(path) = self.path() {
            let message = format!("{} is another library", path.display());
            return Err(self.functions.refusal(rusqlite::ffi::SQLITE_MISUSE, &message));
        }
        allocations::install(&self.functions)
    }

    /// True if a VFS of this name is registered with it.
    pub fn has_vfs(&self, name: &str) -> bool {
        std::ffi::CString::new(name).is_ok_and(|name| self.functions.has_vfs(Some(&name)))
    }

    /// Forgets the state of SQLite's own random generator. When it is next needed, it takes a new seed from the
    /// *default* VFS.
    pub fn reset_randomness(&self) {
        self.functions.reset_randomness();
    }

    /// Seeds SQLite's own random generator from `seed`, for all that use the library in this process, or from the
    /// *default* VFS again. Without effect in a library that was built without test controls.
    pub fn seed_randomness(&self, seed: Option<Seed>) {
        // 0 stands for the default VFS.
        self.functions.seed_randomness(seed.map_or(0, |seed| (seed.0 as i32) | 1));
    }

    /// Opens a database. `flags` are those of `sqlite3_open_v2`.
    ///
    /// # Errors
    /// What SQLite answers. Most of what can be wrong with a file shows with the first statement only.
    pub fn open(&self, path: &str, flags: i32, vfs: Option<&str>) -> Result<Db, SqlError> {
        Handle::open(&self.functions, path, flags, vfs).map(Db::new)
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").field("version", &self.version()).field("path", &self.path()).finish_non_exhaustive()
    }
}

/// `SQLite 3.51.1 (/path/to/it)`.
impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.path() {
            Some(path) => write!(f, "SQLite {} ({})", self.version(), path.display()),
            None => write!(f, "SQLite {} (linked)", self.version()),
        }
    }
}

/// Whether the file begins like one. Anything but a regular file is not even opened: it might block.
fn is_shared_object(path: &Path) -> io::Result<bool> {
    if !path.metadata()?.is_file() {
        return Ok(false);
    }
    let mut magic = [0; 4];
    match File::open(path)?.read_exact(&mut magic) {
        Ok(()) => Ok(MAGICS.contains(&magic)),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

/// What the system says, without Rust's ` (os error 2)`.
fn system_text(error: &io::Error) -> String {
    let text = error.to_string();
    text.split_once(" (os error").map_or(text.as_str(), |(reason, _)| reason).to_owned()
}
