//! The outsiders of a run that use SQLite: a backup of the database, and another program that writes to it.

use rusqlite::{Connection, OpenFlags};
use seawall_harness::outsider::{BACKUP, OUTSIDE_PROGRAM_SQL};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

/// Keeps a consistent backup of a database, in WAL mode as the database is; without a VFS, on the platform's own files.
/// Where it cannot be made, outsiders use a raw copy.
pub fn back_up(database: &str, vfs: Option<&str>) {
    let open = |path: &str, flags| match vfs {
        Some(vfs) => Connection::open_with_flags_and_vfs(path, flags, vfs),
        None => Connection::open_with_flags(path, flags),
    };
    let backup = format!("{database}{BACKUP}");
    let copy = || -> rusqlite::Result<()> {
        open(database, OpenFlags::SQLITE_OPEN_READ_WRITE)?.execute("VACUUM INTO ?1", [&backup])?;
        let copied = open(&backup, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        copied.pragma_update_and_check(None, "journal_mode", "wal", |_| Ok(()))
    };
    let _ = copy();
}

/// Starts the program that writes to the database at this path, and waits for its end.
pub fn start(path: &str) {
    let Ok(program) = std::env::current_exe() else { return };
    let mut command = Command::new(program);
    command.args(["outsider", path]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let _ = command.status();
}

/// The entry point of that program.
pub fn main(path: &Path) -> ExitCode {
    let written = Connection::open(path).and_then(|database| database.execute_batch(OUTSIDE_PROGRAM_SQL));
    if written.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
