//! What can go wrong with a library, and with SQL.

use crate::codes::{Errno, ResultCode};
use std::fmt;
use std::path::{Path, PathBuf};

/// Why a file cannot serve as an engine.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// There is no such file, or it cannot be read.
    #[error("{}: {reason}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        reason: String,
    },
    /// The file is of another kind.
    #[error("{}: this is no shared object; an SQLite library is wanted, like libsqlite3.so.0", path.display())]
    NotShared {
        /// The file.
        path: PathBuf,
    },
    /// The loader refuses it.
    #[error("{}: this cannot be loaded: {reason}", path.display())]
    Unloadable {
        /// The file.
        path: PathBuf,
        /// What the loader says.
        reason: String,
    },
    /// It has not all of SQLite's functions.
    #[error("{}: this {} the function {function}", path.display(), holds(function))]
    Lacks {
        /// The file.
        path: PathBuf,
        /// The first needed function that it lacks.
        function: &'static str,
    },
    /// It has the functions, but was built without something.
    #[error("{}: this SQLite {version} {reason}", path.display())]
    Unfit {
        /// The file.
        path: PathBuf,
        /// The version that it reports.
        version: String,
        /// What is missing.
        reason: &'static str,
    },
}

/// A library without even a version is none of SQLite's.
fn holds(function: &str) -> &'static str {
    if function == "sqlite3_libversion" { "is no SQLite library: it lacks" } else { "SQLite library lacks" }
}

impl EngineError {
    /// The loader's message, without the path that it begins with.
    pub(super) fn unloadable(file: &Path, given: &Path, error: &libloading::Error) -> Self {
        // The outer error names the function that failed; the loader's own words are its source or its text.
        let text = std::error::Error::source(error).map_or_else(|| error.to_string(), ToString::to_string);
        let name = file.display().to_string();
        let reason = text.strip_prefix(&name).map_or(text.as_str(), |rest| rest.trim_start_matches([':', ' ']));
        Self::Unloadable { path: given.to_owned(), reason: reason.to_owned() }
    }
}

/// What SQLite answered instead of doing what it was asked to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SqlError {
    /// The extended result code.
    pub code: i32,
    /// The errno of the system call that failed; 0 where none is known.
    pub errno: i32,
    /// SQLite's message.
    pub message: String,
}

impl SqlError {
    /// The result code without its extension.
    pub fn primary(&self) -> i32 {
        ResultCode(self.code).primary().0
    }

    /// True if another connection's lock was in the way: BUSY and LOCKED, with all extensions.
    pub fn is_busy(&self) -> bool {
        matches!(self.primary(), rusqlite::ffi::SQLITE_BUSY | rusqlite::ffi::SQLITE_LOCKED)
    }

    /// True if SQLite takes the content for damaged: CORRUPT and NOTADB, with all extensions.
    pub fn is_corrupt(&self) -> bool {
        matches!(self.primary(), rusqlite::ffi::SQLITE_CORRUPT | rusqlite::ffi::SQLITE_NOTADB)
    }

    /// True if a constraint was violated.
    pub fn is_constraint(&self) -> bool {
        self.primary() == rusqlite::ffi::SQLITE_CONSTRAINT
    }
}

impl fmt::Display for SqlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}", self.message, ResultCode(self.code))?;
        if self.errno != 0 {
            write!(f, ", {}", Errno(self.errno))?;
        }
        f.write_str(")")
    }
}

impl std::error::Error for SqlError {}
