//! Shrinking: from a case that fails to a small one that fails in the same way.
//!
//! Parts are left out by *ddmin* (Zeller, Hildebrandt: "Simplifying and Isolating Failure-Inducing Input", IEEE TSE
//! 2002): half of them, then quarters, down to single ones, for as long as something can be left out. The rest is
//! made simpler, one respect at a time. Both alternate until neither makes it smaller; then the bench may search for
//! a smaller one in another way, such as the same work under another schedule, and everything starts again.
//!
//! The result is one-minimal unless the time ran out: no single part of it can be left out.

use crate::record::Finding;
use crate::verdict::Verdict;

/// A case that fails, made of parts that can be left out.
pub trait Candidate: Clone {
    /// How big it is. Every step of shrinking makes it smaller.
    type Size: Ord;

    /// See [`Self::Size`].
    fn size(&self) -> Self::Size;

    /// How many kinds of parts there are. They are left out in this order.
    fn kinds(&self) -> usize;

    /// How many parts of this kind it has.
    fn parts(&self, kind: usize) -> usize;

    /// The same without these parts of that kind.
    #[must_use]
    fn without(&self, kind: usize, parts: std::ops::Range<usize>) -> Self;

    /// The same, simpler in one respect each, the most profitable first.
    fn simplifications(&self) -> Vec<Self>;
}

/// Executes candidates.
pub trait Bench {
    /// What it executes.
    type Candidate: Candidate;

    /// Why a candidate cannot be executed: the lab is broken.
    type Error;

    /// Executes a candidate. If it fails in the wanted way, returns the candidate as it was executed.
    ///
    /// # Errors
    /// If the lab is broken.
    fn fails(&mut self, candidate: &Self::Candidate) -> Result<Option<Self::Candidate>, Self::Error>;

    /// A smaller candidate that fails, found in another way than by leaving parts out. Called when no part can be left
    /// out any more.
    ///
    /// # Errors
    /// If the lab is broken.
    fn search(&mut self, _stuck: &Self::Candidate) -> Result<Option<Self::Candidate>, Self::Error> {
        Ok(None)
    }

    /// Called with each smaller candidate that fails.
    fn progress(&mut self, _best: &Self::Candidate) {}

    /// True if shrinking must end now, with the smallest candidate so far.
    fn is_over(&mut self) -> bool {
        false
    }

    /// Candidates that were executed.
    fn executions(&self) -> u64 {
        0
    }
}

/// What a shrunk case must find again, and when to end.
pub struct Goal<'a, C> {
    verdict: Verdict,
    oracle: String,
    /// Cases that were executed.
    pub executions: u64,
    limits: Limits<'a, C>,
}

/// Called with each smaller case, and with the number of executions.
type OnProgress<'a, C> = Box<dyn FnMut(&C, u64) + 'a>;

/// When shrinking ends, and what is called with its progress.
pub struct Limits<'a, C> {
    /// True as soon as shrinking must end.
    pub is_over: Box<dyn FnMut() -> bool + 'a>,
    /// Called with each smaller case, and with the number of executions.
    pub progress: OnProgress<'a, C>,
}

impl<C> Default for Limits<'_, C> {
    /// No limits, no reports.
    fn default() -> Self {
        Self { is_over: Box::new(|| false), progress: Box::new(|_, _| {}) }
    }
}

impl<'a, C> Goal<'a, C> {
    /// The goal that follows from the findings of the first execution; `None` if there are none.
    pub fn new(findings: &[Finding], limits: Limits<'a, C>) -> Option<Self> {
        let Finding { verdict, oracle, .. } = findings.first()?.clone();
        Some(Self { verdict, oracle, executions: 1, limits })
    }

    /// The wanted verdict.
    pub fn verdict(&self) -> Verdict {
        self.verdict
    }

    /// True if the worst finding has the wanted verdict, by the wanted oracle.
    pub fn is_met(&self, findings: &[Finding]) -> bool {
        findings.first().is_some_and(|found| found.verdict == self.verdict && found.oracle == self.oracle)
    }

    /// Reports a smaller case.
    pub fn progress(&mut self, best: &C) {
        (self.limits.progress)(best, self.executions);
    }

    /// True if shrinking must end now.
    pub fn is_over(&mut self) -> bool {
        (self.limits.is_over)()
    }
}

/// The smallest candidate that can be reached from one that fails.
///
/// # Errors
/// If the lab is broken.
pub fn shrink<B: Bench>(bench: &mut B, start: B::Candidate) -> Result<B::Candidate, B::Error> {
    let mut best = start;
    while !bench.is_over() {
        if reduce(bench, &mut best)? {
            continue;
        }
        match bench.search(&best)?.filter(|found| found.size() < best.size()) {
            Some(found) => accept(bench, &mut best, found),
            None => break,
        }
    }
    Ok(best)
}

/// Leaves out parts and simplifies, each once; true if the candidate is smaller now.
///
/// # Errors
/// If the lab is broken.
pub fn reduce<B: Bench>(bench: &mut B, best: &mut B::Candidate) -> Result<bool, B::Error> {
    let mut is_smaller = false;
    for kind in 0..best.kinds() {
        is_smaller |= leave_out(bench, best, kind)?;
    }
    Ok(simplify(bench, best)? || is_smaller)
}

/// ddmin over the parts of one kind; true if some were left out.
///
/// # Errors
/// If the lab is broken.
pub fn leave_out<B: Bench>(bench: &mut B, best: &mut B::Candidate, kind: usize) -> Result<bool, B::Error> {
    let mut is_smaller = false;
    let mut chunk = best.parts(kind);
    while chunk > 0 && !bench.is_over() {
        let mut start = 0;
        let mut removed = false;
        while start < best.parts(kind) {
            let end = (start + chunk).min(best.parts(kind));
            if attempt(bench, best, &best.without(kind, start..end))? {
                // The next parts have moved up to `start`.
                removed = true;
            } else {
                start = end;
            }
        }
        is_smaller |= removed;
        // Once more at single parts, until none of them can be left out.
        chunk = if chunk == 1 && removed { 1 } else { chunk.min(best.parts(kind)) / 2 };
    }
    Ok(is_smaller)
}

fn simplify<B: Bench>(bench: &mut B, best: &mut B::Candidate) -> Result<bool, B::Error> {
    let mut is_smaller = false;
    let mut next = 0;
    // After a success the list is a new one; the rest of it comes first.
    loop {
        let simpler = best.simplifications();
        if next >= simpler.len() || bench.is_over() {
            return Ok(is_smaller);
        }
        if attempt(bench, best, &simpler[next])? {
            is_smaller = true;
        } else {
            next += 1;
        }
    }
}

/// Replaces `best` by the candidate if it fails and is smaller.
fn attempt<B: Bench>(bench: &mut B, best: &mut B::Candidate, candidate: &B::Candidate) -> Result<bool, B::Error> {
    if bench.is_over() {
        return Ok(false);
    }
    match bench.fails(candidate)?.filter(|failed| failed.size() < best.size()) {
        Some(failed) => {
            accept(bench, best, failed);
            Ok(true)
        }
        None => Ok(false),
    }
}

fn accept<B: Bench>(bench: &mut B, best: &mut B::Candidate, found: B::Candidate) {
    *best = found;
    bench.progress(best);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;

    /// Numbers and words; it fails if all wanted numbers are there.
    #[derive(Clone, Debug, PartialEq)]
    struct Numbers {
        numbers: Vec<u32>,
        loud: bool,
    }

    impl Candidate for Numbers {
        type Size = (usize, bool);

        fn size(&self) -> (usize, bool) {
            (self.numbers.len(), self.loud)
        }

        fn kinds(&self) -> usize {
            1
        }

        fn parts(&self, _kind: usize) -> usize {
            self.numbers.len()
        }

        fn without(&self, _kind: usize, parts: std::ops::Range<usize>) -> Self {
            let mut rest = self.clone();
            rest.numbers.drain(parts);
            rest
        }

        fn simplifications(&self) -> Vec<Self> {
            Vec::from_iter(self.loud.then(|| Self { loud: false, ..self.clone() }))
        }
    }

    struct Wanted {
        wanted: Vec<u32>,
        tries: usize,
        tries_max: usize,
    }

    impl Bench for Wanted {
        type Candidate = Numbers;
        type Error = Infallible;

        fn fails(&mut self, candidate: &Numbers) -> Result<Option<Numbers>, Infallible> {
            self.tries += 1;
            let fails = self.wanted.iter().all(|wanted| candidate.numbers.contains(wanted));
            Ok(fails.then(|| candidate.clone()))
        }

        fn is_over(&mut self) -> bool {
            self.tries >= self.tries_max
        }
    }

    fn shrunk(wanted: &[u32], tries_max: usize) -> (Numbers, usize) {
        let mut bench = Wanted { wanted: wanted.to_vec(), tries: 0, tries_max };
        let start = Numbers { numbers: (0..1000).collect(), loud: true };
        let Ok(found) = shrink(&mut bench, start);
        (found, bench.tries)
    }

    #[test]
    fn what_remains_is_what_it_takes() {
        for wanted in [&[][..], &[0], &[999], &[3, 500, 501], &[1, 2, 3, 997, 998, 999]] {
            let (found, tries) = shrunk(wanted, 10_000);
            assert_eq!(found, Numbers { numbers: wanted.to_vec(), loud: false });
            assert!(tries < 300, "{tries} tries for {wanted:?}");
        }
    }

    #[test]
    fn it_ends_with_the_best_when_time_is_up() {
        let (found, tries) = shrunk(&[3, 500], 12);
        assert!(tries <= 13 && found.numbers.len() < 1000 && found.numbers.contains(&500), "{tries}");
    }
}
