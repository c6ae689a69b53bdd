//! The recorder: executes a case in the simulator, and keeps all that happens to the disk together with what the
//! processes were told.

use super::case::Case;
use super::cell::JournalMode;
use super::model::Model;
use super::player::{Moment, Shared, bind};
use super::{DATABASE, PowercutError};
use seawall_harness::actor::Actor;
use seawall_harness::engine::{Engine, OPEN_NO_MUTEX, OPEN_READ_WRITE_CREATE, SqlError};
use seawall_harness::fault::FaultPlan;
use seawall_harness::media::sim::durability::{Device, Recording};
use seawall_harness::rig::Rig;
use seawall_harness::sched::Task;
use seawall_harness::seed::Seed;
use seawall_harness::shared_state::Mode;
use seawall_harness::trace::Entry;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

/// Calls after which an execution is halted.
pub(super) const CALLS_MAX: u64 = 100_000;

/// The tables. Row 0 has the number of the last commit; the index gives integrity checks something to disagree about.
const SCHEMA: &str = "CREATE TABLE t(id INTEGER PRIMARY KEY, v INTEGER NOT NULL, pad BLOB NOT NULL);
    CREATE INDEX t_by_v ON t(v); INSERT INTO t VALUES (0, 0, x'');";

/// See the module's documentation. There is one for each engine in a process at a time.
pub struct Recorder {
    engine: Engine,
    rig: Rig,
    /// The first databases, by page size, mode and device.
    images: BTreeMap<(u32, bool, String), Rc<[u8]>>,
}

/// What was recorded.
#[derive(Debug)]
pub struct Recorded {
    /// What happened to the disk.
    pub disk: Recording,
    /// What the processes did and were told, in order.
    pub marks: Vec<Mark>,
    /// The rows after each commit that was tried; the first is the state at the beginning.
    pub models: BTreeMap<u32, Model>,
}

/// Something that a process did or was told, when the disk had so many events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Events before it.
    pub at: usize,
    /// Calls before it.
    pub call: u64,
    /// Who.
    pub actor: Actor,
    /// What.
    pub kind: MarkKind,
}

/// See [`Mark`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MarkKind {
    /// A statement begins.
    Statement(String),
    /// The commit with this number begins.
    Started(u32),
    /// The commit with this number was acknowledged.
    Acked(u32),
    /// The last statement failed, with this error.
    Failed(String),
}

/// What is known of the commits at a cut.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Known {
    /// The last that was acknowledged.
    pub acked: u32,
    /// The last that had begun.
    pub started: u32,
}

impl Recorded {
    /// The checksum of the rows after each commit that was tried.
    pub(super) fn fingerprints(&self) -> BTreeMap<u32, u64> {
        self.models.iter().map(|(number, model)| (*number, model.fingerprint())).collect()
    }

    /// What is known at each cut, by the number of events before it.
    pub fn known(&self) -> Vec<Known> {
        let mut known = vec![Known::default(); self.disk.events.len() + 1];
        for mark in &self.marks {
            let here = &mut known[mark.at];
            match mark.kind {
                MarkKind::Started(number) => here.started = here.started.max(number),
                MarkKind::Acked(number) => here.acked = here.acked.max(number),
                MarkKind::Statement(_) | MarkKind::Failed(_) => {}
            }
        }
        for position in 1..known.len() {
            let before = known[position - 1];
            let here = &mut known[position];
            *here = Known { acked: here.acked.max(before.acked), started: here.started.max(before.started) };
        }
        known
    }

    /// The statements that ran last before each cut, all processes together.
    pub fn statements(&self) -> Vec<&str> {
        let mut statements = vec![""; self.disk.events.len() + 1];
        let mut marks = self.marks.iter().peekable();
        let mut last = "";
        for (position, slot) in statements.iter_mut().enumerate() {
            while let Some(mark) = marks.next_if(|mark| mark.at <= position) {
                if let MarkKind::Statement(text) = &mark.kind {
                    last = text;
                }
            }
            *slot = last;
        }
        statements
    }
}

/// An execution under a fault plan.
#[derive(Debug)]
pub(super) struct Watched {
    /// What the processes did and were told, in order.
    pub(super) marks: Vec<Mark>,
    /// The rows after each commit that was tried.
    pub(super) models: BTreeMap<u32, Model>,
    /// After each transaction, and at the end.
    pub(super) moments: Vec<Moment>,
    /// The calls.
    pub(super) calls: Vec<Entry>,
    /// The checksum over all calls.
    pub(super) digest: String,
    /// How many calls the first rule has counted.
    pub(super) matched: u64,
    /// The numbers of the first calls at which it fired.
    pub(super) fired_at: Vec<u64>,
    /// How often it fired.
    pub(super) fired: u64,
    /// True if it was ended after [`CALLS_MAX`] calls, or stood still.
    pub(super) is_endless: bool,
}

impl Recorder {
    /// A recorder on this engine.
    ///
    /// # Errors
    /// If the VFSes cannot be registered.
    pub fn new(engine: Engine) -> Result<Self, PowercutError> {
        Self::with_trace(engine, 2)
    }

    /// The same, which keeps so many calls of an execution, a power of two.
    pub(super) fn with_trace(engine: Engine, calls: usize) -> Result<Self, PowercutError> {
        let rig = Rig::builder().engine(engine.clone()).label("seawall-powercut").default_vfs();
        let rig = rig.calls_max(CALLS_MAX).trace_capacity(calls).build()?;
        Ok(Self { engine, rig, images: BTreeMap::new() })
    }

    /// The engine.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Executes the case.
    ///
    /// # Errors
    /// If its first database cannot be made, or the execution does not end.
    pub fn record(&mut self, case: &Case) -> Result<Recorded, PowercutError> {
        let (shared, is_endless) = self.execute(case, FaultPlan::empty(), (Mode::NUMBER, false), false)?;
        if is_endless {
            return Err(PowercutError::Broken("an execution of the workload does not end".to_owned()));
        }
        let disk = shared.simulation.machine().borrow_mut().take_recording();
        let disk = disk.ok_or_else(|| PowercutError::Broken("nothing was recorded".to_owned()))?;
        Ok(Recorded { disk, marks: shared.marks.take(), models: shared.models.take() })
    }

    /// Executes the case under a fault plan, and keeps what there is after each transaction. A process that `insists`
    /// begins each transaction until it succeeds.
    ///
    /// # Errors
    /// If the first database cannot be made.
    pub(super) fn watch(&mut self, case: &Case, plan: FaultPlan, insists: bool) -> Result<Watched, PowercutError> {
        let mode = Mode::TRACE.and(Mode::DIGEST).and(Mode::VIRTUAL).and(Mode::ARMED);
        let (shared, is_endless) = self.execute(case, plan, (mode, true), insists)?;
        shared.keep_moment(None);
        let counters = self.rig.shared_state().rule(0);
        Ok(Watched {
            marks: shared.marks.take(),
            models: shared.models.take(),
            moments: shared.moments.take(),
            calls: self.rig.calls(),
            digest: self.rig.digest(),
            matched: counters.matched(),
            fired_at: counters.fired_at(),
            fired: counters.fired(),
            is_endless,
        })
    }

    fn execute(
        &mut self,
        case: &Case,
        plan: FaultPlan,
        (mode, is_watched): (Mode, bool),
        insists: bool,
    ) -> Result<(Rc<Shared>, bool), PowercutError> {
        let device: Device = case.device.parse()?;
        let image = self.image(case, device)?;
        let simulation = self.rig.begin(Seed(case.seed), plan)?;
        simulation.shared_state().set_mode(mode);
        {
            let mut machine = simulation.machine().borrow_mut();
            machine.set_device(device);
            machine.write_file(DATABASE, &image);
            machine.record_disk(true);
        }
        let shared = Rc::new(Shared {
            engine: self.engine.clone(),
            simulation,
            case: case.clone(),
            is_watched,
            insists,
            marks: RefCell::default(),
            models: RefCell::new(BTreeMap::from([(0, Model::first())])),
            moments: RefCell::default(),
        });
        let actors = (1..).zip(&case.processes).map(|(process, steps)| {
            let (actor, shared, steps) = (Actor { process, thread: 1 }, Rc::clone(&shared), steps.clone());
            let task: Task = Box::new(move || shared.play(actor, &steps));
            (actor, task)
        });
        let execution = self.rig.run(Seed(case.seed).stream("schedule"), actors.collect());
        shared.simulation.shared_state().set_mode(Mode::OFF);
        Ok((shared, execution.halted || !execution.deadlocked.is_empty()))
    }

    /// The database that an execution begins with.
    fn image(&mut self, case: &Case, device: Device) -> Result<Rc<[u8]>, PowercutError> {
        let is_wal = case.settings.journal_mode == JournalMode::Wal;
        let key = (case.page_bytes, is_wal, case.device.clone());
        if let Some(image) = self.images.get(&key) {
            return Ok(Rc::clone(image));
        }
        let simulation = self.rig.begin(Seed(0), FaultPlan::empty())?;
        simulation.machine().borrow_mut().set_device(device);
        let make = || -> Result<(), SqlError> {
            let flags = OPEN_READ_WRITE_CREATE | OPEN_NO_MUTEX;
            let db = self.engine.open(DATABASE, flags, Some(simulation.machine_vfs()))?;
            db.execute(&format!("PRAGMA page_size = {}; {SCHEMA}", case.page_bytes))?;
            let rows = Model::first();
            let mut insert = db.prepare("INSERT INTO t VALUES (?1, ?2, ?3)")?;
            for (id, row) in rows.rows() {
                bind(&mut insert, id, row)?;
                insert.execute()?;
            }
            drop(insert);
            db.execute(if is_wal { "PRAGMA journal_mode = WAL" } else { "" })?;
            db.close()
        };
        make().map_err(|error| PowercutError::Broken(format!("cannot make the first database: {error}")))?;
        let image = simulation.machine().borrow().file(DATABASE);
        let image: Rc<[u8]> = image.unwrap_or_default().into();
        self.images.insert(key, Rc::clone(&image));
        Ok(image)
    }
}
