//! The program as its users meet it: what it refuses and how, what it prints, how it ends, and what it leaves behind.

mod cure;
mod doctor;
mod doctor_options;
mod endings;
mod merging;
mod output;
mod processes;
mod refusals;
mod reports;

use crate::support;
use std::path::Path;
use std::process::Command;
use tempfile::TempDir;

/// What one call of the program came to.
struct Answer {
    status: Option<i32>,
    out: String,
    err: String,
}

/// A call of the program with nothing in the environment that would change its colours, or give it a share of the work.
fn command(args: &[&str]) -> Command {
    let mut command = Command::new(support::program());
    command.args(args);
    let arrays = ["SLURM_ARRAY_TASK_ID", "JOB_COMPLETION_INDEX", "CI_NODE_INDEX", "CIRCLE_NODE_INDEX"];
    let looks = ["NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE", "RUST_BACKTRACE", "BUILDKITE_PARALLEL_JOB"];
    for name in arrays.into_iter().chain(looks) {
        command.env_remove(name);
    }
    command
}

fn answer(command: Command) -> Answer {
    let output = assert_cmd::Command::from_std(command).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let answer = Answer { status: output.status.code(), out: text(output.stdout), err: text(output.stderr) };
    assert!(!answer.err.contains("panicked"), "{}", answer.err);
    answer
}

fn run(args: &[&str]) -> Answer {
    answer(command(args))
}

/// A soak of a few runs in a folder of its own, which must be empty afterwards.
fn soak(args: &[&str]) -> Answer {
    let scratch = scratch();
    let given = [&["soak", "--scratch", text(scratch.path())], args].concat();
    let answer = run(&given);
    assert_eq!(listing(scratch.path()), [""; 0], "left behind by {given:?}");
    answer
}

/// A folder in memory.
fn scratch() -> TempDir {
    tempfile::tempdir_in(seawall_scenarios::scratch::default_folder()).unwrap()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn listing(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Whether a file system of a few kilobytes can be mounted out of sight of other processes.
fn can_mount() -> bool {
    let allowed = Command::new("unshare").args(["-rm", "true"]).output().is_ok_and(|o| o.status.success());
    if !allowed {
        println!("skipped: `unshare -rm` is not allowed here, so there is no full disk");
    }
    allowed
}

/// Runs a shell script with a file system of `size` mounted on `folder`: `$0` is the program, `$1` the folder.
fn on_a_small_disk(size: &str, folder: &Path, script: &str) -> Answer {
    let mut command = Command::new("unshare");
    let mount = format!("mount -t tmpfs -o size={size} tmpfs \"$1\" && {script}");
    command.args(["-rm", "sh", "-c", &mount]).arg(support::program()).arg(folder);
    answer(command)
}
