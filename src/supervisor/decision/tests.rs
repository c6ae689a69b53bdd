//! The table of the documentation, cell by cell.

use super::*;
use Decision::{Continue, FallBack, Pause, Restart};
use ItemOutcome::{BackendFailure, Exempt, Success};
use StopReason::{CircuitBroken, Dead, Hung, NotRecovered};

const PAUSE: Decision = Pause(Duration::from_secs(15));

fn stop(reason: StopReason) -> Decision {
    Decision::Stop(reason)
}

fn monitor() -> BackendMonitor {
    BackendMonitor::new(SupervisorPolicy::default(), false)
}

/// A batch in which so many items came to this; ends early where the monitor says so.
fn run_batch(monitor: &mut BackendMonitor, items: &[(u32, ItemOutcome)]) -> Findings {
    monitor.begin_batch();
    for outcome in items.iter().flat_map(|(count, outcome)| (0..*count).map(|_| *outcome)) {
        if monitor.item(outcome) == NextStep::EndBatch {
            break;
        }
    }
    monitor.findings()
}

const GOOD: &[(u32, ItemOutcome)] = &[(10, Success)];
/// 4 of 5.
const RATIO: &[(u32, ItemOutcome)] = &[(1, Success), (4, BackendFailure)];
/// 10 in a row, after so many successes that they are less than 80 %.
const CIRCUIT: &[(u32, ItemOutcome)] = &[(3, Success), (99, BackendFailure)];
const BOTH: &[(u32, ItemOutcome)] = &[(99, BackendFailure)];

#[track_caller]
fn check(items: &[(u32, ItemOutcome)], probe: Probe, expected: Decision, after_recovery: Option<Decision>) {
    let mut monitor = monitor();
    let findings = run_batch(&mut monitor, items);
    assert_eq!(monitor.decide(probe), expected, "{findings}, {probe:?}");
    if let Some(after_recovery) = after_recovery {
        let mut recovered = monitor.clone();
        assert_eq!(recovered.restarted(true), after_recovery, "{findings}, {probe:?}, recovered");
        assert_eq!(monitor.restarted(false), stop(NotRecovered), "{findings}, {probe:?}, not recovered");
    }
}

#[test]
fn the_defaults_are_those_of_the_field_report() {
    let policy = SupervisorPolicy::default();
    let secs = Duration::from_secs;
    assert_eq!((policy.breaker_failures_max, policy.fail_ratio_percent, policy.fallback_after), (10, 80, 3));
    assert_eq!((policy.pause, policy.auto_restart), (secs(15), true));
    assert_eq!((policy.restart_wait, policy.restart_poll), (secs(60), secs(1)));
    assert_eq!((policy.request_timeout, policy.stall_timeout, policy.heartbeat), (secs(60), secs(300), secs(25)));
    assert_eq!((policy.retries, policy.retry_base, policy.retry_cap), (2, secs(2), secs(30)));
    assert_eq!(policy.retry_jitter_percent, 30);
}

#[test]
fn a_batch_without_findings_goes_on_whatever_the_probe_says() {
    for probe in [Probe::Alive, Probe::Unwell, Probe::TimedOut, Probe::Dead] {
        check(GOOD, probe, Continue, None);
        check(&[], probe, Continue, None);
        check(&[(3, Success), (9, BackendFailure)], probe, Continue, None);
    }
}

#[test]
fn a_high_fail_ratio_pauses_before_a_live_backend_and_restarts_a_dead_one() {
    check(RATIO, Probe::Alive, PAUSE, None);
    check(RATIO, Probe::Unwell, PAUSE, None);
    check(RATIO, Probe::TimedOut, PAUSE, None);
    check(RATIO, Probe::Dead, Restart, Some(Continue));
}

#[test]
fn a_broken_circuit_stops_before_a_live_backend_and_restarts_a_dead_one() {
    check(CIRCUIT, Probe::Alive, stop(CircuitBroken), None);
    check(CIRCUIT, Probe::Unwell, stop(CircuitBroken), None);
    check(CIRCUIT, Probe::TimedOut, PAUSE, None);
    check(CIRCUIT, Probe::Dead, Restart, Some(Continue));
}

#[test]
fn both_checks_are_made_also_when_the_circuit_broke() {
    let found = |circuit_broken, fail_ratio_high| Findings { circuit_broken, fail_ratio_high, stalled: false };
    assert_eq!(run_batch(&mut monitor(), RATIO), found(false, true));
    assert_eq!(run_batch(&mut monitor(), CIRCUIT), found(true, false));
    assert_eq!(run_batch(&mut monitor(), BOTH), found(true, true));
    check(BOTH, Probe::Alive, stop(CircuitBroken), None);
    // The circuit's part: recovered, go on. The ratio's part: high, and alive by now, so a pause before that.
    check(BOTH, Probe::Dead, Restart, Some(PAUSE));
}

#[test]
fn a_stall_pauses_before_a_live_backend_and_restarts_one_that_does_not_answer() {
    let judged = |probe| {
        let mut monitor = monitor();
        run_batch(&mut monitor, GOOD);
        monitor.stalled();
        monitor.decide(probe)
    };
    assert_eq!(
        [Probe::Alive, Probe::Unwell, Probe::TimedOut, Probe::Dead].map(judged),
        [PAUSE, PAUSE, Restart, Restart]
    );
}

#[test]
fn the_limit_of_the_fail_ratio_is_high_and_below_it_is_not() {
    for (successes, failures, is_high) in [(2, 8, true), (3, 8, false), (1, 4, true), (1, 3, false), (0, 1, true)] {
        let findings = run_batch(&mut monitor(), &[(successes, Success), (failures, BackendFailure)]);
        assert_eq!(findings.fail_ratio_high, is_high, "{failures} failures, {successes} successes");
    }
    // No failure is never too many, and 101 % is never reached.
    for (percent, items, is_high) in [(0, GOOD, false), (0, RATIO, true), (101, BOTH, false)] {
        let policy = SupervisorPolicy { fail_ratio_percent: percent, ..SupervisorPolicy::default() };
        assert_eq!(run_batch(&mut BackendMonitor::new(policy, false), items).fail_ratio_high, is_high, "{percent} %");
    }
}

#[test]
fn database_locks_count_towards_neither_threshold() {
    assert_eq!(run_batch(&mut monitor(), &[(1000, Exempt)]), Findings::default());
    // They neither fill the ratio nor thin it out, and they are no success that would close the circuit.
    assert!(run_batch(&mut monitor(), &[(1, Success), (1000, Exempt), (4, BackendFailure)]).fail_ratio_high);
    assert!(!run_batch(&mut monitor(), &[(2, Success), (1000, Exempt), (4, BackendFailure)]).fail_ratio_high);
    let interrupted = [(9, Success), (5, BackendFailure), (3, Exempt), (4, BackendFailure), (3, Exempt)];
    assert!(!run_batch(&mut monitor(), &interrupted).circuit_broken);
    let interrupted = [(9, Success), (5, BackendFailure), (3, Exempt), (5, BackendFailure)];
    assert!(run_batch(&mut monitor(), &interrupted).circuit_broken);
}

#[test]
fn consecutive_failures_are_counted_across_batches_and_reset_by_a_success() {
    let mut monitor = monitor();
    let nine = [(9, Success), (9, BackendFailure)];
    assert!(!run_batch(&mut monitor, &nine).circuit_broken);
    assert!(run_batch(&mut monitor, &[(1, BackendFailure)]).circuit_broken);
    // Still broken: one more failure is enough. But a batch without any is not blamed for those before it.
    assert!(!run_batch(&mut monitor, &[]).any());
    assert!(run_batch(&mut monitor, &[(1, BackendFailure)]).circuit_broken);
    assert!(!run_batch(&mut monitor, &nine).circuit_broken);
}

#[test]
fn a_probe_that_times_out_time_and_again_is_a_hung_backend() {
    let mut monitor = monitor();
    let mut judged = |items, probe| {
        run_batch(&mut monitor, items);
        monitor.decide(probe)
    };
    for _ in 0..4 {
        assert_eq!(judged(RATIO, Probe::TimedOut), PAUSE);
    }
    // Any answer in between starts the count anew; a success would, too.
    assert_eq!(judged(BOTH, Probe::Alive), stop(CircuitBroken));
    for _ in 0..4 {
        assert_eq!(judged(BOTH, Probe::TimedOut), PAUSE);
    }
    assert_eq!(judged(BOTH, Probe::TimedOut), Restart);
}

#[test]
fn what_may_not_be_restarted_is_a_stop_with_its_reason() {
    let policy = SupervisorPolicy { auto_restart: false, timeouts_max: 0, ..SupervisorPolicy::default() };
    for (items, probe, reason) in [
        (RATIO, Probe::Dead, Dead),
        (BOTH, Probe::Dead, Dead),
        (RATIO, Probe::TimedOut, Hung),
        (BOTH, Probe::TimedOut, Hung),
    ] {
        let mut monitor = BackendMonitor::new(policy.clone(), false);
        run_batch(&mut monitor, items);
        assert_eq!(monitor.decide(probe), stop(reason));
    }
}

#[test]
fn restarts_without_a_success_in_between_are_bounded() {
    let mut monitor = monitor();
    let mut judged = |items| {
        run_batch(&mut monitor, items);
        let decision = monitor.decide(Probe::Dead);
        if decision == Restart {
            monitor.restarted(true);
        }
        decision
    };
    let (bad, mixed): (&[_], &[_]) = (&[(5, BackendFailure)], RATIO);
    assert_eq!([bad, bad, bad, bad].map(&mut judged), [Restart, Restart, Restart, stop(Dead)]);
    assert_eq!([mixed, bad, bad, bad].map(&mut judged), [Restart, Restart, Restart, stop(Dead)]);
}

#[test]
fn the_third_failure_in_a_row_falls_back_and_a_stop_becomes_a_fallback() {
    let mut monitor = BackendMonitor::new(SupervisorPolicy::default(), true);
    let steps = [BackendFailure, BackendFailure, Success, BackendFailure, Exempt, BackendFailure, BackendFailure];
    let steps = steps.map(|outcome| monitor.item(outcome));
    assert!(steps[..6].iter().all(|step| *step == NextStep::GoOn));
    assert_eq!(steps[6], NextStep::FallBack);
    monitor.change_to(Side::Fallback);
    assert_eq!(monitor.findings(), Findings::default(), "the failures were the primary's");
    // On the fallback the circuit breaks as on the primary, and there is nothing behind it.
    run_batch(&mut monitor, BOTH);
    assert_eq!(monitor.decide(Probe::Alive), stop(CircuitBroken));

    // Where a restart does not help either, the fallback takes over after the batch.
    let late = SupervisorPolicy { fallback_after: 99, ..SupervisorPolicy::default() };
    let mut monitor = BackendMonitor::new(late, true);
    run_batch(&mut monitor, BOTH);
    assert_eq!((monitor.decide(Probe::Dead), monitor.restarted(false)), (Restart, FallBack));
}

#[test]
fn the_primary_has_its_place_back_when_it_answers_and_is_restarted_while_it_is_dead() {
    let mut monitor = BackendMonitor::new(SupervisorPolicy::default(), true);
    monitor.change_to(Side::Fallback);
    assert_eq!([Probe::TimedOut, Probe::Unwell].map(|probe| monitor.check_primary(probe)), [PrimaryCheck::Stay; 2]);
    let looks = [Probe::Dead; 4].map(|probe| monitor.check_primary(probe));
    assert_eq!(looks, [PrimaryCheck::Restart, PrimaryCheck::Restart, PrimaryCheck::Restart, PrimaryCheck::Stay]);
    assert_eq!(monitor.check_primary(Probe::Alive), PrimaryCheck::Return);
}
