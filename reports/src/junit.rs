//! A soak as a JUnit report: a suite for each strategy, a test case for each fault on each medium.
//!
//! A test case fails if the layer did worse than plain SQLite, or if the verdict is not an expected one: an expected
//! loss passes, an unexpected survival fails. A cell that measured nothing is skipped, unless another verdict was
//! expected.

use crate::format::{count, plain, replay_line};
use crate::grid::distinct;
use crate::news;
use quick_junit::{NonSuccessKind, Property, Report, TestCase, TestCaseStatus, TestSuite};
use seawall_harness::record::{Cell, SoakRecord};
use seawall_harness::verdict::Verdict;
use std::time::Duration;

/// The report as XML.
pub fn soak(record: &SoakRecord) -> String {
    let mut report = Report::new("seawall soak");
    if let Ok(time) = Duration::try_from_secs_f64(record.seconds) {
        report.set_time(time);
    }
    for strategy in distinct(record.matrix.iter().map(|c| c.strategy.as_str())) {
        let mut suite = TestSuite::new(plain(strategy));
        for (name, value) in [
            ("seed", record.seed.to_string()),
            ("sqlite", record.sqlite.clone()),
            ("platform", record.platform.clone()),
            ("scratch", record.scratch.clone()),
        ] {
            suite.add_property(Property::new(name, plain(&value)));
        }
        suite.add_test_cases(record.matrix.iter().filter(|c| c.strategy == strategy).map(case));
        report.add_test_suite(suite);
    }
    report.to_string().expect("writing XML to memory cannot fail, and XmlString holds no invalid character")
}

/// The replay of one token or case file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplayCase {
    /// The token, or the path of the file.
    pub name: String,
    /// Why it is not as expected, like `expected lost, got survived`; `None` if it is.
    pub trouble: Option<String>,
    /// True if the lab itself failed.
    pub is_broken: bool,
    /// The executions in words.
    pub text: String,
}

/// Replays as XML: a test case each.
pub fn replay(cases: &[ReplayCase]) -> String {
    let mut report = Report::new("seawall replay");
    let mut suite = TestSuite::new("replay");
    for ReplayCase { name, trouble, is_broken, text } in cases {
        let status = match trouble {
            None => TestCaseStatus::success(),
            Some(trouble) => {
                let kind = if *is_broken { NonSuccessKind::Error } else { NonSuccessKind::Failure };
                let mut status = TestCaseStatus::non_success(kind);
                status.set_message(plain(&format!("{trouble}; seawall replay {name}")));
                status
            }
        };
        let mut case = TestCase::new(plain(name), status);
        case.set_system_out(plain(text));
        suite.add_test_case(case);
    }
    report.add_test_suite(suite);
    report.to_string().expect("writing XML to memory cannot fail, and XmlString holds no invalid character")
}

fn case(cell: &Cell) -> TestCase {
    let mut case = TestCase::new(plain(&format!("{} on {}", cell.fault, cell.medium)), status(cell));
    case.set_classname(plain(&cell.strategy));
    case.set_assertions(usize::try_from(cell.runs).unwrap_or(usize::MAX));
    case.set_system_out(figures(cell));
    case
}

fn status(cell: &Cell) -> TestCaseStatus {
    let verdict = cell.verdict.word();
    if cell.verdict == Verdict::HarnessBroken {
        return non_success(
            NonSuccessKind::Error,
            cell,
            "the lab itself failed, so this cell has no result".to_owned(),
        );
    }
    if !cell.as_expected {
        let expected = news::expected(cell).map(|expected| format!(", but expected {expected}"));
        let worse = news::worse(cell).map(|worse| format!(", {worse}"));
        let reasons: String = expected.into_iter().chain(worse).collect();
        return non_success(NonSuccessKind::Failure, cell, format!("{verdict}{reasons}"));
    }
    if cell.verdict == Verdict::NotMeasured {
        let mut status = TestCaseStatus::skipped();
        status.set_message(format!("{verdict}: {}", cell.verdict.meaning()));
        return status;
    }
    TestCaseStatus::success()
}

fn non_success(kind: NonSuccessKind, cell: &Cell, message: String) -> TestCaseStatus {
    let mut status = TestCaseStatus::non_success(kind);
    let replay = replay_line(&cell.token);
    status.set_message(plain(&format!("{message}; {replay}")));
    status.set_type(cell.verdict.word());
    let mut description = String::new();
    for finding in cell.sample.iter().flat_map(|run| &run.findings) {
        description.push_str(&plain(&format!("{}: {} ({})", finding.oracle, finding.detail, finding.verdict)));
        description.push('\n');
    }
    description.push_str(&replay);
    status.set_description(description);
    status
}

fn figures(cell: &Cell) -> String {
    format!(
        "{}: {}, {} acknowledged, {} refused, {} indeterminate, {} lost, {} corrupt, {} fired",
        cell.verdict,
        count(cell.runs, "run"),
        cell.acked,
        cell.refused,
        cell.indeterminate,
        cell.lost,
        cell.corrupt,
        count(cell.faults_fired, "fault"),
    )
}
