//! Interruptions: the program ends soon and cleans up; where it cannot, its workers end all the same.

use super::{command, listing, run, scratch, text};
use crate::acceptance::token;
use seawall_harness::seed::Seed;
use seawall_reports::json;
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// Longer than any of this takes on a busy machine, and shorter than a soak that was not interrupted.
const PATIENCE: Duration = Duration::from_secs(20);

/// Waits until something is so, and says how long it took.
#[track_caller]
fn wait_until(what: &str, is_so: impl Fn() -> bool) -> Duration {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < PATIENCE, "{what} did not come about");
        std::thread::sleep(Duration::from_millis(5));
    }
    begun.elapsed()
}

/// Starts the program and waits until its workers are at work.
fn start(args: &[&str], scratch: &Path) -> Child {
    let child =
        command(args).args(["--scratch", text(scratch)]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let own = child.id();
    wait_until("a worker", || using(scratch).iter().any(|pid| *pid != own));
    child
}

/// The processes that have a file of this folder mapped: the lab and its workers share their shared states.
fn using(folder: &Path) -> Vec<u32> {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let maps = |pid: &u32| fs::read_to_string(format!("/proc/{pid}/maps")).unwrap_or_default();
    pids.filter(|pid| maps(pid).contains(text(folder))).collect()
}

/// Sends a signal to a process that this test has started and not yet waited for.
fn signal(child: &Child, name: &str) {
    let sent = Command::new("sh").args(["-c", &format!("kill -{name} {}", child.id())]).status().unwrap();
    assert!(sent.success());
}

/// Interrupts the program after a moment's work.
fn interrupt(args: &[&str], scratch: &Path, name: &str) -> Output {
    let mut child = start(args, scratch);
    std::thread::sleep(Duration::from_millis(200));
    signal(&child, name);
    let begun = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if begun.elapsed() > PATIENCE {
            child.kill().unwrap();
            panic!("SIG{name} was not heard");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    child.wait_with_output().unwrap()
}

#[test]
fn an_interrupted_soak_writes_its_report_and_cleans_up() {
    for name in ["INT", "TERM"] {
        let (work, dir) = (scratch(), scratch());
        let out = dir.path().join("out");
        let given = ["soak", "--duration", "120s", "--preset", "none,sigkill", "--seed", "1", "--out", text(&out)];
        let output = interrupt(&[&given[..], &["--format", "json"]].concat(), work.path(), name);
        let err = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(130), "{err}");
        assert!(err.ends_with("\ninterrupted: the figures are those of the runs that were done\n"), "{err}");
        let printed: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(printed["interrupted"], true);
        let record = json::parse_full(&fs::read_to_string(out.join("record.json")).unwrap()).unwrap();
        assert!(record.interrupted && record.matrix.iter().map(|cell| cell.runs).sum::<u64>() > 0);
        assert_eq!(listing(work.path()), [""; 0]);
        assert_eq!(listing(&out).len(), 4);
    }
}

#[test]
fn an_interrupted_replay_says_what_it_has_seen_and_cleans_up() {
    let work = scratch();
    let token = token("percall", "none", Seed(1)).to_string();
    let output = interrupt(&["replay", &token, "--times", "1000000"], work.path(), "INT");
    let (out, err) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert_eq!(output.status.code(), Some(130), "{out}{err}");
    assert!(out.starts_with("percall under none: survived\n"), "{out}");
    assert_eq!(err, "interrupted: the figures are those of the runs that were done\n");
    assert_eq!(listing(work.path()), [""; 0]);
}

#[test]
fn a_killed_lab_leaves_no_worker_behind() {
    let work = scratch();
    let given = ["soak", "--duration", "120s", "--strategy", "percall,seawall", "--preset", "none", "--jobs", "4"];
    let mut child = start(&given, work.path());
    std::thread::sleep(Duration::from_millis(100));
    child.kill().unwrap();
    child.wait().unwrap();
    let took = wait_until("the workers' end", || using(work.path()).is_empty());
    assert!(took < Duration::from_secs(3), "{took:?}");
}

#[test]
fn two_labs_share_a_folder() {
    let work = scratch();
    let folder = text(work.path());
    let given = ["soak", "--count", "3", "--preset", "none,cantopen-burst", "--strategy", "percall,seawall"];
    let args = [&given[..], &["--seed", "9", "--format", "json", "--scratch", folder]].concat();
    let [one, other] =
        std::thread::scope(|scope| [0, 1].map(|_| scope.spawn(|| run(&args))).map(|t| t.join().unwrap()));
    assert_eq!((one.status, other.status), (Some(0), Some(0)), "{}{}", one.err, other.err);
    let tokens = |out: &str| {
        let record: serde_json::Value = serde_json::from_str(out).unwrap();
        record["matrix"].as_array().unwrap().iter().map(|cell| cell["runs"].as_u64()).collect::<Vec<_>>()
    };
    assert_eq!((tokens(&one.out), tokens(&other.out)), (vec![Some(3); 8], vec![Some(3); 8]));
    assert_eq!(listing(work.path()), [""; 0]);
}
