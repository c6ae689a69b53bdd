//! The history of an execution: what the actors were told, in the order in which it happened.

use seawall_harness::actor::Actor;
use seawall_harness::oracle::isolation::Transaction;
use seawall_harness::oracle::ledger::Ledger;
use seawall_harness::oracle::table::Table;
use std::collections::BTreeSet;

/// See the module's documentation.
#[derive(Default)]
pub(super) struct History {
    pub(super) ledger: Ledger,
    /// Transactions of which a reader saw a part.
    pub(super) torn_reads: Vec<String>,
    pub(super) unrepeatable_reads: Vec<String>,
    /// Errors by which SQLite calls the file damaged.
    pub(super) alarms: Vec<String>,
    pub(super) walindex: Vec<String>,
    /// Transactions that wrote, and those whose reads are known one by one.
    pub(super) transactions: Vec<Transaction>,
    /// Reads of the whole table.
    pub(super) snapshots: Vec<Snapshot>,
    /// Keys that an actor has tried to delete: the oracle `isolation` takes them for never written.
    pub(super) deleted: BTreeSet<u64>,
    /// Statements that steps have executed.
    pub(super) statements: u64,
}

/// The ledger's table as one transaction read it.
pub(super) struct Snapshot {
    pub(super) actor: Actor,
    pub(super) began: u64,
    pub(super) ended: u64,
    pub(super) table: Table,
}
