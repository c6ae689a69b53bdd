//! Plain: the SQL of a case without a simulator, as the measure of the simulator's speed.
//!
//! A real file, the platform's own VFS, `synchronous = OFF`; one connection after the other executes the whole script
//! of its actor, so no lock is contended. Nothing is scheduled, recorded or judged: what remains is the time of
//! SQLite and the kernel. The rows of reads are stepped through and not evaluated.

use super::case::{ActorPlan, Case, Checkpoint, Settings, Synchronous, Target};
use super::statements::Statements;
use super::{DATABASE, ExploreError, Explorer, Step, scenarios};
use crate::scratch::RunFolder;
use seawall_harness::engine::{Db, Engine, OPEN_NO_MUTEX, OPEN_READ_WRITE_CREATE, SqlError};
use std::fs;
use std::path::{Path, PathBuf};

/// The platform's own VFS. It must be named: the default one belongs to an explorer.
const VFS: &str = "unix";

/// As in the simulator, where it matters.
const BUSY_TIMEOUT_MS: u32 = 20;

/// A case that is ready to be executed once on a file of its own, which is removed with it.
pub struct Plain<'a> {
    case: &'a Case,
    folder: RunFolder,
}

impl<'a> Plain<'a> {
    /// Writes the file that the explorer's execution of this case begins with into a new folder within `folder`.
    ///
    /// # Errors
    /// If the case needs the simulator, or if the file cannot be made.
    pub fn new(explorer: &mut Explorer, case: &'a Case, folder: &Path) -> Result<Self, ExploreError> {
        if !case.faults.is_empty() || case.actors.iter().any(|plan| plan.shared) {
            return Err(ExploreError::NotPlain(
                "a plain execution has neither faults nor shared connections".to_owned(),
            ));
        }
        let image = explorer.image(case)?;
        let unwritable =
            |error: std::io::Error| ExploreError::Broken(format!("cannot write to {}: {error}", folder.display()));
        let folder = RunFolder::create_in(folder).map_err(unwritable)?;
        let plain = Self { case, folder };
        fs::write(plain.database(), &image).map_err(unwritable)?;
        Ok(plain)
    }

    /// The path of the file.
    pub fn database(&self) -> PathBuf {
        self.folder.path().join("app.db")
    }

    /// Executes the case, which can be done once; returns the number of statements.
    ///
    /// # Errors
    /// If a step is not one of `mixed`, or a statement fails: nothing is there to make it fail.
    pub fn execute(&self, engine: &Engine) -> Result<u64, ExploreError> {
        let database = self.database();
        let database =
            database.to_str().ok_or_else(|| ExploreError::Broken("the path of the file is no text".to_owned()))?;
        let settings = Settings { synchronous: Synchronous::Off, ..self.case.settings }.sql();
        let mut executed = 0;
        for plan in &self.case.actors {
            for steps in plan.steps.split_inclusive(|numbered| numbered.step == Step::Reopen) {
                let db = open(engine, database, &settings).map_err(|error| ExploreError::sql("open", &error))?;
                let mut script = Script::new(self.case, plan, &db);
                for numbered in steps {
                    script.take(numbered.number, numbered.step)?;
                }
                executed += script.executed;
            }
        }
        Ok(executed)
    }
}

impl Explorer {
    /// The database file as the last execution left it.
    pub fn database(&self) -> Option<Vec<u8>> {
        self.rig.simulation().machine().borrow().file(DATABASE)
    }
}

fn open(engine: &Engine, database: &str, settings: &str) -> Result<Db, SqlError> {
    let db = engine.open(database, OPEN_READ_WRITE_CREATE | OPEN_NO_MUTEX, Some(VFS))?;
    db.busy_timeout(BUSY_TIMEOUT_MS)?;
    db.execute(settings)?;
    Ok(db)
}

/// The statements of one actor on one connection, as a [`super::connection_actor::ConnectionActor`] executes them where
/// nothing fails.
struct Script<'a> {
    case: &'a Case,
    db: &'a Db,
    id: i64,
    statements: Statements<'a>,
    /// Transactions that have inserted rows.
    own: Vec<u32>,
    executed: u64,
}

impl<'a> Script<'a> {
    fn new(case: &'a Case, plan: &ActorPlan, db: &'a Db) -> Self {
        let id = i64::from(plan.actor.process) * 100 + i64::from(plan.actor.thread);
        Self { case, db, id, statements: Statements::new(db), own: Vec::new(), executed: 0 }
    }

    fn take(&mut self, number: u32, step: Step) -> Result<(), ExploreError> {
        let result = match step {
            Step::Write { .. } => self.write(number, step),
            Step::Read => self.read(),
            Step::Checkpoint { mode } => self.checkpoint(mode),
            Step::Reopen => Ok(()),
            other => {
                let message = format!("step {number} cannot be taken without a simulator: {other:?}");
                return Err(ExploreError::NotPlain(message));
            }
        };
        result.map_err(|error| ExploreError::sql(&format!("step {number}, {step:?}"), &error))
    }

    fn sql(&mut self, sql: &'static str) -> Result<(), SqlError> {
        self.run(sql, &[])
    }

    fn run(&mut self, sql: &'static str, values: &[i64]) -> Result<(), SqlError> {
        self.executed += 1;
        self.statements.rows(sql, values, |_| {})
    }

    fn write(&mut self, number: u32, step: Step) -> Result<(), SqlError> {
        const UPDATE: &str = "UPDATE ledger SET version = ?3 WHERE actor = ?1 AND txn = ?2";
        const DELETE: &str = "DELETE FROM ledger WHERE actor = ?1 AND txn = ?2";
        let Step::Write { changes, begin, savepoint, rollback, payload_bytes, target } = step else { return Ok(()) };
        let earlier = match target {
            Target::Any => self.own.get(number as usize % (self.own.len() + 3)).copied(),
            Target::New => None,
        };
        let txn = earlier.unwrap_or(number);
        let is_delete = earlier.is_some() && !number.is_multiple_of(2);
        self.sql(begin.sql())?;
        match earlier {
            None => {
                for part in 0..changes {
                    self.insert(txn, (part, changes), number, payload_bytes)?;
                }
            }
            Some(_) if is_delete => self.run(DELETE, &[self.id, txn.into()])?,
            Some(_) => self.run(UPDATE, &[self.id, txn.into(), number.into()])?,
        }
        if savepoint {
            self.sql("SAVEPOINT inner")?;
            self.insert(900_000 + txn, (0, 1), 0, payload_bytes)?;
            self.sql("ROLLBACK TO inner")?;
            self.sql("RELEASE inner")?;
        }
        self.sql(if rollback { "ROLLBACK" } else { "COMMIT" })?;
        match earlier {
            _ if rollback => {}
            None => self.own.push(txn),
            Some(_) if is_delete => self.own.retain(|own| *own != txn),
            Some(_) => {}
        }
        Ok(())
    }

    fn insert(&mut self, txn: u32, (part, parts): (u8, u8), version: u32, bytes: u16) -> Result<(), SqlError> {
        const INSERT: &str = "INSERT INTO ledger VALUES (?1, ?2, ?3, ?4, ?5, zeroblob(?6))";
        self.run(INSERT, &[self.id, txn.into(), part.into(), parts.into(), version.into(), bytes.into()])
    }

    fn read(&mut self) -> Result<(), SqlError> {
        let read = scenarios::of(self.case).table;
        self.sql("BEGIN")?;
        for _ in 0..2 {
            read(&mut |sql, _| self.run(sql, &[]))?;
        }
        self.sql("COMMIT")
    }

    fn checkpoint(&mut self, mode: Checkpoint) -> Result<(), SqlError> {
        self.executed += 1;
        match self.db.wal_checkpoint_v2(mode.mode()) {
            (0, ..) => Ok(()),
            (code, ..) => Err(SqlError { code, errno: 0, message: "no checkpoint".to_owned() }),
        }
    }
}
