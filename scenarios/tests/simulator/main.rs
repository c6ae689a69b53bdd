//! Simulated runs in the process of the tests. There is one simulator in a process at a time, so these tests take
//! turns, and they have a binary of their own.

#[path = "../../examples/store.rs"]
mod store;
mod sweep;
mod toy;

use rusqlite::Connection;
use seawall_harness::engine::Engine;
use seawall_harness::sched::sync;
use seawall_harness::seed::Seed;
use seawall_harness::shrink::{Bench as _, Limits, shrink};
use seawall_harness::token::{FaultName, Token};
use seawall_harness::verdict::Verdict;
use seawall_scenarios::expectations::Expectations;
use seawall_scenarios::explore::{Case, Explorer, Plain};
use seawall_scenarios::run::Runner;
use seawall_scenarios::run::simulated::Simulator;
use seawall_scenarios::run::simulated::case::RunCase;
use seawall_scenarios::run::simulated::shrink::RunBench;
use seawall_scenarios::run::spec::{RunSpec, SIM};
use seawall_scenarios::strategies::{Context, Entry, Failure, Strategy, Work};
use seawall_scenarios::{faults, scratch, strategies};
use std::path::Path;
use std::sync::{Mutex, MutexGuard};

static TURN: Mutex<()> = Mutex::new(());

fn simulator() -> (MutexGuard<'static, ()>, Simulator) {
    let turn = TURN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    (turn, Simulator::new().unwrap())
}

fn spec(strategy: &str, fault: &str, seed: Seed) -> RunSpec {
    let fault = FaultName::Named(fault.to_owned());
    RunSpec::of(&Token { strategy: strategy.to_owned(), fault, medium: SIM.to_owned(), seed }).unwrap()
}

/// Runs of all strategies under all faults.
fn specs(seed: Seed, each: u64) -> impl Iterator<Item = RunSpec> {
    let strategies = ["percall", "openhuman", "seawall", "seawall-store"];
    let faults = faults::matrix().into_iter().filter(|fault| fault.works_on(true));
    faults.flat_map(move |fault| {
        let spec = move |strategy: &str, nth| spec(strategy, &fault.title, seed.stream(&fault.title).nth(nth));
        strategies
            .into_iter()
            .flat_map(|strategy| (0..each).map(move |nth| (strategy, nth)))
            .map(move |(strategy, nth)| spec(strategy, nth))
            .collect::<Vec<_>>()
    })
}

#[test]
fn a_store_keeps_what_plain_sqlite_loses_when_an_outsider_unlinks_the_log() {
    let _turn = TURN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let printed = store::run();
    assert!(printed.starts_with("plain SQLite:\n\nstore failed in execution "), "{printed}");
    assert!(printed.contains("an outsider unlinks app.db-wal and app.db-shm, before write@wal of p"), "{printed}");
    assert!(printed.contains("\nstore: 1000 executions, no row lost, "), "{printed}");
}

#[test]
fn a_run_repeats_call_by_call_and_so_does_its_recorded_schedule() {
    let (_turn, mut simulator) = simulator();
    let mut preemptions = 0;
    for spec in specs(Seed(1), 1) {
        let first = simulator.run(&spec, None, true).unwrap();
        let again = simulator.run(&spec, None, true).unwrap();
        assert_eq!(first.record, again.record, "{}", spec.token);
        assert_eq!(first.calls, again.calls, "{}", spec.token);
        let replayed = simulator.run(&spec, Some(&first.execution.preemptions), true).unwrap();
        assert_eq!(first.record, replayed.record, "{}", spec.token);
        assert_eq!(first.execution, replayed.execution, "{}", spec.token);
        preemptions += first.execution.preemptions.len();
    }
    assert!(preemptions > 300, "{preemptions}");
}

/// The code of a killed process runs on for some calls. They do not count for the rules.
#[test]
fn no_rule_fires_in_a_dead_process() {
    let (_turn, mut simulator) = simulator();
    let mut kills = 0;
    for number in 0..8 {
        let fault = FaultName::Rules(vec!["shmlock@shm:kill:when=9..16".to_owned()]);
        let token = Token { strategy: "percall".to_owned(), fault, medium: SIM.to_owned(), seed: Seed(number) };
        let mut spec = RunSpec::of(&token).unwrap();
        spec.shape.restarts.clear();
        let counts = simulator.run(&spec, None, false).unwrap().record.counts;
        assert_eq!(counts.faults_fired, counts.kills, "{token}");
        kills += counts.kills;
    }
    assert!(kills > 20, "{kills}");
}

#[test]
fn another_schedule_is_another_run() {
    let (_turn, mut simulator) = simulator();
    let spec = (0..).map(|n| spec("seawall", "sigkill", Seed(n))).find(|spec| spec.shape.threads == 2).unwrap();
    let first = simulator.run(&spec, None, false).unwrap();
    assert!(!first.execution.preemptions.is_empty());
    let other = simulator.run(&spec, Some(&[]), false).unwrap();
    assert_ne!(first.record.trace_digest, other.record.trace_digest);
}

#[test]
fn nothing_is_lost_but_what_the_table_expects_and_something_by_openhuman() {
    let (_turn, mut simulator) = simulator();
    let table = Expectations::reviewed();
    let mut lost = 0;
    for spec in specs(Seed(2), 2) {
        let record = simulator.run(&spec, None, false).unwrap().record;
        if spec.strategy.name == "openhuman" {
            lost += record.counts.lost;
        } else {
            let expected = table.of(spec.strategy.name, &record.fault, SIM);
            let is_expected = table.is_expected(&expected, record.verdict, 1);
            assert!(is_expected, "{}: {:?}", record.token, record.findings);
        }
    }
    assert!(lost > 0);
}

#[test]
fn a_loss_shrinks_to_a_handful_of_steps_and_happens_on_real_files_as_well() {
    let (_turn, mut simulator) = simulator();
    let lab = Runner::of_program(scratch::default_folder(), Path::new(env!("CARGO_BIN_EXE_seawall")));
    let mut confirmed = 0;
    for fault in ["cantopen-restart", "shmsize-restart", "cantopen-burst", "shmsize-flaky"] {
        let mut losing = (0..).map(|number| spec("openhuman", fault, Seed(number))).filter(|spec| {
            simulator
                .run(spec, None, false)
                .unwrap()
                .record
                .findings
                .first()
                .is_some_and(|first| first.oracle == "ledger")
        });
        let spec = losing.next().unwrap();
        drop(losing);
        let (mut bench, first) = RunBench::new(&mut simulator, RunCase::of(&spec, None), Limits::default()).unwrap();
        let small = shrink(&mut bench, first.clone()).unwrap();
        let executions = bench.executions();
        drop(bench);
        assert!(small.schedule.len() <= 3 && small.steps.len() <= 6, "{fault}, {executions} executions: {small:?}");
        let again = simulator.run(&small.spec(false).unwrap(), Some(&small.schedule), false).unwrap().record;
        assert_eq!((&again.findings, &again.trace_digest), (&small.findings, &small.digest));
        let folder = tempfile::tempdir().unwrap();
        small.write(&folder.path().join("case.json")).unwrap();
        assert_eq!(RunCase::read(&folder.path().join("case.json")).unwrap(), small);
        confirmed += u32::from(lab.execute_on_real_files(&small).unwrap().record.verdict >= Verdict::Lost);
        eprintln!(
            "{fault}: {} preemptions, {} steps, {executions} executions; {confirmed}",
            small.schedule.len(),
            small.steps.len()
        );
    }
    assert!(confirmed >= 3, "{confirmed} of 4");
}

/// Takes two locks, in an order that depends on the call.
struct Crossing {
    locks: [sync::Mutex<()>; 2],
    calls: std::sync::atomic::AtomicUsize,
    context: Context,
}

impl Strategy for Crossing {
    fn with_connection(&self, work: &mut Work<'_>) -> Result<(), Failure> {
        let first = self.calls.fetch_add(1, std::sync::atomic::Ordering::Relaxed) % 2;
        let _first = self.locks[first].lock();
        let mut connection = Connection::open_with_flags_and_vfs(
            &self.context.path,
            rusqlite::OpenFlags::default(),
            self.context.vfs.as_str(),
        )?;
        self.context.init_schema(&connection)?;
        let _second = self.locks[1 - first].lock();
        Ok(work(&mut connection)?)
    }

    fn close(&self) -> Result<(), Failure> {
        Ok(())
    }
}

static CROSSING: Entry = Entry {
    name: "percall",
    summary: "a canary",
    promise: None,
    is_canary: true,
    is_layer: false,
    build: |context| Box::new(Crossing { locks: Default::default(), calls: Default::default(), context }),
};

#[test]
fn canary_threads_that_wait_for_each_other_are_wedged_and_the_next_run_is_not_disturbed() {
    let (_turn, mut simulator) = simulator();
    let mut wedged = 0;
    for number in 0..20 {
        let healthy = spec("percall", "none", Seed(number));
        let before = simulator.run(&healthy, None, false).unwrap().record;
        let record = simulator.run(&RunSpec { strategy: &CROSSING, ..healthy.clone() }, None, false).unwrap().record;
        if record.verdict == Verdict::Wedged {
            let finding = &record.findings[0];
            assert!(finding.oracle == "progress" && finding.detail.contains("wait for each other"), "{finding:?}");
            wedged += 1;
        }
        assert_eq!(simulator.run(&healthy, None, false).unwrap().record, before, "after {:?}", record.verdict);
    }
    assert!(wedged >= 5, "{wedged}");
}

/// The bench `simulator` compares the same SQL: equally many statements, and files of the same bytes.
#[test]
fn plain_executions_do_what_the_simulator_does_without_preemptions() {
    let _turn = TURN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let engine = Engine::linked();
    let mut explorer = Explorer::new(engine.clone(), false).unwrap();
    let mut statements = 0;
    let mut check = |case: &Case| {
        let outcome = explorer.execute(case).unwrap();
        let simulated = explorer.database().unwrap();
        let plain = Plain::new(&mut explorer, case, &scratch::default_folder()).unwrap();
        assert_eq!(plain.execute(&engine).unwrap(), outcome.statements, "{:#x}", case.seed.0);
        assert!(std::fs::read(plain.database()).unwrap() == simulated, "{:#x}", case.seed.0);
        statements += outcome.statements;
    };
    for seed in 0..60 {
        let case = Case::draw("mixed", engine.version(), "rare", &[], Seed(seed)).unwrap();
        check(&case.with_preemptions(&[]));
        let actor = case.actors[0].clone();
        check(&Case { actors: vec![actor], ..case });
    }
    assert!(statements > 10_000, "{statements}");
}

/// The example of `docs/contributing/strategy.md`.
#[test]
fn the_toy_strategy_of_the_page_survives_the_matrix() {
    static TOY: Entry = toy::ENTRY;
    const PAGE: &str = include_str!("../../../docs/contributing/strategy.md");
    assert!(PAGE.contains(&format!("```rust\n{}```\n", include_str!("toy.rs"))), "the page shows another file");
    let (_turn, mut simulator) = simulator();
    for fault in faults::matrix().into_iter().filter(|fault| fault.works_on(true)) {
        for nth in 0..4 {
            let spec = RunSpec { strategy: &TOY, ..spec("percall", &fault.title, Seed(nth)) };
            if spec.faults.disturbs_files() {
                // What an outsider takes away is gone.
                continue;
            }
            let record = simulator.run(&spec, None, false).unwrap().record;
            assert!(record.verdict <= Verdict::Degraded, "{}: {:?}", record.token, record.findings);
            assert!(fault.title != "none" || record.verdict == Verdict::Survived, "{:?}", record.findings);
        }
    }
}
