//! What the shim costs, in instructions per WAL commit.
//!
//! Times on a shared machine wander by more than the shim costs; instructions hardly do. The bench runs itself under
//! callgrind, for each variant with two numbers of commits: the difference is the commits' alone, without the setting
//! up and the closing. A share of an automatic checkpoint is in each commit, the same in every variant. Instructions
//! inside the kernel do not count.

mod variants;

use std::env;
use std::process::{Command, ExitCode, Stdio};
use variants::{Failure, RULES, Variant, Workload, Writer};

/// Numbers of commits whose difference is measured.
const COMMITS: [u64; 2] = [500, 1500];
/// The word by which the bench tells that it runs under callgrind.
const CHILD: &str = "--commit";

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let done = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [CHILD, workload, variant, commits] => commit(workload, variant, commits).map(|()| true),
        // `cargo test --benches` starts it without the flag; there is nothing to test.
        _ if !arguments.iter().any(|argument| argument == "--bench") => Ok(true),
        _ => compare_all(),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(failure) => {
            eprintln!("instructions: {failure}");
            ExitCode::FAILURE
        }
    }
}

/// The part that is measured.
fn commit(workload: &str, variant: &str, commits: &str) -> Result<(), Failure> {
    let workload = Workload::ALL.into_iter().find(|w| w.name() == workload).ok_or("no such workload")?;
    let variant = Variant::ALL.into_iter().find(|v| v.name() == variant).ok_or("no such variant")?;
    let mut writer = Writer::new(workload, variant)?;
    for _ in 0..commits.parse::<u64>()? {
        writer.commit()?;
    }
    writer.check()
}

/// Measures everything and prints the tables; false if a budget is exceeded.
fn compare_all() -> Result<bool, Failure> {
    if Command::new("valgrind").arg("--version").stdout(Stdio::null()).status().is_err() {
        println!(
            "instructions: skipped: valgrind is missing; its package is called valgrind (apt-get install valgrind)"
        );
        return Ok(true);
    }
    let mut is_within = true;
    for workload in Workload::ALL {
        is_within &= compare(workload)?;
    }
    Ok(is_within)
}

fn compare(workload: Workload) -> Result<bool, Failure> {
    println!("instructions per WAL commit, {} INSERT, synchronous=NORMAL, {} rules", workload.name(), RULES.len());
    println!("{:<14} {:>12} {:>10} {:>8}", "variant", "instructions", "more", "budget");
    let mut bare = None;
    let mut is_within = true;
    for variant in Variant::ALL {
        let per_commit = instructions_per_commit(workload, variant)?;
        let more_percent = (per_commit / *bare.get_or_insert(per_commit) - 1.0) * 100.0;
        let budget_percent = budget_percent(workload, variant);
        let is_exceeded = budget_percent.is_some_and(|budget| more_percent > budget);
        is_within &= !is_exceeded;
        let budget = budget_percent.map_or_else(String::new, |budget| format!("+{budget} %"));
        let verdict = if is_exceeded { "  exceeded" } else { "" };
        println!("{:<14} {per_commit:>12.0} {more_percent:>+8.2} % {budget:>8}{verdict}", variant.name());
    }
    Ok(is_within)
}

/// How many per cent of the bare VFS's instructions a variant may add to the application's commit.
const fn budget_percent(workload: Workload, variant: Variant) -> Option<f64> {
    match (workload, variant) {
        (Workload::Application, Variant::Disarmed) => Some(2.0),
        (Workload::Application, Variant::Tracing) => Some(10.0),
        _ => None,
    }
}

fn instructions_per_commit(workload: Workload, variant: Variant) -> Result<f64, Failure> {
    let [few, many] = COMMITS;
    let difference = instructions(workload, variant, many)?.checked_sub(instructions(workload, variant, few)?);
    let difference = difference.ok_or("more commits took fewer instructions")?;
    Ok(difference as f64 / (many - few) as f64)
}

fn instructions(workload: Workload, variant: Variant, commits: u64) -> Result<u64, Failure> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(env::current_exe()?)
        .args([CHILD, workload.name(), variant.name(), &commits.to_string()])
        .output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        return Err(format!("{} under callgrind: {}\n{said}", variant.name(), output.status).into());
    }
    collected(&said).ok_or_else(|| format!("callgrind did not say what it collected:\n{said}").into())
}

/// The figure in callgrind's `==PID== Collected : 123456`.
fn collected(said: &str) -> Option<u64> {
    let (_, rest) = said.lines().find_map(|line| line.split_once("Collected :"))?;
    rest.split_whitespace().next()?.parse().ok()
}
