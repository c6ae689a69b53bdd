//! The simulator with all its oracles against the same SQL without it: one connection after the other, on the
//! platform's VFS, on tmpfs, with `synchronous = OFF`, and nothing of ours.
//!
//! The two take turns of a few cases each, the same cases, so that what else goes on in the machine hits both, and the
//! ratio is the median of the turns'. Both have what else they need made for them beforehand: the cases, and the plain
//! one its files, which it need not remove either. Waiting for a processor is in the times and not in the CPU seconds.

use seawall_harness::engine::Engine;
use seawall_harness::sched::POLICIES;
use seawall_harness::seed::Seed;
use seawall_scenarios::explore::{Case, ExploreError, Explorer, Plain};
use seawall_scenarios::scratch;
use std::hint::black_box;
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;
use std::{env, fs};

type Failure = Box<dyn std::error::Error>;

/// Cases, by default.
const CASES: u64 = 1000;
/// Cases in a turn.
const TURN: u64 = 20;
/// Turns that are taken before measuring begins.
const WARM_UP: u64 = 2;
/// Cases are those of `seawall explore mixed --seed 1`.
const SEED: Seed = Seed(1);
/// `USER_HZ`: how many of the ticks in `/proc` make a second. It is 100 wherever Linux runs.
const TICKS_PER_SECOND: f64 = 100.0;

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    // `cargo test --benches` starts it without the flag; there is nothing to test.
    if !arguments.iter().any(|argument| argument == "--bench") {
        return ExitCode::SUCCESS;
    }
    let cases = arguments.iter().find_map(|argument| argument.parse().ok()).unwrap_or(CASES);
    match compare(cases) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("simulator: {failure}");
            ExitCode::FAILURE
        }
    }
}

/// What one of the two has done.
#[derive(Default)]
struct Tally {
    /// Seconds of each turn.
    turns: Vec<f64>,
    user_seconds: f64,
    system_seconds: f64,
    statements: u64,
}

impl Tally {
    fn turn(&mut self, work: impl FnOnce() -> Result<u64, Failure>) -> Result<(), Failure> {
        let (user, system) = cpu_seconds()?;
        let start = Instant::now();
        self.statements += black_box(work()?);
        self.turns.push(start.elapsed().as_secs_f64());
        let (user_then, system_then) = cpu_seconds()?;
        self.user_seconds += user_then - user;
        self.system_seconds += system_then - system;
        Ok(())
    }

    fn seconds(&self) -> f64 {
        self.turns.iter().sum()
    }

    fn print(&self, name: &str, cases: u64) {
        let milliseconds = |seconds: f64| seconds * 1e3 / cases as f64;
        println!(
            "{name:<24} {:>12.0} {:>10.3} {:>10.3} {:>10.3} {:>12.1} {:>14.0}",
            cases as f64 / self.seconds(),
            milliseconds(self.seconds()),
            milliseconds(self.user_seconds),
            milliseconds(self.system_seconds),
            self.statements as f64 / cases as f64,
            self.statements as f64 / self.seconds(),
        );
    }
}

/// What the simulator has done beside that.
#[derive(Default)]
struct Simulated {
    tally: Tally,
    calls: u64,
    preemptions: usize,
    acked: u64,
}

impl Simulated {
    fn turn(&mut self, explorer: &mut Explorer, cases: &[Case]) -> Result<(), Failure> {
        let Self { tally, calls, preemptions, acked } = self;
        tally.turn(|| {
            let mut statements = 0;
            for case in cases {
                let outcome = explorer.execute(case)?;
                if let Some(finding) = outcome.findings.first() {
                    return Err(format!("seed {:#x}: {}: {}", case.seed.0, finding.oracle, finding.detail).into());
                }
                statements += outcome.statements;
                *calls += outcome.execution.calls;
                *preemptions += outcome.execution.preemptions.len();
                *acked += outcome.acked;
            }
            Ok(statements)
        })
    }
}

fn turn(engine: &Engine, explorer: &mut Explorer, tally: &mut Tally, cases: &[Case]) -> Result<(), Failure> {
    let folder = scratch::default_folder();
    let plain: Result<Vec<Plain>, ExploreError> =
        cases.iter().map(|case| Plain::new(explorer, case, &folder)).collect();
    let plain = plain?;
    tally.turn(|| {
        let mut statements = 0;
        for case in &plain {
            statements += case.execute(engine)?;
        }
        Ok(statements)
    })
}

fn compare(cases: u64) -> Result<(), Failure> {
    let engine = Engine::linked();
    let mut explorer = Explorer::new(engine.clone(), false)?;
    let policy = POLICIES[0].name;
    let (mut simulated, mut plain) = (Simulated::default(), Tally::default());
    for number in 0..WARM_UP + cases.div_ceil(TURN) {
        if number == WARM_UP {
            (simulated, plain) = (Simulated::default(), Tally::default());
        }
        let seeds = (0..TURN).map(|case| SEED.nth(number * TURN + case));
        let cases: Result<Vec<Case>, ExploreError> =
            seeds.map(|seed| Case::draw("mixed", engine.version(), policy, &[], seed)).collect();
        let cases = cases?;
        // Who comes second may find caches warm.
        if number.is_multiple_of(2) {
            simulated.turn(&mut explorer, &cases)?;
            turn(&engine, &mut explorer, &mut plain, &cases)?;
        } else {
            turn(&engine, &mut explorer, &mut plain, &cases)?;
            simulated.turn(&mut explorer, &cases)?;
        }
    }
    report(&engine, &simulated, &plain);
    Ok(())
}

fn report(engine: &Engine, simulated: &Simulated, plain: &Tally) {
    let Simulated { tally, calls, preemptions, acked } = simulated;
    let cases = tally.turns.len() as u64 * TURN;
    let folder = scratch::describe(Path::new(&scratch::default_folder()));
    println!("{cases} cases of `mixed`, policy {}, {engine}, in turns of {TURN}; files in {folder}", POLICIES[0].name);
    println!(
        "{:<24} {:>12} {:>10} {:>10} {:>10} {:>12} {:>14}",
        "", "executions/s", "ms each", "user ms", "system ms", "statements", "statements/s"
    );
    tally.print("simulator, all oracles", cases);
    plain.print("tmpfs, synchronous=OFF", cases);
    let per_case = |count: f64| count / cases as f64;
    println!(
        "in the simulator, each: {:.0} VFS calls, {:.1} preemptions, {:.1} acknowledged commits",
        per_case(*calls as f64),
        per_case(*preemptions as f64),
        per_case(*acked as f64),
    );
    let cpu = |tally: &Tally| tally.user_seconds + tally.system_seconds;
    println!(
        "VFS calls in the simulator: {:.2} million a second, {:.2} million a CPU second (target: 2)",
        *calls as f64 / tally.seconds() / 1e6,
        *calls as f64 / cpu(tally) / 1e6,
    );
    let mut ratios: Vec<f64> = plain.turns.iter().zip(&tally.turns).map(|(plain, tally)| plain / tally).collect();
    ratios.sort_by(f64::total_cmp);
    let quantile = |of_4: usize| ratios[(ratios.len() - 1) * of_4 / 4];
    println!(
        "quartiles of the turns' ratios {:.2} and {:.2}; by CPU seconds {:.2} (target: more than 1)",
        quantile(1),
        quantile(3),
        cpu(plain) / cpu(tally)
    );
    println!("simulator : tmpfs = {:.2} (executions per second)", quantile(2));
}

/// The CPU seconds that this process has used, in user mode and in the kernel.
fn cpu_seconds() -> Result<(f64, f64), Failure> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    // The second field is the program's name in parentheses, with whatever is in it.
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
    let seconds = |field: usize| -> Result<f64, Failure> {
        let ticks: f64 = fields.get(field - 3).ok_or("/proc/self/stat is too short")?.parse()?;
        Ok(ticks / TICKS_PER_SECOND)
    };
    Ok((seconds(14)?, seconds(15)?))
}
