//! What happens to a disk: changes, and syncs that make them durable.

use crate::actor::Actor;
use crate::call::Role;
use crate::fault::SyncFate;
use std::fmt;
use std::rc::Rc;

/// A file of a recording; a number that no other file of the machine has had.
pub type FileId = u64;

/// An absolute path.
pub type Name = Rc<[u8]>;

/// Who made a change, where in the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The number of the call, counted by the shim.
    pub call: u64,
    /// The actor.
    pub actor: Actor,
    /// The section that it was in: a statement or a step.
    pub section: u32,
    /// What kind of file it is.
    pub role: Role,
    /// Syncs of the file before.
    pub epoch: u32,
}

/// Something that is visible and becomes durable later.
#[derive(Clone, Debug)]
pub struct Change {
    /// Who made it.
    pub origin: Origin,
    /// What it is.
    pub kind: ChangeKind,
}

/// See [`Change`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ChangeKind {
    /// Bytes of a file.
    Write {
        /// The file.
        file: FileId,
        /// Where.
        offset: u64,
        /// The bytes.
        bytes: Rc<[u8]>,
        /// The length of the file before.
        length_before: u64,
    },
    /// The length of a file.
    Truncate {
        /// The file.
        file: FileId,
        /// The new length.
        length: u64,
    },
    /// A name for a file: its creation, or one more name.
    Bind {
        /// The name.
        name: Name,
        /// The file.
        file: FileId,
    },
    /// A name is gone.
    Unbind {
        /// The name.
        name: Name,
    },
    /// A file has another name, which no other file has any more.
    Rename {
        /// The old name.
        from: Name,
        /// The new name.
        to: Name,
    },
}

/// One step in the life of a disk.
#[derive(Clone, Debug)]
pub struct Event {
    /// Who caused it.
    pub origin: Origin,
    /// What it is.
    pub kind: EventKind,
}

/// See [`Event`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum EventKind {
    /// Something has changed.
    Change(ChangeKind),
    /// The pending changes of a file are durable now.
    Sync {
        /// The file.
        file: FileId,
    },
    /// The pending changes of a directory are durable now.
    SyncDirectory {
        /// Its path.
        directory: Name,
    },
    /// A sync of a file has failed, and its pending changes are not what they were.
    FailedSync {
        /// The file.
        file: FileId,
        /// What became of them.
        fate: SyncFate,
    },
    /// A sync of a directory has failed.
    FailedSyncDirectory {
        /// Its path.
        directory: Name,
        /// What became of them.
        fate: SyncFate,
    },
}

/// The directory of a name.
pub(in crate::media::sim) fn directory_of(name: &[u8]) -> &[u8] {
    &name[..name.iter().rposition(|&byte| byte == b'/').unwrap_or(0)]
}

impl ChangeKind {
    /// The file, for a change of its bytes or length.
    pub fn file(&self) -> Option<FileId> {
        match self {
            Self::Write { file, .. } | Self::Truncate { file, .. } => Some(*file),
            _ => None,
        }
    }

    /// True for a change of names.
    pub fn is_entry(&self) -> bool {
        self.file().is_none()
    }

    /// True if a name in this directory changes.
    pub(super) fn is_in(&self, directory: &[u8]) -> bool {
        match self {
            Self::Bind { name, .. } | Self::Unbind { name } => directory_of(name) == directory,
            Self::Rename { from, to } => directory_of(from) == directory || directory_of(to) == directory,
            _ => false,
        }
    }
}

impl fmt::Display for ChangeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |name: &Name| String::from_utf8_lossy(name).into_owned();
        match self {
            Self::Write { offset, bytes, .. } => write!(f, "write {} bytes at {offset}", bytes.len()),
            Self::Truncate { length, .. } => write!(f, "truncate to {length} bytes"),
            Self::Bind { name, .. } => write!(f, "create {}", text(name)),
            Self::Unbind { name } => write!(f, "unlink {}", text(name)),
            Self::Rename { from, to } => write!(f, "rename {} to {}", text(from), text(to)),
        }
    }
}
