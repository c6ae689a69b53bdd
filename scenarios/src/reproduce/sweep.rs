//! Single errors: a token names a case and a fault; a file holds them.

use super::{Answer, Executed, Kind, Recorded, Repetition, ReproduceError, Reproduction, Setting, Sizes, stem_of_file};
use crate::engines;
use crate::powercut::sweep::{self, Erring, Outcome, SweepBench, SweepFile, SweepToken, Sweeper, Swept as _, story};
use crate::powercut::{Case, PowercutError};
use seawall_harness::fault::Rule;
use seawall_harness::record::{Finding, Story};
use seawall_harness::shrink::Limits;
use seawall_harness::story::lines;
use seawall_harness::verdict::Verdict;
use serde::Serialize;
use std::path::Path;

pub(super) const KIND: Kind = Kind {
    prefix: "se",
    field: sweep::FORMAT_FIELD,
    token: |text| Ok(Box::new(SingleError::of_token(text)?)),
    file: |path| Ok(Box::new(SingleError::of_file(path)?)),
};

/// A case with a fault.
struct SingleError {
    name: String,
    is_token: bool,
    case: Case,
    rule: Rule,
    recorded: Option<Recorded>,
    expected: Option<Finding>,
}

impl SingleError {
    fn of_token(text: &str) -> Result<Self, ReproduceError> {
        let token: SweepToken = text.parse().map_err(PowercutError::from)?;
        let (name, case, rule) = (token.to_string(), token.case(), token.rule);
        Ok(Self { name, is_token: true, case, rule, recorded: None, expected: None })
    }

    fn of_file(path: &Path) -> Result<Self, ReproduceError> {
        let SweepFile { case, rule, findings, digest, calls, .. } = SweepFile::read(path)?;
        let expected = findings.first().cloned();
        let recorded = Recorded { digest, calls, findings }.if_comparable();
        Ok(Self { name: path.display().to_string(), is_token: false, case, rule, recorded, expected })
    }

    fn title(&self) -> String {
        let Case { settings, sqlite, device, .. } = &self.case;
        format!("{} on {settings}, SQLite {sqlite}, device {device}", self.rule)
    }

    fn erring(&self) -> Erring {
        Erring { case: self.case.clone(), rule: self.rule.clone() }
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
    verdict: Verdict,
    rule: String,
    during: &'a str,
    #[serde(flatten)]
    outcome: &'a Outcome,
    findings: Vec<Finding>,
    digest: &'a str,
    times: usize,
    lines: Vec<String>,
}

impl Reproduction for SingleError {
    type Executor = Sweeper;
    type Outcome = sweep::Executed;
    type Case = Erring;
    type Bench<'a> = SweepBench<'a>;
    type File = SweepFile;

    fn name(&self) -> &str {
        &self.name
    }

    fn stem(&self) -> String {
        if !self.is_token {
            return stem_of_file(&self.name);
        }
        self.name.replace(['/', '*', '+', ':', '@', '=', ','], "-")
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

    fn candidate(&self, setting: &Setting) -> Result<(Erring, Option<Finding>), ReproduceError> {
        if self.expected.is_some() {
            return Ok((self.erring(), self.expected.clone()));
        }
        let finding = match self.open(setting, false) {
            Ok(mut sweeper) => self.execute(&mut sweeper)?.recorded.findings.into_iter().next(),
            Err(ReproduceError::PowerCut(PowercutError::Engine(_))) => None,
            Err(error) => return Err(error),
        };
        Ok((self.erring(), finding))
    }

    fn ask_case(&self, erring: &Erring, wanted: Option<&Finding>, sqlite: &str) -> Result<Answer, ReproduceError> {
        let (_, name) = engines::identify(sqlite)?;
        let case = Case { sqlite: name.clone(), ..erring.case.clone() };
        let executed = Sweeper::new(case)?.execute(&erring.rule)?;
        if executed.fired_at.is_none() {
            return Ok(Answer::unknown(&name, format!("{} fires at no call there", erring.rule)));
        }
        let findings: Vec<Finding> = executed.outcome.finding().into_iter().collect();
        Ok(Answer::of(&name, &findings, wanted, 1))
    }

    fn must_repeat(&self, _setting: &Setting) -> bool {
        true
    }

    fn open(&self, setting: &Setting, _is_traced: bool) -> Result<Sweeper, ReproduceError> {
        if setting.is_real {
            let message = "--medium real is for the case of a run; a single error needs the simulated disk";
            return Err(ReproduceError::Usage(message.to_owned()));
        }
        Ok(Sweeper::new(self.case.clone())?)
    }

    fn execute(&self, sweeper: &mut Sweeper) -> Result<Executed<sweep::Executed>, ReproduceError> {
        sweeper.set_case(self.case.clone());
        let executed = sweeper.execute(&self.rule)?;
        if executed.fired_at.is_none() {
            let message = format!("{} fires at no call of this case; it was made by another version", self.rule);
            return Err(ReproduceError::Usage(message));
        }
        let verdict = executed.outcome.class.verdict();
        let findings = executed.outcome.finding().into_iter().collect();
        let recorded = Recorded { digest: Some(executed.digest.clone()), calls: Vec::new(), findings };
        let (calls, is_expected) = (executed.trace.clone(), verdict < Verdict::Lost);
        Ok(Executed { outcome: executed, verdict, is_expected, recorded, calls })
    }

    fn human(&self, repetition: &Repetition<sweep::Executed>) -> String {
        let Some(executed) = repetition.outcomes.last() else { return String::new() };
        let sweep::Executed { outcome, during, digest, .. } = executed;
        let views: Vec<&str> = outcome.views.iter().map(|view| view.word()).collect();
        let views = if views.is_empty() { String::new() } else { format!(" ({})", views.join(", ")) };
        format!(
            "{}\nit fires during {during}\n{}\n{}{views}: {}; {} times the same; digest {digest}\n",
            self.title(),
            story::lines(executed).join("\n"),
            outcome.class,
            outcome.detail,
            repetition.outcomes.len()
        )
    }

    fn json(&self, repetition: &Repetition<sweep::Executed>) -> serde_json::Result<String> {
        let Some(executed) = repetition.outcomes.last() else { return Ok(String::new()) };
        let outcome = &executed.outcome;
        let report = ReplayOutput {
            schema: 1,
            token: self.is_token.then_some(&*self.name),
            file: (!self.is_token).then_some(&*self.name),
            verdict: outcome.class.verdict(),
            rule: self.rule.to_string(),
            during: &executed.during,
            outcome,
            findings: outcome.finding().into_iter().collect(),
            digest: &executed.digest,
            times: repetition.outcomes.len(),
            lines: story::lines(executed),
        };
        Ok(serde_json::to_string(&report)? + "\n")
    }

    fn bench<'a>(
        &self,
        sweeper: &'a mut Sweeper,
        limits: Limits<'a, Erring>,
    ) -> Result<(SweepBench<'a>, Erring), ReproduceError> {
        let nothing = || ReproduceError::Usage(format!("{} finds nothing, so there is nothing to shrink", self.name));
        let first = self.erring();
        let bench = SweepBench::new(sweeper, &first, limits)?.ok_or_else(nothing)?;
        Ok((bench, first))
    }

    fn sizes(erring: &Erring) -> Sizes {
        let Erring { case, .. } = erring;
        Sizes { preemptions: 0, statements: case.steps() as u64, actors: case.busy_processes() }
    }

    fn tell(
        &self,
        sweeper: &mut Sweeper,
        erring: &Erring,
        name: &str,
    ) -> Result<Option<(SweepFile, Story)>, ReproduceError> {
        sweeper.set_case(erring.case.clone());
        let executed = sweeper.execute(&erring.rule)?;
        let Some(finding) = executed.outcome.finding() else { return Ok(None) };
        let story = story::story(&executed, name, &self.title(), finding.clone());
        let file = SweepFile {
            sweep_format: sweep::FORMAT,
            case: erring.case.clone(),
            rule: erring.rule.clone(),
            findings: vec![finding],
            calls: lines(&executed.trace),
            digest: Some(executed.digest),
        };
        Ok(Some((file, story)))
    }
}
