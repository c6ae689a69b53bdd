//! The environment, the file of regressions, and checks that run at the same time.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

/// Starts this program for tests of [`child`](super::child), with these variables. Its sources are in `folder`, which
/// so gets its regressions.
fn start(filter: &str, folder: &Path, variables: &[(&str, &str)]) -> Output {
    let sources = folder.join("harness/tests/sim");
    fs::create_dir_all(&sources).unwrap();
    fs::write(sources.join("child.rs"), "").unwrap();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([filter, "--nocapture", "--test-threads=8"]).current_dir(folder);
    command.env("SIM_TEST_CHILD", "1").env("CARGO_MANIFEST_DIR", folder.join("harness")).env("RUST_BACKTRACE", "0");
    for name in ["SEAWALL_SEED", "SEAWALL_ITERATIONS", "SEAWALL_SECONDS", "SEAWALL_REPLAY"] {
        command.env_remove(name);
    }
    command.envs(variables.iter().copied()).output().unwrap()
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

const WALLET: &str = "child::no_money_is_lost";

#[test]
fn a_failure_is_kept_and_executed_first_and_its_line_repeats_it() {
    let folder = tempfile::tempdir().unwrap();
    let first = start(WALLET, folder.path(), &[]);
    let printed = text(&first);
    assert!(!first.status.success() && printed.contains("failed in execution 2, seed 0"), "{printed}");
    let kept = folder.path().join("harness/tests/sim/seawall-regressions/child.txt");
    let lines = fs::read_to_string(&kept).unwrap();
    assert!(printed.contains("kept in ") && lines.lines().last().unwrap().starts_with(WALLET), "{printed}{lines}");
    // The next time it comes first, and is not kept twice.
    let second = start(WALLET, folder.path(), &[]);
    let printed = text(&second);
    assert!(!second.status.success() && printed.contains("failed in an execution that was repeated"), "{printed}");
    assert_eq!(fs::read_to_string(&kept).unwrap(), lines);
    // What was printed repeats it, without the file.
    fs::remove_file(&kept).unwrap();
    let line = printed.lines().find(|line| line.starts_with("SEAWALL_REPLAY=")).unwrap();
    let replay = line.strip_prefix("SEAWALL_REPLAY=").unwrap().split(' ').next().unwrap();
    let third = start(WALLET, folder.path(), &[("SEAWALL_REPLAY", replay), ("SEAWALL_SEED", "7")]);
    assert!(!third.status.success() && text(&third).contains("that was repeated"), "{}", text(&third));
    assert!(!kept.exists());
    // Once the code is mended, it passes; and an execution of another test is not this one's.
    let mended = start(WALLET, folder.path(), &[("SEAWALL_REPLAY", replay), ("SIM_TEST_MENDED", "1")]);
    assert!(mended.status.success(), "{}", text(&mended));
}

#[test]
fn seed_and_iterations_come_from_the_environment_and_bad_values_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let seeded = start(WALLET, folder.path(), &[("SEAWALL_SEED", "12")]);
    assert!(text(&seeded).contains(", seed 12"), "{}", text(&seeded));
    let one = start(WALLET, tempfile::tempdir().unwrap().path(), &[("SEAWALL_ITERATIONS", "1")]);
    assert!(one.status.success(), "{}", text(&one));
    let timed = start(WALLET, folder.path(), &[("SEAWALL_SECONDS", "1"), ("SIM_TEST_MENDED", "1")]);
    assert!(timed.status.success(), "{}", text(&timed));
    for (name, value) in [("SEAWALL_SEED", "x"), ("SEAWALL_ITERATIONS", "0"), ("SEAWALL_REPLAY", "sim1.x.y")] {
        let refused = start(WALLET, folder.path(), &[(name, value)]);
        let expected = format!("{name}: `{value}` is ");
        assert!(!refused.status.success() && text(&refused).contains(&expected), "{}", text(&refused));
    }
}

#[test]
fn the_same_seeds_give_the_same_results_beside_each_other() {
    let folder = tempfile::tempdir().unwrap();
    let round = || {
        let output = start("child::eight_", folder.path(), &[]);
        assert!(output.status.success(), "{}", text(&output));
        let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
        // A line of the test runner may have begun before one of these.
        let told = |line: &str| {
            let begins = ["drawn ", "passed Passed", "failed "].iter().filter_map(|word| line.find(word)).min();
            begins.map(|begin| line[begin..].to_owned())
        };
        let mut lines: Vec<String> = stdout.lines().filter_map(told).collect();
        lines.sort();
        lines
    };
    let first = round();
    assert_eq!(first.len(), 8 * (40 + 2), "{first:#?}");
    for _ in 1..20 {
        assert_eq!(round(), first);
    }
}
