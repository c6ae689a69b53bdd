//! The recorder: executes a case in the simulator, and keeps all that happens to the disk together with what the
//! processes were told.

use super::case::{Case, Numbered, Step};
use super::cell::JournalMode;
use super::model::{Model, PAYLOAD_SEED, Row};
use super::{DATABASE, PowercutError};
use seawall_harness::actor::Actor;
use seawall_harness::engine::{Db, Engine, OPEN_NO_MUTEX, OPEN_READ_WRITE_CREATE, SqlError};
use seawall_harness::fault::FaultPlan;
use seawall_harness::media::sim::Machine;
use seawall_harness::media::sim::durability::{Device, Recording};
use seawall_harness::rig::Rig;
use seawall_harness::runtime;
use seawall_harness::sched::Task;
use seawall_harness::seed::Seed;
use seawall_harness::shared_state::Mode;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

/// Calls after which an execution is halted.
const CALLS_MAX: u64 = 100_000;

/// How long a statement waits for a lock, in milliseconds of virtual time.
const BUSY_TIMEOUT_MS: u32 = 200;

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
                MarkKind::Statement(_) => {}
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

/// What the processes of an execution share.
struct Shared {
    engine: Engine,
    vfs: String,
    machine: Rc<RefCell<Machine>>,
    case: Case,
    marks: RefCell<Vec<Mark>>,
    models: RefCell<BTreeMap<u32, Model>>,
}

impl Recorder {
    /// A recorder on this engine.
    ///
    /// # Errors
    /// If the VFSes cannot be registered.
    pub fn new(engine: Engine) -> Result<Self, PowercutError> {
        let rig = Rig::builder().engine(engine.clone()).label("seawall-powercut").default_vfs();
        let rig = rig.calls_max(CALLS_MAX).trace_capacity(2).build()?;
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
        let device: Device = case.device.parse()?;
        let image = self.image(case, device)?;
        let simulation = self.rig.begin(Seed(case.seed), FaultPlan::empty())?;
        simulation.shared_state().set_mode(Mode::NUMBER);
        {
            let mut machine = simulation.machine().borrow_mut();
            machine.set_device(device);
            machine.write_file(DATABASE, &image);
            machine.record_disk(true);
        }
        let shared = Rc::new(Shared {
            engine: self.engine.clone(),
            vfs: simulation.vfs().to_owned(),
            machine: Rc::clone(simulation.machine()),
            case: case.clone(),
            marks: RefCell::default(),
            models: RefCell::new(BTreeMap::from([(0, Model::first())])),
        });
        let actors = (1..).zip(&case.processes).map(|(process, steps)| {
            let (actor, shared, steps) = (Actor { process, thread: 1 }, Rc::clone(&shared), steps.clone());
            let task: Task = Box::new(move || shared.play(actor, &steps));
            (actor, task)
        });
        let execution = self.rig.run(Seed(case.seed).stream("schedule"), actors.collect());
        simulation.shared_state().set_mode(Mode::OFF);
        if execution.halted || !execution.deadlocked.is_empty() {
            return Err(PowercutError::Broken("an execution of the workload does not end".to_owned()));
        }
        let disk = simulation.machine().borrow_mut().take_recording();
        let disk = disk.ok_or_else(|| PowercutError::Broken("nothing was recorded".to_owned()))?;
        Ok(Recorded { disk, marks: shared.marks.take(), models: shared.models.take() })
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

fn bind(statement: &mut seawall_harness::engine::Statement<'_>, id: i64, row: Row) -> Result<(), SqlError> {
    statement.bind_int(1, id)?;
    statement.bind_int(2, row.version.into())?;
    statement.bind_blob(3, &row.payload(id))
}

impl Shared {
    fn mark(&self, actor: Actor, kind: MarkKind) {
        let at = self.machine.borrow().recorded_events();
        self.marks.borrow_mut().push(Mark { at, actor, kind });
    }

    /// All steps of a process. A step that fails is left out: others may be in the way.
    fn play(&self, actor: Actor, steps: &[Numbered]) {
        let mut rest = steps.iter().copied().peekable();
        while rest.peek().is_some() {
            let Ok(db) = self.open(actor) else {
                rest.next();
                continue;
            };
            let connection = Connection { shared: self, actor, db: &db };
            let mut holds_for = 0_u8;
            for Numbered { number, step } in rest.by_ref() {
                runtime::section(number);
                holds_for = holds_for.saturating_sub(1);
                if holds_for == 0 && !db.is_autocommit() {
                    let _ = connection.sql("COMMIT");
                }
                match step {
                    Step::Reopen => break,
                    Step::Hold => holds_for = 2,
                    _ => {}
                }
                // While a transaction is held, nothing is written in it.
                if connection.take(step).is_err() && !db.is_autocommit() && holds_for == 0 {
                    let _ = connection.sql("ROLLBACK");
                }
            }
            self.mark(actor, MarkKind::Statement("close".to_owned()));
            drop(db);
        }
    }

    fn open(&self, actor: Actor) -> Result<Db, SqlError> {
        self.mark(actor, MarkKind::Statement("open".to_owned()));
        let db = self.engine.open(DATABASE, OPEN_READ_WRITE_CREATE | OPEN_NO_MUTEX, Some(&self.vfs))?;
        db.busy_timeout(BUSY_TIMEOUT_MS)?;
        let Case { cache_pages, autocheckpoint, .. } = self.case;
        db.execute(&format!("PRAGMA cache_size = {cache_pages}; PRAGMA wal_autocheckpoint = {autocheckpoint};"))?;
        db.execute(&self.case.settings.sql())?;
        Ok(db)
    }
}

/// One connection of one process.
struct Connection<'a> {
    shared: &'a Shared,
    actor: Actor,
    db: &'a Db,
}

impl Connection<'_> {
    fn sql(&self, text: &str) -> Result<(), SqlError> {
        self.shared.mark(self.actor, MarkKind::Statement(text.to_owned()));
        self.db.execute(text)
    }

    fn take(&self, step: Step) -> Result<(), SqlError> {
        match step {
            Step::Write { .. } if !self.db.is_autocommit() => Ok(()),
            Step::Write { .. } => self.write(step),
            Step::Read => self.sql("SELECT count(*), sum(length(pad)) FROM t"),
            Step::Hold => self.sql("BEGIN; SELECT count(*) FROM t"),
            Step::Checkpoint { mode } => self.sql(mode.sql()),
            Step::Reopen => Ok(()),
        }
    }

    fn write(&self, step: Step) -> Result<(), SqlError> {
        let Step::Write { inserts, updates, deletes, payload_bytes, savepoint, rollback } = step else { return Ok(()) };
        self.sql("BEGIN IMMEDIATE")?;
        let before = self.db.query_int("SELECT v FROM t WHERE id = 0")?.unwrap_or(0) as u32;
        let number = before + 1;
        let known = self.shared.models.borrow().get(&before).cloned();
        // Without faults each commit is known.
        let Some(mut model) = known else { return self.sql("ROLLBACK") };
        self.put(&mut model, 0, Row { version: number, bytes: 0 })?;
        for part in 0..i64::from(inserts) {
            self.put(&mut model, i64::from(number) * 10 + part, Row { version: number, bytes: payload_bytes })?;
        }
        let ids = model.ids();
        for turn in 0..usize::from(updates).min(ids.len()) {
            let id = ids[(turn * 7 + number as usize * PAYLOAD_SEED) % ids.len()];
            self.put(&mut model, id, Row { version: number, bytes: payload_bytes })?;
        }
        for id in ids.into_iter().take(usize::from(deletes)) {
            self.sql(&format!("DELETE FROM t WHERE id = {id}"))?;
            model.remove(id);
        }
        if savepoint {
            self.sql("SAVEPOINT inner")?;
            let mut discarded = model.clone();
            self.put(&mut discarded, 900_000 + i64::from(number), Row { version: number, bytes: payload_bytes })?;
            self.sql("UPDATE t SET v = v + 100 WHERE id > 0")?;
            self.sql("ROLLBACK TO inner")?;
            self.sql("RELEASE inner")?;
        }
        if rollback {
            return self.sql("ROLLBACK");
        }
        self.shared.models.borrow_mut().insert(number, model);
        self.shared.mark(self.actor, MarkKind::Started(number));
        self.sql("COMMIT")?;
        self.shared.mark(self.actor, MarkKind::Acked(number));
        Ok(())
    }

    /// Writes a row, in the table and in the model.
    fn put(&self, model: &mut Model, id: i64, row: Row) -> Result<(), SqlError> {
        self.shared.mark(self.actor, MarkKind::Statement(format!("REPLACE row {id}, version {}", row.version)));
        let mut statement = self.db.prepare("INSERT OR REPLACE INTO t VALUES (?1, ?2, ?3)")?;
        bind(&mut statement, id, row)?;
        statement.execute()?;
        model.put(id, row);
        Ok(())
    }
}
