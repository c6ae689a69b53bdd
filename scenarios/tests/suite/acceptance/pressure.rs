//! Two processes of four threads each, all at once, with processes killed at calls and between them.

use super::token;
use crate::support;
use seawall_harness::seed::Seed;
use seawall_harness::verdict::Verdict;
use seawall_scenarios::run::shape::Schedule;
use seawall_scenarios::run::spec::RunSpec;

const RUNS: usize = 24;

#[test]
fn under_pressure_and_sigkill_nothing_acknowledged_is_lost() {
    let lab = support::lab();
    let crowded = |seed: &Seed| {
        let shape = RunSpec::of(&token("seawall", "sigkill", *seed)).unwrap().shape;
        (shape.schedule, shape.processes, shape.threads) == (Schedule::Racing, 2, 4)
    };
    let (mut acked, mut kills) = (0, 0);
    for seed in (0..).map(Seed).filter(crowded).take(RUNS) {
        let record = lab.execute(&token("seawall", "sigkill", seed)).unwrap().record;
        assert!(record.verdict <= Verdict::Degraded, "{}: {:?}", record.token, record.findings);
        assert_eq!((record.counts.lost, record.integrity_ok), (0, true), "{}", record.token);
        assert!(record.findings.is_empty(), "{}: {:?}", record.token, record.findings);
        acked += record.counts.acked;
        kills += record.counts.kills;
    }
    assert!(acked >= 15 * RUNS as u64 && kills >= RUNS as u64, "{acked} acknowledged, {kills} killed");
}
