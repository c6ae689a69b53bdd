//! Healthy histories, one canary for each anomaly, and a comparison with a search through all orders.

use super::*;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use std::collections::BTreeMap;
use std::iter;

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
    finds(&[(1, 2, &[r(1, 7)], C)], "out of thin air: p1.t1's T0 read key 1 = 7, which no transaction wrote");
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
    let detail = "out of thin air: p2.t1's T1 read key 2 = 5, which no transaction wrote (2 such observations)";
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
