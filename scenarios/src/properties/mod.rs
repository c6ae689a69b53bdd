//! Properties: what must hold for every seed.
//!
//! A property is a function from a seed to a result. It draws a case, compares the code with a model that was written
//! from the requirement alone, and returns the smallest case that still fails. The same seed gives the same case, so a
//! failure is replayed by calling the property with the seed that [`run`] reports.

pub mod breaker;
pub mod registry;
pub mod store;

use parking_lot::Mutex;
use seawall_harness::seed::Seed;
use seawall_harness::shrink::{Bench, Candidate, shrink};
use std::any::Any;
use std::convert::Infallible;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};

/// After so many cases a thread reports the progress.
const PROGRESS_CASES: u64 = 256;

/// All of them.
pub const ALL: &[Property] = &[
    Property { name: "breaker", case: breaker::case },
    Property { name: "registry", case: registry::case },
    Property { name: "store", case: store::case },
];

/// Something that must hold for every seed.
#[derive(Clone, Copy)]
pub struct Property {
    /// What it is about, in one word.
    pub name: &'static str,
    /// Draws a case from the seed and executes it.
    pub case: fn(Seed) -> Result<(), Counterexample>,
}

/// The smallest case that was found for which a property does not hold, as text for people.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Counterexample(pub String);

impl Counterexample {
    /// A counterexample with this text.
    pub fn new(text: impl ToString) -> Self {
        Self(text.to_string())
    }
}

/// A case that failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("seed {seed}: {counterexample}")]
pub struct Failure {
    /// The seed of the case: [`Property::case`] fails with it again.
    pub seed: Seed,
    /// What does not hold.
    pub counterexample: Counterexample,
}

/// Executes cases 0 to `count - 1` of a property, `jobs` (0 counts as 1) at a time. The first one's seed is `base_seed`
/// itself, so that a failure is replayed by a run of one case; the others' are `base_seed.nth(1)` and so on. `progress`
/// is called sometimes with the number of cases done, from any of the threads, and once at the end.
///
/// # Errors
/// The failure with the lowest number, whatever the number of jobs. A panic is a failure too.
pub fn run(
    property: Property,
    base_seed: Seed,
    count: u64,
    jobs: usize,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<(), Failure> {
    let (next, done) = (AtomicU64::new(0), AtomicU64::new(0));
    let first: Mutex<Option<(u64, Failure)>> = Mutex::new(None);
    std::thread::scope(|scope| {
        for _ in 0..jobs.max(1) {
            scope.spawn(|| {
                // Numbers are taken in order, so once one has failed, all lower ones have been taken.
                while first.lock().is_none() {
                    let nth = next.fetch_add(1, Ordering::Relaxed);
                    if nth >= count {
                        break;
                    }
                    let seed = if nth == 0 { base_seed } else { base_seed.nth(nth) };
                    if let Err(counterexample) = execute(property, seed) {
                        let mut first = first.lock();
                        if first.as_ref().is_none_or(|(lowest, _)| nth < *lowest) {
                            *first = Some((nth, Failure { seed, counterexample }));
                        }
                    }
                    let cases = done.fetch_add(1, Ordering::Relaxed) + 1;
                    if cases.is_multiple_of(PROGRESS_CASES) {
                        progress(cases);
                    }
                }
            });
        }
    });
    progress(done.into_inner());
    first.into_inner().map_or(Ok(()), |(_, failure)| Err(failure))
}

/// The fewest steps that can be reached from these by leaving some out, and that still fail.
pub fn fewest_steps<S: Clone>(steps: Vec<S>, fails: impl Fn(&[S]) -> bool) -> Vec<S> {
    let Ok(Steps(steps)) = shrink(&mut StepsBench { fails, steps: std::marker::PhantomData }, Steps(steps));
    steps
}

fn execute(property: Property, seed: Seed) -> Result<(), Counterexample> {
    catch_unwind(AssertUnwindSafe(|| (property.case)(seed)))
        .unwrap_or_else(|panic| Err(Counterexample(format!("panicked: {}", panic_text(&*panic)))))
}

/// The message of a panic.
pub(crate) fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("something that is no text")
}

#[derive(Clone)]
struct Steps<S>(Vec<S>);

impl<S: Clone> Candidate for Steps<S> {
    type Size = usize;

    fn size(&self) -> usize {
        self.0.len()
    }

    fn kinds(&self) -> usize {
        1
    }

    fn parts(&self, _kind: usize) -> usize {
        self.0.len()
    }

    fn without(&self, _kind: usize, parts: Range<usize>) -> Self {
        let mut steps = self.0.clone();
        steps.drain(parts);
        Self(steps)
    }

    fn simplifications(&self) -> Vec<Self> {
        Vec::new()
    }
}

struct StepsBench<S, F> {
    fails: F,
    steps: std::marker::PhantomData<S>,
}

impl<S: Clone, F: Fn(&[S]) -> bool> Bench for StepsBench<S, F> {
    type Candidate = Steps<S>;
    type Error = Infallible;

    fn fails(&mut self, candidate: &Steps<S>) -> Result<Option<Steps<S>>, Infallible> {
        Ok((self.fails)(&candidate.0).then(|| candidate.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_unlucky(seed: Seed) -> bool {
        seed.0.is_multiple_of(97)
    }

    fn lucky(seed: Seed) -> Result<(), Counterexample> {
        if is_unlucky(seed) { Err(Counterexample::new("unlucky")) } else { Ok(()) }
    }

    fn panicky(seed: Seed) -> Result<(), Counterexample> {
        assert!(!is_unlucky(seed), "seed {seed}");
        Ok(())
    }

    fn run_quietly(case: fn(Seed) -> Result<(), Counterexample>, count: u64, jobs: usize) -> Result<(), Failure> {
        run(Property { name: "luck", case }, Seed(1), count, jobs, &|_| {})
    }

    #[test]
    fn the_first_failing_seed_is_reported_whatever_the_number_of_jobs() {
        let first = (1..).find(|nth| is_unlucky(Seed(1).nth(*nth))).unwrap();
        let failure = Failure { seed: Seed(1).nth(first), counterexample: Counterexample::new("unlucky") };
        for jobs in [0, 1, 2, 5] {
            assert_eq!(run_quietly(lucky, first, jobs), Ok(()));
            assert_eq!(run_quietly(lucky, first + 1, jobs), Err(failure.clone()));
            assert_eq!(run_quietly(lucky, 10_000, jobs), Err(failure.clone()));
        }
        assert!(is_unlucky(failure.seed) && lucky(failure.seed).is_err());
        assert_eq!(run(Property { name: "luck", case: lucky }, failure.seed, 1, 1, &|_| {}), Err(failure));
    }

    #[test]
    fn a_panic_is_a_failure() {
        let failure = run_quietly(panicky, 10_000, 2).unwrap_err();
        assert_eq!(failure.counterexample.0, format!("panicked: seed {}", failure.seed));
    }

    #[test]
    fn progress_ends_with_all_cases() {
        let reports = Mutex::new(Vec::new());
        let fine = Property { name: "fine", case: |_| Ok(()) };
        run(fine, Seed(1), 1000, 2, &|cases| reports.lock().push(cases)).unwrap();
        let reports = reports.into_inner();
        assert_eq!((reports.len(), reports.last()), (4, Some(&1000)));
    }

    #[test]
    fn shrinking_keeps_only_the_steps_that_matter() {
        let steps = (0..60).collect();
        assert_eq!(fewest_steps(steps, |steps| [7, 8, 41].iter().all(|step| steps.contains(step))), [7, 8, 41]);
    }

    #[test]
    fn names_are_unique() {
        for (nth, property) in ALL.iter().enumerate() {
            assert!(ALL[..nth].iter().all(|other| other.name != property.name), "{}", property.name);
        }
    }
}
