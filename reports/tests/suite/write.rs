//! Writing: all files or none, and a clear error.

use crate::sample;
use seawall_harness::record::SoakRecord;
use seawall_reports::write::{self, WriteError};
use seawall_reports::{html, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const NAMES: [&str; 4] = ["index.html", "junit.xml", "matrix.svg", "record.json"];

fn listing(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[track_caller]
fn refused(dir: &Path, words: &[&str]) -> WriteError {
    let error = write::all(dir, &sample::soak()).unwrap_err();
    let text = error.to_string();
    assert!(!text.contains('\n'), "{text}");
    for word in words.iter().chain(&["--out"]) {
        assert!(text.contains(word), "`{word}` is not in: {text}");
    }
    error
}

#[test]
fn a_report_is_four_files_in_a_new_folder() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("a/b");
    let record = sample::soak();
    let paths = write::all(&dir, &record).unwrap();
    assert_eq!(listing(&dir), NAMES);
    assert_eq!(fs::read_to_string(&paths.html).unwrap(), html::soak(&record));
    assert_eq!(json::parse_full(&fs::read_to_string(&paths.json).unwrap()).unwrap(), record);
    assert!(paths.junit.is_file() && paths.svg.is_file());
    // A later report replaces an earlier one.
    let later = SoakRecord { seed: 43, ..record };
    write::all(&dir, &later).unwrap();
    assert_eq!(fs::read_to_string(&paths.html).unwrap(), html::soak(&later));
    assert_eq!(listing(&dir), NAMES);
}

#[test]
fn a_file_in_place_of_the_folder_is_reported_and_not_changed() {
    let root = tempfile::tempdir().unwrap();
    let file = root.path().join("out");
    fs::write(&file, "mine").unwrap();
    let error = refused(&file, &["create the folder", "a file is where a folder is needed"]);
    assert_eq!(error.path(), file);
    refused(&file.join("deeper/still"), &["create the folder", "a file is where a folder is needed"]);
    assert_eq!(fs::read_to_string(&file).unwrap(), "mine");
    assert_eq!(listing(root.path()), ["out"]);
}

#[test]
fn a_folder_in_place_of_a_file_is_detected_before_anything_is_replaced() {
    let root = tempfile::tempdir().unwrap();
    fs::create_dir(root.path().join("index.html")).unwrap();
    fs::write(root.path().join("record.json"), "earlier").unwrap();
    let error = refused(root.path(), &["cannot write", "a folder is where a file is needed"]);
    assert_eq!(error.path(), root.path().join("index.html"));
    assert_eq!(listing(root.path()), ["index.html", "record.json"]);
    assert_eq!(fs::read_to_string(root.path().join("record.json")).unwrap(), "earlier");
}

#[cfg(unix)]
#[test]
fn a_folder_without_permission_is_reported() {
    use std::os::unix::fs::PermissionsExt as _;
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("locked");
    fs::create_dir(&dir).unwrap();
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o555)).unwrap();
    if fs::write(dir.join("probe"), "").is_ok() {
        println!("skipped: this user may write anywhere, so there is no folder without permission");
        return;
    }
    refused(&dir, &["cannot write", "may write to"]);
    assert!(listing(&dir).is_empty());
}

/// The disk is a file system of a few kilobytes, mounted in a private namespace of a child process.
#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_leaves_the_earlier_report_and_nothing_else() {
    const CHILD: &str = "SEAWALL_TEST_FULL_DISK";
    if let Some(dir) = std::env::var_os(CHILD) {
        return on_a_full_disk(&PathBuf::from(dir));
    }
    let root = tempfile::tempdir().unwrap();
    let allowed = Command::new("unshare").args(["-rm", "true"]).output().is_ok_and(|o| o.status.success());
    if !allowed {
        println!("skipped: `unshare -rm` is not allowed here, so there is no full disk to write to");
        return;
    }
    let child = Command::new("unshare")
        .args(["-rm", "sh", "-c", "mount -t tmpfs -o size=64k tmpfs \"$1\" && shift && exec \"$@\"", "sh"])
        .arg(root.path())
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "write::a_full_disk_leaves_the_earlier_report_and_nothing_else", "--nocapture"])
        .env(CHILD, root.path())
        .output()
        .unwrap();
    let output = String::from_utf8_lossy(&child.stdout);
    assert!(child.status.success(), "{output}\n{}", String::from_utf8_lossy(&child.stderr));
    assert!(output.contains("the disk was full, as intended"), "{output}");
}

#[cfg(target_os = "linux")]
fn on_a_full_disk(dir: &Path) {
    fs::write(dir.join("index.html"), "earlier").unwrap();
    let error = refused(dir, &["cannot write", "free some space"]);
    assert!(error.is_full());
    assert!(error.path().starts_with(dir));
    assert_eq!(listing(dir), ["index.html"]);
    assert_eq!(fs::read_to_string(dir.join("index.html")).unwrap(), "earlier");
    refused(&dir.join("new/folder"), &["free some space"]);
    assert_eq!(listing(dir), ["index.html"], "the new folders were removed");
    println!("the disk was full, as intended");
}
