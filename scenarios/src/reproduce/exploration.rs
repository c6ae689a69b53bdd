//! Explorations: a token names a case that is drawn from its seed; a file holds one.

use super::answer::is_same;
use super::{Answer, Executed, Kind, Recorded, Repetition, ReproduceError, Reproduction, Setting, Sizes, stem_of_file};
use crate::engines;
use crate::explore::{self, Case, CaseBench, CaseFile, ExploreToken, Explorer, Failing, Outcome, Schedule};
use seawall_harness::record::{Finding, Story};
use seawall_harness::shrink::Limits;
use seawall_harness::trace::Entry;
use seawall_harness::verdict::Verdict;
use serde::Serialize;
use std::fmt::Write as _;
use std::path::Path;

pub(super) const KIND: Kind = Kind {
    prefix: "sx",
    field: explore::FORMAT_FIELD,
    token: |text| Ok(Box::new(Exploration::of_token(text)?)),
    file: |path| Ok(Box::new(Exploration::of_file(path)?)),
};

/// The case of an exploration.
struct Exploration {
    name: String,
    /// `None` for a file.
    token: Option<ExploreToken>,
    case: Case,
    recorded: Option<Recorded>,
    expected: Option<Finding>,
}

impl Exploration {
    fn of_token(text: &str) -> Result<Self, ReproduceError> {
        let token: ExploreToken = text.parse()?;
        Ok(Self { name: token.to_string(), case: token.case()?, token: Some(token), recorded: None, expected: None })
    }

    fn of_file(path: &Path) -> Result<Self, ReproduceError> {
        let CaseFile { case, digest, calls, findings, .. } = CaseFile::read(path)?;
        let expected = findings.first().cloned();
        let recorded = Recorded { digest, calls, findings }.if_comparable();
        Ok(Self { name: path.display().to_string(), token: None, case, recorded, expected })
    }
}

/// What is printed. Field names are a contract.
#[derive(Serialize)]
struct ReplayOutput<'a> {
    schema: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<&'a str>,
    /// That of the worst finding, if there is one.
    verdict: Option<Verdict>,
    findings: &'a [Finding],
    calls: u64,
    preemptions: usize,
    digest: Option<&'a str>,
    /// How often it was executed, each time the same.
    times: usize,
    /// True if it is as the file says; null for a token, and for a file that says nothing.
    as_recorded: Option<bool>,
}

impl Reproduction for Exploration {
    type Executor = Explorer;
    type Outcome = Outcome;
    type Case = Failing;
    type Bench<'a> = CaseBench<'a>;
    type File = CaseFile;

    fn name(&self) -> &str {
        &self.name
    }

    fn stem(&self) -> String {
        match &self.token {
            Some(token) => token.file_stem(),
            None => stem_of_file(&self.name),
        }
    }

    fn recorded(&self) -> Option<&Recorded> {
        self.recorded.as_ref()
    }

    fn expected(&self) -> Option<&Finding> {
        self.expected.as_ref()
    }

    fn sqlite(&self) -> Option<&str> {
        Some(&self.case.sqlite)
    }

    /// A policy decides otherwise where another SQLite makes other calls, so its preemptions are asked about.
    fn candidate(&self, setting: &Setting) -> Result<(Failing, Option<Finding>), ReproduceError> {
        let as_it_is = || Failing { case: self.case.clone(), statements: 0 };
        let is_known = self.expected.is_some() && matches!(self.case.schedule, Schedule::Preemptions(_));
        let mut explorer = match self.open(setting, false) {
            _ if is_known => return Ok((as_it_is(), self.expected.clone())),
            Ok(explorer) => explorer,
            // The library is gone; another one can be asked all the same.
            Err(ReproduceError::Engine(_)) => return Ok((as_it_is(), self.expected.clone())),
            Err(error) => return Err(error),
        };
        let outcome = explorer.execute(&self.case)?;
        let case = self.case.with_preemptions(&outcome.execution.preemptions);
        let finding = outcome.findings.into_iter().next();
        Ok((Failing { case, statements: outcome.statements }, finding))
    }

    fn ask_case(&self, failing: &Failing, wanted: Option<&Finding>, sqlite: &str) -> Result<Answer, ReproduceError> {
        let (engine, name) = engines::identify(sqlite)?;
        let mut explorer = Explorer::new(engine, false)?;
        let case = Case { sqlite: name.clone(), ..failing.case.clone() };
        let mut findings = explorer.execute(&case)?.findings;
        let mut executions = 1;
        let is_met = |findings: &[Finding]| match (findings.first(), wanted) {
            (Some(found), Some(wanted)) => is_same(found, wanted),
            (found, _) => found.is_some(),
        };
        // Where another SQLite makes a call more or less, the same preemption is next to its place.
        for nearby in explore::nearby(&case) {
            if is_met(&findings) {
                break;
            }
            executions += 1;
            let found = explorer.execute(&nearby)?.findings;
            if is_met(&found) || findings.is_empty() {
                findings = found;
            }
        }
        Ok(Answer::of(&name, &findings, wanted, executions))
    }

    fn must_repeat(&self, _setting: &Setting) -> bool {
        true
    }

    fn open(&self, setting: &Setting, is_traced: bool) -> Result<Explorer, ReproduceError> {
        if setting.is_real {
            let message = "--medium real is for the case of a run; an exploration's is simulated only";
            return Err(ReproduceError::Usage(message.to_owned()));
        }
        Ok(Explorer::new(engines::resolve(&self.case.sqlite)?, is_traced)?)
    }

    fn execute(&self, explorer: &mut Explorer) -> Result<Executed<Outcome>, ReproduceError> {
        let outcome = explorer.execute(&self.case)?;
        Ok(executed(outcome, explorer.calls()))
    }

    /// Policies and lists of preemptions are two ways to the same execution.
    fn verify(&self, explorer: &mut Explorer) -> Result<Option<Executed<Outcome>>, ReproduceError> {
        let (outcome, _, calls) = explorer.verify(&self.case)?;
        Ok(Some(executed(outcome, calls)))
    }

    fn human(&self, repetition: &Repetition<Outcome>) -> String {
        let mut out = String::new();
        let Some(Outcome { findings, execution, digest, .. }) = repetition.outcomes.last() else { return out };
        for finding in findings {
            let _ = writeln!(out, "{} ({}): {}", finding.oracle, finding.verdict, finding.detail);
        }
        let (calls, preemptions, times) = (execution.calls, execution.preemptions.len(), repetition.outcomes.len());
        let digest = digest.as_deref().unwrap_or("none");
        let _ = write!(out, "{calls} calls, {preemptions} preemptions, {times} times the same; digest {digest}");
        out.push_str(match (repetition.is_as_recorded, &self.token) {
            (true, _) => "; as recorded in the file\n",
            (false, None) => "; nothing recorded to compare with\n",
            (false, Some(_)) => "\n",
        });
        out
    }

    fn json(&self, repetition: &Repetition<Outcome>) -> serde_json::Result<String> {
        let Some(Outcome { findings, execution, digest, .. }) = repetition.outcomes.last() else {
            return Ok(String::new());
        };
        let report = ReplayOutput {
            schema: 1,
            token: self.token.is_some().then_some(&*self.name),
            file: self.token.is_none().then_some(&*self.name),
            verdict: findings.first().map(|finding| finding.verdict),
            findings,
            calls: execution.calls,
            preemptions: execution.preemptions.len(),
            digest: digest.as_deref(),
            times: repetition.outcomes.len(),
            as_recorded: repetition.is_as_recorded.then_some(true),
        };
        Ok(serde_json::to_string(&report)? + "\n")
    }

    fn bench<'a>(
        &self,
        explorer: &'a mut Explorer,
        limits: Limits<'a, Failing>,
    ) -> Result<(CaseBench<'a>, Failing), ReproduceError> {
        Ok(CaseBench::new(explorer, &self.case, limits)?)
    }

    fn sizes(failing: &Failing) -> Sizes {
        Sizes {
            preemptions: failing.preemptions().len(),
            statements: failing.statements,
            actors: failing.case.actors.len(),
        }
    }

    fn tell(
        &self,
        explorer: &mut Explorer,
        failing: &Failing,
        name: &str,
    ) -> Result<Option<(CaseFile, Story)>, ReproduceError> {
        let file = explorer.record(&failing.case, None)?;
        let told = explorer.tell(&failing.case)?;
        Ok(explore::story(&failing.case, name, &told).map(|story| (file, story)))
    }
}

fn executed(outcome: Outcome, calls: Vec<Entry>) -> Executed<Outcome> {
    let (digest, findings) = (outcome.digest.clone(), outcome.findings.clone());
    let verdict = findings.first().map_or(Verdict::Survived, |finding| finding.verdict);
    let is_expected = findings.is_empty();
    Executed { outcome, verdict, is_expected, recorded: Recorded { digest, calls: Vec::new(), findings }, calls }
}
