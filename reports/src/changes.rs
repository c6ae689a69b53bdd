//! What has changed between two records of soaks: cells with another verdict, and cells that only one of them has.

use crate::format::{count, plain};
use seawall_harness::record::{Cell, SoakRecord};
use seawall_harness::verdict::Verdict;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

/// The changes from one record to another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Changes {
    /// Version of this layout.
    pub schema: u32,
    /// What the records have in common is compared; this is what they do not: SQLite, seed, platform.
    pub differences: Vec<String>,
    /// Cells whose verdict is another one, in the order of the later record.
    pub changed: Vec<Change>,
    /// Cells that the earlier record has and the later one has not.
    pub gone: Vec<String>,
    /// Cells that are new in the later record.
    pub new: Vec<String>,
    /// Cells with the same verdict in both.
    pub same: u64,
}

/// A cell whose verdict has changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// The strategy.
    pub strategy: String,
    /// The fault.
    pub fault: String,
    /// `real` or `sim`.
    pub medium: String,
    /// The earlier verdict.
    pub before: Verdict,
    /// The later verdict.
    pub after: Verdict,
    /// Runs of the earlier record.
    pub runs_before: u64,
    /// Runs of the later record.
    pub runs_after: u64,
    /// Lost transactions of the earlier record.
    pub lost_before: u64,
    /// Lost transactions of the later record.
    pub lost_after: u64,
    /// The token of the later record.
    pub token: String,
}

/// Compares two records, the earlier one first. A cell without a measurement in one of them has not changed.
pub fn changes(before: &SoakRecord, after: &SoakRecord) -> Changes {
    let earlier: BTreeMap<_, &Cell> = before.matrix.iter().map(|cell| (key(cell), cell)).collect();
    let later: BTreeSet<_> = after.matrix.iter().map(key).collect();
    let only = |cell: &&Cell| !later.contains(&key(cell));
    let gone = before.matrix.iter().filter(only).map(name).collect();
    let (mut changed, mut new, mut same) = (Vec::new(), Vec::new(), 0);
    for cell in &after.matrix {
        match earlier.get(&key(cell)) {
            None => new.push(name(cell)),
            Some(old) if is_changed(old, cell) => changed.push(change(old, cell)),
            Some(_) => same += 1,
        }
    }
    Changes { schema: 1, differences: differences(before, after), changed, gone, new, same }
}

fn key(cell: &Cell) -> (&str, &str, &str) {
    (&cell.strategy, &cell.fault, &cell.medium)
}

fn name(cell: &Cell) -> String {
    plain(&format!("{} under {} ({})", cell.strategy, cell.fault, cell.medium))
}

fn is_changed(old: &Cell, new: &Cell) -> bool {
    let is_measured = |cell: &Cell| cell.verdict != Verdict::NotMeasured;
    old.verdict != new.verdict && is_measured(old) && is_measured(new)
}

fn change(old: &Cell, new: &Cell) -> Change {
    Change {
        strategy: new.strategy.clone(),
        fault: new.fault.clone(),
        medium: new.medium.clone(),
        before: old.verdict,
        after: new.verdict,
        runs_before: old.runs,
        runs_after: new.runs,
        lost_before: old.lost,
        lost_after: new.lost,
        token: new.token.clone(),
    }
}

fn differences(before: &SoakRecord, after: &SoakRecord) -> Vec<String> {
    let pairs = [
        ("SQLite", before.sqlite.clone(), after.sqlite.clone()),
        ("seed", before.seed.to_string(), after.seed.to_string()),
        ("platform", before.platform.clone(), after.platform.clone()),
    ];
    let differ = pairs.into_iter().filter(|(_, before, after)| before != after);
    differ.map(|(what, before, after)| plain(&format!("{what}: {before}, then {after}"))).collect()
}

impl Changes {
    /// True if a verdict has become worse.
    pub fn is_worse(&self) -> bool {
        self.changed.iter().any(|change| change.after > change.before)
    }

    /// One JSON object on one line.
    pub fn json(&self) -> String {
        crate::json::line(self)
    }

    /// Lines for a terminal.
    pub fn text(&self) -> String {
        let mut out = String::new();
        for difference in &self.differences {
            let _ = writeln!(out, "{difference}");
        }
        for change in &self.changed {
            let Change { strategy, fault, medium, before, after, runs_before, runs_after, .. } = change;
            let word = if after > before { "worse" } else { "better" };
            let cell = plain(&format!("{strategy} under {fault} ({medium})"));
            let (lost_before, lost_after) = (change.lost_before, change.lost_after);
            let _ = writeln!(out, "{word}: {cell}: {before}, then {after}");
            let _ = writeln!(
                out,
                "    {lost_before} lost in {}, then {lost_after} in {}",
                count(*runs_before, "run"),
                count(*runs_after, "run")
            );
            let _ = writeln!(out, "    {}", crate::format::replay_line(&change.token));
        }
        for (word, cells) in [("gone", &self.gone), ("new", &self.new)] {
            cells.iter().for_each(|cell| {
                let _ = writeln!(out, "{word}: {cell}");
            });
        }
        let _ = writeln!(
            out,
            "{} with the same verdict, {} with another one",
            count(self.same, "cell"),
            self.changed.len()
        );
        out
    }
}
