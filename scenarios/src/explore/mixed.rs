//! `mixed`: the general workload. Write transactions with savepoints and rollbacks, reads, checkpoints of all kinds,
//! open and close, on a few connections in a few processes; how the database is laid out and configured is drawn as
//! well, so that some executions meet small pages, tiny caches, early checkpoints or relaxed syncs (swarm testing:
//! Groce et al., ISSTA 2012).

use rand::{Rng, RngExt};
use seawall_harness::actor::Actor;
use seawall_harness::engine::CheckpointMode;
use seawall_harness::seed::Seed;

/// How the database file is laid out: what must be decided before it is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Layout {
    page_bytes: u32,
    auto_vacuum: u8,
}

/// How connections are configured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Settings {
    synchronous: &'static str,
    cache_pages: u32,
    autocheckpoint: u32,
    mmap_bytes: u32,
    temp_store: u8,
}

/// What one actor is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ActorPlan {
    pub(super) actor: Actor,
    pub(super) steps: Vec<Step>,
}

/// One step of an actor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// A transaction of so many changes.
    Write { changes: u8, begin: Begin, savepoint: bool, rollback: bool, payload_bytes: u16 },
    /// A transaction that reads everything, twice.
    Read,
    /// A checkpoint.
    Checkpoint(CheckpointMode),
    /// Closes the connection and opens it again.
    Reopen,
}

/// How a write transaction begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Begin {
    /// BEGIN IMMEDIATE
    Immediate,
    /// BEGIN: the lock is taken by the first write.
    Deferred,
}

/// An execution before it is scheduled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct World {
    pub(super) seed: Seed,
    pub(super) layout: Layout,
    pub(super) settings: Settings,
    pub(super) actors: Vec<ActorPlan>,
}

impl World {
    /// The world of an execution.
    pub(super) fn draw(seed: Seed) -> Self {
        let mut rng = seed.stream("mixed").rng();
        let rng = &mut rng;
        let layout = Layout { page_bytes: pick(rng, [512, 1024, 4096, 4096]), auto_vacuum: pick(rng, [0, 0, 1, 2]) };
        let settings = Settings {
            synchronous: pick(rng, ["OFF", "NORMAL", "NORMAL", "FULL"]),
            cache_pages: pick(rng, [4, 20, 2000]),
            autocheckpoint: pick(rng, [0, 0, 4, 20, 1000]),
            mmap_bytes: pick(rng, [0, 0, 65_536, 1 << 24]),
            temp_store: pick(rng, [0, 1, 2]),
        };
        let connections = pick(rng, [2, 2, 3, 4_u16]);
        let processes = rng.random_range(1..=connections.min(3));
        let length = rng.random_range(8..=40_u32);
        let weights = Weights::draw(rng);
        let actors = (0..connections).map(|number| {
            let actor = Actor { process: 1 + number % processes, thread: 1 + number / processes };
            ActorPlan { actor, steps: (0..length).map(|_| weights.step(rng)).collect() }
        });
        Self { seed, layout, settings, actors: actors.collect() }
    }
}

impl Layout {
    /// Makes the database: tables that the oracles can read, in WAL mode.
    pub(super) fn sql(self) -> String {
        let Self { page_bytes, auto_vacuum } = self;
        format!(
            "PRAGMA page_size = {page_bytes}; PRAGMA auto_vacuum = {auto_vacuum};
             CREATE TABLE ledger(actor INTEGER, txn INTEGER, part INTEGER, parts INTEGER, version INTEGER, payload BLOB,
                                 PRIMARY KEY(actor, txn, part));
             CREATE INDEX ledger_by_version ON ledger(version, txn);
             PRAGMA journal_mode = WAL;"
        )
    }
}

impl Settings {
    /// Configures a connection.
    pub(super) fn sql(self) -> String {
        let Self { synchronous, cache_pages, autocheckpoint, mmap_bytes, temp_store } = self;
        format!(
            "PRAGMA synchronous = {synchronous}; PRAGMA cache_size = {cache_pages};
             PRAGMA wal_autocheckpoint = {autocheckpoint}; PRAGMA mmap_size = {mmap_bytes};
             PRAGMA temp_store = {temp_store};"
        )
    }
}

/// How often an actor does what, in this execution.
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
            }
        } else if n < write + read {
            Step::Read
        } else if n < write + read + checkpoint {
            use CheckpointMode::{Full, Passive, Restart, Truncate};
            Step::Checkpoint(pick(rng, [Passive, Passive, Full, Restart, Truncate]))
        } else {
            Step::Reopen
        }
    }
}

fn pick<T: Copy, const N: usize>(rng: &mut impl Rng, from: [T; N]) -> T {
    from[rng.random_range(0..N)]
}
