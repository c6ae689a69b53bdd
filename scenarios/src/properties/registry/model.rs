//! What must come of each step: written from the descriptions of stores, caches and the registry alone.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::{CACHES, Settings};

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Answer {
    /// By the connection that was there.
    Shared,
    /// By a new connection.
    Fresh,
    /// It is open with other settings.
    OtherSettings,
    /// It is open under another name.
    HardLinked,
    /// It is the parent's.
    Forked,
    /// It was closed.
    Closed,
    /// The file has lost its name.
    Moved,
    /// There was nothing to call.
    Done,
}

impl Answer {
    #[cfg(test)]
    pub(super) const COUNT: usize = 8;
}

/// An answer, and what is in the registry then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) answer: Answer,
    pub(super) open: Vec<PathBuf>,
}

impl fmt::Display for Told {
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
    /// A bias for the tests of the property: a second name of an open file is a file of its own.
    overlooks_links: bool,
    pub(super) pid: u32,
    slots: Vec<Slot>,
    /// By canonical path.
    registered: BTreeMap<PathBuf, usize>,
    /// The slots of the stores that somebody holds.
    pub(super) stores: Vec<usize>,
    caches: [Cache; CACHES],
}

/// What is behind a store.
struct Slot {
    path: PathBuf,
    settings: Settings,
    pid: u32,
    /// The file that its connection has open.
    open: Option<u64>,
    is_closed: bool,
}

#[derive(Default)]
struct Cache {
    /// As text: to compare paths is to overlook `.` and doubled slashes.
    spelled: BTreeMap<OsString, usize>,
    canonical: BTreeMap<PathBuf, usize>,
}

impl Model {
    pub(super) fn new(overlooks_links: bool) -> Self {
        let (slots, registered, stores, caches) = Default::default();
        Self { overlooks_links, pid: 1, slots, registered, stores, caches }
    }

    /// What is to be told with this answer.
    pub(super) fn told(&self, answer: Answer) -> Told {
        let held = self.registered.iter().filter(|(_, slot)| self.is_held(**slot));
        Told { answer, open: held.map(|(path, _)| path.clone()).collect() }
    }

    pub(super) fn pid_of(&self, slot: usize) -> u32 {
        self.slots[slot].pid
    }

    pub(super) fn open(&mut self, path: &Path, settings: Settings) -> Answer {
        match self.find(path, settings) {
            Ok(slot) => {
                let answer = self.call_slot(slot);
                if matches!(answer, Answer::Shared | Answer::Fresh) {
                    self.stores.push(slot);
                }
                answer
            }
            Err(refusal) => refusal,
        }
    }

    pub(super) fn call(&mut self, store: usize) -> Answer {
        let slot = self.stores[store];
        match &self.slots[slot] {
            Slot { pid, .. } if *pid != self.pid => Answer::Forked,
            Slot { is_closed: true, .. } => Answer::Closed,
            _ => self.call_slot(slot),
        }
    }

    pub(super) fn close(&mut self, store: usize) -> Answer {
        let slot = self.stores[store];
        if self.slots[slot].pid != self.pid {
            return Answer::Forked;
        }
        self.slots[slot].is_closed = true;
        self.close_slot(slot)
    }

    pub(super) fn drop_store(&mut self, store: usize) {
        self.stores.remove(store);
    }

    pub(super) fn call_cache(&mut self, cache: usize, path: &Path) -> Answer {
        let spelled = self.spelled(cache, path);
        let slot = match spelled {
            Some(slot) => slot,
            None => match self.find(path, Settings::Usual) {
                Ok(slot) => slot,
                Err(refusal) => return refusal,
            },
        };
        let canonical = self.slots[slot].path.clone();
        let cache = &mut self.caches[cache];
        if spelled.is_none() {
            cache.canonical.insert(canonical, slot);
            // What a relative path means changes with the working directory.
            if path.is_absolute() {
                cache.spelled.insert(path.as_os_str().to_owned(), slot);
            }
        }
        self.call_slot(slot)
    }

    pub(super) fn close_in_cache(&mut self, cache: usize, path: &Path) -> Answer {
        let by_name = || self.caches[cache].canonical.get(&canonical(path)).copied();
        let Some(slot) = self.spelled(cache, path).or_else(by_name) else { return Answer::Done };
        if self.slots[slot].pid == self.pid { self.close_slot(slot) } else { Answer::Done }
    }

    pub(super) fn drop_cache(&mut self, cache: usize) {
        self.caches[cache] = Cache::default();
    }

    /// What a cache knows under this spelling, if it is still of use.
    fn spelled(&self, cache: usize, path: &Path) -> Option<usize> {
        let slot = self.caches[cache].spelled.get(path.as_os_str()).copied();
        slot.filter(|slot| self.slots[*slot].pid == self.pid && !self.slots[*slot].is_closed)
    }

    /// The slot that a call gets.
    fn find(&mut self, path: &Path, settings: Settings) -> Result<usize, Answer> {
        let canonical = canonical(path);
        if let Some(slot) = self.registered.get(&canonical).copied().filter(|slot| self.is_held(*slot)) {
            match &self.slots[slot] {
                Slot { is_closed: true, .. } => {}
                Slot { pid, settings: others, .. } if *pid == self.pid => {
                    return if *others == settings { Ok(slot) } else { Err(Answer::OtherSettings) };
                }
                Slot { open: Some(_), .. } => return Err(Answer::Forked),
                Slot { open: None, .. } => {}
            }
        }
        if self.is_open_elsewhere(&canonical) {
            return Err(Answer::HardLinked);
        }
        let (pid, open, is_closed) = (self.pid, None, false);
        self.slots.push(Slot { path: canonical.clone(), settings, pid, open, is_closed });
        self.registered.insert(canonical, self.slots.len() - 1);
        Ok(self.slots.len() - 1)
    }

    /// Whether the file at a path is open under another name.
    fn is_open_elsewhere(&self, path: &Path) -> bool {
        let file = file_at(path);
        let mut others = self.registered.iter().filter(|(name, slot)| **name != path && self.is_held(**slot));
        !self.overlooks_links && file.is_some() && others.any(|(_, slot)| self.slots[*slot].open == file)
    }

    fn call_slot(&mut self, slot: usize) -> Answer {
        let Slot { path, open, .. } = &self.slots[slot];
        if open.is_none() && self.is_open_elsewhere(path) {
            return Answer::HardLinked;
        }
        let Slot { path, open, .. } = &mut self.slots[slot];
        match *open {
            Some(file) if file_at(path) != Some(file) => {
                *open = None;
                Answer::Moved
            }
            Some(_) => Answer::Shared,
            None => {
                // The real one has made the file by now.
                *open = file_at(path);
                Answer::Fresh
            }
        }
    }

    fn close_slot(&mut self, slot: usize) -> Answer {
        let Slot { path, open, .. } = &mut self.slots[slot];
        match open.take() {
            Some(file) if file_at(path) != Some(file) => Answer::Moved,
            _ => Answer::Done,
        }
    }

    /// Whether anybody keeps it from being closed and forgotten.
    fn is_held(&self, slot: usize) -> bool {
        let in_caches = self.caches.iter().flat_map(|cache| cache.spelled.values().chain(cache.canonical.values()));
        self.stores.iter().chain(in_caches).any(|held| *held == slot)
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
