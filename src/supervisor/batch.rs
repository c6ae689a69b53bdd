//! One batch, item by item.

use super::decision::{Findings, ItemOutcome, NextStep, Side, StopReason};
use super::event::SupervisorEvent;
use super::failure::{Failure, FailureKind};
use super::heartbeat::Heartbeat;
use super::{StopToken, Supervisor};
use crate::events::deliver;
use crate::sync::Arc;
use crate::workers::panic_text;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;
use std::time::Duration;

/// The attempt, as the job sees it.
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
    /// The token that stops the supervisor, for jobs that can end early.
    pub stop: StopToken,
}

/// The result of an item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ItemResult<T> {
    /// It succeeded, with this result.
    Succeeded(T),
    /// It failed with all of its attempts; this was the last failure.
    Failed(Failure),
    /// The batch was ended before it.
    Unattempted,
}

/// The result of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BatchReport<T> {
    /// One for each item, in their order.
    pub items: Vec<ItemResult<T>>,
    /// What was found on the side that was in use at the end.
    pub findings: Findings,
    /// Whether there should be a further batch. Pauses and restarts are over by now.
    pub verdict: BatchVerdict,
}

/// Whether there should be a further batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BatchVerdict {
    /// Yes.
    Continue,
    /// No.
    Stop(StopReason),
}

impl Supervisor {
    /// Runs one batch, judges it, and does what the decision says: waits, restarts, falls back.
    ///
    /// A job that panics has failed by its item's fault.
    pub fn run_batch<I, T>(
        &mut self,
        items: &[I],
        mut job: impl FnMut(&I, &Attempt) -> Result<T, Failure>,
    ) -> BatchReport<T> {
        let heartbeat = Heartbeat::new(&self.policy, items.len(), self.os.now());
        let (os, sink) = (Arc::clone(&self.os), self.events.clone());
        thread::scope(|scope| {
            let _watch_ends = heartbeat.until_dropped();
            if let Some(sink) = &sink {
                let watch = || heartbeat.watch(&*os, |event| deliver(&**sink, event));
                // Without the thread, the heart beats between attempts only.
                let _ = thread::Builder::new().name("seawall-beat".into()).spawn_scoped(scope, watch);
            }
            self.check_primary();
            self.monitor.begin_batch();
            let mut done = self.run_items(items, &mut job, &heartbeat);
            heartbeat.rest();
            done.resize_with(items.len(), || ItemResult::Unattempted);
            let (findings, verdict) = self.conclude(&heartbeat);
            BatchReport { items: done, findings, verdict }
        })
    }

    /// Runs items until one of them ends the batch.
    fn run_items<I, T>(
        &mut self,
        items: &[I],
        job: &mut impl FnMut(&I, &Attempt) -> Result<T, Failure>,
        heartbeat: &Heartbeat,
    ) -> Vec<ItemResult<T>> {
        let mut done = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            if self.stop.is_cancelled() {
                break;
            }
            let (item, step) = self.run_item(index, item, job, heartbeat);
            let has_failed = matches!(item, ItemResult::Failed(_));
            done.push(item);
            self.announce(heartbeat);
            let has_stalled = heartbeat.finish(self.os.now());
            if has_failed && has_stalled {
                self.monitor.stalled();
                break;
            }
            if step == NextStep::EndBatch {
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
        heartbeat: &Heartbeat,
    ) -> (ItemResult<T>, NextStep) {
        loop {
            let side = self.monitor.side();
            let (attempts, result) = self.attempt(item, job, heartbeat);
            let failure = match result {
                Ok(value) => return (ItemResult::Succeeded(value), self.monitor.item(ItemOutcome::Success)),
                Err(failure) => failure,
            };
            let step = self.monitor.item(failure.kind().outcome());
            if step == NextStep::FallBack && !self.stop.is_cancelled() {
                // There is one fallback, so this is the last round but one.
                self.change_to(Side::Fallback);
                continue;
            }
            self.emit(&SupervisorEvent::ItemFailed { index, side, attempts, failure: failure.clone() });
            return (ItemResult::Failed(failure), step);
        }
    }

    /// Attempts an item until it succeeds, cannot, or has no retries left; says how often.
    fn attempt<I, T>(
        &mut self,
        item: &I,
        job: &mut impl FnMut(&I, &Attempt) -> Result<T, Failure>,
        heartbeat: &Heartbeat,
    ) -> (u32, Result<T, Failure>) {
        let mut number = 1;
        loop {
            let (side, timeout, stop) = (self.monitor.side(), self.policy.request_timeout, self.stop.clone());
            let attempt = Attempt { side, number, timeout, stop };
            let result = catch_unwind(AssertUnwindSafe(|| job(item, &attempt))).unwrap_or_else(|panic| {
                Err(Failure::new(FailureKind::Item, format_args!("the job panicked: {}", panic_text(&*panic))))
            });
            self.announce(heartbeat);
            let may_retry = result.as_ref().is_err_and(|failure| failure.kind().is_retried())
                && number <= self.policy.retries
                && !heartbeat.is_stalled();
            if !may_retry {
                return (number, result);
            }
            let pause = self.policy.retry_pause(number, &mut self.jitter);
            if self.wait(pause, heartbeat) {
                return (number, result);
            }
            number += 1;
        }
    }
}
