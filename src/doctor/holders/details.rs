//! What is known of a process that holds a database: whether it runs, as which user, and which SQLite it has loaded.

use super::Holder;
use super::libraries::Libraries;
use serde::Serialize;
use std::fs;
use std::path::{Path, PathBuf};

/// A process that has one of the files open.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct HolderProcess {
    /// The process.
    pub pid: u32,
    /// Its name, as in `/proc/PID/comm`.
    pub command: String,
    /// Its state as in `/proc/PID/stat`: `R` running, `S` sleeping, `D` waiting for a device, `T` or `t` stopped, `Z`
    /// ended. `None` if it is not shown.
    pub state: Option<char>,
    /// The user it acts as for files.
    pub user: Option<u32>,
    /// The groups it acts as for files, the first one first.
    pub groups: Vec<u32>,
    /// The version of the SQLite library that it has loaded, like `3.40.1`, where that can be told from the library.
    pub sqlite: Option<String>,
    /// The same as a number.
    #[serde(skip)]
    pub(in crate::doctor) sqlite_number: Option<u32>,
    /// Where the process says that temporary files go: SQLITE_TMPDIR and TMPDIR. `None` if it is not shown.
    #[serde(skip)]
    pub(in crate::doctor) temp: Option<Vec<PathBuf>>,
}

impl HolderProcess {
    /// Whether it was stopped, by a signal or a debugger.
    pub fn is_stopped(&self) -> bool {
        matches!(self.state, Some('T' | 't'))
    }
}

/// The processes of some holders.
pub(in crate::doctor) fn of(holders: &[Holder], libraries: &mut Libraries) -> Vec<HolderProcess> {
    let mut details: Vec<HolderProcess> = Vec::new();
    for holder in holders {
        if details.iter().all(|known| known.pid != holder.pid) {
            details.push(read(holder, libraries));
        }
    }
    details
}

fn read(holder: &Holder, libraries: &mut Libraries) -> HolderProcess {
    let folder = PathBuf::from(format!("/proc/{}", holder.pid));
    let status = fs::read_to_string(folder.join("status")).unwrap_or_default();
    let numbers = |key: &str| -> Vec<u32> {
        let line = status.lines().find_map(|line| line.strip_prefix(key)).unwrap_or_default();
        line.split_ascii_whitespace().filter_map(|word| word.parse().ok()).collect()
    };
    // Real, effective, saved, and the one for files.
    let (users, groups) = (numbers("Uid:"), numbers("Gid:"));
    let linked = rusqlite::ffi::SQLITE_VERSION_NUMBER.cast_unsigned();
    let sqlite_number = if holder.is_self { Some(linked) } else { libraries.of_process(&folder) };
    HolderProcess {
        pid: holder.pid,
        command: holder.command.clone(),
        state: status.lines().find_map(|line| line.strip_prefix("State:")).and_then(|word| word.trim().chars().next()),
        user: users.get(3).copied(),
        groups: groups.get(3).copied().into_iter().chain(numbers("Groups:")).collect(),
        sqlite: sqlite_number.map(crate::doctor::bytes::version_text),
        sqlite_number,
        temp: temp(&folder),
    }
}

fn temp(process: &Path) -> Option<Vec<PathBuf>> {
    use std::ffi::OsStr;
    use std::io::Read;
    use std::os::unix::ffi::OsStrExt;
    const ENVIRONMENT_BYTES_MAX: u64 = 1 << 20;
    let mut bytes = Vec::new();
    let file = crate::doctor::wal::open_proc(&process.join("environ")).ok()?;
    file.take(ENVIRONMENT_BYTES_MAX).read_to_end(&mut bytes).ok()?;
    let of = |key: &[u8]| {
        let mut entries = bytes.split(|&byte| byte == 0);
        entries.find_map(|entry| entry.strip_prefix(key)).map(|value| PathBuf::from(OsStr::from_bytes(value)))
    };
    Some([of(b"SQLITE_TMPDIR="), of(b"TMPDIR=")].into_iter().flatten().collect())
}
