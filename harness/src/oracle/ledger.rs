//! `ledger`: every acknowledged commit is there, unchanged, and nothing is there that was refused.
//!
//! The model is held outside the database and knows, for each transaction, the set of states that an honest database
//! may be in. An acknowledged commit leaves one; a commit with an unknown outcome adds one; a refusal adds none.
//!
//! Where outsiders act on the files, the question is *where* a transaction is: in the database; in a file that was
//! moved, with its log; in a copy that an error or event announced; or nowhere. Nowhere is a loss, with one exception:
//! what was acknowledged before an outsider acted may be gone if a process was killed afterwards, or if no process had
//! the database open, because no process could save it.

use crate::actor::Actor;
use crate::oracle::table::{Table, TxnKey, TxnState};
use crate::oracle::{Evidence, Oracle, observed};
use crate::verdict::Verdict;
use std::collections::{BTreeMap, BTreeSet};

/// A file beside the database in which transactions are found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// Its name, and that of its log.
    pub name: String,
    /// The ledger's table in it.
    pub table: Table,
}

/// What the callers were told.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    entries: BTreeMap<TxnKey, Entry>,
    losses_seen: Vec<String>,
    /// The transactions that a reader missed during the run.
    missed: BTreeSet<TxnKey>,
    acked: u64,
    refused: u64,
    indeterminate: u64,
}

#[derive(Clone, Debug)]
struct Entry {
    /// True once a commit of this transaction was acknowledged.
    acked: bool,
    /// The number of the call that was next when it was acknowledged last.
    acked_at_call: u64,
    possible: BTreeSet<TxnState>,
    /// States that a refused transaction would have led to.
    refused: BTreeSet<TxnState>,
}

impl Default for Entry {
    fn default() -> Self {
        Self { acked: false, acked_at_call: 0, possible: BTreeSet::from([TxnState::Absent]), refused: BTreeSet::new() }
    }
}

impl Ledger {
    /// COMMIT returned success, and the transaction's rows are in this state now.
    pub fn acked(&mut self, key: TxnKey, state: TxnState) {
        self.acked_at(key, state, 0);
    }

    /// The same, in a run with outsiders; the next call has the number `at_call`.
    pub fn acked_at(&mut self, key: TxnKey, state: TxnState, at_call: u64) {
        self.acked += 1;
        let entry = self.entries.entry(key).or_default();
        entry.acked_at_call = at_call;
        entry.acked = true;
        entry.possible = BTreeSet::from([state]);
        entry.refused.remove(&state);
    }

    /// COMMIT was tried and its outcome is unknown; if it succeeded, the rows are in this state.
    pub fn indeterminate(&mut self, key: TxnKey, state: TxnState) {
        self.indeterminate += 1;
        self.entries.entry(key).or_default().possible.insert(state);
    }

    /// The transaction ended in an error before COMMIT was tried; it would have led to this state.
    pub fn refused(&mut self, key: TxnKey, state: TxnState) {
        self.refused += 1;
        self.entries.entry(key).or_default().refused.insert(state);
    }

    /// An operation that changes nothing was refused.
    pub fn refused_read(&mut self) {
        self.refused += 1;
    }

    /// The transaction's own actor saw its rows in this state, and changed nothing.
    pub fn observed(&mut self, key: TxnKey, state: TxnState) {
        let entry = self.entries.entry(key).or_default();
        if !entry.possible.contains(&state) {
            let expected = describe(&entry.possible);
            self.missed.insert(key);
            self.losses_seen.push(format!("{key} was {state} when it was to be changed, not {expected}"));
        }
    }

    /// `actor` read its own transactions, between two of them.
    pub fn read(&mut self, actor: Actor, table: &Table) {
        for (key, state, entry) in self.mismatches_among(table, |key| key.actor == actor) {
            let expected = describe(&entry.possible);
            self.missed.insert(key);
            self.losses_seen.push(format!("a read by {actor} saw its transaction {} {state}, not {expected}", key.txn));
        }
    }

    /// Counts of acknowledged, refused and indeterminate operations.
    pub fn counts(&self) -> (u64, u64, u64) {
        (self.acked, self.refused, self.indeterminate)
    }

    /// The transactions whose state is none of the possible ones.
    fn mismatches(&self, table: &Table) -> Vec<(TxnKey, TxnState, Entry)> {
        self.mismatches_among(table, |_| true)
    }

    /// The same, of the transactions that are looked at. Honest ones are passed over without a copy: there is a look
    /// after each read of each actor.
    fn mismatches_among(&self, table: &Table, looked_at: impl Fn(&TxnKey) -> bool) -> Vec<(TxnKey, TxnState, Entry)> {
        let known = self.entries.iter().filter(|(key, _)| looked_at(key)).filter_map(|(key, entry)| {
            let state = table.get(key).copied().unwrap_or(TxnState::Absent);
            (!entry.possible.contains(&state)).then(|| (*key, state, entry.clone()))
        });
        let unknown = table.iter().filter(|(key, _)| looked_at(key) && !self.entries.contains_key(key));
        let unknown = unknown.filter(|(_, state)| **state != TxnState::Absent);
        known.chain(unknown.map(|(key, state)| (*key, *state, Entry::default()))).collect()
    }
}

/// Rows that only a refused transaction would have written are no loss but a transaction that should not be there; so
/// are rows of which nothing was ever acknowledged. Rows that are gone are a loss, even if their deletion was
/// refused.
fn is_loss(state: TxnState, entry: &Entry) -> bool {
    entry.acked && (state == TxnState::Absent || !entry.refused.contains(&state))
}

fn describe(possible: &BTreeSet<TxnState>) -> String {
    possible.iter().map(TxnState::to_string).collect::<Vec<_>>().join(" or ")
}

/// See the module's documentation.
pub const ORACLE: Oracle = Oracle {
    name: "ledger",
    property: "every acknowledged commit is there, unchanged, and nothing is there that was refused",
    judge,
    canary,
};

/// How many transactions that were acknowledged are nowhere as they were acknowledged, at the end or, without
/// outsiders, when their own actor looked.
pub fn lost(evidence: &Evidence) -> u64 {
    if evidence.table.is_none() {
        return evidence.ledger.acked;
    }
    lost_transactions(evidence).len() as u64
}

/// These transactions. If the table cannot be read, all of them.
pub fn lost_transactions(evidence: &Evidence) -> BTreeSet<TxnKey> {
    let Some(table) = &evidence.table else {
        return evidence.ledger.entries.iter().filter(|(_, entry)| entry.acked).map(|(key, _)| *key).collect();
    };
    let missed = evidence.ledger.missed.iter().copied().filter(|_| !evidence.has_outsiders());
    gone(evidence, table).into_iter().map(|(key, ..)| key).chain(missed).collect()
}

/// The losses at the end.
fn gone(evidence: &Evidence, table: &Table) -> Vec<(TxnKey, TxnState, Entry)> {
    let mut gone = evidence.ledger.mismatches(table);
    gone.retain(|(key, state, entry)| {
        is_loss(*state, entry) && !is_elsewhere(evidence, key, entry) && !is_excused(evidence, entry)
    });
    gone
}

fn is_elsewhere(evidence: &Evidence, key: &TxnKey, entry: &Entry) -> bool {
    let state_in = |place: &Place| place.table.get(key).copied().unwrap_or(TxnState::Absent);
    evidence.places.iter().any(|place| entry.possible.contains(&state_in(place)))
}

/// True if an outsider acted after the transaction was acknowledged, and a process was killed then or later, or none
/// had the database open. It is not known when another strategy's process did harm.
fn is_excused(evidence: &Evidence, entry: &Entry) -> bool {
    let since = |at_call: u64| evidence.deaths.iter().any(|death| *death >= at_call);
    let is_open = |at_call: u64| evidence.open_spans.iter().any(|(from, to)| (*from..=*to).contains(&at_call));
    let later = |at_call: u64| at_call >= entry.acked_at_call && (since(at_call) || !is_open(at_call));
    evidence.has_foreign_process && since(entry.acked_at_call)
        || evidence.interventions.iter().any(|intervened| later(intervened.at_call))
}

fn judge(evidence: &Evidence) -> Vec<(Verdict, String)> {
    let ledger = &evidence.ledger;
    // After an outsider has acted, an actor may look at another file than the one that it wrote to.
    let seen = Some(&ledger.losses_seen).filter(|_| !evidence.has_outsiders());
    let mut findings: Vec<_> = seen.and_then(|seen| observed(Verdict::Lost, seen)).into_iter().collect();
    let Some(table) = &evidence.table else {
        if ledger.acked > 0 {
            let detail = format!("the table cannot be read at the end; {} commits were acknowledged", ledger.acked);
            findings.push((Verdict::Lost, detail));
        }
        return findings;
    };
    let lost = gone(evidence, table);
    if let Some((key, state, entry)) = lost.first() {
        let first = format!("{key} is {state}, was acknowledged as {}", describe(&entry.possible));
        let detail = format!("{} of {} acknowledged transactions lost; first: {first}", lost.len(), ledger.acked);
        findings.push((Verdict::Lost, detail));
    }
    let phantoms = ledger.mismatches(table).into_iter().filter(|(_, state, entry)| !is_loss(*state, entry));
    let phantom: Vec<_> = phantoms.collect();
    if let Some((key, state, _)) = phantom.first() {
        let detail =
            format!("{} transactions are there that were never acknowledged; first: {key}, {state}", phantom.len());
        findings.push((Verdict::Corrupt, detail));
    }
    findings
}

fn canary() -> Evidence {
    let mut ledger = Ledger::default();
    ledger.acked(TxnKey { actor: Actor { process: 1, thread: 1 }, txn: 1 }, TxnState::Whole(0));
    Evidence { ledger, table: Some(Table::new()), ..Evidence::default() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracle::Intervened;
    use crate::oracle::table::tests::key;
    use crate::outsider::OutsideAction;

    fn verdicts(ledger: &Ledger, rows: &[(u32, TxnState)]) -> Vec<Verdict> {
        let table = rows.iter().map(|(txn, state)| (key(*txn), *state)).collect();
        let evidence = Evidence { ledger: ledger.clone(), table: Some(table), ..Evidence::default() };
        judge(&evidence).into_iter().map(|(verdict, _)| verdict).collect()
    }

    fn count(ledger: &Ledger, table: Table) -> u64 {
        lost(&Evidence { ledger: ledger.clone(), table: Some(table), ..Evidence::default() })
    }

    #[test]
    fn canary_a_transaction_that_is_nowhere_is_caught() {
        let mut ledger = Ledger::default();
        ledger.acked_at(key(1), TxnState::Whole(0), 10);
        let moved_at = |at_call| vec![Intervened { at_call, action: OutsideAction::Move }];
        let place = |state| vec![Place { name: "x.db.moved-1".to_owned(), table: Table::from([(key(1), state)]) }];
        #[track_caller]
        fn check(ledger: &Ledger, evidence: Evidence, expected: u64) {
            let evidence = Evidence { ledger: ledger.clone(), table: Some(Table::new()), ..evidence };
            assert_eq!((lost(&evidence), judge(&evidence).len() as u64), (expected, expected));
            assert_eq!(lost_transactions(&evidence).contains(&key(1)), expected > 0);
        }
        let evidence = || Evidence { interventions: moved_at(12), open_spans: vec![(0, 20)], ..Evidence::default() };
        check(&ledger, evidence(), 1);
        check(&ledger, Evidence { places: place(TxnState::Whole(0)), ..evidence() }, 0);
        check(&ledger, Evidence { places: place(TxnState::Whole(7)), ..evidence() }, 1);
        check(&ledger, Evidence { deaths: vec![13], ..evidence() }, 0);
        check(&ledger, Evidence { deaths: vec![11], ..evidence() }, 1);
        check(&ledger, Evidence { open_spans: vec![(0, 11), (13, 20)], ..evidence() }, 0);
        check(&ledger, Evidence { has_foreign_process: true, deaths: vec![13], ..Evidence::default() }, 0);
        let early = Evidence { interventions: moved_at(9), deaths: vec![13], ..evidence() };
        check(&ledger, early, 1);
    }

    #[test]
    fn an_indeterminate_commit_may_be_there_or_not() {
        let mut ledger = Ledger::default();
        ledger.acked(key(1), TxnState::Whole(0));
        ledger.indeterminate(key(1), TxnState::Whole(1));
        ledger.indeterminate(key(2), TxnState::Whole(0));
        assert_eq!(verdicts(&ledger, &[(1, TxnState::Whole(0))]), []);
        assert_eq!(verdicts(&ledger, &[(1, TxnState::Whole(1)), (2, TxnState::Whole(0))]), []);
        assert_eq!(verdicts(&ledger, &[(1, TxnState::Whole(2))]), [Verdict::Lost]);
    }

    #[test]
    fn canary_a_lost_row_a_lost_update_and_an_undone_deletion_are_caught() {
        let mut ledger = Ledger::default();
        ledger.acked(key(1), TxnState::Whole(0));
        assert_eq!(verdicts(&ledger, &[(1, TxnState::Whole(0))]), []);
        assert_eq!(verdicts(&ledger, &[]), [Verdict::Lost], "the row is gone");
        assert_eq!(verdicts(&ledger, &[(1, TxnState::Torn)]), [Verdict::Lost], "some of its rows are gone");
        ledger.acked(key(1), TxnState::Whole(1));
        assert_eq!(verdicts(&ledger, &[(1, TxnState::Whole(0))]), [Verdict::Lost], "the update is gone");
        ledger.refused(key(2), TxnState::Whole(0));
        ledger.acked(key(1), TxnState::Absent);
        assert_eq!(verdicts(&ledger, &[(1, TxnState::Whole(1))]), [Verdict::Lost], "the deletion is undone");
        assert_eq!(count(&ledger, Table::from([(key(1), TxnState::Whole(1))])), 1);
        ledger.acked(key(3), TxnState::Whole(3));
        ledger.refused(key(3), TxnState::Absent);
        assert_eq!(verdicts(&ledger, &[]), [Verdict::Lost], "gone, though its deletion was refused");
        ledger.acked(key(3), TxnState::Absent);
        assert_eq!(count(&ledger, Table::new()), 0);
    }

    #[test]
    fn canary_a_refused_transaction_that_is_there_is_caught() {
        let mut ledger = Ledger::default();
        ledger.refused(key(1), TxnState::Whole(0));
        assert_eq!(verdicts(&ledger, &[]), []);
        assert_eq!(verdicts(&ledger, &[(1, TxnState::Whole(0))]), [Verdict::Corrupt]);
        assert_eq!(verdicts(&ledger, &[(9, TxnState::Whole(0))]), [Verdict::Corrupt], "no transaction wrote it");
    }

    #[test]
    fn canary_a_reader_that_misses_its_own_commit_is_caught() {
        let mut ledger = Ledger::default();
        ledger.acked(key(1), TxnState::Whole(0));
        ledger.read(Actor { process: 9, thread: 9 }, &Table::new());
        assert_eq!(verdicts(&ledger, &[(1, TxnState::Whole(0))]), [], "others may lag behind");
        ledger.observed(key(1), TxnState::Whole(0));
        assert_eq!(verdicts(&ledger, &[(1, TxnState::Whole(0))]), []);
        let mut updater = ledger.clone();
        ledger.read(key(1).actor, &Table::new());
        assert_eq!(verdicts(&ledger, &[(1, TxnState::Whole(0))]), [Verdict::Lost]);
        updater.observed(key(1), TxnState::Absent);
        assert_eq!(verdicts(&updater, &[(1, TxnState::Whole(0))]), [Verdict::Lost]);
    }

    #[test]
    fn canary_an_unreadable_table_is_caught() {
        let mut ledger = Ledger::default();
        ledger.acked(key(1), TxnState::Whole(0));
        let evidence = Evidence { ledger, ..Evidence::default() };
        assert_eq!(judge(&evidence).len(), 1);
        assert_eq!(lost_transactions(&evidence), BTreeSet::from([key(1)]));
    }
}
