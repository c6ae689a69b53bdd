//! The same on another SQLite: does it happen there?

use super::{ReproduceError, Reproduction, Setting};
use seawall_harness::record::Finding;
use serde::{Deserialize, Serialize};

/// Whether something happens on another SQLite.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Happens {
    /// The same oracle has the same verdict there.
    Yes,
    /// Nothing is found there.
    No,
    /// Something else is found there.
    Otherwise,
    /// It cannot be executed there.
    Unknown,
}

/// The answer of one SQLite. Field names are a contract.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// The version, or `PATH#HASH` of a library.
    pub sqlite: String,
    /// Whether it happens there.
    pub happens: Happens,
    /// What was found there.
    pub finding: Option<Finding>,
    /// Cases that were executed there: the case, then schedules next to its own until one of them has the finding.
    pub executions: u64,
    /// Why it is unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl Answer {
    /// The answer that follows from what was found.
    pub(super) fn of(sqlite: &str, findings: &[Finding], wanted: Option<&Finding>, executions: u64) -> Self {
        let finding = findings.first().cloned();
        let happens = match (&finding, wanted) {
            (None, _) => Happens::No,
            (Some(found), Some(wanted)) if !is_same(found, wanted) => Happens::Otherwise,
            _ => Happens::Yes,
        };
        Self { sqlite: sqlite.to_owned(), happens, finding, executions, reason: None }
    }

    /// The answer of a SQLite that cannot execute it.
    pub(super) fn unknown(sqlite: &str, reason: impl ToString) -> Self {
        let (sqlite, reason) = (sqlite.to_owned(), Some(reason.to_string()));
        Self { sqlite, happens: Happens::Unknown, finding: None, executions: 0, reason }
    }

    /// True if something is found there.
    pub fn is_found(&self) -> bool {
        self.finding.is_some()
    }

    /// What to tell loudly, if this SQLite is believed sound and finds something.
    pub fn warning(&self) -> Option<String> {
        let Self { sqlite, .. } = self;
        self.is_found().then(|| format!("this also happens on SQLite {sqlite}: an application's error, or unknown"))
    }

    /// In words.
    pub fn sentence(&self) -> String {
        let Self { sqlite, executions, .. } = self;
        let found =
            self.finding.as_ref().map(|Finding { oracle, verdict, detail }| format!("{oracle} ({verdict}): {detail}"));
        let found = found.unwrap_or_default();
        let near = match executions {
            0 | 1 => String::new(),
            n => format!(" ({n} executions, with schedules next to its own)"),
        };
        match self.happens {
            Happens::Yes => format!("it happens on SQLite {sqlite}{near}: {found}"),
            Happens::No => format!("it does not happen on SQLite {sqlite}{near}"),
            Happens::Otherwise => format!("something else happens on SQLite {sqlite}{near}: {found}"),
            Happens::Unknown => {
                format!("it cannot be told on SQLite {sqlite}: {}", self.reason.as_deref().unwrap_or("not executed"))
            }
        }
    }
}

/// True if both are of the same oracle with the same verdict.
pub(super) fn is_same(one: &Finding, other: &Finding) -> bool {
    (one.verdict, &one.oracle) == (other.verdict, &other.oracle)
}

/// Executes a subject on another SQLite.
pub(super) fn ask<R: Reproduction>(subject: &R, setting: &Setting, sqlite: &str) -> Result<Answer, ReproduceError> {
    let (case, wanted) = subject.candidate(setting)?;
    subject.ask_case(&case, wanted.as_ref(), sqlite)
}

#[cfg(test)]
mod tests {
    use super::*;
    use seawall_harness::verdict::Verdict;

    #[test]
    fn an_answer_compares_oracle_and_verdict() {
        let finding = |oracle: &str, verdict| Finding { oracle: oracle.to_owned(), verdict, detail: "x".to_owned() };
        let (lost, torn) = (finding("ledger", Verdict::Lost), finding("ledger", Verdict::Corrupt));
        #[track_caller]
        fn check(findings: &[Finding], wanted: Option<&Finding>, happens: Happens, words: &str) {
            let answer = Answer::of("3.1", findings, wanted, 1);
            assert_eq!(answer.happens, happens);
            assert!(answer.sentence().contains(words), "{}", answer.sentence());
        }
        let found = std::slice::from_ref(&lost);
        check(&[], Some(&lost), Happens::No, "does not happen on SQLite 3.1");
        check(found, Some(&lost), Happens::Yes, "it happens on SQLite 3.1: ledger (lost): x");
        check(found, Some(&torn), Happens::Otherwise, "something else happens");
        check(found, None, Happens::Yes, "it happens");
        assert!(Answer::unknown("3.1", "why").sentence().contains("cannot be told on SQLite 3.1: why"));
    }
}
