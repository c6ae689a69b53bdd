//! Power cuts: a token names a case, a cut and an image; a file holds them.

use super::{Answer, Executed, Kind, Recorded, Repetition, ReproduceError, Reproduction, Setting, Sizes, stem_of_file};
use crate::engines;
use crate::powercut::{
    self, Case, CaseFile, CutBench, CutText, Cutter, Failing, Outcome, PowercutError, PowercutToken, StrategyCutter,
    TokenSubject,
};
use crate::run::spec::RunSpec;
use seawall_harness::record::{Finding, Story};
use seawall_harness::shrink::Limits;
use seawall_harness::verdict::Verdict;
use serde::Serialize;
use std::fmt::Write as _;
use std::path::Path;

pub(super) const KIND: Kind = Kind {
    prefix: "sp",
    field: powercut::FORMAT_FIELD,
    token: |text| Ok(Box::new(PowerCut::of_token(text)?)),
    file: |path| Ok(Box::new(PowerCut::of_file(path)?)),
};

/// What is cut off.
enum Subject {
    /// The workload of the table.
    Case(Box<Case>),
    /// A run of a strategy, on a device.
    Run(Box<RunSpec>, String),
}

/// Executes one of the two.
enum Executor {
    Case(Cutter),
    Run(StrategyCutter),
}

/// An image of a case.
struct PowerCut {
    name: String,
    is_token: bool,
    subject: Subject,
    cuts: Vec<CutText>,
    recorded: Option<Recorded>,
    expected: Option<Finding>,
}

impl PowerCut {
    fn of_token(text: &str) -> Result<Self, ReproduceError> {
        let token: PowercutToken = text.parse().map_err(PowercutError::from)?;
        let name = token.to_string();
        let subject = match (token.case(), &token.subject) {
            (_, TokenSubject::Strategy { strategy, fault }) => {
                let spec = powercut::strategy::spec(strategy, fault, token.seed)?;
                Subject::Run(Box::new(spec), token.device.clone())
            }
            (Some(case), _) => Subject::Case(Box::new(case)),
            (None, _) => return Err(ReproduceError::Usage(format!("{name} names nothing"))),
        };
        Ok(Self { name, is_token: true, subject, cuts: token.cuts, recorded: None, expected: None })
    }

    fn of_file(path: &Path) -> Result<Self, ReproduceError> {
        let CaseFile { case, cuts, digest, findings, .. } = CaseFile::read(path)?;
        let expected = findings.first().cloned();
        let recorded = Recorded { digest, calls: Vec::new(), findings }.if_comparable();
        let subject = Subject::Case(Box::new(case));
        Ok(Self { name: path.display().to_string(), is_token: false, subject, cuts, recorded, expected })
    }

    fn depth(&self) -> u8 {
        u8::try_from(self.cuts.len().saturating_sub(1)).unwrap_or(u8::MAX)
    }

    fn title(&self) -> String {
        match &self.subject {
            Subject::Case(case) => format!("{} on SQLite {}, device {}", case.settings, case.sqlite, case.device),
            Subject::Run(spec, device) => {
                format!("{} under {}, device {device}", spec.strategy.name, spec.token.fault)
            }
        }
    }

    /// Its case and cutter, for what runs of strategies cannot have.
    fn case<'a>(&'a self, executor: &'a mut Executor) -> Result<(&'a Case, &'a mut Cutter), ReproduceError> {
        match (&self.subject, executor) {
            (Subject::Case(case), Executor::Case(cutter)) => Ok((case, cutter)),
            _ => Err(ReproduceError::Usage("a run of a strategy with a power cut cannot be shrunk".to_owned())),
        }
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
    /// Acknowledged commits before the cut, and the last one that is there.
    acked: u32,
    survived: u32,
    digest: &'a str,
    times: usize,
    lines: Vec<String>,
}

impl Reproduction for PowerCut {
    type Executor = Executor;
    type Outcome = Outcome;
    type Case = Failing;
    type Bench<'a> = CutBench<'a>;
    type File = CaseFile;

    fn name(&self) -> &str {
        &self.name
    }

    fn stem(&self) -> String {
        if !self.is_token {
            return stem_of_file(&self.name);
        }
        // Fates would make names too long for some file systems; the checksum tells them apart.
        let fields = self.name.split(':').map(|field| if field.len() > 40 { "long" } else { field });
        fields.collect::<Vec<_>>().join("-").replace(['/', '*', '+'], "_")
    }

    fn recorded(&self) -> Option<&Recorded> {
        self.recorded.as_ref()
    }

    fn expected(&self) -> Option<&Finding> {
        self.expected.as_ref()
    }

    fn sqlite(&self) -> Option<&str> {
        match &self.subject {
            Subject::Case(case) => Some(&case.sqlite),
            Subject::Run(..) => None,
        }
    }

    fn candidate(&self, setting: &Setting) -> Result<(Failing, Option<Finding>), ReproduceError> {
        let Subject::Case(case) = &self.subject else {
            let message = format!("{} is the run of a strategy, which the linked SQLite executes", self.name);
            return Err(ReproduceError::Usage(message));
        };
        let failing = Failing { case: (**case).clone(), cuts: self.cuts.clone() };
        if self.expected.is_some() {
            return Ok((failing, self.expected.clone()));
        }
        let finding = match self.open(setting, false) {
            Ok(mut executor) => self.execute(&mut executor)?.recorded.findings.into_iter().next(),
            Err(ReproduceError::PowerCut(PowercutError::Engine(_))) => None,
            Err(error) => return Err(error),
        };
        Ok((failing, finding))
    }

    fn ask_case(&self, failing: &Failing, wanted: Option<&Finding>, sqlite: &str) -> Result<Answer, ReproduceError> {
        let (_, name) = engines::identify(sqlite)?;
        let case = Case { sqlite: name.clone(), ..failing.case.clone() };
        let depth = u8::try_from(failing.cuts.len().saturating_sub(1)).unwrap_or(u8::MAX);
        match Cutter::new(&case, depth)?.execute(&case, &failing.cuts) {
            Ok(outcome) => Ok(Answer::of(&name, &outcome.findings, wanted, 1)),
            Err(PowercutError::Foreign(_)) => {
                Ok(Answer::unknown(&name, "what it writes to the disk is not the same, so this cut is another one"))
            }
            Err(error) => Err(error.into()),
        }
    }

    fn must_repeat(&self, _setting: &Setting) -> bool {
        true
    }

    fn open(&self, setting: &Setting, _is_traced: bool) -> Result<Executor, ReproduceError> {
        if setting.is_real {
            let message = "--medium real is for the case of a run; the power of a real machine is not cut";
            return Err(ReproduceError::Usage(message.to_owned()));
        }
        Ok(match &self.subject {
            Subject::Case(case) => Executor::Case(Cutter::new(case, self.depth())?),
            Subject::Run(_, device) => Executor::Run(StrategyCutter::new(device)?),
        })
    }

    fn execute(&self, executor: &mut Executor) -> Result<Executed<Outcome>, ReproduceError> {
        let outcome = match (&self.subject, executor) {
            (Subject::Run(spec, _), Executor::Run(cutter)) => cutter.execute(spec, &self.cuts)?,
            (_, executor) => {
                let (case, cutter) = self.case(executor)?;
                cutter.execute(case, &self.cuts)?
            }
        };
        let verdict = outcome.after.verdict();
        let recorded =
            Recorded { digest: Some(outcome.digest.clone()), calls: Vec::new(), findings: outcome.findings.clone() };
        let is_expected = verdict == Verdict::Survived;
        Ok(Executed { outcome, verdict, is_expected, recorded, calls: Vec::new() })
    }

    fn human(&self, repetition: &Repetition<Outcome>) -> String {
        let mut out = String::new();
        let Some(outcome) = repetition.outcomes.last() else { return out };
        for Finding { oracle, verdict, detail } in &outcome.findings {
            let _ = writeln!(out, "{oracle} ({verdict}): {detail}");
        }
        let _ = writeln!(out, "{}", self.title());
        for line in outcome.lines() {
            let _ = writeln!(out, "{line}");
        }
        let (times, digest) = (repetition.outcomes.len(), &outcome.digest);
        let _ = writeln!(out, "{}; {times} times the same; digest {digest}", outcome.after.sentence());
        out
    }

    fn json(&self, repetition: &Repetition<Outcome>) -> serde_json::Result<String> {
        let Some(outcome) = repetition.outcomes.last() else { return Ok(String::new()) };
        let report = ReplayOutput {
            schema: 1,
            token: self.is_token.then_some(&*self.name),
            file: (!self.is_token).then_some(&*self.name),
            verdict: outcome.findings.first().map(|finding| finding.verdict),
            findings: &outcome.findings,
            acked: outcome.after.acked,
            survived: outcome.after.survived,
            digest: &outcome.digest,
            times: repetition.outcomes.len(),
            lines: outcome.lines(),
        };
        Ok(serde_json::to_string(&report)? + "\n")
    }

    fn bench<'a>(
        &self,
        executor: &'a mut Executor,
        limits: Limits<'a, Failing>,
    ) -> Result<(CutBench<'a>, Failing), ReproduceError> {
        let nothing = || ReproduceError::Usage(format!("{} finds nothing, so there is nothing to shrink", self.name));
        match (&self.subject, executor) {
            (Subject::Case(case), Executor::Case(cutter)) => {
                CutBench::new(cutter, (case, &self.cuts), limits)?.ok_or_else(nothing)
            }
            _ => Err(ReproduceError::Usage("a run of a strategy with a power cut cannot be shrunk".to_owned())),
        }
    }

    fn sizes(failing: &Failing) -> Sizes {
        let Failing { case, .. } = failing;
        Sizes { preemptions: 0, statements: case.steps() as u64, actors: case.busy_processes() }
    }

    fn tell(
        &self,
        executor: &mut Executor,
        failing: &Failing,
        name: &str,
    ) -> Result<Option<(CaseFile, Story)>, ReproduceError> {
        let (_, cutter) = self.case(executor)?;
        let outcome = cutter.execute(&failing.case, &failing.cuts)?;
        let story = outcome.story(name, &self.title());
        let file = CaseFile {
            powercut_format: powercut::FORMAT,
            case: failing.case.clone(),
            cuts: failing.cuts.clone(),
            calls: outcome.lines(),
            findings: outcome.findings,
            digest: Some(outcome.digest),
        };
        Ok(story.map(|story| (file, story)))
    }
}
