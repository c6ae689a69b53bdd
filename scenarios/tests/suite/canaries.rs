//! The canaries, end to end: each planted defect is executed by real processes and in the simulator, and its oracle
//! finds it.

use crate::acceptance::token;
use crate::support;
use seawall_harness::record::RunRecord;
use seawall_harness::seed::Seed;
use seawall_harness::token::Token;
use seawall_harness::verdict::Verdict;
use seawall_scenarios::run::shape::{RunShape, Schedule};
use seawall_scenarios::run::spec::{REAL, RunSpec, SIM};

/// How many runs of each schedule a strategy gets.
const RUNS: usize = 3;

/// The oracle of each planted defect, and the verdict.
const DEFECTS: [(&str, Verdict); 7] = [
    ("integrity", Verdict::Corrupt),
    ("ledger", Verdict::Lost),
    ("atomicity", Verdict::Corrupt),
    ("progress", Verdict::Wedged),
    ("hygiene", Verdict::Degraded),
    ("economy", Verdict::Degraded),
    ("alarm", Verdict::FalseAlarm),
];

/// Seeds of one schedule with no restart and enough steps for a defect at the tenth call.
fn seeds(schedule: Schedule) -> impl Iterator<Item = Seed> {
    let is_long_enough = |shape: &RunShape| shape.restarts.is_empty() && shape.steps * u32::from(shape.threads) >= 20;
    let shape = |seed: Seed| RunSpec::of(&token("percall", "none", seed)).unwrap().shape;
    (0..).map(Seed).filter(move |seed| {
        let shape = shape(*seed);
        shape.schedule == schedule && is_long_enough(&shape)
    })
}

fn runs(strategy: &str, schedule: Schedule) -> Vec<RunRecord> {
    let lab = support::lab();
    let run = |seed| lab.execute(&token(strategy, "none", seed)).unwrap().record;
    seeds(schedule).take(RUNS).map(run).collect()
}

fn is_found_by(record: &RunRecord, oracle: &str, verdict: Verdict) -> bool {
    record.findings.iter().any(|finding| finding.oracle == oracle && finding.verdict == verdict)
}

/// Its own oracle finds the defect, and nothing worse is found.
#[track_caller]
fn assert_caught(record: &RunRecord, oracle: &str, verdict: Verdict) {
    assert_eq!(record.verdict, verdict, "{}: {:?}", record.token, record.findings);
    assert!(is_found_by(record, oracle, verdict), "{}: {:?}", record.token, record.findings);
}

/// In every run.
#[track_caller]
fn check(oracle: &str, verdict: Verdict) {
    for schedule in [Schedule::Sequential, Schedule::Racing] {
        for record in runs(&format!("canary-{oracle}"), schedule) {
            assert_caught(&record, oracle, verdict);
        }
    }
}

/// The same in the simulator.
#[track_caller]
fn check_simulated(oracle: &str, verdict: Verdict) {
    let lab = support::lab();
    for seed in seeds(Schedule::Sequential).take(RUNS) {
        let token = Token { medium: SIM.to_owned(), ..token(&format!("canary-{oracle}"), "none", seed) };
        let record = lab.record(&token, false).unwrap();
        assert_caught(&record, oracle, verdict);
    }
}

#[test]
fn each_defect_is_caught_by_its_oracle_in_every_run() {
    DEFECTS.iter().for_each(|(oracle, verdict)| check(oracle, *verdict));
}

#[test]
fn each_defect_is_caught_in_the_simulator() {
    DEFECTS.iter().for_each(|(oracle, verdict)| check_simulated(oracle, *verdict));
}

/// What is found in the runs of a strategy under a fault, in the simulator.
fn findings(strategy: &str, fault: &str, runs: u64) -> Vec<RunRecord> {
    let lab = support::lab();
    let token = |seed| Token { medium: SIM.to_owned(), ..token(strategy, fault, Seed(seed)) };
    (0..runs)
        .map(|seed| lab.record(&token(seed), false).unwrap())
        .filter(|record| record.verdict > Verdict::Wedged)
        .collect()
}

#[test]
fn strategies_that_know_too_little_of_their_files_are_caught_under_outsiders() {
    for (strategy, fault) in [
        ("canary-log-identity", "unlink-side-files"),
        ("canary-log-identity", "drop-locks"),
        ("canary-orphan", "move"),
        ("canary-successor", "move"),
        ("canary-successor", "delete"),
    ] {
        assert!(!findings(strategy, fault, 100).is_empty(), "{strategy} under {fault}");
        assert_eq!(findings(strategy, "none", 5).len(), 0, "{strategy}");
    }
}

#[test]
fn a_log_that_grows_beside_overlapping_reads_is_caught() {
    let lab = support::lab();
    for medium in [REAL, SIM] {
        let token = Token { medium: medium.to_owned(), ..token("percall", "overlapping-reads", Seed(1)) };
        assert_caught(&lab.record(&token, false).unwrap(), "growth", Verdict::Degraded);
    }
}

#[test]
fn a_strategy_without_a_defect_survives_where_nothing_fails() {
    for strategy in ["percall", "openhuman", "seawall", "seawall-store"] {
        for schedule in [Schedule::Sequential, Schedule::Racing] {
            for record in runs(strategy, schedule) {
                assert_eq!(record.verdict, Verdict::Survived, "{}: {:?}", record.token, record.findings);
                assert_eq!((record.findings.len(), record.counts.lost, record.integrity_ok), (0, 0, true));
                assert!(record.counts.acked > 0 && record.errors.is_empty(), "{}", record.token);
            }
        }
    }
}
