//! What a machine keeps while it records its disk.

use super::change::{ChangeKind, Event, EventKind, FileId, Name, Origin};
use super::choices;
use super::content::Content;
use super::image::{Fate, Image};
use super::state::DiskState;
use crate::fault::SyncFate;
use crate::seed::Seed;
use std::collections::{BTreeMap, BTreeSet};

/// The size of a page of the system's cache, in which pages are clean or dirty.
pub(in crate::media::sim) const CACHE_PAGE_BYTES: u64 = 4096;

/// All that happened to a disk.
#[derive(Clone, Debug)]
pub struct Recording {
    /// The disk at the beginning, all of it durable.
    pub base: DiskState,
    /// What happened since.
    pub events: Vec<Event>,
}

/// See the module's documentation.
#[derive(Debug)]
pub(in crate::media::sim) struct Recorder {
    state: DiskState,
    history: Option<Recording>,
    /// Syncs so far.
    epochs: BTreeMap<FileId, u32>,
    /// Pages that are visible and clean and not on the disk.
    stale: BTreeMap<FileId, BTreeSet<u64>>,
    /// Files whose next sync reports the failure of an earlier one.
    late: BTreeSet<FileId>,
}

impl Recorder {
    pub(in crate::media::sim) fn new(state: DiskState, keeps_history: bool) -> Self {
        let history = keeps_history.then(|| Recording { base: state.clone(), events: Vec::new() });
        Self { state, history, epochs: BTreeMap::new(), stale: BTreeMap::new(), late: BTreeSet::new() }
    }

    pub(in crate::media::sim) fn state(&self) -> &DiskState {
        &self.state
    }

    pub(in crate::media::sim) fn into_history(self) -> Option<Recording> {
        self.history
    }

    /// How many events there were, if they are kept.
    pub(in crate::media::sim) fn events(&self) -> usize {
        self.history.as_ref().map_or(0, |history| history.events.len())
    }

    /// True if changes of the file are recorded.
    pub(in crate::media::sim) fn knows(&self, file: FileId) -> bool {
        self.state.knows(file)
    }

    pub(in crate::media::sim) fn changed(&mut self, origin: Origin, kind: ChangeKind) {
        let epoch = kind.file().and_then(|file| self.epochs.get(&file)).copied().unwrap_or(0);
        self.happened(Origin { epoch, ..origin }, EventKind::Change(kind));
    }

    /// The stretch that becomes dirty by a write: the write itself, with whole pages where it touches stale ones.
    pub(in crate::media::sim) fn dirtied(&mut self, file: FileId, offset: u64, length: u64) -> (u64, u64) {
        let (mut start, mut end) = (offset, offset + length);
        if let Some(stale) = self.stale.get_mut(&file) {
            for page in offset / CACHE_PAGE_BYTES..(offset + length).div_ceil(CACHE_PAGE_BYTES) {
                if stale.remove(&page) {
                    start = start.min(page * CACHE_PAGE_BYTES);
                    end = end.max((page + 1) * CACHE_PAGE_BYTES);
                }
            }
        }
        (start, end)
    }

    /// A sync of the file; false if it is to fail.
    pub(in crate::media::sim) fn synced(&mut self, origin: Origin, file: FileId) -> bool {
        if self.late.remove(&file) {
            return false;
        }
        *self.epochs.entry(file).or_default() += 1;
        self.happened(origin, EventKind::Sync { file });
        true
    }

    /// True if the failure of an earlier sync is to be reported now.
    pub(in crate::media::sim) fn take_late(&mut self, file: FileId) -> bool {
        self.late.remove(&file)
    }

    pub(in crate::media::sim) fn synced_directory(&mut self, origin: Origin, directory: &[u8]) {
        self.happened(origin, EventKind::SyncDirectory { directory: directory.into() });
    }

    pub(in crate::media::sim) fn sync_failed(&mut self, origin: Origin, file: FileId, fate: SyncFate) {
        let stale = self.stale.entry(file).or_default();
        for change in self.state.pending() {
            if let ChangeKind::Write { file: of, offset, bytes, .. } = &change.kind
                && *of == file
            {
                let end = (offset + bytes.len() as u64).div_ceil(CACHE_PAGE_BYTES);
                stale.extend(offset / CACHE_PAGE_BYTES..end);
            }
        }
        if fate == SyncFate::Reverted {
            stale.clear();
        }
        if fate == SyncFate::Late {
            self.late.insert(file);
        }
        self.happened(origin, EventKind::FailedSync { file, fate });
    }

    pub(in crate::media::sim) fn directory_sync_failed(&mut self, origin: Origin, directory: &[u8], fate: SyncFate) {
        self.happened(origin, EventKind::FailedSyncDirectory { directory: directory.into(), fate });
    }

    fn happened(&mut self, origin: Origin, kind: EventKind) {
        let event = Event { origin, kind };
        self.state.apply(&event);
        if let Some(history) = &mut self.history {
            history.events.push(event);
        }
    }

    /// The names that are durable.
    pub(in crate::media::sim) fn durable_names(&self) -> &BTreeMap<Name, FileId> {
        &self.state.names
    }

    /// The durable bytes of a file.
    pub(in crate::media::sim) fn durable(&self, file: FileId) -> Content {
        self.state.durable(file).cloned().unwrap_or_default()
    }

    /// The stale pages of all files, which are forgotten.
    pub(in crate::media::sim) fn take_stale(&mut self) -> BTreeMap<FileId, BTreeSet<u64>> {
        std::mem::take(&mut self.stale)
    }

    /// What a cut leaves, drawn from a seed.
    pub(in crate::media::sim) fn draw(&self, seed: Seed) -> Image {
        let fates: Vec<Fate> = choices::draw(&self.state, &mut seed.rng());
        self.state.image(&fates)
    }

    /// Goes on with this disk, all of it durable.
    pub(in crate::media::sim) fn restart(&mut self, files: Vec<(Name, FileId, Content)>) {
        *self = Self::new(DiskState::new(self.state.device, files), self.history.is_some());
    }
}
