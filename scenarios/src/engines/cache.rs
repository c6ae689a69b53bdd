//! The folder with the libraries.

use super::build::{BuildFolder, Tools, missing_is_fine, stamp, unwritable, write_synced};
use super::{BuildError, Release};
use std::path::{Path, PathBuf};
use std::{env, fs};

/// Whether there is a library of a release.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It has to be built.
    Absent,
    /// It was built with other options, or of another package, and is not used.
    Stale,
    /// It is there.
    Built,
}

impl State {
    /// As a word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Absent => "absent",
            Self::Stale => "stale",
            Self::Built => "built",
        }
    }
}

/// Called with each line about the progress of a build.
pub type Progress<'a> = &'a (dyn Fn(&str) + Sync);

/// The folder with the libraries.
#[derive(Clone, Debug)]
pub struct Cache {
    folder: PathBuf,
}

impl Cache {
    /// `$SEAWALL_CACHE`; else the folder `sqlite` in the target folder that this program was built in, or in that of
    /// the workspace around the current folder; else `seawall` among the user's caches.
    ///
    /// # Errors
    /// [`BuildError::NoFolder`].
    pub fn locate() -> Result<Self, BuildError> {
        let set = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let home = || set("XDG_CACHE_HOME").or_else(|| Some(set("HOME")?.join(".cache")));
        let folder = set("SEAWALL_CACHE")
            .or_else(|| Some(target_above(&env::current_exe().ok()?)?.join("sqlite")))
            .or_else(|| {
                let current = env::current_dir().ok()?;
                let target = current.ancestors().map(|folder| folder.join("target")).find(|it| is_target(it))?;
                Some(target.join("sqlite"))
            })
            .or_else(|| Some(home()?.join("seawall")))
            .ok_or(BuildError::NoFolder)?;
        Ok(Self::at(&folder))
    }

    /// A cache in this folder.
    pub fn at(folder: &Path) -> Self {
        Self { folder: std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned()) }
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Where the library of a release lies, or would lie.
    pub fn library(&self, release: Release) -> PathBuf {
        self.folder.join(format!("sqlite-{}{}", release.sqlite, env::consts::DLL_SUFFIX))
    }

    /// Whether it is there.
    pub fn state(&self, release: Release) -> State {
        if !self.library(release).is_file() {
            return State::Absent;
        }
        let is_same = fs::read_to_string(self.stamp(release)).is_ok_and(|text| text == stamp(release));
        if is_same { State::Built } else { State::Stale }
    }

    /// The file that says what the library was built from.
    pub(super) fn stamp(&self, release: Release) -> PathBuf {
        self.folder.join(format!("sqlite-{}.options", release.sqlite))
    }

    /// Builds the library, unless it is there. Any number of processes may do so at once; one works, the others wait.
    ///
    /// # Errors
    /// See [`BuildError`].
    pub fn build(&self, release: Release, progress: Progress<'_>) -> Result<PathBuf, BuildError> {
        self.build_with(&Tools::found(), release, progress)
    }

    pub(super) fn build_with(
        &self,
        tools: &Tools,
        release: Release,
        progress: Progress<'_>,
    ) -> Result<PathBuf, BuildError> {
        let library = self.library(release);
        if self.state(release) == State::Built {
            return Ok(library);
        }
        fs::create_dir_all(&self.folder).map_err(unwritable(&self.folder))?;
        let lock_path = self.folder.join(format!("sqlite-{}.lock", release.sqlite));
        let lock = fs::File::create(&lock_path).map_err(unwritable(&lock_path))?;
        if lock.try_lock().is_err() {
            progress(&format!("SQLite {}: waiting for another process that builds it", release.sqlite));
            lock.lock().map_err(unwritable(&lock_path))?;
        }
        if self.state(release) == State::Built {
            return Ok(library);
        }
        // The lock protects this folder. One that is left over belonged to a process that died.
        let work = BuildFolder::open(tools, self.folder.join(format!("work-{}", release.sqlite)))?;
        let built = work.build(release, progress)?;
        let stamp_path = self.stamp(release);
        // The stamp goes first and comes last, so that one never stands beside a library that it does not belong to.
        let gone = fs::remove_file(&stamp_path);
        gone.or_else(missing_is_fine).map_err(unwritable(&stamp_path))?;
        fs::rename(&built, &library).map_err(unwritable(&library))?;
        let fresh = work.folder.join("options");
        write_synced(&fresh, &stamp(release)).map_err(unwritable(&fresh))?;
        fs::rename(&fresh, &stamp_path).map_err(unwritable(&stamp_path))?;
        Ok(library)
    }
}

/// The target folder of cargo that a program lies in.
pub(super) fn target_above(program: &Path) -> Option<PathBuf> {
    program.ancestors().find(|folder| is_target(folder)).map(Path::to_owned)
}

/// Cargo keeps this file at the root of each.
fn is_target(folder: &Path) -> bool {
    folder.join(".rustc_info.json").is_file()
}
