//! No committed row is ever lost: not by failing calls, not by crashes, not by what recovery does to side files.
//!
//! A story is a sequence of transactions, reads, checkpoints, closings and crashes under fault rules. A crash copies
//! the database with its log and its journal into a fresh folder, as a killed process would leave them, and the story
//! goes on there. A ledger outside the database holds what was acknowledged, and the oracles of the lab compare at the
//! end. The same stories run with a store that unlinks side files, which the property must detect.

use super::environment::Environment;
use super::{config, regressions, rules};
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::{Config, RngAlgorithm, TestError, TestRng, TestRunner};
use rusqlite::{Connection, Transaction, TransactionBehavior, params};
use seawall::Cache;
use seawall_harness::actor::Actor;
use seawall_harness::oracle::alarm::Alarm;
use seawall_harness::oracle::economy::Spending;
use seawall_harness::oracle::progress::ATTEMPTS_MAX;
use seawall_harness::oracle::table::{self, Table, TxnKey, TxnState};
use seawall_harness::oracle::{self, hygiene};
use seawall_scenarios::run::driver;
use seawall_scenarios::run::history::History;
use seawall_scenarios::run::judge::{self, FreshLook};
use seawall_scenarios::strategies::{self, Context, RealHost};
use std::cell::Cell;
use std::convert::Infallible;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

proptest! {
    #![proptest_config(config(1500, regressions!("cleanup")))]

    #[test]
    fn no_committed_row_is_ever_lost(story in story(rules::error().boxed())) {
        execute(&story, seawall_store).map_err(TestCaseError::fail)?;
    }
}

#[test]
fn the_property_detects_a_store_that_unlinks_side_files() {
    let config = Config { cases: 3000, max_shrink_iters: 3000, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let result = runner.run(&story(rules::error_of_opening().boxed()), |story| {
        execute(&story, unlinking_store).map_err(TestCaseError::fail)
    });
    let Err(TestError::Fail(reason, story)) = result else { panic!("nothing was found: {result:?}") };
    assert!(reason.message().contains("lost") || reason.message().contains("-wal"), "{reason}");
    assert!(story.ops.len() <= 4 && story.rules.len() <= 2, "not a small story: {story:?}");
}

/// Operations and faults.
#[derive(Clone, Debug)]
struct Story {
    rules: Vec<String>,
    seed: u64,
    /// Whether the rules are armed from the beginning.
    armed: bool,
    /// Each with the number of the store that it uses.
    ops: Vec<(usize, Op)>,
}

/// Stores at a time, as in an application of which each part has connections of its own.
const STORES: usize = 2;

#[derive(Clone, Debug)]
enum Op {
    Insert { parts: u32, entry_point: EntryPoint },
    Update(Index, EntryPoint),
    Delete(Index, EntryPoint),
    Read,
    Checkpoint(&'static str),
    Close,
    Crash { keeps_shm: bool },
    Wait { secs: u64 },
    Arm,
    Heal,
}

/// How a transaction is given to the store: as a closure inside of it, or as a closure that begins and commits it.
#[derive(Clone, Copy, Debug)]
enum EntryPoint {
    Write,
    Call,
}

fn op() -> impl Strategy<Value = Op> {
    let entry_point = || select(&[EntryPoint::Write, EntryPoint::Call][..]);
    prop_oneof![
        6 => (1..5_u32, entry_point()).prop_map(|(parts, entry_point)| Op::Insert { parts, entry_point }),
        2 => (any::<Index>(), entry_point()).prop_map(|(txn, entry_point)| Op::Update(txn, entry_point)),
        1 => (any::<Index>(), entry_point()).prop_map(|(txn, entry_point)| Op::Delete(txn, entry_point)),
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
    let store = prop_oneof![3 => Just(0), 1 => 0..STORES];
    let ops = prop::collection::vec((store, op()), 1..24);
    (rules, 0..1000_u64, prop::bool::weighted(0.6), ops).prop_map(|(rules, seed, armed, ops)| Story {
        rules,
        seed,
        armed,
        ops,
    })
}

/// What a caller is told when a call fails.
struct Reply {
    message: String,
    outcome_unknown: bool,
    alarm: bool,
}

type Body<'a> = dyn Fn(&Transaction<'_>) -> rusqlite::Result<()> + 'a;

/// One way to keep a connection to the database of one process.
trait Store {
    fn write(&self, entry_point: EntryPoint, body: &Body<'_>) -> Result<(), Reply>;
    fn read(&self) -> Result<Table, Reply>;
    fn checkpoint(&self, mode: &str) -> Result<(), Reply>;
    fn close(&self) -> Result<(), Reply>;
}

type MakeStore = fn(&Environment, PathBuf) -> Box<dyn Store>;

fn checkpoint(connection: &Connection, mode: &str) -> rusqlite::Result<()> {
    connection.query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], |_| Ok(()))
}

struct SeawallStore {
    cache: Cache,
    path: PathBuf,
}

fn seawall_store(environment: &Environment, path: PathBuf) -> Box<dyn Store> {
    let cache = Cache::builder()
        .vfs(environment.shim.name())
        .os(environment.os())
        .init(|connection| connection.execute_batch(table::SCHEMA))
        .build();
    Box::new(SeawallStore { cache, path })
}

impl From<seawall::Error> for Reply {
    fn from(error: seawall::Error) -> Self {
        Self { message: error.to_string(), outcome_unknown: error.outcome_unknown(), alarm: error.is_corruption() }
    }
}

impl Store for SeawallStore {
    fn write(&self, entry_point: EntryPoint, body: &Body<'_>) -> Result<(), Reply> {
        match entry_point {
            EntryPoint::Write => self.cache.write(&self.path, |transaction| body(transaction))?,
            EntryPoint::Call => self.cache.with_connection(&self.path, |connection| {
                let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
                body(&transaction)?;
                transaction.commit()
            })?,
        }
        Ok(())
    }

    fn read(&self) -> Result<Table, Reply> {
        Ok(self.cache.read(&self.path, table::read)?)
    }

    fn checkpoint(&self, mode: &str) -> Result<(), Reply> {
        Ok(self.cache.with_connection(&self.path, |connection| checkpoint(connection, mode))?)
    }

    fn close(&self) -> Result<(), Reply> {
        Ok(self.cache.close_all()?)
    }
}

/// The cache of a field report, which unlinks `-shm` and `-wal` when an open fails with 14, 1546 or 4874.
struct UnlinkingStore(Box<dyn strategies::Strategy>);

fn unlinking_store(environment: &Environment, path: PathBuf) -> Box<dyn Store> {
    let entry = strategies::find("openhuman").expect("a strategy of the matrix");
    let (vfs, clock, shared_state) =
        (environment.shim.name().to_owned(), environment.clock.clone(), environment.shared_state.clone());
    Box::new(UnlinkingStore((entry.build)(Context {
        host: Arc::new(RealHost),
        path,
        vfs,
        clock,
        shared_state,
        checkpoint_pages: None,
    })))
}

impl From<strategies::Failure> for Reply {
    fn from(failure: strategies::Failure) -> Self {
        // It does not say how far a COMMIT came, so after each failure the outcome is unknown.
        Self { message: failure.message, outcome_unknown: true, alarm: failure.is_alarm }
    }
}

impl Store for UnlinkingStore {
    fn write(&self, _: EntryPoint, body: &Body<'_>) -> Result<(), Reply> {
        Ok(self.0.with_connection(&mut |connection| {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            body(&transaction)?;
            transaction.commit()
        })?)
    }

    fn read(&self) -> Result<Table, Reply> {
        let mut seen = Table::new();
        self.0.with_connection(&mut |connection| {
            seen = table::read(connection)?;
            Ok(())
        })?;
        Ok(seen)
    }

    fn checkpoint(&self, mode: &str) -> Result<(), Reply> {
        Ok(self.0.with_connection(&mut |connection| checkpoint(connection, mode))?)
    }

    fn close(&self) -> Result<(), Reply> {
        Ok(self.0.close()?)
    }
}

const ACTOR: Actor = Actor { process: 1, thread: 1 };

/// Transactions after the faults have healed have numbers from here, beyond those of every story.
const PROBE_BASE: u32 = 1_000_000;

/// A story while it is executed.
struct Execution<'a> {
    environment: &'a Environment,
    make_store: MakeStore,
    stores: Vec<Box<dyn Store>>,
    /// The number of the present folder.
    folder: u32,
    history: History,
    /// Number and rows of each transaction that was tried.
    inserted: Vec<(u32, u32)>,
}

/// Executes a story; the error says what does not hold.
fn execute(story: &Story, make_store: MakeStore) -> Result<(), String> {
    let environment = Environment::new(&story.rules, story.seed);
    let mut execution = Execution {
        environment: &environment,
        make_store,
        stores: Vec::new(),
        folder: 0,
        history: History::default(),
        inserted: Vec::new(),
    };
    execution.open_stores();
    if story.armed {
        environment.arm();
    }
    for (index, (store, op)) in (0..).zip(&story.ops) {
        let before = LogSeen::now(&execution);
        execution.perform(index, *store, op);
        if !matches!(op, Op::Crash { .. }) {
            before.check_against(&LogSeen::now(&execution)).map_err(|what| format!("operation {index}: {what}"))?;
        }
    }
    execution.end()
}

/// A `-wal` at one moment, and what SQLite has done to such files so far.
struct LogSeen {
    /// Inode and size.
    file: Option<(u64, u64)>,
    deletions: u64,
    truncations: u64,
}

impl LogSeen {
    fn now(execution: &Execution<'_>) -> Self {
        let log = fs::metadata(execution.database().with_extension("db-wal")).ok();
        let (deletions, truncations) = execution.environment.wal_deletions_and_truncations();
        Self { file: log.map(|log| (log.ino(), log.len())), deletions, truncations }
    }

    /// Only SQLite's own calls may remove or shorten a log that held something.
    fn check_against(&self, after: &Self) -> Result<(), String> {
        let Some((inode, bytes)) = self.file.filter(|(_, bytes)| *bytes > 0) else { return Ok(()) };
        match after.file {
            _ if after.deletions > self.deletions => Ok(()),
            Some((same, now)) if same == inode && (now >= bytes || after.truncations > self.truncations) => Ok(()),
            _ => Err(format!("a -wal of {bytes} bytes was removed or cut, and not by SQLite")),
        }
    }
}

impl Execution<'_> {
    fn database(&self) -> PathBuf {
        self.environment.folder.path().join(self.folder.to_string()).join("a.db")
    }

    /// Starts a process in the present folder.
    fn open_stores(&mut self) {
        fs::create_dir_all(self.environment.folder.path().join(self.folder.to_string())).expect("a folder");
        self.stores = (0..STORES).map(|_| (self.make_store)(self.environment, self.database())).collect();
    }

    fn perform(&mut self, index: u32, store: usize, op: &Op) {
        match *op {
            Op::Insert { parts, entry_point } => {
                self.inserted.push((index, parts));
                let result = self.stores[store].write(entry_point, &|transaction| insert(transaction, index, parts));
                self.wrote(result, index, TxnState::Whole(index));
            }
            Op::Update(txn, entry_point) => self.update(index, store, txn, entry_point),
            Op::Delete(txn, entry_point) => self.delete(store, txn, entry_point),
            Op::Read => match self.stores[store].read() {
                Ok(seen) => self.history.ledger.read(ACTOR, &seen),
                Err(reply) => self.refused(&reply),
            },
            Op::Checkpoint(mode) => {
                let _ = self.stores[store].checkpoint(mode).map_err(|reply| self.refused(&reply));
            }
            Op::Close => {
                let _ = self.stores[store].close().map_err(|reply| self.refused(&reply));
            }
            Op::Crash { keeps_shm } => self.crash(keeps_shm),
            Op::Wait { secs } => self.environment.clock.advance(Duration::from_secs(secs)),
            Op::Arm => self.environment.arm(),
            Op::Heal => self.environment.heal(),
        }
    }

    fn update(&mut self, index: u32, store: usize, txn: Index, entry_point: EntryPoint) {
        let sql = "UPDATE ledger SET version = ?1 WHERE actor = ?2 AND txn = ?3";
        self.change(store, txn, entry_point, TxnState::Whole(index), |transaction, txn| {
            transaction.execute(sql, params![index, ACTOR.to_string(), txn])
        });
    }

    fn delete(&mut self, store: usize, txn: Index, entry_point: EntryPoint) {
        let sql = "DELETE FROM ledger WHERE actor = ?1 AND txn = ?2";
        self.change(store, txn, entry_point, TxnState::Absent, |transaction, txn| {
            transaction.execute(sql, params![ACTOR.to_string(), txn])
        });
    }

    /// Changes all rows of an earlier transaction. If there are none, nothing is written and nothing follows: the
    /// COMMIT of that transaction may have failed half way, so that its rows are absent now and there after a crash.
    fn change(
        &mut self,
        store: usize,
        txn: Index,
        entry_point: EntryPoint,
        state: TxnState,
        sql: impl Fn(&Transaction<'_>, u32) -> rusqlite::Result<usize>,
    ) {
        if self.inserted.is_empty() {
            return;
        }
        let (txn, parts) = *txn.get(&self.inserted);
        let changed = Cell::new(0);
        let result = self.stores[store].write(entry_point, &|transaction| {
            changed.set(sql(transaction, txn)?);
            Ok(())
        });
        if result.is_err() || changed.get() == parts as usize {
            self.wrote(result, txn, state);
        } else if changed.get() > 0 {
            self.wrote(result, txn, TxnState::Torn);
        }
    }

    fn wrote(&mut self, result: Result<(), Reply>, txn: u32, state: TxnState) {
        let key = TxnKey { actor: ACTOR, txn };
        match result {
            Ok(()) => self.history.ledger.acked(key, state),
            Err(reply) => {
                let ledger = &mut self.history.ledger;
                if reply.outcome_unknown {
                    ledger.indeterminate(key, state)
                } else {
                    ledger.refused(key, state)
                }
                self.refused(&reply);
            }
        }
    }

    fn refused(&mut self, reply: &Reply) {
        if reply.alarm {
            self.history.alarms.push(Alarm { actor: ACTOR, message: reply.message.clone() });
        }
    }

    /// The files are kept, in a folder where no process has them open; the memory is not.
    fn crash(&mut self, keeps_shm: bool) {
        let (from, mode) = (self.database(), self.environment.shared_state.mode());
        self.folder += 1;
        let to = self.database();
        fs::create_dir_all(to.parent().expect("a folder")).expect("a folder");
        let files = fs::read_dir(from.parent().expect("a folder")).expect("the old folder");
        for file in files.map(|file| file.expect("a file")) {
            let name = file.file_name();
            if keeps_shm || !name.to_string_lossy().ends_with("-shm") {
                fs::copy(file.path(), to.with_file_name(name)).expect("a copy");
            }
        }
        // What the old process still does, it does to the old files.
        self.environment.heal();
        self.stores.clear();
        self.environment.shared_state.set_mode(mode);
        self.open_stores();
    }

    /// The faults heal, the stores recover and close, and the oracles judge.
    fn end(mut self) -> Result<(), String> {
        self.environment.heal();
        for store in 0..STORES {
            self.probe(store);
        }
        for store in &self.stores {
            store.close().map_err(|reply| format!("closing failed though nothing else did: {}", reply.message))?;
        }
        self.history.open_files = self.environment.open_files();
        let database = self.database();
        let files = hygiene::stray_files(&database).expect("the folder");
        let look = FreshLook::at(&database, None, files);
        let findings = oracle::judge(&judge::evidence(self.history, look, Spending::default()));
        let findings: Vec<String> =
            findings.iter().map(|found| format!("{} ({}): {}", found.verdict, found.oracle, found.detail)).collect();
        if findings.is_empty() { Ok(()) } else { Err(findings.join("; ")) }
    }

    fn probe(&mut self, store: usize) {
        let clock = self.environment.clock.clone();
        let Ok(progress) = driver::probe(ACTOR, &clock, ATTEMPTS_MAX, |attempt| {
            let txn = PROBE_BASE + store as u32 * ATTEMPTS_MAX + attempt;
            let result = self.stores[store].write(EntryPoint::Write, &|transaction| insert(transaction, txn, 2));
            let error = result.as_ref().err().map(|reply| reply.message.clone());
            self.wrote(result, txn, TxnState::Whole(txn));
            Ok::<_, Infallible>(error.map(strategies::Failure::other))
        });
        self.history.progress.push(progress);
    }
}

fn insert(transaction: &Transaction<'_>, txn: u32, parts: u32) -> rusqlite::Result<()> {
    let name = ACTOR.to_string();
    transaction.execute("INSERT OR IGNORE INTO ledger_actors VALUES(?1)", [&name])?;
    for part in 0..parts {
        let sql = "INSERT INTO ledger VALUES(?1, ?2, ?3, ?4, ?2, zeroblob(700))";
        transaction.execute(sql, params![name, txn, part, parts])?;
    }
    Ok(())
}
