//! Moving a database into its bundle, and going on where a crash stopped that. The order is reasoned out one level up.
//!
//! ```text
//! x.db.quarantine/incoming/     while it is moved: at most one, never overwritten while there is a file in it
//! x.db.quarantine/<16 digits>/  complete; named by the digests of its files
//! ```

use super::confirm::{CheckVerdict, Examination};
use super::manifest::{FileEvidence, FileRole, Manifest, ManifestState, Trigger};
use super::owner::SoleOwner;
use super::{Bundle, QuarantinePolicy, Resumed, exists, is_hot, manifest, side_file};
use crate::error::QuarantineError;
use crate::os::{FileStatus, Os, Rights, sha256_of};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// The side files, in the order in which they are moved. The database comes after them.
const SIDE_FILES: [FileRole; 3] = [FileRole::Shm, FileRole::Wal, FileRole::Journal];

/// All files, in the order in which they are moved.
const ALL: [FileRole; 4] = [FileRole::Shm, FileRole::Wal, FileRole::Journal, FileRole::Database];

/// The index of a log that was put back. It holds no data, and the next one takes its dir.
const OBSOLETE_SHM: &str = "obsolete-shm";

const KEY_DIGITS: usize = 16;

/// Directories looked at below a quarantine. Far more than there can be bundles; other files may be there.
const ENTRIES_MAX: usize = 10_000;

/// The facts about the damage.
#[derive(Clone, Debug)]
pub(crate) struct Evidence {
    /// The error that started the examination.
    pub(crate) trigger: Trigger,
    /// What the live connection said.
    pub(crate) examination: Examination,
    /// When, in seconds since 1970, if the caller has a clock.
    pub(crate) unix_seconds: Option<u64>,
}

/// Moves a damaged database and all that belongs to it into a bundle.
///
/// The caller holds the lock that serialises first connects, and has closed all of this process's connections to the
/// file after telling them to [keep the log](super::keep_log). After an error the files are in their dir, except
/// after [`QuarantineError::Interrupted`].
pub(crate) fn quarantine(
    path: &Path,
    evidence: &Evidence,
    policy: &QuarantinePolicy,
    vfs: Option<&str>,
    os: &dyn Os,
) -> Result<Bundle, QuarantineError> {
    let dir = QuarantineDir::new(path, policy, os);
    dir.require_nothing_pending()?;
    dir.require_room(policy.bundles_max)?;
    dir.create()?;
    let owner = SoleOwner::become_of(path, vfs, os)?;
    let manifest = dir.begin(evidence, vfs, &owner)?;
    manifest.write(&dir.manifest(), dir.rights()?, os)?;
    let moved = dir.move_out(&manifest).and_then(|()| owner.confirm_still_alone(os));
    if let Err(error) = moved {
        return Err(dir.undo(&manifest, error));
    }
    // From here on, this process does not have the moved database open.
    drop(owner);
    dir.finish(manifest, policy.bundles_max).map_err(|error| dir.interrupted(error))
}

/// Goes on with a quarantine that was interrupted. To be called before the database is opened, under the lock that
/// serialises first connects. Without a quarantine, it looks at one name and does nothing.
pub(crate) fn resume(
    path: &Path,
    policy: &QuarantinePolicy,
    vfs: Option<&str>,
    os: &dyn Os,
) -> Result<Resumed, QuarantineError> {
    let dir = QuarantineDir::new(path, policy, os);
    if !exists(&dir.root, os)? {
        return Ok(Resumed::Nothing);
    }
    let Some(manifest) = Manifest::read(&dir.manifest(), os)? else {
        return dir.require_nothing_pending().map(|()| Resumed::Nothing);
    };
    match manifest.state {
        ManifestState::Settled => dir.require_nothing_pending().map(|()| Resumed::Nothing),
        ManifestState::Complete => dir.settle(manifest, policy.bundles_max).map(Resumed::Completed),
        ManifestState::Moving if exists(&dir.incoming_file(FileRole::Database), os)? => {
            dir.require_all_moved(&manifest)?;
            dir.finish(manifest, policy.bundles_max).map(Resumed::Completed)
        }
        ManifestState::Moving => dir.put_back(manifest, vfs).map(|()| Resumed::PutBack),
    }
}

/// Where a database's bundles are.
struct QuarantineDir<'a> {
    path: &'a Path,
    root: PathBuf,
    os: &'a dyn Os,
}

impl QuarantineDir<'_> {
    fn new<'a>(path: &'a Path, policy: &QuarantinePolicy, os: &'a dyn Os) -> QuarantineDir<'a> {
        let mut name = OsString::new();
        let root = match &policy.directory {
            None => {
                name.push(path);
                name.push(".quarantine");
                PathBuf::from(name)
            }
            Some(directory) => {
                // Databases of the same name in different directories must not meet.
                let digest = sha256_of(path.as_os_str().as_encoded_bytes());
                name.push(path.file_name().unwrap_or_default());
                name.push(format!("-{}.quarantine", &digest[..8]));
                directory.join(name)
            }
        };
        QuarantineDir { path, root, os }
    }

    fn incoming(&self) -> PathBuf {
        self.root.join("incoming")
    }

    fn manifest(&self) -> PathBuf {
        self.incoming().join(manifest::NAME)
    }

    fn file_in(&self, directory: &Path, role: FileRole) -> PathBuf {
        side_file(&directory.join(self.path.file_name().unwrap_or_default()), role)
    }

    fn incoming_file(&self, role: FileRole) -> PathBuf {
        self.file_in(&self.incoming(), role)
    }

    fn original(&self, role: FileRole) -> PathBuf {
        side_file(self.path, role)
    }

    fn status(&self, path: &Path) -> Result<Option<FileStatus>, QuarantineError> {
        self.os.status(path).map_err(QuarantineError::io("looking at a file", path))
    }

    /// Who may use what is created: those who may use the database, wherever it is by now.
    fn rights(&self) -> Result<Rights, QuarantineError> {
        for path in [self.path, &self.incoming_file(FileRole::Database), &self.manifest()] {
            let rights = self.os.rights(path).map_err(QuarantineError::io("looking at a file", path))?;
            if let Some(rights) = rights {
                return Ok(rights);
            }
        }
        let error = std::io::Error::from(std::io::ErrorKind::NotFound);
        Err(QuarantineError::io("looking for the database", self.path)(error))
    }

    fn interrupted(&self, cause: QuarantineError) -> QuarantineError {
        QuarantineError::Interrupted { directory: self.incoming(), cause: Box::new(cause) }
    }

    fn changed(&self, what: impl Into<String>) -> QuarantineError {
        QuarantineError::Changed { directory: self.incoming(), what: what.into() }
    }

    /// Files without a manifest that says what they are, or that says they are elsewhere, are not touched.
    fn require_nothing_pending(&self) -> Result<(), QuarantineError> {
        for role in ALL {
            if exists(&self.incoming_file(role), self.os)? {
                return Err(self.changed("files of a quarantine that nothing is known about"));
            }
        }
        Ok(())
    }

    fn require_room(&self, bundles_max: u32) -> Result<(), QuarantineError> {
        if !exists(&self.root, self.os)? {
            return Ok(());
        }
        let entries = self.os.list_dir(&self.root, ENTRIES_MAX);
        let entries = entries.map_err(QuarantineError::io("counting bundles", &self.root))?;
        let bundles = entries.iter().filter(|entry| **entry != self.incoming()).count();
        let bundles = u32::try_from(bundles).unwrap_or(u32::MAX);
        if bundles >= bundles_max {
            return Err(QuarantineError::Full { directory: self.root.clone(), bundles });
        }
        Ok(())
    }

    fn create(&self) -> Result<(), QuarantineError> {
        let incoming = self.incoming();
        if let Some(parent) = self.root.parent() {
            self.os.create_dir_all(parent).map_err(QuarantineError::io("creating a directory", parent))?;
        }
        for directory in [&self.root, &incoming] {
            let created = self.os.create_dir(directory, self.rights()?);
            created.map_err(QuarantineError::io("creating a directory", directory))?;
        }
        self.sync(&[&self.root])?;
        if let Some(parent) = self.root.parent() {
            self.sync(&[parent])?;
        }
        match (self.status(self.path)?, self.status(&incoming)?) {
            (Some(database), Some(directory)) if database.id.device != directory.id.device => {
                Err(QuarantineError::OtherFileSystem { directory: self.root.clone() })
            }
            (None, _) => {
                Err(QuarantineError::io("looking for the database", self.path)(std::io::ErrorKind::NotFound.into()))
            }
            _ => Ok(()),
        }
    }

    fn sync(&self, directories: &[&Path]) -> Result<(), QuarantineError> {
        for directory in directories {
            self.os.sync_dir(directory).map_err(QuarantineError::io("making names durable", directory))?;
        }
        Ok(())
    }

    fn sync_both(&self) -> Result<(), QuarantineError> {
        let incoming = self.incoming();
        match self.path.parent() {
            Some(parent) => self.sync(&[&incoming, parent]),
            None => self.sync(&[&incoming]),
        }
    }

    fn begin(&self, evidence: &Evidence, vfs: Option<&str>, owner: &SoleOwner) -> Result<Manifest, QuarantineError> {
        let findings = match &evidence.examination.verdict {
            CheckVerdict::Damaged { findings } => findings.clone(),
            // The caller asked for it; the manifest says that it was not for damage.
            other => vec![format!("{other:?}")],
        };
        let mut files = Vec::new();
        for role in [FileRole::Database, FileRole::Wal, FileRole::Shm, FileRole::Journal] {
            files.extend(self.record(role)?);
        }
        Ok(Manifest {
            schema: 1,
            state: ManifestState::Moving,
            path: self.path.to_string_lossy().into_owned(),
            unix_seconds: evidence.unix_seconds,
            pid: self.os.pid(),
            trigger: evidence.trigger.clone(),
            findings,
            pragmas: evidence.examination.pragmas.clone(),
            sqlite_version: rusqlite::version().to_owned(),
            vfs: vfs.map(str::to_owned),
            file_system: self.os.file_system(self.path).map(Into::into),
            holders: owner.holders.clone(),
            sole_owner: owner.proof.clone(),
            files,
            seen: 1,
        })
    }

    /// The status of a file in its original place, without opening it.
    fn record(&self, role: FileRole) -> Result<Option<FileEvidence>, QuarantineError> {
        let path = self.original(role);
        let Some(status) = self.status(&path)? else { return Ok(None) };
        let modified = self.os.modified(&path).map_err(QuarantineError::io("looking at a file", &path))?;
        Ok(Some(FileEvidence {
            role,
            device: status.id.device,
            inode: status.id.inode,
            bytes: status.bytes,
            links: status.links,
            modified_unix_ns: u64::try_from(modified.as_nanos()).unwrap_or(u64::MAX),
            sha256: None,
        }))
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<(), QuarantineError> {
        self.os.rename_new(from, to).map_err(QuarantineError::io("renaming", from))
    }

    fn move_out(&self, manifest: &Manifest) -> Result<(), QuarantineError> {
        for role in SIDE_FILES {
            if manifest.file(role).is_some() {
                self.rename(&self.original(role), &self.incoming_file(role))?;
            }
        }
        // After a power cut, the database must not have moved without them.
        self.sync_both()?;
        self.rename(self.path, &self.incoming_file(FileRole::Database))?;
        self.sync_both()
    }

    /// Puts everything back that was moved, the database first, and returns the error that is left to report. The
    /// database is still locked.
    fn undo(&self, manifest: &Manifest, error: QuarantineError) -> QuarantineError {
        let result = ALL.iter().rev().try_for_each(|&role| {
            let from = self.incoming_file(role);
            if exists(&from, self.os)? { self.rename(&from, &self.original(role)) } else { Ok(()) }
        });
        let settled = result.and_then(|()| self.sync_both()).and_then(|()| self.settled(manifest.clone()));
        match settled {
            Ok(()) => error,
            Err(_) => self.interrupted(error),
        }
    }

    fn settled(&self, manifest: Manifest) -> Result<(), QuarantineError> {
        Manifest { state: ManifestState::Settled, ..manifest }.write(&self.manifest(), self.rights()?, self.os)
    }

    /// The database is in the bundle. Its log has to be there, too.
    fn require_all_moved(&self, manifest: &Manifest) -> Result<(), QuarantineError> {
        for role in [FileRole::Wal, FileRole::Journal] {
            if manifest.file(role).is_some() && !exists(&self.incoming_file(role), self.os)? {
                return Err(self.changed(format!("its {} is not where it was put", role.suffix())));
            }
        }
        Ok(())
    }

    /// Side files were moved and the database was not. It gets them back if it is still the one they belong to.
    ///
    /// Not the `-shm`: SQLite builds another one, which another process may be using by now.
    fn put_back(&self, manifest: Manifest, vfs: Option<&str>) -> Result<(), QuarantineError> {
        let mut data = Vec::new();
        for role in [FileRole::Journal, FileRole::Wal] {
            if exists(&self.incoming_file(role), self.os)? {
                data.push(role);
            }
        }
        if !data.is_empty() {
            self.require_unchanged(&manifest, &data)?;
            let owner = SoleOwner::become_of(self.path, vfs, self.os)?;
            // Another process may have changed it before this one got the lock.
            self.require_unchanged(&manifest, &data)?;
            for role in data {
                // All that may stand there is an empty log, made by taking the lock, or a journal that is not hot.
                let (from, to) = (self.incoming_file(role), self.original(role));
                self.os.rename(&from, &to).map_err(QuarantineError::io("renaming", &from))?;
            }
            self.sync_both()?;
            drop(owner);
        }
        let shm = self.incoming_file(FileRole::Shm);
        if exists(&shm, self.os)? {
            let to = self.incoming().join(OBSOLETE_SHM);
            self.os.rename(&shm, &to).map_err(QuarantineError::io("renaming", &shm))?;
        }
        self.settled(manifest)
    }

    fn require_unchanged(&self, manifest: &Manifest, data: &[FileRole]) -> Result<(), QuarantineError> {
        let is_same = self.record(FileRole::Database)?.as_ref() == manifest.file(FileRole::Database);
        if !is_same {
            return Err(self.changed("it is not the recorded file any more, or not as it was"));
        }
        for &role in data {
            let path = self.original(role);
            let is_empty = match role {
                FileRole::Journal => !is_hot(&path, self.os)?,
                _ => self.status(&path)?.is_none_or(|status| status.bytes == 0),
            };
            if !is_empty {
                return Err(self.changed(format!("it has a new {}", role.suffix())));
            }
        }
        Ok(())
    }

    /// Takes the digests and gives the bundle its name. Every file is in it.
    fn finish(&self, mut manifest: Manifest, bundles_max: u32) -> Result<Bundle, QuarantineError> {
        let mut present = Vec::new();
        for mut file in std::mem::take(&mut manifest.files) {
            let path = self.incoming_file(file.role);
            if let Some(status) = self.status(&path)? {
                file.sha256 = Some(self.os.sha256(&path).map_err(QuarantineError::io("reading evidence", &path))?);
                file.bytes = status.bytes;
                present.push(file);
            }
        }
        manifest.files = present;
        manifest.state = ManifestState::Complete;
        manifest.write(&self.manifest(), self.rights()?, self.os)?;
        self.settle(manifest, bundles_max)
    }

    fn require_files(&self, manifest: &Manifest) -> Result<(), QuarantineError> {
        for file in &manifest.files {
            if !exists(&self.incoming_file(file.role), self.os)? {
                return Err(self.changed(format!("its {:?} file is not where it was put", file.role)));
            }
        }
        Ok(())
    }

    /// Names a complete bundle, or joins it with an older one of the same content.
    fn settle(&self, manifest: Manifest, bundles_max: u32) -> Result<Bundle, QuarantineError> {
        let key = key(&manifest.files);
        // Different contents of the same key get numbers. There are never more of them than bundles.
        for number in 1..=bundles_max.saturating_add(1) {
            let name = if number == 1 { key.clone() } else { format!("{key}-{number}") };
            let directory = self.root.join(name);
            if !exists(&directory, self.os)? {
                self.require_files(&manifest)?;
                self.rename(&self.incoming(), &directory)?;
                self.sync(&[&self.root])?;
                return Ok(self.bundle(&directory, &manifest, false));
            }
            if self.is_equal(&directory, &manifest)? {
                return self.join(&directory, manifest);
            }
        }
        Err(QuarantineError::Full { directory: self.root.clone(), bundles: bundles_max })
    }

    /// Whether a complete bundle has the same files with the same bytes. A file that an interrupted join has moved
    /// already was compared before that.
    fn is_equal(&self, directory: &Path, manifest: &Manifest) -> Result<bool, QuarantineError> {
        let Ok(Some(older)) = Manifest::read(&directory.join(manifest::NAME), self.os) else { return Ok(false) };
        let digests = |manifest: &Manifest| -> Vec<(FileRole, Option<String>)> {
            manifest.files.iter().map(|file| (file.role, file.sha256.clone())).collect()
        };
        if older.state != ManifestState::Complete || digests(&older) != digests(manifest) {
            return Ok(false);
        }
        for file in &manifest.files {
            let (new, old) = (self.incoming_file(file.role), self.file_in(directory, file.role));
            if !exists(&old, self.os)? {
                return Ok(false);
            }
            let is_joined = !exists(&new, self.os)?;
            let compared = if is_joined { Ok(true) } else { self.os.same_bytes(&new, &old) };
            if !compared.map_err(QuarantineError::io("comparing evidence", &old))? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The files take the places of equal ones, so that nothing has to be deleted.
    fn join(&self, directory: &Path, manifest: Manifest) -> Result<Bundle, QuarantineError> {
        for file in &manifest.files {
            let (from, to) = (self.incoming_file(file.role), self.file_in(directory, file.role));
            if exists(&from, self.os)? {
                self.os.rename(&from, &to).map_err(QuarantineError::io("renaming", &from))?;
            }
        }
        self.sync(&[directory])?;
        let path = directory.join(manifest::NAME);
        if let Some(mut older) = Manifest::read(&path, self.os)? {
            older.seen += 1;
            older.write(&path, self.rights()?, self.os)?;
        }
        let bundle = self.bundle(directory, &manifest, true);
        self.settled(manifest)?;
        Ok(bundle)
    }

    fn bundle(&self, directory: &Path, manifest: &Manifest, is_duplicate: bool) -> Bundle {
        let file = |role| manifest.file(role).map(|_| self.file_in(directory, role));
        Bundle {
            directory: directory.to_owned(),
            database: self.file_in(directory, FileRole::Database),
            wal: file(FileRole::Wal),
            shm: file(FileRole::Shm),
            journal: file(FileRole::Journal),
            manifest: directory.join(manifest::NAME),
            is_duplicate,
        }
    }
}

/// The name of a bundle: the beginning of the digest over its files' digests.
fn key(files: &[FileEvidence]) -> String {
    let lines: Vec<String> =
        files.iter().map(|file| format!("{}:{}", file.role.suffix(), file.sha256.as_deref().unwrap_or("?"))).collect();
    sha256_of(lines.join("\n").as_bytes())[..KEY_DIGITS].to_owned()
}
