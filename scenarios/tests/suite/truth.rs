//! What the program says about a finding is true: on which library it was made, whether it happens on another SQLite,
//! what was expected and what came out.

use crate::explore::explore_in;
use crate::support::program;
use assert_cmd::Command;
use seawall_scenarios::engines::{Cache, RELEASES, State};
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

/// Tokens and files of a finding on a library: it is replayed there, another library at its path is told, and so is none.
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
