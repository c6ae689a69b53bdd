//! Outsiders on real files.
//!
//! Nothing here opens the database in this process, which would cancel the process's locks; copies are made by `cp`.

use super::{Files, Intervention, OutsideAction, Revocation, change_files, touched};
use crate::sys;
use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

/// How long a suspended process is stopped.
const SUSPENSION: Duration = Duration::from_millis(400);

/// How long the child of a `fork` lives, by the machine's clock.
pub const CHILD_LIFE: Duration = Duration::from_millis(400);

/// The files of the system.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemFiles;

impl Files for SystemFiles {
    fn exists(&self, path: &str) -> bool {
        Path::new(path).exists()
    }

    fn rename(&mut self, from: &str, to: &str) -> bool {
        fs::rename(from, to).is_ok()
    }

    fn unlink(&mut self, path: &str) -> bool {
        fs::remove_file(path).is_ok()
    }

    fn copy(&mut self, from: &str, to: &str) -> bool {
        is_done(Command::new("cp").args(["--", from, to]))
    }

    fn link(&mut self, from: &str, to: &str) -> bool {
        fs::hard_link(from, to).is_ok()
    }

    fn revoke(&mut self, database: &str, what: Revocation) -> bool {
        match what {
            Revocation::ReadOnlyFile => set_mode(Path::new(database), 0o444),
            Revocation::ClosedFile => set_mode(Path::new(database), 0),
            Revocation::ReadOnlyDirectory => Path::new(database).parent().is_some_and(|dir| set_mode(dir, 0o555)),
        }
    }

    fn restore_rights(&mut self, database: &str) -> bool {
        let is_open = Path::new(database).parent().is_some_and(|dir| set_mode(dir, 0o755));
        set_mode(Path::new(database), 0o644) && is_open
    }
}

/// Carries an intervention out in the process that makes the call.
pub(crate) fn intervene(intervention: &Intervention) {
    match intervention.action {
        OutsideAction::Touch => touched(intervention).for_each(|name| drop(File::open(name))),
        OutsideAction::Suspend => suspend(),
        OutsideAction::Fork => sys::fork_and_linger(CHILD_LIFE),
        _ => drop(change_files(intervention, &mut SystemFiles)),
    }
}

/// Stops this process; a helper wakes it up.
fn suspend() {
    let script = format!("sleep {}; kill -CONT {}", SUSPENSION.as_secs_f64(), std::process::id());
    let mut helper = Command::new("sh");
    helper.args(["-c", &script]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    if let Ok(mut helper) = helper.spawn() {
        sys::stop_self();
        let _ = helper.wait();
    }
}

fn set_mode(path: &Path, mode: u32) -> bool {
    fs::set_permissions(path, Permissions::from_mode(mode)).is_ok()
}

fn is_done(command: &mut Command) -> bool {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}
