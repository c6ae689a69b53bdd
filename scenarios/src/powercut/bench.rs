//! One image executed again, and made as small as possible.

use super::case::{Case, CutText, Numbered, Step};
use super::cell::Subject;
use super::judge::{self, Judge, Observation};
use super::recording::{Recorded, Recorder};
use super::search::{CellResult, Search};
use super::strategy::{self, Opener};
use super::survey::Survey;
use super::token::TokenSubject;
use super::witness::Witness;
use super::{PowercutError, SamplesOf, fates};
use crate::engines;
use crate::run::simulated::Simulator;
use crate::run::spec::RunSpec;
use seawall_harness::media::sim::durability::{Content, Device, DiskState, EventKind, Fate, Image, Recording};
use seawall_harness::oracle::durability::AfterCut;
use seawall_harness::oracle::ledger::Ledger;
use seawall_harness::record::Finding;
use seawall_harness::seed::{Seed, mix};
use seawall_harness::shrink::{Bench, Candidate, Goal, Limits};
use seawall_harness::verdict::Verdict;
use std::sync::atomic::AtomicBool;

/// Images that are looked at for each candidate.
const IMAGES: u64 = 4_000;

/// Executes cases with cuts.
pub struct Cutter {
    recorder: Recorder,
    judge: Judge,
    /// How often the recovery is cut off.
    depth: u8,
}

/// An image that was put together again.
#[derive(Debug)]
pub struct Outcome {
    /// What the fresh process found.
    pub after: AfterCut,
    /// The same as findings, whatever was promised.
    pub findings: Vec<Finding>,
    /// Checksum over what happened to the disk, the image and the observation.
    pub digest: String,
    /// What was recorded.
    pub recorded: Recorded,
    /// The cuts: the number of events before each, the disk then, and what became of what was pending.
    pub cuts: Vec<(usize, DiskState, Vec<Fate>)>,
}

impl Cutter {
    /// A cutter for this case.
    ///
    /// # Errors
    /// If the engine cannot be had.
    pub fn new(case: &Case, depth: u8) -> Result<Self, PowercutError> {
        let engine = engines::resolve(&case.sqlite)?;
        let pragmas = if depth == 0 { String::new() } else { case.settings.sql() };
        let judge = Judge::new(engine.clone(), case.device.parse()?, pragmas)?;
        Ok(Self { recorder: Recorder::new(engine)?, judge, depth })
    }

    /// Records the case, puts the image together and judges it.
    ///
    /// # Errors
    /// If the cuts do not fit the recording.
    pub fn execute(&mut self, case: &Case, cuts: &[CutText]) -> Result<Outcome, PowercutError> {
        let recorded = self.recorder.record(case)?;
        let known = recorded.known();
        let first = cuts.first().ok_or_else(|| PowercutError::Foreign("there is no cut".to_owned()))?;
        let known = known.get(first.position).copied().ok_or_else(|| foreign(first))?;
        let (mut image, state, fates) = image_of(&recorded.disk, first)?;
        let mut told = vec![(first.position, state, fates)];
        for cut in &cuts[1..] {
            let (_, recovery) = self.judge.observe_recovery(&image);
            let recovery = recovery.ok_or_else(|| PowercutError::Broken("nothing was recorded".to_owned()))?;
            let (next, state, fates) = image_of(&recovery, cut)?;
            told.push((cut.position, state, fates));
            image = next;
        }
        let seen = self.judge.observe(&image);
        let sums = recorded.fingerprints();
        let after = judge::after_cut(&sums, known, &seen);
        let digest = digest(&recorded.disk, &image, &seen);
        let findings = findings(&after);
        Ok(Outcome { after, findings, digest, recorded, cuts: told })
    }

    /// Looks for an image of the case to the same finding.
    fn find(&mut self, case: &Case, wanted: (Verdict, &str)) -> Result<Option<Vec<CutText>>, PowercutError> {
        let recorded = self.recorder.record(case)?;
        let search = Search {
            subject: Subject::Sql(case.settings),
            sqlite: case.sqlite.clone(),
            device: case.device.clone(),
            seed: case.seed,
            images_max: IMAGES,
            cases_max: 1,
            time_max_ms: None,
            samples: SamplesOf::Pruned,
            depth: self.depth,
        };
        let never = AtomicBool::new(false);
        let witness = Witness::of_sql(&self.judge, &recorded);
        let subject = (TokenSubject::Sql(case.settings), Seed(case.seed));
        let mut survey = Survey::new(&search, witness, (&recorded, recorded.known()), subject, (None, &never));
        survey.wanted = Some(wanted);
        let mut result = CellResult::new(&search, case.device.parse()?);
        survey.find(&mut result);
        let Some((mut cuts, _)) = survey.found else { return Ok(None) };
        self.keep_more(&recorded, &mut cuts, wanted)?;
        Ok(Some(cuts))
    }

    /// Keeps what need not be lost.
    fn keep_more(
        &self,
        recorded: &Recorded,
        cuts: &mut [CutText],
        (verdict, oracle): (Verdict, &str),
    ) -> Result<(), PowercutError> {
        let [only] = cuts else { return Ok(()) };
        let sums = recorded.fingerprints();
        let known = recorded.known()[only.position];
        let (_, state, mut fates) = image_of(&recorded.disk, only)?;
        for index in (0..fates.len()).rev() {
            let before = std::mem::replace(&mut fates[index], Fate::Kept);
            if before == Fate::Kept {
                continue;
            }
            let is_same = state.is_possible(&fates) && {
                let after = judge::after_cut(&sums, known, &self.judge.observe(&state.image(&fates)));
                (after.verdict(), oracle_of(&after)) == (verdict, oracle)
            };
            if !is_same {
                fates[index] = before;
            }
        }
        only.fates = fates::to_text(&fates);
        Ok(())
    }
}

fn foreign(cut: &CutText) -> PowercutError {
    PowercutError::Foreign(format!(
        "the case has no cut {} with such fates; it was made by another version",
        cut.position
    ))
}

fn image_of(recording: &Recording, cut: &CutText) -> Result<(Image, DiskState, Vec<Fate>), PowercutError> {
    let events = recording.events.get(..cut.position).ok_or_else(|| foreign(cut))?;
    let mut state = recording.base.clone();
    events.iter().for_each(|event| state.apply(event));
    let fates = fates::of_text(&cut.fates).ok_or_else(|| foreign(cut))?;
    if fates.len() != state.pending().len() || !state.is_possible(&fates) {
        return Err(foreign(cut));
    }
    Ok((state.image(&fates), state, fates))
}

/// Executes runs of strategies with cuts.
pub struct StrategyCutter {
    simulator: Simulator,
    opener: Opener,
    device: Device,
}

impl StrategyCutter {
    /// A cutter for this device; there must be no other simulator in this process.
    ///
    /// # Errors
    /// If its VFSes cannot be registered.
    pub fn new(device: &str) -> Result<Self, PowercutError> {
        let device: Device = device.parse()?;
        Ok(Self { simulator: Simulator::new()?, opener: Opener::new(device)?, device })
    }

    /// Records the run, puts the image together and judges it.
    ///
    /// # Errors
    /// If the cut does not fit the recording.
    pub fn execute(&mut self, spec: &RunSpec, cuts: &[CutText]) -> Result<Outcome, PowercutError> {
        let (recorded, ledgers) = strategy::record(&mut self.simulator, spec, self.device)?;
        let [cut] = cuts else { return Err(PowercutError::Foreign("a run of a strategy is cut off once".to_owned())) };
        let known = strategy::known(recorded.disk.events.len(), &ledgers);
        let known = known.get(cut.position).ok_or_else(|| foreign(cut))?;
        let (image, state, fates) = image_of(&recorded.disk, cut)?;
        let none = Ledger::default();
        let ledger = ledgers.get(known.acked as usize).map_or(&none, |(_, ledger)| ledger);
        let seen = self.opener.observe(&image);
        let after = strategy::after_cut(ledger, &seen);
        let observation = Observation { commit: 0, fingerprint: 0, complaint: Some(format!("{seen:?}")) };
        let digest = digest(&recorded.disk, &image, &observation);
        let findings = findings(&after);
        Ok(Outcome { after, findings, digest, recorded, cuts: vec![(cut.position, state, fates)] })
    }
}

/// The oracle that an observation belongs to.
pub(super) fn oracle_of(after: &AfterCut) -> &'static str {
    match after.verdict() {
        Verdict::Corrupt if after.complaint.is_some() => "integrity",
        Verdict::Corrupt => "atomicity",
        _ => "durability",
    }
}

fn findings(after: &AfterCut) -> Vec<Finding> {
    let finding = Finding { oracle: oracle_of(after).to_owned(), verdict: after.verdict(), detail: after.sentence() };
    Some(finding).filter(|finding| finding.verdict != Verdict::Survived).into_iter().collect()
}

fn digest(recording: &Recording, image: &Image, seen: &Observation) -> String {
    let text = |sum: u64, text: &str| text.bytes().fold(sum, |sum, byte| mix(sum ^ u64::from(byte)));
    let mut sum = image.hash();
    for event in &recording.events {
        sum = text(mix(sum ^ event.origin.call), &event.origin.actor.to_string());
        sum = match &event.kind {
            EventKind::Change(kind) => {
                let bytes = match kind {
                    seawall_harness::media::sim::durability::ChangeKind::Write { bytes, .. } => &bytes[..],
                    _ => &[],
                };
                text(mix(sum ^ Content::from_bytes(bytes).hash()), &kind.to_string())
            }
            other => text(sum, &format!("{other:?}")),
        };
    }
    format!("{:016x}", text(mix(sum ^ seen.fingerprint), seen.complaint.as_deref().unwrap_or_default()))
}

/// A case with cuts to an image that fails.
#[derive(Clone, Debug)]
pub struct Failing {
    /// The case.
    pub case: Case,
    /// The cuts.
    pub cuts: Vec<CutText>,
}

impl Failing {
    fn lost(&self) -> usize {
        let lost = |cut: &CutText| {
            fates::of_text(&cut.fates).unwrap_or_default().iter().filter(|fate| **fate != Fate::Kept).count()
        };
        self.cuts.iter().map(lost).sum()
    }

    fn with_step(&self, process: usize, index: usize, step: Step) -> Self {
        let mut smaller = self.clone();
        smaller.case.processes[process][index].step = step;
        smaller
    }
}

/// Weight of a step: what it does.
fn weight(step: Step) -> u64 {
    match step {
        Step::Write { inserts, updates, deletes, payload_bytes, savepoint, rollback } => {
            let flags = u64::from(savepoint) * 3 + u64::from(rollback);
            5 + u64::from(inserts) + u64::from(updates) + u64::from(deletes) + flags + u64::from(payload_bytes / 100)
        }
        Step::Checkpoint { .. } => 4,
        _ => 3,
    }
}

impl Candidate for Failing {
    /// Steps, what they do, processes, settings, what is lost.
    type Size = (usize, u64, usize, u32, usize);

    fn size(&self) -> Self::Size {
        let all = self.case.processes.iter().flatten();
        let settings = u32::from(self.case.cache_pages != 200) + u32::from(self.case.autocheckpoint != 1000);
        let settings = settings + u32::from(self.case.page_bytes != 1024);
        let busy = self.case.busy_processes();
        (self.case.steps(), all.map(|numbered| weight(numbered.step)).sum(), busy, settings, self.lost())
    }

    fn kinds(&self) -> usize {
        1
    }

    fn parts(&self, _kind: usize) -> usize {
        self.case.steps()
    }

    fn without(&self, _kind: usize, parts: std::ops::Range<usize>) -> Self {
        let mut smaller = self.clone();
        smaller.case.leave_out(&parts);
        smaller
    }

    fn simplifications(&self) -> Vec<Self> {
        let mut simpler = Vec::new();
        for (field, value) in [(0, 200_u32), (1, 1000), (2, 1024)] {
            let mut case = self.clone();
            let slot = match field {
                0 => &mut case.case.cache_pages,
                1 => &mut case.case.autocheckpoint,
                _ => &mut case.case.page_bytes,
            };
            if std::mem::replace(slot, value) != value {
                simpler.push(case);
            }
        }
        for (process, steps) in self.case.processes.iter().enumerate() {
            for (index, Numbered { step, .. }) in steps.iter().enumerate() {
                let Step::Write { inserts, updates, deletes, payload_bytes, savepoint, rollback } = *step else {
                    continue;
                };
                let write = |inserts, updates, deletes, payload_bytes, savepoint, rollback| Step::Write {
                    inserts,
                    updates,
                    deletes,
                    payload_bytes,
                    savepoint,
                    rollback,
                };
                let smaller = [
                    write(inserts, updates, deletes, payload_bytes, false, rollback),
                    write(inserts, updates, deletes, payload_bytes, savepoint, false),
                    write(0, updates, deletes, payload_bytes, savepoint, rollback),
                    write(inserts, 0, deletes, payload_bytes, savepoint, rollback),
                    write(inserts, updates, 0, payload_bytes, savepoint, rollback),
                    write(inserts, updates, deletes, 20, savepoint, rollback),
                ];
                let smaller = smaller.into_iter().filter(|other| weight(*other) < weight(*step));
                simpler.extend(smaller.map(|step| self.with_step(process, index, step)));
            }
        }
        simpler
    }
}

/// Shrinks cases.
pub struct CutBench<'a> {
    cutter: &'a mut Cutter,
    goal: Goal<'a, Failing>,
    wanted: (Verdict, String),
}

impl<'a> CutBench<'a> {
    /// A bench, and the case to begin with. `None` if the image is as good as it can be.
    ///
    /// # Errors
    /// If it cannot be executed.
    pub fn new(
        cutter: &'a mut Cutter,
        (case, cuts): (&Case, &[CutText]),
        limits: Limits<'a, Failing>,
    ) -> Result<Option<(Self, Failing)>, PowercutError> {
        let outcome = cutter.execute(case, cuts)?;
        let Some(goal) = Goal::new(&outcome.findings, limits) else { return Ok(None) };
        let wanted = (outcome.after.verdict(), oracle_of(&outcome.after).to_owned());
        let failing = Failing { case: case.clone(), cuts: cuts.to_vec() };
        Ok(Some((Self { cutter, goal, wanted }, failing)))
    }
}

impl Bench for CutBench<'_> {
    type Candidate = Failing;
    type Error = PowercutError;

    fn fails(&mut self, candidate: &Failing) -> Result<Option<Failing>, PowercutError> {
        self.goal.executions += 1;
        let found = self.cutter.find(&candidate.case, (self.wanted.0, &self.wanted.1))?;
        Ok(found.map(|cuts| Failing { case: candidate.case.clone(), cuts }))
    }

    fn progress(&mut self, best: &Failing) {
        self.goal.progress(best);
    }

    fn is_over(&mut self) -> bool {
        self.goal.is_over()
    }

    fn executions(&self) -> u64 {
        self.goal.executions
    }
}
