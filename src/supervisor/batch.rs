//! One batch, item by item.

use super::decision::{Findings, Outcome, Side, Step, StopReason};
use super::event::SupervisorEvent;
use super::failure::{Failure, FailureKind};
use super::pulse::Pulse;
use super::{Stop, Supervisor};
use crate::events::tell;
use crate::sync::Arc;
use crate::worker::panic_text;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;
use std::time::Duration;

/// What a job is told about the attempt that it makes.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Attempt {
    /// Which backend to use.
    pub side: Side,
    /// Counts from 1, on each side anew.
    pub number: u32,
    /// How long it may take, connecting and all. The supervisor cannot interrupt a job: a client that knows no
    /// timeouts makes a stall of a hung backend.
    pub timeout: Duration,
    /// The wish to end, for jobs that can end early.
    pub stop: Stop,
}

/// What became of an item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item<T> {
    /// It succeeded, with this result.
    Succeeded(T),
    /// It failed with all of its attempts; this was the last failure.
    Failed(Failure),
    /// The batch was ended before it.
    Unattempted,
}

/// What became of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BatchReport<T> {
    /// One for each item, in their order.
    pub items: Vec<Item<T>>,
    /// What was found on the side that was in use at the end.
    pub findings: Findings,
    /// Whether there should be a further batch. Pauses and restarts are over by now.
    pub verdict: Verdict,
}

/// Whether there should be a further batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Yes.
    Continue,
    /// No.
    Stop(StopReason),
}

impl Supervisor {
    /// Runs one batch, judges it, and does what the judgement says: waits, restarts, falls back.
    ///
    /// A job that panics has failed by its item's fault.
    pub fn run_batch<I, T>(
        &mut self,
        items: &[I],
        mut job: impl FnMut(&I, &Attempt) -> Result<T, Failure>,
    ) -> BatchReport<T> {
        let pulse = Pulse::new(&self.policy, items.len(), self.os.now());
        let (os, sink) = (Arc::clone(&self.os), self.events.clone());
        thread::scope(|scope| {
            let _watch_ends = pulse.until_dropped();
            if let Some(sink) = &sink {
                let watch = || pulse.watch(&*os, |event| tell(&**sink, event));
                // Without the thread, the heart beats between attempts only.
                let _ = thread::Builder::new().name("seawall-pulse".into()).spawn_scoped(scope, watch);
            }
            self.look_back();
            self.judge.begin_batch();
            let mut done = self.run_items(items, &mut job, &pulse);
            pulse.rest();
            done.resize_with(items.len(), || Item::Unattempted);
            let (findings, verdict) = self.conclude(&pulse);
            BatchReport { items: done, findings, verdict }
        })
    }

    /// Runs items until one of them ends the batch.
    fn run_items<I, T>(
        &mut self,
        items: &[I],
        job: &mut impl FnMut(&I, &Attempt) -> Result<T, Failure>,
        pulse: &Pulse,
    ) -> Vec<Item<T>> {
        let mut done = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            if self.stop.is_asked() {
                break;
            }
            let (item, step) = self.run_item(index, item, job, pulse);
            let has_failed = matches!(item, Item::Failed(_));
            done.push(item);
            self.announce(pulse);
            let has_stalled = pulse.finish(self.os.now());
            if has_failed && has_stalled {
                self.judge.stalled();
                break;
            }
            if step == Step::EndBatch {
                break;
            }
        }
        done
    }

    /// Runs one item on the side in use, and if that fails over, on the other.
    fn run_item<I, T>(
        &mut self,
        index: usize,
        item: &I,
        job: &mut impl FnMut(&I, &Attempt) -> Result<T, Failure>,
        pulse: &Pulse,
    ) -> (Item<T>, Step) {
        loop {
            let side = self.judge.side();
            let (attempts, result) = self.attempt(item, job, pulse);
            let failure = match result {
                Ok(value) => return (Item::Succeeded(value), self.judge.item(Outcome::Success)),
                Err(failure) => failure,
            };
            let step = self.judge.item(failure.kind().outcome());
            if step == Step::FallBack && !self.stop.is_asked() {
                // There is one fallback, so this is the last round but one.
                self.change_to(Side::Fallback);
                continue;
            }
            self.tell(&SupervisorEvent::ItemFailed { index, side, attempts, failure: failure.clone() });
            return (Item::Failed(failure), step);
        }
    }

    /// Attempts an item until it succeeds, cannot, or has no retries left; says how often.
    fn attempt<I, T>(
        &mut self,
        item: &I,
        job: &mut impl FnMut(&I, &Attempt) -> Result<T, Failure>,
        pulse: &Pulse,
    ) -> (u32, Result<T, Failure>) {
        let mut number = 1;
        loop {
            let (side, timeout, stop) = (self.judge.side(), self.policy.request_timeout, self.stop.clone());
            let attempt = Attempt { side, number, timeout, stop };
            let result = catch_unwind(AssertUnwindSafe(|| job(item, &attempt))).unwrap_or_else(|panic| {
                Err(Failure::new(FailureKind::Item, format_args!("the job panicked: {}", panic_text(&*panic))))
            });
            self.announce(pulse);
            let may_retry = result.as_ref().is_err_and(|failure| failure.kind().is_retried())
                && number <= self.policy.retries
                && !pulse.is_stalled();
            if !may_retry {
                return (number, result);
            }
            let pause = self.policy.retry_pause(number, &mut self.jitter);
            if self.wait(pause, pulse) {
                return (number, result);
            }
            number += 1;
        }
    }
}
