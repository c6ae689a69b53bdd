//! The conformance suite: the simulated machine against reality.
//!
//! One set of operations on files, locks and shared memory is carried out at the level of the VFS by several real
//! processes with the unix VFS on real files, and by as many simulated processes. Result codes, values, bytes and the
//! files that are left must agree. The real medium is the judge; nothing here says what an operation should bring.
//!
//! Three sources: tables written by hand, each state of the locks that two files can reach together with each step from
//! there, and generated sequences. A table of operations and media is printed at the end.

mod media;
mod ops;
mod raw;
mod sql;

use media::{Medium, Real, Simulated};
use ops::{How, Op, Reply};
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Write;

/// Steps of processes.
type Steps = Vec<(u8, Op)>;

/// For each operation: carried out and agreed, differed, skipped as illegal.
#[derive(Default)]
struct Table(BTreeMap<String, [u64; 3]>);

/// Both media side by side.
struct Bench {
    real: Real,
    sim: Simulated,
    table: Table,
}

impl Bench {
    fn new(name: &str) -> Self {
        Self { real: Real::new(), sim: Simulated::new(name), table: Table::default() }
    }

    /// Carries the steps out on both media, from nothing to nothing, and tells the first difference.
    fn run(&mut self, steps: &[(u8, Op)]) -> Result<Vec<Reply>, String> {
        let mut difference = None;
        let mut replies = Vec::new();
        for (number, &(process, op)) in steps.iter().enumerate() {
            let real = self.real.execute(process, op);
            let sim = self.sim.execute(process, op);
            let counts = self.table.0.entry(op.word()).or_default();
            let column = if real != sim { 1 } else { usize::from(real == Reply::SKIPPED) * 2 };
            counts[column] += 1;
            if real != sim {
                difference = Some(format!("step {number}, p{process} {op:?}: real {real:?}, simulated {sim:?}"));
                break;
            }
            replies.push(real);
        }
        self.real.close_all();
        self.sim.close_all();
        let (real, sim) = (self.real.listing(), self.sim.listing());
        if difference.is_none() && real != sim {
            difference = Some(format!("files left: real {real:?}, simulated {sim:?}"));
        }
        self.real.clear();
        self.sim.clear();
        match difference {
            Some(text) => Err(steps.iter().fold(text, |mut text, step| {
                let _ = write!(text, "\n    {step:?}");
                text
            })),
            None => Ok(replies),
        }
    }

    #[track_caller]
    fn check(&mut self, what: &str, steps: &[(u8, Op)]) {
        if let Err(difference) = self.run(steps) {
            panic!("{what}: {difference}");
        }
    }

    fn print(&self, source: &str) {
        println!("\n{source}\n{:<14} {:>8} {:>8} {:>8}", "operation", "agree", "differ", "illegal");
        for (word, [agree, differ, skipped]) in &self.table.0 {
            println!("{word:<14} {agree:>8} {differ:>8} {skipped:>8}");
        }
        let total = |column: usize| self.table.0.values().map(|counts| counts[column]).sum::<u64>();
        println!("{:<14} {:>8} {:>8} {:>8}", "total", total(0), total(1), total(2));
    }
}

/// Not a test: the part of a real process. Without its environment it does nothing.
#[test]
fn worker() {
    media::work();
}

const fn open(slot: u8, name: u8, how: How) -> Op {
    Op::Open { slot, name, how }
}

const fn database(slot: u8) -> Op {
    open(slot, 0, How::Database)
}

const fn read(slot: u8, offset: u32, length: u32) -> Op {
    Op::Read { slot, offset, length }
}

const fn write(slot: u8, offset: u32, length: u32, fill: u8) -> Op {
    Op::Write { slot, offset, length, fill }
}

const fn map(slot: u8) -> Op {
    Op::ShmMap { slot, region: 0, extend: true }
}

const fn store(slot: u8, byte: u8) -> Op {
    Op::ShmStore { slot, region: 0, offset: 0, byte }
}

const fn load(slot: u8) -> Op {
    Op::ShmLoad { slot, region: 0, offset: 0 }
}

/// Every reachable pair of states of two holders, and every step from there. A state is known by what the steps to it
/// brought; the shortest way to it is taken.
fn explore(bench: &mut Bench, what: &str, setup: &[(u8, Op)], actions: &Steps, state: &dyn Fn(&Steps) -> Steps) {
    let mut known = BTreeSet::new();
    let mut queue = VecDeque::from([Steps::new()]);
    while let Some(way) = queue.pop_front() {
        for action in actions {
            let mut steps = setup.to_vec();
            steps.extend_from_slice(&way);
            steps.push(*action);
            let until = steps.len();
            let probe = state(&steps);
            steps.extend(probe);
            let replies = match bench.run(&steps) {
                Ok(replies) => replies,
                Err(difference) => panic!("{what}: {difference}"),
            };
            if replies[until - 1] != Reply::SKIPPED && known.insert(format!("{:?}", &replies[until..])) {
                queue.push_back(steps[setup.len()..until].to_vec());
            }
        }
    }
    println!("{what}: {} states, {} actions", known.len(), actions.len());
}

/// Two holders: two processes, or two files of one process; and a third process that looks on.
const HOLDERS: [(&str, [(u8, u8); 2]); 2] =
    [("two processes", [(0, 0), (1, 0)]), ("two files of one process", [(0, 0), (0, 1)])];

#[test]
fn every_transition_between_lock_levels() {
    let mut bench = Bench::new("sim-levels");
    for (what, holders) in HOLDERS {
        let mut setup: Steps = holders.iter().map(|&(process, slot)| (process, database(slot))).collect();
        setup.push((2, database(0)));
        let mut actions = Steps::new();
        for (process, slot) in holders {
            actions.extend([1, 2, 4].map(|level| (process, Op::Lock { slot, level })));
            actions.extend([0, 1].map(|level| (process, Op::Unlock { slot, level })));
            actions.push((process, Op::CheckReserved { slot }));
        }
        // The locks may be cancelled behind the VFS's back, but once is enough.
        actions.push((0, Op::OpenClose { name: 0 }));
        let state = |_: &Steps| {
            let mut probe: Steps = holders.iter().map(|&(process, slot)| (process, Op::LockState { slot })).collect();
            probe.extend([1, 2, 4].map(|level| (2, Op::Lock { slot: 0, level })));
            probe.insert(2, (2, Op::CheckReserved { slot: 0 }));
            probe
        };
        explore(&mut bench, what, &setup, &actions, &state);
    }
    bench.print("lock levels, exhaustively");
}

#[test]
fn every_transition_between_slot_locks() {
    let mut bench = Bench::new("sim-slots");
    for (what, holders) in HOLDERS {
        let mut setup = Steps::new();
        for (process, slot) in holders.into_iter().chain([(2, 0)]) {
            setup.push((process, database(slot)));
            setup.push((process, Op::ShmMap { slot, region: 0, extend: true }));
        }
        let mut actions = Steps::new();
        for (process, slot) in holders {
            for first in [3, 4] {
                actions.push((process, Op::ShmShared { slot, first }));
                actions.push((process, Op::ShmExclusive { slot, first, count: 1 }));
                actions.push((process, Op::ShmUnlock { slot, first }));
            }
            actions.push((process, Op::ShmExclusive { slot, first: 3, count: 2 }));
        }
        let state = |_: &Steps| {
            // What a third one can have tells what the others hold, all together and one after the other gives back.
            let look = [3, 4].into_iter().flat_map(|first| {
                let take = [Op::ShmExclusive { slot: 0, first, count: 1 }, Op::ShmShared { slot: 0, first }];
                take.into_iter().flat_map(move |take| [(2, take), (2, Op::ShmUnlock { slot: 0, first })])
            });
            let mut probe: Steps = look.clone().collect();
            for (process, slot) in holders {
                probe.extend([3, 4].map(|first| (process, Op::ShmUnlock { slot, first })));
                probe.extend(look.clone());
            }
            probe
        };
        explore(&mut bench, what, &setup, &actions, &state);
    }
    bench.print("slot locks, exhaustively");
}

#[test]
fn tables() {
    let mut bench = Bench::new("sim-tables");
    every_open(&mut bench);
    bytes(&mut bench);
    inodes(&mut bench);
    mapped_pages(&mut bench);
    generations(&mut bench);
    first_to_open(&mut bench);
    deaths(&mut bench);
    cancelled_locks(&mut bench);
    bench.print("tables");
}

/// Each kind of open, on each name, where it is there and where it is not.
fn every_open(bench: &mut Bench) {
    use Op::*;
    for how in How::ALL {
        for name in 0..5 {
            bench.check(
                "open of nothing",
                &[(0, open(0, name, how)), (0, Device { slot: 0 }), (0, HasMoved { slot: 0 })],
            );
            let there = [(0, open(1, 0, How::Database)), (0, open(2, name, How::Temp)), (0, Close { slot: 2 })];
            let there: Steps = there.into_iter().chain([(0, open(2, name, How::JournalExclusive))]).collect();
            let more = [open(0, name, how), Device { slot: 0 }, write(0, 0, 10, 1), LastErrno { slot: 0 }];
            let more = more.into_iter().chain([Truncate { slot: 0, size: 3 }, Lock { slot: 0, level: 1 }]);
            let more = more.chain([Lock { slot: 0, level: 2 }, LastErrno { slot: 0 }, Stat { name }]);
            let steps: Steps = there.into_iter().chain(more.map(|op| (0, op))).collect();
            bench.check("open of what is there", &steps);
        }
    }
}

/// Bytes behind the end.
fn bytes(bench: &mut Bench) {
    use Op::*;
    bench.check(
        "short reads and growth",
        &[
            (0, database(0)),
            (0, read(0, 0, 10)),
            (0, write(0, 0, 1, 7)),
            (0, Size { slot: 0 }),
            (0, Access { name: 0, write: false }),
            (0, write(0, 70_000, 10, 1)),
            (1, database(0)),
            (1, read(0, 69_995, 10)),
            (1, read(0, 70_005, 10)),
            (1, read(0, 80_000, 10)),
            (0, Truncate { slot: 0, size: 5 }),
            (0, Truncate { slot: 0, size: 70_010 }),
            (1, read(0, 0, 70_010)),
        ],
    );
}

/// Names that change while their files are open.
fn inodes(bench: &mut Bench) {
    use Op::*;
    bench.check(
        "a database that is unlinked and made anew while it is open",
        &[
            (0, database(0)),
            (0, write(0, 0, 100, 1)),
            (0, Lock { slot: 0, level: 1 }),
            (1, Unlink { name: 0 }),
            (0, HasMoved { slot: 0 }),
            (1, database(0)),
            (1, Lock { slot: 0, level: 1 }),
            (1, Lock { slot: 0, level: 4 }),
            (1, write(0, 0, 50, 9)),
            (0, read(0, 0, 100)),
            (0, Size { slot: 0 }),
            (0, database(1)),
            (0, Lock { slot: 1, level: 1 }),
            (0, read(1, 0, 100)),
        ],
    );
    bench.check(
        "renamed over",
        &[
            (0, database(0)),
            (0, open(1, 1, How::Database)),
            (0, write(0, 0, 10, 1)),
            (0, write(1, 0, 20, 2)),
            (1, Rename { from: 1, to: 0 }),
            (0, HasMoved { slot: 0 }),
            (0, HasMoved { slot: 1 }),
            (1, database(0)),
            (1, Size { slot: 0 }),
            (0, Size { slot: 0 }),
            (1, Rename { from: 1, to: 0 }),
            (1, Rename { from: 0, to: 0 }),
        ],
    );
}

/// Memory-mapped reading, and the sizes that go with it.
fn mapped_pages(bench: &mut Bench) {
    use Op::*;
    bench.check(
        "mapped pages",
        &[
            (0, database(0)),
            (0, write(0, 0, 70_000, 3)),
            (0, Fetch { slot: 0, page: 0 }),
            (0, MmapSize { slot: 0, bytes: 100_000 }),
            (0, Fetch { slot: 0, page: 0 }),
            (0, Fetch { slot: 0, page: 15 }),
            (0, Fetch { slot: 0, page: 16 }),
            (0, Fetch { slot: 0, page: 17 }),
            (1, database(0)),
            (1, write(0, 0, 10, 9)),
            (0, Fetch { slot: 0, page: 0 }),
            (0, Unfetch { slot: 0 }),
            (0, SizeHint { slot: 0, bytes: 200_000 }),
            (0, Size { slot: 0 }),
            (0, ChunkSize { slot: 0, bytes: 10_000 }),
            (0, SizeHint { slot: 0, bytes: 200_001 }),
            (0, Size { slot: 0 }),
            (0, Truncate { slot: 0, size: 15_000 }),
            (0, Size { slot: 0 }),
            (0, MmapSize { slot: 0, bytes: 0 }),
            (0, MmapSize { slot: 0, bytes: 5 }),
        ],
    );
}

/// Side files that are replaced while they are in use.
fn generations(bench: &mut Bench) {
    use Op::*;
    bench.check(
        "two generations of a wal-index",
        &[
            (0, database(0)),
            (0, map(0)),
            (0, store(0, 5)),
            (1, database(0)),
            (1, map(0)),
            (1, load(0)),
            (1, ShmExclusive { slot: 0, first: 0, count: 1 }),
            (0, ShmExclusive { slot: 0, first: 0, count: 1 }),
            (2, Unlink { name: 5 }),
            (2, database(0)),
            (2, ShmMap { slot: 0, region: 0, extend: false }),
            (2, map(0)),
            (2, load(0)),
            (2, ShmExclusive { slot: 0, first: 0, count: 1 }),
            (2, store(0, 6)),
            (1, store(0, 7)),
            (0, load(0)),
            (2, load(0)),
            (0, database(1)),
            (0, map(1)),
            (0, load(1)),
            (2, Stat { name: 5 }),
            (2, ShmUnmap { slot: 0, delete: true }),
            (2, Stat { name: 5 }),
            (1, ShmUnmap { slot: 0, delete: true }),
            (0, load(0)),
        ],
    );
}

/// The dead man's switch.
fn first_to_open(bench: &mut Bench) {
    use Op::*;
    bench.check(
        "the first to open a wal-index cuts it",
        &[
            (0, database(0)),
            (0, ShmMap { slot: 0, region: 2, extend: false }),
            (0, ShmMap { slot: 0, region: 1, extend: true }),
            (0, ShmMap { slot: 0, region: 2, extend: false }),
            (0, store(0, 5)),
            (0, ShmStore { slot: 0, region: 1, offset: 1, byte: 6 }),
            (0, Stat { name: 5 }),
            (0, Kill),
            (1, Stat { name: 5 }),
            (1, database(0)),
            (1, ShmMap { slot: 0, region: 0, extend: false }),
            (1, Stat { name: 5 }),
            (1, map(0)),
            (1, load(0)),
            (2, database(0)),
            (2, map(0)),
            (2, ShmLoad { slot: 0, region: 1, offset: 1 }),
        ],
    );
}

/// What a process leaves.
fn deaths(bench: &mut Bench) {
    use Op::*;
    bench.check(
        "a process that dies leaves no locks",
        &[
            (0, database(0)),
            (1, database(0)),
            (0, Lock { slot: 0, level: 1 }),
            (0, Lock { slot: 0, level: 4 }),
            (0, map(0)),
            (0, ShmExclusive { slot: 0, first: 0, count: 8 }),
            (0, write(0, 0, 10, 1)),
            (1, Lock { slot: 0, level: 1 }),
            (1, map(0)),
            (1, ShmShared { slot: 0, first: 3 }),
            (0, Kill),
            (1, Lock { slot: 0, level: 1 }),
            (1, Lock { slot: 0, level: 4 }),
            (1, ShmExclusive { slot: 0, first: 0, count: 8 }),
            (1, read(0, 0, 10)),
            (0, Read { slot: 0, offset: 0, length: 1 }),
        ],
    );
    bench.check(
        "who shares the wal-index with another process does not get the exclusive lock",
        &[
            (0, database(0)),
            (0, map(0)),
            (0, Lock { slot: 0, level: 1 }),
            (1, database(0)),
            (1, map(0)),
            (0, Lock { slot: 0, level: 2 }),
            (0, Lock { slot: 0, level: 4 }),
            (1, ShmUnmap { slot: 0, delete: false }),
            (0, Lock { slot: 0, level: 4 }),
        ],
    );
}

/// The trap of POSIX.
fn cancelled_locks(bench: &mut Bench) {
    use Op::*;
    bench.check(
        "another descriptor that is closed cancels the locks",
        &[
            (0, database(0)),
            (0, Lock { slot: 0, level: 1 }),
            (0, Lock { slot: 0, level: 4 }),
            (0, database(1)),
            (0, Close { slot: 1 }),
            (1, database(0)),
            (1, Lock { slot: 0, level: 1 }),
            (0, open(1, 0, How::Journal)),
            (0, Close { slot: 1 }),
            (1, Lock { slot: 0, level: 1 }),
            (1, Lock { slot: 0, level: 2 }),
            (0, LockState { slot: 0 }),
            (0, Unlock { slot: 0, level: 1 }),
            (1, Lock { slot: 0, level: 4 }),
            (0, Unlock { slot: 0, level: 1 }),
        ],
    );
}

#[test]
fn generated_sequences() {
    let mut bench = Bench::new("sim-generated");
    let config = Config { cases: 1000, failure_persistence: None, max_shrink_iters: 2000, ..Config::default() };
    // The same sequences each time.
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[7; 32]);
    let bench_cell = std::cell::RefCell::new(&mut bench);
    let outcome = TestRunner::new_with_rng(config, rng)
        .run(&ops::steps(), |steps| bench_cell.borrow_mut().run(&steps).map(drop).map_err(TestCaseError::fail));
    if let Err(error) = outcome {
        panic!("{error}");
    }
    bench.print("generated sequences");
}
