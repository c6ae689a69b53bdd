//! The two media: real processes with real files on the unix VFS, and processes of a simulated machine.

use crate::ops::{Hands, NAMES, Op, Reply};
use rusqlite::ffi;
use seawall_harness::actor::Actor;
use seawall_harness::clock::Clock;
use seawall_harness::media::sim::{Machine, SimVfs};
use seawall_harness::process::{Event, Life, Worker};
use seawall_harness::runtime;
use seawall_harness::seed::Seed;
use seawall_harness::shared_state::SharedState;
use seawall_harness::vfs::api::SqliteApi;
use std::cell::RefCell;
use std::fs;
use std::io::{BufRead, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::Duration;

/// Processes in use.
pub const PROCESSES: u8 = 3;

/// Set for a worker: the folder of its files.
const WORKER: &str = "SEAWALL_CONFORMANCE_FOLDER";

/// What is in a folder: name, size, checksum.
pub type Listing = Vec<(String, u64, u32)>;

/// What the operations are carried out on.
pub trait Medium {
    fn execute(&mut self, process: u8, op: Op) -> Reply;
    /// Closes all files of all processes.
    fn close_all(&mut self);
    /// The files that are there, with their bytes.
    fn listing(&mut self) -> Listing;
    /// Deletes all files.
    fn clear(&mut self);
}

// ------------------------------------------------------------------------------------------------
// The real one

/// What a worker is told.
#[derive(serde::Serialize, serde::Deserialize)]
enum Order {
    Execute(Op),
    Reset,
}

pub struct Real {
    // The workers end before their folder does.
    workers: Vec<Worker>,
    events: Sender<Event<Reply>>,
    inbox: Receiver<Event<Reply>>,
    folder: tempfile::TempDir,
}

impl Real {
    pub fn new() -> Self {
        // A plain name: SQLite looks for dots and hyphens in the whole path of a log.
        let folder = tempfile::Builder::new().prefix("conformance").tempdir().unwrap();
        let (events, inbox) = mpsc::channel();
        let mut real = Self { workers: Vec::new(), events, inbox, folder };
        real.workers = (0..PROCESSES).map(|process| real.start(process)).collect();
        real
    }

    /// The test binary again, in the part of a process with hands.
    fn start(&self, process: u8) -> Worker {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "worker", "--nocapture", "--test-threads=1"]).env(WORKER, self.folder.path());
        Worker::spawn(&mut command, Life { process: process.into(), number: 0 }, self.events.clone()).unwrap()
    }

    fn order(&mut self, process: u8, order: &Order) -> Reply {
        self.workers[usize::from(process)].order(order).unwrap();
        loop {
            match self.inbox.recv_timeout(Duration::from_secs(30)).expect("a worker hangs") {
                Event::Report(_, reply) => return reply,
                // The test framework's own lines.
                Event::Garbage(..) => {}
                Event::Ended(life) => assert_ne!(life.process, u16::from(process), "a worker died"),
            }
        }
    }

    fn path(&self, name: u8) -> PathBuf {
        self.folder.path().join(NAMES[usize::from(name) % NAMES.len()])
    }
}

/// What happens to a file from the outside, on real files.
fn outside(folder: &Path, op: Op) -> Reply {
    let path = |name: u8| folder.join(NAMES[usize::from(name) % NAMES.len()]);
    let done = |is_done: bool| Reply::with(ffi::SQLITE_OK, [i64::from(is_done)]);
    match op {
        Op::Stat { name } => match fs::read(path(name)) {
            Ok(bytes) => Reply::with(ffi::SQLITE_OK, [bytes.len() as i64, i64::from(crc32fast::hash(&bytes))]),
            Err(_) => Reply::with(ffi::SQLITE_OK, [-1]),
        },
        Op::Rename { from, to } => done(fs::rename(path(from), path(to)).is_ok()),
        Op::Unlink { name } => done(fs::remove_file(path(name)).is_ok()),
        _ => Reply::SKIPPED,
    }
}

impl Medium for Real {
    fn execute(&mut self, process: u8, op: Op) -> Reply {
        match op {
            Op::Kill => {
                let worker = &mut self.workers[usize::from(process)];
                worker.kill().unwrap();
                let fresh = self.start(process);
                self.workers[usize::from(process)] = fresh;
                // The dead one's last event must not be taken for the fresh one's.
                while !matches!(self.inbox.recv().unwrap(), Event::Ended(_)) {}
                Reply::code(ffi::SQLITE_OK)
            }
            // A read from the outside opens and closes the file, but in a process without locks.
            Op::Stat { .. } | Op::Rename { .. } | Op::Unlink { .. } => outside(self.folder.path(), op),
            _ => self.order(process, &Order::Execute(op)),
        }
    }

    fn close_all(&mut self) {
        for process in 0..PROCESSES {
            self.order(process, &Order::Reset);
        }
    }

    fn listing(&mut self) -> Listing {
        let names = NAMES.iter().zip(0..).filter_map(|(name, number)| {
            let bytes = fs::read(self.path(number)).ok()?;
            Some(((*name).to_owned(), bytes.len() as u64, crc32fast::hash(&bytes)))
        });
        let mut listing: Listing = names.collect();
        listing.sort();
        listing
    }

    fn clear(&mut self) {
        for entry in fs::read_dir(self.folder.path()).unwrap() {
            fs::remove_file(entry.unwrap().path()).unwrap();
        }
    }
}

/// The part of a worker: carries orders out until there are no more. False if this is no worker.
pub fn work() -> bool {
    let Some(folder) = std::env::var_os(WORKER) else { return false };
    let folder = PathBuf::from(folder);
    let prefix = format!("{}/", folder.display());
    let mut hands = Hands::new("unix", &prefix);
    let mut out = std::io::stdout();
    // The test framework has begun a line.
    writeln!(out).unwrap();
    for line in std::io::stdin().lock().lines() {
        let reply = match serde_json::from_str(&line.unwrap()).unwrap() {
            Order::Execute(Op::OpenClose { name }) => {
                let opened = fs::File::open(hands.path(name)).is_ok();
                Reply::with(ffi::SQLITE_OK, [i64::from(opened)])
            }
            Order::Execute(op) => hands.execute(op),
            Order::Reset => {
                hands.reset();
                Reply::code(ffi::SQLITE_OK)
            }
        };
        writeln!(out, "{}", serde_json::to_string(&reply).unwrap()).unwrap();
    }
    // Files that are still open are for the system to close, as in a process that dies.
    std::process::exit(0);
}

// ------------------------------------------------------------------------------------------------
// The simulated one

/// The folder of the simulated files.
const FOLDER: &str = "/tmp/conformance/";

pub struct Simulated {
    hands: Vec<Hands>,
    pub machine: Rc<RefCell<Machine>>,
    _vfs: SimVfs,
}

/// A simulated machine under a VFS with this name.
pub fn machine(name: &str) -> (Rc<RefCell<Machine>>, SimVfs) {
    let clock = Clock::new(Arc::new(SharedState::private(2)));
    clock.set_scale(0);
    let machine = Rc::new(RefCell::new(Machine::new(clock, Seed(1))));
    let vfs = SimVfs::register(SqliteApi::linked(), name, Rc::clone(&machine)).unwrap();
    (machine, vfs)
}

/// Works in the name of process `process` from now on.
pub fn work_as(process: u8) {
    runtime::set_current_actor(Actor { process: u16::from(process) + 1, thread: 1 });
}

impl Simulated {
    pub fn new(name: &str) -> Self {
        let (machine, vfs) = machine(name);
        let hands = (0..PROCESSES).map(|_| Hands::new(name, FOLDER)).collect();
        Self { hands, machine, _vfs: vfs }
    }

    fn path(name: u8) -> String {
        format!("{FOLDER}{}", NAMES[usize::from(name) % NAMES.len()])
    }
}

impl Medium for Simulated {
    fn execute(&mut self, process: u8, op: Op) -> Reply {
        work_as(process);
        let number = u16::from(process) + 1;
        let mut machine = self.machine.borrow_mut();
        let done = |is_done: bool| Reply::with(ffi::SQLITE_OK, [i64::from(is_done)]);
        match op {
            Op::Kill => {
                machine.kill(number);
                drop(machine);
                self.hands[usize::from(process)].reset();
                self.machine.borrow_mut().revive(number);
                Reply::code(ffi::SQLITE_OK)
            }
            Op::Stat { name } => match machine.file(&Self::path(name)) {
                Some(bytes) => Reply::with(ffi::SQLITE_OK, [bytes.len() as i64, i64::from(crc32fast::hash(&bytes))]),
                None => Reply::with(ffi::SQLITE_OK, [-1]),
            },
            Op::Rename { from, to } => done(machine.rename(&Self::path(from), &Self::path(to))),
            Op::Unlink { name } => done(machine.unlink(&Self::path(name))),
            Op::OpenClose { name } => {
                machine.drop_process_locks(number, &Self::path(name));
                done(machine.exists(&Self::path(name)))
            }
            _ => {
                drop(machine);
                self.hands[usize::from(process)].execute(op)
            }
        }
    }

    fn close_all(&mut self) {
        for (process, hands) in (0..PROCESSES).zip(&mut self.hands) {
            work_as(process);
            hands.reset();
        }
        let machine = self.machine.borrow();
        assert_eq!(machine.open_files(), 0, "files are left open");
        assert!(!machine.any_locks(), "locks are left");
        assert_eq!(machine.panic_message(), None);
    }

    fn listing(&mut self) -> Listing {
        let machine = self.machine.borrow();
        let files = machine.list().into_iter().filter_map(|(path, size)| {
            let name = path.strip_prefix(FOLDER)?;
            NAMES.contains(&name).then(|| (name.to_owned(), size, crc32fast::hash(&machine.file(&path).unwrap())))
        });
        files.collect()
    }

    fn clear(&mut self) {
        let mut machine = self.machine.borrow_mut();
        for (name, _) in machine.list() {
            machine.unlink(&name);
        }
    }
}
