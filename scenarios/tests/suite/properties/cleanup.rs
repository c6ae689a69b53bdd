//! No committed row ever disappears: not by failing calls, not by crashes, not by what recovery does to side files.
//!
//! A story is a sequence of transactions, reads, checkpoints, closings and crashes under fault rules. A crash copies
//! the database with its log and its journal into a fresh folder, as a killed process would leave them, and goes on
//! there with nothing else. A ledger outside the database knows what was promised; the lab's own oracles compare at the
//! end. The same stories are told to a store that unlinks side files, to see that the property would notice.

use std::cell::Cell;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::{Config, RngAlgorithm, TestError, TestRng, TestRunner};
use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior, params};
use seawall::Cache;
use seawall_harness::actor::Actor;
use seawall_harness::oracle::alarm::Alarm;
use seawall_harness::oracle::integrity::{self, Check};
use seawall_harness::oracle::progress::{ATTEMPTS_MAX, ActorProgress, PAUSE_MS};
use seawall_harness::oracle::table::{self, Key, State, Table};
use seawall_harness::oracle::{self, Evidence, hygiene};
use seawall_scenarios::strategies::{self, Context, RealHost};

use super::world::World;
use super::{config, regressions, rules};

proptest! {
    #![proptest_config(config(1500, regressions!("cleanup")))]

    #[test]
    fn no_committed_row_ever_disappears(story in story(rules::error().boxed())) {
        tell(&story, seawall_store).map_err(TestCaseError::fail)?;
    }
}

#[test]
fn the_property_notices_a_store_that_unlinks_side_files() {
    let config = Config { cases: 3000, max_shrink_iters: 3000, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let result = runner.run(&story(rules::error_of_opening().boxed()), |story| {
        tell(&story, unlinking_store).map_err(TestCaseError::fail)
    });
    let Err(TestError::Fail(reason, story)) = result else { panic!("nothing was noticed: {result:?}") };
    assert!(reason.message().contains("lost") || reason.message().contains("-wal"), "{reason}");
    assert!(story.ops.len() <= 4 && story.rules.len() <= 2, "not a small story: {story:?}");
}

/// What is done, and under which faults.
#[derive(Clone, Debug)]
struct Story {
    rules: Vec<String>,
    seed: u64,
    /// Whether the rules are armed from the beginning.
    armed: bool,
    /// Each with the number of the store that does it.
    ops: Vec<(usize, Op)>,
}

/// Stores at a time, each as another part of the application that keeps connections of its own.
const STORES: usize = 2;

#[derive(Clone, Debug)]
enum Op {
    Insert { parts: u32, door: Door },
    Update(Index, Door),
    Delete(Index, Door),
    Read,
    Checkpoint(&'static str),
    Close,
    Crash { keeps_shm: bool },
    Wait { secs: u64 },
    Arm,
    Heal,
}

/// How a transaction is brought to the store: as the body of one, or inside a closure that commits by itself.
#[derive(Clone, Copy, Debug)]
enum Door {
    Write,
    Call,
}

fn op() -> impl Strategy<Value = Op> {
    let door = || select(&[Door::Write, Door::Call][..]);
    prop_oneof![
        6 => (1..5_u32, door()).prop_map(|(parts, door)| Op::Insert { parts, door }),
        2 => (any::<Index>(), door()).prop_map(|(txn, door)| Op::Update(txn, door)),
        1 => (any::<Index>(), door()).prop_map(|(txn, door)| Op::Delete(txn, door)),
        2 => Just(Op::Read),
        2 => select(&["PASSIVE", "FULL", "RESTART", "TRUNCATE"][..]).prop_map(Op::Checkpoint),
        2 => Just(Op::Close),
        3 => any::<bool>().prop_map(|keeps_shm| Op::Crash { keeps_shm }),
        2 => (1..60_u64).prop_map(|secs| Op::Wait { secs }),
        2 => Just(Op::Arm),
        1 => Just(Op::Heal),
    ]
}

fn story(rule: BoxedStrategy<String>) -> impl Strategy<Value = Story> {
    let rules = prop::collection::vec(rule, 1..5);
    let who = prop_oneof![3 => Just(0), 1 => 0..STORES];
    let ops = prop::collection::vec((who, op()), 1..24);
    (rules, 0..1000_u64, prop::bool::weighted(0.6), ops).prop_map(|(rules, seed, armed, ops)| Story {
        rules,
        seed,
        armed,
        ops,
    })
}

/// What a caller is told when a call fails.
struct Told {
    message: String,
    outcome_unknown: bool,
    alarm: bool,
}

type Body<'a> = dyn Fn(&Transaction<'_>) -> rusqlite::Result<()> + 'a;

/// One way to keep a connection to the database of one process.
trait Store {
    fn write(&self, door: Door, body: &Body<'_>) -> Result<(), Told>;
    fn read(&self) -> Result<Table, Told>;
    fn checkpoint(&self, mode: &str) -> Result<(), Told>;
    fn close(&self) -> Result<(), Told>;
}

type MakeStore = fn(&World, PathBuf) -> Box<dyn Store>;

fn checkpoint(connection: &Connection, mode: &str) -> rusqlite::Result<()> {
    connection.query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], |_| Ok(()))
}

struct SeawallStore {
    cache: Cache,
    path: PathBuf,
}

fn seawall_store(world: &World, path: PathBuf) -> Box<dyn Store> {
    let cache = Cache::builder()
        .vfs(world.shim.name())
        .os(world.os())
        .init(|connection| connection.execute_batch(table::SCHEMA))
        .build();
    Box::new(SeawallStore { cache, path })
}

impl From<seawall::Error> for Told {
    fn from(error: seawall::Error) -> Self {
        Self { message: error.to_string(), outcome_unknown: error.outcome_unknown(), alarm: error.is_corruption() }
    }
}

impl Store for SeawallStore {
    fn write(&self, door: Door, body: &Body<'_>) -> Result<(), Told> {
        match door {
            Door::Write => self.cache.write(&self.path, |transaction| body(transaction))?,
            Door::Call => self.cache.with_connection(&self.path, |connection| {
                let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
                body(&transaction)?;
                transaction.commit()
            })?,
        }
        Ok(())
    }

    fn read(&self) -> Result<Table, Told> {
        Ok(self.cache.read(&self.path, table::read)?)
    }

    fn checkpoint(&self, mode: &str) -> Result<(), Told> {
        Ok(self.cache.with_connection(&self.path, |connection| checkpoint(connection, mode))?)
    }

    fn close(&self) -> Result<(), Told> {
        Ok(self.cache.close_all()?)
    }
}

/// A field report's cache, which unlinks `-shm` and `-wal` when an open fails with 14, 1546 or 4874.
struct UnlinkingStore(Box<dyn strategies::Strategy>);

fn unlinking_store(world: &World, path: PathBuf) -> Box<dyn Store> {
    let entry = strategies::find("openhuman").expect("a strategy of the matrix");
    let (vfs, clock, shared_state) = (world.shim.name().to_owned(), world.clock.clone(), world.shared_state.clone());
    Box::new(UnlinkingStore((entry.build)(Context { host: Arc::new(RealHost), path, vfs, clock, shared_state })))
}

impl From<strategies::Failure> for Told {
    fn from(failure: strategies::Failure) -> Self {
        // It does not tell its callers how far a COMMIT came, so they have to think the worst of every failure.
        Self { message: failure.message, outcome_unknown: true, alarm: failure.alarm }
    }
}

impl Store for UnlinkingStore {
    fn write(&self, _: Door, body: &Body<'_>) -> Result<(), Told> {
        Ok(self.0.with_connection(&mut |connection| {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            body(&transaction)?;
            transaction.commit()
        })?)
    }

    fn read(&self) -> Result<Table, Told> {
        let mut seen = Table::new();
        self.0.with_connection(&mut |connection| {
            seen = table::read(connection)?;
            Ok(())
        })?;
        Ok(seen)
    }

    fn checkpoint(&self, mode: &str) -> Result<(), Told> {
        Ok(self.0.with_connection(&mut |connection| checkpoint(connection, mode))?)
    }

    fn close(&self) -> Result<(), Told> {
        Ok(self.0.close()?)
    }
}

const TELLER: Actor = Actor { process: 1, thread: 1 };

/// Transactions after the faults have healed begin here, beyond every story's.
const PROBE_BASE: u32 = 1_000_000;

/// A story while it is being told.
struct Telling<'a> {
    world: &'a World,
    make_store: MakeStore,
    stores: Vec<Box<dyn Store>>,
    /// How many folders have been lived in before this one.
    moves: u32,
    evidence: Evidence,
    /// Number and rows of each transaction that was ever tried.
    inserted: Vec<(u32, u32)>,
}

/// Tells a story to a store; an error says what was broken.
fn tell(story: &Story, make_store: MakeStore) -> Result<(), String> {
    let world = World::new(&story.rules, story.seed);
    let mut telling = Telling {
        world: &world,
        make_store,
        stores: Vec::new(),
        moves: 0,
        evidence: Evidence::default(),
        inserted: Vec::new(),
    };
    telling.move_in();
    if story.armed {
        world.arm();
    }
    for (index, (who, op)) in (0..).zip(&story.ops) {
        let before = LogSeen::now(&telling);
        telling.perform(index, *who, op);
        if !matches!(op, Op::Crash { .. }) {
            before.check_against(&LogSeen::now(&telling)).map_err(|what| format!("operation {index}: {what}"))?;
        }
    }
    telling.end()
}

/// A `-wal` at one moment, and what SQLite has done to such files so far.
struct LogSeen {
    /// Inode and size.
    file: Option<(u64, u64)>,
    deletions: u64,
    truncations: u64,
}

impl LogSeen {
    fn now(telling: &Telling<'_>) -> Self {
        let log = fs::metadata(telling.database().with_extension("db-wal")).ok();
        let (deletions, truncations) = telling.world.wal_deletions_and_truncations();
        Self { file: log.map(|log| (log.ino(), log.len())), deletions, truncations }
    }

    /// A log that held something may go, or become shorter, by SQLite's own calls only.
    fn check_against(&self, after: &Self) -> Result<(), String> {
        let Some((inode, bytes)) = self.file.filter(|(_, bytes)| *bytes > 0) else { return Ok(()) };
        match after.file {
            _ if after.deletions > self.deletions => Ok(()),
            Some((same, now)) if same == inode && (now >= bytes || after.truncations > self.truncations) => Ok(()),
            _ => Err(format!("somebody other than SQLite removed or cut a -wal of {bytes} bytes")),
        }
    }
}

impl Telling<'_> {
    fn database(&self) -> PathBuf {
        self.world.folder.path().join(self.moves.to_string()).join("a.db")
    }

    /// A new process in the present folder.
    fn move_in(&mut self) {
        fs::create_dir_all(self.world.folder.path().join(self.moves.to_string())).expect("a folder");
        self.stores = (0..STORES).map(|_| (self.make_store)(self.world, self.database())).collect();
    }

    fn perform(&mut self, index: u32, who: usize, op: &Op) {
        match *op {
            Op::Insert { parts, door } => {
                self.inserted.push((index, parts));
                let result = self.stores[who].write(door, &|transaction| insert(transaction, index, parts));
                self.wrote(result, index, State::Whole(index));
            }
            Op::Update(txn, door) => self.update(index, who, txn, door),
            Op::Delete(txn, door) => self.delete(who, txn, door),
            Op::Read => match self.stores[who].read() {
                Ok(seen) => self.evidence.ledger.read(TELLER, &seen),
                Err(told) => self.refused(&told),
            },
            Op::Checkpoint(mode) => {
                let _ = self.stores[who].checkpoint(mode).map_err(|told| self.refused(&told));
            }
            Op::Close => {
                let _ = self.stores[who].close().map_err(|told| self.refused(&told));
            }
            Op::Crash { keeps_shm } => self.crash(keeps_shm),
            Op::Wait { secs } => self.world.clock.advance(Duration::from_secs(secs)),
            Op::Arm => self.world.arm(),
            Op::Heal => self.world.heal(),
        }
    }

    fn update(&mut self, index: u32, who: usize, txn: Index, door: Door) {
        let sql = "UPDATE ledger SET version = ?1 WHERE actor = ?2 AND txn = ?3";
        self.change(who, txn, door, State::Whole(index), |transaction, txn| {
            transaction.execute(sql, params![index, TELLER.to_string(), txn])
        });
    }

    fn delete(&mut self, who: usize, txn: Index, door: Door) {
        let sql = "DELETE FROM ledger WHERE actor = ?1 AND txn = ?2";
        self.change(who, txn, door, State::Absent, |transaction, txn| {
            transaction.execute(sql, params![TELLER.to_string(), txn])
        });
    }

    /// Changes all rows of an earlier transaction. A change of no rows writes nothing, so it promises nothing: the
    /// transaction may be one whose COMMIT failed half way, absent for now and there again after a crash.
    fn change(
        &mut self,
        who: usize,
        txn: Index,
        door: Door,
        state: State,
        sql: impl Fn(&Transaction<'_>, u32) -> rusqlite::Result<usize>,
    ) {
        if self.inserted.is_empty() {
            return;
        }
        let (txn, parts) = *txn.get(&self.inserted);
        let changed = Cell::new(0);
        let result = self.stores[who].write(door, &|transaction| {
            changed.set(sql(transaction, txn)?);
            Ok(())
        });
        if result.is_err() || changed.get() == parts as usize {
            self.wrote(result, txn, state);
        } else if changed.get() > 0 {
            self.wrote(result, txn, State::Torn);
        }
    }

    fn wrote(&mut self, result: Result<(), Told>, txn: u32, state: State) {
        let key = Key { actor: TELLER, txn };
        match result {
            Ok(()) => self.evidence.ledger.acked(key, state),
            Err(told) => {
                let ledger = &mut self.evidence.ledger;
                if told.outcome_unknown {
                    ledger.indeterminate(key, state)
                } else {
                    ledger.refused(key, state)
                }
                self.refused(&told);
            }
        }
    }

    fn refused(&mut self, told: &Told) {
        if told.alarm {
            self.evidence.alarms.push(Alarm { actor: TELLER, message: told.message.clone() });
        }
    }

    /// The files go on, in a folder where no process has them open; the memory does not.
    fn crash(&mut self, keeps_shm: bool) {
        let (from, mode) = (self.database(), self.world.shared_state.mode());
        self.moves += 1;
        let to = self.database();
        fs::create_dir_all(to.parent().expect("a folder")).expect("a folder");
        let files = fs::read_dir(from.parent().expect("a folder")).expect("the old folder");
        for file in files.map(|file| file.expect("a file")) {
            let name = file.file_name();
            if keeps_shm || !name.to_string_lossy().ends_with("-shm") {
                fs::copy(file.path(), to.with_file_name(name)).expect("a copy");
            }
        }
        // What the old process still does, it does to files that nobody looks at any more.
        self.world.heal();
        self.stores.clear();
        self.world.shared_state.set_mode(mode);
        self.move_in();
    }

    /// The faults heal; the store recovers and closes; the oracles look at what is there.
    fn end(mut self) -> Result<(), String> {
        self.world.heal();
        for who in 0..STORES {
            self.probe(who);
        }
        for store in &self.stores {
            store.close().map_err(|told| format!("closing failed though nothing else did: {}", told.message))?;
        }
        self.evidence.hygiene.open_files = self.world.open_files();
        self.evidence.hygiene.files = hygiene::stray_files(&self.database()).expect("the folder");
        let (check, table) = fresh_look(&self.database());
        self.evidence.checks.push(check);
        self.evidence.table = Some(table.map_err(|error| format!("the table cannot be read: {error}"))?);
        let findings = oracle::judge(&self.evidence);
        let findings: Vec<String> =
            findings.iter().map(|found| format!("{} ({}): {}", found.verdict, found.oracle, found.detail)).collect();
        if findings.is_empty() { Ok(()) } else { Err(findings.join("; ")) }
    }

    fn probe(&mut self, who: usize) {
        let mut progress = ActorProgress { actor: TELLER, committed: false, attempts: 0, error: None };
        while !progress.committed && progress.attempts < ATTEMPTS_MAX {
            progress.attempts += 1;
            self.world.clock.advance(Duration::from_millis(PAUSE_MS));
            let txn = PROBE_BASE + who as u32 * ATTEMPTS_MAX + progress.attempts;
            let result = self.stores[who].write(Door::Write, &|transaction| insert(transaction, txn, 2));
            progress.committed = result.is_ok();
            progress.error = result.as_ref().err().map(|told| told.message.clone());
            self.wrote(result, txn, State::Whole(txn));
        }
        self.evidence.progress.push(progress);
    }
}

fn insert(transaction: &Transaction<'_>, txn: u32, parts: u32) -> rusqlite::Result<()> {
    let name = TELLER.to_string();
    transaction.execute("INSERT OR IGNORE INTO ledger_actors VALUES(?1)", [&name])?;
    for part in 0..parts {
        let sql = "INSERT INTO ledger VALUES(?1, ?2, ?3, ?4, ?2, zeroblob(700))";
        transaction.execute(sql, params![name, txn, part, parts])?;
    }
    Ok(())
}

/// The database as a plain connection on the platform's own VFS finds it.
fn fresh_look(database: &Path) -> (Check, rusqlite::Result<Table>) {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    match Connection::open_with_flags(database, flags) {
        Ok(connection) => (integrity::check(&connection, "fresh"), table::read(&connection)),
        Err(error) => {
            let unfinished = Some(error.to_string());
            (Check { connection: "fresh".to_owned(), complaints: Vec::new(), unfinished }, Err(error))
        }
    }
}
