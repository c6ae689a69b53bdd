//! The images of one recording: put together cut by cut, opened once each, judged once for each state of the ledger.

use super::SamplesOf;
use super::bench::oracle_of;
use super::case::CutText;
use super::cuts::{self, Cut};
use super::fates;
use super::recording::{Known, Recorded};
use super::search::{CellFinding, CellResult, Search};
use super::token::{PowercutToken, TokenSubject};
use super::witness::{Seen, Witness};
use seawall_harness::media::sim::durability::{Choices, Coverage, Enumeration, Fate, Image, Recording};
use seawall_harness::oracle::durability::AfterCut;
use seawall_harness::seed::Seed;
use seawall_harness::verdict::Verdict;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// The images of one recording.
pub(super) struct Survey<'a> {
    search: &'a Search,
    witness: Witness<'a>,
    recorded: &'a Recorded,
    known: Vec<Known>,
    subject: TokenSubject,
    seed: Seed,
    end: Option<Instant>,
    stop: &'a AtomicBool,
    /// What was found in each image, by its checksum.
    seen: BTreeMap<u64, Seen>,
    judged: BTreeSet<(u64, Known)>,
    /// Ends the survey with the first image of such a verdict and oracle.
    pub(super) wanted: Option<(Verdict, &'a str)>,
    /// The cuts to that image.
    pub(super) found: Option<(Vec<CutText>, AfterCut)>,
}

/// Images that are looked at in the recovery from one image.
const RECOVERY_IMAGES_MAX: u64 = 40;

impl<'a> Survey<'a> {
    pub(super) fn new(
        search: &'a Search,
        witness: Witness<'a>,
        (recorded, known): (&'a Recorded, Vec<Known>),
        (subject, seed): (TokenSubject, Seed),
        (end, stop): (Option<Instant>, &'a AtomicBool),
    ) -> Self {
        let (seen, judged) = Default::default();
        Self { search, witness, recorded, known, subject, seed, end, stop, seen, judged, wanted: None, found: None }
    }

    /// Looks at the images of all cuts, within the budget of the search.
    pub(super) fn find(&mut self, result: &mut CellResult) {
        let cuts = cuts::cuts(self.recorded, &self.known);
        // Several cases are to share the budget, and all cuts of a case.
        let budget = self.search.images_max.saturating_sub(result.distinct);
        let takes_all = matches!(self.search.samples, SamplesOf::All | SamplesOf::Full);
        let is_alone = takes_all || self.search.cases_max == 1;
        let of_case = if is_alone { budget } else { budget.min(self.search.images_max / 8 + 64) };
        let goal = result.distinct.saturating_add(of_case);
        let count = cuts.len() as u64;
        for (nth, cut) in (0..).zip(cuts) {
            let left = goal.saturating_sub(result.distinct);
            let fair = (left / (count - nth)).max(24).min(left);
            let share = if takes_all { left } else { fair };
            if share == 0 || self.is_over(result) {
                result.unfinished += 1;
                continue;
            }
            result.cuts += 1;
            match self.visit(&cut, share, result) {
                Coverage::Complete => result.complete += 1,
                Coverage::Pruned => result.pruned += 1,
                Coverage::Sampled => result.sampled += 1,
                _ => result.unfinished += 1,
            }
            if self.found.is_some() {
                return;
            }
        }
    }

    fn is_over(&self, result: &CellResult) -> bool {
        result.distinct >= self.search.images_max
            || self.stop.load(Ordering::Relaxed)
            || self.end.is_some_and(|end| Instant::now() >= end)
    }

    fn choices(&self, position: usize) -> Choices {
        let enumeration = match self.search.samples {
            SamplesOf::All => Enumeration::Exhaustive,
            SamplesOf::Full => Enumeration::Full,
            SamplesOf::Pruned => Enumeration::Pruned,
            SamplesOf::Random => Enumeration::Sampled,
        };
        Choices { enumeration, samples: 200, seed: self.seed.stream("images").nth(position as u64) }
    }

    /// The images of one cut, up to so many new ones.
    fn visit(&mut self, cut: &Cut, share: u64, result: &mut CellResult) -> Coverage {
        let goal = result.distinct.saturating_add(share);
        // What is put together and known already costs time as well.
        let images_max = result.images.saturating_add(share.saturating_mul(20)).saturating_add(100);
        let choices = self.choices(cut.position);
        choices.visit(&cut.state, &mut |fates| {
            result.images += 1;
            let image = cut.state.image(fates);
            self.examine(&image, cut.known, &[(cut.position, fates)], result);
            let is_over = result.images.is_multiple_of(64) && self.is_over(result);
            if self.found.is_some() || is_over || result.distinct >= goal || result.images >= images_max {
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        })
    }

    /// Opens an image, unless it was opened before, and judges it, unless it was judged by the same state.
    fn examine(&mut self, image: &Image, known: Known, path: &[(usize, &[Fate])], result: &mut CellResult) {
        let hash = image.hash();
        if !self.judged.insert((hash, known)) {
            return;
        }
        if !self.seen.contains_key(&hash) {
            result.distinct += 1;
            let (seen, recovery) = self.witness.observe(image, path.len() <= usize::from(self.search.depth));
            self.seen.insert(hash, seen);
            if let Some(recovery) = recovery {
                self.cut_recovery(&recovery, known, path, result);
            }
        }
        result.judged += 1;
        let after = self.witness.after_cut(known, &self.seen[&hash]);
        self.note(after, path, result);
    }

    /// The power is cut again while the fresh process recovers.
    fn cut_recovery(&mut self, recovery: &Recording, known: Known, path: &[(usize, &[Fate])], result: &mut CellResult) {
        let mut state = recovery.base.clone();
        let mut left = RECOVERY_IMAGES_MAX;
        for (position, event) in recovery.events.iter().enumerate() {
            state.apply(event);
            let choices = self.choices(position);
            choices.visit(&state, &mut |fates| {
                let image = state.image(fates);
                result.images += 1;
                left -= 1;
                let longer: Vec<(usize, &[Fate])> = path.iter().copied().chain([(position + 1, fates)]).collect();
                self.examine(&image, known, &longer, result);
                if left == 0 || self.found.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            });
            if left == 0 || self.found.is_some() {
                return;
            }
        }
    }

    fn note(&mut self, after: AfterCut, path: &[(usize, &[Fate])], result: &mut CellResult) {
        let verdict = after.verdict();
        match verdict {
            Verdict::Lost => {
                result.lost_runs += 1;
                result.lost_commits_max = result.lost_commits_max.max(after.lost());
            }
            Verdict::Corrupt if after.complaint.is_some() => result.corrupt += 1,
            Verdict::Corrupt => result.atomicity += 1,
            _ => {}
        }
        let is_worst = verdict > result.verdict;
        result.verdict = result.verdict.max(verdict);
        let oracle = oracle_of(&after);
        let is_wanted = self.wanted == Some((verdict, oracle));
        let is_known = result.findings.iter().any(|finding| (finding.verdict, &*finding.oracle) == (verdict, oracle));
        if verdict == Verdict::Survived || is_known && !is_wanted {
            return;
        }
        let cuts: Vec<CutText> = path
            .iter()
            .map(|(position, fates)| CutText { position: *position, fates: fates::to_text(fates) })
            .collect();
        let (sqlite, device) = (self.search.sqlite.clone(), self.search.device.clone());
        let subject = self.subject.clone();
        let token = PowercutToken { subject, sqlite, device, seed: self.seed, cuts: cuts.clone() }.to_string();
        if is_worst {
            result.token = Some(token.clone());
        }
        if !is_known {
            result.needed = result.distinct;
            let (oracle, detail) = (oracle.to_owned(), after.sentence());
            result.findings.push(CellFinding { verdict, oracle, detail, token });
        }
        if is_wanted {
            self.found = Some((cuts, after));
        }
    }
}
