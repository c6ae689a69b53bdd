//! The story of a case.

use super::{Case, ExploreError, Explorer, Outcome};
use seawall_harness::actor::Actor;
use seawall_harness::record::Story;
use seawall_harness::story::{Log, Note, Watched};
use seawall_harness::trace::Entry;
use std::rc::Rc;
use std::sync::Arc;

/// An execution with its story.
#[derive(Clone, Debug)]
pub struct Told {
    /// The result.
    pub outcome: Outcome,
    /// What happened, in order.
    pub notes: Vec<Note>,
    /// Every call.
    pub calls: Vec<Entry>,
}

impl Explorer {
    /// Executes the case and logs its events.
    ///
    /// # Errors
    /// As [`Self::execute`].
    pub fn tell(&mut self, case: &Case) -> Result<Told, ExploreError> {
        let (inner, seed) = case.schedule.policy()?;
        self.policy = None;
        let log = Log::default();
        let shared_state = Arc::clone(self.rig.shared_state());
        self.rig.set_policy(Box::new(Watched::new(inner, shared_state, Rc::clone(&log))));
        let outcome = self.perform(case, seed, Some(&log))?;
        let calls = self.calls();
        let notes =
            seawall_harness::story::notes(&actors(case), &log.take(), &calls, &case.faults, outcome.findings.first());
        Ok(Told { outcome, notes, calls })
    }
}

fn actors(case: &Case) -> Vec<Actor> {
    case.actors.iter().map(|plan| plan.actor).collect()
}

/// The story of an execution that found something.
pub fn story(case: &Case, token: &str, told: &Told) -> Option<Story> {
    let finding = told.outcome.findings.first()?;
    let mut subject = format!("{} on SQLite {}", case.scenario, case.sqlite);
    if !case.faults.is_empty() {
        let rules: Vec<String> = case.faults.iter().map(ToString::to_string).collect();
        subject = format!("{subject} under {}", rules.join(" "));
    }
    Some(seawall_harness::story::story(token, subject, finding, &actors(case), &told.notes))
}
