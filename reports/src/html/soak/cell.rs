//! The details of one cell: figures, the share of each verdict, errors, replay line and sample run.

use super::run::Sample;
use super::unexpected;
use crate::format::{count, number, plain, replay_line};
use crate::news;
use seawall_harness::record::Cell;

/// Width of the bar of verdicts, and the least width of a part: one run in a million stays visible.
const BAR_WIDTH: u64 = 1000;
const SHARE_WIDTH_MIN: u64 = 6;

/// One strategy under one fault on one medium.
pub(super) struct Detail {
    pub(super) anchor: String,
    pub(super) strategy: String,
    pub(super) medium: Option<String>,
    pub(super) word: &'static str,
    pub(super) brief: String,
    pub(super) expected: Option<String>,
    pub(super) worse: Option<String>,
    pub(super) figures: Vec<(&'static str, String)>,
    pub(super) shares: Vec<Share>,
    pub(super) shares_label: String,
    pub(super) errors: Vec<(String, String)>,
    pub(super) replay: String,
    pub(super) sample: Option<Sample>,
}

/// The runs of a cell that have one verdict, as a part of the bar.
pub(super) struct Share {
    pub(super) word: &'static str,
    pub(super) runs: String,
    pub(super) x: u64,
    pub(super) width: u64,
}

impl Detail {
    /// The medium is named only if the record has several.
    pub(super) fn from_cell(cell: &Cell, anchor: String, has_media: bool) -> Self {
        let shares = shares(cell);
        let words: Vec<String> = shares.iter().map(|s| format!("{} {}", s.word, s.runs)).collect();
        let brief = match cell.lost {
            0 => count(cell.runs, "run"),
            lost => format!("{} lost in {}", number(lost), count(cell.runs, "run")),
        };
        Self {
            anchor,
            strategy: plain(&cell.strategy),
            medium: has_media.then(|| plain(&cell.medium)),
            word: cell.verdict.word(),
            brief,
            expected: unexpected(cell),
            worse: news::worse(cell),
            figures: figures(cell),
            shares,
            shares_label: format!("Runs by verdict: {}", words.join(", ")),
            errors: cell.errors.iter().map(|e| (number(e.count), plain(&e.message))).collect(),
            replay: replay_line(&cell.token),
            sample: cell.sample.as_ref().map(Sample::from_run),
        }
    }
}

fn figures(cell: &Cell) -> Vec<(&'static str, String)> {
    [
        ("runs", cell.runs),
        ("acknowledged", cell.acked),
        ("lost", cell.lost),
        ("runs with silent loss", cell.lost_silently),
        ("corrupt runs", cell.corrupt),
        ("refused", cell.refused),
        ("outcome unknown", cell.indeterminate),
        ("faults fired", cell.faults_fired),
        ("calls", cell.calls),
        ("database opens", cell.opens),
        ("schema inits", cell.schema_inits),
    ]
    .map(|(name, value)| (name, number(value)))
    .to_vec()
}

/// The verdicts of the runs, the worst first.
fn shares(cell: &Cell) -> Vec<Share> {
    let present: Vec<_> = cell.verdicts.iter().rev().filter(|(_, n)| **n > 0).collect();
    let total: u64 = present.iter().map(|(_, n)| **n).sum();
    let room = BAR_WIDTH - SHARE_WIDTH_MIN * present.len() as u64;
    let mut x = 0;
    let mut shares = Vec::with_capacity(present.len());
    for (verdict, runs) in present {
        let width = SHARE_WIDTH_MIN + (room as f64 * *runs as f64 / total as f64) as u64;
        shares.push(Share { word: verdict.word(), runs: number(*runs), x, width });
        x += width;
    }
    if let Some(last) = shares.last_mut() {
        last.width = BAR_WIDTH - last.x;
    }
    shares
}
