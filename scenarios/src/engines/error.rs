//! Why there is no engine.

use super::Library;
use seawall_harness::engine::EngineError;
use std::io;
use std::path::PathBuf;

/// Why there is no library.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The table has no such version.
    #[error("SQLite {version} cannot be built here; {help}")]
    UnknownVersion {
        /// What was asked for.
        version: String,
        /// What there is.
        help: String,
    },
    /// Nowhere to put it.
    #[error("there is no folder for libraries: set SEAWALL_CACHE to one")]
    NoFolder,
    /// The folder for the libraries cannot be used.
    #[error("cannot write {}: {reason}; set SEAWALL_CACHE to a folder that can be written to", path.display())]
    Unwritable {
        /// What could not be written.
        path: PathBuf,
        /// Why.
        reason: io::Error,
    },
    /// A program that is needed cannot be started.
    #[error("{what} cannot be started ({names}): {why}")]
    NoProgram {
        /// What it is.
        what: &'static str,
        /// The names that were tried.
        names: String,
        /// What it is needed for.
        why: &'static str,
    },
    /// Cargo did not bring the sources.
    #[error(
        "cargo could not fetch libsqlite3-sys {package} with the sources of SQLite; is the registry reachable?{output}"
    )]
    Fetch {
        /// The package's version.
        package: String,
        /// The end of what cargo said.
        output: String,
    },
    /// The package holds something else.
    #[error("libsqlite3-sys {package} holds SQLite {found} and not {version}")]
    OtherVersion {
        /// The package's version.
        package: String,
        /// What it holds.
        found: String,
        /// What was expected.
        version: String,
    },
    /// The compiler failed.
    #[error("{compiler} could not compile SQLite {version} ({status}){output}")]
    Compile {
        /// The command.
        compiler: String,
        /// SQLite's version.
        version: String,
        /// How it ended.
        status: String,
        /// The end of what it said.
        output: String,
    },
    /// What was built is of no use.
    #[error("what was built of SQLite {version} is of no use: {reason}")]
    Useless {
        /// SQLite's version.
        version: String,
        /// Why.
        reason: String,
    },
}

/// Why there is no engine for a text.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    /// The text is no version, and no file has this name.
    #[error(
        "`{0}` is neither a version of SQLite nor a file; give a version (see `seawall sqlite list`), the path of a \
         shared object, or `linked`"
    )]
    Neither(String),
    /// The version cannot be built.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// The library of a case cannot be read any more.
    #[error("the library {} of this case cannot be read: {reason}; put it back, or give another one by --sqlite", .library.path)]
    Gone {
        /// The library as it was.
        library: Library,
        /// What the system says.
        reason: io::Error,
    },
    /// The library has been replaced by another one.
    #[error(
        "{path} is another library now: its hash is {found}, and {hash} was recorded; `seawall replay … --sqlite {path}` goes \
         by what is there",
        path = .recorded.path,
        hash = .recorded.hash.as_deref().unwrap_or("none")
    )]
    OtherLibrary {
        /// The library as it was.
        recorded: Library,
        /// The hash of what is there.
        found: String,
    },
    /// The library cannot be loaded.
    #[error(transparent)]
    Load(#[from] EngineError),
}
