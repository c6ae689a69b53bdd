//! The report on disk, the same run again, and the shares of a run.

use super::{Answer, can_mount, listing, on_a_small_disk, run, scratch, soak, text};
use seawall_harness::record::{Cell, RunRecord, SoakRecord};
use seawall_reports::{html, json, junit};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

const PARTS: [&str; 4] = ["index.html", "junit.xml", "matrix.svg", "record.json"];

const FAULTS: [&str; 2] = ["--preset", "none,cantopen-burst,shmsize-restart,sigkill"];

fn recorded(out: &Path) -> SoakRecord {
    json::parse_full(&fs::read_to_string(out.join("record.json")).unwrap()).unwrap()
}

#[test]
fn a_report_is_what_was_printed_and_can_be_rendered_again() {
    let dir = scratch();
    let (out, again) = (dir.path().join("new/out"), dir.path().join("again"));
    let given = ["--strategy", "openhuman", "--preset", "none", "--count", "2", "--out", text(&out)];
    let Answer { status, out: printed, err } = soak(&[&given[..], &["--format", "junit"]].concat());
    let page = out.join("index.html");
    assert_eq!((status, err), (Some(0), format!("report: {}\n", page.display())));
    assert_eq!(listing(&out), PARTS);
    let record = recorded(&out);
    assert_eq!(printed, fs::read_to_string(out.join("junit.xml")).unwrap());
    assert_eq!(printed, junit::soak(&record));
    assert!(printed.starts_with("<?xml ") && printed.contains("<testcase name=\"none on real\""), "{printed}");

    let saved = out.join("record.json");
    let rendered = run(&["report", text(&saved), "--out", text(&again), "--format", "json"]);
    assert_eq!((rendered.status, rendered.out), (Some(0), json::soak(&record)));
    assert_eq!(fs::read_to_string(again.join("index.html")).unwrap(), html::soak(&record));
    for (args, part) in [
        (["report", text(&page)], "this is not the record of a soak"),
        (["report", text(dir.path())], "cannot read"),
        (["report", "missing"], "cannot read missing"),
    ] {
        let Answer { status, out, err } = run(&args);
        assert_eq!((status, out.as_str()), (Some(2), ""), "{err}");
        assert!(err.starts_with("error: ") && err.contains(part) && err.lines().count() == 1, "{err}");
    }
    assert_eq!(run(&["report", text(&saved), "--out", text(&page)]).status, Some(2), "a file is no folder");
}

#[test]
fn a_full_disk_under_the_report_leaves_the_earlier_one_and_the_results() {
    if !can_mount() {
        return;
    }
    let (dir, work) = (scratch(), scratch());
    let soak = format!(
        "soak --strategy percall --preset none --count 1 --scratch {} --out \"$1/report\"",
        work.path().display()
    );
    let told = on_a_small_disk("16k", dir.path(), &format!("\"$0\" {soak}; echo \"status $?\"; ls -A \"$1\""));
    assert!(told.out.contains("percall") && told.out.ends_with("\nstatus 2\n"), "nothing is left: {}", told.out);
    assert!(told.err.starts_with("error: cannot write ") && told.err.contains("free some space"), "{}", told.err);
    let earlier = format!("mkdir \"$1/report\"; echo mine > \"$1/report/index.html\"; \"$0\" {soak} > /dev/null");
    let told = on_a_small_disk("16k", dir.path(), &format!("{earlier}; ls -A \"$1/report\"; cat \"$1/report/\"*"));
    assert_eq!(told.out, "index.html\nmine\n");
    assert_eq!(listing(work.path()), [""; 0]);
}

/// What must be the same of a sequential run: all but the times.
fn essence(run: &RunRecord) -> impl PartialEq + std::fmt::Debug + '_ {
    (&run.token, &run.verdict, &run.counts, &run.findings, &run.rules, &run.errors, &run.trace_digest)
}

#[test]
fn the_same_seed_is_the_same_run() {
    let dir = scratch();
    let records = ["a", "b"].map(|name| {
        let out = dir.path().join(name);
        let given = ["--seed", "0x3", "--count", "1", "--jobs", "1", "--out", text(&out)];
        assert_ne!(soak(&[&given[..], &FAULTS].concat()).status, Some(70));
        recorded(&out)
    });
    let [a, b] = &records;
    assert_eq!((a.seed, a.matrix.len()), (3, 32));
    let mut taking_turns = 0;
    for (one, other) in a.matrix.iter().zip(&b.matrix) {
        assert_eq!(one.token, other.token);
        let (one, other) = (one.sample.as_ref().unwrap(), other.sample.as_ref().unwrap());
        if one.topology.schedule == "simulated" {
            assert_eq!(one, other);
        } else if one.topology.schedule == "sequential" {
            assert_eq!(essence(one), essence(other));
            taking_turns += u32::from(one.topology.processes * one.topology.threads > 1);
        }
    }
    assert!(taking_turns >= 3, "{taking_turns} of 16");
}

#[test]
fn shares_together_are_the_whole() {
    let dir = scratch();
    let shared = |partition: &str, count: &str| {
        let out = dir.path().join(partition.replace('/', "-"));
        let given = ["--seed", "7", "--count", count, "--partition", partition, "--out", text(&out)];
        assert_ne!(soak(&[&given[..], &FAULTS].concat()).status, Some(70));
        recorded(&out).matrix
    };
    let tokens = |cells: &[Cell]| cells.iter().map(|cell| cell.token.clone()).filter(|t| !t.is_empty()).collect();
    let whole: BTreeSet<String> = tokens(&shared("1/1", "1"));
    let parts: Vec<BTreeSet<String>> = ["1/5", "2/5", "3/5", "4/5", "5/5"].map(|k| tokens(&shared(k, "1"))).into();
    assert_eq!((whole.len(), parts.iter().map(BTreeSet::len).sum()), (32, 32), "none twice");
    assert_eq!(parts.iter().flatten().cloned().collect::<BTreeSet<_>>(), whole);
    assert!(parts.iter().all(|part| (5..=8).contains(&part.len())), "equal shares");

    let mut runs: BTreeMap<(String, String, String), u64> = BTreeMap::new();
    for cell in ["1/2", "2/2"].map(|k| shared(k, "3")).into_iter().flatten() {
        *runs.entry((cell.strategy, cell.fault, cell.medium)).or_default() += cell.runs;
    }
    assert_eq!(runs.into_values().collect::<Vec<_>>(), [3; 32]);
}

#[test]
fn a_share_may_be_as_small_as_numbers_go() {
    let share = |share: &str| {
        let answer =
            soak(&["--strategy", "percall", "--preset", "none", "--count", "1", "--seed", "1", "--partition", share]);
        assert_eq!(answer.err.is_empty(), answer.status == Some(0), "{}", answer.err);
        answer.status
    };
    assert_eq!(share("1/4294967295"), Some(0));
    assert_eq!(share("4294967295/4294967295"), Some(4));
    assert_eq!(share("1/4294967296"), Some(2));
}
