//! A report on disk: four files, whole or not at all.
//!
//! Everything is rendered first, then written to temporary files beside the targets and synced, and only then renamed
//! into place. A full disk, a kill or a power cut leaves the earlier report or the new one, never half a file.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use seawall_harness::record::SoakRecord;

use crate::{html, json, junit, svg};

/// Where the parts of a report lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paths {
    /// The page.
    pub html: PathBuf,
    /// The whole record, from which the other files can be rendered again.
    pub json: PathBuf,
    /// The JUnit report.
    pub junit: PathBuf,
    /// The verdict matrix as a picture.
    pub svg: PathBuf,
}

/// Why a report could not be written. Nothing of it is left behind.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {}: {source}; {}", path.display(), advice(source))]
pub struct Error {
    action: &'static str,
    path: PathBuf,
    source: io::Error,
}

impl Error {
    /// The file or folder that the operation failed on.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// True if the disk or a quota is full.
    pub fn is_full(&self) -> bool {
        is_full(&self.source)
    }
}

/// Writes `index.html`, `record.json`, `junit.xml` and `matrix.svg` into `dir`, which is created if need be.
///
/// # Errors
/// If the folder cannot be created, or one of the files not be written, synced or renamed into place.
pub fn all(dir: &Path, record: &SoakRecord) -> Result<Paths, Error> {
    // The page comes last, so that whoever sees a new page finds the files it belongs to.
    let parts = [
        ("record.json", json::full(record)),
        ("junit.xml", junit::soak(record)),
        ("matrix.svg", svg::matrix(record)),
        ("index.html", html::soak(record)),
    ];
    let made = Folder::create(dir)?;
    let mut staged = Vec::with_capacity(parts.len());
    for (name, text) in &parts {
        staged.push(Staged::write(dir.join(name), text.as_bytes())?);
    }
    for file in staged {
        file.publish()?;
    }
    made.keep();
    sync_folder(dir)?;
    Ok(Paths {
        html: dir.join("index.html"),
        json: dir.join("record.json"),
        junit: dir.join("junit.xml"),
        svg: dir.join("matrix.svg"),
    })
}

/// Folders that did not exist before; removed again unless kept.
struct Folder {
    made: Vec<PathBuf>,
}

impl Folder {
    fn create(dir: &Path) -> Result<Self, Error> {
        let missing = |path: &&Path| !path.as_os_str().is_empty() && !path.exists();
        let made = dir.ancestors().take_while(missing).map(Path::to_path_buf).collect();
        let folder = Self { made };
        fs::create_dir_all(dir).map_err(|source| Error {
            action: "create the folder",
            path: dir.to_owned(),
            source,
        })?;
        Ok(folder)
    }

    fn keep(mut self) {
        self.made.clear();
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // Innermost first. A folder that somebody else has put something into stays.
        for path in &self.made {
            let _ = fs::remove_dir(path);
        }
    }
}

/// A complete file under a temporary name; removed again unless published.
struct Staged {
    temporary: PathBuf,
    target: PathBuf,
}

impl Staged {
    fn write(target: PathBuf, bytes: &[u8]) -> Result<Self, Error> {
        let fail = |source| Error { action: "write", path: target.clone(), source };
        // Caught here, because the rename that would fail comes after other files are in place.
        if target.is_dir() {
            return Err(fail(io::Error::from(io::ErrorKind::IsADirectory)));
        }
        let name = target.file_name().unwrap_or_default().to_string_lossy();
        let temporary = target.with_file_name(format!(".{name}.{}.tmp", std::process::id()));
        let mut file = match OpenOptions::new().write(true).create(true).truncate(true).open(&temporary) {
            Ok(file) => file,
            Err(source) => return Err(fail(source)),
        };
        let staged = Self { temporary, target: target.clone() };
        file.write_all(bytes).and_then(|()| file.sync_all()).map_err(fail)?;
        Ok(staged)
    }

    fn publish(self) -> Result<(), Error> {
        fs::rename(&self.temporary, &self.target).map_err(|source| Error {
            action: "move the report into place at",
            path: self.target.clone(),
            source,
        })
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        // After `publish` nothing has this name any more, and there is nothing to remove.
        let _ = fs::remove_file(&self.temporary);
    }
}

/// Makes the renames durable, where the platform lets a folder be synced.
fn sync_folder(dir: &Path) -> Result<(), Error> {
    if cfg!(not(unix)) {
        return Ok(());
    }
    let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
    let synced = File::open(dir).and_then(|folder| folder.sync_all());
    match synced {
        // Some file systems have no such thing as a synced folder.
        Err(e) if matches!(e.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported) => Ok(()),
        Err(source) => Err(Error { action: "sync the folder", path: dir.to_owned(), source }),
        Ok(()) => Ok(()),
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        _ if is_full(error) => "free some space there, or name a folder on another disk with --out",
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            "name a folder that you may write to with --out"
        }
        io::ErrorKind::NotADirectory | io::ErrorKind::AlreadyExists => {
            "a file stands where a folder is needed: move it, or name another folder with --out"
        }
        io::ErrorKind::IsADirectory => "a folder stands where a file is needed: move it, or name another with --out",
        _ => "name another folder with --out",
    }
}
