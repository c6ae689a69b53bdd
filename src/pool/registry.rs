//! Which databases a process has open: one [`Database`] per file, under whatever path.
//!
//! Two independent connections are safe with SQLite, but two *layers* are worse than one: each would run the init, have
//! its own breaker, and hold a writer that the other waits for. So all stores and caches of a process share a registry,
//! and find a file in it by its canonical path, behind symbolic links, `.` and `..`. A second *hard* link to a file
//! that is open is refused: SQLite derives the names of the side files from the name, and two logs for one file corrupt
//! it.
//!
//! The registry keeps nothing alive. A file that no store and no cache holds is closed and removed.

use super::Database;
use crate::error::{Cause, Error, Operation};
use crate::open::check_length;
use crate::os::{FileId, FileKind, Os};
use crate::settings::Settings;
use crate::sync::{Arc, Mutex};
use rusqlite::OpenFlags;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{OnceLock, Weak};

/// The databases that one process has open.
///
/// The process has one, which is used unless the builder [sets another](crate::Builder::registry). A test that
/// simulates several processes gives each its own.
///
/// ```
/// use seawall::{Registry, Store};
///
/// # let dir = tempfile::tempdir()?;
/// let process = Registry::new();
/// let store = Store::builder().registry(process.clone()).open(dir.path().join("x.db"))?;
/// assert_eq!(process.paths(), [store.path()]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Default)]
pub struct Registry {
    databases: Mutex<BTreeMap<Arc<Path>, Weak<Database>>>,
    /// Databases that a parent process had open, with its id, and whose handles a forked child has dropped. The
    /// connections are still there, and SQLite's locks with them.
    inherited: Mutex<BTreeMap<Arc<Path>, u32>>,
}

impl Registry {
    /// A registry in which nothing is open.
    pub fn new() -> Arc<Registry> {
        Arc::default()
    }

    /// The canonical paths of what is open, in order.
    pub fn paths(&self) -> Vec<PathBuf> {
        let databases = self.databases.lock();
        databases
            .iter()
            .filter(|(_, database)| database.strong_count() > 0)
            .map(|(path, _)| path.to_path_buf())
            .collect()
    }

    /// The other name under which the file is open.
    pub(crate) fn other_name(&self, id: FileId, path: &Path) -> Option<PathBuf> {
        // Dropped after the lock: dropping the last handle closes the database.
        let databases: Vec<Arc<Database>> = self.databases.lock().values().filter_map(Weak::upgrade).collect();
        let is_other = |database: &&Arc<Database>| {
            **database.path() != *path && database.is_live() && database.file_id() == Some(id)
        };
        databases.iter().find(is_other).map(|database| database.path().to_path_buf())
    }

    /// The registry of the whole process.
    pub(crate) fn of_process() -> Arc<Registry> {
        static REGISTRY: OnceLock<Arc<Registry>> = OnceLock::new();
        Arc::clone(REGISTRY.get_or_init(Registry::new))
    }

    /// Prevents a forked child from opening a database that it has inherited from its parent and dropped.
    pub(crate) fn inherit(&self, path: &Arc<Path>, parent: u32) {
        self.inherited.lock().insert(Arc::clone(path), parent);
    }

    /// The database at a path, created if it is not registered yet.
    pub(crate) fn database(
        self: &Arc<Registry>,
        path: &Path,
        settings: &Arc<Settings>,
    ) -> Result<Arc<Database>, Error> {
        let os = &*settings.os;
        let canonical = resolve(path, settings, true, LINKS_MAX)?;
        check_length(&canonical, settings)?;
        let status = os.status(&canonical).ok().flatten();
        if status.is_some_and(|status| status.kind == FileKind::Directory) {
            return Err(Error::new(path, Operation::Resolve, Cause::Directory));
        }
        let failed = |cause| Err(Error::new(&canonical, Operation::Resolve, cause));
        if let Some(parent) = self.inherited.lock().get(canonical.as_path()).copied().filter(|pid| *pid != os.pid()) {
            return failed(Cause::ForkedChild { parent });
        }
        // Dropped after the lock: dropping the last handle closes the database, and emits events.
        let mut seen: Vec<Arc<Database>> = Vec::new();
        let mut databases = self.databases.lock();
        databases.retain(|_, database| database.strong_count() > 0);
        seen.extend(databases.values().filter_map(Weak::upgrade));
        if let Some(database) = seen.iter().find(|database| **database.path() == *canonical) {
            // Inherited by a forked child, and with it SQLite's table of locks.
            if database.pid() != os.pid() && database.is_live() {
                return failed(Cause::ForkedChild { parent: database.pid() });
            }
            if database.pid() == os.pid() && !database.is_closed() {
                let is_same = Arc::ptr_eq(database.settings(), settings);
                return match database.settings().difference(settings).filter(|_| !is_same) {
                    Some(knob) => failed(Cause::OtherSettings { knob }),
                    None => Ok(Arc::clone(database)),
                };
            }
        }
        if let Some(id) = status.map(|status| status.id) {
            let same = |database: &&Arc<Database>| {
                **database.path() != *canonical && database.is_live() && database.file_id() == Some(id)
            };
            if let Some(other) = seen.iter().find(same) {
                return failed(Cause::HardLinked { other: other.path().to_path_buf() });
            }
        }
        let canonical: Arc<Path> = canonical.into();
        let database = Arc::new(Database::new(Arc::clone(&canonical), Arc::clone(settings), Arc::clone(self)));
        databases.insert(canonical, Arc::downgrade(&database));
        Ok(database)
    }
}

/// The most symbolic links that are followed one after another, as on Linux.
const LINKS_MAX: u32 = 40;

/// The canonical path of a database, as far as it can be told without creating anything.
pub(crate) fn canonical(path: &Path, settings: &Settings) -> Option<PathBuf> {
    resolve(path, settings, false, LINKS_MAX).ok()
}

/// The canonical path of a database file, which need not exist yet. Its directory has to, or is created if the settings
/// say so.
fn resolve(path: &Path, settings: &Settings, makes_parent: bool, links_max: u32) -> Result<PathBuf, Error> {
    let os = &*settings.os;
    let failed = |cause| Error::new(path, Operation::Resolve, cause);
    if settings.flags.contains(OpenFlags::SQLITE_OPEN_MEMORY) {
        return Err(failed(Cause::NoFile("its flags ask for a database in memory, which has no file")));
    }
    if let Some(why) = no_file(path) {
        return Err(failed(Cause::NoFile(why)));
    }
    match os.canonicalize(path) {
        Ok(canonical) => Ok(canonical),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let name = path.file_name().ok_or_else(|| failed(Cause::Directory))?;
            let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
            if makes_parent && settings.creates_directories && settings.flags.contains(OpenFlags::SQLITE_OPEN_CREATE) {
                os.create_dir_all(parent).map_err(|error| failed(Cause::Io(error)))?;
            }
            let parent = os.canonicalize(parent).map_err(|error| failed(no_directory(parent, error, os)))?;
            let canonical = parent.join(name);
            // SQLite creates the file at the target of the link, and the side files beside that.
            match os.read_link(&canonical) {
                Ok(target) if links_max > 0 => resolve(&parent.join(target), settings, makes_parent, links_max - 1),
                _ => Ok(canonical),
            }
        }
        Err(error) => Err(failed(Cause::Io(error))),
    }
}

/// The first directory on the way that is missing.
fn no_directory(parent: &Path, error: io::Error, os: &dyn Os) -> Cause {
    if error.kind() != io::ErrorKind::NotFound {
        return Cause::Io(error);
    }
    let is_missing = |directory: &&Path| {
        !directory.as_os_str().is_empty()
            && os.canonicalize(directory).is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
    };
    let missing = parent.ancestors().take_while(is_missing).last().unwrap_or(parent);
    Cause::NoDirectory { directory: missing.to_owned(), error }
}

/// Names that SQLite does not read as a path.
fn no_file(path: &Path) -> Option<&'static str> {
    let text = path.to_string_lossy();
    if text.is_empty() {
        Some("it is empty, which is a temporary database to SQLite")
    } else if text == ":memory:" {
        Some("a database in memory has no file to be shared or recovered")
    } else if text.starts_with("file:") {
        Some("it is a URI; the builder has a method for each of its parameters")
    } else if text.contains('\0') {
        Some("there is a zero byte in it")
    } else {
        None
    }
}

impl std::fmt::Debug for Registry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Registry").field(&self.paths()).finish()
    }
}
