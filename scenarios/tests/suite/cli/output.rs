//! Results to standard output, everything else to standard error; nothing breaks where one of them is closed or full.

use super::{Answer, answer, command, run, scratch, soak, text};
use serde_json::Value;
use std::fs::File;
use std::process::Stdio;

const SMALL: [&str; 8] = ["--strategy", "percall,seawall", "--preset", "none", "--count", "1", "--seed", "5"];

const ESCAPE: char = '\u{1b}';

#[test]
fn lists_name_what_there_is_to_choose_from() {
    let all = run(&["list"]);
    assert_eq!((all.status, all.err.as_str()), (Some(0), ""));
    for heading in ["strategies", "faults", "presets", "oracles", "verdicts"] {
        assert!(all.out.lines().any(|line| line == heading), "{heading} is not in: {}", all.out);
    }
    #[track_caller]
    fn check(what: &str, names: &[&str]) {
        let human = run(&["list", what]);
        let listed: Vec<&str> = human.out.lines().filter_map(|line| line.split(' ').next()).collect();
        for name in names {
            assert!(listed.contains(name), "{name} is not in: {}", human.out);
        }
        let json = run(&["list", what, "--format", "json"]);
        let sections: Value = serde_json::from_str(&json.out).unwrap();
        assert_eq!(sections[0]["kind"], what);
        let items = sections[0]["items"].as_array().unwrap();
        assert_eq!(items.iter().map(|item| item["name"].as_str().unwrap()).collect::<Vec<_>>(), listed);
    }
    check("strategies", &["percall", "openhuman", "seawall", "seawall-store", "canary-ledger"]);
    check("faults", &["none", "shmmap-once", "cantopen-restart", "sigkill"]);
    check("actions", &["unlink-side-files", "move", "fork", "revoke"]);
    check("modifiers", &["when=3", "times=10", "until=5s"]);
    check("presets", &["disk-full", "flaky-shm", "power-loss"]);
    let oracles = ["integrity", "ledger", "atomicity", "isolation", "walindex", "progress", "hygiene", "economy"];
    check("oracles", &[&oracles[..], &["alarm"]].concat());
    check("verdicts", &["survived", "degraded", "lost", "corrupt", "not-measured"]);
    check("effects", &["error", "drop-locks", "power-cut"]);
    check("methods", &["open", "shmmap", "unfetch"]);
    check("roles", &["db", "wal", "shm", "journal"]);
    check("codes", &["CANTOPEN", "IOERR_SHMMAP", "BUSY_SNAPSHOT"]);
}

#[test]
fn completions_offer_the_commands_and_no_hidden_one() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let Answer { status, out, err } = run(&["completions", shell]);
        assert_eq!((status, err.as_str()), (Some(0), ""));
        for word in ["soak", "properties", "replay", "report", "list", "doctor", "completions", "fault-file", "canary"]
        {
            assert_eq!(out.contains(word), word != "canary", "{word} for {shell}");
        }
        for value in ["percall", "fsync-dropped", "mixed", "round-robin", "3.51.1", "breaker", "PERSIST", "immediate"] {
            // The generators of the other shells leave values out.
            assert!(out.contains(value) || !matches!(shell, "bash" | "zsh"), "{value} for {shell}");
        }
        assert!(!out.contains("started by seawall itself"), "the worker is no command for people: {shell}");
        assert!(!out.contains(" worker "), "{shell}");
    }
    let help = run(&["--help"]);
    assert!(help.out.starts_with("Fault injection and reproduction for SQLite\n"), "{}", help.out);
    assert!(!help.out.contains("\n  worker"), "{}", help.out);
}

#[test]
fn help_has_the_grammar_of_rules_and_a_row_shows_all_rules() {
    let help = run(&["soak", "--help"]).out;
    for word in ["shmmap", "journal", "drop-locks", "times=10", "seawall list"] {
        assert!(help.contains(word), "{word}\n{help}");
    }
    let rules = ["write@wal:error=FULL:when=3", "sync@db:error=IOERR_FSYNC:when=2..4"];
    let given = ["--strategy", "percall", "--count", "1", "--medium", "sim", "--fault", rules[0], "--fault", rules[1]];
    let out = soak(&given).out;
    for rule in rules {
        assert!(out.contains(rule), "{rule}\n{out}");
    }
    assert!(out.contains("1 verdict, as the expectation table says") || out.contains("1 run,"), "{out}");
}

#[test]
fn json_is_one_object_and_keeps_the_contract() {
    let Answer { status, out, err } = soak(&[&SMALL[..], &["--format", "json"]].concat());
    assert_eq!((status, err.as_str()), (Some(0), ""), "no bar where standard error is no terminal");
    assert_eq!(out.lines().count(), 1);
    let record: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((&record["schema"], &record["seed"]), (&Value::from(1), &Value::from("5")));
    assert!(record["sqlite"].as_str().unwrap().starts_with("3."));
    let matrix = record["matrix"].as_array().unwrap();
    assert_eq!(
        matrix.iter().map(|cell| cell["strategy"].as_str().unwrap()).collect::<Vec<_>>(),
        ["percall", "percall", "seawall", "seawall"]
    );
    let media: Vec<&str> = matrix.iter().map(|cell| cell["medium"].as_str().unwrap()).collect();
    assert_eq!(media, ["real", "sim", "real", "sim"]);
    for cell in matrix {
        for key in ["strategy", "fault", "medium", "verdict", "expected", "token"] {
            assert!(cell[key].is_string(), "{key} in {cell}");
        }
        for key in ["runs", "acked", "lost", "corrupt", "opens"] {
            assert!(cell[key].is_u64(), "{key} in {cell}");
        }
        assert_eq!(cell["fault"], "none");
        let token = cell["token"].as_str().unwrap();
        assert_eq!(token.parse::<seawall_harness::token::Token>().unwrap().to_string(), token);
    }
}

#[test]
fn colours_are_where_they_are_wanted() {
    #[track_caller]
    fn check(args: &[&str], no_color: bool, colored: bool) {
        let scratch = scratch();
        let mut command = command(&[args, &["soak", "--scratch", text(scratch.path())], &SMALL].concat());
        if no_color {
            command.env("NO_COLOR", "1");
        }
        assert_eq!(answer(command).out.contains(ESCAPE), colored, "{args:?}");
    }
    check(&[], false, false);
    check(&["--color", "always"], false, true);
    check(&["--color", "never"], false, false);
    check(&["--color", "auto"], true, false);
    let told = |args| run(args).err;
    assert!(told(&["--color", "always", "replay", "x"]).contains(ESCAPE));
    assert!(!told(&["replay", "x"]).contains(ESCAPE));
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let scratch = scratch();
    let small = [&["soak", "--scratch", text(scratch.path())], &SMALL[..]].concat();
    for args in [&["list", "codes"][..], &["completions", "bash"], &["--help"], &small] {
        let mut child = command(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert_eq!((output.status.code(), String::from_utf8_lossy(&output.stderr).as_ref()), (Some(0), ""), "{args:?}");
    }
}

#[test]
fn a_full_device_is_told_and_does_not_panic() {
    let full = || File::options().write(true).open("/dev/full").unwrap();
    let mut listing = command(&["list"]);
    listing.stdout(full());
    let told = answer_without_stdout(listing);
    assert_eq!(told.status, Some(2));
    assert_eq!(told.err, "error: cannot write to standard output: No space left on device (os error 28)\n");
    // With nowhere to say it, the exit status is left.
    let mut mute = command(&["replay", "hello"]);
    mute.stderr(full());
    assert_eq!(mute.status().unwrap().code(), Some(2));
    let mut mute = command(&["replay", "@/dev/null"]);
    mute.stderr(full());
    assert_eq!(mute.status().unwrap().code(), Some(4));
}

fn answer_without_stdout(mut command: std::process::Command) -> Answer {
    let output = command.stderr(Stdio::piped()).spawn().unwrap().wait_with_output().unwrap();
    Answer { status: output.status.code(), out: String::new(), err: String::from_utf8(output.stderr).unwrap() }
}

#[test]
fn properties_are_told_in_a_line_each_and_a_seed_plays_one_case() {
    let some = run(&["properties", "store", "breaker", "--count", "50", "--seed", "7", "--jobs", "2"]);
    assert_eq!((some.status, some.err.as_str()), (Some(0), ""));
    let names: Vec<&str> = some.out.lines().filter_map(|line| line.split(' ').next()).collect();
    assert_eq!(names, ["breaker", "store"], "{}", some.out);
    assert!(some.out.lines().all(|line| line.contains(" 50 cases ") && line.ends_with("ok, seed 7")), "{}", some.out);

    let json = run(&["properties", "registry", "--count", "1", "--format", "json"]);
    let report: Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!((report["property"].as_str(), report["cases"].as_u64()), (Some("registry"), Some(1)));
    assert!(report["failure"].is_null());

    let wrong = run(&["properties", "stores"]);
    assert_eq!(wrong.status, Some(2));
    assert!(wrong.err.contains("did you mean `store`"), "{}", wrong.err);
}
