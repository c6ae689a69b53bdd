//! The directory: absolute paths, and the inode that each of them names.
//!
//! # Fault model
//! - Names are bytes, compared as they are; [`normalise`] is what `xFullPathname` does with them.
//! - Directories are implicit. Each directory that a name needs is there, and a path is a directory while a name lies
//!   under it; so a file is never created for want of a directory in vain, unlike on a real disk.
//! - An inode may have several names (hard links). There are no symbolic links.
//! - Each file can be read and written by every process, unless an outsider has taken rights away: one at a time, see
//!   [`Revocation`]. It binds every process, as if none of them belonged to root.
//! - Names change at once, for all processes. What of the changes survives a power cut is in
//!   [`durability`](super::durability).

use super::disk::InodeId;
use crate::outsider::Revocation;
use std::collections::BTreeMap;
use std::ops::Bound;

/// The names of a machine.
#[derive(Debug, Default)]
pub(super) struct Names {
    entries: BTreeMap<Vec<u8>, InodeId>,
    /// The right that was taken away, and the database.
    revoked: Option<(Vec<u8>, Revocation)>,
}

impl Names {
    pub(super) fn get(&self, name: &[u8]) -> Option<InodeId> {
        self.entries.get(name).copied()
    }

    /// Binds `name` and returns the inode that it named before.
    pub(super) fn bind(&mut self, name: &[u8], inode: InodeId) -> Option<InodeId> {
        self.entries.insert(name.to_vec(), inode)
    }

    pub(super) fn remove(&mut self, name: &[u8]) -> Option<InodeId> {
        self.entries.remove(name)
    }

    /// True if a name lies under `path`.
    pub(super) fn is_directory(&self, path: &[u8]) -> bool {
        let mut prefix = path.to_vec();
        if prefix.last() != Some(&b'/') {
            prefix.push(b'/');
        }
        let mut above = self.entries.range::<[u8], _>((Bound::Excluded(&prefix[..]), Bound::Unbounded));
        above.next().is_some_and(|(name, _)| name.starts_with(&prefix))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&[u8], InodeId)> {
        self.entries.iter().map(|(name, &inode)| (name.as_slice(), inode))
    }

    pub(super) fn clear(&mut self) {
        self.entries.clear();
        self.revoked = None;
    }

    /// Takes a right away from a database or its directory, in place of the one that was taken before.
    pub(super) fn revoke(&mut self, database: &[u8], what: Revocation) {
        self.revoked = Some((database.to_vec(), what));
    }

    pub(super) fn restore_rights(&mut self) {
        self.revoked = None;
    }

    /// The right that a file lacks when it is opened.
    pub(super) fn revoked(&self, name: &[u8]) -> Option<Revocation> {
        self.revoked.as_ref().filter(|(database, _)| database == name).map(|(_, what)| *what)
    }

    /// True if names can be made and taken in the directory of `name`.
    pub(super) fn can_change(&self, name: &[u8]) -> bool {
        let directory = |name: &[u8]| name.iter().rposition(|&byte| byte == b'/').map(|end| name[..end].to_vec());
        self.revoked.as_ref().is_none_or(|(database, what)| {
            *what != Revocation::ReadOnlyDirectory || directory(database) != directory(name)
        })
    }
}

/// Makes `name` absolute and plain in `out`: `.`, `..` and doubled slashes are resolved by the text alone, since there
/// are no links. A relative name starts at the root, the working directory of every simulated process. False if the
/// result and the NUL behind it do not fit `limit` bytes, or if it names the root (os_unix.c, `unixFullPathname`).
pub(super) fn normalise(name: &[u8], limit: usize, out: &mut Vec<u8>) -> bool {
    out.clear();
    for part in name.split(|&byte| byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => out.truncate(out.iter().rposition(|&byte| byte == b'/').unwrap_or(0)),
            _ if out.len() + part.len() + 2 >= limit => return false,
            _ => {
                out.push(b'/');
                out.extend_from_slice(part);
            }
        }
    }
    out.len() >= 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_absolute_and_plain() {
        #[track_caller]
        fn check(name: &str, expected: Option<&str>) {
            let mut out = b"left over".to_vec();
            let fits = normalise(name.as_bytes(), 16, &mut out);
            assert_eq!(fits.then(|| String::from_utf8(out).unwrap()).as_deref(), expected, "{name}");
        }
        check("/a/b", Some("/a/b"));
        check("a//b/", Some("/a/b"));
        check("/a/./b/../c", Some("/a/c"));
        check("/../../c", Some("/c"));
        check("/", None);
        check("", None);
        check("/123456789012", Some("/123456789012"));
        check("/12345678901234", None);
    }

    #[test]
    fn a_path_is_a_directory_while_a_name_lies_under_it() {
        let mut names = Names::default();
        names.bind(b"/a/b", 0);
        names.bind(b"/a-b", 1);
        assert!(names.is_directory(b"/a"));
        assert!(names.is_directory(b"/"));
        assert!(!names.is_directory(b"/a/b"));
        assert!(!names.is_directory(b"/a-"));
        names.remove(b"/a/b");
        assert!(!names.is_directory(b"/a"));
    }
}
