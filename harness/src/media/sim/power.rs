//! Power cuts and failing syncs: the machine's side of [`durability`](super::durability).
//!
//! # Fault model
//! - A power cut ends all processes. The disk then holds an [`Image`]; every wal-index is gone.
//! - Eviction of the cache shows what is on the disk in the place of clean pages that are not on it. Dirty pages stay.

use super::disk::InodeId;
use super::durability::{
    ChangeKind, Content, Device, DiskState, FileId, Image, Name, Origin, Recorder, Recording, directory_of,
};
use super::machine::Machine;
use crate::call::Role;
use crate::fault::SyncFate;
use crate::runtime::{self, current_actor};
use crate::seed::Seed;
use rusqlite::ffi;
use std::ffi::c_int;
use std::rc::Rc;

/// The names of wal-indexes end so. They are not recorded.
const SHM: &[u8] = b"-shm";

impl Machine {
    /// Uses this device from now on, until the next reset.
    pub fn set_device(&mut self, device: Device) {
        self.device = device;
    }

    /// The device.
    pub fn device(&self) -> Device {
        self.device
    }

    /// Tells durable from visible from now on, until the next reset. What is there now is durable. With
    /// `keeps_history`, all that happens is kept for [`Self::take_recording`].
    pub fn record_disk(&mut self, keeps_history: bool) {
        let names: Vec<(Vec<u8>, InodeId)> = self.names.iter().map(|(name, inode)| (name.to_vec(), inode)).collect();
        let names = names.into_iter().filter(|(name, _)| !name.ends_with(SHM));
        let file = |(name, inode): (Vec<u8>, InodeId)| {
            (Rc::from(name), self.disk.file_id(inode), Content::from_bytes(&self.disk.bytes(inode).to_vec()))
        };
        let state = DiskState::new(self.device, names.map(file).collect::<Vec<_>>());
        self.recorder = Some(Box::new(Recorder::new(state, keeps_history)));
    }

    /// How many events the recording has.
    pub fn recorded_events(&self) -> usize {
        self.recorder.as_ref().map_or(0, |recorder| recorder.events())
    }

    /// What is durable and what is pending, while the disk is recorded.
    pub fn disk_state(&self) -> Option<&DiskState> {
        self.recorder.as_ref().map(|recorder| recorder.state())
    }

    /// Ends the recording.
    pub fn take_recording(&mut self) -> Option<Recording> {
        self.recorder.take()?.into_history()
    }

    /// Puts the files of an image in the place of all files. Processes that have files open keep these, without a name.
    pub fn install(&mut self, image: &Image) {
        let names: Vec<Vec<u8>> = self.names.iter().map(|(name, _)| name.to_vec()).collect();
        let recorder = self.recorder.take();
        for name in names {
            self.take_name(&name);
        }
        let mut files: Vec<(Name, FileId, Content)> = Vec::new();
        for (name, content) in &image.files {
            let inode = self.create(name);
            self.fill(inode, content);
            files.push((Rc::clone(name), self.disk.file_id(inode), content.clone()));
        }
        self.recorder = recorder;
        if let Some(recorder) = &mut self.recorder {
            recorder.restart(files);
        }
    }

    fn fill(&mut self, inode: InodeId, content: &Content) {
        // It fits: the disk had as much before.
        let _ = self.disk.truncate(inode, 0);
        let _ = self.disk.truncate(inode, content.len());
        for (offset, bytes) in content.runs() {
            let length = bytes.len().min((content.len() as usize).saturating_sub(offset));
            let _ = self.disk.write(inode, offset as u64, &bytes[..length]);
        }
    }

    /// The power is cut: all processes die, and the disk holds an image that is drawn from a seed. False if the disk is
    /// not recorded.
    pub fn cut_power(&mut self, seed: Seed) -> bool {
        let Some(image) = self.recorder.as_ref().map(|recorder| recorder.draw(seed)) else { return false };
        for process in self.running() {
            self.kill(process);
        }
        self.resume_living();
        self.install(&image);
        self.switch_to_caller();
        true
    }

    /// The system's cache forgets clean pages: what is not on the disk is not visible any more.
    pub fn evict_cache(&mut self) {
        let Some(mut recorder) = self.recorder.take() else { return };
        for (file, pages) in recorder.take_stale() {
            let Some(inode) = self.disk.inode_of(file) else { continue };
            let durable = recorder.durable(file).to_vec();
            for page in pages {
                let start = (page * super::durability::CACHE_PAGE_BYTES) as usize;
                let end = (start + super::durability::CACHE_PAGE_BYTES as usize).min(self.disk.size(inode) as usize);
                let mut bytes = durable.get(start..end.min(durable.len())).unwrap_or_default().to_vec();
                bytes.resize(end.saturating_sub(start), 0);
                let _ = self.disk.write(inode, start as u64, &bytes);
            }
        }
        self.recorder = Some(recorder);
    }

    // --------------------------------------------------------------------------------------------
    // For the devices

    fn origin(&self, role: Role) -> Origin {
        let call = self.clock.calls().saturating_sub(1);
        Origin { call, actor: current_actor(), section: runtime::current_section(), role, epoch: 0 }
    }

    /// The bytes of a file have changed, from length `before` on.
    #[inline]
    pub(super) fn note_write(&mut self, inode: InodeId, name: &[u8], offset: u64, bytes: &[u8], before: u64) {
        if self.recorder.is_some() {
            self.record_write(inode, name, offset, bytes, before);
        }
    }

    #[cold]
    fn record_write(&mut self, inode: InodeId, name: &[u8], offset: u64, bytes: &[u8], length_before: u64) {
        let (file, origin) = (self.disk.file_id(inode), self.origin(Role::of_path(name)));
        let Some(recorder) = self.recorder.as_mut().filter(|recorder| recorder.knows(file)) else { return };
        let (start, end) = recorder.dirtied(file, offset, bytes.len() as u64);
        let end = end.min(self.disk.size(inode)).max(offset + bytes.len() as u64);
        let (offset, bytes) = if (start, end) == (offset, offset + bytes.len() as u64) {
            (offset, Rc::from(bytes))
        } else {
            let whole = self.disk.bytes(inode).region(start, end - start);
            (start, whole.map_or_else(Vec::new, |bytes| bytes.to_vec()).into())
        };
        recorder.changed(origin, ChangeKind::Write { file, offset, bytes, length_before });
    }

    /// A file has another length.
    pub(super) fn note_truncate(&mut self, inode: InodeId, name: &[u8], length: u64) {
        let (file, origin) = (self.disk.file_id(inode), self.origin(Role::of_path(name)));
        if let Some(recorder) = self.recorder.as_mut().filter(|recorder| recorder.knows(file)) {
            recorder.changed(origin, ChangeKind::Truncate { file, length });
        }
    }

    /// A name leads to a file.
    pub(super) fn note_bind(&mut self, name: &[u8], inode: InodeId) {
        let file = self.disk.file_id(inode);
        self.note_names(name, |name| ChangeKind::Bind { name, file });
    }

    /// A name is gone.
    pub(super) fn note_unbind(&mut self, name: &[u8]) {
        self.note_names(name, |name| ChangeKind::Unbind { name });
    }

    /// A file has another name.
    pub(super) fn note_rename(&mut self, from: &[u8], to: &[u8]) {
        if !to.ends_with(SHM) {
            self.note_names(from, |from| ChangeKind::Rename { from, to: Rc::from(to) });
        }
    }

    fn note_names(&mut self, name: &[u8], kind: impl FnOnce(Name) -> ChangeKind) {
        if self.recorder.is_none() || name.ends_with(SHM) {
            return;
        }
        let origin = self.origin(Role::of_path(name));
        if let Some(recorder) = &mut self.recorder {
            recorder.changed(origin, kind(Rc::from(name)));
        }
    }

    /// A sync of an open file, with a fate in its flags.
    pub(super) fn sync(&mut self, number: u32, flags: c_int) -> c_int {
        if let Err(code) = self.admit(number) {
            return code;
        }
        if self.recorder.is_none() {
            return ffi::SQLITE_OK;
        }
        let file = &self.files[number as usize];
        let (inode, name) = (file.inode, file.name.clone());
        let (id, origin) = (self.disk.file_id(inode), self.origin(Role::of_path(&name)));
        let Some(recorder) = &mut self.recorder else { return ffi::SQLITE_OK };
        if let Some(fate) = SyncFate::of_flags(flags) {
            let is_due = recorder.take_late(id);
            recorder.sync_failed(origin, id, fate);
            if is_due {
                recorder.take_late(id);
                return self.fail_file(number, libc::EIO, ffi::SQLITE_IOERR_FSYNC);
            }
            let durable = (fate == SyncFate::Reverted).then(|| recorder.durable(id));
            if let Some(content) = durable {
                self.fill(inode, &content);
            }
            return ffi::SQLITE_OK;
        }
        if !recorder.synced(origin, id) {
            return self.fail_file(number, libc::EIO, ffi::SQLITE_IOERR_FSYNC);
        }
        // Only after the file has been synced (os_unix.c, `unixSync`).
        if std::mem::take(&mut self.files[number as usize].syncs_directory) {
            recorder.synced_directory(Origin { role: Role::Dir, ..origin }, directory_of(&name));
        }
        ffi::SQLITE_OK
    }

    /// A sync of the directory of a name, with a fate in its flags.
    pub(super) fn sync_directory(&mut self, name: &[u8], flags: c_int) {
        let origin = self.origin(Role::Dir);
        let Some(recorder) = &mut self.recorder else { return };
        let directory = directory_of(name);
        let Some(fate) = SyncFate::of_flags(flags) else { return recorder.synced_directory(origin, directory) };
        recorder.directory_sync_failed(origin, directory, fate);
        if fate == SyncFate::Reverted {
            self.revert_names(directory);
        }
    }

    /// Names are what they are on the disk.
    fn revert_names(&mut self, directory: &[u8]) {
        let Some(recorder) = self.recorder.take() else { return };
        let visible: Vec<Vec<u8>> = self.names.iter().map(|(name, _)| name.to_vec()).collect();
        for name in visible.iter().filter(|name| directory_of(name) == directory && !name.ends_with(SHM)) {
            let durable = recorder.durable_names().get(&name[..]);
            if durable.copied() != self.names.get(name).map(|inode| self.disk.file_id(inode)) {
                self.take_name(name);
            }
        }
        for (name, file) in recorder.durable_names().iter().filter(|(name, _)| directory_of(name) == directory) {
            if self.names.get(name).is_some() {
                continue;
            }
            match self.disk.inode_of(*file) {
                Some(inode) => {
                    self.disk.name(inode);
                    self.names.bind(name, inode);
                }
                None => {
                    // Nothing leads to the inode any more, but its bytes are on the disk.
                    let inode = self.create(name);
                    self.fill(inode, &recorder.durable(*file));
                }
            }
        }
        self.recorder = Some(recorder);
    }
}
