//! A database that cannot be opened for a while: the circuit breaker at work.

use super::*;
use crate::BreakerState;
use crate::health::HealthState;

/// A world whose database stops being reachable: its directory is moved away.
struct Outage {
    world: World,
    cache: Cache,
    path: PathBuf,
}

impl Outage {
    fn new() -> Outage {
        let world = World::new();
        let (cache, path) = (world.cache(), world.dir.path().join("data/x.db"));
        std::fs::create_dir(world.dir.path().join("data")).unwrap();
        cache.write(&path, |tx| insert(tx, 1)).unwrap();
        cache.close(&path).unwrap();
        let outage = Outage { world, cache, path };
        outage.rename("data", "away");
        outage.world.events();
        outage
    }

    fn rename(&self, from: &str, to: &str) {
        std::fs::rename(self.world.dir.path().join(from), self.world.dir.path().join(to)).unwrap();
    }

    fn trip(&self) {
        for _ in 0..3 {
            let error = self.cache.read(&self.path, rows).unwrap_err();
            assert_eq!(error.extended_code(), Some(14));
            assert!(error.is_transient());
        }
        assert!(self.cache.read(&self.path, rows).unwrap_err().is_breaker_open());
    }
}

#[test]
fn the_circuit_opens_after_three_failures_and_a_probe_closes_it() {
    let outage = Outage::new();
    outage.trip();
    let (world, cache) = (&outage.world, &outage.cache);
    let health = cache.health(&outage.path);
    assert_eq!((health.state, health.breaker_generation), (HealthState::Unavailable, 1));
    assert!(health.last_error.unwrap().contains("CANTOPEN (14)"));

    world.os.advance(Duration::from_secs(29));
    let error = cache.read(&outage.path, rows).unwrap_err();
    assert_eq!(error.retry_after(), Some(Duration::from_secs(1)));
    world.os.advance(Duration::from_secs(1));
    assert!(!cache.read(&outage.path, rows).unwrap_err().is_breaker_open(), "a probe goes through");
    assert!(cache.read(&outage.path, rows).unwrap_err().is_breaker_open(), "and its failure opens again");

    outage.rename("away", "data");
    world.os.advance(Duration::from_secs(30));
    assert_eq!(cache.read(&outage.path, rows).unwrap(), [1]);
    let health = cache.health(&outage.path);
    assert_eq!((health.state, health.breaker), (HealthState::Healthy, BreakerState::Closed));

    let transitions: Vec<u64> = (world.events().iter())
        .filter_map(|kind| match kind {
            EventKind::BreakerTripped { generation, .. }
            | EventKind::BreakerHalfOpened { generation }
            | EventKind::BreakerRecovered { generation } => Some(*generation),
            _ => None,
        })
        .collect();
    assert_eq!(transitions, [1, 2, 3, 4, 5], "each transition once");
}

#[test]
fn opening_is_tried_a_few_times_within_a_call() {
    let outage = Outage::new();
    outage.cache.read(&outage.path, rows).unwrap_err();
    let retried = |attempt| EventKind::OpenRetried { attempt, code: 14 };
    assert_eq!(outage.world.events(), [retried(1), retried(2)]);
}

#[test]
fn failures_count_and_are_reset_by_a_success() {
    let world = World::new();
    let cache = world.cache();
    let fail = || {
        // The connection is discarded, and the next one cannot be opened.
        cache.read(world.path(), |_| Err::<(), _>(sqlite_failure(266))).unwrap_err();
        world.unreachable(|| cache.read(world.path(), rows)).unwrap_err()
    };
    for _ in 0..5 {
        assert!(!fail().is_breaker_open());
        cache.read(world.path(), rows).unwrap();
    }
    assert!(!fail().is_breaker_open());
    let fail_again = || world.unreachable(|| cache.read(world.path(), rows)).unwrap_err();
    assert!(!fail_again().is_breaker_open());
    assert!(!fail_again().is_breaker_open());
    assert!(fail_again().is_breaker_open());
}

#[test]
fn errors_that_are_not_outages_do_not_decide_a_probe() {
    let outage = Outage::new();
    outage.trip();
    outage.rename("away", "data");
    outage.world.os.advance(Duration::from_secs(30));
    let generation = || outage.cache.health(&outage.path).breaker_generation;
    outage.cache.read(&outage.path, |_| Err::<(), _>(sqlite_failure(5))).unwrap_err();
    assert_eq!(generation(), 2, "still half-open, with its permit back");
    outage.cache.read(&outage.path, rows).unwrap();
    assert_eq!(generation(), 3);
}

#[test]
fn callers_that_queued_behind_the_failing_one_do_not_try_again() {
    let outage = Outage::new();
    let attempts = |events: Vec<EventKind>| {
        events.iter().filter(|kind| matches!(kind, EventKind::OpenRetried { attempt: 1, .. })).count()
    };
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| outage.cache.read(&outage.path, rows).unwrap_err());
        }
    });
    assert_eq!(attempts(outage.world.events()), 3, "three failures trip; the other callers are refused");
}
