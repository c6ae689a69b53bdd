//! Runs of strategies: a token names what is drawn from its seed; a file holds what remains of that.

use super::{Answer, Executed, Kind, Recorded, Repetition, ReproduceError, Reproduction, Setting, Sizes, stem_of_file};
use crate::run::simulated::case::{FORMAT_FIELD, RunCase};
use crate::run::simulated::shrink::RunBench;
use crate::run::simulated::{Simulated, Simulator};
use crate::run::spec::{RunSpec, SIM};
use crate::run::{self, RunError, Runner};
use seawall_harness::record::{Finding, RunRecord, Story};
use seawall_harness::shrink::Limits;
use seawall_harness::story;
use seawall_harness::token::Token;
use seawall_harness::verdict::Verdict;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

pub(super) const KIND: Kind = Kind {
    prefix: "sw",
    field: FORMAT_FIELD,
    token: |text| Ok(Box::new(Run::of_token(text)?)),
    file: |path| Ok(Box::new(Run::of_file(path)?)),
};

/// A run.
struct Run {
    name: String,
    /// `None` for a file.
    token: Option<Token>,
    spec: RunSpec,
    case: RunCase,
    recorded: Option<Recorded>,
}

/// What executes a run.
enum Executor {
    Simulator(Box<Simulator>),
    Processes(Runner),
}

impl Run {
    fn of_token(text: &str) -> Result<Self, ReproduceError> {
        let token: Token = text.parse()?;
        let spec = RunSpec::of(&token).map_err(RunError::from)?;
        spec.plan().map_err(RunError::from)?;
        let case = RunCase::of(&spec, None);
        Ok(Self { name: token.to_string(), token: Some(token), spec, case, recorded: None })
    }

    fn of_file(path: &Path) -> Result<Self, ReproduceError> {
        let case = RunCase::read(path)?;
        let spec = case.spec(false).map_err(RunError::from)?;
        spec.plan().map_err(RunError::from)?;
        let (digest, calls, findings) = (case.digest.clone(), case.calls.clone(), case.findings.clone());
        let recorded = Recorded { digest, calls, findings }.if_comparable();
        Ok(Self { name: path.display().to_string(), token: None, spec, case, recorded })
    }
}

impl Reproduction for Run {
    type Executor = Executor;
    type Outcome = RunRecord;
    type Case = RunCase;
    type Bench<'a> = RunBench<'a>;
    type File = RunCase;

    fn name(&self) -> &str {
        &self.name
    }

    fn stem(&self) -> String {
        match &self.token {
            Some(_) => self.name.replace(':', "-"),
            None => stem_of_file(&self.name),
        }
    }

    fn recorded(&self) -> Option<&Recorded> {
        self.recorded.as_ref()
    }

    fn expected(&self) -> Option<&Finding> {
        self.case.findings.first().filter(|_| self.token.is_none())
    }

    fn candidate(&self, _setting: &Setting) -> Result<(RunCase, Option<Finding>), ReproduceError> {
        Ok((self.case.clone(), self.case.findings.first().cloned()))
    }

    fn ask_case(&self, _: &RunCase, _: Option<&Finding>, sqlite: &str) -> Result<Answer, ReproduceError> {
        let message =
            format!("{} is the run of a strategy, which the linked SQLite executes and not {sqlite}", self.name);
        Err(ReproduceError::Usage(message))
    }

    fn must_repeat(&self, setting: &Setting) -> bool {
        self.token.is_none() && !setting.is_real
    }

    fn open(&self, setting: &Setting, _is_traced: bool) -> Result<Executor, ReproduceError> {
        let is_file = self.token.is_none();
        if is_file && setting.is_real || !self.spec.is_simulated() {
            return Ok(Executor::Processes(setting.runner.clone()));
        }
        Ok(Executor::Simulator(Box::new(Simulator::new().map_err(RunError::from)?)))
    }

    fn execute(&self, executor: &mut Executor) -> Result<Executed<RunRecord>, ReproduceError> {
        let (record, calls) = match executor {
            Executor::Simulator(simulator) => {
                let schedule = (!self.case.by_policy).then_some(&*self.case.schedule);
                let Simulated { record, calls, .. } = simulator.run(&self.spec, schedule, true)?;
                (record, calls)
            }
            Executor::Processes(runner) => {
                let run::Executed { record, calls } = match &self.token {
                    Some(token) => runner.execute(token)?,
                    None => runner.execute_on_real_files(&self.case)?,
                };
                (record, calls)
            }
        };
        let (digest, findings) = (record.trace_digest.clone(), record.findings.clone());
        let recorded = Recorded { digest, calls: Vec::new(), findings };
        let (verdict, is_expected) = (record.verdict, record.verdict <= Verdict::Degraded);
        Ok(Executed { outcome: record, verdict, is_expected, recorded, calls })
    }

    fn human(&self, repetition: &Repetition<RunRecord>) -> String {
        repetition.outcomes.last().map(human).unwrap_or_default() + &agreement(repetition)
    }

    fn json(&self, repetition: &Repetition<RunRecord>) -> serde_json::Result<String> {
        repetition.outcomes.iter().map(|record| Ok(serde_json::to_string(record)? + "\n")).collect()
    }

    fn bench<'a>(
        &self,
        executor: &'a mut Executor,
        limits: Limits<'a, RunCase>,
    ) -> Result<(RunBench<'a>, RunCase), ReproduceError> {
        let Executor::Simulator(simulator) = executor else {
            return Err(ReproduceError::Usage(format!(
                "{} is a run on `{}`: only runs on `{SIM}` can be shrunk, since nothing else says who goes on where",
                self.name, self.spec.token.medium
            )));
        };
        Ok(RunBench::new(simulator, self.case.clone(), limits)?)
    }

    fn sizes(case: &RunCase) -> Sizes {
        Sizes { preemptions: case.schedule.len(), statements: case.steps.len() as u64, actors: case.actors() }
    }

    fn tell(
        &self,
        executor: &mut Executor,
        case: &RunCase,
        name: &str,
    ) -> Result<Option<(RunCase, Story)>, ReproduceError> {
        let Executor::Simulator(simulator) = executor else { return Ok(None) };
        let (simulated, story) = simulator.tell(case, name)?;
        let case = RunCase { calls: story::lines(&simulated.calls), ..case.clone() };
        Ok(story.map(|story| (case, story)))
    }

    fn confirm(&self, setting: &Setting, case: &RunCase) -> Result<Option<Verdict>, ReproduceError> {
        let faults = case.spec(false).map_err(RunError::from)?.faults;
        if faults.rules.iter().any(|rule| rule.needs_simulation().is_some()) {
            return Ok(None);
        }
        Ok(Some(setting.runner.execute_on_real_files(case)?.record.verdict))
    }
}

/// One execution for people.
fn human(record: &RunRecord) -> String {
    let bold = anstyle::Style::new().bold();
    let mut out = String::new();
    let (topology, counts) = (&record.topology, record.counts);
    let _ = writeln!(out, "{bold}{} under {}{bold:#}: {}", record.strategy, record.fault, record.verdict);
    let _ = writeln!(
        out,
        "  {} of {}, {}; {} started, {} killed",
        number(topology.processes, "process", "processes"),
        number(topology.threads, "thread", "threads"),
        topology.schedule,
        counts.starts,
        counts.kills
    );
    for rule in &record.rules {
        let at: Vec<String> = rule.fired_at.iter().map(u64::to_string).collect();
        let (text, fired, matched) = (&rule.rule, rule.fired, rule.matched);
        let _ = writeln!(out, "  {text}: fired {fired} of {matched} times, at calls {}", at.join(", "));
    }
    let _ = writeln!(
        out,
        "  {} acknowledged, {} refused, {} indeterminate, {} lost; integrity {}",
        counts.acked,
        counts.refused,
        counts.indeterminate,
        counts.lost,
        if record.integrity_ok { "ok" } else { "broken" },
    );
    for finding in &record.findings {
        let _ = writeln!(out, "  {} ({}): {}", finding.oracle, finding.verdict, finding.detail);
    }
    out
}

fn number(n: u16, one: &str, many: &str) -> String {
    format!("{n} {}", if n == 1 { one } else { many })
}

/// How the executions compare.
fn agreement(repetition: &Repetition<RunRecord>) -> String {
    let records = &repetition.outcomes;
    let times = records.len();
    let mut verdicts: BTreeMap<Verdict, usize> = BTreeMap::new();
    for record in records {
        *verdicts.entry(record.verdict).or_default() += 1;
    }
    let verdicts: Vec<String> = verdicts.iter().rev().map(|(verdict, n)| format!("{verdict} {n} of {times}")).collect();
    let digest = |record: &RunRecord| record.trace_digest.clone();
    let trace = match records.first().and_then(digest) {
        Some(first) if times == 1 => format!("it repeats call by call, digest {first}"),
        Some(first) if records.iter().all(|record| digest(record).as_ref() == Some(&first)) => {
            format!("calls identical each time, digest {first}")
        }
        Some(_) => match &repetition.divergence {
            Some(what) => format!("calls differ between the executions: {what}"),
            None => "calls differ between the executions".to_owned(),
        },
        None => "a racing run: calls are not expected to repeat".to_owned(),
    };
    format!("  {}; {trace}\n", verdicts.join(", "))
}
