//! Rights that bind root: a process with the capability `CAP_DAC_OVERRIDE` may write a file of any mode. Where an
//! outsider takes rights away, root's workers are started without it.

use std::ffi::OsString;
use std::process::Command;

/// The bits of `CAP_DAC_OVERRIDE` and `CAP_DAC_READ_SEARCH` in the line `CapEff` of `/proc/PID/status`.
const OVERRIDES: u64 = 0b110;

/// The command that starts a program bound by rights, as far as the system has the means (`setpriv` of util-linux).
pub fn bound(program: &[OsString]) -> Command {
    let has_means = || Command::new("setpriv").arg("--version").output().is_ok_and(|output| output.status.success());
    let mut command = if are_binding() || !has_means() {
        Command::new(&program[0])
    } else {
        let mut command = Command::new("setpriv");
        command.args(["--bounding-set", "-dac_override,-dac_read_search", "--"]).arg(&program[0]);
        command
    };
    command.args(&program[1..]);
    command
}

/// True if this process is bound by the rights of files, as far as is known.
pub fn are_binding() -> bool {
    std::fs::read_to_string("/proc/self/status").map_or(true, |status| !has_overrides(&status))
}

fn has_overrides(status: &str) -> bool {
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let capabilities = line.and_then(|set| u64::from_str_radix(set.trim(), 16).ok());
    capabilities.is_some_and(|capabilities| capabilities & OVERRIDES != 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn capabilities_are_read_from_the_status() {
        assert!(has_overrides("Name:\tx\nCapEff:\t000001ffffffffff\n"));
        assert!(has_overrides("CapEff:\t0000000000000004\n"));
        assert!(!has_overrides("CapEff:\t0000000000000001\n"));
        assert!(!has_overrides("CapPrm:\t0000000000000002\n"));
    }

    #[test]
    fn a_bound_program_cannot_read_what_has_no_rights() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("closed");
        fs::write(&path, "text").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o000)).unwrap();
        let mut read = bound(&["cat".into(), path.into_os_string()]);
        let output = read.output().unwrap();
        assert!(!output.status.success(), "{output:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains("ermission"), "{output:?}");
    }
}
