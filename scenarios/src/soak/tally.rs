//! The sums over the runs of a cell.

use super::Progress;
use super::comparison::{self, RunFigures, Runs};
use crate::expectations::Expectations;
use crate::faults::Fault;
use crate::strategies;
use seawall_harness::record::{Cell, ErrorCount, RunRecord};
use seawall_harness::verdict::Verdict;
use std::collections::BTreeMap;

/// How many error messages a cell keeps.
const ERRORS_MAX: usize = 8;

/// What a cell is about.
#[derive(Clone, Copy)]
pub(super) struct Heading<'a> {
    pub(super) strategy: &'a str,
    pub(super) fault: &'a str,
    pub(super) fault_summary: &'a str,
    pub(super) medium: &'a str,
}

impl<'a> Heading<'a> {
    pub(super) fn new(strategy: &'a strategies::Entry, fault: &'a Fault, medium: &'a str) -> Self {
        Self { strategy: strategy.name, fault: &fault.title, fault_summary: &fault.summary, medium }
    }

    pub(super) fn of_cell(cell: &'a Cell) -> Self {
        let Cell { strategy, fault, fault_summary, medium, .. } = cell;
        Self { strategy, fault, fault_summary, medium }
    }
}

/// The sums of one cell.
#[derive(Default)]
pub(super) struct Tally {
    runs: u64,
    acked: u64,
    refused: u64,
    indeterminate: u64,
    lost: u64,
    lost_silently: u64,
    opens: u64,
    schema_inits: u64,
    calls: u64,
    faults_fired: u64,
    verdicts: BTreeMap<Verdict, u64>,
    errors: BTreeMap<String, u64>,
    /// The runs, for the comparison with plain SQLite.
    pub(super) by_number: Runs,
    /// The first of the worst runs, with its number.
    pub(super) sample: Option<(u64, RunRecord)>,
}

impl Tally {
    pub(super) fn add(&mut self, nth: u64, record: RunRecord) {
        let counts = record.counts;
        self.runs += 1;
        self.acked += counts.acked;
        self.refused += counts.refused;
        self.indeterminate += counts.indeterminate;
        self.lost += counts.lost;
        self.lost_silently += u64::from(counts.lost > 0 && record.integrity_ok);
        self.opens += counts.opens;
        self.schema_inits += counts.schema_inits;
        self.calls += counts.calls;
        self.faults_fired += counts.faults_fired;
        let is_corrupt = record.verdict == Verdict::Corrupt;
        self.by_number.insert(nth, RunFigures { lost: counts.lost, is_corrupt });
        *self.verdicts.entry(record.verdict).or_default() += 1;
        for error in &record.errors {
            *self.errors.entry(error.message.clone()).or_default() += error.count;
        }
        // By number and not by time, so that the sample does not depend on the speed of the jobs.
        let is_worse = self.sample.as_ref().is_none_or(|(n, sample)| {
            (record.verdict, std::cmp::Reverse(nth)) > (sample.verdict, std::cmp::Reverse(*n))
        });
        if is_worse {
            self.sample = Some((nth, record));
        }
    }

    /// Adds the figures of a cell of a share; not its sample.
    pub(super) fn add_cell(&mut self, cell: &Cell) {
        self.runs += cell.runs;
        self.acked += cell.acked;
        self.refused += cell.refused;
        self.indeterminate += cell.indeterminate;
        self.lost += cell.lost;
        self.lost_silently += cell.lost_silently;
        self.opens += cell.opens;
        self.schema_inits += cell.schema_inits;
        self.calls += cell.calls;
        self.faults_fired += cell.faults_fired;
        self.by_number.extend(comparison::of_cell(cell));
        cell.verdicts.iter().for_each(|(verdict, count)| *self.verdicts.entry(*verdict).or_default() += count);
        cell.errors.iter().for_each(|error| *self.errors.entry(error.message.clone()).or_default() += error.count);
    }

    pub(super) fn into_cell(self, heading: Heading<'_>, expectations: &Expectations) -> Cell {
        let Heading { strategy, fault, fault_summary, medium } = heading;
        let verdict = self.verdicts.keys().next_back().copied().unwrap_or(Verdict::NotMeasured);
        let expected = expectations.of(strategy, fault, medium);
        let mut errors: Vec<ErrorCount> =
            self.errors.into_iter().map(|(message, count)| ErrorCount { message, count }).collect();
        errors.sort_by_key(|error| std::cmp::Reverse(error.count));
        errors.truncate(ERRORS_MAX);
        let sample_number = self.sample.as_ref().map(|(nth, _)| *nth);
        let sample = self.sample.map(|(_, record)| record);
        let (numbers, harmed) = comparison::to_cell(&self.by_number);
        Cell {
            strategy: strategy.to_owned(),
            fault: fault.to_owned(),
            fault_summary: fault_summary.to_owned(),
            medium: medium.to_owned(),
            verdict,
            as_expected: expectations.is_expected(&expected, verdict, self.runs),
            expected: expected.to_string(),
            runs: self.runs,
            acked: self.acked,
            refused: self.refused,
            indeterminate: self.indeterminate,
            lost: self.lost,
            corrupt: self.verdicts.get(&Verdict::Corrupt).copied().unwrap_or(0),
            lost_silently: self.lost_silently,
            opens: self.opens,
            schema_inits: self.schema_inits,
            calls: self.calls,
            faults_fired: self.faults_fired,
            verdicts: self.verdicts,
            errors,
            worse_than_plain: None,
            numbers,
            harmed,
            sample_number,
            token: sample.as_ref().map(|record| record.token.clone()).unwrap_or_default(),
            sample,
        }
    }
}

/// How far the soak has come.
pub(super) fn progress<K>(tallies: &BTreeMap<K, Tally>) -> Progress {
    tallies.values().fold(Progress::default(), |sum, tally| Progress {
        runs: sum.runs + tally.runs,
        acked: sum.acked + tally.acked,
        lost: sum.lost + tally.lost,
    })
}
