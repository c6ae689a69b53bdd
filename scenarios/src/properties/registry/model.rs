//! The model: the reply to each step, from the documentation of stores, caches and the registry alone.

use super::{CACHES, Settings};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Answer {
    /// By the connection that was there.
    Shared,
    /// By a new connection.
    Fresh,
    /// It is open with other settings.
    OtherSettings,
    /// It is open under another name, or has one.
    HardLinked,
    /// It belongs to the parent process.
    Forked,
    /// It was closed.
    Closed,
    /// The file has lost its name.
    Moved,
    /// Nothing was called.
    Done,
}

impl Answer {
    #[cfg(test)]
    pub(super) const COUNT: usize = 8;
}

/// An answer, and the paths that are in the registry then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reply {
    pub(super) answer: Answer,
    pub(super) open: Vec<PathBuf>,
}

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.answer {
            Answer::Shared => "shared",
            Answer::Fresh => "fresh",
            Answer::OtherSettings => "refused for other settings",
            Answer::HardLinked => "refused for another name of the file",
            Answer::Forked => "refused to a forked child",
            Answer::Closed => "closed",
            Answer::Moved => "told that the file has moved",
            Answer::Done => "done",
        })?;
        let names = self.open.iter().map(|path| path.file_name().unwrap_or_default().to_string_lossy());
        let names: Vec<_> = names.collect();
        if names.is_empty() { Ok(()) } else { write!(f, " (open: {})", names.join(", ")) }
    }
}

/// See the module's documentation.
pub(super) struct Model {
    /// A defect for the tests of the property: a second name of an open file counts as another file.
    ignores_links: bool,
    pub(super) pid: u32,
    databases: Vec<Database>,
    /// By canonical path.
    registered: BTreeMap<PathBuf, usize>,
    /// The databases of the stores that are held.
    pub(super) stores: Vec<usize>,
    caches: [Cache; CACHES],
}

/// A database of the process, shared by stores and caches.
struct Database {
    path: PathBuf,
    settings: Settings,
    pid: u32,
    /// The file that its connection has open.
    open: Option<u64>,
    is_closed: bool,
}

#[derive(Default)]
struct Cache {
    /// As text, because a comparison of paths ignores `.` and doubled slashes.
    spelled: BTreeMap<OsString, usize>,
    canonical: BTreeMap<PathBuf, usize>,
}

impl Model {
    pub(super) fn new(ignores_links: bool) -> Self {
        let (databases, registered, stores, caches) = Default::default();
        Self { ignores_links, pid: 1, databases, registered, stores, caches }
    }

    /// The reply with this answer.
    pub(super) fn reply(&self, answer: Answer) -> Reply {
        let held = self.registered.iter().filter(|(_, database)| self.is_held(**database));
        Reply { answer, open: held.map(|(path, _)| path.clone()).collect() }
    }

    pub(super) fn pid_of(&self, database: usize) -> u32 {
        self.databases[database].pid
    }

    pub(super) fn open(&mut self, path: &Path, settings: Settings) -> Answer {
        match self.find(path, settings) {
            Ok(database) => {
                let answer = self.call_database(database);
                if matches!(answer, Answer::Shared | Answer::Fresh) {
                    self.stores.push(database);
                }
                answer
            }
            Err(refusal) => refusal,
        }
    }

    pub(super) fn call(&mut self, store: usize) -> Answer {
        let database = self.stores[store];
        match &self.databases[database] {
            Database { pid, .. } if *pid != self.pid => Answer::Forked,
            Database { is_closed: true, .. } => Answer::Closed,
            _ => self.call_database(database),
        }
    }

    pub(super) fn close(&mut self, store: usize) -> Answer {
        let database = self.stores[store];
        if self.databases[database].pid != self.pid {
            return Answer::Forked;
        }
        self.databases[database].is_closed = true;
        self.close_database(database)
    }

    pub(super) fn drop_store(&mut self, store: usize) {
        self.stores.remove(store);
    }

    pub(super) fn call_cache(&mut self, cache: usize, path: &Path) -> Answer {
        let spelled = self.spelled(cache, path);
        let database = match spelled {
            Some(database) => database,
            None => match self.find(path, Settings::Usual) {
                Ok(database) => database,
                Err(refusal) => return refusal,
            },
        };
        let canonical = self.databases[database].path.clone();
        let cache = &mut self.caches[cache];
        if spelled.is_none() {
            cache.canonical.insert(canonical, database);
            // What a relative path means changes with the working directory.
            if path.is_absolute() {
                cache.spelled.insert(path.as_os_str().to_owned(), database);
            }
        }
        self.call_database(database)
    }

    pub(super) fn close_in_cache(&mut self, cache: usize, path: &Path) -> Answer {
        let by_name = || self.caches[cache].canonical.get(&canonical(path)).copied();
        let Some(database) = self.spelled(cache, path).or_else(by_name) else { return Answer::Done };
        if self.databases[database].pid == self.pid { self.close_database(database) } else { Answer::Done }
    }

    pub(super) fn drop_cache(&mut self, cache: usize) {
        self.caches[cache] = Cache::default();
    }

    /// The database that a cache has under this spelling, if it is still valid.
    fn spelled(&self, cache: usize, path: &Path) -> Option<usize> {
        let database = self.caches[cache].spelled.get(path.as_os_str()).copied();
        database.filter(|database| self.databases[*database].pid == self.pid && !self.databases[*database].is_closed)
    }

    /// The database that a call gets.
    fn find(&mut self, path: &Path, settings: Settings) -> Result<usize, Answer> {
        let canonical = canonical(path);
        if let Some(database) = self.registered.get(&canonical).copied().filter(|database| self.is_held(*database)) {
            match &self.databases[database] {
                Database { is_closed: true, .. } => {}
                Database { pid, settings: others, .. } if *pid == self.pid => {
                    return if *others == settings { Ok(database) } else { Err(Answer::OtherSettings) };
                }
                Database { open: Some(_), .. } => return Err(Answer::Forked),
                Database { open: None, .. } => {}
            }
        }
        if self.is_open_elsewhere(&canonical) {
            return Err(Answer::HardLinked);
        }
        let (pid, open, is_closed) = (self.pid, None, false);
        self.databases.push(Database { path: canonical.clone(), settings, pid, open, is_closed });
        self.registered.insert(canonical, self.databases.len() - 1);
        Ok(self.databases.len() - 1)
    }

    /// Whether the file at a path is open under another name.
    fn is_open_elsewhere(&self, path: &Path) -> bool {
        let file = file_at(path);
        let mut others = self.registered.iter().filter(|(name, database)| **name != path && self.is_held(**database));
        !self.ignores_links && file.is_some() && others.any(|(_, database)| self.databases[*database].open == file)
    }

    fn call_database(&mut self, database: usize) -> Answer {
        let Database { path, open, .. } = &self.databases[database];
        if open.is_none() && self.is_open_elsewhere(path) {
            return Answer::HardLinked;
        }
        if !self.ignores_links && has_second_name(path) && open.is_none_or(|file| file_at(path) == Some(file)) {
            return Answer::HardLinked;
        }
        let Database { path, open, .. } = &mut self.databases[database];
        match *open {
            Some(file) if file_at(path) != Some(file) => {
                *open = None;
                Answer::Moved
            }
            Some(_) => Answer::Shared,
            None => {
                // The real store has created the file by now.
                *open = file_at(path);
                Answer::Fresh
            }
        }
    }

    fn close_database(&mut self, database: usize) -> Answer {
        let Database { path, open, .. } = &mut self.databases[database];
        match open.take() {
            Some(file) if file_at(path) != Some(file) => Answer::Moved,
            _ => Answer::Done,
        }
    }

    /// Whether a store or a cache holds it.
    fn is_held(&self, database: usize) -> bool {
        let in_caches = self.caches.iter().flat_map(|cache| cache.spelled.values().chain(cache.canonical.values()));
        self.stores.iter().chain(in_caches).any(|held| *held == database)
    }
}

/// The one name of a file, whether it exists or not.
fn canonical(path: &Path) -> PathBuf {
    fs::canonicalize(path).unwrap_or_else(|_| {
        let folder = path.parent().and_then(|folder| fs::canonicalize(folder).ok()).unwrap_or_default();
        match fs::read_link(path) {
            Ok(target) => canonical(&folder.join(target)),
            Err(_) => folder.join(path.file_name().unwrap_or_default()),
        }
    })
}

/// The number of the file at a path.
fn file_at(path: &Path) -> Option<u64> {
    fs::metadata(path).ok().map(|file| file.ino())
}

fn has_second_name(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|file| file.nlink() > 1)
}
