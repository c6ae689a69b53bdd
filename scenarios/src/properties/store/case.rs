//! A case: processes, settings, faults and operations, drawn from the seed alone.

use crate::workload::CheckpointMode;
use rand::{Rng, RngExt};
use seawall_harness::actor::Actor;
use seawall_harness::seed::Seed;
use std::time::Duration;

/// The most ops of a case, of all actors together.
const OPS_MAX: u32 = 14;

/// Faults that return an error or take time. A layer can handle them, so what it promises must hold.
const FAILURES: [&str; 17] = [
    "open@db:error=CANTOPEN",
    "open@wal:error=CANTOPEN",
    "shmmap@shm:error=IOERR_SHMMAP",
    "shmmap@shm:error=READONLY_CANTINIT",
    "shmlock@shm:error=IOERR_SHMLOCK",
    "truncate@*:error=IOERR_TRUNCATE",
    "read@db:error=IOERR_READ",
    "read@wal:error=IOERR_READ",
    "write@db:error=IOERR_WRITE",
    "write@wal:error=IOERR_WRITE",
    "write@wal:error=FULL",
    "write@wal:torn=700,error=IOERR_WRITE",
    "sync@*:error=IOERR_FSYNC",
    "lock@db:error=BUSY",
    "lock@db:error=IOERR_LOCK",
    "filesize@*:error=IOERR_FSTAT",
    "write@*:stall=20ms",
];

/// A case.
#[derive(Clone, Debug)]
pub(super) struct Case {
    pub(super) seed: Seed,
    pub(super) config: Config,
    pub(super) processes: u16,
    pub(super) threads: u16,
    /// In the text form of the grammar.
    pub(super) rules: Vec<String>,
    pub(super) ops: Vec<Op>,
}

/// The settings of the store of every process.
#[derive(Clone, Copy, Debug)]
pub(super) struct Config {
    pub(super) readers: usize,
    pub(super) busy_timeout: Duration,
    pub(super) acquire_timeout: Duration,
    pub(super) first_connect_wait: Duration,
    pub(super) lifetime: Option<Duration>,
    pub(super) idle: Option<Duration>,
    pub(super) migrates: bool,
}

/// One operation of an actor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Op {
    pub(super) actor: Actor,
    /// The row that the op writes. It differs for all ops.
    pub(super) number: u32,
    pub(super) act: Act,
}

/// See [`Op`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Act {
    /// Writes a row.
    Write(EntryPoint, Ending),
    /// Reads all rows twice, with a pause between.
    Read {
        pause_ms: u32,
    },
    /// Writes a row in a closure that was to read.
    WriteInRead,
    /// Leaves a transaction open, with or without a row in it.
    Dangle {
        writes: bool,
    },
    /// Changes a setting of the connection.
    Change {
        entry_point: EntryPoint,
        setting: usize,
    },
    /// Holds a connection for `ms` milliseconds.
    Hold {
        entry_point: EntryPoint,
        ms: u32,
    },
    /// Calls the store from inside of a closure.
    Nest {
        outer: EntryPoint,
        inner: Inner,
    },
    Checkpoint(CheckpointMode),
    Health,
    Maintain,
    /// Closes the store. The next call opens it again.
    Close {
        patience_ms: u32,
    },
    Pause {
        ms: u32,
    },
    /// Kills the process.
    Kill,
}

/// How a connection is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EntryPoint {
    Write,
    Read,
    WithConnection,
}

/// How the closure of a write ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    Succeeds,
    Fails,
    Panics,
}

/// What is called from inside of a closure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Inner {
    EntryPoint(EntryPoint),
    Checkpoint,
    Close,
    Health,
}

/// Settings that a caller may change: the statement, the query for the setting, and what the next caller must find.
pub(super) const SETTINGS: [(&str, &str, i64); 6] = [
    ("PRAGMA foreign_keys = OFF", "PRAGMA foreign_keys", 1),
    ("PRAGMA synchronous = OFF", "PRAGMA synchronous", 2),
    ("PRAGMA recursive_triggers = ON", "PRAGMA recursive_triggers", 0),
    ("PRAGMA reverse_unordered_selects = ON", "PRAGMA reverse_unordered_selects", 0),
    ("PRAGMA query_only = ON", "PRAGMA query_only", 0),
    ("PRAGMA locking_mode = EXCLUSIVE", "PRAGMA locking_mode", 0),
];

impl Case {
    /// The case of this seed.
    pub(super) fn draw(seed: Seed) -> Self {
        let mut rng = seed.stream("store").rng();
        let processes: u16 = [1, 1, 2][rng.random_range(0..3)];
        let threads: u16 = if processes == 1 { rng.random_range(1..=3) } else { rng.random_range(1..=2) };
        let config = Config::draw(&mut rng);
        let rules = draw_rules(&mut rng);
        let can_kill = rng.random_ratio(1, 8);
        let has_misuse = rng.random_ratio(2, 3);
        let count = rng.random_range(3..=OPS_MAX);
        let ops = (1..=count).map(|number| {
            let actor = Actor { process: rng.random_range(1..=processes), thread: rng.random_range(1..=threads) };
            let act = match rng.random_range(0..100_u32) {
                0..4 if can_kill => Act::Kill,
                0..45 if has_misuse => draw_misuse(&mut rng),
                _ => draw_use(&mut rng),
            };
            Op { actor, number, act }
        });
        let ops = ops.collect();
        Self { seed, config, processes, threads, rules, ops }
    }

    /// All actors.
    pub(super) fn actors(&self) -> impl Iterator<Item = Actor> + '_ {
        (1..=self.processes).flat_map(|process| (1..=self.threads).map(move |thread| Actor { process, thread }))
    }

    /// Whether nothing may make a call fail: then every call that is not misuse must succeed.
    pub(super) fn is_undisturbed(&self) -> bool {
        let disturbs = |act| {
            matches!(act, Act::Kill | Act::Hold { .. } | Act::Close { .. })
                || matches!(act, Act::Change { setting, .. } if SETTINGS[setting].1.ends_with("locking_mode"))
        };
        self.processes == 1
            && self.rules.is_empty()
            && self.config.acquire_timeout >= Duration::from_secs(1)
            && self.config.busy_timeout >= Duration::from_millis(100)
            && !self.ops.iter().any(|op| disturbs(op.act))
    }
}

impl Config {
    fn draw(rng: &mut impl Rng) -> Self {
        let ms = Duration::from_millis;
        let ages = [None, None, None, Some(ms(0)), Some(ms(30)), Some(ms(500))];
        Self {
            readers: rng.random_range(0..=3),
            busy_timeout: [ms(0), ms(30), ms(200)][rng.random_range(0..3)],
            acquire_timeout: [ms(0), ms(50), ms(2000)][rng.random_range(0..3)],
            first_connect_wait: [ms(100), ms(1000)][rng.random_range(0..2)],
            lifetime: ages[rng.random_range(0..ages.len())],
            idle: ages[rng.random_range(0..ages.len())],
            migrates: rng.random_ratio(1, 2),
        }
    }
}

fn draw_rules(rng: &mut impl Rng) -> Vec<String> {
    let mut rules = Vec::new();
    if rng.random_ratio(1, 2) {
        return rules;
    }
    for _ in 0..rng.random_range(1..=2) {
        let failure = FAILURES[rng.random_range(0..FAILURES.len())];
        let first = rng.random_range(1..30_u32);
        let when = match rng.random_range(0..4) {
            0 => format!("when={first}"),
            1 => format!("when={first}..{}", first + rng.random_range(1..8)),
            2 => format!("when={first}+:times={}", rng.random_range(1..40)),
            _ => format!("p=0.{:02}:times=20", rng.random_range(2..40)),
        };
        rules.push(format!("{failure}:{when}"));
    }
    if rng.random_ratio(1, 5) {
        rules.push(format!("*@*:kill:when={}", rng.random_range(20..500)));
    }
    rules
}

fn draw_use(rng: &mut impl Rng) -> Act {
    match rng.random_range(0..20) {
        0..7 => Act::Write(EntryPoint::Write, Ending::Succeeds),
        7..9 => Act::Write(EntryPoint::WithConnection, Ending::Succeeds),
        9..14 => Act::Read { pause_ms: [0, 0, 1, 8][rng.random_range(0..4)] },
        14 => Act::Checkpoint(CHECKPOINTS[rng.random_range(0..4)]),
        15 => Act::Health,
        16 => Act::Maintain,
        17 => Act::Close { patience_ms: [0, 100, 5000][rng.random_range(0..3)] },
        18 => Act::Pause { ms: [1, 40, 600][rng.random_range(0..3)] },
        _ => {
            let entry_point = [EntryPoint::Write, EntryPoint::Read, EntryPoint::WithConnection][rng.random_range(0..3)];
            Act::Hold { entry_point, ms: [5, 100, 60_000][rng.random_range(0..3)] }
        }
    }
}

const CHECKPOINTS: [CheckpointMode; 4] =
    [CheckpointMode::Passive, CheckpointMode::Full, CheckpointMode::Restart, CheckpointMode::Truncate];

fn draw_misuse(rng: &mut impl Rng) -> Act {
    let entry_points = [EntryPoint::Write, EntryPoint::Read, EntryPoint::WithConnection];
    let own_transaction = [EntryPoint::Write, EntryPoint::WithConnection];
    match rng.random_range(0..12) {
        0..2 => Act::Write(own_transaction[rng.random_range(0..2)], Ending::Fails),
        2..4 => Act::Write(own_transaction[rng.random_range(0..2)], Ending::Panics),
        4 => Act::WriteInRead,
        5..7 => Act::Dangle { writes: rng.random_ratio(2, 3) },
        7..9 => Act::Change {
            entry_point: [EntryPoint::Read, EntryPoint::WithConnection][rng.random_range(0..2)],
            setting: rng.random_range(0..SETTINGS.len()),
        },
        _ => {
            let inner = match rng.random_range(0..6) {
                nth @ 0..3 => Inner::EntryPoint(entry_points[nth]),
                3 => Inner::Checkpoint,
                4 => Inner::Close,
                _ => Inner::Health,
            };
            Act::Nest { outer: entry_points[rng.random_range(0..3)], inner }
        }
    }
}
