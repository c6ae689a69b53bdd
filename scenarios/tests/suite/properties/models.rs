//! The properties of `seawall properties`, with fewer cases. `PROPTEST_CASES` sets their number. The list has the seeds
//! that failed once.

use super::config;
use seawall_harness::seed::Seed;
use seawall_scenarios::properties::{self, ALL};

/// Seeds to execute first, by property.
const KEPT: [(&str, u64); 0] = [];

#[track_caller]
fn check(name: &str, cases: u32) {
    let property = *ALL.iter().find(|property| property.name == name).expect("a property of this name");
    for (_, seed) in KEPT.iter().filter(|(kept, _)| *kept == name) {
        (property.case)(Seed(*seed)).unwrap_or_else(|example| panic!("seed {seed}: {example}"));
    }
    let cases = u64::from(config(cases, "").cases);
    let base = Seed(0x5ea).stream("suite");
    properties::run(property, base, cases, 2, &|_| {}).unwrap_or_else(|failure| panic!("{failure}"));
}

#[test]
fn the_breaker_agrees_with_its_model() {
    check("breaker", 20_000);
}

#[test]
fn the_registry_agrees_with_its_model() {
    check("registry", 500);
}

#[test]
fn the_store_keeps_its_promises_under_faults_kills_and_misuse() {
    check("store", 500);
}
