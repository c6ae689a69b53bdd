//! What the program says about a finding is true: on which library it was made, whether it happens on another SQLite,
//! what was expected and what came out.

use crate::explore::explore_in;
use crate::support::program;
use assert_cmd::Command;
use seawall_scenarios::engines::{Cache, RELEASES, State, release};
use serde_json::Value;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Output;

fn seawall(arguments: &[&str]) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = Command::new(program()).args(arguments).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    (status.code(), text(stdout), text(stderr))
}

/// A library of a version that is built, in the folder under a name that no field of a token may have as it is.
fn library(folder: &Path) -> Option<PathBuf> {
    let cache = Cache::locate().ok()?;
    let Some(release) = RELEASES.iter().rev().find(|release| cache.state(**release) == State::Built) else {
        println!("skipped: no version is built; `seawall sqlite build 3.51.1` does it");
        return None;
    };
    let path = folder.join("my lib:sqlite.so");
    fs::copy(cache.library(*release), &path).unwrap();
    Some(path)
}

/// Tokens and files of a finding on a library: it is replayed there; another library at its path is told, and a missing
/// one.
#[test]
fn a_finding_on_ones_own_library_is_replayed_on_it() {
    let folder = tempfile::tempdir().unwrap();
    let Some(path) = library(folder.path()) else { return };
    let sqlite = path.to_str().unwrap();
    let (report, _) = explore_in(folder.path(), &["canary-bank", "--seed", "4", "--sqlite", sqlite]);
    assert!(report["sqlite"].as_str().unwrap().starts_with(sqlite), "{report}");
    let mut subjects: Vec<String> =
        ["token", "file"].map(|of| report["finding"][of].as_str().unwrap().to_owned()).to_vec();
    let arguments = ["--journal-mode", "WAL", "--synchronous", "OFF", "--images", "200", "--seed", "3"];
    let (_, text, _) = seawall(&[&["powercut", "--format", "json", "--sqlite", sqlite], &arguments[..]].concat());
    let report: Value = serde_json::from_str(&text).unwrap();
    subjects.push(report["cells"][0]["token"].as_str().unwrap().to_owned());
    for subject in &subjects {
        let (code, text, errors) = seawall(&["replay", subject]);
        assert_eq!(code, Some(100), "{text}{errors}");
        assert!(!text.contains("another library"), "{text}");
    }
    // One byte behind the end: the same code, another library.
    fs::File::options().append(true).open(&path).unwrap().write_all(b"x").unwrap();
    for subject in &subjects {
        let (code, text, errors) = seawall(&["replay", subject, "--format", "json"]);
        assert_eq!(code, Some(100), "{text}{errors}");
        let replayed: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(replayed["happens"], "yes", "{text}");
        assert!(replayed["differs"].as_str().unwrap().contains("another library now"), "{text}");
        assert!(errors.contains("another library now"), "{errors}");
    }
    let (code, _, errors) = seawall(&["shrink", &subjects[0], "--out", folder.path().to_str().unwrap()]);
    assert!(code == Some(2) && errors.contains("another library now"), "{errors}");
    fs::remove_file(&path).unwrap();
    for subject in &subjects {
        let (code, _, errors) = seawall(&["replay", subject]);
        assert!(code == Some(2) && errors.contains("cannot be read"), "{errors}");
    }
    // Another one can be asked all the same.
    let (code, text, _) = seawall(&["replay", &subjects[1], "--sqlite", "linked"]);
    assert!(code == Some(100) && text.contains("it happens on SQLite"), "{text}");
}

/// The errors of canaries are those of their application, so they happen on every SQLite.
#[test]
fn canary_what_fails_on_a_sound_sqlite_too_is_marked() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().to_str().unwrap();
    let (report, _) = explore_in(folder.path(), &["canary-bank", "--seed", "4"]);
    let token = report["finding"]["token"].as_str().unwrap();
    let (_, text, errors) = seawall(&["shrink", token, "--out", out, "--format", "json"]);
    let shrunk: Value = serde_json::from_str(&text).unwrap();
    let warning = "this also happens on SQLite 3.";
    assert_eq!(shrunk["against"]["happens"], "yes", "{shrunk}");
    assert!(shrunk["warning"].as_str().unwrap().starts_with(warning) && errors.contains(warning), "{shrunk}{errors}");
    let file = shrunk["file"].as_str().unwrap();
    let written: Value = serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap();
    assert_eq!(written["shrunken"]["against"], shrunk["against"]);
    let (code, text, _) = seawall(&["replay", file]);
    assert!(code == Some(100) && text.contains(warning), "{text}");
    let (_, text, _) = seawall(&["shrink", token, "--out", out, "--against", "none", "--format", "json"]);
    let shrunk: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&shrunk["against"], &shrunk["warning"]), (&Value::Null, &Value::Null));
}

#[test]
fn a_file_with_a_finding_that_is_not_found_is_no_success() {
    let folder = tempfile::tempdir().unwrap();
    let (report, _) = explore_in(folder.path(), &["canary-bank", "--seed", "4"]);
    let path = report["finding"]["file"].as_str().unwrap();
    let mut file: Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    (file["digest"], file["calls"]) = (Value::Null, Value::Array(Vec::new()));
    file["case"]["actors"][0]["steps"] = Value::Array(Vec::new());
    file["case"]["actors"][1]["steps"] = Value::Array(Vec::new());
    fs::write(path, file.to_string()).unwrap();
    let (code, text, _) = seawall(&["replay", path]);
    assert!(code == Some(100) && text.contains("differs: the file has isolation (corrupt)"), "{text}");
    assert!(text.contains("got survived"), "{text}");
}

#[test]
fn each_line_of_a_file_of_tokens_says_what_was_expected_and_what_came_out() {
    let folder = tempfile::tempdir().unwrap();
    let (report, _) = explore_in(folder.path(), &["canary-bank", "--seed", "4"]);
    let token = report["finding"]["token"].as_str().unwrap();
    let list = folder.path().join("tokens.txt");
    fs::write(&list, format!("{token} corrupt\n{token} lost\n")).unwrap();
    let list = format!("@{}", list.display());
    let (code, text, _) = seawall(&["replay", &list]);
    let lines: Vec<&str> = text.lines().filter(|line| line.starts_with("expected")).collect();
    let line = |words: &str| format!("{words}: {token}");
    assert_eq!(lines, [line("expected corrupt, got corrupt"), line("expected lost, got corrupt")]);
    assert_eq!(code, Some(100));
    let (_, text, _) = seawall(&["replay", &list, "--format", "json"]);
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for (line, expected, is_met) in [(&lines[0], "corrupt", true), (&lines[1], "lost", false)] {
        assert_eq!((&line["expected"], &line["got"]), (&expected.into(), &"corrupt".into()), "{line}");
        assert_eq!(line["as_expected"], is_met);
    }
    let (code, text, _) = seawall(&["replay", &list, "--format", "junit"]);
    assert!(text.contains("tests=\"2\"") && text.contains("failures=\"1\""), "{text}");
    assert!(code == Some(100) && text.contains("message=\"expected lost, got corrupt; seawall replay sx2:"), "{text}");
}

#[test]
fn another_sqlite_is_asked_whether_it_happens_there() {
    let folder = tempfile::tempdir().unwrap();
    let (report, _) = explore_in(folder.path(), &["canary-bank", "--seed", "4"]);
    let token = report["finding"]["token"].as_str().unwrap();
    let (code, text, _) = seawall(&["replay", token, "--sqlite", "linked", "--format", "json"]);
    let answer: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((code, &answer["happens"], &answer["verdict"]), (Some(100), &"yes".into(), &"corrupt".into()), "{text}");
    let run = "sw1:openhuman:cantopen-restart:sim:a617c27d3eec27b0:e087e942";
    let (code, _, errors) = seawall(&["replay", run, "--sqlite", "linked"]);
    assert!(code == Some(2) && errors.contains("is the run of a strategy"), "{errors}");
    let (code, _, errors) = seawall(&["replay", token, "--sqlite", "3.51.2"]);
    assert!(code == Some(2) && errors.contains("the nearest"), "{errors}");
}

/// A shrinking that had no time leaves the smaller case that is there.
#[test]
fn an_unfinished_shrinking_overwrites_no_better_result() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().to_str().unwrap();
    let (report, _) = explore_in(folder.path(), &["canary-bank", "--seed", "4"]);
    let token = report["finding"]["token"].as_str().unwrap();
    let (_, text, _) = seawall(&["shrink", token, "--out", out, "--format", "json", "--max-seconds", "0"]);
    let hasty: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&hasty["is_minimal"], &hasty["is_kept"]), (&false.into(), &false.into()));
    let path = hasty["file"].as_str().unwrap();
    let before = fs::read_to_string(path).unwrap();
    let (_, text, _) = seawall(&["shrink", token, "--out", out, "--format", "json"]);
    let whole: Value = serde_json::from_str(&text).unwrap();
    let after = fs::read_to_string(path).unwrap();
    assert!(whole["is_minimal"] == true && after.len() < before.len(), "{whole}");
    let (_, text, _) = seawall(&["shrink", token, "--out", out, "--max-seconds", "0"]);
    assert!(text.contains("not written, since"), "{text}");
    assert_eq!(fs::read_to_string(path).unwrap(), after);
}

/// Findings are grouped by their cause, and a known cause is no finding.
#[test]
fn findings_are_grouped_by_cause_and_known_causes_are_passed_over() {
    let folder = tempfile::tempdir().unwrap();
    let arguments = ["canary-bank", "--seed", "4", "--executions", "12"];
    let (all, output) = explore_in(folder.path(), &[&arguments[..], &["--all", "--shrunk", "3"]].concat());
    let groups = all["groups"].as_array().unwrap();
    let sum = |list: &Value| list.as_array().unwrap().iter().map(|it| it["findings"].as_u64().unwrap()).sum::<u64>();
    assert_eq!((output.status.code(), &all["findings"]), (Some(100), &12.into()), "{all}");
    assert_eq!(sum(&all["groups"]) + sum(&all["unshrunk"]), 12, "{all}");
    assert!(sum(&all["unshrunk"]) > 0, "{all}");
    for group in groups {
        assert!(group["cause"].as_str().unwrap().starts_with("isolation (corrupt) | "), "{group}");
        // The canary's error is one of the application.
        assert!(group["warning"].as_str().unwrap().starts_with("this also happens on SQLite"), "{group}");
        let (code, text, _) = seawall(&["replay", group["file"].as_str().unwrap()]);
        assert!(code == Some(100) && text.contains("isolation (corrupt)"), "{text}");
        assert_eq!(seawall(&["replay", group["token"].as_str().unwrap()]).0, Some(100));
    }
    let known = folder.path().join("known.txt");
    let causes: Vec<&str> = groups.iter().map(|group| group["cause"].as_str().unwrap()).collect();
    fs::write(&known, format!("# seen before\n{}\n", causes.join("\n"))).unwrap();
    let known = known.to_str().unwrap();
    let arguments = [&arguments[..], &["--shrunk", "3", "--known", known]].concat();
    let (none, output) = explore_in(folder.path(), &arguments);
    assert_eq!((output.status.code(), &none["finding"]), (Some(0), &Value::Null), "{none}");
    assert_eq!((&none["known"], &none["executions"]), (&12.into(), &12.into()), "{none}");
    fs::write(known, "isolation (corrupt) | something else\n").unwrap();
    let (new, output) = explore_in(folder.path(), &arguments);
    assert_eq!((output.status.code(), &new["executions"]), (Some(100), &1.into()), "{new}");
    let missing = seawall(&["explore", "--known", "/nowhere/known.txt"]);
    assert!(missing.0 == Some(2) && missing.2.contains("cannot read --known"), "{}", missing.2);
}

#[test]
fn an_exploration_says_what_it_covered_and_what_ended_it() {
    let folder = tempfile::tempdir().unwrap();
    let arguments = ["mixed", "--seed", "5", "--executions", "40"];
    let (one, _) = explore_in(folder.path(), &arguments);
    let covered = &one["coverage"];
    assert_eq!((&covered["executions"], &one["is_out_of_time"]), (&40.into(), &false.into()), "{one}");
    assert_eq!(one["limit"]["seconds"], Value::Null, "{one}");
    let states = covered["states"].as_u64().unwrap();
    assert!(states > 500 && covered["schedules"].as_u64().unwrap() > 20, "{covered}");
    assert!(covered["new_states"].as_u64().unwrap() < states, "{covered}");
    let (again, _) = explore_in(folder.path(), &[&arguments[..], &["--jobs", "2"]].concat());
    assert_eq!(
        (&again["coverage"]["states"], &again["coverage"]["schedules"]),
        (&states.into(), &covered["schedules"])
    );
    let (fewer, _) = explore_in(folder.path(), &["mixed", "--seed", "5", "--executions", "10"]);
    assert!(fewer["coverage"]["states"].as_u64().unwrap() < states);
    let (late, _) = explore_in(folder.path(), &["mixed", "--seed", "5", "--max-seconds", "1"]);
    assert_eq!((&late["is_out_of_time"], &late["limit"]["is_default"]), (&true.into(), &false.into()), "{late}");
    let (_, text, errors) = seawall(&["explore", "mixed", "--seed", "5", "--max-seconds", "1"]);
    assert!(text.contains("covered: ") && text.contains("ended after 1 s: the limit"), "{text}");
    assert!(!errors.contains('\r'), "{errors}");
    let (_, help, _) = seawall(&["explore", "--help"]);
    assert!(help.contains("[default: 60, unless --executions is given]"), "{help}");
}

/// Seeds beyond 2^53 come through a reader that takes numbers for floating point.
#[test]
fn seeds_are_strings_in_json() {
    let folder = tempfile::tempdir().unwrap();
    let seed = u64::MAX.to_string();
    let (report, _) = explore_in(folder.path(), &["mixed", "--seed", &seed, "--executions", "1"]);
    assert_eq!(report["seed"], seed.as_str());
    let arguments = ["powercut", "--images", "5", "--workloads", "1", "--format", "json", "--seed", &seed];
    let report: Value = serde_json::from_str(&seawall(&arguments).1).unwrap();
    assert_eq!(report["seed"], seed.as_str());
    let report: Value = serde_json::from_str(
        &seawall(&["properties", "breaker", "--count", "1", "--format", "json", "--seed", &seed]).1,
    )
    .unwrap();
    assert_eq!(report["seed"], seed.as_str());
}

/// Shrunken findings of old versions are errors of those versions, or are marked.
#[test]
fn what_is_shrunk_on_an_old_version_passes_on_the_newest_or_is_marked() {
    #[track_caller]
    fn check(scenario: &str, version: &str, seed: &str, executions: &str) {
        let release = release(version).unwrap();
        if !Cache::locate().is_ok_and(|cache| cache.state(release) == State::Built) {
            println!("skipped: SQLite {version} is not built; `seawall sqlite build {version}` does it");
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let arguments = [scenario, "--sqlite", version, "--seed", seed, "--executions", executions, "--all"];
        let (report, _) = explore_in(folder.path(), &arguments);
        let groups = report["groups"].as_array().unwrap();
        assert!(!groups.is_empty(), "{report}");
        for group in groups {
            let path = group["file"].as_str().unwrap();
            let (code, text, errors) = seawall(&["replay", path]);
            assert_eq!(code, Some(100), "{text}{errors}");
            let (code, text, errors) = seawall(&["replay", path, "--sqlite", "linked"]);
            let is_marked = group["warning"] != Value::Null;
            assert_eq!(code == Some(100), is_marked, "{group}: {text}{errors}");
        }
    }
    check("mixed", "3.51.1", "14", "240");
    check("shared", "3.31.1", "14", "440");
}
