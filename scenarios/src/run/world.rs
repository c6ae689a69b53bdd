//! What follows from a token, the same for the conductor and for each worker.

use seawall_harness::actor::Actor;
use seawall_harness::fault::Plan;
use seawall_harness::token::Token;

use crate::faults::{self, Faults};
use crate::run::topology::Outline;
use crate::strategies;
use crate::workload::{self, Step};

/// First transaction number of the probes, beyond every script's.
pub const PROBE_BASE: u32 = 1_000_000;

/// What an actor tries to commit after the faults have healed.
pub const PROBE: Step = Step::Insert { parts: 2, payload_bytes: 100 };

/// A run before it is executed.
pub struct World {
    /// The token.
    pub token: Token,
    /// The strategy.
    pub strategy: &'static strategies::Entry,
    /// What goes wrong.
    pub faults: Faults,
    /// True if the run says nothing unless a fault fires.
    pub needs_firing: bool,
    /// Who runs, and when what happens.
    pub outline: Outline,
}

impl World {
    /// The run of a token.
    ///
    /// # Errors
    /// A message if the token names a strategy, fault or medium that does not exist.
    pub fn of(token: &Token) -> Result<Self, String> {
        let strategy = strategies::find(&token.strategy).ok_or_else(|| strategies::unknown(&token.strategy))?;
        if token.medium != "real" {
            return Err(format!("unknown medium `{}`: this version runs on `real` files only", token.medium));
        }
        let fault = faults::find(&token.fault)?;
        let faults = fault.draw(token.seed);
        let outline = Outline::draw(token.seed, &faults);
        Ok(Self { token: token.clone(), strategy, needs_firing: fault.needs_firing(), faults, outline })
    }

    /// The script of an actor.
    pub fn script(&self, actor: Actor) -> Vec<Step> {
        workload::script(self.token.seed, actor, self.outline.steps)
    }

    /// The fault plan.
    ///
    /// # Errors
    /// A message if the rules make no plan for real files.
    pub fn plan(&self) -> Result<Plan, String> {
        let plan = Plan::new(self.faults.rules.clone(), self.token.seed).map_err(|error| error.to_string())?;
        plan.check_real_medium().map_err(|error| error.to_string())?;
        Ok(plan)
    }
}
