//! Whether a user may do what SQLite does: write to the database, its side files and its directory.
//!
//! Judged by owner, groups and mode. Where a file has an access list, the mode does not tell, and nothing is said.

use crate::doctor::holders::HolderProcess;
use crate::doctor::report::FileRole;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// A right that is missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::doctor) struct RightsProblem {
    /// Whose: "this user (1000)", "process 17 (python3), user 1000", "the owner of the database (1000)".
    pub(in crate::doctor) whose: String,
    /// What is missing, with owner and mode.
    pub(in crate::doctor) what: String,
    /// What SQLite will say.
    pub(in crate::doctor) code: &'static str,
    /// Whether the user may write the database: then the missing right was hardly meant.
    pub(in crate::doctor) can_write_database: bool,
}

/// A user with all groups.
struct User {
    whose: String,
    id: u32,
    groups: Vec<u32>,
    pid: Option<u32>,
}

struct Entry {
    label: String,
    owner: u32,
    group: u32,
    mode: u32,
}

impl Entry {
    fn read(label: impl ToString, path: &Path) -> Option<Entry> {
        let status = fs::metadata(path).ok()?;
        let mut value = [0_u8; 256];
        let list = rustix::fs::getxattr(path, "system.posix_acl_access", &mut value[..]);
        let is_plain = list.is_err_and(|errno| errno != rustix::io::Errno::RANGE);
        let entry =
            Entry { label: label.to_string(), owner: status.uid(), group: status.gid(), mode: status.mode() & 0o7777 };
        is_plain.then_some(entry)
    }

    /// Whether a user has all of these bits: 4 reads, 2 writes, 1 goes through.
    fn allows(&self, user: &User, bits: u32) -> bool {
        let shift = if user.id == self.owner {
            6
        } else if user.groups.contains(&self.group) {
            3
        } else {
            0
        };
        user.id == 0 || (self.mode >> shift) & bits == bits
    }

    fn told(&self) -> String {
        format!("{} belongs to {}:{} with mode {:o}", self.label, self.owner, self.group, self.mode)
    }
}

/// The rights that are missing, for this process, for those that have the database open, and for its owner.
pub(super) fn problems(
    files: &[(FileRole, PathBuf); 4],
    directory: &Path,
    holders: &[HolderProcess],
    own_pid: u32,
) -> Vec<RightsProblem> {
    let [(role, database), side_files @ ..] = files;
    let Some(database) = Entry::read(role, database) else { return Vec::new() };
    let Some(directory) = Entry::read("the directory", directory) else { return Vec::new() };
    let side_files: Vec<(FileRole, Entry)> =
        side_files.iter().filter_map(|(role, path)| Some((*role, Entry::read(role, path)?))).collect();
    let mut problems: Vec<RightsProblem> = Vec::new();
    for user in users(&database, holders, own_pid) {
        let of_user = of(&user, &database, &directory, &side_files);
        // Once for each user, by the first who is named.
        problems.extend(of_user.filter(|problem| problems.iter().all(|known| known.whose != problem.whose)));
    }
    problems
}

fn users(database: &Entry, holders: &[HolderProcess], own_pid: u32) -> Vec<User> {
    let groups = rustix::process::getgroups().unwrap_or_default().into_iter().map(|group| group.as_raw());
    let own = User {
        whose: format!("this user ({})", rustix::process::geteuid().as_raw()),
        id: rustix::process::geteuid().as_raw(),
        groups: std::iter::once(rustix::process::getegid().as_raw()).chain(groups).collect(),
        pid: None,
    };
    let of_holder = |holder: &HolderProcess| {
        let id = holder.user?;
        let whose = format!("process {} ({}), user {id}", holder.pid, holder.command);
        Some(User { whose, id, groups: holder.groups.clone(), pid: Some(holder.pid) })
    };
    let owner = User {
        whose: format!("the owner of the database ({})", database.owner),
        id: database.owner,
        groups: vec![database.group],
        pid: None,
    };
    let mut users = vec![own];
    users.extend(holders.iter().filter_map(of_holder).filter(|user| user.pid != Some(own_pid)));
    users.push(owner);
    let mut known = Vec::new();
    users.retain(|user| {
        let is_new = !known.contains(&user.id);
        known.push(user.id);
        is_new
    });
    users
}

/// The first thing that is in the way of a user.
fn of(user: &User, database: &Entry, directory: &Entry, side_files: &[(FileRole, Entry)]) -> Option<RightsProblem> {
    let can_write_database = database.allows(user, 6);
    let problem = |entry: &Entry, code| {
        Some(RightsProblem { whose: user.whose.clone(), what: entry.told(), code, can_write_database })
    };
    if !directory.allows(user, 1) || !database.allows(user, 4) {
        return problem(if directory.allows(user, 1) { database } else { directory }, "SQLITE_CANTOPEN (14)");
    }
    for (role, entry) in side_files {
        let needed = if can_write_database { 6 } else { 4 };
        if !entry.allows(user, needed) {
            let code = match role {
                FileRole::Journal => "SQLITE_READONLY_ROLLBACK (776) or SQLITE_CANTOPEN (14)",
                _ if entry.allows(user, 4) => "SQLITE_READONLY (8) or SQLITE_READONLY_CANTINIT (520)",
                _ => "SQLITE_CANTOPEN (14)",
            };
            return problem(entry, code);
        }
    }
    if !can_write_database {
        return problem(database, "SQLITE_READONLY (8)");
    }
    if !directory.allows(user, 2) {
        return problem(directory, "SQLITE_READONLY_DIRECTORY (1544) or SQLITE_CANTOPEN (14)");
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(owner: u32, mode: u32) -> Entry {
        Entry { label: "x".into(), owner, group: 7, mode }
    }

    #[track_caller]
    fn check(id: u32, groups: &[u32], entries: [Entry; 3], expected: Option<&str>) {
        let user = User { whose: "u".into(), id, groups: groups.to_vec(), pid: None };
        let [database, directory, wal] = entries;
        let found = of(&user, &database, &directory, &[(FileRole::Wal, wal)]);
        assert_eq!(found.as_ref().map(|problem| problem.code.split(' ').next().unwrap()), expected, "{found:?}");
    }

    #[test]
    fn what_is_missing_is_named_with_what_sqlite_will_say() {
        let all = || [entry(5, 0o644), entry(5, 0o755), entry(5, 0o644)];
        check(5, &[], all(), None);
        check(0, &[], [entry(5, 0o400), entry(5, 0o500), entry(5, 0)], None);
        check(6, &[], all(), Some("SQLITE_READONLY"));
        check(5, &[], [entry(5, 0o644), entry(5, 0o755), entry(0, 0o644)], Some("SQLITE_READONLY"));
        check(5, &[], [entry(5, 0o644), entry(5, 0o755), entry(0, 0o600)], Some("SQLITE_CANTOPEN"));
        check(5, &[], [entry(5, 0o644), entry(0, 0o755), entry(5, 0o644)], Some("SQLITE_READONLY_DIRECTORY"));
        check(5, &[], [entry(5, 0o644), entry(0, 0o700), entry(5, 0o644)], Some("SQLITE_CANTOPEN"));
        check(6, &[7], [entry(5, 0o660), entry(5, 0o770), entry(5, 0o660)], None);
    }
}
