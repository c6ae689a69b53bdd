//! Whole runs of `seawall`, with worker processes: a random workload under a random plan of faults that return errors.
//!
//! The seed draws processes, threads, scripts, restarts and the order of turns; the rules are drawn here. Both shrink.

use super::{config, regressions, rules};
use crate::support::lab;
use proptest::prelude::*;
use seawall_harness::record::RunRecord;
use seawall_harness::seed::Seed;
use seawall_harness::token::{FaultName, Token};
use seawall_harness::verdict::Verdict;
use std::fs;
use std::path::Path;

/// Tokens of runs that failed once, one in each line; `#` begins a comment. A token stays valid if this file draws
/// other rules.
const TOKENS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/regressions/tokens.txt");

fn execute(token: &Token) -> RunRecord {
    lab().record(token, false).unwrap_or_else(|error| panic!("{token}: {error}"))
}

/// What is wrong with a run, or nothing.
fn complaint(token: &Token, record: &RunRecord) -> Option<String> {
    // Refused service is no failure under rules as wide as these, nor is a run in which none of them fired.
    if matches!(record.verdict, Verdict::Survived | Verdict::Degraded | Verdict::NotMeasured) {
        return None;
    }
    let rules: Vec<String> =
        record.rules.iter().map(|rule| format!("{}: fired {} times", rule.rule, rule.fired)).collect();
    let findings: Vec<String> =
        record.findings.iter().map(|finding| format!("{}: {}", finding.oracle, finding.detail)).collect();
    Some(format!(
        "{}, {:?}\n{}\n{}\nreplay: seawall replay {token}",
        record.verdict,
        record.topology,
        rules.join("\n"),
        findings.join("\n")
    ))
}

proptest! {
    #![proptest_config(config(200, regressions!("scenario")))]

    #[test]
    fn seawall_survives_any_plan_of_reported_faults(
        rules in prop_oneof![1 => Just(Vec::new()), 9 => prop::collection::vec(rules::trouble(), 1..4)],
        seed in any::<u32>(),
    ) {
        let token = Token {
            strategy: "seawall".to_owned(),
            fault: FaultName::Rules(rules),
            medium: "real".to_owned(),
            seed: Seed(seed.into()),
        };
        if let Some(complaint) = complaint(&token, &execute(&token)) {
            return Err(TestCaseError::fail(complaint));
        }
    }
}

#[test]
fn runs_that_failed_once_pass() {
    let text = if Path::new(TOKENS).exists() { fs::read_to_string(TOKENS).expect("the tokens") } else { String::new() };
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    for line in lines {
        let token: Token = line.parse().unwrap_or_else(|error| panic!("{error}"));
        if let Some(complaint) = complaint(&token, &execute(&token)) {
            panic!("{complaint}");
        }
    }
}
