//! The oracles: what must hold after a run, one property in one file.
//!
//! An oracle reads the [`Evidence`] of a run and reports where the evidence breaks its property. It changes nothing.
//! [`ORACLES`] is the list of all of them. Each has a canary: evidence of a planted defect that it must catch.
//! `docs/contributing/oracle.md` explains how to add one.

use crate::outsider::OutsideAction;
use crate::record::Finding;
use crate::verdict::Verdict;

pub mod alarm;
pub mod atomicity;
pub mod durability;
pub mod economy;
pub mod growth;
pub mod hygiene;
pub mod integrity;
pub mod isolation;
pub mod ledger;
pub mod progress;
pub mod table;
pub mod walindex;

#[cfg(test)]
mod tests;

/// Everything that the oracles judge a run by. The default is the evidence of a run in which nothing happened.
#[derive(Clone, Debug, Default)]
pub struct Evidence {
    /// What the callers were told, held outside the database.
    pub ledger: ledger::Ledger,
    /// The ledger's table as a fresh connection reads it at the end; `None` if it cannot be read.
    pub table: Option<table::Table>,
    /// The other files in which rows are found at the end: a file that was moved, with its log; a rescue copy or
    /// quarantined database that an error or event announced.
    pub places: Vec<ledger::Place>,
    /// What outsiders did, in the order in which they did it.
    pub interventions: Vec<Intervened>,
    /// True if a process of another strategy worked on the same files, which may treat them as an outsider does.
    pub has_foreign_process: bool,
    /// When processes were killed, by the number of the call that was next.
    pub deaths: Vec<u64>,
    /// When processes are known to have had the database open: from the end of a step that succeeded to the end of one
    /// that failed, or to the beginning of the end of the process. By the numbers of the calls that were next.
    pub open_spans: Vec<(u64, u64)>,
    /// Transactions that some reader saw in part, during the run.
    pub torn_reads: Vec<String>,
    /// The checks on the live and on a fresh connection.
    pub checks: Vec<integrity::Check>,
    /// How each actor fared after the faults had healed.
    pub progress: Vec<progress::ActorProgress>,
    /// Actors that did not come to an end in the simulator.
    pub stuck: Vec<String>,
    /// What was left over.
    pub hygiene: hygiene::Leftovers,
    /// How far the log grew.
    pub growth: growth::Growth,
    /// What the strategy spent.
    pub economy: economy::Spending,
    /// Reports that the database is corrupt.
    pub alarms: Vec<alarm::Alarm>,
    /// What the transactions did and saw, of one history after the other.
    pub isolation: Vec<isolation::History>,
    /// Reads that a transaction repeated with another result.
    pub unrepeatable_reads: Vec<String>,
    /// What fresh processes found after power cuts.
    pub after_cuts: Vec<durability::AfterCut>,
    /// What [`walindex::check`] found during the run, with the actor that read the wal-index.
    pub walindex: Vec<String>,
}

/// An outsider has acted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Intervened {
    /// At the call with this number.
    pub at_call: u64,
    /// What was done.
    pub action: OutsideAction,
}

impl Evidence {
    /// True if what an outsider has done to the files stays until a person undoes it: the code under test is right to
    /// refuse service, and files lie about.
    pub fn is_disturbed(&self) -> bool {
        self.has_foreign_process || self.interventions.iter().any(|intervened| intervened.action.is_lasting())
    }

    /// True if an outsider has acted in any way.
    pub fn has_outsiders(&self) -> bool {
        self.has_foreign_process || !self.interventions.is_empty()
    }
}

/// One property of a run.
#[derive(Clone, Copy, Debug)]
pub struct Oracle {
    /// Its name in reports.
    pub name: &'static str,
    /// The property in one sentence.
    pub property: &'static str,
    /// Where the evidence breaks the property: verdicts and details.
    pub judge: fn(&Evidence) -> Vec<(Verdict, String)>,
    /// The evidence of a planted defect. This oracle must find it, and no other oracle may.
    pub canary: fn() -> Evidence,
}

/// All oracles. Findings of the same verdict are reported in this order.
pub const ORACLES: &[Oracle] = &[
    walindex::ORACLE,
    isolation::ORACLE,
    integrity::ORACLE,
    ledger::ORACLE,
    durability::ORACLE,
    atomicity::ORACLE,
    progress::ORACLE,
    hygiene::ORACLE,
    economy::ORACLE,
    alarm::ORACLE,
    growth::ORACLE,
];

/// What all oracles find, worst first.
pub fn judge(evidence: &Evidence) -> Vec<Finding> {
    judge_by(ORACLES, evidence)
}

/// What these oracles find, worst first.
pub fn judge_by(oracles: &[Oracle], evidence: &Evidence) -> Vec<Finding> {
    let mut findings = Vec::new();
    for oracle in oracles {
        for (verdict, detail) in (oracle.judge)(evidence) {
            findings.push(Finding { oracle: oracle.name.to_owned(), verdict, detail });
        }
    }
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.verdict));
    findings
}

/// One finding for all observations of one kind: the first of them and their number.
fn observed(verdict: Verdict, observations: &[String]) -> Option<(Verdict, String)> {
    let first = observations.first()?;
    Some((verdict, format!("{first} ({} such observations)", observations.len())))
}
