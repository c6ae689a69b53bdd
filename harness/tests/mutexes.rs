//! A whole SQLite that goes by the scheduled mutexes. The configuration is the process's, hence a test program of its
//! own; what must be seen without it runs in a child process.
#![expect(unsafe_code, reason = "one connection on several threads, as SQLite allows and the engine's type does not")]

use seawall_harness::actor::Actor;
use seawall_harness::engine::{Db, Engine, OPEN_READ_WRITE_CREATE, SqlError, StepResult};
use seawall_harness::fault::FaultPlan;
use seawall_harness::rig::Rig;
use seawall_harness::runtime::current_actor;
use seawall_harness::sched::random::Random;
use seawall_harness::sched::{ENDED, Execution, Point, Policy, Task};
use seawall_harness::seed::Seed;
use std::cell::{Cell, RefCell};
use std::path::Path;
use std::process::Command;
use std::rc::Rc;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

const DATABASE: &str = "/sim/shared.db";

/// Rows of each transaction.
const ROWS: i64 = 7;

thread_local! {
    /// The actor that has made a VFS call in a call of SQLite's that has not returned yet.
    static INSIDE: Cell<Option<Actor>> = const { Cell::new(None) };
    /// VFS calls that another actor made in the middle of it.
    static INTRUSIONS: Cell<u64> = const { Cell::new(0) };
}

/// Wraps every call of SQLite's.
fn api<T>(call: impl FnOnce() -> T) -> T {
    let result = call();
    if INSIDE.get() == Some(current_actor()) {
        INSIDE.set(None);
    }
    result
}

/// At every VFS call.
fn watch(actor: Actor) {
    match INSIDE.get() {
        Some(other) if other != actor => INTRUSIONS.set(INTRUSIONS.get() + 1),
        _ => INSIDE.set(Some(actor)),
    }
}

/// [`Random`], and how often an actor had to wait.
struct Watching(Random, Rc<Cell<u64>>);

impl Policy for Watching {
    fn begin(&mut self, seed: Seed, actors: usize) {
        self.0.begin(seed, actors);
    }

    fn choose(&mut self, point: &Point<'_>) -> usize {
        // No actor sleeps: there is one connection.
        let waits = point.call.is_none() && !point.can_go_on && point.section != ENDED;
        self.1.set(self.1.get() + u64::from(waits));
        self.0.choose(point)
    }
}

/// A simulated machine with one connection for all actors.
struct Bench {
    rig: Rig,
    waits: Rc<Cell<u64>>,
}

#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    execution: Execution,
    digest: String,
    intrusions: u64,
    waits: u64,
    complaints: Vec<String>,
    rows: Option<i64>,
}

impl Bench {
    fn new(engine: Engine) -> Self {
        let waits: Rc<Cell<u64>> = Rc::default();
        let policy = Box::new(Watching(Random::default(), Rc::clone(&waits)));
        let rig = Rig::builder().engine(engine).default_vfs().trace_capacity(2).policy(policy);
        Self { rig: rig.observer(|actor, _| watch(actor)).build().unwrap(), waits }
    }

    /// Three actors run statements on one connection, each of which changes all rows of a transaction or none.
    fn execute(&mut self, seed: u64) -> Outcome {
        self.execute_at_most(seed, 1_000_000)
    }

    fn execute_at_most(&mut self, seed: u64, calls_max: u64) -> Outcome {
        let seed = Seed(seed);
        let simulation = self.rig.begin(seed, FaultPlan::empty()).unwrap();
        let db = Rc::new(simulation.open(DATABASE).unwrap());
        let journal = ["WAL", "DELETE"][seed.0 as usize % 2];
        let setup = format!(
            "PRAGMA page_size = 512; PRAGMA cache_size = 3; PRAGMA journal_mode = {journal};
             CREATE TABLE t(actor, round, n, v, pad); CREATE INDEX i ON t(actor, round);
             CREATE TABLE seven(n); INSERT INTO seven VALUES (1), (2), (3), (4), (5), (6), (7)"
        );
        db.execute(&setup).unwrap();
        INSIDE.set(None);
        INTRUSIONS.set(0);
        self.waits.set(0);
        let complaints: Rc<RefCell<Vec<String>>> = Rc::default();
        let actors = (1..=3_u16).map(|thread| {
            let (db, complaints) = (Rc::clone(&db), Rc::clone(&complaints));
            let task: Task = Box::new(move || {
                if let Err(error) = write_and_read(&db, thread, &complaints) {
                    complaints.borrow_mut().push(error.to_string());
                }
            });
            (Actor { process: 1, thread }, task)
        });
        self.rig.set_calls_max(calls_max);
        let execution = self.rig.run(seed.stream("schedule"), actors.collect());
        let complaints = complaints.take();
        let check = db.query("PRAGMA integrity_check").unwrap();
        assert_eq!(check.len(), 1);
        assert_eq!(check[0][0].as_text(), Some("ok"), "seed {seed:?}");
        let rows = db.query_int("SELECT count(*) FROM t").unwrap();
        let digest = self.rig.digest();
        Outcome { execution, digest, intrusions: INTRUSIONS.get(), waits: self.waits.get(), complaints, rows }
    }
}

fn write_and_read(db: &Db, thread: u16, complaints: &RefCell<Vec<String>>) -> Result<(), SqlError> {
    for round in 1..=4 {
        api(|| {
            db.execute(&format!("INSERT INTO t SELECT {thread}, {round}, n, 0, zeroblob(150) FROM seven"))?;
            INSIDE.set(INSIDE.get().filter(|actor| *actor != current_actor()));
            db.execute(&format!("UPDATE t SET v = v + 1 WHERE actor = {thread}"))
        })?;
        if round == 3 {
            api(|| db.execute(&format!("DELETE FROM t WHERE actor = {thread} AND round < 3")))?;
        }
        let whole = "SELECT count(*) FROM (SELECT count(*) AS n, min(v) AS a, max(v) AS b FROM t GROUP BY actor, round)
                     WHERE n <> 7 OR a <> b";
        let mut statement = api(|| db.prepare(whole))?;
        if api(|| statement.step())? == StepResult::Row && statement.int(0) != 0 {
            complaints.borrow_mut().push(format!("{} transactions in part", statement.int(0)));
        }
        api(|| drop(statement));
    }
    Ok(())
}

/// The linked engine and the system's, both with their mutexes scheduled; one test at a time.
fn engines() -> (MutexGuard<'static, ()>, Vec<Engine>) {
    static LOCK: Mutex<()> = Mutex::new(());
    static ENGINES: LazyLock<Vec<Engine>> = LazyLock::new(|| {
        let folders = ["/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib64", "/usr/lib"];
        let mut paths = folders.iter().map(|folder| Path::new(folder).join("libsqlite3.so.0"));
        let system = paths.find(|path| path.exists()).map(|path| Engine::load(&path).unwrap());
        let engines: Vec<Engine> = std::iter::once(Engine::linked()).chain(system).collect();
        for engine in &engines {
            engine.install_scheduled_mutexes().unwrap();
        }
        engines
    });
    let guard = LOCK.lock().unwrap_or_else(PoisonError::into_inner);
    (guard, ENGINES.clone())
}

/// True in the child process that runs the test of this name again; the parent waits for it to succeed.
fn is_child(test: &str) -> bool {
    const MARK: &str = "SEAWALL_MUTEXES_CHILD";
    if std::env::var_os(MARK).is_some() {
        return true;
    }
    let program = std::env::current_exe().unwrap();
    let output = Command::new(program).args(["--exact", test, "--nocapture"]).env(MARK, "1").output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{}\n{}\n{}", output.status, text(&output.stdout), text(&output.stderr));
    false
}

#[test]
fn actors_on_one_connection_wait_for_each_others_statements() {
    let (_guard, engines) = engines();
    for engine in engines {
        let version = engine.to_string();
        let mut bench = Bench::new(engine);
        let (mut waits, mut waiting) = (0, 0);
        for seed in 0..400 {
            let outcome = bench.execute(seed);
            assert_eq!(outcome.complaints, Vec::<String>::new(), "{version}, seed {seed}");
            assert_eq!(outcome.intrusions, 0, "{version}, seed {seed}");
            assert_eq!(outcome.rows, Some(3 * 2 * ROWS), "{version}, seed {seed}");
            assert!(outcome.execution.deadlocked.is_empty() && !outcome.execution.halted, "{version}, seed {seed}");
            waits += outcome.waits;
            waiting += u32::from(outcome.waits > 0);
            if seed < 50 {
                assert_eq!(bench.execute(seed), outcome, "{version}, seed {seed} once more");
            }
        }
        println!("{version}: an actor waited in {waiting} of 400 executions, {waits} times");
        assert!(waiting > 300, "{version}: an actor waited in {waiting} of 400 executions");
    }
}

#[test]
fn an_execution_that_is_halted_leaves_no_lock_behind() {
    let (_guard, engines) = engines();
    let mut bench = Bench::new(engines[0].clone());
    for seed in 0..100 {
        // What follows the execution is done on the same connection.
        let outcome = bench.execute_at_most(seed, 20 + seed * 7);
        assert!(outcome.execution.halted && outcome.execution.deadlocked.is_empty(), "seed {seed}");
        assert!(outcome.rows.is_some_and(|rows| rows % ROWS == 0), "seed {seed}: {outcome:?}");
        assert_eq!(outcome.intrusions, 0, "seed {seed}");
    }
}

#[test]
fn without_them_actors_meet_in_the_middle_of_a_statement() {
    if !is_child("without_them_actors_meet_in_the_middle_of_a_statement") {
        return;
    }
    // What SQLite does once two are let in is undefined, so this ends before the second one gets any further.
    let mut bench = Bench::new(Engine::linked());
    let hook: Box<dyn FnMut() -> bool> = Box::new(|| INTRUSIONS.get() > 0);
    bench.rig.set_policy(Box::new(Ending(Random::default(), hook)));
    for seed in 0..50 {
        bench.execute(seed);
    }
    panic!("no two actors met in 50 executions");
}

/// [`Random`], which ends the process with success as soon as something has come true.
struct Ending(Random, Box<dyn FnMut() -> bool>);

impl Policy for Ending {
    fn begin(&mut self, seed: Seed, actors: usize) {
        self.0.begin(seed, actors);
    }

    fn choose(&mut self, point: &Point<'_>) -> usize {
        if (self.1)() {
            std::process::exit(0);
        }
        self.0.choose(point)
    }
}

#[test]
fn they_are_installed_in_an_idle_library_only() {
    if !is_child("they_are_installed_in_an_idle_library_only") {
        return;
    }
    let engine = Engine::linked();
    let db = engine.open(":memory:", OPEN_READ_WRITE_CREATE, None).unwrap();
    let error = engine.install_scheduled_mutexes().unwrap_err();
    assert!(error.is_busy() && error.message.contains("a connection may be open"), "{error}");
    db.execute("CREATE TABLE t(x)").unwrap();
    db.close().unwrap();
    // A default VFS stays the default one.
    let bench = Bench::new(engine.clone());
    let simulation = bench.rig.simulation();
    let default = || default_vfs(&engine);
    assert_eq!(default(), simulation.vfs());
    engine.install_scheduled_mutexes().unwrap();
    assert_eq!(default(), simulation.vfs());
    assert!(engine.has_vfs("unix") && engine.has_vfs(simulation.machine_vfs()));
    let db = simulation.open(DATABASE).unwrap();
    db.execute("CREATE TABLE t(x)").unwrap();
    engine.install_scheduled_mutexes().unwrap();
    Engine::linked().install_scheduled_mutexes().unwrap();
    db.execute("INSERT INTO t VALUES (1)").unwrap();
}

/// The name of the engine's default VFS.
fn default_vfs(engine: &Engine) -> String {
    // SAFETY: null asks for the default one.
    let vfs = unsafe { (engine.vfs_api().vfs_find)(std::ptr::null()) };
    // SAFETY: there is always one, and it stays.
    let name = unsafe { (*vfs).zName };
    // SAFETY: a NUL-terminated name.
    unsafe { std::ffi::CStr::from_ptr(name) }.to_str().unwrap().to_owned()
}

#[test]
fn threads_share_a_connection_and_have_their_own() {
    struct Shared(Db);
    // SAFETY: SQLite's own mutex makes one thread wait for the other; `execute` is one call of SQLite's.
    unsafe impl Sync for Shared {}

    let (_guard, engines) = engines();
    for engine in engines {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.db");
        let open = || {
            let db = engine.open(path.to_str().unwrap(), OPEN_READ_WRITE_CREATE, Some("unix")).unwrap();
            db.busy_timeout(30_000).unwrap();
            db
        };
        let shared = Shared(open());
        shared.0.execute("PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF; CREATE TABLE t(x)").unwrap();
        let (shared, open) = (&shared, &open);
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(move || {
                    let own = open();
                    for round in 0..100 {
                        shared.0.execute("INSERT INTO t VALUES (zeroblob(100))").unwrap();
                        if round % 4 == 0 {
                            own.execute("INSERT INTO t VALUES (zeroblob(5000)); SELECT sum(length(x)) FROM t").unwrap();
                        }
                    }
                });
            }
        });
        assert_eq!(shared.0.query_int("SELECT count(*) FROM t").unwrap(), Some(375));
        assert_eq!(shared.0.query("PRAGMA integrity_check").unwrap()[0][0].as_text(), Some("ok"));
    }
}
