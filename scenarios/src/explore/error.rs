//! Why an exploration, or one of its executions, is not possible.

use super::SCENARIOS;
use seawall_harness::engine::SqlError;
use seawall_harness::fault::presets::UnknownPreset;
use seawall_harness::fault::{GrammarError, PlanError};
use seawall_harness::sched::POLICIES;
use seawall_harness::seed::Seed;
use seawall_harness::suggest;
use seawall_harness::vfs::RegisterError;

/// See the module's documentation.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExploreError {
    /// There is no scenario with this name.
    #[error("unknown scenario `{0}`\nhelp: {help}", help = scenarios_help(.0))]
    UnknownScenario(String),
    /// There is no policy with this name.
    #[error("unknown policy `{0}`\nhelp: {help}", help = policies_help(.0))]
    UnknownPolicy(String),
    /// There is no preset with this name.
    #[error(transparent)]
    Preset(#[from] UnknownPreset),
    /// A fault rule does not parse.
    #[error(transparent)]
    Rule(#[from] GrammarError),
    /// The fault rules make no plan.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// An outsider would take the database away, and rows would have to be looked for elsewhere.
    #[error(
        "`{0}`: an outsider changes the files for good, and an exploration looks at one database only; use `seawall soak`"
    )]
    Outsider(String),
    /// The case finds nothing.
    #[error("the case finds nothing, so there is nothing to shrink")]
    NothingFound,
    /// The case has parts that only the simulator can execute.
    #[error("{0}")]
    NotPlain(String),
    /// Two executions of one case differ.
    #[error("the execution with seed {:#x} does not repeat: {what}", seed.0)]
    Differs {
        /// The seed of the case.
        seed: Seed,
        /// The first difference.
        what: String,
    },
    /// The VFSes of the simulator cannot be registered.
    #[error(transparent)]
    Register(#[from] RegisterError),
    /// The lab itself does not work.
    #[error("{0}")]
    Broken(String),
}

impl ExploreError {
    /// SQLite's error about `what`, where nothing fails on purpose.
    pub(super) fn sql(what: &str, error: &SqlError) -> Self {
        Self::Broken(format!("{what}: {error}"))
    }
}

fn scenarios_help(name: &str) -> String {
    let listed = SCENARIOS.iter().filter(|scenario| scenario.is_listed);
    suggest::help(name, "there are", listed.map(|scenario| scenario.name))
}

fn policies_help(name: &str) -> String {
    suggest::help(name, "there are", POLICIES.iter().map(|policy| policy.name))
}
