//! The page cache: a sector reaches the disk as it is when it is written back, with all writes up to then.
//!
//! So of the pending writes to one sector a cut keeps the first ones, and never a later one without an earlier one.
//! Different sectors are independent of one another, even those of one write. What lies beyond the end of a truncation
//! is gone from the cache as well: what is written there later does not come without the truncation.

use super::change::{ChangeKind, FileId};
use super::image::Fate;
use super::state::DiskState;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use std::collections::{BTreeMap, BTreeSet};

/// What is written back at once, with the pending changes to it in their order: sectors of a file side by side that the
/// same writes have reached. Each change of names, and each truncation, is one of its own.
///
/// That two sectors of one unit are written back at different moments is left to the parts of single writes.
pub(super) struct Dirty {
    units: Vec<Unit>,
}

struct Unit {
    /// The pending changes, in their order.
    changes: Vec<usize>,
    sectors: u64,
}

impl Dirty {
    pub(super) fn of(state: &DiskState) -> Self {
        let mut sectors: BTreeMap<(FileId, u64), Vec<usize>> = BTreeMap::new();
        let mut units: Vec<Unit> = Vec::new();
        for (index, change) in state.pending.iter().enumerate() {
            match &change.kind {
                ChangeKind::Write { file, offset, bytes, .. } => sectors_of(state, *offset, bytes.len())
                    .for_each(|sector| sectors.entry((*file, sector)).or_default().push(index)),
                _ => units.push(Unit { changes: vec![index], sectors: 1 }),
            }
        }
        let mut before = None;
        for ((file, sector), changes) in sectors {
            match units.last_mut() {
                Some(unit) if before == Some((file, sector)) && unit.changes == changes => unit.sectors += 1,
                _ => units.push(Unit { changes, sectors: 1 }),
            }
            before = Some((file, sector + 1));
        }
        Self { units }
    }

    /// How many units there are, and in how many ways they can reach the disk; `None` if these are very many.
    pub(super) fn ways(&self) -> Option<usize> {
        self.units.iter().try_fold(1_usize, |ways, unit| ways.checked_mul(unit.changes.len() + 1))
    }

    /// Of each unit, the number of changes that have reached the disk, all of them.
    pub(super) fn all(&self) -> Vec<usize> {
        self.units.iter().map(|unit| unit.changes.len()).collect()
    }

    /// The next combination after this one, like a number whose digits are those of the units; false after the last.
    pub(super) fn advance(&self, kept: &mut [usize]) -> bool {
        for (digit, unit) in kept.iter_mut().zip(&self.units) {
            if *digit < unit.changes.len() {
                *digit += 1;
                return true;
            }
            *digit = 0;
        }
        false
    }

    /// A random combination. A unit keeps all of its changes with the probability `keeps`, or as many as it likes.
    pub(super) fn draw(&self, keeps: f64, rng: &mut ChaCha8Rng) -> Vec<usize> {
        let count = |Unit { changes, .. }: &Unit| {
            if rng.random_bool(keeps) { changes.len() } else { rng.random_range(0..changes.len()) }
        };
        self.units.iter().map(count).collect()
    }

    /// The fates of the pending changes; `None` where what is left of a write is in several parts, which no fate says.
    pub(super) fn fates(&self, state: &DiskState, kept: &[usize]) -> Option<Vec<Fate>> {
        // Of each change, how many of its sectors it reached, in their order.
        let mut reached: Vec<Vec<bool>> = vec![Vec::new(); state.pending.len()];
        for (unit, kept) in self.units.iter().zip(kept) {
            let changes = unit.changes.iter().enumerate();
            changes.for_each(|(nth, index)| reached[*index].extend((0..unit.sectors).map(|_| nth < *kept)));
        }
        state.pending.iter().zip(&reached).map(|(change, reached)| fate(state, &change.kind, reached)).collect()
    }
}

/// True if no write is kept in a sector without the earlier ones of that sector, and none beyond the end of an earlier
/// truncation without the truncation, nor a truncation without an earlier one.
pub(super) fn is_in_order(state: &DiskState, fate_of: impl Fn(usize) -> Fate) -> bool {
    let mut lost_sectors: BTreeSet<(FileId, u64)> = BTreeSet::new();
    let mut lost_truncations: BTreeMap<FileId, u64> = BTreeMap::new();
    state.pending.iter().enumerate().all(|(index, change)| match &change.kind {
        ChangeKind::Write { file, offset, bytes, .. } => {
            let fate = fate_of(index);
            let (from, to) = kept_range(fate, bytes.len());
            let end = lost_truncations.get(file).copied().unwrap_or(u64::MAX);
            let is_whole = sectors_of(state, *offset, bytes.len()).all(|sector| {
                let (start, stop) = part_of(state, *offset, bytes.len(), sector);
                let is_kept = from <= start && stop <= to;
                let was_lost = lost_sectors.contains(&(*file, sector));
                // A later write would bring the rest of a smeared sector back.
                if !is_kept || fate == Fate::Smeared {
                    lost_sectors.insert((*file, sector));
                }
                is_kept && !was_lost || !is_kept && (to <= start || stop <= from)
            });
            let reach = if fate == Fate::Extended { bytes.len() as u64 } else { to };
            is_whole && (from == to && fate != Fate::Extended || offset + reach <= end)
        }
        ChangeKind::Truncate { file, length } => {
            if fate_of(index) != Fate::Lost {
                return !lost_truncations.contains_key(file);
            }
            let end = lost_truncations.entry(*file).or_insert(*length);
            *end = (*end).min(*length);
            true
        }
        _ => true,
    })
}

/// The numbers of the sectors that a write touches.
fn sectors_of(state: &DiskState, offset: u64, length: usize) -> std::ops::Range<u64> {
    let sector = u64::from(state.device.sector_bytes);
    offset / sector..(offset + length as u64).div_ceil(sector)
}

/// The bytes of a write that lie in a sector, counted from the write's first one.
fn part_of(state: &DiskState, offset: u64, length: usize, sector: u64) -> (u64, u64) {
    let bytes = u64::from(state.device.sector_bytes);
    let start = (sector * bytes).max(offset) - offset;
    (start, ((sector + 1) * bytes - offset).min(length as u64))
}

/// The bytes of a write that a fate keeps.
fn kept_range(fate: Fate, length: usize) -> (u64, u64) {
    match fate {
        Fate::Kept | Fate::Smeared => (0, length as u64),
        Fate::Torn { from, to } => (from.into(), to.into()),
        Fate::Lost | Fate::Extended => (0, 0),
    }
}

fn fate(state: &DiskState, kind: &ChangeKind, reached: &[bool]) -> Option<Fate> {
    let Some(first) = reached.iter().position(|is_kept| *is_kept) else { return Some(Fate::Lost) };
    let count = reached[first..].iter().take_while(|is_kept| **is_kept).count();
    if count == reached.len() {
        return Some(Fate::Kept);
    }
    let ChangeKind::Write { offset, bytes, .. } = kind else { return None };
    if reached[first + count..].contains(&true) {
        return None;
    }
    let mut sectors = sectors_of(state, *offset, bytes.len()).skip(first).take(count);
    let first = sectors.next()?;
    let last = sectors.last().unwrap_or(first);
    let (from, to) = (part_of(state, *offset, bytes.len(), first).0, part_of(state, *offset, bytes.len(), last).1);
    Some(Fate::Torn { from: u32::try_from(from).ok()?, to: u32::try_from(to).ok()? })
}
