//! A supervisor on a clock that only moves when it is told to, with backends that do as they are told.

use super::clock::Clock;
use crate::Os;
use crate::supervisor::{
    Attempt, Backend, BatchVerdict, Decision, Error, Failure, FailureKind, ItemResult, Probe, RunEnd, Side, StopReason,
    StopToken, Supervisor, SupervisorEvent, SupervisorPolicy,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::time::Duration;

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// A backend whose state the test sets.
#[derive(Clone)]
struct Puppet {
    os: Arc<Clock>,
    probe: Arc<parking_lot::Mutex<Probe>>,
    restarts: Arc<AtomicU32>,
    /// After a restart it answers so late; never, without it.
    comes_back_after: Option<Duration>,
    back_at: Arc<parking_lot::Mutex<Option<Duration>>>,
    /// Whether it is worth while to wait for it.
    may_come_up: bool,
}

impl Puppet {
    fn new(os: &Arc<Clock>, probe: Probe) -> Puppet {
        Puppet {
            os: Arc::clone(os),
            probe: Arc::new(parking_lot::Mutex::new(probe)),
            restarts: Arc::default(),
            comes_back_after: None,
            back_at: Arc::default(),
            may_come_up: true,
        }
    }

    fn is(&self, probe: Probe) {
        *self.back_at.lock() = None;
        *self.probe.lock() = probe;
    }

    fn look(&self) -> Probe {
        if self.back_at.lock().is_some_and(|back_at| self.os.now() >= back_at) {
            self.is(Probe::Alive);
        }
        *self.probe.lock()
    }
}

impl Backend for Puppet {
    fn probe(&mut self) -> Probe {
        self.look()
    }

    fn restart(&mut self) -> Result<(), Error> {
        self.restarts.fetch_add(1, SeqCst);
        *self.back_at.lock() = self.comes_back_after.map(|after| self.os.now() + after);
        Ok(())
    }

    fn may_come_up(&mut self) -> bool {
        self.may_come_up
    }
}

/// A clock, a primary, and a list of the events.
struct Stage {
    os: Arc<Clock>,
    primary: Puppet,
    events: Arc<parking_lot::Mutex<Vec<SupervisorEvent>>>,
}

impl Stage {
    fn new(probe: Probe) -> Stage {
        let os = Arc::new(Clock::default());
        Stage { primary: Puppet::new(&os, probe), os, events: Arc::default() }
    }

    fn supervisor(&self) -> Supervisor {
        let events = Arc::clone(&self.events);
        Supervisor::new(self.primary.clone())
            .os(Arc::clone(&self.os) as Arc<dyn Os>)
            .policy(exact(SupervisorPolicy::default()))
            .events(Arc::new(move |event| events.lock().push(event.clone())))
    }

    /// The events so far but for heartbeats.
    fn events(&self) -> Vec<SupervisorEvent> {
        let is_beat = |event: &SupervisorEvent| matches!(event, SupervisorEvent::Heartbeat { .. });
        self.events.lock().iter().filter(|event| !is_beat(event)).cloned().collect()
    }

    /// What was judged, in order, and the restarts.
    fn judgements(&self) -> Vec<Decision> {
        let judged = |event| match event {
            SupervisorEvent::Decided { decision, .. } | SupervisorEvent::Restarted { decision, .. } => Some(decision),
            _ => None,
        };
        self.events().into_iter().filter_map(judged).collect()
    }
}

fn server() -> Failure {
    Failure::new(FailureKind::Server, "500")
}

fn database() -> Failure {
    Failure::new(FailureKind::Database, "locked")
}

fn failing(_item: &u32, _attempt: &Attempt) -> Result<(), Failure> {
    Err(server())
}

fn ok(_item: &u32, _attempt: &Attempt) -> Result<(), Failure> {
    Ok(())
}

#[test]
fn an_item_has_two_retries_after_2_and_4_s_unless_it_is_its_own_fault() {
    for (kind, attempts, took) in [
        (FailureKind::Unreachable, 3, 6),
        (FailureKind::Timeout, 3, 6),
        (FailureKind::Server, 3, 6),
        (FailureKind::Database, 3, 6),
        (FailureKind::Item, 1, 0),
    ] {
        let stage = Stage::new(Probe::Alive);
        let mut seen = Vec::new();
        let without_pause = SupervisorPolicy { pause: secs(0), ..SupervisorPolicy::default() };
        let report = stage.supervisor().policy(exact(without_pause)).run_batch(&[1], |_, attempt| {
            seen.push((attempt.number, attempt.timeout, attempt.side));
            Err::<(), _>(Failure::new(kind, "no"))
        });
        let expected: Vec<_> = (1..=attempts).map(|number| (number, secs(60), Side::Primary)).collect();
        assert_eq!((seen, stage.os.now()), (expected, secs(took)), "{kind:?}");
        assert_eq!(report.items, [ItemResult::Failed(Failure::new(kind, "no"))]);
    }
    // And one that succeeds the second time has succeeded.
    let stage = Stage::new(Probe::Dead);
    let retried = |_: &u32, attempt: &Attempt| if attempt.number == 2 { Ok(attempt.number) } else { Err(server()) };
    let report = stage.supervisor().run_batch(&[1, 2], retried);
    assert_eq!(
        (report.items, report.verdict),
        (vec![ItemResult::Succeeded(2), ItemResult::Succeeded(2)], BatchVerdict::Continue)
    );
    assert_eq!((stage.events().len(), stage.os.now()), (0, secs(4)));
}

fn exact(policy: SupervisorPolicy) -> SupervisorPolicy {
    SupervisorPolicy { retry_jitter_percent: 0, ..policy }
}

#[test]
fn ten_failures_in_a_row_end_the_batch_and_the_rest_is_not_attempted() {
    let stage = Stage::new(Probe::Alive);
    let report = stage.supervisor().run_batch(&[0; 25], failing);
    let failed = report.items.iter().filter(|item| **item == ItemResult::Failed(server())).count();
    let unattempted = report.items.iter().filter(|item| **item == ItemResult::Unattempted).count();
    assert_eq!((failed, unattempted), (10, 15));
    assert!(report.findings.circuit_broken && report.findings.fail_ratio_high, "{}", report.findings);
    assert_eq!(report.verdict, BatchVerdict::Stop(StopReason::CircuitBroken));
    assert_eq!(stage.events().last(), Some(&SupervisorEvent::Stopped { reason: StopReason::CircuitBroken }));
}

#[test]
fn database_locks_alone_neither_probe_nor_pause_nor_stop() {
    let stage = Stage::new(Probe::Dead);
    let run = stage.supervisor().run([vec![0; 30], vec![0; 30]], |_, _| Err::<(), _>(database()));
    assert_eq!((run.end, run.failed, stage.judgements().len()), (RunEnd::Finished, 60, 0));
    assert_eq!(stage.primary.restarts.load(SeqCst), 0);
}

#[test]
fn a_backend_that_times_out_is_paused_for_and_not_restarted() {
    let stage = Stage::new(Probe::TimedOut);
    let mut supervisor = stage.supervisor();
    let timeout = |_: &u32, _: &Attempt| Err::<(), _>(Failure::new(FailureKind::Timeout, "connecting took too long"));
    let began = stage.os.now();
    let report = supervisor.run_batch(&[0; 10], timeout);
    assert_eq!((report.verdict, stage.judgements()), (BatchVerdict::Continue, vec![Decision::Pause(secs(15))]));
    assert_eq!(stage.os.now() - began, secs(10 * 6 + 15));
    stage.primary.is(Probe::Alive);
    assert_eq!(supervisor.run_batch(&[0; 10], ok).verdict, BatchVerdict::Continue);
    assert_eq!(stage.primary.restarts.load(SeqCst), 0);
}

#[test]
fn a_dead_backend_is_restarted_and_probed_each_second_until_it_is_back() {
    let mut stage = Stage::new(Probe::Dead);
    stage.primary.comes_back_after = Some(Duration::from_millis(7500));
    let report = stage.supervisor().run_batch(&[0; 5], failing);
    assert_eq!(
        (report.verdict, stage.judgements()),
        (BatchVerdict::Continue, vec![Decision::Restart, Decision::Continue])
    );
    let restarted = stage.events().into_iter().find_map(|event| match event {
        SupervisorEvent::Restarted { is_recovered, waited, error, .. } => Some((is_recovered, waited, error)),
        _ => None,
    });
    assert_eq!(restarted, Some((true, secs(8), None)));
    assert_eq!(stage.primary.restarts.load(SeqCst), 1);
}

#[test]
fn a_circuit_that_broke_with_a_high_ratio_pauses_after_the_recovery() {
    let mut stage = Stage::new(Probe::Dead);
    stage.primary.comes_back_after = Some(secs(1));
    stage.supervisor().run_batch(&[0; 20], failing);
    assert_eq!(stage.judgements(), [Decision::Restart, Decision::Pause(secs(15))]);
    // Ten items with 6 s of retries each, a second until it is back, the pause.
    assert_eq!(stage.os.now(), secs(60 + 1 + 15));
}

#[test]
fn a_restart_that_does_not_help_within_60_s_is_a_stop() {
    let mut stage = Stage::new(Probe::Dead);
    for (comes_back_after, may_come_up, waited) in [(None, true, 60), (Some(secs(61)), true, 60), (None, false, 0)] {
        stage.primary.comes_back_after = comes_back_after;
        stage.primary.may_come_up = may_come_up;
        stage.primary.is(Probe::Dead);
        let began = stage.os.now();
        let report = stage.supervisor().run_batch(&[0; 5], failing);
        assert_eq!(report.verdict, BatchVerdict::Stop(StopReason::NotRecovered));
        assert_eq!(stage.os.now() - began, secs(5 * 6 + waited));
    }
    // A closure cannot be restarted at all.
    let stage = Stage::new(Probe::Alive);
    let events = Arc::clone(&stage.events);
    let mut supervisor = Supervisor::new(|| Probe::Dead)
        .os(Arc::clone(&stage.os) as Arc<dyn Os>)
        .events(Arc::new(move |event| events.lock().push(event.clone())));
    assert_eq!(supervisor.run_batch(&[0; 5], failing).verdict, BatchVerdict::Stop(StopReason::NotRecovered));
    let told = |event: &SupervisorEvent| match event {
        SupervisorEvent::Restarted { error: Some(error), .. } => error.contains("ChildProcess"),
        _ => false,
    };
    assert!(stage.events().iter().any(told), "{:?}", stage.events());
}

#[test]
fn the_third_failure_moves_its_item_to_the_fallback_and_a_live_primary_has_its_place_back() {
    let stage = Stage::new(Probe::TimedOut);
    let fallback = Puppet::new(&stage.os, Probe::Alive);
    let mut supervisor = stage.supervisor().fallback(fallback.clone());
    let on_fallback_alone = |_: &u32, attempt: &Attempt| match attempt.side {
        Side::Primary => Err(server()),
        Side::Fallback => Ok(attempt.number),
    };
    let report = supervisor.run_batch(&[0; 5], on_fallback_alone);
    let (failed, succeeded) = (ItemResult::Failed(server()), ItemResult::Succeeded(1));
    assert_eq!(report.items, [failed.clone(), failed, succeeded.clone(), succeeded.clone(), succeeded.clone()]);
    assert_eq!((report.verdict, report.findings.any()), (BatchVerdict::Continue, false));
    assert_eq!(stage.events().last(), Some(&SupervisorEvent::Changed { to: Side::Fallback }));

    // It hangs: stay. It is dead: restart it and stay. It is alive: back to it.
    assert_eq!(supervisor.run_batch(&[0], on_fallback_alone).items, [ItemResult::Succeeded(1)]);
    assert_eq!((supervisor.side(), stage.primary.restarts.load(SeqCst)), (Side::Fallback, 0));
    stage.primary.is(Probe::Dead);
    assert_eq!(supervisor.run_batch(&[0], on_fallback_alone).items, [ItemResult::Succeeded(1)]);
    assert_eq!((supervisor.side(), stage.primary.restarts.load(SeqCst)), (Side::Fallback, 1));
    // It has its time to come up, and is not restarted at every look meanwhile.
    for (pause, restarts) in [(secs(0), 1), (secs(59), 1), (secs(1), 2)] {
        stage.os.sleep(pause);
        supervisor.run_batch(&[0], on_fallback_alone);
        assert_eq!(stage.primary.restarts.load(SeqCst), restarts, "{pause:?} later");
    }
    stage.primary.is(Probe::Alive);
    supervisor.run_batch(&[0], ok);
    assert_eq!(supervisor.side(), Side::Primary);

    // Both down: the fallback's circuit is the end.
    stage.primary.is(Probe::Dead);
    let report = supervisor.run_batch(&[0; 20], failing);
    assert_eq!(report.verdict, BatchVerdict::Stop(StopReason::CircuitBroken));
    assert_eq!(supervisor.side(), Side::Fallback);
}

#[test]
fn a_restart_that_does_not_help_falls_back_if_it_can() {
    let stage = Stage::new(Probe::Dead);
    let policy = SupervisorPolicy { fallback_after: 99, ..SupervisorPolicy::default() };
    let mut supervisor = stage.supervisor().policy(policy).fallback(Puppet::new(&stage.os, Probe::Alive));
    assert_eq!(supervisor.run_batch(&[0; 5], failing).verdict, BatchVerdict::Continue);
    assert_eq!(stage.judgements(), [Decision::Restart, Decision::FallBack]);
    assert_eq!(supervisor.side(), Side::Fallback);
}

#[test]
fn an_item_that_fails_after_300_s_is_a_stall_and_has_no_retries() {
    for (probe, judgements) in [
        (Probe::Alive, vec![Decision::Pause(secs(15))]),
        (Probe::TimedOut, vec![Decision::Restart, Decision::Continue]),
    ] {
        let mut stage = Stage::new(probe);
        stage.primary.comes_back_after = Some(secs(1));
        let os = Arc::clone(&stage.os);
        let mut attempts = 0;
        let report = stage.supervisor().run_batch(&[0, 1, 2, 3], |item, _| {
            attempts += 1;
            // A client without a timeout of its own.
            os.sleep(if *item == 2 { secs(301) } else { secs(299) });
            if *item == 2 { Err(Failure::new(FailureKind::Timeout, "at last")) } else { Ok(()) }
        });
        assert_eq!((attempts, report.findings.stalled), (3, true));
        assert_eq!((&report.items[3], report.verdict), (&ItemResult::Unattempted, BatchVerdict::Continue));
        let stalls =
            stage.events().into_iter().filter(|event| matches!(event, SupervisorEvent::Stalled { .. })).count();
        assert_eq!((stalls, stage.judgements()), (1, judgements));
    }
}

#[test]
fn waiting_for_a_restart_is_no_stall() {
    let stage = Stage::new(Probe::Dead);
    let policy = SupervisorPolicy { restart_wait: secs(1000), ..SupervisorPolicy::default() };
    stage.supervisor().policy(policy).run_batch(&[0; 5], failing);
    let is_stall = |event: &SupervisorEvent| matches!(event, SupervisorEvent::Stalled { .. });
    assert!(stage.os.now() > secs(1000) && !stage.events().iter().any(is_stall));
}

#[test]
fn heartbeats_come_each_25_s_through_items_pauses_and_restarts() {
    let mut stage = Stage::new(Probe::Dead);
    stage.primary.comes_back_after = Some(secs(50));
    let os = Arc::clone(&stage.os);
    stage.supervisor().run_batch(&[0; 10], |_, _| {
        os.sleep(secs(4));
        Err::<(), _>(server())
    });
    // 10 items of 3 x 4 + 6 s, 50 s of restart, a pause of 15 s.
    assert_eq!(stage.os.now(), secs(180 + 50 + 15));
    let beats = stage.events.lock().iter().filter(|event| matches!(event, SupervisorEvent::Heartbeat { .. })).count();
    // Beats that fall into a call of 4 s are late, so one or two fewer than 245 / 25.
    assert!((8..=9).contains(&beats), "{beats}");
}

#[test]
fn asked_to_stop_a_supervisor_ends_its_wait_and_begins_no_item() {
    for (asked_at, failed) in [(secs(1), 1), (secs(20), 4), (secs(31), 5)] {
        let stop = StopToken::new();
        let canceller = stop.clone();
        let os = Arc::new(Clock::default().on_sleep(move |now| {
            if now >= asked_at {
                canceller.cancel();
            }
        }));
        let mut supervisor = Supervisor::new(|| Probe::Alive)
            .os(Arc::clone(&os) as Arc<dyn Os>)
            .policy(exact(SupervisorPolicy::default()))
            .stop_on(stop);
        let run = supervisor.run([vec![0; 5], vec![0; 5]], failing);
        assert_eq!(run.end, RunEnd::Stopped(StopReason::Cancelled), "asked at {asked_at:?}");
        assert_eq!((run.batches, run.failed, run.unattempted), (1, failed, 5 - failed), "asked at {asked_at:?}");
        assert!(os.now() <= asked_at + StopToken::LATENCY_MAX, "{:?}", os.now());
    }
}

#[test]
fn panics_of_the_job_and_of_the_sink_are_contained() {
    let mut supervisor =
        Supervisor::new(|| Probe::Dead).os(Arc::new(Clock::default())).events(Arc::new(|event| panic!("{event}")));
    let report = supervisor.run_batch(&[0, 1], |item: &u32, _| {
        assert!(*item > 0, "item {item} is bad");
        Ok(())
    });
    let failure = Failure::new(FailureKind::Item, "the job panicked: item 0 is bad");
    assert_eq!(report.items, [ItemResult::Failed(failure), ItemResult::Succeeded(())]);
    assert_eq!(report.verdict, BatchVerdict::Continue);
}
