//! The cache under threads that call at once and opens that fail: exactly one successful initialisation for each file,
//! and no file open at the end.

use super::environment::Environment;
use super::{config, regressions, rules};
use proptest::prelude::*;
use proptest::sample::select;
use rusqlite::{Connection, ffi};
use seawall::{BreakerState, Cache, Event, EventKind};
use seawall_harness::actor::Actor;
use seawall_harness::runtime;
use std::collections::BTreeMap;
use std::panic::resume_unwind;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Barrier, Mutex};
use std::time::Duration;

proptest! {
    #![proptest_config(config(600, regressions!("cache")))]

    #[test]
    fn each_file_is_initialised_once_under_any_interleaving_of_callers_and_failures(rush in rush()) {
        run(&rush);
    }

    #[test]
    fn an_initialisation_that_fails_some_times_succeeds_once(failures in prop::collection::vec(failure(), 0..8)) {
        let call = Call { file: 0, spelling: 0, kind: Kind::Write };
        run(&Rush { rules: Vec::new(), seed: 0, failures: [failures, Vec::new()], threads: vec![vec![call]] });
    }
}

/// Threads that call at once, and the faults and failures.
#[derive(Clone, Debug)]
struct Rush {
    rules: Vec<String>,
    seed: u64,
    /// How the first initialisations of each file end.
    failures: [Vec<Failure>; FILES],
    /// The calls of each thread.
    threads: Vec<Vec<Call>>,
}

#[derive(Clone, Copy, Debug)]
struct Call {
    file: usize,
    spelling: usize,
    kind: Kind,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Write,
    Read,
    Close,
}

/// How an initialisation fails.
#[derive(Clone, Copy, Debug)]
enum Failure {
    Error(i32),
    Panic,
    /// It returns success and leaves its transaction open.
    OpenTransaction,
}

const FILES: usize = 2;

fn failure() -> impl Strategy<Value = Failure> {
    let codes = [ffi::SQLITE_ERROR, ffi::SQLITE_BUSY, ffi::SQLITE_FULL, ffi::SQLITE_IOERR_WRITE, ffi::SQLITE_CORRUPT];
    let error = select(codes.to_vec()).prop_map(Failure::Error);
    prop_oneof![4 => error, 1 => Just(Failure::Panic), 1 => Just(Failure::OpenTransaction)]
}

fn rush() -> impl Strategy<Value = Rush> {
    let kind = prop_oneof![5 => Just(Kind::Write), 3 => Just(Kind::Read), 1 => Just(Kind::Close)];
    let call = (0..FILES, 0..SPELLINGS, kind).prop_map(|(file, spelling, kind)| Call { file, spelling, kind });
    let threads = prop::collection::vec(prop::collection::vec(call, 1..8), 2..6);
    let failures = || prop::collection::vec(failure(), 0..4);
    let rules = prop::collection::vec(prop_oneof![rules::error_of_opening(), rules::error()], 0..3);
    (rules, 0..1000_u64, (failures(), failures()), threads).prop_map(|(rules, seed, (first, second), threads)| Rush {
        rules,
        seed,
        failures: [first, second],
        threads,
    })
}

/// The initialisations of one file.
#[derive(Default)]
struct Inits {
    failures: Vec<Failure>,
    begun: AtomicU32,
    succeeded: AtomicU32,
    is_running: AtomicBool,
    /// What does not hold. It is no panic, because the cache must survive panics.
    complaints: Mutex<Vec<&'static str>>,
}

impl Inits {
    fn run(&self, connection: &mut Connection) -> rusqlite::Result<()> {
        if self.is_running.swap(true, Ordering::SeqCst) {
            self.complaints.lock().unwrap().push("two initialisations at once");
        }
        if self.succeeded.load(Ordering::SeqCst) > 0 {
            self.complaints.lock().unwrap().push("initialised again after a success");
        }
        let result = connection.execute_batch("CREATE TABLE IF NOT EXISTS row(thread, number)");
        self.is_running.store(false, Ordering::SeqCst);
        result?;
        let nth = self.begun.fetch_add(1, Ordering::SeqCst) as usize;
        match self.failures.get(nth) {
            Some(Failure::Error(code)) => Err(rusqlite::Error::SqliteFailure(ffi::Error::new(*code), None)),
            // Past the hook that would print it.
            Some(Failure::Panic) => resume_unwind(Box::new("the initialisation panics")),
            Some(Failure::OpenTransaction) => connection.execute_batch("BEGIN; INSERT INTO row VALUES(-1, -1)"),
            None => {
                self.succeeded.fetch_add(1, Ordering::SeqCst);
                Ok(())
            }
        }
    }
}

/// A rush while it is executed.
struct Scene<'a> {
    environment: &'a Environment,
    cache: Cache,
    inits: Arc<[Inits; FILES]>,
    events: Arc<Mutex<Vec<Event>>>,
    /// File, thread and number of each row that was acknowledged.
    acked: Mutex<Vec<(usize, i64, i64)>>,
}

const SPELLINGS: usize = 3;

impl<'a> Scene<'a> {
    fn new(environment: &'a Environment, rush: &Rush) -> Self {
        let inits = rush.failures.clone().map(|failures| Inits { failures, ..Inits::default() });
        let (inits, events) = (Arc::new(inits), Arc::new(Mutex::new(Vec::new())));
        let (of_files, sink) = (Arc::clone(&inits), Arc::clone(&events));
        let cache = Cache::builder()
            .vfs(environment.shim.name())
            .os(environment.os())
            .init(move |connection| {
                let file = usize::from(connection.path().is_some_and(|path| path.ends_with("1.db")));
                of_files[file].run(connection)
            })
            .events(Arc::new(move |event: &Event| sink.lock().unwrap().push(event.clone())))
            .build();
        std::os::unix::fs::symlink(environment.folder.path(), environment.folder.path().join("link")).unwrap();
        Self { environment, cache, inits, events, acked: Mutex::default() }
    }

    fn path(&self, file: usize, spelling: usize) -> PathBuf {
        let folder = self.environment.folder.path();
        let folder = [folder.to_owned(), folder.join("."), folder.join("link")][spelling].clone();
        folder.join(format!("{file}.db"))
    }

    fn call(&self, thread: i64, number: i64, call: Call) -> bool {
        let path = self.path(call.file, call.spelling);
        match call.kind {
            Kind::Write => {
                let row = (thread, number);
                let written =
                    self.cache.write(path, |transaction| transaction.execute("INSERT INTO row VALUES(?1, ?2)", row));
                let is_acked = written.is_ok();
                if is_acked {
                    self.acked.lock().unwrap().push((call.file, thread, number));
                }
                is_acked
            }
            Kind::Read => {
                let sql = "SELECT count(*) FROM row";
                self.cache.read(path, |connection| connection.query_row(sql, [], |_| Ok(()))).is_ok()
            }
            Kind::Close => self.cache.close(path).is_ok(),
        }
    }

    /// A call whose initialisation may panic into its caller.
    fn call_unwinding(&self, thread: i64, number: i64, call: Call) -> bool {
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.call(thread, number, call))).unwrap_or(false)
    }

    fn rush(&self, threads: &[Vec<Call>]) {
        let all_there = Barrier::new(threads.len());
        std::thread::scope(|scope| {
            for (thread, calls) in (1..).zip(threads) {
                let all_there = &all_there;
                scope.spawn(move || {
                    runtime::set_current_actor(Actor { process: 1, thread: thread as u16 });
                    all_there.wait();
                    for (number, call) in (0..).zip(calls) {
                        self.call_unwinding(thread, number, *call);
                    }
                });
            }
        });
    }

    /// The faults have healed: every call succeeds again, once the initialisation has no failure left.
    fn recover(&self, file: usize) {
        let attempts_max = self.inits[file].failures.len() + 2;
        let is_served = (0..attempts_max as i64).any(|attempt| {
            self.environment.clock.advance(Duration::from_secs(31));
            self.call_unwinding(0, attempt, Call { file, spelling: 0, kind: Kind::Write })
        });
        let health = self.cache.health(self.path(file, 0));
        assert!(is_served, "not served after {attempts_max} attempts: {health:#?}");
        for (number, spelling) in (100..).zip(0..SPELLINGS) {
            assert!(self.call(0, number, Call { file, spelling, kind: Kind::Write }), "{health:#?}");
        }
    }

    fn check(&self, file: usize) {
        let path = self.path(file, 0);
        assert_eq!(*self.inits[file].complaints.lock().unwrap(), Vec::<&str>::new());
        assert_eq!(self.inits[file].succeeded.load(Ordering::SeqCst), 1, "successful initialisations of file {file}");
        let health = self.cache.health(&path);
        assert_eq!((health.inits, health.breaker), (1, BreakerState::Closed), "{health:#?}");
        let events = self.events.lock().unwrap();
        let here: Vec<&EventKind> = events
            .iter()
            .filter(|event| *event.path == *path.canonicalize().unwrap())
            .map(|event| &event.kind)
            .collect();
        assert_eq!(here.iter().filter(|kind| matches!(kind, EventKind::InitCompleted)).count(), 1);
        let mut generations: Vec<u64> = here.iter().filter_map(|kind| generation(kind)).collect();
        // Threads may announce changes in any order, but each change once.
        generations.sort_unstable();
        assert_eq!(generations, (1..=health.breaker_generation).collect::<Vec<_>>());
    }

    fn check_rows(&self) {
        let mut rows: BTreeMap<usize, Vec<(i64, i64)>> = BTreeMap::new();
        for file in 0..FILES {
            let connection = Connection::open(self.path(file, 0)).unwrap();
            let mut statement = connection.prepare("SELECT thread, number FROM row").unwrap();
            let found = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
            rows.insert(file, found.collect::<rusqlite::Result<_>>().unwrap());
        }
        for (file, thread, number) in self.acked.lock().unwrap().iter() {
            assert!(
                rows[file].contains(&(*thread, *number)),
                "row {number} of thread {thread} is gone from file {file}"
            );
        }
        assert!(rows.values().flatten().all(|row| row.0 >= 0), "a transaction left open by an initialisation was kept");
    }
}

fn generation(kind: &EventKind) -> Option<u64> {
    match kind {
        EventKind::BreakerTripped { generation, .. }
        | EventKind::BreakerHalfOpened { generation }
        | EventKind::BreakerRecovered { generation } => Some(*generation),
        _ => None,
    }
}

fn run(rush: &Rush) {
    let environment = Environment::new(&rush.rules, rush.seed);
    let scene = Scene::new(&environment, rush);
    environment.arm();
    scene.rush(&rush.threads);
    environment.heal();
    for file in 0..FILES {
        let name = format!("{file}.db");
        let open =
            environment.open_files().iter().filter(|open| open.starts_with("db ") && open.ends_with(&name)).count();
        assert!(open <= 1, "{open} connections to {name}: {:?}", environment.open_files());
    }
    for file in 0..FILES {
        scene.recover(file);
        scene.check(file);
    }
    scene.cache.close_all().unwrap();
    assert_eq!(environment.open_files(), Vec::<String>::new(), "left open");
    scene.check_rows();
}
