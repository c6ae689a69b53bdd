//! What lies around a database: the file system, its room, the rights, the directories for temporary files.

mod file_system;
mod mount;
mod rights;
mod temp;

pub(super) use file_system::known;
pub(super) use mount::Mount;
pub(super) use rights::RightsProblem;
pub(super) use temp::TempProblem;

use super::holders::HolderProcess;
use super::report::FileRole;
use std::path::Path;

/// What was seen around a database.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Surroundings {
    /// The mount that the directory is on; `None` where mounts are not shown.
    pub(super) mount: Option<Mount>,
    /// Whether the database file is a mount point of its own.
    pub(super) is_mounted_alone: bool,
    /// Whether the file system is mounted read-only.
    pub(super) is_read_only: bool,
    /// Free bytes for users other than root; `None` for a file system that does not count.
    pub(super) free_bytes: Option<u64>,
    /// Free inodes; `None` for a file system that does not count.
    pub(super) free_inodes: Option<u64>,
    pub(super) rights: Vec<RightsProblem>,
    pub(super) temp: Vec<TempProblem>,
}

impl Surroundings {
    /// Looks around; opens nothing but tables of `/proc`.
    pub(super) fn of(path: &Path, holders: &[HolderProcess], own_pid: u32) -> Surroundings {
        let directory = path.parent().unwrap_or(path);
        let mounts = mount::table();
        let space = rustix::fs::statvfs(directory).ok();
        let file = rustix::fs::statvfs(path).ok();
        let flags = space.iter().chain(&file).map(|space| space.f_flag);
        let roles = [FileRole::Database, FileRole::Wal, FileRole::WalIndex, FileRole::Journal];
        Surroundings {
            mount: mounts.as_deref().and_then(|mounts| Mount::of(path, mounts)),
            is_mounted_alone: mounts.iter().flatten().any(|mount| mount.point == path),
            is_read_only: flags.into_iter().any(|flags| flags.contains(rustix::fs::StatVfsMountFlags::RDONLY)),
            free_bytes: space
                .as_ref()
                .filter(|space| space.f_blocks > 0)
                .map(|space| space.f_bavail.saturating_mul(space.f_frsize)),
            free_inodes: space.as_ref().filter(|space| space.f_files > 0).map(|space| space.f_favail),
            rights: rights::problems(&roles.map(|role| (role, role.path(path))), directory, holders, own_pid),
            temp: temp::problems(holders),
        }
    }
}
