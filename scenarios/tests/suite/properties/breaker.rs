//! The circuit breaker against its model. `PROPTEST_CASES` sets the number of cases here as everywhere; a failing seed
//! that is worth keeping goes into the list.

use seawall_harness::seed::Seed;
use seawall_lab::properties::{self, ALL, Property};

use super::config;

/// Seeds to try first.
const KEPT: [u64; 0] = [];

fn breaker() -> Property {
    *ALL.iter().find(|property| property.name == "breaker").expect("the breaker has a property")
}

#[test]
fn the_breaker_agrees_with_its_model() {
    for seed in KEPT {
        (breaker().case)(Seed(seed)).unwrap_or_else(|story| panic!("seed {seed}: {story}"));
    }
    let cases = u64::from(config(20_000, "").cases);
    let base = Seed(0x5ea).stream("suite");
    properties::run(breaker(), base, cases, 2, &|_| {}).unwrap_or_else(|failure| panic!("{failure}"));
}
