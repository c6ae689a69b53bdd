//! The machine, told as sequences of steps.

use super::*;

/// One step of a story. Permits are named by the order in which they were given.
#[derive(Debug)]
enum Step {
    Admit,
    Refused,
    Success(usize),
    Failure(usize),
    Release(usize),
    WaitSecs(u64),
    Set(BreakerMode),
}
use Step::*;

/// 3 failures, 30 s cooldown, 2 permits, 10 s permit deadline.
fn policy() -> BreakerPolicy {
    BreakerPolicy {
        failures_max: 3,
        cooldown: Duration::from_secs(30),
        half_open_permits: 2,
        permit_deadline: Duration::from_secs(10),
        ..BreakerPolicy::default()
    }
}

/// A quarter of failures among at least 4 results of the last 100 s; consecutive failures decide nothing.
fn rate_policy() -> BreakerPolicy {
    let rate = RateThreshold { window: Duration::from_secs(100), calls_min: 4, failures_percent: 25 };
    BreakerPolicy { failures_max: u32::MAX, rate: Some(rate), ..policy() }
}

#[track_caller]
fn run(policy: BreakerPolicy, story: &[Step], announced: &[Transition], state: BreakerState) -> Breaker {
    let mut breaker = Breaker::new(policy);
    let mut now = Duration::ZERO;
    let mut permits = Vec::new();
    let mut transitions = Vec::new();
    for (index, step) in story.iter().enumerate() {
        match step {
            Admit => {
                let (permit, transition) = breaker.admit(now);
                permits.push(permit.unwrap_or_else(|refusal| panic!("step {index} refused: {refusal:?}")));
                transitions.extend(transition);
            }
            Refused => {
                let (permit, transition) = breaker.admit(now);
                assert!(permit.is_err(), "step {index} was let through");
                transitions.extend(transition);
            }
            Success(nth) => transitions.extend(breaker.success(permits[*nth], now)),
            Failure(nth) => transitions.extend(breaker.failure(permits[*nth], now)),
            Release(nth) => breaker.release(permits[*nth]),
            WaitSecs(secs) => now += Duration::from_secs(*secs),
            Set(mode) => transitions.extend(breaker.set_mode(*mode)),
        }
    }
    assert_eq!(transitions, announced);
    assert_eq!(breaker.state(now), state);
    assert_eq!(breaker.generation(), announced.len() as u64);
    breaker
}

#[track_caller]
fn check(story: &[Step], announced: &[Transition], state: BreakerState) {
    run(policy(), story, announced, state);
}

#[track_caller]
fn check_rate(story: &[Step], announced: &[Transition], state: BreakerState) {
    run(rate_policy(), story, announced, state);
}

fn mode_changed(generation: u64, mode: BreakerMode) -> Transition {
    Transition::ModeChanged { generation, mode }
}

const TRIP: [Step; 4] = [Admit, Failure(0), Failure(0), Failure(0)];
const TRIPPED: Transition = Transition::Tripped { generation: 1 };
const HALF_OPENED: Transition = Transition::HalfOpened { generation: 2 };

fn after_trip<const N: usize>(steps: [Step; N]) -> Vec<Step> {
    TRIP.into_iter().chain(steps).collect()
}

#[test]
fn three_consecutive_failures_trip_and_a_success_between_resets() {
    check(&[Admit, Failure(0), Failure(0)], &[], BreakerState::Closed);
    check(&[Admit, Failure(0), Failure(0), Success(0), Failure(0), Failure(0)], &[], BreakerState::Closed);
    check(&[Admit, Failure(0), Failure(0), Release(0), Failure(0)], &[TRIPPED], open(30));
    check(&TRIP, &[TRIPPED], open(30));
}

#[test]
fn no_call_passes_before_the_cooldown_is_over() {
    check(&after_trip([Refused, WaitSecs(29), Refused]), &[TRIPPED], open(1));
    check(&after_trip([WaitSecs(31)]), &[TRIPPED], open(0));
}

#[test]
fn half_open_lets_as_many_through_as_it_has_permits() {
    let steps = after_trip([WaitSecs(30), Admit, Admit, Refused]);
    check(&steps, &[TRIPPED, HALF_OPENED], BreakerState::HalfOpen { permits_free: 0 });
    let steps = after_trip([WaitSecs(30), Admit, Admit, Release(1), Admit, Refused]);
    check(&steps, &[TRIPPED, HALF_OPENED], BreakerState::HalfOpen { permits_free: 0 });
}

#[test]
fn one_probe_decides_and_the_other_changes_nothing() {
    let recovered = [TRIPPED, HALF_OPENED, Transition::Recovered { generation: 3 }];
    check(&after_trip([WaitSecs(30), Admit, Admit, Success(1), Failure(2)]), &recovered, BreakerState::Closed);
    let tripped = [TRIPPED, HALF_OPENED, Transition::Tripped { generation: 3 }];
    check(&after_trip([WaitSecs(30), Admit, Admit, Failure(1), Success(2)]), &tripped, open(30));
}

#[test]
fn results_of_an_older_generation_change_nothing() {
    check(&after_trip([Success(0), Failure(0)]), &[TRIPPED], open(30));
    let recovered = [TRIPPED, HALF_OPENED, Transition::Recovered { generation: 3 }];
    let steps = after_trip([WaitSecs(30), Admit, Success(1), Failure(0), Failure(0), Failure(0)]);
    check(&steps, &recovered, BreakerState::Closed);
    let steps = after_trip([WaitSecs(30), Admit, Success(0), Failure(0), Release(0)]);
    check(&steps, &[TRIPPED, HALF_OPENED], BreakerState::HalfOpen { permits_free: 1 });
}

#[test]
fn a_probe_that_never_reports_gives_its_permit_back() {
    let steps = after_trip([WaitSecs(30), Admit, Admit, WaitSecs(9), Refused, WaitSecs(1), Admit]);
    check(&steps, &[TRIPPED, HALF_OPENED], BreakerState::HalfOpen { permits_free: 1 });
    // The late report of the expired probe is void, whether or not its permit has been given away.
    let steps = after_trip([WaitSecs(30), Admit, WaitSecs(10), Success(1)]);
    check(&steps, &[TRIPPED, HALF_OPENED], BreakerState::HalfOpen { permits_free: 2 });
}

#[test]
fn zeros_in_the_policy_count_as_one() {
    let zero = BreakerPolicy { failures_max: 0, half_open_permits: 0, ..BreakerPolicy::default() };
    let mut breaker = Breaker::new(zero);
    let permit = breaker.admit(Duration::ZERO).0.unwrap();
    assert_eq!(breaker.failure(permit, Duration::ZERO), Some(TRIPPED));
    assert!(breaker.admit(Duration::from_secs(30)).0.is_ok());
    assert!(breaker.admit(Duration::from_secs(30)).0.is_err());
}

#[test]
fn a_share_of_failures_trips_though_they_are_not_consecutive() {
    let quarter = [Admit, Failure(0), Success(0), Success(0), Success(0), Failure(0)];
    check_rate(&quarter[..5], &[], BreakerState::Closed);
    check_rate(&quarter, &[TRIPPED], open(30));
    // One of five is a fifth.
    let fifth = [Admit, Success(0), Success(0), Success(0), Success(0), Failure(0)];
    check_rate(&fifth, &[], BreakerState::Closed);
    // Exactly a quarter is enough.
    check_rate(&[Admit, Success(0), Success(0), Success(0), Failure(0)], &[TRIPPED], open(30));
}

#[test]
fn a_rate_needs_enough_results() {
    check_rate(&[Admit, Failure(0), Failure(0), Failure(0)], &[], BreakerState::Closed);
    check_rate(&[Admit, Failure(0), Failure(0), Failure(0), Failure(0)], &[TRIPPED], open(30));
    // What proved nothing is no result.
    let released = [Admit, Failure(0), Release(0), Release(0), Failure(0), Failure(0)];
    check_rate(&released, &[], BreakerState::Closed);
}

#[test]
fn a_success_never_trips() {
    check_rate(&[Admit, Failure(0), Failure(0), Failure(0), Success(0)], &[], BreakerState::Closed);
}

#[test]
fn results_older_than_the_window_are_forgotten() {
    let old = [Admit, Failure(0), Failure(0), Failure(0), WaitSecs(100), Failure(0)];
    check_rate(&old, &[], BreakerState::Closed);
    let young = [Admit, Failure(0), Failure(0), Failure(0), WaitSecs(90), Failure(0)];
    check_rate(&young, &[TRIPPED], open(30));
    let jump = [Admit, Failure(0), Failure(0), Failure(0), WaitSecs(1 << 60), Failure(0)];
    check_rate(&jump, &[], BreakerState::Closed);
}

#[test]
fn a_circuit_that_closes_has_forgotten_the_rate() {
    let recover = [WaitSecs(30), Admit, Success(1), Admit, Failure(2), Failure(2), Failure(2)];
    let story = [Admit, Failure(0), Failure(0), Failure(0), Failure(0)].into_iter().chain(recover);
    let recovered = [TRIPPED, HALF_OPENED, Transition::Recovered { generation: 3 }];
    let breaker = run(rate_policy(), &story.collect::<Vec<_>>(), &recovered, BreakerState::Closed);
    assert_eq!(breaker.window(Duration::from_secs(30)), Some(WindowCounts { calls: 3, failures: 3 }));
}

#[test]
fn consecutive_failures_and_the_rate_are_both_in_force() {
    let both = BreakerPolicy { failures_max: 2, ..rate_policy() };
    run(both.clone(), &[Admit, Failure(0), Failure(0)], &[TRIPPED], open(30));
    let story = [Admit, Success(0), Success(0), Failure(0), Success(0), Failure(0)];
    run(both, &story, &[TRIPPED], open(30));
}

#[test]
fn percentages_are_cut_to_what_they_can_be() {
    let of = |calls_min, failures_percent| {
        let rate = RateThreshold { window: Duration::from_secs(100), calls_min, failures_percent };
        BreakerPolicy { rate: Some(rate), ..rate_policy() }
    };
    run(of(0, 0), &[Admit, Success(0)], &[], BreakerState::Closed);
    run(of(0, 0), &[Admit, Success(0), Failure(0)], &[TRIPPED], open(30));
    run(of(0, 200), &[Admit, Success(0), Failure(0)], &[], BreakerState::Closed);
    run(of(0, 200), &[Admit, Failure(0)], &[TRIPPED], open(30));
}

#[test]
fn forced_open_refuses_every_call_until_the_mode_changes() {
    let forced = mode_changed(1, BreakerMode::ForcedOpen);
    let story = [Admit, Set(BreakerMode::ForcedOpen), Refused, Success(0), WaitSecs(1 << 40), Refused];
    let mut breaker = run(policy(), &story, &[forced], BreakerState::ForcedOpen);
    assert_eq!(breaker.admit(Duration::MAX).0, Err(Refusal { retry_after: None }));
    let story = after_trip([Set(BreakerMode::ForcedOpen), Set(BreakerMode::Enforcing), Admit, Failure(0)]);
    let changes = [mode_changed(2, BreakerMode::ForcedOpen), mode_changed(3, BreakerMode::Enforcing)];
    check(&story, &[TRIPPED, changes[0], changes[1]], BreakerState::Closed);
    let from_the_start = BreakerPolicy { mode: BreakerMode::ForcedOpen, ..policy() };
    run(from_the_start, &[Refused], &[], BreakerState::ForcedOpen);
}

#[test]
fn disabled_lets_every_call_pass_and_counts_nothing() {
    let disabled = BreakerPolicy { mode: BreakerMode::Disabled, ..rate_policy() };
    let story = [Admit, Failure(0), Failure(0), Failure(0), Failure(0), Success(0), Admit];
    let breaker = run(disabled, &story, &[], BreakerState::Closed);
    assert_eq!((breaker.failures(), breaker.counters()), (0, BreakerCounters::default()));
    assert_eq!(breaker.window(Duration::ZERO), Some(WindowCounts::default()));
    let changed = mode_changed(2, BreakerMode::Disabled);
    check(&after_trip([Set(BreakerMode::Disabled), Admit, Admit, Admit]), &[TRIPPED, changed], BreakerState::Closed);
}

#[test]
fn metrics_only_announces_everything_and_refuses_no_call() {
    let watched = BreakerPolicy { mode: BreakerMode::MetricsOnly, ..policy() };
    let open_passes = [Admit, Failure(1), Success(1), WaitSecs(30), Admit, Admit];
    let full_passes = [Admit, Failure(4), Success(4), Success(3)];
    let story: Vec<Step> = TRIP.into_iter().chain(open_passes).chain(full_passes).collect();
    let recovered = [TRIPPED, HALF_OPENED, Transition::Recovered { generation: 3 }];
    let breaker = run(watched, &story, &recovered, BreakerState::Closed);
    let expected = BreakerCounters { admitted: 3, refused: 2, successes: 1, failures: 3, trips: 1 };
    assert_eq!(breaker.counters(), expected);
}

#[test]
fn a_change_of_mode_is_announced_once_and_begins_anew() {
    let to = |mode| [Set(mode), Set(mode)];
    let story: Vec<Step> = [Admit, Failure(0), Failure(0), Set(BreakerMode::Enforcing)]
        .into_iter()
        .chain(to(BreakerMode::MetricsOnly))
        .chain([Failure(0)])
        .chain(to(BreakerMode::Enforcing))
        .chain([Admit, Failure(1), Failure(1), Failure(0)])
        .collect();
    let changes = [mode_changed(1, BreakerMode::MetricsOnly), mode_changed(2, BreakerMode::Enforcing)];
    let breaker = run(policy(), &story, &changes, BreakerState::Closed);
    assert_eq!(breaker.failures(), 2);
}

#[test]
fn everything_in_time_is_counted_once() {
    let story = after_trip([Refused, Failure(0), WaitSecs(30), Admit, Success(0), Failure(1), WaitSecs(30), Admit]);
    let twice = [TRIPPED, HALF_OPENED, Transition::Tripped { generation: 3 }];
    let announced = [twice[0], twice[1], twice[2], Transition::HalfOpened { generation: 4 }];
    let breaker = run(policy(), &story, &announced, BreakerState::HalfOpen { permits_free: 1 });
    let expected = BreakerCounters { admitted: 3, refused: 1, successes: 0, failures: 4, trips: 2 };
    assert_eq!(breaker.counters(), expected);
}

#[test]
fn a_clock_that_goes_back_only_lengthens_waits() {
    let (later, earlier) = (Duration::from_secs(1000), Duration::ZERO);
    let mut breaker = Breaker::new(BreakerPolicy { failures_max: 2, half_open_permits: 1, ..rate_policy() });
    let permit = breaker.admit(later).0.unwrap();
    assert_eq!(breaker.failure(permit, later), None);
    assert_eq!(breaker.failure(permit, earlier), Some(TRIPPED));
    assert_eq!(breaker.admit(later).1, Some(HALF_OPENED));
    let wait = later + Duration::from_secs(10);
    assert_eq!(breaker.admit(earlier).0, Err(Refusal { retry_after: Some(wait) }));
}

fn open(remaining_secs: u64) -> BreakerState {
    BreakerState::Open { remaining: Duration::from_secs(remaining_secs) }
}
