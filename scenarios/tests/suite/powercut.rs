//! `seawall powercut`, end to end: the table is as the source of SQLite lets expect, tokens replay and shrink.

use crate::support::program;
use assert_cmd::Command;
use seawall_harness::record::{DiskStepKind, PartState, PowerRecord};
use seawall_scenarios::powercut::sweep::{Class, SweepFile, SweepResult};
use seawall_scenarios::powercut::{CaseFile, CellResult, CellSettings, JournalMode, Level, Subject};
use serde::Deserialize;
use serde_json::Value;
use std::process::Output;

#[derive(Deserialize)]
struct Report {
    schema: u32,
    directory: String,
    cells: Vec<CellResult>,
}

fn run(arguments: &[&str]) -> Output {
    Command::new(program()).args(arguments).output().unwrap()
}

/// Runs `powercut`; the report and the exit status.
fn powercut(arguments: &[&str]) -> (Report, i32) {
    let output = run(&[&["powercut", "--format", "json"], arguments].concat());
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    let report = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {errors}"));
    (report, output.status.code().unwrap_or(-1))
}

fn cell(report: &Report, journal_mode: JournalMode, synchronous: Level) -> &CellResult {
    let subject = Subject::Sql(CellSettings { journal_mode, synchronous });
    report.cells.iter().find(|cell| cell.subject == subject).unwrap()
}

#[test]
fn the_table_is_as_expected_and_shows_what_theory_predicts() {
    let (report, status) = powercut(&["--table", "--seed", "1", "--images", "1500"]);
    assert_eq!((report.schema, &*report.directory, report.cells.len(), status), (1, "strict", 24, 0));
    for found in &report.cells {
        assert!(found.distinct > 300 && found.cuts > 50, "{found:?}");
        assert!(found.verdict <= found.expected, "{found:?}");
    }
    // The unlink of the journal is the commit, and only EXTRA makes it durable.
    let delete = cell(&report, JournalMode::Delete, Level::Full);
    assert_eq!((delete.verdict.word(), delete.lost_commits_max, delete.corrupt), ("lost", 1, 0));
    for (mode, level) in [
        (JournalMode::Delete, Level::Extra),
        (JournalMode::Truncate, Level::Full),
        (JournalMode::Persist, Level::Full),
        (JournalMode::Wal, Level::Full),
        (JournalMode::Wal, Level::Extra),
    ] {
        assert_eq!(cell(&report, mode, level).verdict.word(), "survived", "{mode:?} {level:?}");
    }
    let suffix = cell(&report, JournalMode::Wal, Level::Normal);
    assert_eq!((suffix.verdict.word(), suffix.corrupt, suffix.atomicity), ("lost", 0, 0));
    assert!(suffix.lost_commits_max > 1);
    for level in Level::ALL {
        assert_eq!(cell(&report, JournalMode::Memory, level).verdict.word(), "corrupt");
        assert_eq!(cell(&report, JournalMode::Off, level).verdict.word(), "corrupt");
    }
    assert_eq!(cell(&report, JournalMode::Wal, Level::Off).verdict.word(), "corrupt");
}

#[test]
fn a_delete_journal_is_durable_where_names_are_at_once() {
    let delete = ["--journal-mode", "delete", "--synchronous", "full", "--images", "1500", "--seed", "1"];
    for (directory, expected) in [("immediate", "survived"), ("ordered", "lost"), ("strict", "lost")] {
        let (report, status) = powercut(&[&delete[..], &["--directory", directory]].concat());
        assert_eq!((report.cells[0].verdict.word(), status), (expected, 0), "{directory}");
    }
}

#[test]
fn the_same_seed_gives_the_same_cells() {
    let arguments =
        ["powercut", "--table", "--journal-mode", "WAL", "--seed", "7", "--images", "500", "--format", "json"];
    let cells = || -> Value {
        let mut report: Value = serde_json::from_slice(&run(&arguments).stdout).unwrap();
        report["seconds"].take();
        report["cells"].as_array_mut().unwrap().iter_mut().for_each(|cell| drop(cell["seconds"].take()));
        report
    };
    assert_eq!(cells(), cells());
}

#[test]
fn a_token_replays_and_shrinks() {
    let delete = ["--journal-mode", "DELETE", "--synchronous", "FULL", "--images", "1500", "--seed", "1"];
    let (report, _) = powercut(&delete);
    let token = report.cells[0].token.clone().unwrap();
    let output = run(&["replay", &token, "--times", "3"]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(100), "{text}");
    assert!(text.contains("acknowledged commits are gone") && text.contains("3 times the same"), "{text}");
    assert!(text.contains("unlink /sim/app.db-journal: lost"), "{text}");
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().to_str().unwrap();
    let output = run(&["shrink", &token, "--out", out]);
    let text = String::from_utf8_lossy(&output.stdout);
    let mut files = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path());
    let is_case = |path: &std::path::PathBuf| path.to_string_lossy().ends_with("-shrunken.json");
    let file = files.find(is_case).unwrap_or_else(|| panic!("{text} {}", String::from_utf8_lossy(&output.stderr)));
    let shrunk = CaseFile::read(&file).unwrap();
    // One transaction suffices, and only the unlink is lost.
    assert_eq!(shrunk.case.steps(), 1, "{shrunk:?}");
    assert_eq!(shrunk.calls.iter().filter(|line| line.ends_with(": lost")).count(), 1, "{shrunk:?}");
    let output = run(&["replay", file.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(100), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn what_cannot_be_is_refused() {
    #[track_caller]
    fn check(arguments: &[&str], message: &str) {
        let output = run(arguments);
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{text}");
        assert!(text.contains(message), "{text}");
    }
    check(&["powercut", "--journal-mode", "WALL"], "`WALL` is no journal mode");
    check(&["powercut", "--sweep", "calls", "--images", "3"], "cannot be used with");
    let on_real_files = ["soak", "--strategy", "percall", "--medium", "real", "--fault", "alloc:error=NOMEM:when=3"];
    check(&on_real_files, "allocations fail in the simulator only");
    check(&["powercut", "--synchronous", "MOST"], "`MOST` is no level of synchronous");
    check(&["powercut", "--directory", "loose"], "strict, ordered or immediate");
    check(&["powercut", "--device", "wet"], "`wet` is no word of a device");
    check(&["powercut", "--images", "0"], "it is a whole number from 1 on");
    let foreign = seawall_harness::token::seal("sp1:WAL:FULL:linked:strict:2a:3:0*99");
    check(&["replay", &foreign], "no cut 3 with such fates");
}

/// The classes of findings of a cell.
fn classes(arguments: &[&str]) -> ([bool; 3], u64) {
    let (report, _) = powercut(arguments);
    let cell = &report.cells[0];
    ([cell.lost_runs > 0, cell.corrupt > 0, cell.atomicity > 0], cell.distinct)
}

/// Frames of a log guard themselves, so prefixes of them suffice.
#[test]
fn the_pruned_enumeration_finds_the_same_classes_as_the_full_one() {
    for seed in ["1", "2", "3"] {
        for (mode, level) in [("WAL", "NORMAL"), ("WAL", "FULL"), ("DELETE", "FULL")] {
            let of_cell = ["--journal-mode", mode, "--synchronous", level, "--workloads", "1", "--seed", seed];
            let (full, images) = classes(&[&of_cell[..], &["--exhaustive", "--images", "6000"]].concat());
            let (pruned, fewer) = classes(&[&of_cell[..], &["--images", "6000"]].concat());
            assert_eq!(full, pruned, "{mode} {level} {seed}: {images} and {fewer} images");
        }
    }
}

#[derive(Deserialize)]
struct SweepReport {
    schema: u32,
    directory: String,
    sweeps: Vec<SweepResult>,
    syncs: Vec<Value>,
}

/// Runs a sweep; the report, the output and the exit status.
fn sweep(arguments: &[&str]) -> (SweepReport, Vec<u8>, i32) {
    let output = run(&[&["powercut", "--seed", "1", "--format", "json"], arguments].concat());
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    let report = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {errors}"));
    (report, output.stdout, output.status.code().unwrap_or(-1))
}

#[test]
fn a_sweep_of_calls_has_all_modes_and_repeats_byte_for_byte() {
    let (report, bytes, status) = sweep(&["--sweep", "calls"]);
    assert_eq!((report.schema, &*report.directory, report.sweeps.len(), status), (1, "immediate", 6, 0));
    for swept in &report.sweeps {
        assert!(swept.calls > 50 && swept.injected >= 2 * swept.calls, "{:?}", swept.settings);
        assert_eq!((swept.skipped, swept.news), (0, 0), "{:?}", swept.settings);
    }
    // For each role and fate a row: what a disk says that is not true is lost.
    let lost = |fate: &str| {
        let rows = report.syncs.iter().filter(|row| row["fate"] == fate);
        rows.map(|row| row["lost_evicted"].as_u64().unwrap() + row["lost_restart"].as_u64().unwrap()).sum::<u64>()
    };
    assert!(lost("lie") > 0 && lost("late") > 0);
    assert_eq!((lost("kept"), lost("dropped")), (0, 0));
    assert_eq!(sweep(&["--sweep", "calls"]).1, bytes);
}

#[test]
fn a_sweep_of_allocations_meets_each_and_loses_nothing() {
    let arguments = ["--sweep", "allocations", "--journal-mode", "WAL"];
    let (report, bytes, status) = sweep(&arguments);
    let [swept] = &report.sweeps[..] else { panic!("one sweep") };
    assert_eq!((status, swept.skipped, swept.news, swept.verdict.word()), (0, 0, 0, "degraded"));
    assert!(swept.calls > 200 && swept.injected == 2 * swept.calls, "{} of {}", swept.injected, swept.calls);
    assert_eq!(sweep(&arguments).1, bytes);
}

#[test]
fn tokens_of_single_errors_replay_and_shrink() {
    let (report, ..) = sweep(&["--sweep", "all", "--journal-mode", "WAL"]);
    for swept in &report.sweeps {
        for class in Class::ALL {
            let Some(found) = swept.runs.iter().find(|run| run.outcome.class == class) else { continue };
            let output = run(&["replay", &found.token, "--times", "2", "--format", "json"]);
            let replayed: Value = serde_json::from_slice(&output.stdout).unwrap();
            assert_eq!(replayed["class"], class.word(), "{}", found.token);
            assert_eq!((&replayed["detail"], &replayed["times"]), (&found.outcome.detail.clone().into(), &2.into()));
            let expected = if class >= Class::Lost { 100 } else { 0 };
            assert_eq!(output.status.code(), Some(expected), "{}", found.token);
        }
    }
    let lost = report.sweeps[0].runs.iter().rfind(|run| run.outcome.class == Class::Lost).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let output = run(&["shrink", &lost.token, "--out", folder.path().to_str().unwrap()]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut files = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path());
    let file = files.find(|path| path.to_string_lossy().ends_with("-shrunken.json"));
    let file = file.unwrap_or_else(|| panic!("{text} {}", String::from_utf8_lossy(&output.stderr)));
    assert_eq!(SweepFile::read(&file).unwrap().case.steps(), 1, "{text}");
    let output = run(&["replay", file.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(100), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn full_pruned_and_sampled_images_of_small_workloads_find_the_same_classes() {
    let output =
        run(&["powercut", "--compare", "--workloads", "5", "--seed", "1", "--images", "20000", "--format", "json"]);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let workloads = report["workloads"].as_array().unwrap();
    assert_eq!((workloads.len(), output.status.code()), (5, Some(0)), "{report}");
    for workload in workloads {
        let ways = workload["ways"].as_array().unwrap();
        let names: Vec<_> = ways.iter().map(|way| way["samples"].as_str().unwrap()).collect();
        assert_eq!(names, ["full", "pruned", "random"]);
        assert!(ways.iter().all(|way| way["classes"] == ways[0]["classes"]), "{workload}");
        let images = |nth: usize, field: &str| ways[nth][field].as_u64().unwrap();
        assert!(ways[0]["is_whole"] == true && images(0, "distinct") >= images(1, "distinct"), "{workload}");
        assert!((0..3).all(|nth| images(nth, "needed") <= images(nth, "distinct")), "{workload}");
    }
    // Nothing would be compared if no workload lost anything.
    let lost = workloads.iter().filter(|workload| workload["ways"][0]["classes"].as_array().unwrap().len() > 1).count();
    assert!(lost > 0, "{report}");
}

/// docs/layer.md and docs/power-loss.md state it: commits since the last checkpoint, fewer than it takes frames.
#[test]
fn normal_loses_the_commits_since_the_last_checkpoint_and_more_only_while_a_snapshot_is_held() {
    let output = run(&["powercut", "--bound", "--commits", "2400", "--format", "json"]);
    let report: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
    let rows = report["rows"].as_array().unwrap();
    let figure = |row: &Value, field: &str| row[field].as_u64().unwrap();
    assert_eq!(rows.len(), 6);
    for row in rows {
        let (frames, lost) = (figure(row, "checkpoint_frames"), figure(row, "lost_max"));
        if row["has_reader"] == true {
            // The first checkpoint syncs; those after it find nothing to move.
            assert!(lost >= 2400 - frames, "{row}");
        } else {
            assert_eq!(lost, frames - 1, "{row}");
        }
    }
}

#[test]
fn the_page_shows_the_shortest_losing_run_step_by_step() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("page");
    let cell = ["powercut", "--journal-mode", "DELETE", "--synchronous", "FULL", "--images", "1500", "--seed", "1"];
    let output = run(&[&cell[..], &["--out", out.to_str().unwrap()]].concat());
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let page = std::fs::read_to_string(out.join("index.html")).unwrap();
    let record: PowerRecord = serde_json::from_slice(&std::fs::read(out.join("record.json")).unwrap()).unwrap();
    assert!(page.contains("1 of 1 acknowledged commits are gone") && page.contains("class=\"disk\""));
    let losing = record.cells[0].losing.as_ref().unwrap();
    let last = losing.steps.last().unwrap();
    assert_eq!((last.kind, &*last.text), (DiskStepKind::Cut, "unlink /sim/app.db-journal: lost"));
    // The database was synced; the journal, which is there again, is what the recovery rolls back.
    let names: Vec<(&str, &str)> = last.files.iter().map(|file| (&*file.name, &*file.note)).collect();
    assert_eq!(names, [("app.db", ""), ("app.db-journal", "the unlink is lost: it is there again")]);
    assert!(last.files.iter().all(|file| file.parts.iter().all(|part| part.state == PartState::Durable)));
    let was_visible = |step: &seawall_harness::record::DiskStep| {
        step.files.iter().any(|file| file.parts.iter().any(|part| part.state == PartState::Visible))
    };
    assert!(losing.steps.iter().any(was_visible));
    let output = run(&["replay", out.join("DELETE-FULL.json").to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(100), "{}", String::from_utf8_lossy(&output.stderr));
}
