//! The images of one cut: which combinations of fates are looked at, and in which order.
//!
//! First everything kept, everything lost, each prefix, each change dropped, each change alone, each prefix of the
//! changes of names, each write torn, extended or smeared; then all subsets of up to [`SUBSETS_MAX`] changes, or
//! samples.

use super::change::ChangeKind;
use super::image::Fate;
use super::page_cache::Dirty;
use super::state::DiskState;
use crate::call::Role;
use crate::seed::Seed;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use std::collections::BTreeSet;
use std::ops::ControlFlow;

/// Of so many pending changes all subsets are looked at.
pub const SUBSETS_MAX: usize = 10;

/// Of so many with [`Enumeration::Full`].
pub const FULL_MAX: usize = 14;

/// The size of the header of a log; what follows are frames, each with salt and checksum.
const LOG_HEADER_BYTES: u64 = 32;

/// How much of the combinations is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Enumeration {
    /// All subsets.
    Exhaustive,
    /// All subsets, of more changes: up to [`FULL_MAX`].
    Full,
    /// Of the frames of a log only prefixes: a frame behind a lost one does not count (wal.c, `walIndexRecover`).
    Pruned,
    /// No subsets but samples.
    Sampled,
}

/// How much was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Coverage {
    /// All subsets.
    Complete,
    /// All that are not the same by the checksums of the log.
    Pruned,
    /// A sample of them.
    Sampled,
    /// Not even all of the first kinds: the visitor has stopped.
    Stopped,
}

/// The combinations to look at.
#[derive(Clone, Copy, Debug)]
pub struct Choices {
    /// How much.
    pub enumeration: Enumeration,
    /// How many samples, where there are too many subsets.
    pub samples: u32,
    /// What the samples are drawn from.
    pub seed: Seed,
}

/// Called with each combination; ends the visit by `Break`.
type Visit<'a> = dyn FnMut(&[Fate]) -> ControlFlow<()> + 'a;

impl Choices {
    /// Visits the combinations that are possible on the disk's device. Some are visited twice.
    pub fn visit(&self, state: &DiskState, visit: &mut Visit<'_>) -> Coverage {
        let mut visit = |fates: &[Fate]| {
            if state.is_possible(fates) { visit(fates) } else { ControlFlow::Continue(()) }
        };
        let dirty = state.device.has_page_cache.then(|| Dirty::of(state));
        if simple(state, dirty.as_ref(), &mut visit).is_break() {
            return Coverage::Stopped;
        }
        let coverage = match &dirty {
            Some(dirty) => self.combinations(state, dirty, &mut visit),
            None => self.subsets(state, &mut visit),
        };
        // After all subsets too: these have no write in part beside one that is lost.
        if coverage != Coverage::Stopped && self.sample(state, &mut visit).is_break() {
            return Coverage::Stopped;
        }
        coverage
    }

    /// Of so many free changes all subsets are looked at.
    fn subsets_max(&self) -> usize {
        if self.enumeration == Enumeration::Full { FULL_MAX } else { SUBSETS_MAX }
    }

    /// All combinations of what a page cache writes back, where these are few.
    fn combinations(&self, state: &DiskState, dirty: &Dirty, visit: &mut Visit<'_>) -> Coverage {
        let is_much = dirty.ways().is_none_or(|ways| ways > 1 << self.subsets_max());
        if self.enumeration == Enumeration::Sampled || is_much {
            return Coverage::Sampled;
        }
        let mut kept = vec![0; dirty.all().len()];
        let mut coverage = Coverage::Complete;
        loop {
            match dirty.fates(state, &kept) {
                Some(fates) if visit(&fates).is_break() => return Coverage::Stopped,
                Some(_) => {}
                None => coverage = Coverage::Sampled,
            }
            if !dirty.advance(&mut kept) {
                return coverage;
            }
        }
    }

    /// All subsets, where these are few.
    fn subsets(&self, state: &DiskState, visit: &mut Visit<'_>) -> Coverage {
        let guarded = |index: &usize| match &state.pending[*index].kind {
            ChangeKind::Write { offset, .. } => {
                state.pending[*index].origin.role == Role::Wal && *offset >= LOG_HEADER_BYTES
            }
            _ => false,
        };
        let all = 0..state.pending.len();
        let (frames, free): (Vec<usize>, Vec<usize>) = match self.enumeration {
            Enumeration::Exhaustive | Enumeration::Full => (Vec::new(), all.collect()),
            Enumeration::Pruned => all.partition(guarded),
            Enumeration::Sampled => return Coverage::Sampled,
        };
        if free.len() > self.subsets_max() {
            return Coverage::Sampled;
        }
        let mut fates = vec![Fate::Lost; state.pending.len()];
        for kept in 0..=frames.len() {
            frames.iter().enumerate().for_each(|(nth, index)| fates[*index] = whether(nth < kept));
            for mask in 0_u32..1 << free.len() {
                free.iter().enumerate().for_each(|(bit, index)| fates[*index] = whether(mask >> bit & 1 == 1));
                if visit(&fates).is_break() {
                    return Coverage::Stopped;
                }
            }
        }
        if frames.len() > 1 { Coverage::Pruned } else { Coverage::Complete }
    }

    fn sample(&self, state: &DiskState, visit: &mut Visit<'_>) -> ControlFlow<()> {
        let mut rng = self.seed.rng();
        (0..self.samples).try_for_each(|_| visit(&draw(state, &mut rng)))
    }
}

/// The simple ones: the moments before each change, each change lost and alone, kinds, names, writes in part.
fn simple(state: &DiskState, dirty: Option<&Dirty>, visit: &mut Visit<'_>) -> ControlFlow<()> {
    prefixes(state, visit)?;
    if dirty.is_none() {
        singles(state, visit)?;
    }
    kinds(state, visit)?;
    names(state, visit)?;
    if let Some(dirty) = dirty {
        units(state, dirty, visit)?;
    }
    parts(state, visit)
}

fn whether(is_kept: bool) -> Fate {
    if is_kept { Fate::Kept } else { Fate::Lost }
}

/// Kept, lost, prefixes.
fn prefixes(state: &DiskState, visit: &mut Visit<'_>) -> ControlFlow<()> {
    let count = state.pending.len();
    let mut fates = vec![Fate::Kept; count];
    visit(&fates)?;
    for kept in 0..count {
        fates.iter_mut().enumerate().for_each(|(index, fate)| *fate = whether(index < kept));
        visit(&fates)?;
    }
    ControlFlow::Continue(())
}

/// Of each kind of change, the writes of one length to one file: all lost, alone, and all lost but one. All pages of a
/// journal without its numbers and checksums are one kind.
fn kinds(state: &DiskState, visit: &mut Visit<'_>) -> ControlFlow<()> {
    let kind = |change: &std::rc::Rc<super::Change>| match &change.kind {
        ChangeKind::Write { file, bytes, .. } => Some((*file, bytes.len())),
        _ => None,
    };
    let kinds: BTreeSet<_> = state.pending.iter().filter_map(kind).collect();
    for one in kinds {
        let is_one = |change: &std::rc::Rc<super::Change>| kind(change) == Some(one);
        let lost: Vec<Fate> = state.pending.iter().map(|change| whether(!is_one(change))).collect();
        visit(&lost)?;
        let alone: Vec<Fate> = state.pending.iter().map(|change| whether(is_one(change))).collect();
        visit(&alone)?;
        for kept in (0..lost.len()).filter(|index| lost[*index] == Fate::Lost) {
            let mut fates = lost.clone();
            fates[kept] = Fate::Kept;
            visit(&fates)?;
        }
    }
    ControlFlow::Continue(())
}

/// Of what the page cache writes back at once, each lost, alone, and as it was before each of its later writes.
fn units(state: &DiskState, dirty: &Dirty, visit: &mut Visit<'_>) -> ControlFlow<()> {
    let all = dirty.all();
    let mut visit = |kept: &[usize]| match dirty.fates(state, kept) {
        Some(fates) => visit(&fates),
        None => ControlFlow::Continue(()),
    };
    for (unit, writes) in all.iter().enumerate() {
        let mut kept = all.clone();
        for count in 0..*writes {
            kept[unit] = count;
            visit(&kept)?;
        }
        kept.fill(0);
        kept[unit] = *writes;
        visit(&kept)?;
    }
    ControlFlow::Continue(())
}

/// Drop one, keep one.
fn singles(state: &DiskState, visit: &mut Visit<'_>) -> ControlFlow<()> {
    let count = state.pending.len();
    let mut fates = vec![Fate::Kept; count];
    for one in 0..count {
        fates.iter_mut().enumerate().for_each(|(index, fate)| *fate = whether(index != one));
        visit(&fates)?;
        fates.iter_mut().enumerate().for_each(|(index, fate)| *fate = whether(index == one));
        visit(&fates)?;
    }
    ControlFlow::Continue(())
}

/// Each prefix of the changes of names, with all of the bytes and with none.
fn names(state: &DiskState, visit: &mut Visit<'_>) -> ControlFlow<()> {
    let entries = state.pending.iter().filter(|change| change.kind.is_entry()).count();
    for kept in 0..entries {
        for bytes in [Fate::Kept, Fate::Lost] {
            let mut nth = 0;
            let fate = |change: &std::rc::Rc<super::Change>| {
                nth += usize::from(change.kind.is_entry());
                if change.kind.is_entry() { whether(nth <= kept) } else { bytes }
            };
            visit(&state.pending.iter().map(fate).collect::<Vec<_>>())?;
        }
    }
    ControlFlow::Continue(())
}

/// Each write in part, with all other changes, and with those before it.
fn parts(state: &DiskState, visit: &mut Visit<'_>) -> ControlFlow<()> {
    for (index, change) in state.pending.iter().enumerate() {
        for part in parts_of(state, &change.kind) {
            let mut fates = vec![Fate::Kept; state.pending.len()];
            fates[index] = part;
            visit(&fates)?;
            fates[index + 1..].fill(Fate::Lost);
            visit(&fates)?;
        }
    }
    ControlFlow::Continue(())
}

/// How a change may arrive in part.
fn parts_of(state: &DiskState, kind: &ChangeKind) -> Vec<Fate> {
    let ChangeKind::Write { offset, bytes, .. } = kind else { return Vec::new() };
    let length = bytes.len() as u32;
    let sector = u64::from(state.device.sector_bytes);
    let mut parts = Vec::new();
    let mut boundary = (offset / sector + 1) * sector - offset;
    while boundary < u64::from(length) {
        parts.push(Fate::Torn { from: 0, to: boundary as u32 });
        parts.push(Fate::Torn { from: boundary as u32, to: length });
        boundary += sector;
    }
    if !state.device.is_sector_atomic && length > 1 {
        parts.push(Fate::Torn { from: 0, to: length / 2 });
        parts.push(Fate::Torn { from: length / 2, to: length });
    }
    parts.extend([Fate::Extended, Fate::Smeared]);
    parts
}

/// Fates that are possible on the device: nothing kept, a prefix, or anything.
pub(super) fn draw(state: &DiskState, rng: &mut ChaCha8Rng) -> Vec<Fate> {
    let count = state.pending.len();
    let kept = rng.random_range(0..=count);
    let mut fates: Vec<Fate> = (0..count).map(|index| whether(index < kept)).collect();
    match rng.random_range(0..8_u8) {
        0 => fates.fill(Fate::Lost),
        1 => {}
        2..=6 if state.device.has_page_cache => {
            let keeps = [0.1, 0.5, 0.9, 0.97][rng.random_range(0..4_usize)];
            let dirty = Dirty::of(state);
            if let Some(drawn) = dirty.fates(state, &dirty.draw(keeps, rng)) {
                fates = drawn;
            }
        }
        density => {
            let keeps = [0.1, 0.5, 0.5, 0.9, 0.97, 0.5][usize::from(density) - 2];
            fates.iter_mut().for_each(|fate| *fate = whether(rng.random_bool(keeps)));
        }
    }
    if count > 0 && rng.random_bool(0.3) {
        let one = rng.random_range(0..count);
        let parts = parts_of(state, &state.pending[one].kind);
        if !parts.is_empty() {
            fates[one] = parts[rng.random_range(0..parts.len())];
        }
    }
    if !state.is_possible(&fates) {
        // Names in order: only those before the first lost one. On a sequential device the same of everything.
        for index in 0..count {
            if !state.is_possible(&fates[..=index]) {
                fates[index] = Fate::Lost;
            }
        }
    }
    fates
}
