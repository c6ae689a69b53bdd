//! Versions of SQLite beside the linked one: which there are, where they lie, and how they are built.
//!
//! The sources are in the package `libsqlite3-sys`: each release of it holds the amalgamation of one SQLite. Cargo
//! fetches it, from its own cache or from the registry. The C compiler makes a shared object of it, with the options
//! of the SQLite that this program links, so that two engines differ only in their version.

mod build;
mod cache;
mod error;
mod name;
mod releases;
#[cfg(test)]
mod tests;

use seawall_harness::engine::Engine;
use std::io::{self, Write as _};
use std::path::Path;

pub use cache::{Cache, Progress, State};
pub use error::{BuildError, ResolveError};
pub use name::{Library, escaped, identify, unescaped};
pub use releases::{RELEASES, Release, release};

use releases::number;

/// The engine that `--sqlite` asks for: `linked`, a version, or the path of a shared object, with or without its hash
/// (see [`Library`]). A version that is not there is built.
///
/// # Errors
/// See [`ResolveError`].
pub fn resolve(text: &str) -> Result<Engine, ResolveError> {
    // Standard error may be closed; the build goes on.
    resolve_with(text, &|line| drop(writeln!(io::stderr().lock(), "{line}")))
}

/// As [`resolve`], which tells the progress of a build on standard error.
///
/// # Errors
/// See [`ResolveError`].
pub fn resolve_with(text: &str, progress: Progress<'_>) -> Result<Engine, ResolveError> {
    let linked = Engine::linked();
    if text == "linked" || text == linked.version() {
        return Ok(linked);
    }
    // A version is a version even where a file is called so: a file can be given as ./3.51.1.
    if number(text).is_some() {
        let release = release(text)?;
        let path = Cache::locate()?.build(release, progress)?;
        return Ok(Engine::load(&path)?);
    }
    let library = Library::parse(text);
    let path = Path::new(&library.path);
    if path.components().count() < 2 && !path.exists() {
        return Err(ResolveError::Neither(text.to_owned()));
    }
    match library.changed()? {
        Some(found) => Err(ResolveError::OtherLibrary { recorded: library, found }),
        None => Ok(Engine::load(path)?),
    }
}

/// The newest version that can be had: the last one that can be built, or the linked one if it is as new.
pub fn newest() -> String {
    let linked = Engine::linked().version().to_owned();
    match RELEASES.last() {
        Some(last) if number(last.sqlite) > number(&linked) => last.sqlite.to_owned(),
        _ => linked,
    }
}
