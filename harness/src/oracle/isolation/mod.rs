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
//! indeterminate transaction is taken as committed if another transaction read what it wrote, and as a reader
//! otherwise; as a committed one it may have taken effect after it ended (recovery finds the frames of a process that
//! died).
//!
//! What the caller must see to: no two writes of a key have the same version (reads of such a version are not
//! judged); writes undone by ROLLBACK TO do not appear, unless a transaction reads them; a deleted key reads as never
//! written, so delete none that is read; a power cut that may cost commits ends the history, and the next begins with
//! a committed transaction at moment 0 that wrote what was found; a read from a snapshot opened by
//! `sqlite3_snapshot_open` does not belong here.
//!
//! The `adya` crate checks the same anomalies and is not used: it takes only acknowledged writers into account, leaks
//! memory with each check, and stops its search by the wall clock.

use super::{Evidence, Oracle, observed};
use crate::actor::Actor;
use crate::verdict::Verdict;
use facts::Facts;
use graph::Graph;
use std::fmt;

mod facts;
mod graph;

#[cfg(test)]
mod tests;

/// What the transactions of a run, or of the part of it up to a power cut, did and saw. In any order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    /// The transactions; findings call them T0, T1, … by their position.
    pub transactions: Vec<Transaction>,
}

/// One transaction as its caller saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transaction {
    /// The actor that made it.
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
///
/// A closed list: histories consist of reads and writes (Adya).
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
///
/// A closed list: how a transaction can end for its client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// COMMIT was acknowledged.
    Committed,
    /// It was rolled back, or COMMIT was never tried.
    Aborted,
    /// COMMIT was tried, and its outcome is unknown.
    Indeterminate,
}

/// What is wrong, by Adya's names. The order is that of the report: the first is the most basic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Phenomenon {
    /// Not Adya's: a version was read that no transaction wrote.
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
