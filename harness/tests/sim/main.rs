//! Checks of user code in the simulator: what they find, what they print, and the traps that they name.

mod child;
mod crashes;
mod environment;
mod examples;
mod races;
mod threads;
mod traps;
mod wallet;

use seawall_harness::sim::{self, Check, Failure, World};
use std::fmt;

/// A check of a planted defect: it leaves no file of regressions behind.
#[track_caller]
fn planted() -> Check {
    Check::new().without_regressions()
}

/// The failure that a planted defect must lead to.
#[track_caller]
fn found<A: fmt::Debug + 'static>(check: Check, test: impl Fn(&mut World<A>) + Send + 'static) -> Failure {
    match check.search(test) {
        Ok(passed) => panic!("not found: {passed:?}"),
        Err(failure) => *failure,
    }
}

/// An invariant of two values.
#[track_caller]
fn equal<T: PartialEq + fmt::Debug>(left: T, right: T) -> sim::Result {
    assert_eq!(left, right);
    Ok(())
}

/// An invariant of one condition.
#[track_caller]
fn holds(condition: bool) -> sim::Result {
    assert!(condition);
    Ok(())
}
