//! How the program ends: 0 as expected, 100 a finding, 2 usage (see `refusals`), 4 nothing ran, 70 the lab is broken.

use super::{Answer, can_mount, on_a_small_disk, run, scratch, soak, text};
use crate::acceptance::token;
use seawall_harness::record::RunRecord;
use seawall_harness::seed::Seed;
use seawall_harness::verdict::Verdict;
use std::fs;

/// The pages of the database are not written: every strategy loses, which no table expects.
const DROPPING: [&str; 10] =
    ["--fault", "write@db:drop", "--strategy", "percall", "--count", "12", "--seed", "1", "--jobs", "2"];

#[test]
fn as_expected() {
    let given = ["--strategy", "percall,seawall", "--preset", "none,cantopen-burst", "--count", "2", "--seed", "1"];
    let Answer { status, out, err } = soak(&given);
    assert_eq!((status, err.as_str()), (Some(0), ""), "{out}");
    let canary = soak(&["--strategy", "canary-alarm", "--preset", "none", "--count", "2", "--seed", "1"]);
    assert_eq!(canary.status, Some(0), "a flaw that is expected is no news: {}", canary.out);
    let note = "the layer is not compared with plain SQLite: `percall` is not among the strategies\n";
    assert_eq!(canary.err, note);
}

#[test]
fn canary_a_layer_that_loses_more_than_plain_sqlite_is_a_finding_though_the_table_expects_the_loss() {
    let given = ["--strategy", "percall,canary-ledger", "--preset", "none", "--count", "3", "--seed", "1"];
    for medium in ["real", "sim"] {
        let Answer { status, out, err } = soak(&[&given[..], &["--medium", medium]].concat());
        assert_eq!((status, err.as_str()), (Some(100), ""), "{out}");
        let worse = format!("canary-ledger under none ({medium}): lost, worse than plain SQLite: ");
        assert!(out.contains(&worse) && out.contains(" lost against 0"), "{out}");
        let json = soak(&[&given[..], &["--medium", medium, "--format", "json"]].concat());
        assert_eq!(json.status, Some(100));
        let record: serde_json::Value = serde_json::from_str(&json.out).unwrap();
        let worse = |cell: usize| record["matrix"][cell].get("worse_than_plain");
        assert_eq!(worse(0), None);
        assert_eq!(worse(1).map(|worse| &worse["lost"]), Some(&record["matrix"][1]["lost"]));
        assert_eq!(
            (&record["matrix"][0]["as_expected"], &record["matrix"][1]["as_expected"]),
            (&true.into(), &false.into())
        );
    }
}

#[test]
fn a_finding_can_be_pasted_and_comes_again() {
    let Answer { status, out, err } = soak(&DROPPING);
    assert_eq!((status, err.as_str()), (Some(100), ""), "{out}");
    assert!(out.contains("Not as expected"), "{out}");
    let line = out.lines().map(str::trim).find(|line| line.starts_with("seawall replay ")).unwrap();
    let words: Vec<&str> = line.split(' ').skip(1).collect();
    let again = run(&words);
    assert_eq!((again.status, again.err.as_str()), (Some(100), ""), "{}", again.out);
    assert!(again.out.contains("write@db:drop: fired"), "{}", again.out);
}

#[test]
fn a_committed_regression_is_as_expected_if_it_comes_out_as_written() {
    let dir = scratch();
    let path = dir.path().join("tokens");
    let alarm = token("canary-alarm", "none", Seed(1));
    let healthy = token("seawall", "none", Seed(1));
    let file = format!("@{}", text(&path));
    let check = |lines: &str, status| {
        fs::write(&path, lines).unwrap();
        let answer = run(&["replay", &file]);
        assert_eq!(answer.status, Some(status), "{lines}: {}{}", answer.out, answer.err);
    };
    check(&format!("# flawed\n{alarm}  false-alarm\n\n{healthy}\n"), 0);
    check(&format!("{healthy}\n{alarm}\n"), 100);
    check(&format!("{alarm} false-alarm\n{healthy} lost\n"), 100);
    assert_eq!(run(&["replay", &alarm.to_string()]).status, Some(100));
}

#[test]
fn a_replay_prints_its_records_and_its_calls() {
    let dir = scratch();
    let trace = dir.path().join("trace");
    let lost = token("canary-ledger", "none", Seed(7)).to_string();
    let answer = run(&["replay", &lost, "--times", "2", "--format", "json", "--trace", text(&trace)]);
    assert_eq!((answer.status, answer.err.as_str()), (Some(100), ""));
    let records: Vec<RunRecord> = answer.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(records.iter().map(|record| record.verdict).collect::<Vec<_>>(), [Verdict::Lost; 2]);
    let calls = fs::read_to_string(&trace).unwrap();
    assert_eq!(calls.lines().count() as u64, records[1].counts.calls);
    let numbers = calls.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["call"].as_u64());
    assert!(numbers.eq((0..records[1].counts.calls).map(Some)), "numbered in their order");
}

#[test]
fn nothing_ran() {
    let dir = scratch();
    let path = dir.path().join("tokens");
    fs::write(&path, "# nothing yet\n\n").unwrap();
    let Answer { status, out, err } = run(&["replay", &format!("@{}", text(&path))]);
    assert_eq!((status, out.as_str(), err.as_str()), (Some(4), "", "nothing ran: no token was given\n"));
    let share =
        soak(&["--strategy", "percall", "--preset", "none", "--count", "1", "--seed", "1", "--partition", "2/2"]);
    assert_eq!(
        (share.status, share.err.as_str()),
        (Some(4), "nothing was measured: this share of the runs is empty, or no fault has fired in any of them\n")
    );
}

#[test]
fn a_lab_that_loses_its_folder_is_broken() {
    let dir = scratch();
    let (folder, elsewhere) = (dir.path().join("scratch"), dir.path().join("elsewhere"));
    fs::create_dir(&folder).unwrap();
    let given = ["soak", "--strategy", "percall", "--preset", "none", "--duration", "60s", "--scratch", text(&folder)];
    std::thread::scope(|scope| {
        let soaking = scope.spawn(|| run(&given));
        while super::listing(&folder).is_empty() {
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
        fs::rename(&folder, &elsewhere).unwrap();
        // Where a file stands, the folder cannot be made again.
        fs::write(&folder, "").unwrap();
        let Answer { status, out, err } = soaking.join().unwrap();
        assert_eq!((status, out.as_str()), (Some(70), ""), "{err}");
        assert!(err.starts_with("error: cannot make ") && err.contains(text(&folder)), "{err}");
        assert_eq!(err.lines().count(), 1, "{err}");
    });
}

#[test]
fn a_full_disk_is_no_broken_lab() {
    if !can_mount() {
        return;
    }
    let dir = scratch();
    let soak = "\"$0\" soak --strategy percall --preset none --count 1 --scratch \"$1\"";
    let told = on_a_small_disk("1m", dir.path(), &format!("{soak}; echo \"status $?\"; ls -A \"$1\""));
    assert_eq!(told.out, "status 2\n");
    assert!(told.err.contains("name a folder on another disk with --scratch"), "{}", told.err);
    assert!(
        told.err.starts_with("error: cannot make the shared state ") && told.err.contains("No space left"),
        "{}",
        told.err
    );
}

#[test]
fn a_worker_that_dies_at_a_call_ends_no_other_process() {
    let given = ["--fault", "write@wal:kill:when=3", "--fault", "open@db:kill:when=2", "--count", "3", "--seed", "1"];
    let Answer { status, out, err } = soak(&[&given[..], &["--format", "json"]].concat());
    assert_eq!((status, err.as_str()), (Some(0), ""), "{out}");
    let record: serde_json::Value = serde_json::from_str(&out).unwrap();
    for cell in record["matrix"].as_array().unwrap() {
        assert_eq!((cell["runs"].as_u64(), cell["lost"].as_u64()), (Some(3), Some(0)), "{cell}");
        assert!(cell["faults_fired"].as_u64() >= Some(3), "{cell}");
    }
}
