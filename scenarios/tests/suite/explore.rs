//! The simulator, end to end: executions repeat, an honest SQLite comes through, a broken one does not.
//!
//! Each exploration is a process of its own: it makes its VFS the default one, which the other tests must not meet.

use std::process::Output;

use assert_cmd::Command;
use seawall_lab::engines::{self, Cache};
use serde_json::Value;

use crate::support::program;

fn explore(arguments: &[&str]) -> (Value, Output) {
    let output = Command::new(program()).arg("explore").args(arguments).args(["--format", "json"]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    (serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}")), output)
}

#[test]
fn executions_repeat_call_by_call_and_the_linked_sqlite_comes_through() {
    for policy in seawall_lab::explore::POLICIES {
        let (report, output) = explore(&["--policy", policy, "--seed", "5", "--executions", "300", "--twice"]);
        assert_eq!(output.status.code(), Some(0), "{report}");
        assert_eq!(
            (&report["schema"], &report["policy"], &report["executions"]),
            (&1.into(), &policy.into(), &300.into())
        );
        assert_eq!(report["finding"], Value::Null);
        assert!(report["acked"].as_u64() > Some(1_000), "nothing was measured: {report}");
    }
}

#[test]
fn what_does_not_exist_is_refused_by_name() {
    #[track_caller]
    fn check(arguments: &[&str], message: &str) {
        let output = Command::new(program()).arg("explore").args(arguments).output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{text}");
        assert!(text.contains(message), "{text}");
    }
    check(&["mixd"], "did you mean `mixed`?");
    check(&["--policy", "rar"], "did you mean `rare`?");
    check(&["--sqlite", "/bin/sh"], "/bin/sh");
}

/// The canary: SQLite 3.51.1 has the WAL-reset defect, which the scenario knows nothing of. Building it takes longer
/// than the test, so this runs where it has been built (`seawall sqlite build 3.51.1`).
#[test]
fn canary_the_wal_reset_defect_is_found_and_replays() {
    let release = engines::release("3.51.1").unwrap();
    if !Cache::locate().is_ok_and(|cache| cache.library(release).is_file()) {
        println!("skipped: SQLite 3.51.1 is not built; `seawall sqlite build 3.51.1` does it");
        return;
    }
    let (report, output) = explore(&["--sqlite", "3.51.1", "--seed", "1", "--max-seconds", "120"]);
    assert_eq!(output.status.code(), Some(100), "{report}");
    let token = report["finding"]["token"].as_str().unwrap();
    let replay = Command::new(program()).args(["replay", "--times", "3", token]).output().unwrap();
    let text = String::from_utf8_lossy(&replay.stdout).into_owned();
    assert_eq!(replay.status.code(), Some(100), "{text}");
    assert!(text.contains("3 times the same"), "{text}");
}
