//! Supervision of a backend: batches of items that another process works on, such as a local model server, and what to
//! do when it fails, hangs, dies or recovers.
//!
//! A [`Supervisor`] runs a batch item by item, retries what may pass, and takes notes. After each batch it makes all of
//! its checks, probes the [`Backend`] if one of them found something, and does what the table says.
//!
//! | found after a batch | alive, unwell | timed out | dead |
//! |---|---|---|---|
//! | nothing (no probe) | go on | | |
//! | *fail ratio high*: 80 % of the attempted items or more | pause, 15 s | pause | restart, go on; else stop |
//! | *circuit broken*: 10 failures in a row; ends the batch | stop | pause | restart, go on; else stop |
//! | both | stop | pause | restart, pause, go on; else stop |
//! | *stalled*: no item finished for 300 s; ends the batch | pause | restart, go on; else stop | restart, go on; else stop |
//!
//! - *Else* means: restarts are switched off or used up, or the backend is not alive within 60 s, probed each 1 s.
//! - A backend that is *alive* and breaks the circuit is not helped by a restart, so that is a stop.
//! - *StopToken* means the fallback, if there is one that is not in use yet.
//! - A *timeout* of the probe, also while connecting, is no death. But [`SupervisorPolicy::timeouts_max`] bad batches
//!   in a row with such an answer are a hung backend, and that is treated as a dead one. A broken circuit stays broken
//!   meanwhile: the next failure ends the next batch, and a success closes it.
//! - *After 3 failures* in a row the fallback takes over, with the very item that failed. Each later batch begins with
//!   a look at the primary: alive, it takes over again; dead, it is restarted without waiting for it. It has the 60 s
//!   to come up, and is not restarted again before.
//! - While the supervisor is busy, a heartbeat goes to the sink each 25 s.
//!
//! The numbers and decisions are from a field report (a batch pipeline over a local model server). Three of its defects
//! are corrected here: a timeout while connecting was taken for a dead server; the fail ratio was not checked when the
//! circuit had broken; locks of the database counted as failures of the backend. What the report does not say, and what
//! is ours: timeouts, stalls, the way back from the fallback, and a bound on restarts.
//!
//! What counts: an item that failed with all of its retries, if the backend caused it ([`FailureKind`]). Items that
//! were not attempted, that failed on the database or by their own fault count on neither side.
//!
//! ```
//! use seawall::supervisor::{Backend, RunEnd, Failure, FailureKind, Probe, Supervisor, SupervisorPolicy};
//! use std::time::Duration;
//!
//! // A closure is a backend that can be probed. `HttpProbe` (feature `http`) probes a URL, and
//! // `ChildProcess::start(command)?.probed_by(probe)` can be restarted as well.
//! let mut supervisor = Supervisor::new(|| Probe::Alive)
//!     .policy(SupervisorPolicy { pause: Duration::from_millis(10), retries: 0, ..SupervisorPolicy::default() })
//!     .events(std::sync::Arc::new(|event| eprintln!("{event}")));
//!
//! let batches = [vec![1, 2, 3], vec![-1, -2, -3], vec![4, 5]];
//! let mut roots = Vec::new();
//! let run = supervisor.run(batches, |number: &i32, _attempt| {
//!     // Here a request would be sent, with `attempt.timeout`.
//!     if *number < 0 {
//!         return Err(Failure::new(FailureKind::Server, format!("no root of {number}")));
//!     }
//!     roots.push(f64::from(*number).sqrt());
//!     Ok(())
//! });
//! // The second batch failed, and the backend is alive: a pause, and on.
//! assert_eq!((run.end, run.batches, run.succeeded, run.failed), (RunEnd::Finished, 3, 5, 3));
//! assert_eq!(roots.len(), 5);
//! ```

mod backend;
mod batch;
mod child;
pub mod decision;
mod error;
mod event;
mod failure;
mod heartbeat;
#[cfg(feature = "http")]
mod http;
mod policy;

pub use crate::workers::StopToken;
pub use backend::{Backend, Probe};
pub use batch::{Attempt, BatchReport, BatchVerdict, ItemResult};
pub use child::{ChildBackend, ChildProcess};
pub use decision::{Decision, Findings, Side, StopReason};
pub use error::Error;
pub use event::{SupervisorEvent, SupervisorSink};
pub use failure::{Failure, FailureKind};
#[cfg(feature = "http")]
pub use http::HttpProbe;
pub use policy::SupervisorPolicy;

use crate::events::deliver;
use crate::os::{Os, SystemOs};
use crate::sync::Arc;
use crate::workers::Jitter;
use decision::{BackendMonitor, PrimaryCheck};
use heartbeat::Heartbeat;
use std::time::Duration;

/// Runs batches against a backend, and a fallback if there is one.
pub struct Supervisor {
    os: Arc<dyn Os>,
    stop: StopToken,
    policy: SupervisorPolicy,
    primary: Box<dyn Backend>,
    fallback: Option<Box<dyn Backend>>,
    events: Option<SupervisorSink>,
    jitter: Jitter,
    monitor: BackendMonitor,
    /// When the primary was last restarted while the fallback was in use.
    restarted_at: Option<Duration>,
}

/// The result of all batches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RunReport {
    /// Batches begun.
    pub batches: u64,
    /// Items that succeeded.
    pub succeeded: u64,
    /// Items that failed with all of their attempts, for any cause.
    pub failed: u64,
    /// Items of begun batches that were not attempted. Items of later batches are not counted.
    pub unattempted: u64,
    /// How it ended.
    pub end: RunEnd,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunEnd {
    /// There were no more batches.
    Finished,
    /// It was stopped.
    Stopped(StopReason),
}

impl Supervisor {
    /// A supervisor with the default policy and no fallback.
    pub fn new(backend: impl Backend + 'static) -> Supervisor {
        let policy = SupervisorPolicy::default();
        Supervisor {
            os: Arc::new(SystemOs::new()),
            stop: StopToken::new(),
            monitor: BackendMonitor::new(policy.clone(), false),
            policy,
            primary: Box::new(backend),
            fallback: None,
            events: None,
            jitter: Jitter::new(0),
            restarted_at: None,
        }
    }

    /// What stands in for the backend.
    pub fn fallback(mut self, fallback: impl Backend + 'static) -> Supervisor {
        self.fallback = Some(Box::new(fallback));
        self.monitor = BackendMonitor::new(self.policy.clone(), true);
        self
    }

    /// When to do what. A supervisor that has run before loses its records.
    pub fn policy(mut self, policy: SupervisorPolicy) -> Supervisor {
        self.monitor = BackendMonitor::new(policy.clone(), self.fallback.is_some());
        Supervisor { policy, ..self }
    }

    /// The token that stops it. A cancellation ends waits at once; the item at work is finished, its retries are not
    /// begun.
    pub fn stop_on(self, stop: StopToken) -> Supervisor {
        Supervisor { stop, ..self }
    }

    /// Where events go.
    pub fn events(self, sink: SupervisorSink) -> Supervisor {
        Supervisor { events: Some(sink), ..self }
    }

    /// The clock, for tests.
    pub fn os(self, os: Arc<dyn Os>) -> Supervisor {
        Supervisor { os, ..self }
    }

    /// What the jitter of retries follows from. Processes that share a backend should have different ones.
    pub fn seed(self, seed: u64) -> Supervisor {
        Supervisor { jitter: Jitter::new(seed), ..self }
    }

    /// Runs batches until there are no more or the supervisor is stopped.
    pub fn run<I, T>(
        &mut self,
        batches: impl IntoIterator<Item = Vec<I>>,
        mut job: impl FnMut(&I, &Attempt) -> Result<T, Failure>,
    ) -> RunReport {
        let mut run = RunReport { batches: 0, succeeded: 0, failed: 0, unattempted: 0, end: RunEnd::Finished };
        for items in batches {
            let report = self.run_batch(&items, &mut job);
            run.batches += 1;
            for item in &report.items {
                *match item {
                    ItemResult::Succeeded(_) => &mut run.succeeded,
                    ItemResult::Failed(_) => &mut run.failed,
                    ItemResult::Unattempted => &mut run.unattempted,
                } += 1;
            }
            if let BatchVerdict::Stop(reason) = report.verdict {
                run.end = RunEnd::Stopped(reason);
                break;
            }
        }
        run
    }

    /// Probes the side in use, outside of any batch.
    pub fn probe(&mut self) -> Probe {
        self.backend().probe()
    }

    /// The side in use.
    pub fn side(&self) -> Side {
        self.monitor.side()
    }

    fn backend(&mut self) -> &mut dyn Backend {
        match (self.monitor.side(), &mut self.fallback) {
            (Side::Fallback, Some(fallback)) => &mut **fallback,
            _ => &mut *self.primary,
        }
    }

    fn change_to(&mut self, side: Side) {
        self.monitor.change_to(side);
        self.emit(&SupervisorEvent::Changed { to: side });
    }

    /// While the fallback is in use: whether the primary can have its place back.
    fn check_primary(&mut self) {
        if self.monitor.side() == Side::Primary {
            return;
        }
        let (now, probe) = (self.os.now(), self.primary.probe());
        let is_recent = |at| now.saturating_sub(at) < self.policy.restart_wait;
        if probe == Probe::Dead && self.restarted_at.is_some_and(is_recent) && self.primary.may_come_up() {
            // It is starting. Another restart would only begin again.
            return;
        }
        match self.monitor.check_primary(probe) {
            PrimaryCheck::Stay => {}
            PrimaryCheck::Return => self.change_to(Side::Primary),
            PrimaryCheck::Restart => {
                self.emit(&SupervisorEvent::Restarting { side: Side::Primary });
                self.restarted_at = Some(now);
                // Whether that helped is seen at the next look.
                let _ = self.primary.restart();
            }
        }
    }

    /// Judges the batch and does what the decision says.
    fn conclude(&mut self, heartbeat: &Heartbeat) -> (Findings, BatchVerdict) {
        let (side, findings) = (self.monitor.side(), self.monitor.findings());
        let verdict = if self.stop.is_cancelled() {
            BatchVerdict::Stop(StopReason::Cancelled)
        } else if findings.any() {
            let probe = self.backend().probe();
            let decision = self.monitor.decide(probe);
            self.emit(&SupervisorEvent::Decided { side, findings, probe, decision });
            let decision = if decision == Decision::Restart { self.restart(side, heartbeat) } else { decision };
            self.carry_out(decision, heartbeat)
        } else {
            BatchVerdict::Continue
        };
        if let BatchVerdict::Stop(reason) = verdict {
            self.emit(&SupervisorEvent::Stopped { reason });
        }
        (findings, verdict)
    }

    fn carry_out(&mut self, decision: Decision, heartbeat: &Heartbeat) -> BatchVerdict {
        match decision {
            _ if self.stop.is_cancelled() => return BatchVerdict::Stop(StopReason::Cancelled),
            Decision::Stop(reason) => return BatchVerdict::Stop(reason),
            Decision::Pause(pause) => {
                if self.wait(pause, heartbeat) {
                    return BatchVerdict::Stop(StopReason::Cancelled);
                }
            }
            Decision::FallBack => self.change_to(Side::Fallback),
            // A restart has been carried out by now.
            Decision::Continue | Decision::Restart => {}
        }
        BatchVerdict::Continue
    }

    /// Restarts the backend and waits for it within the budget.
    fn restart(&mut self, side: Side, heartbeat: &Heartbeat) -> Decision {
        self.emit(&SupervisorEvent::Restarting { side });
        let began = self.os.now();
        let error = self.backend().restart().err();
        let is_recovered = error.is_none() && self.await_recovery(heartbeat);
        let decision = self.monitor.restarted(is_recovered);
        let waited = self.os.now().saturating_sub(began);
        let error = error.map(|error| error.to_string());
        self.emit(&SupervisorEvent::Restarted { side, is_recovered, waited, error, decision });
        decision
    }

    fn await_recovery(&mut self, heartbeat: &Heartbeat) -> bool {
        let until = self.os.now().saturating_add(self.policy.restart_wait);
        loop {
            if self.backend().probe() == Probe::Alive {
                return true;
            }
            let left = until.saturating_sub(self.os.now());
            // A poll of no length would ask without end as fast as it can.
            let pause = self.policy.restart_poll.max(heartbeat::WATCH_MIN).min(left);
            if left.is_zero() || !self.backend().may_come_up() || self.wait(pause, heartbeat) {
                return false;
            }
        }
    }

    /// Waits, with heartbeats; true if the token was cancelled.
    fn wait(&self, pause: Duration, heartbeat: &Heartbeat) -> bool {
        self.stop.wait_with(&*self.os, pause, || self.announce(heartbeat))
    }

    fn announce(&self, heartbeat: &Heartbeat) {
        for event in heartbeat.look(self.os.now()) {
            self.emit(&event);
        }
    }

    fn emit(&self, event: &SupervisorEvent) {
        if let Some(sink) = &self.events {
            deliver(&**sink, event);
        }
    }
}
