//! The oracles: what must hold after a run, one property a file.
//!
//! An oracle looks at the [`Evidence`] of a run and says what it found; it changes nothing and decides nothing else.
//! Each file ends with its canary: a planted defect that it must catch, beside a healthy case that it must let pass.

use crate::record::Finding;
use crate::verdict::Verdict;

pub mod alarm;
pub mod atomicity;
pub mod economy;
pub mod hygiene;
pub mod integrity;
pub mod isolation;
pub mod ledger;
pub mod progress;
pub mod table;
pub mod walindex;

/// Everything that the oracles judge a run by.
#[derive(Clone, Debug, Default)]
pub struct Evidence {
    /// What the callers were told, held outside the database.
    pub ledger: ledger::Ledger,
    /// The ledger's table as a fresh connection reads it at the end; `None` if it cannot be read.
    pub table: Option<table::Table>,
    /// Transactions that some reader saw in part, during the run.
    pub torn_reads: Vec<String>,
    /// The checks on the live and on a fresh connection.
    pub checks: Vec<integrity::Check>,
    /// How each actor fared after the faults had healed.
    pub progress: Vec<progress::ActorProgress>,
    /// What was left over.
    pub hygiene: hygiene::Leftovers,
    /// What the strategy spent.
    pub economy: economy::Spending,
    /// Who called the database corrupt.
    pub alarms: Vec<alarm::Alarm>,
    /// What the transactions did and saw, of one history after the other.
    pub isolation: Vec<isolation::History>,
    /// What [`walindex::check`] found, with who looked, during the run.
    pub walindex: Vec<String>,
}

/// One property of a run.
pub trait Oracle: Sync {
    /// Its name in reports.
    fn name(&self) -> &'static str;

    /// The property in one sentence.
    fn property(&self) -> &'static str;

    /// Where the evidence breaks the property: verdicts and details.
    fn judge(&self, evidence: &Evidence) -> Vec<(Verdict, String)>;
}

/// All oracles.
pub const ALL: &[&dyn Oracle] = &[
    &integrity::Integrity,
    &ledger::LedgerOracle,
    &atomicity::Atomicity,
    &isolation::Isolation,
    &walindex::WalIndexOracle,
    &progress::Progress,
    &hygiene::Hygiene,
    &economy::Economy,
    &alarm::AlarmOracle,
];

/// What all oracles find, worst first.
pub fn judge(evidence: &Evidence) -> Vec<Finding> {
    let mut findings = Vec::new();
    for oracle in ALL {
        for (verdict, detail) in oracle.judge(evidence) {
            findings.push(Finding { oracle: oracle.name().to_owned(), verdict, detail });
        }
    }
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.verdict));
    findings
}
