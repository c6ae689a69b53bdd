//! The result of one subject: as text, as JSON and as a test case of JUnit.

use super::Wanted;
use crate::cli::{Complaint, Exit};
use crate::reproduce::{Replayed, Subject};
use seawall_harness::record::Finding;
use seawall_harness::verdict::Verdict;
use seawall_reports::junit;
use serde_json::{Value, json};

/// See the module's documentation.
pub(super) struct Line {
    name: String,
    /// For people.
    pub(super) human: String,
    /// For programs, one object each.
    objects: Vec<Value>,
    /// How the program ends.
    pub(super) exit: Exit,
    /// Why it is not as expected, in words.
    trouble: Option<String>,
}

impl Line {
    /// The result of a subject that was executed on its own SQLite; `warning` is what its file says loudly.
    pub(super) fn replayed(wanted: &Wanted, replayed: Replayed, warning: Option<String>) -> Self {
        let Replayed { verdicts, human, json, .. } = replayed;
        let subject = &*wanted.subject;
        let exit = verdicts.iter().map(|executed| exit(*executed, wanted)).max().unwrap_or(Exit::Expected);
        let worst = verdicts.iter().max_by_key(|executed| exit_of(executed, wanted));
        let got = worst.map_or(Verdict::NotMeasured, |(verdict, _)| *verdict);
        let expectation = wanted.verdict.map(|expected| Expectation { expected, got });
        let mut objects: Vec<Value> = json.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        if let Some(expectation) = &expectation {
            objects.iter_mut().for_each(|object| expectation.add_to(object));
        }
        let mut human = human;
        let mut trouble = None;
        let mut add = |key: &str, value: &str| {
            for object in objects.iter_mut().filter_map(Value::as_object_mut) {
                object.insert(key.to_owned(), value.into());
            }
        };
        if let Some(warning) = warning {
            add("warning", &warning);
            human.push_str(&format!("{warning}\n"));
        }
        match (&expectation, subject.expected()) {
            (Some(expectation), _) => {
                human.push_str(&format!("{}: {}\n", expectation.sentence(), subject.name()));
                trouble = (exit != Exit::Expected).then(|| expectation.sentence());
            }
            (None, Some(finding)) if exit != Exit::Expected && verdicts.iter().any(|(_, is_fine)| *is_fine) => {
                let what = differs(finding, got);
                human.push_str(&format!("{what}\n"));
                add("differs", &what);
                trouble = Some(what);
            }
            (None, _) if exit != Exit::Expected => trouble = Some(got.word().to_owned()),
            (None, _) => {}
        }
        Self { name: subject.name().to_owned(), human, objects, exit, trouble }
    }

    /// A result that was told by one object.
    pub(super) fn told(subject: &dyn Subject, human: String, object: Value, (exit, trouble): (Exit, String)) -> Self {
        let trouble = (exit != Exit::Expected).then_some(trouble);
        Self { name: subject.name().to_owned(), human, objects: vec![object], exit, trouble }
    }

    /// For programs: one object a line.
    pub(super) fn json(&self) -> Result<String, Complaint> {
        let line = |object: &Value| Ok(serde_json::to_string(object).map_err(Complaint::broken)? + "\n");
        self.objects.iter().map(line).collect()
    }
}

/// What a line of a file expects, and what came out.
pub(super) struct Expectation {
    pub(super) expected: Verdict,
    pub(super) got: Verdict,
}

impl Expectation {
    pub(super) fn sentence(&self) -> String {
        format!("expected {}, got {}", self.expected, self.got)
    }

    pub(super) fn is_met(&self) -> bool {
        self.expected == self.got
    }

    pub(super) fn add_to(&self, object: &mut Value) {
        if let Some(object) = object.as_object_mut() {
            object.insert("expected".to_owned(), json!(self.expected));
            object.insert("got".to_owned(), json!(self.got));
            object.insert("as_expected".to_owned(), self.is_met().into());
        }
    }
}

/// What differs from a file that has a finding.
pub(super) fn differs(Finding { oracle, verdict, detail }: &Finding, got: Verdict) -> String {
    format!("differs: the file has {oracle} ({verdict}): {detail}; got {got}")
}

/// Whether an execution came out as wanted. Where nothing is wanted, a finding is not, and no finding is not where the
/// file of the case has one.
fn exit((verdict, is_fine): (Verdict, bool), wanted: &Wanted) -> Exit {
    match wanted.verdict {
        _ if verdict == Verdict::HarnessBroken => Exit::LabBroken,
        Some(expected) if verdict == expected => Exit::Expected,
        None if verdict == Verdict::NotMeasured => Exit::NothingRan,
        None if is_fine && wanted.subject.expected().is_none() => Exit::Expected,
        _ => Exit::Finding,
    }
}

fn exit_of(executed: &(Verdict, bool), wanted: &Wanted) -> (Exit, Verdict) {
    (exit(*executed, wanted), executed.0)
}

/// All results as a report of JUnit.
pub(super) fn junit(lines: &[Line]) -> String {
    let case = |line: &Line| junit::ReplayCase {
        name: line.name.clone(),
        trouble: line.trouble.clone(),
        is_broken: line.exit == Exit::LabBroken,
        text: line.human.clone(),
    };
    junit::replay(&lines.iter().map(case).collect::<Vec<_>>())
}
