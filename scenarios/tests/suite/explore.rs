//! The simulator, end to end: executions repeat, an honest SQLite comes through, a broken one does not.
//!
//! Each exploration is a process of its own: it makes its VFS the default one, which the other tests must not meet.

use crate::support::program;
use assert_cmd::Command;
use seawall_harness::sched::POLICIES;
use seawall_harness::story::difference;
use seawall_scenarios::engines::{self, Cache};
use seawall_scenarios::explore::{CaseFile, SCENARIOS, Schedule};
use serde_json::Value;
use std::process::Output;

/// Explores with the findings in a folder of its own.
pub(crate) fn explore(arguments: &[&str]) -> (Value, Output) {
    let folder = tempfile::tempdir().unwrap();
    explore_in(folder.path(), arguments)
}

pub(crate) fn explore_in(folder: &std::path::Path, arguments: &[&str]) -> (Value, Output) {
    let mut command = Command::new(program());
    command.arg("explore").args(arguments).args(["--format", "json", "--out"]).arg(folder);
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    (serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text} {errors}")), output)
}

/// Explores something that must come through; the recorded preemptions must lead to the same calls as the policy did.
#[track_caller]
fn comes_through(arguments: &[&str]) -> Value {
    let (report, output) = explore(&[arguments, &["--twice"]].concat());
    assert_eq!(output.status.code(), Some(0), "{report}");
    assert_eq!((&report["schema"], &report["finding"]), (&1.into(), &Value::Null));
    let acked = report["executions"].as_u64().map(|executions| executions * 5);
    assert!(report["acked"].as_u64() > acked, "nothing was measured: {report}");
    report
}

#[test]
fn executions_repeat_call_by_call_and_the_linked_sqlite_comes_through() {
    for policy in POLICIES.iter().map(|policy| policy.name) {
        let report = comes_through(&["--policy", policy, "--seed", "5", "--executions", "60"]);
        assert_eq!((&report["policy"], &report["executions"]), (&policy.into(), &60.into()));
    }
    for scenario in ["bank", "schema", "shared", "counter"] {
        comes_through(&[scenario, "--seed", "5", "--executions", "60"]);
    }
}

#[test]
fn errors_and_killed_processes_cost_nothing_that_was_acknowledged() {
    #[track_caller]
    fn check(arguments: &[&str]) {
        let report = comes_through(&[arguments, &["--seed", "11", "--executions", "40"]].concat());
        assert!(report["faults_fired"].as_u64() > Some(20), "{report}");
    }
    check(&["mixed", "--preset", "io-error"]);
    check(&["mixed", "--fault", "write@*:kill:p=0.02:times=2", "--fault", "shmbarrier@shm:kill:p=0.01"]);
    check(&["bank", "--preset", "flaky-shm,cantopen-storm", "--fault", "unlock@db:kill:p=0.02"]);
    check(&["shared", "--fault", "write@*:kill:p=0.02:times=2", "--fault", "sync@*:error=IOERR_FSYNC:p=0.02"]);
    check(&["schema", "--fault", "sync@*:kill:p=0.1", "--fault", "write@*:error=FULL:p=0.02"]);
}

#[test]
fn all_listed_scenarios_are_explored_one_after_the_other() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(program());
    command.args(["explore", "all", "--executions", "4", "--seed", "1", "--jobs", "2", "--format", "json", "--out"]);
    let output = command.arg(folder.path()).output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    let text = String::from_utf8(output.stdout).unwrap();
    let reports: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let scenarios: Vec<&str> = reports.iter().filter_map(|report| report["scenario"].as_str()).collect();
    let listed = SCENARIOS.iter().filter(|scenario| scenario.is_listed).map(|scenario| scenario.name);
    assert_eq!(scenarios, listed.collect::<Vec<_>>());
    assert!(reports.iter().all(|report| report["executions"] == 4), "{text}");
}

/// The example of the page is the file that is compiled and explored.
#[test]
fn the_page_about_scenarios_shows_the_scenario_counter() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    let read = |path: &str| std::fs::read_to_string(format!("{root}/{path}")).unwrap();
    let page = read("docs/contributing/scenario.md");
    let code = page.split("```rust\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    assert_eq!(code, read("scenarios/src/explore/scenarios/counter.rs"));
    let line = "counter: Counter(CounterStep) => SCENARIO;";
    assert!(page.contains(line) && read("scenarios/src/explore/scenarios/mod.rs").contains(line));
}

#[test]
fn what_does_not_exist_is_refused_by_name() {
    #[track_caller]
    fn check(arguments: &[&str], message: &str) {
        let output = Command::new(program()).args(arguments).output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{text}");
        assert!(text.contains(message), "{text}");
    }
    check(&["explore", "mixd"], "did you mean `mixed`?");
    check(&["explore", "--policy", "rar"], "did you mean `rare`?");
    check(&["explore", "--sqlite", "/bin/sh"], "/bin/sh");
    check(&["explore", "--preset", "io-eror"], "did you mean `io-error`?");
    check(&["explore", "--fault", "wirte@db:kill"], "write");
    check(&["replay", "sx1:mixed:3.51.1:rare:2a:00000000"], "token format `sx1`");
    check(&["shrink", "nothing.json"], "cannot read nothing.json");
}

/// Every thing that an exploration must notice, as a scenario with that defect.
#[test]
fn canary_planted_defects_are_found() {
    #[track_caller]
    fn check(scenario: &str, verdict: &str, oracle: &str) {
        let (report, output) = explore(&[scenario, "--seed", "3", "--executions", "20"]);
        assert_eq!(output.status.code(), Some(100), "{report}");
        let finding = &report["finding"];
        assert_eq!((&finding["verdict"], &finding["oracle"]), (&verdict.into(), &oracle.into()), "{finding}");
        let token = finding["token"].as_str().unwrap();
        let replay = Command::new(program()).args(["replay", "--times", "2", token]).output().unwrap();
        let text = String::from_utf8_lossy(&replay.stdout).into_owned();
        assert_eq!(replay.status.code(), Some(100), "{text}");
        assert!(text.contains("2 times the same"), "{text}");
    }
    check("canary-deadlock", "wedged", "progress");
    check("canary-livelock", "wedged", "progress");
    check("canary-bank", "corrupt", "isolation");
    check("canary-schema", "lost", "ledger");
}

#[test]
fn after_a_deadlock_the_exploration_goes_on() {
    let (report, _) = explore(&["canary-deadlock", "--seed", "3", "--executions", "7", "--all", "--twice"]);
    assert_eq!((&report["executions"], &report["findings"]), (&7.into(), &7.into()));
}

#[test]
fn several_processes_do_what_one_does() {
    let arguments = ["bank", "--seed", "21", "--executions", "50"];
    let (one, _) = explore(&arguments);
    let (three, _) = explore(&[&arguments[..], &["--jobs", "3"]].concat());
    for figure in ["executions", "calls", "acked", "finding"] {
        assert_eq!(one[figure], three[figure], "{figure}");
    }
    let (all, output) = explore(&["canary-bank", "--seed", "21", "--executions", "9", "--jobs", "2", "--all"]);
    assert_eq!((output.status.code(), &all["findings"]), (Some(100), &9.into()), "{all}");
    assert_eq!(all["finding"]["execution"], 1);
    let (second, _) = explore(&["canary-bank", "--seed", "21", "--executions", "9", "--partition", "2/4"]);
    assert_eq!(second["finding"]["execution"], 2);
    let (few, _) =
        explore(&["bank", "--seed", "1", "--executions", "3", "--jobs", "99", "--partition", "2/4294967295"]);
    assert_eq!(few["executions"], 1);
}

#[test]
fn a_finding_is_written_down_with_its_schedule() {
    let folder = tempfile::tempdir().unwrap();
    let (report, _) = explore_in(folder.path(), &["canary-bank", "--seed", "4"]);
    let path = report["finding"]["file"].as_str().unwrap();
    let file = CaseFile::read(path.as_ref()).unwrap();
    assert_eq!(file.token.as_deref(), report["finding"]["token"].as_str());
    assert!(matches!(&file.case.schedule, Schedule::Preemptions(list) if !list.is_empty()));
    assert_eq!(file.findings[0].oracle, "isolation");
    assert!(file.calls.len() > 100 && file.digest.is_some());
    // A repetition that differed would be told by its first differing call.
    let mut other = file.calls.clone();
    other[50] = "50 p2.t1 write@wal #3 (32, 24) = IOERR_WRITE".to_owned();
    let what = difference(&file.calls, &other).unwrap();
    assert!(what.contains(&file.calls[50]) && what.contains("IOERR_WRITE"), "{what}");
    assert_eq!(difference(&file.calls, &file.calls), None);
}

/// Replays, and has the exit status and all that was printed.
fn replay(arguments: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(program()).arg("replay").args(arguments).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&text).into_owned())
}

#[test]
fn what_a_file_records_is_compared_and_what_it_lacks_is_told() {
    #[track_caller]
    fn check(file: &CaseFile, exit: i32, message: &str) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("case.json");
        file.write(&path).unwrap();
        let (code, text) = replay(&[path.to_str().unwrap()]);
        assert_eq!(code, Some(exit), "{text}");
        assert!(text.contains(message), "{text}");
    }
    let folder = tempfile::tempdir().unwrap();
    let (report, _) = explore_in(folder.path(), &["canary-bank", "--seed", "4"]);
    let file = CaseFile::read(report["finding"]["file"].as_str().unwrap().as_ref()).unwrap();
    check(&file, 100, "as recorded in the file");
    let with = |change: fn(&mut CaseFile)| {
        let mut file = file.clone();
        change(&mut file);
        file
    };
    check(&with(|file| file.calls.drain(..50).for_each(drop)), 100, "as recorded in the file");
    check(&with(|file| drop(file.calls.pop())), 70, "no further call");
    check(&with(|file| file.calls[50].push('9')), 70, "the first differing call is `50 ");
    check(&with(|file| file.findings.clear()), 70, "no further finding in one");
    check(&with(|file| file.digest = Some("0".to_owned())), 70, "the digest is 0 in one");
    let bare = with(|file| (file.digest, file.calls) = (None, Vec::new()));
    check(&bare, 100, "nothing recorded to compare with");
    check(&with(|file| file.case.actors.clear()), 2, "`actors` is empty");
}

#[test]
fn executions_are_replayed_as_json_with_their_calls_but_not_really() {
    let folder = tempfile::tempdir().unwrap();
    let (report, _) = explore_in(folder.path(), &["canary-bank", "--seed", "4"]);
    let trace = folder.path().join("trace.jsonl");
    for of in ["token", "file"] {
        let subject = report["finding"][of].as_str().unwrap();
        let (code, text) = replay(&[subject, "--format", "json", "--trace", trace.to_str().unwrap()]);
        assert_eq!(code, Some(100), "{text}");
        let replayed: Value = serde_json::from_str(&text).unwrap();
        assert_eq!((&replayed[of], &replayed["verdict"]), (&subject.into(), &"corrupt".into()), "{text}");
        let calls = std::fs::read_to_string(&trace).unwrap().lines().count();
        assert_eq!(replayed["calls"], calls);
        assert_eq!(replayed["as_recorded"], if of == "file" { true.into() } else { Value::Null });
        let (code, text) = replay(&[subject, "--medium", "real"]);
        assert!(code == Some(2) && text.contains("--medium real"), "{text}");
    }
    let path = folder.path().join("other.json");
    for (content, message) in [(r#"{"format": 1, "tok"#, "not all of it"), ("{}", "but no case")] {
        std::fs::write(&path, content).unwrap();
        let (code, text) = replay(&[path.to_str().unwrap()]);
        assert!(code == Some(2) && text.contains(message), "{text}");
    }
}

#[test]
fn findings_without_a_place_to_go_to_are_refused_before() {
    let file = tempfile::NamedTempFile::new().unwrap();
    for out in [file.path(), "/proc/nope".as_ref()] {
        let mut command = Command::new(program());
        let output = command.args(["explore", "canary-bank", "--seed", "4", "--out"]).arg(out).output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0), "{text}");
        assert!(text.contains("--out"), "{text}");
    }
    // Where it turns out only at the end, what was found is told all the same.
    let folder = tempfile::tempdir().unwrap();
    let (report, _) = explore_in(folder.path(), &["canary-bank", "--seed", "4"]);
    let path = std::path::PathBuf::from(report["finding"]["file"].as_str().unwrap());
    std::fs::remove_file(&path).unwrap();
    std::fs::create_dir(&path).unwrap();
    let (report, output) = explore_in(folder.path(), &["canary-bank", "--seed", "4"]);
    assert_eq!((output.status.code(), &report["finding"]["file"]), (Some(2), &Value::Null));
    assert!(String::from_utf8_lossy(&output.stderr).contains("cannot write"));
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
    let (report, output) = explore(&["--sqlite", "3.51.1", "--seed", "7", "--max-seconds", "120"]);
    assert_eq!(output.status.code(), Some(100), "{report}");
    let token = report["finding"]["token"].as_str().unwrap();
    let replay = Command::new(program()).args(["replay", "--times", "3", token]).output().unwrap();
    let text = String::from_utf8_lossy(&replay.stdout).into_owned();
    assert_eq!(replay.status.code(), Some(100), "{text}");
    assert!(text.contains("3 times the same"), "{text}");
}
