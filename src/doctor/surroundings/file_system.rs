//! What is known of file systems with respect to locks, shared memory and durability.

use crate::doctor::codes::Code;
use crate::doctor::findings::Severity::{self, Notice, Warning};

/// What is known of a kind of file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::doctor) struct Known {
    pub(in crate::doctor) code: Code,
    /// How bad it is for a database in WAL mode.
    pub(in crate::doctor) in_wal_mode: Severity,
    /// How bad it is for one with a rollback journal.
    pub(in crate::doctor) else_: Severity,
    pub(in crate::doctor) text: &'static str,
}

const fn network(text: &'static str) -> Option<Known> {
    Some(Known { code: Code::NetworkFileSystem, in_wal_mode: Warning, else_: Notice, text })
}

const fn special(in_wal_mode: Severity, text: &'static str) -> Option<Known> {
    Some(Known { code: Code::FileSystem, in_wal_mode, else_: Notice, text })
}

/// What is to be said of a file system, by the name that the kernel gives it; `None` for those with locks, shared
/// memory and durability as SQLite wants them.
pub(in crate::doctor) fn known(kind: &str) -> Option<Known> {
    match kind {
        "ext2" | "ext3" | "ext4" | "xfs" | "btrfs" | "f2fs" | "zfs" | "jfs" | "reiserfs" | "bcachefs" | "nilfs2"
        | "ufs" | "apfs" | "hfsplus" | "vfat" | "exfat" | "msdos" | "ntfs3" => None,
        "tmpfs" | "ramfs" | "rootfs" | "hugetlbfs" => {
            special(Notice, "in memory alone: locks and shared memory work, and all is gone when the machine restarts")
        }
        "overlay" | "aufs" => special(
            Notice,
            "layers: locks and shared memory work within one mount; a file of a lower layer is copied at the first \
             write, and a process that opened it before goes on with the old one; what is in the upper layer of a \
             container is gone with the container",
        ),
        "squashfs" | "iso9660" | "erofs" | "cramfs" | "udf" => {
            special(Warning, "made for reading: nothing can be written")
        }
        "ecryptfs" | "fuseblk" => {
            special(Notice, "a layer over a local disk: locks and shared memory work within this machine")
        }
        "nfs" | "nfs4" => network(
            "NFS: locks need a lock service that works on both ends (version 4, or lockd), and are lost with the mount \
             option nolock; the -shm is not shared between machines; a cache of attributes may hide commits",
        ),
        "cifs" | "smb2" | "smb3" | "smbfs" => network(
            "SMB: byte locks are mandatory or only local (nobrl), mapped memory is not shared between machines, and a \
             lost connection drops locks",
        ),
        "9p" => network(
            "9p: locks are often local to the guest, and shared writable memory needs cache=mmap or loose; the host and \
             the guest do not see each other's locks",
        ),
        "virtiofs" => network(
            "virtiofs: locks are local to the guest unless virtiofsd has posix_lock, and memory is shared with the host \
             only with DAX",
        ),
        "vboxsf" => network(
            "vboxsf: no shared writable memory, so WAL mode fails (SQLITE_IOERR_SHMMAP, 5386), and locks are local to \
             the guest",
        ),
        "prl_fs" | "vmhgfs" | "drvfs" => {
            network("a folder of the host: locks are local to the guest, and shared memory may be missing")
        }
        "gfs2" | "ocfs2" | "lustre" | "gpfs" | "ceph" | "beegfs" | "glusterfs" | "afs" | "coda" | "orangefs" => {
            network(
                "a cluster file system: locks go through a lock manager, if it is mounted with one (gfs2: not with \
             localflocks; lustre: flock), and the -shm of WAL mode is not made for several machines",
            )
        }
        kind if kind == "fuse" || kind.starts_with("fuse.") => network(
            "FUSE: a program is the file system, and it decides whether locks reach other mounts, whether shared \
             writable memory works (not with direct_io), and what a sync means",
        ),
        _ => special(
            Notice,
            "a file system of which the doctor knows nothing: locks and shared memory are to be checked",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn network_file_systems_are_a_warning_in_wal_mode_and_local_ones_say_nothing() {
        for kind in ["nfs4", "cifs", "9p", "virtiofs", "vboxsf", "gfs2", "fuse.sshfs", "fuse"] {
            let known = known(kind).unwrap();
            assert_eq!(
                (known.code, known.in_wal_mode, known.else_),
                (Code::NetworkFileSystem, Warning, Notice),
                "{kind}"
            );
        }
        for kind in ["overlay", "ramfs", "tmpfs", "zonefs", ""] {
            assert_eq!(
                known(kind).map(|known| (known.code, known.in_wal_mode)),
                Some((Code::FileSystem, Notice)),
                "{kind}"
            );
        }
        assert!(["ext4", "xfs", "btrfs"].into_iter().all(|kind| known(kind).is_none()));
    }
}
