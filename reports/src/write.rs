//! Writes a report as four files, each of them whole or not at all.
//!
//! Everything is rendered first, then written to temporary files beside the targets and synced, and then renamed. After
//! a full disk, a kill or a power cut each file is the earlier one or the new one, never a part of one.

use crate::{html, json, junit, svg};
use seawall_harness::record::{PowerRecord, SoakRecord};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

/// The files of a report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReportPaths {
    /// The page.
    pub html: PathBuf,
    /// The whole record. The other files can be rendered from it again.
    pub json: PathBuf,
    /// The JUnit report.
    pub junit: PathBuf,
    /// The picture of the verdict matrix.
    pub svg: PathBuf,
}

/// Why a report could not be written. Temporary files and new folders have been removed.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {}: {source}; {}", path.display(), advice(source))]
pub struct WriteError {
    action: &'static str,
    path: PathBuf,
    source: io::Error,
}

impl WriteError {
    /// The file or folder for which the operation failed.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// True if the disk or the quota is full.
    pub fn is_full(&self) -> bool {
        is_full(&self.source)
    }
}

/// Writes `index.html`, `record.json`, `junit.xml` and `matrix.svg` into `dir`, which is created if it does not exist.
///
/// # Errors
/// If the folder cannot be created, or a file cannot be written, synced or renamed.
pub fn all(dir: &Path, record: &SoakRecord) -> Result<ReportPaths, WriteError> {
    // The page is renamed last, so a reader of the new page finds the new files.
    let parts = [
        ("record.json", json::full(record)),
        ("junit.xml", junit::soak(record)),
        ("matrix.svg", svg::matrix(record)),
        ("index.html", html::soak(record)),
    ];
    publish(dir, &parts)?;
    Ok(ReportPaths {
        html: dir.join("index.html"),
        json: dir.join("record.json"),
        junit: dir.join("junit.xml"),
        svg: dir.join("matrix.svg"),
    })
}

/// Writes `index.html` and `record.json` of power cuts into `dir`, which is created if it does not exist. Returns the
/// path of the page.
///
/// # Errors
/// As for [`all`].
pub fn power(dir: &Path, record: &PowerRecord) -> Result<PathBuf, WriteError> {
    publish(dir, &[("record.json", json::power(record)), ("index.html", html::power(record))])?;
    Ok(dir.join("index.html"))
}

/// Writes all parts, then renames them in this order.
fn publish(dir: &Path, parts: &[(&str, String)]) -> Result<(), WriteError> {
    let folder = NewFolders::create(dir)?;
    let mut staged = Vec::with_capacity(parts.len());
    for (name, text) in parts {
        staged.push(StagedFile::write(dir.join(name), text.as_bytes())?);
    }
    for file in staged {
        file.publish()?;
    }
    folder.keep();
    sync_folder(dir)
}

/// The folders that were created for the report, the innermost first. They are removed again unless kept.
struct NewFolders {
    paths: Vec<PathBuf>,
}

impl NewFolders {
    fn create(dir: &Path) -> Result<Self, WriteError> {
        let missing = |path: &&Path| !path.as_os_str().is_empty() && !path.exists();
        let folders = Self { paths: dir.ancestors().take_while(missing).map(Path::to_path_buf).collect() };
        fs::create_dir_all(dir).map_err(|source| WriteError {
            action: "create the folder",
            path: dir.to_owned(),
            source,
        })?;
        Ok(folders)
    }

    fn keep(mut self) {
        self.paths.clear();
    }
}

impl Drop for NewFolders {
    fn drop(&mut self) {
        // A folder into which another process has put something stays.
        for path in &self.paths {
            let _ = fs::remove_dir(path);
        }
    }
}

/// A complete file under a temporary name. It is removed again unless published.
struct StagedFile {
    temporary: PathBuf,
    target: PathBuf,
}

impl StagedFile {
    fn write(target: PathBuf, bytes: &[u8]) -> Result<Self, WriteError> {
        let fail = |source| WriteError { action: "write", path: target.clone(), source };
        // Checked here, because the rename would fail only after other files were renamed.
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

    fn publish(self) -> Result<(), WriteError> {
        fs::rename(&self.temporary, &self.target).map_err(|source| WriteError {
            action: "move the report into place at",
            path: self.target.clone(),
            source,
        })
    }
}

impl Drop for StagedFile {
    fn drop(&mut self) {
        // After `publish` the file has another name, and this fails.
        let _ = fs::remove_file(&self.temporary);
    }
}

/// Makes the renames durable, if the platform can sync a folder.
fn sync_folder(dir: &Path) -> Result<(), WriteError> {
    if cfg!(not(unix)) {
        return Ok(());
    }
    let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
    let synced = File::open(dir).and_then(|folder| folder.sync_all());
    match synced {
        // Some file systems cannot sync a folder.
        Err(e) if matches!(e.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported) => Ok(()),
        Err(source) => Err(WriteError { action: "sync the folder", path: dir.to_owned(), source }),
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
            "a file is where a folder is needed: move it, or name another folder with --out"
        }
        io::ErrorKind::IsADirectory => "a folder is where a file is needed: move it, or name another with --out",
        _ => "name another folder with --out",
    }
}
