//! Which log belongs to which database, remembered in the lock file of first connects.
//!
//! SQLite replays a log into whatever file has the name of its database. After a crash the log is there, and if a
//! backup was put in the place of the database meanwhile, the two are mixed, and no check finds it. So each process
//! notes which file it has opened with which log. A note is a fact about the moment when it was written. It holds for
//! as long as both files exist, since SQLite begins a log anew by raising the first salt in its header by one.
//!
//! A note that cannot be read says nothing. A database that was moved together with its log, restored together with
//! another log, or copied, fits no note, and is opened.

use super::first_connect::lock_path;
use crate::os::{FileId, Os, sha256_of};
use serde::{Deserialize, Serialize};
use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The length of a log's header. A log without frames has no more than that.
pub(crate) const LOG_HEADER_BYTES: u64 = 32;

/// How often a log may have begun anew since the note was written. Another log would have to fit by chance.
const RESTARTS_MAX: u32 = 1 << 16;

const NOTE_BYTES_MAX: u64 = 4096 + 16 * 1024;
const DIGEST_CHARS: usize = 16;

/// The first bytes of a database.
pub(crate) type Header = [u8; 100];

/// See the module's documentation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Note {
    schema: u32,
    database: (u64, u64),
    /// When the database was created, in nanoseconds since 1970, where that is known: inodes are used again.
    born_ns: Option<u64>,
    log: (u64, u64),
    salts: (u32, u32),
    /// A digest of the database's header, as it was on the disk.
    #[serde(default)]
    header: Option<String>,
    /// Where the log and the wal-index were put when the database had lost its name, without the suffixes.
    set_aside: Option<Vec<u8>>,
}

impl Note {
    /// The note about a database with this header and its log. `None` if the log has no header yet.
    pub(crate) fn about(
        path: &Path,
        (database, header): (FileId, Option<Header>),
        log_path: &Path,
        log: FileId,
        os: &dyn Os,
    ) -> Option<Note> {
        let salts = salts_of(log_path, os)?;
        let pair = |id: FileId| (id.device, id.inode);
        Some(Note {
            schema: 1,
            database: pair(database),
            born_ns: os.born(path).map(nanoseconds),
            log: pair(log),
            salts,
            header: header.map(digest),
            set_aside: None,
        })
    }

    pub(crate) fn read(path: &Path, os: &dyn Os) -> Option<Note> {
        let text = String::from_utf8(os.read_prefix(&lock_path(path), NOTE_BYTES_MAX).ok()?).ok()?;
        let (note, digest) = text.split_once('\n')?;
        let is_whole = digest.trim_end() == &sha256_of(note.as_bytes())[..DIGEST_CHARS];
        let note: Note = serde_json::from_str(note).ok().filter(|_| is_whole)?;
        (note.schema == 1).then_some(note)
    }

    /// Writes it into the lock file, if there is one. What cannot be noted is not remembered, and nothing else.
    pub(crate) fn write(&self, path: &Path, os: &dyn Os) {
        let Ok(note) = serde_json::to_string(self) else { return };
        let (lock, digest) = (lock_path(path), &sha256_of(note.as_bytes())[..DIGEST_CHARS]);
        let mut text = format!("{note}\n{digest}\n").into_bytes();
        // Nothing cuts the file, so the rest of a longer note is covered.
        let bytes_before = os.status(&lock).ok().flatten().map_or(0, |file| file.bytes.min(NOTE_BYTES_MAX));
        text.resize(text.len().max(usize::try_from(bytes_before).unwrap_or(0)), b'\n');
        let _ = os.overwrite(&lock, &text);
    }

    /// With the place where log and wal-index were put.
    pub(crate) fn with_set_aside(self, base: &Path) -> Note {
        Note { set_aside: Some(base.as_os_str().as_bytes().to_vec()), ..self }
    }

    /// Where the log of the file that is at the path was put, if it is there and the path has none.
    pub(crate) fn set_aside(&self, database: FileId) -> Option<PathBuf> {
        let base = self.set_aside.clone().filter(|_| self.database == (database.device, database.inode))?;
        Some(PathBuf::from(OsString::from_vec(base)))
    }

    /// Whether it is the log of the note.
    pub(crate) fn is_log(&self, log: FileId) -> bool {
        self.log == (log.device, log.inode)
    }

    /// Whether the note says surely that this log belongs to another file than the one at the path, which has this
    /// header.
    ///
    /// A log that was written after the file had come may be of the restore itself. Or a process that had the other
    /// file open has written to it; then the header, if it is known, is another one.
    pub(crate) fn is_foreign(
        &self,
        path: &Path,
        (database, header): (FileId, Option<Header>),
        log_path: &Path,
        log: FileId,
        os: &dyn Os,
    ) -> bool {
        if !self.is_log(log) {
            return false;
        }
        let is_other_inode = self.database != (database.device, database.inode);
        let born_ns = os.born(path).map(nanoseconds);
        let is_other_birth = self.born_ns.zip(born_ns).is_some_and(|(noted, found)| noted != found);
        let is_same_log = || {
            salts_of(log_path, os).is_some_and(|salts| {
                let restarts = salts.0.wrapping_sub(self.salts.0);
                if restarts == 0 { salts.1 == self.salts.1 } else { restarts <= RESTARTS_MAX }
            })
        };
        let came = os.changed(path);
        let written = os.status(log_path).ok().flatten().map(|file| file.modified);
        let is_older = came.zip(written).is_none_or(|(came, written)| came >= written);
        let is_other_header = || self.header.as_ref().zip(header).is_some_and(|(noted, found)| *noted != digest(found));
        (is_other_inode || is_other_birth) && is_same_log() && (is_older || is_other_header())
    }
}

fn digest(header: Header) -> String {
    sha256_of(&header)[..DIGEST_CHARS].to_owned()
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// The two salts in the header of a log (fileformat2, section 4.1).
fn salts_of(log: &Path, os: &dyn Os) -> Option<(u32, u32)> {
    const FIRST: usize = 16;
    let header = os.read_prefix(log, LOG_HEADER_BYTES).ok()?;
    let word = |offset: usize| Some(u32::from_be_bytes(*header.get(offset..)?.first_chunk()?));
    Some((word(FIRST)?, word(FIRST + 4)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::SystemOs;

    #[test]
    fn a_note_is_whole_or_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let (path, log) = (dir.path().join("x.db"), dir.path().join("x.db-wal"));
        let os = SystemOs::new();
        let id = |path: &Path| os.status(path).unwrap().unwrap().id;
        let rights = os.rights(dir.path()).unwrap().unwrap();
        let write = |path: &Path, bytes: &[u8]| os.write_durably(path, bytes, rights).unwrap();
        write(&path, b"database");
        write(&log, b"short");
        assert_eq!(Note::about(&path, (id(&path), Some([1; 100])), &log, id(&log), &os), None, "no header");
        write(&log, &[7; 32]);
        let note = Note::about(&path, (id(&path), Some([1; 100])), &log, id(&log), &os).unwrap();
        note.write(&path, &os);
        assert_eq!(Note::read(&path, &os), None, "no lock file, and none is made");
        write(&lock_path(&path), b"");
        let note = note.with_set_aside(Path::new("/elsewhere/y"));
        note.write(&path, &os);
        assert_eq!(Note::read(&path, &os).as_ref(), Some(&note));
        let text = String::from_utf8(os.read_prefix(&lock_path(&path), 9999).unwrap()).unwrap();
        write(&lock_path(&path), text.replace("\"schema\":1", "\"schema\":2").as_bytes());
        assert_eq!(Note::read(&path, &os), None);
        write(&lock_path(&path), &text.as_bytes()[..text.len() / 2]);
        assert_eq!(Note::read(&path, &os), None);
    }

    #[test]
    fn a_log_is_foreign_to_another_file_only() {
        let dir = tempfile::tempdir().unwrap();
        let (path, log) = (dir.path().join("x.db"), dir.path().join("x.db-wal"));
        let os = SystemOs::new();
        let id = |path: &Path| os.status(path).unwrap().unwrap().id;
        let rights = os.rights(dir.path()).unwrap().unwrap();
        let write = |path: &Path, bytes: &[u8]| os.write_durably(path, bytes, rights).unwrap();
        let other = dir.path().join("y");
        let salted = |first: u32, second: u32| {
            let mut header = [0; 40];
            header[16..20].copy_from_slice(&first.to_be_bytes());
            header[20..24].copy_from_slice(&second.to_be_bytes());
            os.overwrite(&log, &header).unwrap();
        };
        write(&path, b"database");
        write(&log, b"");
        salted(5, 6);
        let note = Note::about(&path, (id(&path), Some([1; 100])), &log, id(&log), &os).unwrap();
        let is_foreign = |header| note.is_foreign(&path, (id(&path), header), &log, id(&log), &os);
        assert!(!is_foreign(Some([2; 100])), "it is the file of the note");
        write(&other, b"another");
        // It comes after the log was written.
        os.sleep(Duration::from_millis(20));
        os.rename(&other, &path).unwrap();
        assert!(is_foreign(None) && is_foreign(Some([1; 100])) && is_foreign(Some([2; 100])));
        os.sleep(Duration::from_millis(20));
        salted(5, 6);
        assert!(!is_foreign(None) && !is_foreign(Some([1; 100])), "perhaps restored together with the file");
        assert!(is_foreign(Some([2; 100])), "written by a process that had the other file open");
        salted(6, 1);
        assert!(is_foreign(Some([2; 100])), "begun anew once");
        salted(5, 7);
        assert!(!is_foreign(Some([2; 100])), "another log in the same file");
        salted(4, 6);
        assert!(!is_foreign(Some([2; 100])), "an older one");
    }
}
