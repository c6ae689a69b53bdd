//! The disk: inodes and their bytes.
//!
//! # Fault model
//! - A write is seen at once by all processes, whole, and lasts: it survives the process that made it. Nothing tears,
//!   rots or gets lost here; the shim does that, on the way in or out.
//! - An inode lives while it has a name or is open. So a file that was unlinked, or renamed over, goes on for those who
//!   have it open, beside a new file of the same name.
//! - The disk has [`DISK_BYTES_MAX`] bytes, counted in chunks. A write that needs more fails with `SQLITE_FULL`. Holes
//!   take no room. A file ends at [`FILE_BYTES_MAX`] at the latest (`EFBIG`).
//! - Here are the visible bytes. What of them survives a power cut is in [`durability`](super::durability).
//!
//! # Memory
//! The bytes of an inode lie in chunks that never move while the inode lives, so pointers into them can be given to
//! SQLite (memory-mapped files, the wal-index). They are cells, since SQLite reads and writes through those pointers
//! behind the owner's back. Chunks go from inode to inode without being freed or cleared; what lies behind the end of a
//! file is therefore arbitrary, and is cleared when the file grows over it.

use super::ffi::{copy_in, copy_out};
use super::lock_levels::Holder;
use super::posix::ByteLocks;
use std::cell::Cell;
use std::iter;
use std::mem::MaybeUninit;
use std::rc::Rc;

/// Bytes in a chunk. No page of a database (at most 64 KiB, a power of two) and no region of a wal-index (32 KiB)
/// crosses from one chunk to the next.
pub(super) const CHUNK_BYTES: usize = 1 << 16;

/// Readable bytes behind a chunk. SQLite may read a little beyond a mapped page of a corrupt database (os_unix.c,
/// `unixFetch`).
pub(super) const SLACK_BYTES: usize = 256;

/// The capacity of the disk.
pub(super) const DISK_BYTES_MAX: u64 = 1 << 28;

/// The end of the largest possible file.
pub(super) const FILE_BYTES_MAX: u64 = 1 << 32;

/// An inode's number. It is given to another inode when this one is gone.
pub(super) type InodeId = u32;

/// A stretch of memory with a fixed address, of `CHUNK_BYTES + SLACK_BYTES` bytes.
#[derive(Clone, Debug)]
struct Chunk(Rc<[Cell<u8>]>);

impl Chunk {
    fn new() -> Self {
        Self(iter::repeat_with(|| Cell::new(0)).take(CHUNK_BYTES + SLACK_BYTES).collect())
    }

    fn clear(&self, from: usize, to: usize) {
        for cell in &self.0[from..to] {
            cell.set(0);
        }
    }
}

/// Why bytes could not be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StoreError {
    /// The disk is full.
    Full,
    /// No file can be that long.
    TooLong,
}

/// A file.
#[derive(Debug, Default)]
pub(super) struct Inode {
    size: u64,
    /// `None` is a hole: all zeroes.
    chunks: Vec<Option<Chunk>>,
    /// How many names lead here.
    names: u32,
    /// How many hold it open: files, and mappings of wal-indexes.
    opens: u32,
    /// The number of the change that created it, and of the last one to its bytes. The disk counts changes.
    born: u64,
    modified: u64,
    /// The last change to its bytes or its names.
    changed: u64,
    pub(super) locks: ByteLocks,
    /// What each process's VFS keeps for the inode.
    pub(super) holders: Vec<Holder>,
}

/// The disk of a machine.
#[derive(Debug, Default)]
pub(super) struct Disk {
    inodes: Vec<Inode>,
    free: Vec<InodeId>,
    /// Chunks of no inode.
    pool: Vec<Chunk>,
    /// Chunks of inodes that were open when the disk was reset; SQLite may still have their addresses.
    condemned: Vec<Chunk>,
    /// Chunks of inodes.
    used: u64,
    /// Changes so far: inodes created, writes, truncations.
    changes: u64,
}

impl Disk {
    #[inline]
    pub(super) fn inode(&self, id: InodeId) -> &Inode {
        &self.inodes[id as usize]
    }

    #[inline]
    pub(super) fn inode_mut(&mut self, id: InodeId) -> &mut Inode {
        &mut self.inodes[id as usize]
    }

    pub(super) fn inodes(&self) -> impl Iterator<Item = &Inode> {
        self.inodes.iter()
    }

    pub(super) fn inodes_mut(&mut self) -> impl Iterator<Item = &mut Inode> {
        self.inodes.iter_mut()
    }

    /// An empty inode, without a name and not open; the caller changes that at once.
    pub(super) fn create(&mut self) -> InodeId {
        let id = self.free.pop().unwrap_or_else(|| {
            self.inodes.push(Inode::default());
            (self.inodes.len() - 1) as InodeId
        });
        self.note_change(id);
        self.inodes[id as usize].born = self.changes;
        id
    }

    #[inline]
    fn note_change(&mut self, id: InodeId) {
        self.changes += 1;
        let inode = &mut self.inodes[id as usize];
        (inode.modified, inode.changed) = (self.changes, self.changes);
    }

    /// The inode has another name.
    pub(super) fn renamed(&mut self, id: InodeId) {
        self.changes += 1;
        self.inodes[id as usize].changed = self.changes;
    }

    /// The changes that created the inode, that last changed its bytes, and that last changed bytes or name.
    pub(super) fn changes(&self, id: InodeId) -> [u64; 3] {
        let inode = self.inode(id);
        [inode.born, inode.modified, inode.changed]
    }

    /// The inode's number for recordings, which no other inode has had since the reset.
    #[inline]
    pub(super) fn file_id(&self, id: InodeId) -> u64 {
        self.inode(id).born
    }

    /// The inode with this number for recordings, if it is in use.
    pub(super) fn inode_of(&self, file: u64) -> Option<InodeId> {
        let is_it = |inode: &Inode| inode.born == file && (inode.names > 0 || inode.opens > 0);
        self.inodes.iter().position(is_it).map(|index| index as InodeId)
    }

    pub(super) fn open(&mut self, id: InodeId) {
        self.inodes[id as usize].opens += 1;
    }

    pub(super) fn close(&mut self, id: InodeId) {
        self.inodes[id as usize].opens -= 1;
        self.release(id);
    }

    pub(super) fn name(&mut self, id: InodeId) {
        self.inodes[id as usize].names += 1;
    }

    pub(super) fn unname(&mut self, id: InodeId) {
        self.inodes[id as usize].names -= 1;
        self.release(id);
    }

    /// Frees the inode if nothing leads to it.
    fn release(&mut self, id: InodeId) {
        let inode = &mut self.inodes[id as usize];
        if inode.names > 0 || inode.opens > 0 {
            return;
        }
        debug_assert!(inode.holders.is_empty(), "an inode that is not open has no holders");
        inode.size = 0;
        inode.locks.clear();
        inode.holders.clear();
        let before = self.pool.len();
        self.pool.extend(inode.chunks.drain(..).flatten());
        self.used -= (self.pool.len() - before) as u64;
        self.free.push(id);
    }

    /// Makes the disk empty and keeps its memory.
    pub(super) fn reset(&mut self) {
        self.free.clear();
        for (id, inode) in self.inodes.iter_mut().enumerate().rev() {
            let heir = if inode.opens > 0 { &mut self.condemned } else { &mut self.pool };
            heir.extend(inode.chunks.drain(..).flatten());
            inode.size = 0;
            inode.names = 0;
            inode.opens = 0;
            inode.locks.clear();
            inode.holders.clear();
            self.free.push(id as InodeId);
        }
        self.used = 0;
        self.changes = 0;
    }

    /// How many names lead to the inode.
    pub(super) fn names(&self, id: InodeId) -> u32 {
        self.inode(id).names
    }

    #[inline]
    pub(super) fn size(&self, id: InodeId) -> u64 {
        self.inode(id).size
    }

    /// The bytes of an inode, for looking at.
    pub(super) fn bytes(&self, id: InodeId) -> Bytes<'_> {
        let inode = self.inode(id);
        Bytes { inode, start: 0, end: inode.size }
    }

    /// Copies bytes from `offset` on into `out` and returns how many there were. The rest of `out` becomes zeroes.
    #[inline]
    pub(super) fn read(&self, id: InodeId, offset: u64, out: &mut [MaybeUninit<u8>]) -> usize {
        let inode = self.inode(id);
        let there = inode.size.saturating_sub(offset).min(out.len() as u64) as usize;
        let (wanted, beyond) = out.split_at_mut(there);
        inode.copy_out(offset, wanted);
        beyond.fill(MaybeUninit::new(0));
        there
    }

    /// Stores `bytes` at `offset`; the file grows if need be.
    #[inline]
    pub(super) fn write(&mut self, id: InodeId, offset: u64, bytes: &[u8]) -> Result<(), StoreError> {
        if bytes.is_empty() {
            return Ok(());
        }
        let end = self.prepare(id, offset, bytes.len())?;
        self.note_change(id);
        let inode = self.inode_mut(id);
        let mut position = offset;
        let mut rest = bytes;
        while !rest.is_empty() {
            let (index, within) = split(position);
            let (now, later) = rest.split_at(rest.len().min(CHUNK_BYTES - within));
            if let Some(chunk) = &inode.chunks[index] {
                copy_in(&chunk.0[within..within + now.len()], now);
            }
            position += now.len() as u64;
            rest = later;
        }
        inode.size = inode.size.max(end);
        Ok(())
    }

    /// Sets the size.
    pub(super) fn truncate(&mut self, id: InodeId, size: u64) -> Result<(), StoreError> {
        if size > FILE_BYTES_MAX {
            return Err(StoreError::TooLong);
        }
        self.note_change(id);
        let inode = self.inode_mut(id);
        if size > inode.size {
            inode.grow_chunks(size);
            inode.clear(inode.size, size);
        }
        inode.size = size;
        Ok(())
    }

    /// The memory of the bytes from `offset` on, which stays theirs while the inode is open. `None` if they cross from
    /// one chunk to the next or the disk is full.
    pub(super) fn memory(&mut self, id: InodeId, offset: u64, length: usize) -> Option<&[Cell<u8>]> {
        let (index, within) = split(offset);
        if within + length > CHUNK_BYTES {
            return None;
        }
        let size = self.size(id);
        self.prepare(id, offset, length).ok()?;
        let inode = self.inode_mut(id);
        // What was behind the end until now has been taken into use without the file growing: it reads as zeroes.
        if size < offset + length as u64 {
            inode.clear(size.max(offset), offset + length as u64);
        }
        Some(&inode.chunks[index].as_ref()?.0[within..within + length + SLACK_BYTES])
    }

    /// Makes chunks for the bytes from `offset` on, and clears what lies between the end of the file and `offset`.
    /// Returns the end of the bytes.
    #[inline]
    fn prepare(&mut self, id: InodeId, offset: u64, length: usize) -> Result<u64, StoreError> {
        let end = offset.checked_add(length as u64).filter(|&end| end <= FILE_BYTES_MAX).ok_or(StoreError::TooLong)?;
        let inode = &mut self.inodes[id as usize];
        inode.grow_chunks(end);
        for index in split(offset).0..end.div_ceil(CHUNK_BYTES as u64) as usize {
            if inode.chunks[index].is_none() {
                if (self.used + 1) * CHUNK_BYTES as u64 > DISK_BYTES_MAX {
                    return Err(StoreError::Full);
                }
                let chunk = self.pool.pop().unwrap_or_else(Chunk::new);
                // A hole reads as zeroes as far as the file goes.
                let start = (index * CHUNK_BYTES) as u64;
                chunk.clear(0, inode.size.saturating_sub(start).min(CHUNK_BYTES as u64) as usize);
                inode.chunks[index] = Some(chunk);
                self.used += 1;
            }
        }
        if offset > inode.size {
            inode.clear(inode.size, offset);
        }
        Ok(end)
    }
}

/// The chunk that a position lies in, and the place in it.
#[inline]
fn split(position: u64) -> (usize, usize) {
    ((position / CHUNK_BYTES as u64) as usize, (position % CHUNK_BYTES as u64) as usize)
}

impl Inode {
    /// Makes the list of chunks long enough for `size` bytes.
    #[inline]
    fn grow_chunks(&mut self, size: u64) {
        let needed = size.div_ceil(CHUNK_BYTES as u64) as usize;
        if self.chunks.len() < needed {
            self.chunks.resize(needed, None);
        }
    }

    /// Sets the bytes from one position to another to zero, where there are any.
    fn clear(&self, from: u64, to: u64) {
        let mut position = from;
        while position < to {
            let (index, within) = split(position);
            let now = (to - position).min((CHUNK_BYTES - within) as u64);
            if let Some(Some(chunk)) = self.chunks.get(index) {
                chunk.clear(within, within + now as usize);
            }
            position += now;
        }
    }

    #[inline]
    fn copy_out(&self, offset: u64, out: &mut [MaybeUninit<u8>]) {
        let mut position = offset;
        let mut rest = out;
        while !rest.is_empty() {
            let (index, within) = split(position);
            let length = rest.len().min(CHUNK_BYTES - within);
            let (now, later) = rest.split_at_mut(length);
            match &self.chunks[index] {
                Some(chunk) => copy_out(&chunk.0[within..within + length], now),
                None => now.fill(MaybeUninit::new(0)),
            }
            position += length as u64;
            rest = later;
        }
    }
}

/// The bytes of a file, or a part of them, as they are now.
#[derive(Clone, Copy, Debug)]
pub struct Bytes<'a> {
    inode: &'a Inode,
    start: u64,
    end: u64,
}

impl<'a> Bytes<'a> {
    /// How many there are.
    pub fn len(self) -> u64 {
        self.end - self.start
    }

    /// True if there are none.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// The part of `length` bytes from `offset` on, if it is there whole.
    pub fn region(self, offset: u64, length: u64) -> Option<Self> {
        let start = self.start.checked_add(offset)?;
        let end = start.checked_add(length).filter(|&end| end <= self.end)?;
        Some(Self { inode: self.inode, start, end })
    }

    /// The bytes from `offset` on, as many as asked for; what is behind the end reads as zero.
    pub fn array<const N: usize>(self, offset: u64) -> [u8; N] {
        let mut bytes = [0; N];
        let mut position = self.end.min(self.start.saturating_add(offset));
        let mut rest = &mut bytes[..(self.end - position).min(N as u64) as usize];
        while !rest.is_empty() {
            let (index, within) = split(position);
            let (now, later) = rest.split_at_mut(rest.len().min(CHUNK_BYTES - within));
            if let Some(chunk) = &self.inode.chunks[index] {
                now.iter_mut().zip(&chunk.0[within..]).for_each(|(byte, cell)| *byte = cell.get());
            }
            position += now.len() as u64;
            rest = later;
        }
        bytes
    }

    /// The number of 32 bits at `offset`, in the machine's own byte order, as the wal-index has them.
    pub fn u32_native(self, offset: u64) -> u32 {
        u32::from_ne_bytes(self.array(offset))
    }

    /// All bytes, one after the other.
    pub fn iter(self) -> impl Iterator<Item = u8> + 'a {
        (self.start..self.end).map(move |position| {
            let (index, within) = split(position);
            self.inode.chunks[index].as_ref().map_or(0, |chunk| chunk.0[within].get())
        })
    }

    /// A copy of them all.
    pub fn to_vec(self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity((self.end - self.start) as usize);
        let mut position = self.start;
        while position < self.end {
            let (index, within) = split(position);
            let length = (CHUNK_BYTES - within).min((self.end - position) as usize);
            match &self.inode.chunks[index] {
                Some(chunk) => bytes.extend(chunk.0[within..within + length].iter().map(Cell::get)),
                None => bytes.resize(bytes.len() + length, 0),
            }
            position += length as u64;
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disk() -> (Disk, InodeId) {
        let mut disk = Disk::default();
        let id = disk.create();
        disk.name(id);
        (disk, id)
    }

    fn read(disk: &Disk, id: InodeId, offset: u64, length: usize) -> Vec<u8> {
        let mut out = vec![MaybeUninit::new(9); length];
        let there = disk.read(id, offset, &mut out);
        assert!(there <= length);
        // What `read` leaves is compared with what the owner sees.
        disk.bytes(id).iter().skip(offset as usize).chain(iter::repeat(0)).take(length).collect()
    }

    #[test]
    fn chunks_that_come_back_into_use_are_clean() {
        let (mut disk, id) = disk();
        disk.write(id, 0, &[7; 3 * CHUNK_BYTES]).unwrap();
        disk.truncate(id, 10).unwrap();
        disk.truncate(id, 20).unwrap();
        assert_eq!(read(&disk, id, 8, 4), [7, 7, 0, 0]);
        disk.write(id, CHUNK_BYTES as u64 + 5, &[1]).unwrap();
        assert!(read(&disk, id, 10, CHUNK_BYTES - 5).iter().all(|&byte| byte == 0));
        disk.unname(id);
        let id = disk.create();
        disk.name(id);
        disk.write(id, 2 * CHUNK_BYTES as u64 + 1, &[1]).unwrap();
        assert!(disk.bytes(id).to_vec()[..2 * CHUNK_BYTES + 1].iter().all(|&byte| byte == 0));
        disk.write(id, 100, &[2]).unwrap();
        assert_eq!(read(&disk, id, 99, 3), [0, 2, 0]);
        assert!(disk.bytes(id).to_vec().into_iter().eq(disk.bytes(id).iter()));
        assert_eq!(disk.bytes(id).iter().filter(|&byte| byte != 0).count(), 2);
    }

    #[test]
    fn the_disk_gets_full_and_has_room_again() {
        let (mut disk, id) = disk();
        disk.truncate(id, FILE_BYTES_MAX).unwrap();
        assert_eq!(disk.truncate(id, FILE_BYTES_MAX + 1), Err(StoreError::TooLong));
        assert_eq!(disk.write(id, u64::MAX, &[1]), Err(StoreError::TooLong));
        let chunks = DISK_BYTES_MAX / CHUNK_BYTES as u64;
        // Room is counted, not made: the pool's memory would be the machine's.
        disk.used = chunks;
        assert_eq!(disk.write(id, 0, &[1]), Err(StoreError::Full));
        disk.used = 0;
        disk.write(id, 0, &[1]).unwrap();
        disk.unname(id);
        assert_eq!((disk.used, disk.pool.len()), (0, 1));
    }

    #[test]
    fn memory_stays_where_it_is_and_shows_what_is_written() {
        let (mut disk, id) = disk();
        disk.write(id, 0, &[0; 8192]).unwrap();
        let address = disk.memory(id, 4096, 4096).unwrap().as_ptr();
        disk.write(id, 0, &[5; 4 * CHUNK_BYTES]).unwrap();
        let memory = disk.memory(id, 4096, 4096).unwrap();
        assert_eq!((memory.as_ptr(), memory[0].get()), (address, 5));
        memory[0].set(6);
        assert_eq!(disk.bytes(id).array::<2>(4096), [6, 5]);
        assert!(disk.memory(id, CHUNK_BYTES as u64 - 1, 2).is_none());
    }

    #[test]
    fn a_reset_does_not_reuse_memory_that_a_dead_process_may_still_read() {
        let (mut disk, id) = disk();
        disk.write(id, 0, &[1]).unwrap();
        disk.open(id);
        let other = disk.create();
        disk.name(other);
        disk.write(other, 0, &[1]).unwrap();
        disk.reset();
        assert_eq!((disk.pool.len(), disk.condemned.len(), disk.used), (1, 1, 0));
    }
}
