//! The proof: all that must be so is derived until nothing new follows, and a cycle is the finding.

use super::facts::{Facts, Install, Read, name, shown};
use super::{Anomaly, End, History, Phenomenon};

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

/// Which transaction must come before which, with all that follows from it.
pub(super) struct Graph {
    edges: Vec<Edge>,
    /// For each transaction a row of bits: the transactions that come after it.
    after: Vec<Vec<u64>>,
}

impl Graph {
    /// What the clock says, and which transaction read which version; a reader that overwrites that version says it of
    /// both.
    pub(super) fn of(facts: &Facts<'_>) -> Self {
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
    pub(super) fn saturate(&mut self, facts: &Facts<'_>) {
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
    pub(super) fn cycle(&self) -> Option<Cycle> {
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

pub(super) struct Cycle {
    phenomenon: Phenomenon,
    needs_clock: bool,
    edges: Vec<Edge>,
}

impl Cycle {
    pub(super) fn describe(&self, history: &History) -> Anomaly {
        let steps: Vec<String> = self.edges.iter().map(|edge| edge.describe(history)).collect();
        let mut phenomenon = self.phenomenon;
        let mut story = steps.join("; ");
        // Two transactions that read the same version and both overwrote it: whichever came second, its read is the
        // only one that stands against the order.
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
    pub(super) fn describe(&self, history: &History) -> String {
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
