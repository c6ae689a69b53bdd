//! Whether it happens on another SQLite.

use super::Wanted;
use super::line::{Expectation, Line};
use crate::cli::{Complaint, Exit, say};
use crate::reproduce::{Answer, Happens, Setting};
use seawall_harness::verdict::Verdict;
use serde_json::{Value, json};

/// Asks a SQLite. With `change`, it lies where that of the subject was, and this is said.
pub(super) fn ask(wanted: &Wanted, setting: &Setting, sqlite: &str, change: Option<String>) -> Result<Line, Complaint> {
    let subject = &*wanted.subject;
    if let Some(change) = &change {
        say(&format!("{}: {change}; what is there now is executed", subject.name()));
    }
    let answer = subject.ask(setting, sqlite)?;
    let got = answer.finding.as_ref().map_or(Verdict::Survived, |finding| finding.verdict);
    let expectation = wanted.verdict.map(|expected| Expectation { expected, got });
    let mut human = format!("{}: {}\n", subject.name(), answer.sentence());
    let mut object = object(&answer, subject.name(), subject.sqlite());
    if let Some(change) = &change {
        human.push_str(&format!("differs: {change}\n"));
        object["differs"] = change.clone().into();
    }
    let mut trouble = answer.sentence();
    let mut exit = match answer.happens {
        Happens::No => Exit::Expected,
        _ => Exit::Finding,
    };
    if let Some(expectation) = &expectation {
        human.push_str(&format!("{}: {}\n", expectation.sentence(), subject.name()));
        expectation.add_to(&mut object);
        exit = if expectation.is_met() && answer.happens != Happens::Unknown { Exit::Expected } else { Exit::Finding };
        trouble = expectation.sentence();
    }
    if let Some(change) = change {
        // What was recorded is not there any more, whatever was found.
        (exit, trouble) = (Exit::Finding, change);
    }
    Ok(Line::told(subject, human, object, (exit, trouble)))
}

fn object(answer: &Answer, name: &str, recorded_on: Option<&str>) -> Value {
    let kind = if super::is_file(name) { "file" } else { "token" };
    let Answer { sqlite, happens, finding, executions, reason } = answer;
    json!({
        "schema": 1, kind: name, "recorded_on": recorded_on, "sqlite": sqlite, "happens": happens,
        "verdict": finding.as_ref().map(|finding| finding.verdict), "finding": finding, "executions": executions,
        "reason": reason,
    })
}
