//! What a history says: versions, and reads traced to their writers. And the first pass: does the order in which
//! commits were acknowledged explain every read?

use super::{Anomaly, End, History, Op, Phenomenon};
use std::fmt;

/// A version that a transaction left, or would have left.
#[derive(Clone, Copy)]
pub(super) struct Install {
    pub(super) version: u64,
    pub(super) txn: usize,
    /// False if the same transaction overwrote it.
    is_last: bool,
    /// False if another write gave the key the same version.
    is_unique: bool,
}

/// A read of something that the transaction had not written itself.
#[derive(Clone, Copy)]
pub(super) struct Read {
    pub(super) txn: usize,
    pub(super) key: usize,
    /// The version, as a position in [`Facts::installs`]; `None` if the key had never been written.
    pub(super) from: Option<usize>,
}

/// The history with keys numbered from 0, and reads traced to their writers.
pub(super) struct Facts<'a> {
    pub(super) history: &'a History,
    pub(super) keys: Vec<u64>,
    /// All versions, key by key, by version.
    pub(super) installs: Vec<Install>,
    /// Where in `installs` the versions of each key begin, and the end.
    starts: Vec<usize>,
    pub(super) reads: Vec<Read>,
    /// Whether the transaction's writes are there for others.
    pub(super) is_visible: Vec<bool>,
}

impl<'a> Facts<'a> {
    pub(super) fn of(history: &'a History) -> (Self, Vec<Anomaly>) {
        let is_visible = history.transactions.iter().map(|txn| txn.end == End::Committed).collect();
        let (keys, reads, starts) = (sorted_keys(history), Vec::new(), Vec::new());
        let mut facts = Self { history, keys, installs: Vec::new(), starts, reads, is_visible };
        facts.collect_installs();
        let anomalies = facts.collect_reads();
        (facts, anomalies)
    }

    fn key(&self, key: u64) -> usize {
        self.keys.binary_search(&key).unwrap_or_default()
    }

    fn collect_installs(&mut self) {
        let mut found: Vec<(usize, Install)> = Vec::new();
        for (txn, transaction) in self.history.transactions.iter().enumerate() {
            let first = found.len();
            for op in &transaction.ops {
                let Op::Write { key, version } = *op else { continue };
                let key = self.key(key);
                for (_, earlier) in found[first..].iter_mut().filter(|(other, _)| *other == key) {
                    earlier.is_last = false;
                }
                found.push((key, Install { version, txn, is_last: true, is_unique: true }));
            }
        }
        found.sort_unstable_by_key(|(key, install)| (*key, install.version));
        for at in 1..found.len() {
            if (found[at - 1].0, found[at - 1].1.version) == (found[at].0, found[at].1.version) {
                found[at - 1].1.is_unique = false;
                found[at].1.is_unique = false;
            }
        }
        self.starts = vec![0; self.keys.len() + 1];
        found.iter().for_each(|(key, _)| self.starts[key + 1] += 1);
        (0..self.keys.len()).for_each(|key| self.starts[key + 1] += self.starts[key]);
        self.installs = found.into_iter().map(|(_, install)| install).collect();
    }

    fn collect_reads(&mut self) -> Vec<Anomaly> {
        let mut anomalies = Vec::new();
        // What each key is to the transaction at hand: what it last wrote or saw there.
        let mut views: Vec<View> = vec![View::default(); self.keys.len()];
        for (txn, transaction) in self.history.transactions.iter().enumerate() {
            for op in &transaction.ops {
                match *op {
                    Op::Write { key, version } => {
                        views[self.key(key)] = View { txn: Some(txn), version, is_own: true };
                    }
                    Op::Read { key, version } => {
                        let (number, version) = (self.key(key), version.unwrap_or(0));
                        let view = views[number];
                        if view.txn == Some(txn) && view.version == version {
                            continue;
                        }
                        let known = (view.txn == Some(txn)).then_some(view);
                        let verdict = self.trace(txn, number, version, known);
                        anomalies.extend(verdict.map(|(phenomenon, why)| {
                            let story = format!("{} read {}, {why}", name(self.history, txn), shown(key, version));
                            Anomaly { phenomenon, needs_clock: false, story }
                        }));
                        if known.is_none() {
                            views[number] = View { txn: Some(txn), version, is_own: false };
                        }
                    }
                }
            }
        }
        anomalies
    }

    /// Finds the writer of a version that was read. Says what is wrong if that alone shows it.
    fn trace(&mut self, txn: usize, key: usize, version: u64, known: Option<View>) -> Option<(Phenomenon, String)> {
        let from = if version == 0 { None } else { Some(self.install_of(key, version)) };
        let install = match from {
            Some(None) => return Some((Phenomenon::OutOfThinAir, "which no transaction wrote".to_owned())),
            Some(Some(at)) => Some(self.installs[at]),
            None => None,
        };
        if install.is_some_and(|install| !install.is_unique) {
            return None;
        }
        if let Some(View { version, is_own: true, .. }) = known {
            return Some((Phenomenon::Internal, format!("where it had itself written version {version}")));
        }
        if let Some(install) = install {
            if install.txn == txn {
                return Some((Phenomenon::Internal, "which it wrote only afterwards".to_owned()));
            }
            let writer = || name(self.history, install.txn);
            if self.history.transactions[install.txn].end == End::Aborted {
                return Some((Phenomenon::G1a, format!("which {} wrote and rolled back", writer())));
            }
            if !install.is_last {
                return Some((Phenomenon::G1b, format!("which {} wrote and then overwrote itself", writer())));
            }
            self.is_visible[install.txn] = true;
        }
        if let Some(View { version, .. }) = known {
            return Some((Phenomenon::GSingle, format!("where it had read {} before", Shown(version))));
        }
        self.reads.push(Read { txn, key, from: from.flatten() });
        None
    }

    fn install_of(&self, key: usize, version: u64) -> Option<usize> {
        let (start, end) = (self.starts[key], self.starts[key + 1]);
        let at = self.installs[start..end].binary_search_by_key(&version, |install| install.version).ok()?;
        Some(start + at)
    }

    /// What others can see of a key's versions.
    pub(super) fn visible_installs(&self, key: usize) -> impl Iterator<Item = (usize, Install)> {
        let range = self.starts[key]..self.starts[key + 1];
        range.map(|at| (at, self.installs[at])).filter(|(_, install)| install.is_last && self.is_visible[install.txn])
    }
}

#[derive(Clone, Copy, Default)]
struct View {
    txn: Option<usize>,
    version: u64,
    is_own: bool,
}

fn sorted_keys(history: &History) -> Vec<u64> {
    let ops = history.transactions.iter().flat_map(|txn| &txn.ops);
    let mut keys: Vec<u64> = ops.map(|op| op.key()).collect();
    keys.sort_unstable();
    keys.dedup();
    keys
}

pub(super) fn name(history: &History, txn: usize) -> String {
    format!("{}'s T{txn}", history.transactions[txn].actor)
}

pub(super) fn shown(key: u64, version: u64) -> String {
    if version == 0 { format!("key {key} as never written") } else { format!("key {key} = {version}") }
}

struct Shown(u64);

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 { f.write_str("nothing") } else { write!(f, "version {}", self.0) }
    }
}

impl Facts<'_> {
    /// Tries the order in which commits were acknowledged, with each reader at the first place where its reads fit.
    /// True proves the history right; false proves nothing.
    pub(super) fn fits_acknowledgements(&self) -> bool {
        let transactions = &self.history.transactions;
        let mut writers: Vec<usize> = (0..transactions.len()).filter(|txn| self.is_visible[*txn]).collect();
        writers.retain(|txn| transactions[*txn].ops.iter().any(|op| matches!(op, Op::Write { .. })));
        writers.sort_by_key(|txn| transactions[*txn].ended);
        let mut places = vec![None; transactions.len()];
        writers.iter().enumerate().for_each(|(place, txn)| places[*txn] = Some(place));
        let mut windows = vec![(0, writers.len()); transactions.len()];
        self.fit_reads(&places, &mut windows);
        let began_max: Vec<u64> = writers
            .iter()
            .scan(0, |max, txn| {
                *max = transactions[*txn].began.max(*max);
                Some(*max)
            })
            .collect();
        let (mut by_start, mut by_end) = (Vec::new(), Vec::new());
        for (txn, transaction) in transactions.iter().enumerate() {
            let (low, high) = &mut windows[txn];
            *low = (*low).max(writers.partition_point(|w| transactions[*w].ended < transaction.began));
            *high = (*high).min(began_max.partition_point(|began| *began <= transaction.ended));
            if let Some(place) = places[txn] {
                // Committed at its own place, in the state that the writers before it left.
                if !(*low..=*high).contains(&place) {
                    return false;
                }
            } else {
                by_start.push(txn);
                by_end.push(txn);
            }
        }
        by_start.sort_by_key(|txn| transactions[*txn].began);
        by_end.sort_by_key(|txn| transactions[*txn].ended);
        // Readers that follow one another in real time must not go back.
        let (mut ended, mut low_min) = (by_end.into_iter().peekable(), 0);
        by_start.into_iter().all(|txn| {
            while let Some(earlier) = ended.next_if(|e| transactions[*e].ended < transactions[txn].began) {
                low_min = low_min.max(windows[earlier].0);
            }
            let (low, high) = &mut windows[txn];
            *low = (*low).max(low_min);
            low <= high
        })
    }

    /// Narrows down where each transaction can stand, as a number of writers before it, by what it read.
    fn fit_reads(&self, places: &[Option<usize>], windows: &mut [(usize, usize)]) {
        let mut chain: Vec<(usize, usize)> = Vec::new();
        let mut spans = vec![(usize::MAX, 0); self.installs.len()];
        let mut first_writes = vec![usize::MAX; self.keys.len()];
        for (key, first_write) in first_writes.iter_mut().enumerate() {
            chain.clear();
            chain.extend(self.visible_installs(key).filter_map(|(at, install)| Some((places[install.txn]?, at))));
            chain.sort_unstable();
            *first_write = chain.first().map_or(usize::MAX, |(place, _)| *place);
            for (number, (place, at)) in chain.iter().enumerate() {
                spans[*at] = (place + 1, chain.get(number + 1).map_or(usize::MAX, |(next, _)| *next));
            }
        }
        for read in &self.reads {
            let (from, to) = read.from.map_or((0, first_writes[read.key]), |at| spans[at]);
            let (low, high) = &mut windows[read.txn];
            (*low, *high) = ((*low).max(from), (*high).min(to));
        }
    }
}
