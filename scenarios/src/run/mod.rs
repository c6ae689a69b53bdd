//! One run: from a token to a record.
//!
//! ```text
//! token ─► spec (strategy, faults, shape, scripts)
//!       ─► driver ◄─► medium: worker processes with threads (real), or a simulated machine with coroutines (simulated)
//!       ─► history ─► evidence (ledger, table, checks, leftovers) ─► oracles ─► record
//! ```

pub mod driver;
pub mod history;
pub mod judge;
pub mod outsider;
pub mod places;
pub mod protocol;
mod real;
mod rights;
pub mod shape;
pub mod simulated;
pub mod spec;
pub mod step;
pub mod worker;

use crate::scratch::RunFolder;
use judge::FreshLook;
use real::Setup;
use seawall_harness::oracle::hygiene;
use seawall_harness::record::RunRecord;
use seawall_harness::shared_state::SharedState;
use seawall_harness::token::Token;
use seawall_harness::trace::{self, Entry};
use seawall_harness::vfs::RegisterError;
use simulated::case::RunCase;
use simulated::remote::Pool;
use simulated::{Simulated, Simulator};
use spec::{RunSpec, SpecError};
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// How many calls of a run are kept: enough for all of them in nearly every run.
const TRACE_CAPACITY: usize = 1 << 15;

/// Where and with what runs are executed.
#[derive(Clone, Debug)]
pub struct Runner {
    /// The folder in which each run makes a folder of its own.
    pub scratch: PathBuf,
    /// The program to start as a worker, with its arguments.
    pub worker: Vec<OsString>,
    /// The program to start as a simulator, with its arguments.
    pub simulator: Vec<OsString>,
    simulators: Pool,
}

/// Why a run could not be executed.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The token or the case is no run.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// The run cannot be used for this.
    #[error("{0}")]
    Usage(String),
    /// The simulator cannot work.
    #[error("the simulator is broken: {0}")]
    Rig(#[from] RegisterError),
    /// The process of a simulator does not answer, or not as it should.
    #[error("the simulator is broken: {0}")]
    Simulator(String),
    /// The system refused something that the lab needs.
    #[error("{what} {path}: {error}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The error.
        error: std::io::Error,
    },
}

/// A run that was executed.
#[derive(Debug)]
pub struct Executed {
    /// Its record.
    pub record: RunRecord,
    /// Its calls.
    pub calls: Vec<Entry>,
}

impl Runner {
    /// A runner in `scratch` whose workers are the running program.
    ///
    /// # Errors
    /// If the path of the running program is unknown.
    pub fn of_this_program(scratch: PathBuf) -> Result<Self, RunError> {
        let program = std::env::current_exe().map_err(|error| RunError::Io {
            what: "cannot find the path of this program;",
            path: PathBuf::from("/proc/self/exe"),
            error,
        })?;
        Ok(Self::of_program(scratch, &program))
    }

    /// A runner in `scratch` whose workers are `program`.
    pub fn of_program(scratch: PathBuf, program: &Path) -> Self {
        let with = |argument: &str| vec![program.as_os_str().to_owned(), OsString::from(argument)];
        Self { scratch, worker: with("worker"), simulator: with("simulate"), simulators: Pool::default() }
    }

    /// The record of a token's run, on either medium. Only with `timeline` is it sure to have one.
    ///
    /// # Errors
    /// As for [`Self::execute`].
    pub fn record(&self, token: &Token, timeline: bool) -> Result<RunRecord, RunError> {
        if token.medium == spec::SIM {
            return self.simulators.execute(&self.simulator, token, timeline);
        }
        self.execute(token).map(|executed| executed.record)
    }

    /// Executes the run of a token in this process. If the medium is `sim`, nothing else may use SQLite in it
    /// meanwhile.
    ///
    /// # Errors
    /// See [`RunError`]. Trouble within the run is a verdict, not an error.
    pub fn execute(&self, token: &Token) -> Result<Executed, RunError> {
        let spec = RunSpec::of(token)?;
        spec.plan()?;
        if spec.is_simulated() {
            let mut simulator = Simulator::new()?;
            let Simulated { record, calls, .. } = simulator.run(&spec, None, true)?;
            return Ok(Executed { record, calls });
        }
        self.execute_real(&spec, None)
    }

    /// Executes a case on real files, one step after the other, in the order of the case.
    ///
    /// # Errors
    /// See [`RunError`].
    pub fn execute_on_real_files(&self, case: &RunCase) -> Result<Executed, RunError> {
        let spec = case.spec(true)?;
        spec.plan()?;
        self.execute_real(&spec, Some(case))
    }

    /// Executes a run with worker processes, in a folder of its own.
    fn execute_real(&self, spec: &RunSpec, case: Option<&RunCase>) -> Result<Executed, RunError> {
        let folder = RunFolder::create_in(&self.scratch).map_err(|error| RunError::Io {
            what: "cannot make a folder in",
            path: self.scratch.clone(),
            error,
        })?;
        let database = folder.path().join("data").join("app.db");
        let shared_state_path = folder.path().join("shared_state");
        create_folder(database.parent().unwrap_or(folder.path()))?;
        let shared_state = SharedState::create(&shared_state_path, TRACE_CAPACITY).map_err(|error| RunError::Io {
            what: "cannot make the shared state",
            path: shared_state_path.clone(),
            error,
        })?;
        let shared_state = Arc::new(shared_state);
        let (program, database, shared_state_path) = (&*self.worker, &*database, &*shared_state_path);
        let setup = Setup { program, database, shared_state_path, shared_state: Arc::clone(&shared_state), case };
        let outcome = real::execute(spec, &setup);
        let calls = trace::read(&shared_state);
        let strays = hygiene::stray_files(database).unwrap_or_default();
        let look = if spec.faults.has_outsiders() {
            let files = real::Folder { database, copies: &folder.path().join("copies") };
            let name = database.to_string_lossy();
            FreshLook::after_outsiders(&files, &name, &outcome.0, || FreshLook::at(database, None, strays))
        } else {
            FreshLook::at(database, None, strays)
        };
        let record = judge::judge(spec, &shared_state, outcome, &calls, look);
        Ok(Executed { record, calls })
    }
}

fn create_folder(path: &Path) -> Result<(), RunError> {
    fs::create_dir_all(path).map_err(|error| RunError::Io {
        what: "cannot make the folder",
        path: path.to_owned(),
        error,
    })
}
