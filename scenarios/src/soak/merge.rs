//! Merging: the records of shares of one soak, executed anywhere, become the record of all of them.
//!
//! A record keeps the cells of each share that is in it, so merging takes the union of shares and adds them up anew.
//! That makes it associative, commutative and idempotent. Two records of the same share must be the same: a share that
//! was executed twice may have come out in two ways, on real files or within a time limit, and both are no sum.

use super::comparison::Baseline;
use super::tally::{Heading, Tally};
use crate::expectations::Expectations;
use seawall_harness::record::{Cell, RunRecord, Share, SoakRecord};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

/// Why records cannot be merged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MergeError {
    /// There is no record.
    #[error("there is no record to merge")]
    Nothing,
    /// It has no shares.
    #[error("the record does not say which runs are in it: an older version wrote it")]
    NoShares(usize),
    /// A share was executed twice.
    #[error("share {0} is there twice, with different results: give one of its records only")]
    Twice(u64),
    /// They are of different soaks.
    #[error("the record is of another soak: its {what} is {found}, that of the first record {expected}")]
    Other {
        /// The number of the record, from 1.
        record: usize,
        /// What differs.
        what: &'static str,
        /// Its value there.
        found: String,
        /// Its value in the first record.
        expected: String,
    },
}

impl MergeError {
    /// The number of the record that is the matter, from 1.
    pub fn record(&self) -> Option<usize> {
        match self {
            Self::NoShares(record) | Self::Other { record, .. } => Some(*record),
            Self::Nothing | Self::Twice(_) => None,
        }
    }
}

/// What names a cell: strategy, fault, medium.
type Key = (String, String, String);

fn key(cell: &Cell) -> Key {
    (cell.strategy.clone(), cell.fault.clone(), cell.medium.clone())
}

/// Merges records of shares of one soak.
///
/// # Errors
/// See [`MergeError`].
pub fn merge(records: &[SoakRecord], expectations: &Expectations) -> Result<SoakRecord, MergeError> {
    let first = records.first().ok_or(MergeError::Nothing)?;
    let mut shares: BTreeMap<u64, &Share> = BTreeMap::new();
    let mut samples: BTreeMap<Key, (u64, &RunRecord)> = BTreeMap::new();
    for (nth, record) in records.iter().enumerate() {
        check(nth + 1, first, record)?;
        for share in &record.shares {
            if *shares.entry(share.number).or_insert(share) != share {
                return Err(MergeError::Twice(share.number));
            }
        }
        for cell in &record.matrix {
            let (Some(number), Some(sample)) = (cell.sample_number, &cell.sample) else { continue };
            let known = samples.entry(key(cell)).or_insert((number, sample));
            if (sample.verdict, Reverse(number)) > (known.1.verdict, Reverse(known.0)) {
                *known = (number, sample);
            }
        }
    }
    let mut cells: BTreeMap<Key, Vec<&Cell>> = BTreeMap::new();
    for cell in shares.values().flat_map(|share| &share.cells) {
        cells.entry(key(cell)).or_default().push(cell);
    }
    let sum = |cell: &Cell| sum(&cells[&key(cell)], samples.get(&key(cell)).copied(), expectations);
    let mut matrix: Vec<Cell> = first.matrix.iter().map(sum).collect();
    let baseline = Baseline::of(&matrix);
    matrix.iter_mut().for_each(|cell| baseline.judge(expectations, cell));
    Ok(SoakRecord {
        schema: first.schema,
        seed: first.seed,
        sqlite: first.sqlite.clone(),
        scratch: each(&shares, |share| &share.scratch),
        platform: each(&shares, |share| &share.platform),
        seconds: shares.values().map(|share| share.seconds).sum(),
        interrupted: shares.values().any(|share| share.interrupted),
        matrix,
        shares: shares.into_values().cloned().collect(),
    })
}

/// The numbers of the shares that a record lacks.
pub fn missing(record: &SoakRecord) -> Vec<u64> {
    let known: BTreeSet<u64> = record.shares.iter().map(|share| share.number).collect();
    let of = record.shares.iter().map(|share| share.of).max().unwrap_or(0);
    (1..=of).filter(|number| !known.contains(number)).take(MISSING_MAX).collect()
}

/// So many are listed at most.
const MISSING_MAX: usize = 20;

fn check(record: usize, first: &SoakRecord, other: &SoakRecord) -> Result<(), MergeError> {
    let Some(share) = other.shares.first() else { return Err(MergeError::NoShares(record)) };
    let of = first.shares.first().map_or(0, |share| share.of);
    let cells = |record: &SoakRecord| record.matrix.iter().map(key).collect::<BTreeSet<_>>();
    let shape = |record: &SoakRecord| format!("{} cells of certain strategies and faults", record.matrix.len());
    let differ = |what, found: String, expected: String| Err(MergeError::Other { record, what, found, expected });
    if other.seed != first.seed {
        return differ("seed", other.seed.to_string(), first.seed.to_string());
    }
    if other.sqlite != first.sqlite {
        return differ("SQLite", other.sqlite.clone(), first.sqlite.clone());
    }
    if share.of != of {
        return differ("number of shares", share.of.to_string(), of.to_string());
    }
    if let Some(share) = other.shares.iter().find(|share| share.of != of || !(1..=of).contains(&share.number)) {
        return differ("share", format!("{}/{}", share.number, share.of), format!("one of {of}"));
    }
    if cells(other) != cells(first) {
        return differ("matrix", shape(other), shape(first));
    }
    Ok(())
}

/// A text of the shares, each once.
fn each(shares: &BTreeMap<u64, &Share>, text: impl Fn(&Share) -> &String) -> String {
    let texts: BTreeSet<&str> = shares.values().map(|share| text(share).as_str()).collect();
    texts.into_iter().collect::<Vec<_>>().join(", ")
}

/// The sum of one cell over the shares.
fn sum(parts: &[&Cell], sample: Option<(u64, &RunRecord)>, expectations: &Expectations) -> Cell {
    let mut tally = Tally::default();
    parts.iter().for_each(|cell| tally.add_cell(cell));
    tally.sample = sample.map(|(number, sample)| (number, sample.clone()));
    tally.into_cell(Heading::of_cell(parts[0]), expectations)
}
