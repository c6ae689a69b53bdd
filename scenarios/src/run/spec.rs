//! What follows from a token: the same in the lab and in each worker.

use crate::faults::{self, CrashPattern, FaultError, Faults};
use crate::run::shape::{RunShape, Schedule};
use crate::strategies::{self, UnknownStrategy};
use crate::workload::{CHECKPOINT_PAGES, Step, Workload};
use seawall_harness::actor::Actor;
use seawall_harness::fault::{FaultPlan, PlanError};
use seawall_harness::outsider::SECOND;
use seawall_harness::token::{Token, TokenError};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// First transaction number of the probes, beyond every script's.
pub const PROBE_BASE: u32 = 1_000_000;

/// The medium of the platform's own files.
pub const REAL: &str = "real";

/// The medium of the simulator.
pub const SIM: &str = "sim";

/// The transaction that an actor tries to commit after the faults have healed.
pub const PROBE: Step = Step::Insert { parts: 2, payload_bytes: 100 };

/// Why a token or a case is no run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpecError {
    /// It is no token.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// There is no such strategy.
    #[error(transparent)]
    Strategy(#[from] UnknownStrategy),
    /// There is no such fault.
    #[error(transparent)]
    Fault(#[from] FaultError),
    /// There is no such medium.
    #[error("unknown medium `{0}`: it is `{REAL}` or `{SIM}`")]
    UnknownMedium(String),
    /// The fault takes real time.
    #[error("`{0}` goes by the wall clock, which the medium `{SIM}` does not have")]
    NeedsWallClock(String),
    /// The rules make no plan.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// A step of a case is none of the run's.
    #[error("{0}")]
    Step(String),
}

/// A run before it is executed.
#[derive(Clone)]
pub struct RunSpec {
    /// The token.
    pub token: Token,
    /// The strategy.
    pub strategy: &'static strategies::Entry,
    /// The faults.
    pub faults: Faults,
    /// True if the run says nothing unless a fault fires.
    pub must_fire: bool,
    /// The processes and threads, and when faults and restarts happen.
    pub shape: RunShape,
    /// The actors' scripts. They contain the steps that are left out too, because others refer to them.
    pub scripts: BTreeMap<Actor, Vec<Step>>,
    /// Steps that are left out, by their numbers.
    pub omitted: BTreeSet<(Actor, u32)>,
    /// The actors of the next steps, as far as they are settled; in a sequential run.
    pub turns: Vec<Actor>,
    /// A process with another strategy than the one under test, and its strategy.
    pub foreign: Option<(u16, &'static strategies::Entry)>,
}

impl RunSpec {
    /// The run of a token.
    ///
    /// # Errors
    /// If the token names a strategy, fault or medium that does not exist, or a fault that the medium cannot have.
    pub fn of(token: &Token) -> Result<Self, SpecError> {
        let strategy = strategies::find(&token.strategy)?;
        let is_simulated = match token.medium.as_str() {
            REAL => false,
            SIM => true,
            other => return Err(SpecError::UnknownMedium(other.to_owned())),
        };
        let fault = faults::find(&token.fault)?;
        let faults = fault.draw(token.seed);
        if is_simulated && faults.crash_pattern == CrashPattern::UnderPressure {
            return Err(SpecError::NeedsWallClock(fault.title));
        }
        let mut shape = RunShape::draw(token.seed, &faults);
        if is_simulated {
            shape.schedule = Schedule::Simulated;
        }
        let script = |actor| (actor, faults.workload.script(token.seed, actor, shape.steps));
        let scripts = shape.actors().map(script).collect();
        let foreign = faults.foreign.map(strategies::find).transpose()?.map(|entry| (shape.processes, entry));
        let (token, must_fire) = (token.clone(), fault.must_fire());
        let (omitted, turns) = (BTreeSet::new(), Vec::new());
        Ok(Self { token, strategy, must_fire, faults, shape, scripts, omitted, turns, foreign })
    }

    /// The database under the name that a process uses: the second one, if it is the process that is to use it and
    /// there is one.
    pub fn path_of(&self, process: u16, database: &Path, exists: impl Fn(&Path) -> bool) -> PathBuf {
        let second = PathBuf::from(format!("{}{SECOND}", database.display()));
        let is_second = self.faults.has_second_name() && process == self.shape.processes && exists(&second);
        if is_second { second } else { database.to_owned() }
    }

    /// After how many pages in the log a commit is to run a checkpoint, if not after SQLite's own number.
    pub fn checkpoint_pages(&self) -> Option<u32> {
        (self.faults.workload == Workload::OverlappingReads).then_some(CHECKPOINT_PAGES)
    }

    /// The strategy of a process.
    pub fn strategy_of(&self, process: u16) -> &'static strategies::Entry {
        self.foreign.filter(|(foreign, _)| *foreign == process).map_or(self.strategy, |(_, entry)| entry)
    }

    /// True if the run takes place in the simulator.
    pub fn is_simulated(&self) -> bool {
        self.shape.schedule == Schedule::Simulated
    }

    /// The fault plan.
    ///
    /// # Errors
    /// [`SpecError::Plan`] if the rules make no plan, or one that the medium cannot carry out.
    pub fn plan(&self) -> Result<FaultPlan, SpecError> {
        let plan = FaultPlan::new(self.faults.rules.clone(), self.token.seed)?;
        if self.is_simulated() {
            plan.check_simulated_medium()?;
        } else {
            plan.check_real_medium()?;
        }
        Ok(plan)
    }
}
