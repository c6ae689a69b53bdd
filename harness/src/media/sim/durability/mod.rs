//! Durability: what is on the disk, apart from what processes see.
//!
//! A write, a truncation or a change of a name is *visible* at once and *durable* after a sync. In between it is
//! *pending*. A power cut keeps some of the pending changes and loses the others; what is then on the disk is an
//! [`Image`]. Nothing of this costs anything until a machine is told to record
//! ([`Machine::record_disk`](super::Machine::record_disk)).
//!
//! # Fault model
//! - **Writes and truncations of a file** are durable once a sync of that file has succeeded. Before that each of them
//!   may be durable or not, in any combination: the system may write back any page at any time, in any order. A later
//!   change is applied over an earlier one. A hole reads as zeroes. With [`page-cache`](Device::has_page_cache) a
//!   sector is written back as a whole, as it is at that moment: no write to it comes without the earlier ones of that
//!   sector, nor, beyond the end of a truncation, without the truncation.
//! - **A write that extends a file** may leave its length without its bytes: zeroes. With
//!   [`SAFE_APPEND`](Device::characteristics) it does not, and no such write comes without the earlier ones of the
//!   file.
//! - **A write may be torn** between two sectors, and within a sector if the device's sectors are not atomic. Any one
//!   part of it from one boundary to another arrives. With `ATOMIC…` a write of that size is never torn. Without
//!   `POWERSAFE_OVERWRITE`, a write of a part of a sector may turn the rest of the sector into zeroes.
//! - **With `SEQUENTIAL`**, changes become durable in the order in which they were made, over all files: a cut keeps
//!   a prefix, and a sync of one file makes all earlier changes durable.
//! - **Names** change by creation, unlink and rename, and become durable as [`Directory`] says. A rename is one change.
//! - **The first sync of a log, journal or super-journal** by each process that opened it also syncs its directory
//!   (os_unix.c, `UNIXFILE_DIRSYNC`). That of a database does not. `xDelete` syncs the directory if it is told to.
//! - **The wal-index** is not on the disk: no process trusts what a crash left of it. Temporary files are not either.
//! - **A failing sync** leaves the pending changes as a [`SyncFate`](crate::fault::SyncFate) says.
//!
//! # What the settings stand for
//! | file system | settings |
//! |---|---|
//! | ext4 `data=ordered`, `data=writeback` | `ordered+page-cache`; an fsync of any file commits the journal, and with it all earlier names. Failed syncs: `dropped` |
//! | ext4 `data=journal` | `ordered+page-cache` with `SEQUENTIAL`; failed syncs: `late` |
//! | XFS | `ordered+page-cache`; failed syncs: `dropped` |
//! | btrfs | `ordered+page-cache`; the log of an fsync may leave out the names of other files: `strict+page-cache`. Failed syncs: `reverted` |
//! | APFS, HFS+ | `ordered+page-cache`; `fsync` without `F_FULLFSYNC` does not reach the disk: the effect `lie` |
//! | NTFS | `ordered+page-cache` with `UNDELETABLE_WHEN_OPEN`; its journal has names and no data |
//! | what POSIX promises, and no more | `strict` |
//! | a mount with `dirsync`, FAT with `sync` | `immediate` |
//!
//! Disks with sectors of 512 bytes, and those of 4,096 that emulate 512, tear at 512: a page of the cache is then eight
//! sectors, each of which may arrive by itself. Flash without power-loss
//! protection may also harm bytes that were not written: that is close to a missing `POWERSAFE_OVERWRITE`, and no
//! closer.
//!
//! **No setting expresses** garbage in the place of lost bytes (a file shows zeroes or older bytes of its own), damage
//! of bytes far from a write, a directory that is damaged as a whole, delayed allocation that orders a rename after
//! the data (`auto_da_alloc`), a truncation that the sync of another file makes durable, or a system that writes dirty
//! pages back after 30 s: pending changes stay pending, with every outcome that a write-back could have.

mod change;
mod choices;
mod content;
mod device;
mod image;
mod page_cache;
mod recorder;
mod state;

pub use change::{Change, ChangeKind, Event, EventKind, FileId, Name, Origin};
pub use choices::{Choices, Coverage, Enumeration, FULL_MAX, SUBSETS_MAX};
pub use content::Content;
pub use device::{Device, DeviceError, Directory};
pub use image::{Fate, Image};
pub use recorder::Recording;
pub use state::DiskState;

pub(super) use change::directory_of;
pub(super) use recorder::{CACHE_PAGE_BYTES, Recorder};
