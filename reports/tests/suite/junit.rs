//! JUnit: the report as a build server reads it.

use crate::sample;
use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus};
use seawall_harness::record::SoakRecord;
use seawall_harness::verdict::Verdict;
use seawall_reports::junit;

fn parsed(record: &SoakRecord) -> Report {
    Report::deserialize_from_str(&junit::soak(record)).unwrap()
}

fn case<'a>(report: &'a Report, strategy: &str, name: &str) -> &'a TestCase {
    let suite = report.test_suites.iter().find(|s| s.name.as_str() == strategy).unwrap();
    suite.test_cases.iter().find(|c| c.name.as_str() == name).unwrap()
}

#[test]
fn suites_are_strategies_and_cases_are_faults_on_media() {
    let report = parsed(&sample::soak());
    let names: Vec<_> = report.test_suites.iter().map(|s| s.name.as_str()).collect();
    assert_eq!(names, sample::STRATEGIES);
    assert!(report.test_suites.iter().all(|s| s.tests == 22));
    assert_eq!((report.tests, report.failures, report.errors, report.skipped), (66, 4, 1, 1));
    let both = parsed(&sample::both_media());
    assert_eq!(both.tests, 24);
    case(&both, "seawall", "shmmap-once on real");
    case(&both, "seawall", "shmmap-once on sim");
}

#[test]
fn a_failure_names_both_verdicts_and_the_replay_line() {
    let record = sample::soak();
    let report = parsed(&record);
    let cell = record.matrix.iter().find(|c| c.verdict == Verdict::Wedged).unwrap();
    let TestCaseStatus::NonSuccess { kind, message, description, .. } =
        &case(&report, "percall", "shmsize-healed on real").status
    else {
        panic!("it did not fail")
    };
    assert_eq!(*kind, NonSuccessKind::Failure);
    let message = message.as_ref().unwrap().as_str();
    assert_eq!(message, format!("wedged, but expected survived|degraded; seawall replay {}", cell.token));
    assert!(description.as_ref().unwrap().as_str().starts_with("progress: p1.t2 did not commit"));
}

#[test]
fn an_expected_loss_passes_and_a_broken_lab_is_an_error() {
    let report = parsed(&sample::soak());
    let status = |strategy, name| &case(&report, strategy, name).status;
    assert!(matches!(status("openhuman", "cantopen-storm on real"), TestCaseStatus::Success { .. }));
    assert!(matches!(status("openhuman", "truncate-once on real"), TestCaseStatus::Skipped { .. }));
    let broken = status("percall", "cantopen-once on real");
    assert!(matches!(broken, TestCaseStatus::NonSuccess { kind: NonSuccessKind::Error, .. }));
}

#[test]
fn a_cell_that_was_unexpectedly_not_measured_fails() {
    let mut record = sample::soak();
    let cell = record.matrix.iter_mut().find(|c| c.verdict == Verdict::NotMeasured).unwrap();
    cell.as_expected = false;
    cell.expected = "survived".to_owned();
    let report = parsed(&record);
    assert_eq!((report.failures, report.skipped), (5, 0));
}

#[test]
fn hostile_names_stay_names() {
    let mut record = sample::soak();
    record.matrix[0].fault = sample::NASTY.to_owned();
    record.matrix[0].as_expected = false;
    record.matrix[0].expected = sample::NASTY.to_owned();
    record.seconds = f64::NAN;
    let report = parsed(&record);
    assert!(report.test_suites[0].test_cases[0].name.as_str().starts_with("<script>alert('x')</script> \"quoted\""));
    assert_eq!(report.tests, 66);
}

#[test]
fn a_cell_in_which_plain_sqlite_did_better_fails() {
    let before = parsed(&sample::soak()).failures;
    assert_eq!(parsed(&sample::with_worse_cell()).failures, before + 1);
    let report = junit::soak(&sample::with_worse_cell());
    assert!(
        report.contains("survived, worse than plain SQLite: 12 lost against 3, 2 corrupt runs against 0;"),
        "{report}"
    );
}
