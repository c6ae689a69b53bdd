//! Shares of a soak that become one record, and what has changed between two records.

use super::{Answer, run, scratch, soak, text};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};

/// Two strategies of which one is plain SQLite, under faults of which one loses.
const SMALL: [&str; 8] =
    ["--strategy", "percall,seawall", "--preset", "none,unlink-side-files", "--medium", "sim", "--count", "5"];

fn record(folder: &Path, name: &str, seed: &str, partition: &str) -> PathBuf {
    let out = folder.join(name);
    let given = ["--seed", seed, "--partition", partition, "--out", text(&out)];
    let answer = soak(&[&SMALL[..], &given].concat());
    assert!(matches!(answer.status, Some(0 | 100)), "{}", answer.err);
    out.join("record.json")
}

#[track_caller]
fn merged(folder: &Path, name: &str, records: &[&Path]) -> PathBuf {
    let out = folder.join(name);
    let mut args = vec!["merge", "--out", text(&out)];
    args.extend(records.iter().map(|path| text(path)));
    let Answer { status, err, .. } = run(&args);
    assert!(matches!(status, Some(0 | 100)), "{err}");
    out.join("record.json")
}

fn matrix(path: &Path) -> Value {
    let mut record: Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    record["matrix"].take()
}

#[test]
fn merged_shares_are_the_whole_in_any_order_and_as_often_as_one_likes() {
    let folder = scratch();
    let share = |k: &str| record(folder.path(), &format!("share{k}"), "11", &format!("{k}/3"));
    let [one, two, three] = ["1", "2", "3"].map(share);
    let whole = record(folder.path(), "whole", "11", "1/1");
    let merged = |name: &str, records: &[&Path]| merged(folder.path(), name, records);
    let all = merged("all", &[&one, &two, &three]);
    assert_eq!(matrix(&all), matrix(&whole), "the sum of the shares, the comparison and the samples");
    let left = merged("left", &[&merged("first two", &[&one, &two]), &three]);
    let right = merged("right", &[&one, &merged("last two", &[&three, &two])]);
    let again = merged("again", &[&all, &two, &left, &all]);
    let bytes = |path: &Path| fs::read_to_string(path).unwrap();
    for other in [&left, &right, &again] {
        assert_eq!(bytes(other), bytes(&all));
    }
    let Answer { err, .. } = run(&["merge", text(&one), text(&three)]);
    assert_eq!(err, "not all 3 shares are there; missing: 2\n");
}

#[test]
fn records_of_other_soaks_are_not_merged() {
    let folder = scratch();
    let one = record(folder.path(), "one", "11", "1/2");
    let refused = |other: &Path, parts: &[&str]| {
        let Answer { status, out, err } = run(&["merge", text(&one), text(other)]);
        assert_eq!((status, out.as_str()), (Some(2), ""), "{err}");
        assert!(parts.iter().all(|part| err.contains(part)), "{err}");
    };
    let other = record(folder.path(), "other seed", "12", "2/2");
    refused(&other, &[text(&other), "its seed is 12, that of the first record 11"]);
    refused(&record(folder.path(), "thirds", "11", "2/3"), &["its number of shares is 3"]);
    let changed = folder.path().join("changed.json");
    let replaced = |from: &str, to: &str| {
        let text = fs::read_to_string(&one).unwrap();
        assert!(text.contains(from), "{from}");
        fs::write(&changed, text.replacen(from, to, 1)).unwrap();
    };
    replaced("\"sqlite\":\"3.", "\"sqlite\":\"2.");
    refused(&changed, &["its SQLite is 2."]);
    replaced("\"shares\":[{\"number\":1", "\"shares\":[{\"number\":9");
    refused(&changed, &["its share is 9/2"]);
    let seconds = fs::read_to_string(&one).unwrap();
    let at = seconds.rfind("\"seconds\":").unwrap();
    fs::write(&changed, format!("{}\"seconds\":9{}", &seconds[..at], &seconds[at + 10..])).unwrap();
    refused(&changed, &["share 1 is there twice"]);
    fs::write(&changed, "[]").unwrap();
    refused(&changed, &[text(&changed)]);
}

#[test]
fn a_report_says_what_has_changed() {
    let folder = scratch();
    let one = record(folder.path(), "one", "11", "1/1");
    let compare = |earlier: &Path, later: &Path| run(&["report", text(later), "--compare", text(earlier)]);
    let Answer { status, out, .. } = compare(&one, &one);
    assert_eq!((status, out.as_str()), (Some(0), "4 cells with the same verdict, 0 with another one\n"));
    let worse = folder.path().join("worse.json");
    let mut record: Value = serde_json::from_str(&fs::read_to_string(&one).unwrap()).unwrap();
    record["matrix"][2]["verdict"] = "lost".into();
    fs::write(&worse, record.to_string()).unwrap();
    let Answer { status, out, .. } = compare(&one, &worse);
    assert_eq!(status, Some(100), "{out}");
    assert!(out.starts_with("worse: seawall under none (sim): survived, then lost\n"), "{out}");
    let Answer { status, out, .. } = compare(&worse, &one);
    assert_eq!(status, Some(0), "{out}");
    assert!(out.starts_with("better: seawall under none (sim): lost, then survived\n"), "{out}");
}

#[test]
fn a_share_without_a_seed_is_refused() {
    let Answer { status, err, .. } = soak(&["--count", "1", "--partition", "1/2"]);
    assert_eq!((status, err.as_str()), (Some(2), "error: the share 1/2 needs --seed, the same one for all shares\n"));
}
