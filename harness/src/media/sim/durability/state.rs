//! The state of a disk: what is durable, and what is pending.

use super::change::{Change, ChangeKind, Event, EventKind, FileId, Name};
use super::content::Content;
use super::device::{Device, Directory};
use crate::fault::SyncFate;
use rusqlite::ffi;
use std::collections::BTreeMap;
use std::rc::Rc;

/// See the module's documentation. A clone shares all bytes.
#[derive(Clone, Debug, Default)]
pub struct DiskState {
    pub(super) device: Device,
    /// The names that are durable.
    pub(super) names: BTreeMap<Name, FileId>,
    /// The bytes that are durable, of all files that have a name or will have one.
    pub(super) files: BTreeMap<FileId, Content>,
    /// In the order in which they were made.
    pub(super) pending: Vec<Rc<Change>>,
}

impl DiskState {
    /// A disk with these files, all durable.
    pub fn new(device: Device, files: impl IntoIterator<Item = (Name, FileId, Content)>) -> Self {
        let mut state = Self { device, ..Self::default() };
        for (name, file, content) in files {
            state.names.insert(name, file);
            state.files.insert(file, content);
        }
        state
    }

    /// The device.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// What a power cut may lose, in the order in which it was done.
    pub fn pending(&self) -> &[Rc<Change>] {
        &self.pending
    }

    /// The durable names, each with its file.
    pub fn names(&self) -> impl Iterator<Item = (&[u8], FileId)> {
        self.names.iter().map(|(name, file)| (&**name, *file))
    }

    /// The durable bytes of a file.
    pub fn durable(&self, file: FileId) -> Option<&Content> {
        self.files.get(&file)
    }

    /// True if the file has or had a name on this disk: its changes are recorded.
    pub(super) fn knows(&self, file: FileId) -> bool {
        self.files.contains_key(&file)
    }

    /// The next step in the life of the disk.
    pub fn apply(&mut self, event: &Event) {
        match &event.kind {
            EventKind::Change(kind) => self.change(Change { origin: event.origin, kind: kind.clone() }),
            // What was written before is durable as well.
            EventKind::Sync { .. } | EventKind::SyncDirectory { .. }
                if self.device.has(ffi::SQLITE_IOCAP_SEQUENTIAL) =>
            {
                self.settle(|_| true);
            }
            EventKind::Sync { file } => {
                self.settle(|kind| kind.file() == Some(*file));
                self.commit_names();
            }
            EventKind::SyncDirectory { directory } => {
                self.settle(|kind| kind.is_in(directory));
                self.commit_names();
            }
            EventKind::FailedSync { file, fate } => self.forget(*file, *fate),
            EventKind::FailedSyncDirectory { directory, .. } => {
                self.pending.retain(|change| !change.kind.is_in(directory));
            }
        }
    }

    fn change(&mut self, change: Change) {
        if let ChangeKind::Bind { file, .. } = &change.kind {
            self.files.entry(*file).or_default();
        }
        if change.kind.is_entry() && self.device.directory == Directory::Immediate {
            self.rename_durably(&change.kind);
            self.collect();
        } else if change.kind.file().is_none_or(|file| self.knows(file)) {
            self.pending.push(Rc::new(change));
        }
    }

    /// With names in order, any sync makes all of them durable.
    fn commit_names(&mut self) {
        if self.device.directory == Directory::Ordered {
            self.settle(ChangeKind::is_entry);
        }
    }

    /// Makes the pending changes durable that are selected.
    fn settle(&mut self, is_selected: impl Fn(&ChangeKind) -> bool) {
        if !self.pending.iter().any(|change| is_selected(&change.kind)) {
            return;
        }
        let mut has_names = false;
        for change in std::mem::take(&mut self.pending) {
            if !is_selected(&change.kind) {
                self.pending.push(change);
            } else if change.kind.is_entry() {
                self.rename_durably(&change.kind);
                has_names = true;
            } else {
                self.write_durably(&change.kind);
            }
        }
        if has_names {
            self.collect();
        }
    }

    fn write_durably(&mut self, kind: &ChangeKind) {
        match kind {
            ChangeKind::Write { file, offset, bytes, .. } => {
                self.files.entry(*file).or_default().write(*offset, bytes);
            }
            ChangeKind::Truncate { file, length } => self.files.entry(*file).or_default().truncate(*length),
            _ => {}
        }
    }

    fn rename_durably(&mut self, kind: &ChangeKind) {
        apply_to_names(&mut self.names, kind);
    }

    /// The bytes of a failed sync are lost; the length is metadata, which the file system commits by itself.
    fn forget(&mut self, file: FileId, fate: SyncFate) {
        let Some(content) = self.files.get_mut(&file) else { return };
        if fate != SyncFate::Reverted {
            let length = self.pending.iter().fold(content.len(), |length, change| match &change.kind {
                ChangeKind::Write { file: of, offset, bytes, .. } if *of == file => {
                    length.max(offset + bytes.len() as u64)
                }
                ChangeKind::Truncate { file: of, length } if *of == file => *length,
                _ => length,
            });
            content.truncate(length);
        }
        self.pending.retain(|change| change.kind.file() != Some(file));
    }

    /// Forgets the files that have no name and will not have one.
    fn collect(&mut self) {
        let Self { names, files, pending, .. } = self;
        let is_bound = |file: FileId| {
            let binds = |change: &Rc<Change>| matches!(change.kind, ChangeKind::Bind { file: of, .. } if of == file);
            names.values().any(|named| *named == file) || pending.iter().any(binds)
        };
        files.retain(|file, _| is_bound(*file));
        pending.retain(|change| change.kind.file().is_none_or(|file| files.contains_key(&file)));
    }
}

/// Changes names.
pub(super) fn apply_to_names(names: &mut BTreeMap<Name, FileId>, kind: &ChangeKind) {
    match kind {
        ChangeKind::Bind { name, file } => {
            names.insert(Rc::clone(name), *file);
        }
        ChangeKind::Unbind { name } => {
            names.remove(name);
        }
        ChangeKind::Rename { from, to } => {
            if let Some(file) = names.remove(from) {
                names.insert(Rc::clone(to), file);
            }
        }
        ChangeKind::Write { .. } | ChangeKind::Truncate { .. } => {}
    }
}
