//! Where the databases of the runs lie.

use std::path::{Path, PathBuf};
use std::{fs, io};

/// `/dev/shm` where it can be written to, else the system's folder for temporary files. Memory is right for most runs:
/// what is tested is what happens when calls fail and processes die, and neither needs a platter. Give a folder on a
/// disk to have one.
pub fn default_folder() -> PathBuf {
    let memory = Path::new("/dev/shm");
    let usable = tempfile::tempfile_in(memory).is_ok();
    if usable { memory.to_owned() } else { std::env::temp_dir() }
}

/// Why something could not be made in a folder, without the random name that it would have had.
pub fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    text.rsplit_once(" at path ").map_or(text.as_str(), |(reason, _)| reason).to_owned()
}

/// The folder with the kind of its file system: `/dev/shm (tmpfs)`.
pub fn describe(folder: &Path) -> String {
    match fs::read_to_string("/proc/mounts").ok().and_then(|mounts| file_system(folder, &mounts)) {
        Some(kind) => format!("{} ({kind})", folder.display()),
        None => folder.display().to_string(),
    }
}

/// The type of the longest mount point that is a prefix of the folder.
fn file_system(folder: &Path, mounts: &str) -> Option<String> {
    let folder = folder.canonicalize().ok()?;
    let mounts = mounts.lines().filter_map(|line| {
        let mut fields = line.split(' ').skip(1);
        Some((fields.next()?, fields.next()?))
    });
    let (_, kind) = mounts.filter(|(point, _)| folder.starts_with(point)).max_by_key(|(point, _)| point.len())?;
    Some(kind.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_names_no_file_that_never_was() {
        let error = tempfile::tempdir_in("/nowhere").unwrap_err();
        assert_eq!(reason(&error), "No such file or directory (os error 2)");
        assert_eq!(reason(&io::Error::other("full")), "full");
    }

    #[test]
    fn the_longest_mount_point_tells_the_kind() {
        let mounts = "none / ext4 rw 0 0\nnone /proc proc rw 0 0\nnone /procx tmpfs rw 0 0\n";
        assert_eq!(file_system(Path::new("/proc"), mounts).unwrap(), "proc");
        assert_eq!(file_system(Path::new("/"), mounts).unwrap(), "ext4");
    }
}
