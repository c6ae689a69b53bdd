//! Power cuts: a token names a case, a cut and an image; a file holds them.

use super::{Executed, Kind, Recorded, Repetition, ReproduceError, Reproduction, Setting, Sizes};
use crate::powercut::{
    self, Case, CaseFile, CutBench, CutText, Cutter, Failing, Outcome, PowercutError, PowercutToken,
};
use crate::shrink::Limits;
use seawall_harness::record::{Finding, Story};
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

/// An image of a case.
struct PowerCut {
    name: String,
    is_token: bool,
    case: Case,
    cuts: Vec<CutText>,
    recorded: Option<Recorded>,
}

impl PowerCut {
    fn of_token(text: &str) -> Result<Self, ReproduceError> {
        let token: PowercutToken = text.parse().map_err(PowercutError::from)?;
        Ok(Self { name: token.to_string(), is_token: true, case: token.case(), cuts: token.cuts, recorded: None })
    }

    fn of_file(path: &Path) -> Result<Self, ReproduceError> {
        let CaseFile { case, cuts, digest, findings, .. } = CaseFile::read(path)?;
        let recorded = Recorded { digest, calls: Vec::new(), findings }.if_comparable();
        Ok(Self { name: path.display().to_string(), is_token: false, case, cuts, recorded })
    }

    fn depth(&self) -> u8 {
        u8::try_from(self.cuts.len().saturating_sub(1)).unwrap_or(u8::MAX)
    }

    fn subject(&self) -> String {
        format!("{} on SQLite {}, device {}", self.case.settings, self.case.sqlite, self.case.device)
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
    type Executor = Cutter;
    type Outcome = Outcome;
    type Case = Failing;
    type Bench<'a> = CutBench<'a>;
    type File = CaseFile;

    fn name(&self) -> &str {
        &self.name
    }

    fn stem(&self) -> String {
        if !self.is_token {
            return Path::new(&self.name).file_stem().unwrap_or_default().to_string_lossy().into_owned();
        }
        // Fates would make names too long for some file systems; the checksum tells them apart.
        let fields = self.name.split(':').map(|field| if field.len() > 40 { "long" } else { field });
        fields.collect::<Vec<_>>().join("-").replace(['/', '*', '+'], "_")
    }

    fn recorded(&self) -> Option<&Recorded> {
        self.recorded.as_ref()
    }

    fn must_repeat(&self, _setting: &Setting) -> bool {
        true
    }

    fn open(&self, setting: &Setting, _is_traced: bool) -> Result<Cutter, ReproduceError> {
        if setting.is_real {
            let message = "--medium real is for the case of a run; the power of a real machine is not cut";
            return Err(ReproduceError::Usage(message.to_owned()));
        }
        Ok(Cutter::new(&self.case, self.depth())?)
    }

    fn execute(&self, cutter: &mut Cutter) -> Result<Executed<Outcome>, ReproduceError> {
        let outcome = cutter.execute(&self.case, &self.cuts)?;
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
        let _ = writeln!(out, "{}", self.subject());
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
        cutter: &'a mut Cutter,
        limits: Limits<'a, Failing>,
    ) -> Result<(CutBench<'a>, Failing), ReproduceError> {
        let nothing = || ReproduceError::Usage(format!("{} finds nothing, so there is nothing to shrink", self.name));
        CutBench::new(cutter, (&self.case, &self.cuts), limits)?.ok_or_else(nothing)
    }

    fn sizes(failing: &Failing) -> Sizes {
        let processes = failing.case.processes.iter().filter(|steps| !steps.is_empty()).count();
        Sizes { preemptions: 0, statements: failing.case.steps() as u64, actors: processes }
    }

    fn tell(
        &self,
        cutter: &mut Cutter,
        failing: &Failing,
        name: &str,
    ) -> Result<Option<(CaseFile, Story)>, ReproduceError> {
        let outcome = cutter.execute(&failing.case, &failing.cuts)?;
        let story = outcome.story(name, &self.subject());
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
