//! What follows from a token, the same for the coordinator and for each worker.

use std::collections::{BTreeMap, BTreeSet};

use seawall_harness::actor::Actor;
use seawall_harness::fault::FaultPlan;
use seawall_harness::token::Token;

use crate::faults::{self, CrashPattern, Faults};
use crate::run::shape::{RunShape, Schedule};
use crate::strategies;
use crate::workload::{self, Step};

/// First transaction number of the probes, beyond every script's.
pub const PROBE_BASE: u32 = 1_000_000;

/// The medium of the platform's own files.
pub const REAL: &str = "real";

/// The medium of the simulator.
pub const SIM: &str = "sim";

/// What an actor tries to commit after the faults have healed.
pub const PROBE: Step = Step::Insert { parts: 2, payload_bytes: 100 };

/// A run before it is executed.
#[derive(Clone)]
pub struct RunSpec {
    /// The token.
    pub token: Token,
    /// The strategy.
    pub strategy: &'static strategies::Entry,
    /// What goes wrong.
    pub faults: Faults,
    /// True if the run says nothing unless a fault fires.
    pub needs_firing: bool,
    /// Who runs, and when what happens.
    pub shape: RunShape,
    /// The actors' scripts. What a step refers to stands in them even if that step is left out.
    pub scripts: BTreeMap<Actor, Vec<Step>>,
    /// Steps that are left out, by their numbers.
    pub omitted: BTreeSet<(Actor, u32)>,
    /// Whose turn it is, step by step, for as far as that is settled; in a sequential run.
    pub turns: Vec<Actor>,
}

impl RunSpec {
    /// The run of a token.
    ///
    /// # Errors
    /// A message if the token names a strategy, fault or medium that does not exist.
    pub fn of(token: &Token) -> Result<Self, String> {
        let strategy = strategies::find(&token.strategy).ok_or_else(|| strategies::unknown(&token.strategy))?;
        let simulated = match token.medium.as_str() {
            REAL => false,
            SIM => true,
            other => return Err(format!("unknown medium `{other}`: it is `{REAL}` or `{SIM}`")),
        };
        let fault = faults::find(&token.fault)?;
        let faults = fault.draw(token.seed);
        if simulated && faults.lives == CrashPattern::UnderPressure {
            return Err(format!("`{}` goes by the wall clock, which the medium `{SIM}` does not have", fault.title));
        }
        let mut shape = RunShape::draw(token.seed, &faults);
        if simulated {
            shape.schedule = Schedule::Simulated;
        }
        let script = |actor| (actor, workload::script(token.seed, actor, shape.steps));
        let scripts = shape.actors().map(script).collect();
        let (token, needs_firing) = (token.clone(), fault.needs_firing());
        Ok(Self { token, strategy, needs_firing, faults, shape, scripts, omitted: BTreeSet::new(), turns: Vec::new() })
    }

    /// True if the run takes place in the simulator.
    pub fn is_simulated(&self) -> bool {
        self.shape.schedule == Schedule::Simulated
    }

    /// The fault plan.
    ///
    /// # Errors
    /// A message if the rules make no plan, or one that no medium of this version can carry out.
    pub fn plan(&self) -> Result<FaultPlan, String> {
        let plan = FaultPlan::new(self.faults.rules.clone(), self.token.seed).map_err(|error| error.to_string())?;
        plan.check_real_medium().map_err(|error| error.to_string())?;
        Ok(plan)
    }
}
