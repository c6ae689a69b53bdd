//! The manifest of an evidence bundle: what was found, how, and which files it is about. JSON, one file in each bundle.

use crate::error::QuarantineError;
use crate::os::{FileSystem, Holders, Os, Rights};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// The manifest's name in its bundle.
pub(super) const NAME: &str = "manifest.json";

/// Longest manifest that is read back, in bytes; written ones have a few thousand.
const BYTES_MAX: u64 = 1 << 20;

/// How far a quarantine has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum ManifestState {
    /// Files are being moved. Found at rest, it was interrupted.
    Moving,
    /// All files are here, with their digests.
    Complete,
    /// There is nothing in it: the files were put back, or an older bundle has the same content.
    Settled,
}

/// Which of a database's files it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum FileRole {
    /// The database itself.
    Database,
    /// `-wal`, the log. With frames, it is data.
    Wal,
    /// `-shm`, the log's index. Holds nothing that could not be rebuilt.
    Shm,
    /// `-journal`, what undoes an unfinished transaction. While hot, it is data.
    Journal,
}

impl FileRole {
    /// What follows the database's name in the file's name.
    pub fn suffix(self) -> &'static str {
        match self {
            FileRole::Database => "",
            FileRole::Wal => "-wal",
            FileRole::Shm => "-shm",
            FileRole::Journal => "-journal",
        }
    }
}

/// One file of the bundle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEvidence {
    /// Which it is.
    pub role: FileRole,
    /// Its device.
    pub device: u64,
    /// Its inode on the device. Renaming does not change it.
    pub inode: u64,
    /// Its length when it was still in its dir.
    pub bytes: u64,
    /// How many names it had.
    pub links: u64,
    /// When its content was last changed, in nanoseconds since 1970.
    pub modified_unix_ns: u64,
    /// The digest of its content, taken in the bundle, in hexadecimal digits. Not known before it is complete.
    pub sha256: Option<String>,
}

/// What a pragma answered on the live connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PragmaValue {
    /// Its name.
    pub name: String,
    /// The first row, its columns separated by `|`.
    pub value: Option<String>,
    /// The error instead.
    pub error: Option<String>,
}

/// The error that raised the suspicion of damage.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trigger {
    /// The step that failed.
    pub step: String,
    /// The extended result code.
    pub code: Option<i32>,
    /// The operating system's reason.
    pub errno: Option<i32>,
    /// The error as text.
    pub error: String,
}

/// The file system that the database was on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileSystemEvidence {
    /// Its kind, as `mount` calls it.
    pub kind: String,
    /// Whether other machines may use it.
    pub is_network: bool,
    /// What was free, in bytes.
    pub free_bytes: u64,
}

impl From<FileSystem> for FileSystemEvidence {
    fn from(FileSystem { kind, is_network, free_bytes }: FileSystem) -> FileSystemEvidence {
        FileSystemEvidence { kind, is_network, free_bytes }
    }
}

/// Everything that is known about the files of a bundle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Manifest {
    /// The format; 1.
    pub schema: u32,
    /// How far the quarantine has come.
    pub state: ManifestState,
    /// Where the database was. What is not UTF-8 in the path is replaced.
    pub path: String,
    /// When it was quarantined, in seconds since 1970, if the caller had a clock.
    pub unix_seconds: Option<u64>,
    /// The process that did it.
    pub pid: u32,
    /// The error that started the examination.
    pub trigger: Trigger,
    /// What the check found, in SQLite's words.
    pub findings: Vec<String>,
    /// The live connection's settings.
    pub pragmas: Vec<PragmaValue>,
    /// The version of SQLite.
    pub sqlite_version: String,
    /// The SQLite VFS by name; SQLite's default without one.
    pub vfs: Option<String>,
    /// Where the database was stored.
    pub file_system: Option<FileSystemEvidence>,
    /// The processes that had the files open or locked right before, this one included. Unknown without `/proc`.
    pub holders: Option<Holders>,
    /// The proof that no other process used the files while they were moved.
    pub sole_owner: String,
    /// The files, the database first.
    pub files: Vec<FileEvidence>,
    /// How often this very content was quarantined.
    pub seen: u64,
}

impl Manifest {
    /// Reads one, by its path. A missing file is `None`.
    pub(super) fn read(path: &Path, os: &dyn Os) -> Result<Option<Manifest>, QuarantineError> {
        let is_there = os.status(path).map_err(QuarantineError::io("looking for a manifest", path))?.is_some();
        if !is_there {
            return Ok(None);
        }
        let text = os.read_prefix(path, BYTES_MAX).map_err(QuarantineError::io("reading a manifest", path))?;
        let broken = |error: String| QuarantineError::Manifest { path: path.to_owned(), error };
        let manifest: Manifest = serde_json::from_slice(&text).map_err(|error| broken(error.to_string()))?;
        match manifest.schema {
            1 => Ok(Some(manifest)),
            other => Err(broken(format!("its format is {other}, and only 1 is known here"))),
        }
    }

    /// Writes it so that a power cut leaves the old text or this one.
    pub(super) fn write(&self, path: &Path, rights: Rights, os: &dyn Os) -> Result<(), QuarantineError> {
        let error =
            |error: serde_json::Error| QuarantineError::Manifest { path: path.to_owned(), error: error.to_string() };
        let text = serde_json::to_vec_pretty(self).map_err(error)?;
        os.write_durably(path, &text, rights).map_err(QuarantineError::io("writing a manifest", path))
    }

    /// The record of a file.
    pub(super) fn file(&self, role: FileRole) -> Option<&FileEvidence> {
        self.files.iter().find(|file| file.role == role)
    }
}
