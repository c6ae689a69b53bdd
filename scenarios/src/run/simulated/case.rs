//! A simulated run as it stands: its token, and what is left of what the token's seed drew.
//!
//! Once a run has been cut down it does not follow from its seed any more, so it is kept as a file.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use seawall_harness::actor::Actor;
use seawall_harness::fault::Rule;
use seawall_harness::record::Finding;
use seawall_harness::sched::Preemption;
use seawall_harness::token::Token;
use serde::{Deserialize, Serialize};

use crate::run::shape::{Restart, Schedule};
use crate::run::spec::{REAL, RunSpec, SpecError};
use crate::scratch;
use crate::workload::Step;

/// The present format of the file.
pub const FORMAT: u32 = 1;

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
    /// Who went on where, instead of the one who was running.
    pub schedule: Vec<Preemption>,
    /// True if the policy decides instead, from the token's seed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub by_policy: bool,
    /// Whose step was the next to end, for all steps, those that are left out included.
    pub turns: Vec<Actor>,
    /// The calls, one a line: who, what, on which file, arguments, outcome.
    #[serde(default)]
    pub calls: Vec<String>,
}

/// A step that is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CaseStep {
    /// Who takes it.
    pub actor: Actor,
    /// Its number.
    pub index: u32,
    /// What is done.
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

    /// True if the file looks like one.
    pub fn is_one(path: &Path) -> bool {
        let value =
            fs::read_to_string(path).ok().and_then(|text| serde_json::from_str::<serde_json::Value>(&text).ok());
        value.is_some_and(|value| value.get("run_format").is_some())
    }

    /// The spec, on the medium `sim`; with `real` it is the same on real files, one step after the other in the order
    /// in which they ended.
    ///
    /// # Errors
    /// A message if the token names what does not exist, or a step is none of the run's.
    pub fn spec(&self, real: bool) -> Result<RunSpec, SpecError> {
        let token: Token = self.token.parse()?;
        let mut spec = RunSpec::of(&token)?;
        let mut taken = BTreeSet::new();
        for CaseStep { actor, index, step } in &self.steps {
            let script = spec
                .scripts
                .get_mut(actor)
                .ok_or_else(|| SpecError::Step(format!("there is no actor {actor} in the run")))?;
            let place = script.get_mut(*index as usize);
            *place.ok_or_else(|| SpecError::Step(format!("{actor} has no step {index}")))? = *step;
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
        if real {
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
                return Err(SpecError::Step(format!(
                    "step {index} of {actor} changes transaction {txn}, which none before it inserts"
                )));
            }
        }
        Ok(())
    }

    /// Reads a file.
    ///
    /// # Errors
    /// A message with the path if it cannot be read, or is of another format.
    pub fn read(path: &Path) -> Result<Self, String> {
        let name = path.display();
        let text = fs::read_to_string(path).map_err(|error| format!("cannot read {name}: {error}"))?;
        let case: Self = serde_json::from_str(&text).map_err(|error| format!("{name} is no case of a run: {error}"))?;
        if case.run_format != FORMAT {
            let format = case.run_format;
            return Err(format!("{name} has the format {format}, not {FORMAT} as this version of seawall"));
        }
        Ok(case)
    }

    /// Writes the file, and its folder if there is none.
    ///
    /// # Errors
    /// A message with the path.
    pub fn write(&self, path: &Path) -> Result<(), String> {
        let text = serde_json::to_string_pretty(self).map_err(|error| error.to_string())?;
        scratch::write_whole(path, &(text + "\n"))
    }
}
