//! The scenarios by name: what the database holds, what the actors do, and how it is read in the end.

use seawall_harness::engine::SqlError;
use seawall_harness::oracle::table::Table;
use seawall_harness::seed::Seed;

use super::case::{ActorPlan, Case, Layout, Settings};
use super::connection_actor::{Ask, ledger_table};
use super::{bank, canary, mixed, schema, shared};

/// A scenario.
pub struct Scenario {
    /// Its name on the command line.
    pub name: &'static str,
    /// What it does, in one sentence.
    pub summary: &'static str,
    /// True if it has a planted defect, which an oracle must find. Not for show.
    pub canary: bool,
    pub(super) draw: fn(Seed) -> World,
    /// Makes the database.
    pub(super) sql: &'static str,
    /// Reads what the ledger speaks of.
    pub(super) table: fn(&mut Ask<'_>) -> Result<Table, SqlError>,
    /// Looks at everything else that must hold, in one snapshot, and names what does not.
    pub(super) check: fn(&mut Ask<'_>) -> Result<Vec<String>, SqlError>,
}

/// What a scenario draws from a seed.
pub(super) struct World {
    pub(super) layout: Layout,
    pub(super) settings: Settings,
    pub(super) actors: Vec<ActorPlan>,
}

/// All scenarios.
pub static SCENARIOS: [Scenario; 8] = [
    Scenario {
        name: "mixed",
        summary: "write transactions, reads, checkpoints of all kinds, open and close, on 2 to 6 connections in 1 to 3 processes",
        canary: false,
        draw: mixed::draw,
        sql: mixed::SQL,
        table: ledger_table,
        check: nothing_else,
    },
    Scenario {
        name: "bank",
        summary: "transfers between accounts with savepoints and rollbacks, and audits: the sum is the same in every snapshot",
        canary: false,
        draw: bank::draw,
        sql: bank::SQL,
        table: bank::transfers,
        check: bank::audit,
    },
    Scenario {
        name: "schema",
        summary: "tables, columns and indices come and go under readers and writers, with VACUUM and savepoints around DDL",
        canary: false,
        draw: schema::draw,
        sql: mixed::SQL,
        table: schema::table,
        check: nothing_else,
    },
    Scenario {
        name: "shared",
        summary: "two or three threads share one connection, beside others with connections of their own",
        canary: false,
        draw: shared::draw,
        sql: mixed::SQL,
        table: ledger_table,
        check: nothing_else,
    },
    Scenario {
        name: "canary-deadlock",
        summary: "the actors wait for each other: the oracle `progress` must say so",
        canary: true,
        draw: canary::deadlock,
        sql: mixed::SQL,
        table: ledger_table,
        check: nothing_else,
    },
    Scenario {
        name: "canary-livelock",
        summary: "an actor never comes to its end: the oracle `progress` must say so",
        canary: true,
        draw: canary::livelock,
        sql: mixed::SQL,
        table: ledger_table,
        check: nothing_else,
    },
    Scenario {
        name: "canary-bank",
        summary: "money is taken and not given: the oracle `atomicity` must find it",
        canary: true,
        draw: canary::bank,
        sql: bank::SQL,
        table: bank::transfers,
        check: bank::audit,
    },
    Scenario {
        name: "canary-schema",
        summary: "a table is dropped behind the ledger's back: the oracle `ledger` must find it",
        canary: true,
        draw: canary::schema,
        sql: mixed::SQL,
        table: schema::table,
        check: nothing_else,
    },
];

/// The scenario with this name.
pub fn find(name: &str) -> Option<&'static Scenario> {
    SCENARIOS.iter().find(|scenario| scenario.name == name)
}

/// The scenario of a case that an explorer has accepted.
pub(super) fn of(case: &Case) -> &'static Scenario {
    find(&case.scenario).unwrap_or(&SCENARIOS[0])
}

fn nothing_else(_: &mut Ask<'_>) -> Result<Vec<String>, SqlError> {
    Ok(Vec::new())
}
