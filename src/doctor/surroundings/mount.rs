//! The table of mounts (proc(5), `/proc/PID/mountinfo`).

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// More lines than this are not looked at.
const LINES_MAX: usize = 1 << 16;

/// One mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::doctor) struct Mount {
    pub(in crate::doctor) point: PathBuf,
    /// The kind of file system, like `ext4` or `fuse.sshfs`.
    pub(in crate::doctor) kind: String,
}

impl Mount {
    fn parse(line: &str) -> Option<Mount> {
        let (left, right) = line.split_once(" - ")?;
        let point = unescape(left.split(' ').nth(4)?);
        Some(Mount { point, kind: right.split(' ').next()?.to_owned() })
    }

    /// The mount that a file is on: the deepest one above it, and the last of several at one point.
    pub(in crate::doctor) fn of(path: &Path, mounts: &[Mount]) -> Option<Mount> {
        let above = mounts.iter().filter(|mount| path.starts_with(&mount.point));
        above.max_by_key(|mount| mount.point.components().count()).cloned()
    }
}

/// All mounts of this process; `None` if they are not shown.
pub(super) fn table() -> Option<Vec<Mount>> {
    let text = fs::read_to_string("/proc/self/mountinfo").ok()?;
    Some(text.lines().take(LINES_MAX).filter_map(Mount::parse).collect())
}

/// The kernel writes blanks and backslashes as `\040`.
fn unescape(text: &str) -> PathBuf {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let digits = after.first_chunk::<3>().and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 8).ok()).filter(|_| byte == b'\\') {
            Some(escaped) => {
                bytes.push(escaped);
                rest = &after[3..];
            }
            None => {
                bytes.push(byte);
                rest = after;
            }
        }
    }
    PathBuf::from(OsString::from_vec(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_deepest_mount_counts() {
        let lines = [
            "22 1 254:0 / / rw,relatime - ext4 /dev/vda rw",
            "31 22 0:25 / /srv/my\\040data rw - fuse.sshfs host:/x rw",
            "32 31 0:26 /x.db /srv/my\\040data/x.db rw - xfs /dev/vdb rw",
            "nonsense",
        ];
        let mounts: Vec<Mount> = lines.into_iter().filter_map(Mount::parse).collect();
        let kind = |path: &str| Mount::of(Path::new(path), &mounts).unwrap().kind;
        assert_eq!(kind("/srv/x.db"), "ext4");
        assert_eq!(kind("/srv/my data/y.db"), "fuse.sshfs");
        assert_eq!(kind("/srv/my data/x.db"), "xfs");
        assert_eq!(kind("/srv/my data2"), "ext4");
    }
}
