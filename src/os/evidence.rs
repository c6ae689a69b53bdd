//! File operations for evidence: whole contents, digests, and names that last through a power cut.
//!
//! They open what they are given. None of them may be given a database file that this process has open through SQLite:
//! closing it again would drop SQLite's locks.

use super::{Rights, rights};
use sha2::{Digest, Sha256};
use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, Read, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

const CHUNK_BYTES: usize = 1 << 16;
/// Names tried for a new file.
const NAMES_MAX: u32 = 100;

pub(super) fn list_dir(path: &Path, entries_max: usize) -> io::Result<Vec<PathBuf>> {
    let mut entries = Vec::new();
    for entry in fs::read_dir(path)? {
        if entries.len() == entries_max {
            return Err(io::Error::other(format!("more than {entries_max} entries")));
        }
        entries.push(entry?.path());
    }
    entries.sort();
    Ok(entries)
}

pub(super) fn read_prefix(path: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(bytes_max).read_to_end(&mut bytes)?;
    Ok(bytes)
}

pub(super) fn write_durably(path: &Path, bytes: &[u8], rights: Rights) -> io::Result<()> {
    let (name, mut file) = create_beside(path, rights)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&name, path)?;
    path.parent().map_or(Ok(()), sync_dir)
}

/// A new file beside this one. What has such a name was left behind by a process that died, or planted: it stays.
fn create_beside(path: &Path, rights: Rights) -> io::Result<(PathBuf, File)> {
    let mut result = Err(io::ErrorKind::AlreadyExists.into());
    for number in 0..NAMES_MAX {
        let mut name = OsString::from(path);
        name.push(if number == 0 { ".new".to_owned() } else { format!(".new-{number}") });
        let name = PathBuf::from(name);
        result = rights::create_new(&name, rights).map(|file| (name, file));
        if result.as_ref().err().is_none_or(|error: &io::Error| error.kind() != io::ErrorKind::AlreadyExists) {
            break;
        }
    }
    result
}

pub(super) fn overwrite(path: &Path, bytes: &[u8]) -> io::Result<()> {
    use rustix::fs::{Mode, OFlags};
    let file = File::from(rustix::fs::open(path, OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?);
    std::os::unix::fs::FileExt::write_all_at(&file, bytes, 0)
}

pub(super) fn sync_dir(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Gives a file a name that nothing has. Where the file system cannot do both in one step, it looks first.
pub(super) fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    use rustix::io::Errno;
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => match fs::symlink_metadata(to) {
            Ok(_) => Err(io::ErrorKind::AlreadyExists.into()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => fs::rename(from, to),
            Err(error) => Err(error),
        },
        answer => Ok(answer?),
    }
}

pub(super) fn sha256(path: &Path) -> io::Result<String> {
    let (mut file, mut hasher, mut chunk) = (File::open(path)?, Sha256::new(), vec![0; CHUNK_BYTES]);
    loop {
        match file.read(&mut chunk) {
            Ok(0) => break,
            Ok(bytes) => hasher.update(&chunk[..bytes]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(hex(&hasher.finalize()))
}

pub(super) fn same_bytes(a: &Path, b: &Path) -> io::Result<bool> {
    let (mut a, mut b) = (File::open(a)?, File::open(b)?);
    if a.metadata()?.len() != b.metadata()?.len() {
        return Ok(false);
    }
    let (mut left, mut right) = (Vec::with_capacity(CHUNK_BYTES), Vec::with_capacity(CHUNK_BYTES));
    loop {
        left.clear();
        right.clear();
        (&mut a).take(CHUNK_BYTES as u64).read_to_end(&mut left)?;
        (&mut b).take(CHUNK_BYTES as u64).read_to_end(&mut right)?;
        if left != right {
            return Ok(false);
        }
        if left.is_empty() {
            return Ok(true);
        }
    }
}

pub(super) fn modified(path: &Path) -> io::Result<Duration> {
    Ok(fs::metadata(path)?.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default())
}

/// The digest of some bytes, in hexadecimal digits.
pub(crate) fn sha256_of(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

fn hex(digest: &[u8]) -> String {
    digest.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use crate::os::{Os, SystemOs};
    use std::fs;
    use std::io::ErrorKind;

    #[test]
    fn a_new_name_never_replaces_a_file() {
        let dir = tempfile::tempdir().unwrap();
        let (os, a, b) = (SystemOs::new(), dir.path().join("a"), dir.path().join("b"));
        fs::write(&a, "a").unwrap();
        fs::write(&b, "b").unwrap();
        assert_eq!(os.rename_new(&a, &b).unwrap_err().kind(), ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&b).unwrap(), b"b");
        os.rename_new(&a, &dir.path().join("c")).unwrap();
        assert_eq!(os.list_dir(dir.path(), 2).unwrap(), [b, dir.path().join("c")]);
        assert!(os.list_dir(dir.path(), 1).is_err(), "the bound");
    }

    #[test]
    fn contents_are_compared_to_the_last_byte() {
        let dir = tempfile::tempdir().unwrap();
        let (os, a, b) = (SystemOs::new(), dir.path().join("a"), dir.path().join("b"));
        let mut bytes = vec![7; 200_000];
        let mine = os.rights(dir.path()).unwrap().unwrap().private();
        os.write_durably(&a, &bytes, mine).unwrap();
        os.write_durably(&b, &bytes, mine).unwrap();
        // What is there under the name of the new file is not touched.
        fs::write(dir.path().join("b.new"), "planted").unwrap();
        os.write_durably(&b, &bytes, mine).unwrap();
        assert_eq!(fs::read(dir.path().join("b.new")).unwrap(), b"planted");
        assert!(os.same_bytes(&a, &b).unwrap());
        assert_eq!(os.sha256(&a).unwrap(), os.sha256(&b).unwrap());
        *bytes.last_mut().unwrap() = 8;
        os.write_durably(&b, &bytes, mine).unwrap();
        assert!(!os.same_bytes(&a, &b).unwrap());
        assert_ne!(os.sha256(&a).unwrap(), os.sha256(&b).unwrap());
        assert_eq!(os.read_prefix(&a, 3).unwrap(), [7, 7, 7]);
        os.write_durably(&b, b"abc", mine).unwrap();
        // FIPS 180-2, appendix B.1.
        let known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!((os.sha256(&b).unwrap().as_str(), super::sha256_of(b"abc").as_str()), (known, known));
    }
}
