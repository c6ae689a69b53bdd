//! `atomicity`: a transaction is there whole or not at all, for every reader at every time.

use crate::oracle::table::TxnState;
use crate::oracle::{Evidence, Oracle};
use crate::verdict::Verdict;

/// See the module's documentation.
pub const ORACLE: Oracle = Oracle {
    name: "atomicity",
    property: "a transaction is there whole or not at all, for every reader at every time",
    judge,
    canary,
};

fn judge(evidence: &Evidence) -> Vec<(Verdict, String)> {
    let mut findings = Vec::new();
    let table = evidence.table.iter().flatten();
    let torn: Vec<_> = table.filter(|(_, state)| **state == TxnState::Torn).map(|(key, _)| key).collect();
    if let Some(first) = torn.first() {
        findings.push((Verdict::Corrupt, format!("{} transactions are there in part; first: {first}", torn.len())));
    }
    if let Some(first) = evidence.torn_reads.first() {
        let count = evidence.torn_reads.len();
        findings.push((Verdict::Corrupt, format!("{count} reads saw a transaction in part; first: {first}")));
    }
    findings
}

fn canary() -> Evidence {
    let torn_reads = vec!["p1.t1 transaction 4, read by p2.t1".to_owned()];
    Evidence { torn_reads, ..Evidence::default() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracle::table::{Table, tests::key};

    fn found(states: &[TxnState], torn_reads: &[&str]) -> usize {
        let table = states.iter().zip(1..).map(|(state, txn)| (key(txn), *state)).collect::<Table>();
        let torn_reads = torn_reads.iter().map(|s| (*s).to_owned()).collect();
        judge(&Evidence { table: Some(table), torn_reads, ..Evidence::default() }).len()
    }

    #[test]
    fn canary_a_half_transaction_is_caught_at_the_end_and_in_a_read() {
        assert_eq!(found(&[TxnState::Whole(0), TxnState::Whole(3)], &[]), 0);
        assert_eq!(found(&[TxnState::Whole(0), TxnState::Torn], &[]), 1);
        assert_eq!(found(&[TxnState::Whole(0)], &["p1.t1 transaction 4, read by p2.t1"]), 1);
    }
}
