//! A cleanup that unlinks a log loses committed rows, no integrity check finds it, and it repeats in every replay. A
//! strategy that does not unlink loses nothing.

use super::token;
use crate::support;
use seawall_harness::record::RunRecord;
use seawall_harness::seed::Seed;
use seawall_harness::token::{FaultName, Token};
use seawall_harness::verdict::Verdict;
use seawall_scenarios::run::shape::Schedule;
use seawall_scenarios::run::spec::RunSpec;
use serde_json::Value;
use std::process::Command;

fn execute(token: &Token) -> RunRecord {
    support::lab().execute(token).unwrap().record
}

fn is_silent_loss(record: &RunRecord) -> bool {
    record.verdict == Verdict::Lost && record.counts.lost > 0 && record.integrity_ok
}

/// The tokens of the first losses of `openhuman` in sequential runs with these numbers of processes.
fn losses(fault: &str, processes: std::ops::RangeInclusive<u16>) -> impl Iterator<Item = Token> {
    let tokens = (0..400).map(move |seed| token("openhuman", fault, Seed(seed)));
    let wanted = move |token: &Token| {
        let shape = RunSpec::of(token).unwrap().shape;
        shape.schedule == Schedule::Sequential && processes.contains(&shape.processes)
    };
    tokens.filter(wanted).filter(|token| execute(token).verdict == Verdict::Lost)
}

/// Of 16 starts after a crash, at least `losses_min` lose rows though every integrity check passes.
#[track_caller]
fn check_restart(fault: &str, losses_min: usize) {
    const STARTS: u64 = 16;
    let run = |strategy, seed| execute(&token(strategy, fault, Seed(seed)));
    let silent = (0..STARTS).filter(|seed| is_silent_loss(&run("openhuman", *seed))).count();
    assert!(silent >= losses_min, "{silent} silent losses under {fault}");
    for strategy in ["seawall", "percall"] {
        for seed in 0..STARTS {
            let record = run(strategy, seed);
            assert!(record.verdict <= Verdict::Degraded, "{}: {:?}", record.token, record.findings);
            assert_eq!((record.counts.lost, record.integrity_ok), (0, true), "{}", record.token);
        }
    }
}

#[test]
fn an_unlinked_log_is_lost_silently_and_a_kept_one_is_not() {
    check_restart("cantopen-restart", 8);
    check_restart("shmsize-restart", 2);
}

#[test]
fn a_found_loss_repeats_twenty_times_of_twenty() {
    let alone = losses("cantopen-restart", 1..=1).take(1);
    let together = losses("cantopen-burst", 2..=3).take(2);
    let found: Vec<Token> = alone.chain(together).collect();
    assert_eq!(found.len(), 3);
    for token in found {
        let first = execute(&token);
        assert!(first.trace_digest.is_some(), "{token}: the whole run fits the trace");
        for time in 1..20 {
            let again = execute(&token);
            let same = |record: &RunRecord| {
                let RunRecord { verdict, trace_digest, counts, findings, .. } = record.clone();
                (verdict, trace_digest, counts, findings)
            };
            assert_eq!(same(&again), same(&first), "{token}, time {time}");
        }
    }
}

#[test]
fn no_commit_behind_a_failed_sync_is_lost() {
    /// Lost transactions and the verdict of a simulated run, which is executed by a process of its own.
    fn replay(strategy: &str, seed: u64) -> (u64, String) {
        let fault = FaultName::Named("fsync-dropped".to_owned());
        let token = Token { strategy: strategy.to_owned(), fault, medium: "sim".to_owned(), seed: Seed(seed) };
        let output =
            Command::new(support::program()).args(["replay", "--format", "json", &token.to_string()]).output().unwrap();
        let record: Value = serde_json::from_slice(&output.stdout).unwrap();
        (record["counts"]["lost"].as_u64().unwrap(), record["verdict"].as_str().unwrap().to_owned())
    }
    // In each of these the layer lost rows before it wrote the log again.
    const LAYER: [u64; 6] = [
        0x630b_fbde_cd3e_f569,
        0xcfbe_c6ba_6ffd_3868,
        0xabd1_0db3_2a2e_3ef7,
        0x7602_059b_0ff7_a4d1,
        0xe044_395e_e021_a5bd,
        0x9f0e_6b8f_1cd0_0b24,
    ];
    for strategy in ["seawall", "seawall-store"] {
        for seed in LAYER {
            let (lost, verdict) = replay(strategy, seed);
            assert!(
                lost == 0 && ["survived", "degraded"].contains(&&*verdict),
                "{strategy} {seed:x}: {lost}, {verdict}"
            );
        }
    }
    // The fault is the one that plain SQLite loses rows to.
    for seed in [0xa6c6_0c25_bd5d_87f6, 0xaadd_5ca7_5282_7a5e, 0x9222_2596_bdef_962c] {
        assert!(replay("percall", seed).0 > 0, "{seed:x}");
    }
}
