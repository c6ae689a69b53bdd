//! `mixed`: the general workload. Write transactions with savepoints and rollbacks, reads, checkpoints of all kinds,
//! open and close, on a few connections in a few processes; how the database is laid out and configured is drawn as
//! well, so that some executions meet small pages, tiny caches, early checkpoints or relaxed syncs (swarm testing:
//! Groce et al., ISSTA 2012).

use super::{
    ActorPlan, Begin, Checkpoint, Draft, Journal, Layout, Scenario, Settings, Step, Synchronous, Target, ledger_table,
    nothing_else, pick,
};
use rand::{Rng, RngExt};
use seawall_harness::seed::Seed;

pub(super) const SCENARIO: Scenario = Scenario {
    name: "mixed",
    summary: "write transactions, reads, checkpoints of all kinds, open and close, on 2 to 6 connections in 1 to 3 processes",
    is_listed: true,
    draw,
    sql: SQL,
    table: ledger_table,
    check: nothing_else,
};

/// Tables that the oracles can read.
pub(super) const SQL: &str =
    "CREATE TABLE ledger(actor INTEGER, txn INTEGER, part INTEGER, parts INTEGER, version INTEGER, payload BLOB,
                         PRIMARY KEY(actor, txn, part));
     CREATE INDEX ledger_by_version ON ledger(version, txn);";

pub(super) fn draw(seed: Seed) -> Draft {
    use Synchronous::{Full, Normal, Off};
    let mut rng = seed.stream("mixed").rng();
    let rng = &mut rng;
    let layout = Layout { page_bytes: pick(rng, [512, 1024, 4096, 4096]), auto_vacuum: pick(rng, [0, 0, 1, 2]) };
    let settings = Settings {
        journal: Journal::draw(seed, 8),
        synchronous: pick(rng, [Off, Normal, Normal, Full]),
        cache_pages: pick(rng, [4, 20, 2000]),
        autocheckpoint: pick(rng, [0, 0, 4, 20, 1000]),
        mmap_bytes: pick(rng, [0, 0, 65_536, 1 << 24]),
        temp_store: pick(rng, [0, 1, 2]),
    };
    // A race takes two or three actors at certain places at once. With more connections, the chances of that grow
    // faster than the costs.
    let connections = rng.random_range(2..=6_u16);
    let processes = rng.random_range(1..=connections.min(3));
    let length = rng.random_range(8..=40_u32);
    let weights = Weights::draw(rng);
    let actors = ActorPlan::spread(connections, processes, || (0..length).map(|_| weights.step(rng)).collect());
    Draft { layout, settings, actors }
}

/// How often an actor takes which step, in this execution.
struct Weights {
    write: u32,
    read: u32,
    checkpoint: u32,
    reopen: u32,
}

impl Weights {
    fn draw(rng: &mut impl Rng) -> Self {
        Self {
            write: rng.random_range(4..=12),
            read: rng.random_range(0..=6),
            checkpoint: rng.random_range(1..=8),
            reopen: rng.random_range(0..=2),
        }
    }

    fn step(&self, rng: &mut impl Rng) -> Step {
        let Self { write, read, checkpoint, reopen } = *self;
        let n = rng.random_range(0..write + read + checkpoint + reopen);
        if n < write {
            Step::Write {
                changes: pick(rng, [1, 1, 2, 5]),
                begin: pick(rng, [Begin::Immediate, Begin::Deferred]),
                savepoint: rng.random_ratio(1, 6),
                rollback: rng.random_ratio(1, 10),
                payload_bytes: pick(rng, [4, 60, 400, 1500]),
                target: Target::Any,
            }
        } else if n < write + read {
            Step::Read
        } else if n < write + read + checkpoint {
            use Checkpoint::{Full, Passive, Restart, Truncate};
            Step::Checkpoint { mode: pick(rng, [Passive, Passive, Full, Restart, Truncate]) }
        } else {
            Step::Reopen
        }
    }
}
