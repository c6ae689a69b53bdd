//! Shrinking, end to end: what is left is small, fails in the same way, and is told in words.

use crate::explore::explore;
use crate::support::program;
use assert_cmd::Command;
use seawall_scenarios::engines::{self, Cache};
use seawall_scenarios::explore::CaseFile;
use serde_json::Value;

/// Shrinks a token or the case in a file; the report, and the case that is left.
#[track_caller]
fn shrink(subject: &str) -> (Value, CaseFile) {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(program());
    let output = command.args(["shrink", subject, "--format", "json", "--out"]).arg(folder.path()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(100), "{text}{}", String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_str(&text).unwrap();
    let path = folder.path().join(report["file"].as_str().unwrap());
    assert!(path.with_extension("story.json").is_file() && path.with_extension("svg").is_file());
    (report, CaseFile::read(&path).unwrap())
}

#[test]
fn canary_a_planted_defect_shrinks_to_the_defect_alone() {
    #[track_caller]
    fn check(scenario: &str, oracle: &str, steps: usize) {
        let (explored, _) = explore(&[scenario, "--seed", "3", "--executions", "20"]);
        let token = explored["finding"]["token"].as_str().unwrap();
        let (report, file) = shrink(token);
        assert_eq!(report["oracle"], oracle, "{report}");
        assert_eq!(report["preemptions"][1], 0, "{}", report["words"]);
        let left: usize = file.case.actors.iter().map(|plan| plan.steps.len()).sum();
        assert_eq!(left, steps, "{}", report["words"]);
        assert_eq!(file.findings[0].oracle, oracle);
        assert!(report["words"].as_array().is_some_and(|words| words.len() >= 2), "{report}");
    }
    check("canary-schema", "ledger", 2);
    check("canary-bank", "isolation", 2);
}

/// The WAL-reset defect, from findings of the scenario `mixed` that leaving out alone cannot bring down to a page: one
/// of four actors and 24 preemptions that the wal-index gave away, one of three actors that only the file's integrity
/// did.
#[test]
fn the_wal_reset_defect_shrinks_to_a_page() {
    #[track_caller]
    fn check(name: &str, oracle: &str, detail: &str) {
        let (report, file) = shrink(&format!("{}/tests/regressions/{name}.json", env!("CARGO_MANIFEST_DIR")));
        assert_eq!((&report["verdict"], &report["oracle"]), (&"corrupt".into(), &oracle.into()));
        assert!(report["preemptions"][1].as_u64() <= Some(3), "{}", report["words"]);
        assert!(report["statements"][1].as_u64() <= Some(10), "{}", report["words"]);
        assert_eq!(report["actors"][1], 2, "{}", report["words"]);
        assert!(report["executions"].as_u64() < Some(30_000), "{report}");
        // The window: a checkpoint that goes by what it knew of the log before.
        assert!(report["words"].to_string().contains("unfetch@db"), "{}", report["words"]);
        assert!(file.findings[0].detail.contains(detail), "{:?}", file.findings);
    }
    let release = engines::release("3.51.1").unwrap();
    if !Cache::locate().is_ok_and(|cache| cache.library(release).is_file()) {
        println!("skipped: SQLite 3.51.1 is not built; `seawall sqlite build 3.51.1` does it");
        return;
    }
    check("wal-reset", "walindex", "nBackfill");
    check("wal-reset-integrity", "integrity", "fresh connection");
}
