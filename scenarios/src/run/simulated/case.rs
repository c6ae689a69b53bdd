//! The case of a simulated run: its token, and the faults, restarts and steps that remain of those that its seed drew.
//!
//! A run that was shrunk does not follow from its seed any more, so it is kept as a file.

use crate::case_file::{self, CaseFileError};
use crate::run::shape::{Restart, Schedule};
use crate::run::spec::{REAL, RunSpec, SpecError};
use crate::workload::Step;
use seawall_harness::actor::Actor;
use seawall_harness::fault::Rule;
use seawall_harness::record::Finding;
use seawall_harness::sched::Preemption;
use seawall_harness::token::Token;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::path::Path;

/// The present format of the file.
pub const FORMAT: u32 = 1;

/// The field with the format.
pub const FORMAT_FIELD: &str = "run_format";

/// See the module's documentation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunCase {
    /// [`FORMAT`].
    pub run_format: u32,
    /// The token that it began with.
    pub token: String,
    /// What the oracles found, worst first.
    pub findings: Vec<Finding>,
    /// Checksum over all calls.
    pub digest: Option<String>,
    /// The fault rules.
    pub rules: Vec<Rule>,
    /// The ends of processes.
    pub restarts: Vec<Restart>,
    /// The steps that are taken.
    pub steps: Vec<CaseStep>,
    /// The preemptions: which actor is paused where, and which one goes on.
    pub schedule: Vec<Preemption>,
    /// True if the policy decides instead, from the token's seed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub by_policy: bool,
    /// The actors in the order in which their steps ended, including the steps that are left out.
    pub turns: Vec<Actor>,
    /// The calls, one a line: actor, call, file, arguments, outcome.
    #[serde(default)]
    pub calls: Vec<String>,
}

/// A step of an actor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CaseStep {
    /// The actor.
    pub actor: Actor,
    /// Its number.
    pub index: u32,
    /// The step.
    pub step: Step,
}

impl RunCase {
    /// The case of a spec, with a schedule or by the policy.
    pub fn of(spec: &RunSpec, schedule: Option<Vec<Preemption>>) -> Self {
        let steps = spec.scripts.iter().flat_map(|(actor, script)| {
            let steps = (0..).zip(script).filter(|(index, _)| !spec.omitted.contains(&(*actor, *index)));
            steps.map(|(index, step)| CaseStep { actor: *actor, index, step: *step })
        });
        Self {
            run_format: FORMAT,
            token: spec.token.to_string(),
            findings: Vec::new(),
            digest: None,
            rules: spec.faults.rules.clone(),
            restarts: spec.shape.restarts.clone(),
            steps: steps.collect(),
            by_policy: schedule.is_none(),
            schedule: schedule.unwrap_or_default(),
            turns: spec.turns.clone(),
            calls: Vec::new(),
        }
    }

    /// How many actors take a step.
    pub fn actors(&self) -> usize {
        self.steps.iter().map(|step| step.actor).collect::<BTreeSet<_>>().len()
    }

    /// The spec, on the medium `sim`; with `is_real` it is the same on real files, one step after the other in the
    /// order in which they ended.
    ///
    /// # Errors
    /// If the token names what does not exist, or a step is not one of the run.
    pub fn spec(&self, is_real: bool) -> Result<RunSpec, SpecError> {
        let token: Token = self.token.parse()?;
        let mut spec = RunSpec::of(&token)?;
        let mut taken = BTreeSet::new();
        for CaseStep { actor, index, step } in &self.steps {
            let no_actor = || SpecError::Step(format!("there is no actor {actor} in the run"));
            let no_step = || SpecError::Step(format!("{actor} has no step {index}"));
            let script = spec.scripts.get_mut(actor).ok_or_else(no_actor)?;
            *script.get_mut(*index as usize).ok_or_else(no_step)? = *step;
            taken.insert((*actor, *index));
        }
        self.check_references(&spec)?;
        let numbered = |(actor, script): (&Actor, &Vec<Step>)| {
            let actor = *actor;
            (0..script.len() as u32).map(move |index| (actor, index))
        };
        spec.omitted = spec.scripts.iter().flat_map(numbered).filter(|step| !taken.contains(step)).collect();
        spec.faults.rules.clone_from(&self.rules);
        spec.shape.restarts.clone_from(&self.restarts);
        spec.turns.clone_from(&self.turns);
        if is_real {
            spec.shape.schedule = Schedule::Sequential;
            spec.token.medium = REAL.to_owned();
        }
        Ok(spec)
    }

    /// What a step changes must be what an earlier one inserted, whether that one is taken or not.
    fn check_references(&self, spec: &RunSpec) -> Result<(), SpecError> {
        for CaseStep { actor, index, step } in &self.steps {
            let (Step::Update { txn } | Step::Delete { txn }) = step else { continue };
            let earlier = spec.scripts[actor].get(*txn as usize).filter(|_| txn < index);
            if !matches!(earlier, Some(Step::Insert { .. })) {
                let message =
                    format!("step {index} of {actor} changes transaction {txn}, which none before it inserts");
                return Err(SpecError::Step(message));
            }
        }
        Ok(())
    }

    /// Reads a file.
    ///
    /// # Errors
    /// If it cannot be read, or is of another format.
    pub fn read(path: &Path) -> Result<Self, CaseFileError> {
        case_file::read(path, FORMAT_FIELD, FORMAT)
    }

    /// Writes the file, and its folder if there is none.
    ///
    /// # Errors
    /// [`CaseFileError::Unwritable`], with the path.
    pub fn write(&self, path: &Path) -> Result<(), CaseFileError> {
        case_file::write(path, self)
    }
}
