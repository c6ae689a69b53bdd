//! `isolation`: transactions see what some serial order of them would show, and real time agrees with that order.
//!
//! A [`History`] says what each transaction read and wrote, and when it began and ended. SQLite lets one writer in at
//! a time and gives every reader one snapshot, so a history is strictly serialisable: there is an order of all
//! transactions in which each read returns the version that the last writer before it left, and in which a
//! transaction that began after another had ended comes after it. Where there is none, the reason is named after
//! Adya, Liskov and O'Neil, "Generalized Isolation Level Definitions" (2000): G0, G1a, G1b, G1c, G-single, G2, with
//! `-realtime` behind it if it takes the clock to see the contradiction (a stale read, a future one).
//!
//! Only proofs are reported. A first pass tries the order in which commits were acknowledged; if every read fits,
//! that order is the witness and nothing is wrong. Otherwise all that must be so is derived until nothing new
//! follows: a transaction comes after the one whose version it read; if it read a version of a key, then another
//! writer of that key comes before that version's writer or after the reader, whichever its place forces. A cycle is
//! the finding. The order of two commits whose calls overlapped is never guessed: either may have come first.
//!
//! What counts: reads of transactions that ended in ROLLBACK count, for SQLite shows them a snapshot as well. An
//! indeterminate transaction is taken as committed if somebody read what it wrote, and as a reader otherwise; as a
//! committed one it may have taken effect after it ended (recovery finds the frames of a process that died).
//!
//! What the caller must see to: no two writes of a key have the same version (reads of such a version are not
//! judged); writes undone by ROLLBACK TO do not appear, unless somebody reads them; a deleted key reads as never
//! written, so delete none that is read; a power cut that may cost commits ends the history, and the next begins with
//! a committed transaction at moment 0 that wrote what was found; a read from a snapshot opened by
//! `sqlite3_snapshot_open` does not belong here.
//!
//! The `adya` crate checks the same anomalies and is not used: it takes only acknowledged writers into account, leaks
//! memory with each check, and stops its search by the wall clock.

use std::fmt;

use super::{Evidence, Oracle, observed};
use crate::actor::Actor;
use crate::verdict::Verdict;

/// What the transactions of a run, or of the part of it up to a power cut, did and saw. In any order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    /// The transactions; findings call them T0, T1, … by their position.
    pub transactions: Vec<Transaction>,
}

/// One transaction as its caller saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transaction {
    /// Whose it is.
    pub actor: Actor,
    /// A logical moment at or before its first call; call numbers will do.
    pub began: u64,
    /// A moment at or after its last call returned.
    pub ended: u64,
    /// What it did, in this order.
    pub ops: Vec<Op>,
    /// How it ended.
    pub end: End,
}

/// One read or write of one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// The key had this version; `None` and 0 stand for "never written".
    Read {
        /// The key.
        key: u64,
        /// What was read.
        version: Option<u64>,
    },
    /// The key was given this version, which no other write gives it.
    Write {
        /// The key.
        key: u64,
        /// What was written, not 0.
        version: u64,
    },
}

impl Op {
    fn key(&self) -> u64 {
        let (Self::Read { key, .. } | Self::Write { key, .. }) = self;
        *key
    }
}

/// How a transaction ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// COMMIT was acknowledged.
    Committed,
    /// It was rolled back, or COMMIT was never tried.
    Aborted,
    /// COMMIT was tried and nobody knows.
    Indeterminate,
}

/// What is wrong, by Adya's names. The order is that of the report: the first is the most basic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phenomenon {
    /// Not Adya's: a version was read that nobody wrote.
    OutOfThinAir,
    /// Not Adya's: a transaction did not see its own write, or saw it before it was made.
    Internal,
    /// Aborted read.
    G1a,
    /// Intermediate read: of a version that its writer overwrote.
    G1b,
    /// Write cycle.
    G0,
    /// Circular information flow.
    G1c,
    /// One anti-dependency closes the cycle: a torn snapshot, an unrepeatable read, a lost update.
    GSingle,
    /// Several anti-dependencies: write skew.
    G2,
}

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Anomaly {
    /// What it is.
    pub phenomenon: Phenomenon,
    /// True if the contradiction needs the order in real time.
    pub needs_clock: bool,
    /// The cycle or the observation, in words.
    pub story: String,
}

impl fmt::Display for Phenomenon {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OutOfThinAir => "out of thin air",
            Self::Internal => "internal",
            Self::G1a => "G1a",
            Self::G1b => "G1b",
            Self::G0 => "G0",
            Self::G1c => "G1c",
            Self::GSingle => "G-single",
            Self::G2 => "G2",
        })
    }
}

impl fmt::Display for Anomaly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let clock = if self.needs_clock { "-realtime" } else { "" };
        write!(f, "{}{clock}: {}", self.phenomenon, self.story)
    }
}

/// What contradicts strict serialisability; empty if nothing provably does. Every bad read is reported, and one
/// cycle.
pub fn check(history: &History) -> Vec<Anomaly> {
    let (facts, mut anomalies) = Facts::of(history);
    if !facts.fits_acknowledgements() {
        let mut graph = Graph::of(&facts);
        graph.saturate(&facts);
        anomalies.extend(graph.cycle().map(|cycle| cycle.describe(history)));
    }
    anomalies.sort_by_key(|anomaly| (anomaly.phenomenon, anomaly.needs_clock));
    anomalies
}

// ------------------------------------------------------------------------------------------------
// What the history says

/// A version that a transaction left, or would have left.
#[derive(Clone, Copy)]
struct Install {
    version: u64,
    txn: usize,
    /// False if the same transaction overwrote it.
    is_last: bool,
    /// False if another write gave the key the same version.
    is_unique: bool,
}

/// A read of something that the transaction had not written itself.
#[derive(Clone, Copy)]
struct Read {
    txn: usize,
    key: usize,
    /// Whose version it was, as a position in [`Facts::installs`]; `None` if the key had never been written.
    from: Option<usize>,
}

/// The history with keys numbered from 0, and reads traced to their writers.
struct Facts<'a> {
    history: &'a History,
    keys: Vec<u64>,
    /// All versions, key by key, by version.
    installs: Vec<Install>,
    /// Where in `installs` the versions of each key begin, and the end.
    starts: Vec<usize>,
    reads: Vec<Read>,
    /// Whether the transaction's writes are there for others.
    is_visible: Vec<bool>,
}

impl<'a> Facts<'a> {
    fn of(history: &'a History) -> (Self, Vec<Anomaly>) {
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
            Some(None) => return Some((Phenomenon::OutOfThinAir, "which nobody wrote".to_owned())),
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
    fn visible_installs(&self, key: usize) -> impl Iterator<Item = (usize, Install)> {
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

fn name(history: &History, txn: usize) -> String {
    format!("{}'s T{txn}", history.transactions[txn].actor)
}

fn shown(key: u64, version: u64) -> String {
    if version == 0 { format!("key {key} as never written") } else { format!("key {key} = {version}") }
}

struct Shown(u64);

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 { f.write_str("nothing") } else { write!(f, "version {}", self.0) }
    }
}

// ------------------------------------------------------------------------------------------------
// The witness

impl Facts<'_> {
    /// Tries the order in which commits were acknowledged, with each reader at the first place where its reads fit.
    /// True proves the history right; false proves nothing.
    fn fits_acknowledgements(&self) -> bool {
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

// ------------------------------------------------------------------------------------------------
// The proof

/// How many cycles of a kind are closed to find a short one.
const CYCLES_MAX: usize = 32;

/// Why one transaction must come before another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Why {
    /// The second overwrote a version of the first.
    WriteWrite,
    /// The second read a version of the first.
    WriteRead,
    /// The second overwrote a version that the first had read.
    ReadWrite,
    /// The second began when the first had ended.
    Clock,
}

#[derive(Clone, Copy, Debug)]
struct Edge {
    from: usize,
    to: usize,
    why: Why,
    key: u64,
    /// The version that was read; of two writes, the later one.
    version: u64,
}

/// Who must come before whom, with all that follows from it.
struct Graph {
    edges: Vec<Edge>,
    /// For each transaction a row of bits: who comes after it.
    after: Vec<Vec<u64>>,
}

impl Graph {
    /// What the clock says, and who read whose version; a reader that overwrites that version says it of both.
    fn of(facts: &Facts<'_>) -> Self {
        let transactions = &facts.history.transactions;
        let count = transactions.len();
        let mut graph = Self { edges: Vec::new(), after: vec![vec![0; count.div_ceil(64)]; count] };
        for (from, earlier) in transactions.iter().enumerate().filter(|(_, txn)| txn.end != End::Indeterminate) {
            let later = (0..count).filter(|to| earlier.ended < transactions[*to].began);
            graph.edges.extend(later.map(|to| Edge { from, to, why: Why::Clock, key: 0, version: 0 }));
        }
        for read in &facts.reads {
            let Some(install) = read.from.map(|at| facts.installs[at]) else { continue };
            let (from, to, key) = (install.txn, read.txn, facts.keys[read.key]);
            graph.edges.push(Edge { from, to, why: Why::WriteRead, key, version: install.version });
            if let Some((_, own)) = facts.visible_installs(read.key).find(|(_, own)| own.txn == read.txn) {
                graph.edges.push(Edge { from, to, why: Why::WriteWrite, key, version: own.version });
            }
        }
        for edge in &graph.edges {
            graph.after[edge.from][edge.to / 64] |= 1 << (edge.to % 64);
        }
        for middle in 0..count {
            let row = graph.after[middle].clone();
            for from in 0..count {
                if from != middle && graph.is_before(from, middle) {
                    merge(&mut graph.after[from], &row);
                }
            }
        }
        graph
    }

    fn is_before(&self, from: usize, to: usize) -> bool {
        self.after[from][to / 64] >> (to % 64) & 1 == 1
    }

    fn is_cyclic(&self) -> bool {
        (0..self.after.len()).any(|txn| self.is_before(txn, txn))
    }

    /// Adds all edges that the reads force, until nothing new follows or there is a contradiction. Behind that,
    /// everything would follow from everything, and the first contradiction tells most.
    fn saturate(&mut self, facts: &Facts<'_>) {
        if self.is_cyclic() {
            return;
        }
        self.order_writers(facts);
        let mut open: Vec<(Read, Install)> = Vec::new();
        for read in &facts.reads {
            let others = facts.visible_installs(read.key).filter(|(at, i)| Some(*at) != read.from && i.txn != read.txn);
            open.extend(others.map(|(_, install)| (*read, install)));
        }
        loop {
            let before = open.len();
            let mut is_sound = true;
            open.retain(|(read, other)| !is_sound || !self.settle(facts, *read, *other, &mut is_sound));
            if open.len() == before || !is_sound {
                return;
            }
        }
    }

    /// Writers of one key whose order is known.
    fn order_writers(&mut self, facts: &Facts<'_>) {
        for key in 0..facts.keys.len() {
            for (_, one) in facts.visible_installs(key) {
                for (_, two) in facts.visible_installs(key).filter(|(_, two)| two.txn != one.txn) {
                    if self.is_before(one.txn, two.txn) {
                        let (key, version) = (facts.keys[key], two.version);
                        self.add(Edge { from: one.txn, to: two.txn, why: Why::WriteWrite, key, version });
                    }
                }
            }
        }
    }

    /// Another writer of a key that was read comes after the reader if it comes after the version's writer, and
    /// before that if it comes before the reader. True if it is known which.
    fn settle(&mut self, facts: &Facts<'_>, read: Read, other: Install, is_sound: &mut bool) -> bool {
        let key = facts.keys[read.key];
        let source = read.from.map(|at| facts.installs[at]);
        let Some(source) = source.filter(|source| !self.is_before(source.txn, other.txn)) else {
            *is_sound = !self.is_before(other.txn, read.txn);
            let version = source.map_or(0, |source| source.version);
            self.add(Edge { from: read.txn, to: other.txn, why: Why::ReadWrite, key, version });
            return true;
        };
        let is_earlier = self.is_before(other.txn, read.txn);
        if is_earlier {
            let (from, to, version) = (other.txn, source.txn, source.version);
            self.add(Edge { from, to, why: Why::WriteWrite, key, version });
        }
        is_earlier
    }

    fn add(&mut self, edge: Edge) {
        self.edges.push(edge);
        if self.is_before(edge.from, edge.to) {
            return;
        }
        let mut row = self.after[edge.to].clone();
        row[edge.to / 64] |= 1 << (edge.to % 64);
        for from in 0..self.after.len() {
            if from == edge.from || self.is_before(from, edge.from) {
                merge(&mut self.after[from], &row);
            }
        }
    }

    /// The most basic cycle there is, and the shortest of the first few of its kind.
    fn cycle(&self) -> Option<Cycle> {
        use Why::{Clock, ReadWrite, WriteRead, WriteWrite};
        const KINDS: [(Phenomenon, Why, &[Why]); 4] = [
            (Phenomenon::G0, WriteWrite, &[WriteWrite]),
            (Phenomenon::G1c, WriteRead, &[WriteWrite, WriteRead]),
            (Phenomenon::GSingle, ReadWrite, &[WriteWrite, WriteRead]),
            (Phenomenon::G2, ReadWrite, &[WriteWrite, WriteRead, ReadWrite]),
        ];
        let on_cycle = |edge: &&Edge| self.is_before(edge.to, edge.from);
        let edges: Vec<Edge> = self.edges.iter().filter(on_cycle).copied().collect();
        [false, true].into_iter().find_map(|needs_clock| {
            KINDS.iter().find_map(|(phenomenon, first, rest)| {
                let allowed = |why| rest.contains(&why) || (needs_clock && why == Clock);
                let steps: Vec<Edge> = edges.iter().filter(|edge| allowed(edge.why)).copied().collect();
                let firsts = edges.iter().filter(|edge| edge.why == *first).take(CYCLES_MAX);
                let edges = firsts.filter_map(|edge| self.close(*edge, &steps)).min_by_key(Vec::len)?;
                Some(Cycle { phenomenon: *phenomenon, needs_clock, edges })
            })
        })
    }

    /// An edge and the shortest way from its end back to its start.
    fn close(&self, first: Edge, steps: &[Edge]) -> Option<Vec<Edge>> {
        let mut reached_by: Vec<Option<(u32, Edge)>> = vec![None; self.after.len()];
        let mut round = 0;
        while reached_by[first.from].is_none() {
            let is_in_front = |txn: usize| match reached_by[txn] {
                None => round == 0 && txn == first.to,
                Some((reached, _)) => reached == round,
            };
            let new = |edge: &&Edge| is_in_front(edge.from) && edge.to != first.to && reached_by[edge.to].is_none();
            let next: Vec<Edge> = steps.iter().filter(new).copied().collect();
            round += 1;
            if next.is_empty() {
                return None;
            }
            next.iter().for_each(|edge| reached_by[edge.to] = Some((round, *edge)));
        }
        let mut path = Vec::new();
        let mut at = first.from;
        while at != first.to {
            let (_, edge) = reached_by[at]?;
            path.push(edge);
            at = edge.from;
        }
        path.push(first);
        path.reverse();
        Some(path)
    }
}

fn merge(into: &mut [u64], row: &[u64]) {
    into.iter_mut().zip(row).for_each(|(into, bits)| *into |= bits);
}

struct Cycle {
    phenomenon: Phenomenon,
    needs_clock: bool,
    edges: Vec<Edge>,
}

impl Cycle {
    fn describe(&self, history: &History) -> Anomaly {
        let steps: Vec<String> = self.edges.iter().map(|edge| edge.describe(history)).collect();
        let mut phenomenon = self.phenomenon;
        let mut story = steps.join("; ");
        // Two who read the same version and both overwrote it: whichever came second, its read is the only one that
        // stands against the order.
        if let [one, two] = self.edges[..]
            && (one.why, two.why, one.key) == (Why::ReadWrite, Why::ReadWrite, two.key)
        {
            phenomenon = Phenomenon::GSingle;
            story = format!("lost update: {story}");
        }
        Anomaly { phenomenon, needs_clock: self.needs_clock, story }
    }
}

impl Edge {
    fn describe(&self, history: &History) -> String {
        let (from, to) = (name(history, self.from), name(history, self.to));
        match self.why {
            Why::WriteWrite => format!("{to} overwrote {from}'s key {} with {}", self.key, self.version),
            Why::WriteRead => format!("{to} read {} of {from}", shown(self.key, self.version)),
            Why::ReadWrite => format!("{from} read {}, which {to} overwrote", shown(self.key, self.version)),
            Why::Clock => {
                let (ended, began) = (history.transactions[self.from].ended, history.transactions[self.to].began);
                format!("{from} had ended at {ended} when {to} began at {began}")
            }
        }
    }
}

/// See the module's documentation.
pub const ORACLE: Oracle = Oracle {
    name: "isolation",
    property: "transactions see what some serial order of them would show, and real time agrees with that order",
    judge,
    canary,
};

fn judge(evidence: &Evidence) -> Vec<(Verdict, String)> {
    let anomalies: Vec<String> = evidence.isolation.iter().flat_map(check).map(|found| found.to_string()).collect();
    let observations = [&evidence.unrepeatable_reads, &anomalies];
    observations.into_iter().filter_map(|notes| observed(Verdict::Corrupt, notes)).collect()
}

fn canary() -> Evidence {
    let ops = vec![Op::Read { key: 1, version: Some(7) }];
    let actor = Actor { process: 1, thread: 1 };
    let reader = Transaction { actor, began: 1, ended: 2, ops, end: End::Committed };
    Evidence { isolation: vec![History { transactions: vec![reader] }], ..Evidence::default() }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::iter;

    use proptest::collection::vec;
    use proptest::prelude::*;
    use proptest::sample::Index;

    use super::*;

    const C: End = End::Committed;
    const A: End = End::Aborted;
    const I: End = End::Indeterminate;

    fn r(key: u64, version: u64) -> Op {
        Op::Read { key, version: Some(version) }
    }

    fn w(key: u64, version: u64) -> Op {
        Op::Write { key, version }
    }

    /// A history of transactions, each of an actor of its own.
    fn history(transactions: &[(u64, u64, &[Op], End)]) -> History {
        let transaction = |(number, (began, ended, ops, end)): (u16, &(u64, u64, &[Op], End))| Transaction {
            actor: Actor { process: number + 1, thread: 1 },
            began: *began,
            ended: *ended,
            ops: ops.to_vec(),
            end: *end,
        };
        History { transactions: (0..).zip(transactions).map(transaction).collect() }
    }

    #[track_caller]
    fn finds(transactions: &[(u64, u64, &[Op], End)], expected: &str) {
        let texts: Vec<String> = check(&history(transactions)).iter().map(Anomaly::to_string).collect();
        assert_eq!(texts.join(" | "), expected);
    }

    #[test]
    fn healthy_histories_pass() {
        finds(&[], "");
        // One after the other, each overwriting what it reads; a deferred reader that sees the state before or after.
        for seen in [1, 2] {
            let reader = [r(1, seen), r(2, seen)];
            finds(&[(1, 2, &[w(1, 1), w(2, 1)], C), (3, 8, &[r(1, 1), w(1, 2), w(2, 2)], C), (4, 7, &reader, C)], "");
        }
        // Two commits whose calls overlapped were acknowledged in the other order.
        finds(&[(1, 9, &[w(1, 1)], C), (2, 8, &[r(1, 1), w(1, 2)], C), (10, 11, &[r(1, 2)], C)], "");
        finds(&[(1, 9, &[w(1, 1)], C), (2, 8, &[w(1, 2)], C), (10, 11, &[r(1, 2)], C)], "");
        // Own writes, repeated reads, and a rollback that leaves nothing.
        finds(&[(1, 2, &[r(1, 0), w(1, 1), r(1, 1), w(1, 2), r(1, 2), r(2, 0), r(2, 0)], C)], "");
        finds(&[(1, 2, &[w(1, 1), r(1, 1)], A), (3, 4, &[r(1, 0), Op::Read { key: 2, version: None }], C)], "");
        // Versions that the caller gave twice are not judged.
        finds(&[(1, 2, &[w(1, 1)], C), (3, 4, &[w(1, 1)], A), (5, 6, &[r(1, 1)], C)], "");
    }

    #[test]
    fn an_indeterminate_commit_may_be_there_or_not_but_not_both() {
        let lost: (u64, u64, &[Op], End) = (1, 2, &[w(1, 1), w(2, 1)], I);
        finds(&[lost, (3, 4, &[r(1, 0), r(2, 0)], C)], "");
        finds(&[lost, (3, 4, &[r(1, 1), r(2, 1)], C)], "");
        // It takes effect when the log is recovered.
        finds(&[lost, (3, 4, &[r(1, 0)], C), (5, 6, &[r(1, 1)], C)], "");
        finds(
            &[lost, (3, 4, &[r(1, 1)], C), (5, 6, &[r(2, 0)], C)],
            "G-single-realtime: p3.t1's T2 read key 2 as never written, which p1.t1's T0 overwrote; \
             p2.t1's T1 read key 1 = 1 of p1.t1's T0; p2.t1's T1 had ended at 4 when p3.t1's T2 began at 5",
        );
        finds(
            &[lost, (3, 4, &[r(1, 1), r(2, 0)], C)],
            "G-single: p2.t1's T1 read key 2 as never written, which p1.t1's T0 overwrote; \
             p2.t1's T1 read key 1 = 1 of p1.t1's T0",
        );
    }

    #[test]
    fn canary_reads_that_are_wrong_by_themselves_are_caught() {
        finds(&[(1, 2, &[r(1, 7)], C)], "out of thin air: p1.t1's T0 read key 1 = 7, which nobody wrote");
        finds(
            &[(1, 9, &[w(1, 1)], A), (2, 3, &[r(1, 1)], C)],
            "G1a: p2.t1's T1 read key 1 = 1, which p1.t1's T0 wrote and rolled back",
        );
        finds(
            &[(1, 9, &[w(1, 1), w(1, 2)], C), (2, 3, &[r(1, 1)], C)],
            "G1b: p2.t1's T1 read key 1 = 1, which p1.t1's T0 wrote and then overwrote itself",
        );
        finds(
            &[(1, 9, &[w(1, 1), r(1, 0)], C)],
            "internal: p1.t1's T0 read key 1 as never written, where it had itself written version 1",
        );
        finds(&[(1, 9, &[r(1, 1), w(1, 1)], C)], "internal: p1.t1's T0 read key 1 = 1, which it wrote only afterwards");
        finds(
            &[(1, 2, &[w(1, 1)], C), (1, 9, &[r(1, 0), r(1, 1)], A)],
            "G-single: p2.t1's T1 read key 1 = 1, where it had read nothing before",
        );
    }

    #[test]
    fn canary_g0_two_writers_each_overwrite_the_other_is_caught() {
        let crossed: [&[Op]; 2] = [&[w(1, 1), r(2, 2), w(2, 1)], &[w(2, 2), r(1, 1), w(1, 2)]];
        finds(
            &[(1, 9, crossed[0], C), (1, 9, crossed[1], C)],
            "G0: p1.t1's T0 overwrote p2.t1's T1's key 2 with 1; p2.t1's T1 overwrote p1.t1's T0's key 1 with 2",
        );
    }

    #[test]
    fn canary_g1c_two_transactions_see_each_others_writes_is_caught() {
        finds(
            &[(1, 9, &[w(1, 1), r(2, 2)], C), (1, 9, &[w(2, 2), r(1, 1)], C)],
            "G1c: p1.t1's T0 read key 2 = 2 of p2.t1's T1; p2.t1's T1 read key 1 = 1 of p1.t1's T0",
        );
        finds(
            &[(1, 2, &[r(1, 1)], C), (3, 4, &[w(1, 1)], C)],
            "G1c-realtime: p1.t1's T0 read key 1 = 1 of p2.t1's T1; p1.t1's T0 had ended at 2 when p2.t1's T1 began at 3",
        );
    }

    #[test]
    fn canary_g_single_a_torn_snapshot_a_lost_update_and_a_stale_read_are_caught() {
        finds(
            &[(1, 9, &[w(1, 1), w(2, 1)], C), (1, 9, &[r(1, 1), r(2, 0)], A)],
            "G-single: p2.t1's T1 read key 2 as never written, which p1.t1's T0 overwrote; \
             p2.t1's T1 read key 1 = 1 of p1.t1's T0",
        );
        finds(
            &[(1, 9, &[r(1, 0), w(1, 1)], C), (1, 9, &[r(1, 0), w(1, 2)], C)],
            "G-single: lost update: p1.t1's T0 read key 1 as never written, which p2.t1's T1 overwrote; \
             p2.t1's T1 read key 1 as never written, which p1.t1's T0 overwrote",
        );
        finds(
            &[(1, 2, &[w(1, 1)], C), (3, 4, &[w(1, 2)], C), (5, 6, &[r(1, 1)], C)],
            "G-single-realtime: p3.t1's T2 read key 1 = 1, which p2.t1's T1 overwrote; \
             p2.t1's T1 had ended at 4 when p3.t1's T2 began at 5",
        );
        // Two readers, one after the other, see the writes in the other order.
        finds(
            &[(1, 9, &[w(1, 1)], C), (2, 3, &[r(1, 1)], C), (4, 5, &[r(1, 0)], C)],
            "G-single-realtime: p3.t1's T2 read key 1 as never written, which p1.t1's T0 overwrote; \
             p2.t1's T1 read key 1 = 1 of p1.t1's T0; p2.t1's T1 had ended at 3 when p3.t1's T2 began at 4",
        );
    }

    #[test]
    fn canary_g2_write_skew_and_a_long_fork_are_caught() {
        finds(
            &[(1, 9, &[r(1, 0), r(2, 0), w(1, 1)], C), (1, 9, &[r(1, 0), r(2, 0), w(2, 1)], C)],
            "G2: p1.t1's T0 read key 2 as never written, which p2.t1's T1 overwrote; \
             p2.t1's T1 read key 1 as never written, which p1.t1's T0 overwrote",
        );
        let readers: [&[Op]; 2] = [&[r(1, 1), r(2, 0)], &[r(1, 0), r(2, 1)]];
        finds(
            &[(1, 9, &[w(1, 1)], C), (1, 9, &[w(2, 1)], C), (1, 9, readers[0], C), (1, 9, readers[1], C)],
            "G2: p3.t1's T2 read key 2 as never written, which p2.t1's T1 overwrote; \
             p4.t1's T3 read key 2 = 1 of p2.t1's T1; \
             p4.t1's T3 read key 1 as never written, which p1.t1's T0 overwrote; \
             p3.t1's T2 read key 1 = 1 of p1.t1's T0",
        );
    }

    #[test]
    fn canary_the_oracle_reports_what_the_check_finds() {
        let stale = history(&[(1, 2, &[w(1, 1)], C), (3, 4, &[r(1, 0), r(2, 5)], C)]);
        let isolation = vec![history(&[(1, 2, &[w(1, 1)], C)]), stale];
        let found = judge(&Evidence { isolation, ..Evidence::default() });
        let detail = "out of thin air: p2.t1's T1 read key 2 = 5, which nobody wrote (2 such observations)";
        assert_eq!(found, [(Verdict::Corrupt, detail.to_owned())]);
        assert_eq!(judge(&Evidence::default()), []);
    }

    /// What a transaction is to do: for each step a key and whether to write it, how it ends, and how long before and
    /// after the moment at which it takes effect its calls begin and end.
    type Plan = (Vec<(u64, bool)>, End, u64, u64);

    fn plans(transactions: usize, ops: usize, keys: u64, slack: u64) -> impl Strategy<Value = Vec<Plan>> {
        let end = prop_oneof![6 => Just(C), 1 => Just(A), 1 => Just(I)];
        vec((vec((0..keys, any::<bool>()), 0..=ops), end, 0..=slack, 0..=slack), 0..=transactions)
    }

    /// What comes out if the transactions are played one after the other.
    fn played(plans: &[Plan]) -> History {
        let mut state = BTreeMap::new();
        let mut next = 0;
        let mut played = History::default();
        for (number, (steps, end, before, after)) in (0_u64..).zip(plans) {
            let mut own = state.clone();
            let mut ops = Vec::new();
            for (key, is_write) in steps {
                if *is_write {
                    next += 1;
                    own.insert(*key, next);
                    ops.push(w(*key, next));
                } else {
                    ops.push(Op::Read { key: *key, version: own.get(key).copied() });
                }
            }
            // Every other indeterminate one turns out to be committed.
            if *end == C || (*end == I && number % 2 == 0) {
                state = own;
            }
            let moment = 1000 + 10 * number;
            let actor = Actor { process: number as u16 % 3 + 1, thread: 1 };
            let (began, ended) = (moment - before, moment + after);
            played.transactions.push(Transaction { actor, began, ended, ops, end: *end });
        }
        played
    }

    /// Makes a read return another version of its key, if there is a read and another version.
    fn mutate(history: &mut History, which: Index, what: Index) {
        let all: Vec<Op> = history.transactions.iter().flat_map(|txn| txn.ops.clone()).collect();
        let ops = history.transactions.iter_mut().flat_map(|txn| &mut txn.ops);
        let mut reads: Vec<&mut Op> = ops.filter(|op| matches!(op, Op::Read { .. })).collect();
        if reads.is_empty() {
            return;
        }
        let Op::Read { key, version } = which.get_mut(&mut reads[..]) else { return };
        let mut versions = vec![None];
        versions.extend(all.iter().filter_map(|op| match op {
            Op::Write { key: other, version } if other == key => Some(Some(*version)),
            _ => None,
        }));
        versions.retain(|other| other != version);
        if !versions.is_empty() {
            *version = *what.get(&versions);
        }
    }

    /// Whether there is an order that explains everything, by trying them all.
    fn explains(history: &History, left: &[usize], placed: u64, state: &BTreeMap<u64, u64>) -> bool {
        let all = &history.transactions;
        if left.is_empty() {
            return true;
        }
        left.iter().enumerate().any(|(position, txn)| {
            let this = &all[*txn];
            let must_wait = |other: &usize| all[*other].ended < this.began && all[*other].end != I;
            if left.iter().any(must_wait) {
                return false;
            }
            let mut rest = left.to_vec();
            rest.remove(position);
            let mut own = state.clone();
            let fits = this.ops.iter().all(|op| match *op {
                Op::Write { key, version } => {
                    own.insert(key, version);
                    true
                }
                Op::Read { key, version } => own.get(&key).copied() == version,
            });
            let placed = placed | 1 << txn;
            fits && ((this.end != A && explains(history, &rest, placed, &own))
                || (this.end != C && explains(history, &rest, placed, state)))
        })
    }

    fn is_explained(history: &History) -> bool {
        let all: Vec<usize> = (0..history.transactions.len()).collect();
        explains(history, &all, 0, &BTreeMap::new())
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn what_really_happened_one_after_the_other_passes(plans in plans(60, 8, 10, 60)) {
            prop_assert_eq!(check(&played(&plans)), []);
        }

        #[test]
        fn canary_a_read_that_returns_another_version_is_caught_when_no_order_explains_it(
            plans in plans(6, 4, 3, 25), which: Index, what: Index, second: Option<(Index, Index)>,
        ) {
            let mut history = played(&plans);
            for (which, what) in iter::once((which, what)).chain(second) {
                mutate(&mut history, which, what);
            }
            let anomalies = check(&history);
            prop_assert_eq!(anomalies.is_empty(), is_explained(&history), "{:?} {:?}", anomalies, history);
        }
    }
}
