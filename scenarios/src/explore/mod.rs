//! Explore: many executions of a scenario in the simulator, each with another schedule, until an oracle finds
//! something.
//!
//! ```text
//! seed ─► scenario ─► case ─► scheduler (policy) ─► actors ─► engine ─► shim ─► simulated machine
//!                                                ─► history ─► judge (oracles) ─► findings
//! ```
//!
//! A [`Case`] is everything that an execution consists of. It is drawn from a seed, or it was recorded or shrunk,
//! with its schedule as a list of preemptions. An [`Explorer`] executes cases; a [`Search`] draws one case after the
//! other and executes it, in this process or with a [`pool`] of child processes.
//!
//! # Faults
//! The rules of a case are armed for the whole execution, and off when it is judged. An error that SQLite is told of
//! (`IOERR`, `FULL`, `BUSY`, `CANTOPEN`, …) may refuse service, and must lose nothing. A process that is killed leaves
//! its connections; when all its code has ended it starts again, and its actors open new ones. A transaction that an
//! actor had in flight then is indeterminate. After a power cut (`power-cut`) the same holds for all processes, and
//! connections use `synchronous = EXTRA`: lower levels promise less, see [`powercut`](crate::powercut). Where the
//! medium itself lies (`drop`, `torn`, `bitflip`, `short`) that is what a finding shows; SQLite's report of the damage
//! is no false alarm then.

mod actor;
mod case;
mod cause;
mod connection_actor;
mod coverage;
mod error;
mod explorer;
mod history;
mod judge;
mod nearby;
mod plain;
pub mod pool;
mod scenarios;
mod search;
mod shrink;
mod statements;
mod story;
mod token;

use seawall_harness::fault::{FaultPlan, Rule};
use seawall_harness::outsider::OutsideAction;
use seawall_harness::sched::replay::Replay;
use seawall_harness::sched::{self, Execution, Policy, Preemption};
use seawall_harness::seed::Seed;

pub use case::{
    ActorPlan, Begin, Case, CaseFile, Checkpoint, FORMAT, FORMAT_FIELD, Journal, Layout, Numbered, Schedule, Settings,
    Synchronous, Target,
};
pub use cause::{Group, Museum, Unshrunk};
pub use coverage::{Coverage, SAMPLING};
pub use error::ExploreError;
pub use explorer::Explorer;
pub use judge::Finding;
pub use nearby::nearby;
pub use plain::Plain;
pub use scenarios::{BankStep, Canary, CounterStep, Ddl, SCENARIOS, Scenario, SchemaStep, SharedStep, Step, find};
pub use search::{Found, Progress, Search, Tally, WriteError};
pub use shrink::{CaseBench, Failing};
pub use story::{Told, story};
pub use token::{ExploreToken, ExploreTokenError, NO_FAULT};

/// The database of every execution.
const DATABASE: &str = "/sim/app.db";

/// The policy with this name.
///
/// # Errors
/// [`ExploreError::UnknownPolicy`].
pub fn policy(name: &str) -> Result<Box<dyn Policy>, ExploreError> {
    sched::policy(name).ok_or_else(|| ExploreError::UnknownPolicy(name.to_owned()))
}

/// The result of one execution.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The schedule.
    pub execution: Execution,
    /// What the oracles found, worst first.
    pub findings: Vec<Finding>,
    /// Transactions that were acknowledged.
    pub acked: u64,
    /// SQL statements that the steps executed, checkpoints included.
    pub statements: u64,
    /// How often faults fired.
    pub faults_fired: u64,
    /// Checksum over all calls, if they were traced.
    pub digest: Option<String>,
}

/// True if one of the rules cuts the power: then only `synchronous = EXTRA` promises that nothing is lost.
fn cuts_power(faults: &[Rule]) -> bool {
    faults.iter().any(|rule| rule.effect.is_fatal() && rule.effect.needs_simulation().is_some())
}

impl Case {
    /// The case that follows from a seed.
    ///
    /// # Errors
    /// [`ExploreError::UnknownScenario`].
    pub fn draw(scenario: &str, sqlite: &str, policy: &str, faults: &[Rule], seed: Seed) -> Result<Self, ExploreError> {
        let known = find(scenario).ok_or_else(|| ExploreError::UnknownScenario(scenario.to_owned()))?;
        let scenarios::Draft { layout, mut settings, actors } = (known.draw)(seed);
        if cuts_power(faults) {
            settings.synchronous = Synchronous::Extra;
        }
        let schedule = Schedule::Policy { name: policy.to_owned(), seed: seed.stream("schedule") };
        let (scenario, sqlite) = (scenario.to_owned(), sqlite.to_owned());
        Ok(Self { scenario, sqlite, seed, layout, settings, faults: faults.to_vec(), actors, schedule })
    }

    /// Its fault plan, whose randomness follows from its seed.
    fn plan(&self) -> Result<FaultPlan, ExploreError> {
        let plan = FaultPlan::new(self.faults.clone(), self.seed.stream("faults"))?;
        plan.check_simulated_medium()?;
        let is_lasting = |rule: &&Rule| rule.effect.outside_action().is_some_and(OutsideAction::is_lasting);
        match plan.rules().iter().find(is_lasting) {
            Some(rule) => Err(ExploreError::Outsider(rule.to_string())),
            None => Ok(plan),
        }
    }

    /// The same with this schedule.
    #[must_use]
    pub fn with_preemptions(&self, preemptions: &[Preemption]) -> Self {
        Self { schedule: Schedule::Preemptions(preemptions.to_vec()), ..self.clone() }
    }
}

impl ExploreToken {
    /// The case that the token names.
    ///
    /// # Errors
    /// If there is no such scenario, policy or preset, or a rule does not parse.
    pub fn case(&self) -> Result<Case, ExploreError> {
        let case = Case::draw(&self.scenario, &self.sqlite, &self.policy, &self.rules()?, self.seed)?;
        policy(&self.policy)?;
        Ok(case)
    }
}

impl Schedule {
    /// The policy, with its seed.
    fn policy(&self) -> Result<(Box<dyn Policy>, Seed), ExploreError> {
        match self {
            Self::Preemptions(preemptions) => Ok((Box::new(Replay::new(preemptions)), Seed(0))),
            Self::Policy { name, seed } => Ok((policy(name)?, *seed)),
        }
    }
}
