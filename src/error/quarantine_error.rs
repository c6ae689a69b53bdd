//! Why a damaged database was not moved away.

use super::{PrintablePath, describe, extended_code, is_busy_code};
use std::io;
use std::path::{Path, PathBuf};

/// Why a database was not quarantined, or not salvaged.
#[derive(Debug, thiserror::Error)]
pub(crate) enum QuarantineError {
    #[error("quarantine: {holders} has it open, and nothing was moved; close it there and try again")]
    Held { holders: String },
    #[error(
        "quarantine: it cannot be shown that no other process has it open: {reason}; nothing was moved; stop everything that \
         uses it and move the database, -wal, -shm and -journal by hand, together"
    )]
    Unprovable { reason: String },
    #[error(
        "quarantine: {} holds {bundles} bundles already, and nothing was moved; look at them, then move some away",
        PrintablePath(directory)
    )]
    Full { directory: PathBuf, bundles: u32 },
    #[error(
        "quarantine: {} is on another file system, and nothing was moved; choose a directory beside the database",
        PrintablePath(directory)
    )]
    OtherFileSystem { directory: PathBuf },
    #[error("quarantine: {step} failed: {}{}; nothing was moved", describe(error), errno_text(*errno))]
    Sqlite { step: &'static str, error: rusqlite::Error, errno: Option<i32> },
    #[error("quarantine: {step} failed at {}: {error}", PrintablePath(path))]
    Io { step: &'static str, path: PathBuf, error: io::Error },
    #[error(
        "quarantine: {} cannot be understood: {error}; nothing was moved; move its directory away",
        PrintablePath(path)
    )]
    Manifest { path: PathBuf, error: String },
    #[error(
        "quarantine was interrupted, and some files are in {}: {cause}; nothing is lost; do not open the database with \
         anything else, the next open goes on from here",
        PrintablePath(directory)
    )]
    Interrupted { directory: PathBuf, cause: Box<QuarantineError> },
    #[error(
        "quarantine was interrupted, and then the database was changed ({what}); its other files are in {}; keep \
         both, decide by hand, then move that directory away",
        PrintablePath(directory)
    )]
    Changed { directory: PathBuf, what: String },
    #[error(
        "salvage from {} failed and was rolled back: {}; the bundle is unharmed",
        PrintablePath(bundle),
        describe(error)
    )]
    Salvage { bundle: PathBuf, error: rusqlite::Error },
    #[error("salvage from {} ended its own transaction; what it wrote cannot be relied upon", PrintablePath(bundle))]
    SalvageOver { bundle: PathBuf },
}

impl QuarantineError {
    /// Another process holds it; the same call may work later.
    pub(crate) fn is_busy(&self) -> bool {
        match self {
            QuarantineError::Held { .. } => true,
            QuarantineError::Sqlite { error, .. } | QuarantineError::Salvage { error, .. } => {
                extended_code(error).is_some_and(is_busy_code)
            }
            _ => false,
        }
    }

    pub(crate) fn io(step: &'static str, path: &Path) -> impl FnOnce(io::Error) -> QuarantineError {
        let path = path.to_owned();
        move |error| QuarantineError::Io { step, path, error }
    }
}

fn errno_text(errno: Option<i32>) -> String {
    errno.map(|errno| format!(" ({})", io::Error::from_raw_os_error(errno))).unwrap_or_default()
}
