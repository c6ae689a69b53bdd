//! What came of an execution with one fault.

use super::super::judge::{self, Judge};
use super::super::recording::{Known, Mark, MarkKind, Watched};
use seawall_harness::media::sim::durability::Image;
use seawall_harness::oracle::durability::AfterCut;
use seawall_harness::record::Finding;
use seawall_harness::trace::RulingKind;
use seawall_harness::verdict::Verdict;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// The kinds of outcomes, worst last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Class {
    /// A call did not do what it reported, no statement failed, and nothing is lost.
    Unnoticed,
    /// A call failed, no statement did, and nothing is lost.
    Swallowed,
    /// A statement failed, its transaction is not there, and nothing is lost.
    Failed,
    /// COMMIT failed, and the transaction is there.
    FalseFailure,
    /// The execution does not end.
    Wedged,
    /// An acknowledged commit is gone.
    Lost,
    /// The database is damaged, or as after no commit.
    Corrupt,
}

impl Class {
    /// All, in the order of the table.
    pub const ALL: [Self; 7] =
        [Self::Unnoticed, Self::Swallowed, Self::Failed, Self::FalseFailure, Self::Wedged, Self::Lost, Self::Corrupt];

    /// The word for it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Unnoticed => "unnoticed",
            Self::Swallowed => "swallowed",
            Self::Failed => "failed",
            Self::FalseFailure => "false-failure",
            Self::Wedged => "wedged",
            Self::Lost => "lost",
            Self::Corrupt => "corrupt",
        }
    }

    /// The verdict that belongs to it.
    pub const fn verdict(self) -> Verdict {
        match self {
            Self::Unnoticed | Self::Swallowed => Verdict::Survived,
            Self::Failed | Self::FalseFailure => Verdict::Degraded,
            Self::Wedged => Verdict::Wedged,
            Self::Lost => Verdict::Lost,
            Self::Corrupt => Verdict::Corrupt,
        }
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

/// See the module's documentation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// Its kind.
    pub class: Class,
    /// The views in which that shows: `live`, `restart`, `evicted`.
    pub views: Vec<View>,
    /// True if a COMMIT failed and its transaction is among what is durable right afterwards.
    pub is_false_failure_durable: bool,
    /// It in words.
    pub detail: String,
}

/// Where something shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum View {
    /// The connection reads it.
    Live,
    /// A fresh process finds it.
    Restart,
    /// A fresh process finds it where only durable bytes are left.
    Evicted,
}

impl View {
    /// The word for it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Restart => "restart",
            Self::Evicted => "evicted",
        }
    }
}

impl Outcome {
    /// True for an execution without a fault that went as it must.
    pub(super) fn is_clean_run(&self) -> bool {
        self.class == Class::Unnoticed
    }

    /// The finding of a replay; none if there is nothing to explain.
    pub fn finding(&self) -> Option<Finding> {
        let oracle = match self.class {
            Class::Unnoticed | Class::Swallowed | Class::Failed => return None,
            Class::FalseFailure | Class::Lost => "durability",
            Class::Wedged => "progress",
            Class::Corrupt => "integrity",
        };
        Some(Finding { oracle: oracle.to_owned(), verdict: self.class.verdict(), detail: self.detail.clone() })
    }
}

/// What was told at a moment.
#[derive(Clone, Copy, Debug, Default)]
struct Told {
    known: Known,
    /// The number of a commit that failed in the transaction that has just ended.
    failed: Option<u32>,
    is_error: bool,
}

fn told(marks: &[Mark], last: &[Mark]) -> Told {
    let mut told = Told::default();
    for mark in marks {
        match mark.kind {
            MarkKind::Started(number) => told.known.started = told.known.started.max(number),
            MarkKind::Acked(number) => told.known.acked = told.known.acked.max(number),
            MarkKind::Failed(_) => told.is_error = true,
            MarkKind::Statement(_) => {}
        }
    }
    for mark in last {
        match mark.kind {
            MarkKind::Started(number) => told.failed = Some(number),
            MarkKind::Acked(_) => told.failed = None,
            _ => {}
        }
    }
    told
}

/// The views of an execution without a fault: what each moment's durable bytes hold then.
pub(super) type Baseline = Vec<AfterCut>;

/// Judges all moments of an execution.
pub(super) fn judge(watched: &Watched, judge: &Judge, baseline: Option<&Baseline>) -> (Outcome, Baseline) {
    let sums = watched.models.iter().map(|(number, model)| (*number, model.fingerprint())).collect();
    let mut marks_before = 0;
    let mut found = Found::default();
    let mut durable = Baseline::new();
    // What is not durable without a fault either is not counted.
    let without = baseline.map(Vec::as_slice).unwrap_or_default();
    let is_corrupt = without.iter().any(|after| after.verdict() == Verdict::Corrupt);
    let lost = without.iter().map(AfterCut::lost).max().unwrap_or(0);
    for moment in &watched.moments {
        let told = told(&watched.marks[..moment.marks], &watched.marks[marks_before..moment.marks]);
        marks_before = moment.marks;
        match &moment.live {
            Some(Ok(number)) => found.look_at(View::Live, told, number_only(told, *number)),
            Some(Err(error)) if error.contains("malformed") => found.note(View::Live, Class::Corrupt, error.clone()),
            _ => {}
        }
        found.look_at(View::Restart, told, observe(judge, &sums, told, &moment.visible));
        let evicted = observe(judge, &sums, told, &moment.durable);
        durable.push(evicted.clone());
        if !is_corrupt {
            let acked = evicted.acked.saturating_sub(lost);
            found.look_at(View::Evicted, told, AfterCut { acked, ..evicted });
        }
        found.is_error |= told.is_error;
    }
    if watched.is_endless {
        found.note(View::Live, Class::Wedged, "the execution does not end".to_owned());
    }
    found.is_reported = watched.calls.iter().any(|call| call.ruling != RulingKind::Proceed && call.outcome != 0);
    (found.outcome(), durable)
}

fn observe(judge: &Judge, sums: &BTreeMap<u32, u64>, told: Told, image: &Image) -> AfterCut {
    judge::after_cut(sums, told.known, &judge.observe(image))
}

/// Of what the connection reads only the number of the last commit is looked at.
fn number_only(told: Told, survived: u32) -> AfterCut {
    let Known { acked, started } = told.known;
    AfterCut { acked, started, survived, is_whole: true, ..AfterCut::default() }
}

/// What has been found so far.
#[derive(Default)]
struct Found {
    /// True if a statement failed.
    is_error: bool,
    /// True if a call failed by the fault.
    is_reported: bool,
    is_durable: bool,
    worst: Option<(Class, String)>,
    views: Vec<View>,
}

impl Found {
    fn look_at(&mut self, view: View, told: Told, after: AfterCut) {
        match after.verdict() {
            Verdict::Corrupt => self.note(view, Class::Corrupt, after.sentence()),
            Verdict::Lost => self.note(view, Class::Lost, after.sentence()),
            _ => {}
        }
        let is_there = |number: &u32| after.verdict() != Verdict::Corrupt && after.survived >= *number;
        if let Some(number) = told.failed.filter(is_there) {
            self.is_durable |= view == View::Evicted;
            self.note(view, Class::FalseFailure, format!("COMMIT of transaction {number} failed, and it is there"));
        }
    }

    fn note(&mut self, view: View, class: Class, detail: String) {
        let before = self.worst.as_ref().map(|(class, _)| *class);
        if before > Some(class) {
            return;
        }
        if before < Some(class) {
            self.views.clear();
            self.worst = Some((class, detail));
        }
        if !self.views.contains(&view) {
            self.views.push(view);
            self.views.sort_unstable();
        }
    }

    fn outcome(self) -> Outcome {
        let Self { is_error, is_reported, is_durable, worst, views } = self;
        let rest = || match (is_error, is_reported) {
            (true, _) => (Class::Failed, "a statement failed, and nothing else came of it".to_owned()),
            (false, true) => (Class::Swallowed, "a call failed, no statement did, and nothing is lost".to_owned()),
            (false, false) => (Class::Unnoticed, "no call and no statement failed, and nothing is lost".to_owned()),
        };
        let (class, detail) = worst.unwrap_or_else(rest);
        Outcome { class, views, is_false_failure_durable: is_durable, detail }
    }
}
