//! Bad input: exit status 2, nothing on standard output, one clear error that says where and what instead.

use super::{Answer, listing, run, scratch, text};
use crate::acceptance::token;
use seawall_harness::seed::Seed;
use seawall_harness::token::{FaultName, Token};
use std::fs;
use std::os::unix::fs::PermissionsExt;

/// The whole of standard error.
#[track_caller]
fn check(args: &[&str], message: &[&str]) {
    let Answer { status, out, err } = run(args);
    let expected = message.join("\n") + "\n";
    assert_eq!((status, out.as_str(), err.as_str()), (Some(2), "", expected.as_str()), "{args:?}");
}

/// An error of one line, with these parts in it.
#[track_caller]
fn check_line(args: &[&str], parts: &[&str]) -> String {
    let Answer { status, out, err } = run(args);
    assert_eq!((status, out.as_str()), (Some(2), ""), "{args:?}: {err}");
    assert!(err.starts_with("error: ") && err.trim_end().lines().count() == 1, "{err}");
    for part in parts {
        assert!(err.contains(part), "`{part}` is not in: {err}");
    }
    err
}

/// An error of the argument parser, which adds a hint at `--help`.
#[track_caller]
fn check_argument(args: &[&str], first_line: &str) {
    let Answer { status, out, err } = run(args);
    assert_eq!((status, out.as_str()), (Some(2), ""), "{args:?}");
    assert_eq!(err.lines().next(), Some(first_line));
    assert!(err.contains("--help"), "{err}");
}

#[test]
fn a_mistyped_name_gets_the_nearest_one() {
    check(&["soak", "--strategy", "seawal"], &["error: unknown strategy `seawal`", "help: did you mean `seawall`?"]);
    check(
        &["soak", "--strategy", "percall,openhumen"],
        &["error: unknown strategy `openhumen`", "help: did you mean `openhuman`?"],
    );
    check(
        &["soak", "--preset", "cantopen-ones"],
        &["error: unknown fault `cantopen-ones`", "help: did you mean `cantopen-once`?"],
    );
    check(&["soak", "--preset", "disk_full"], &["error: unknown fault `disk_full`", "help: did you mean `disk-full`?"]);
}

#[test]
fn a_name_like_no_other_gets_all_of_them() {
    #[track_caller]
    fn check(option: &str, name: &str, first_line: &str, help: &str, last: &str) {
        let Answer { status, out, err } = run(&["soak", option, name]);
        let lines: Vec<&str> = err.lines().collect();
        assert_eq!((status, out.as_str(), lines.len(), lines[0]), (Some(2), "", 2, first_line));
        assert!(lines[1].starts_with(help) && lines[1].ends_with(last), "{err}");
    }
    for name in ["", "x"] {
        let (strategy, fault) = (format!("error: unknown strategy `{name}`"), format!("error: unknown fault `{name}`"));
        check(
            "--strategy",
            name,
            &strategy,
            "help: the strategies are: percall, openhuman, seawall, ",
            ", canary-successor",
        );
        check("--preset", name, &fault, "help: the faults are: none, shmmap-once, ", ", broken-locks");
    }
}

#[test]
fn a_bad_rule_is_shown_with_a_caret() {
    check(
        &["soak", "--fault", "shmap@shm:error=IOERR_SHMMAP:when=3"],
        &[
            "error: unknown method `shmap`",
            "  shmap@shm:error=IOERR_SHMMAP:when=3",
            "  ^^^^^",
            "help: did you mean `shmmap`?",
        ],
    );
    check(
        &["soak", "--fault", "open@db:error=CANTOPN"],
        &[
            "error: unknown result code `CANTOPN`",
            "  open@db:error=CANTOPN",
            "                ^^^^^^^",
            "help: did you mean `CANTOPEN`?",
        ],
    );
    check(
        &["soak", "--fault", "write@db:drop", "--fault", "write@wall:drop"],
        &["error: unknown role `wall`", "  write@wall:drop", "        ^^^^", "help: did you mean `wal`?"],
    );
    check(
        &["soak", "--fault", ""],
        &["error: the rule is empty", "help: write for example `sync@wal:error=IOERR_FSYNC:when=3`"],
    );
}

#[test]
fn a_fault_file_is_refused_with_the_place_of_the_mistake() {
    let dir = scratch();
    let write = |content: &[u8]| {
        let path = dir.path().join("faults.toml");
        fs::write(&path, content).unwrap();
        path
    };
    let path = write(b"[[fault]]\ncall = \"open@db\"\neror = \"CANTOPEN\"\n");
    let file = text(&path);
    check(
        &["soak", "--fault-file", file],
        &[
            &format!("error: {file}: line 3, column 1: unknown key `eror`"),
            "  eror = \"CANTOPEN\"",
            "  ^^^^",
            "help: did you mean `error`?",
        ],
    );
    write(b"seed = 1\n");
    check_line(&["soak", "--fault-file", file], &["no [[fault]]"]);
    write(b"\xff\xfe");
    check_line(&["soak", "--fault-file", file], &["cannot read --fault-file", file, "UTF-8"]);
    check_line(&["soak", "--fault-file", text(dir.path())], &["cannot read --fault-file", "directory"]);
    let missing = dir.path().join("missing");
    check_line(
        &["soak", "--fault-file", text(&missing)],
        &["cannot read --fault-file", text(&missing), "No such file"],
    );
}

#[test]
fn a_value_that_an_option_does_not_take() {
    let partition = "is not a share: write K/N with 1 <= K <= N, like 1/4";
    for value in ["5/4", "0/4", "1", "a/b"] {
        let expected = format!("error: invalid value '{value}' for '--partition <K/N>': `{value}` {partition}");
        check_argument(&["soak", "--partition", value], &expected);
    }
    for value in ["10", "s", "10x", "99999999999999999999s"] {
        let duration = "is not a duration: write 30s, 10m or 1h";
        let expected = format!("error: invalid value '{value}' for '--duration <DURATION>': `{value}` {duration}");
        check_argument(&["soak", "--duration", value], &expected);
    }
    for count in ["0", "-1", "1.5"] {
        let told = format!("error: invalid value '{count}' for '--count <COUNT>': it is a whole number from 1 on");
        check_argument(&["soak", "--count", count], &told);
    }
    check_argument(
        &["soak", "--jobs", "0"],
        "error: invalid value '0' for '--jobs <JOBS>': it is a number of processes, from 1 to 512",
    );
    let seed = "`x` is not a seed: give a whole number from 0 to 2^64-1, or hexadecimal digits after `0x`";
    check_argument(&["soak", "--seed", "x"], &format!("error: invalid value 'x' for '--seed <SEED>': {seed}"));
    check_argument(&["soka"], "error: unrecognized subcommand 'soka'");
    check_argument(&["replay"], "error: the following required arguments were not provided:");
    let empty = "error: a value is required for '--scratch <DIR>' but none was supplied";
    check_argument(&["soak", "--scratch", ""], empty);
}

#[test]
fn what_a_medium_cannot_do_is_refused() {
    let cut = "a power cut needs the simulated disk";
    let fate = "the fate of unsynced pages (`dirty=`) needs the simulated disk";
    let real = ["soak", "--medium", "real"];
    let check_real = |what: [&str; 2], parts: &[&str]| check_line(&[&real[..], &what[..]].concat(), parts);
    check_real(["--fault", "write@db:power-cut"], &["`write@db:power-cut`", cut]);
    check_real(["--fault", "sync@wal:lie"], &["a sync that lies needs the simulated disk"]);
    check_real(["--fault", "sync@db:error=IOERR_FSYNC,dirty=dropped"], &[fate]);
    check_real(["--preset", "power-loss"], &["--preset power-loss: ", cut]);
    check_real(["--preset", "fsyncgate"], &["--preset fsyncgate: ", fate]);
    let rules = FaultName::Rules(vec!["sync@wal:power-cut".to_owned()]);
    check_line(&["replay", &Token { fault: rules, ..token("percall", "none", Seed(1)) }.to_string()], &[cut]);
    let elsewhere = Token { medium: "moon".to_owned(), ..token("percall", "none", Seed(1)) };
    check_line(&["replay", &elsewhere.to_string()], &["unknown medium `moon`", "`real` or `sim`"]);
    let racing = Token { medium: "sim".to_owned(), ..token("percall", "pressure", Seed(1)) };
    check_line(&["replay", &racing.to_string()], &["`pressure`", "wall clock"]);
}

#[test]
fn a_token_that_is_none_is_refused_by_name() {
    let good = token("percall", "none", Seed(1)).to_string();
    check_line(&["replay", ""], &["`` is not a token"]);
    check_line(&["replay", "hello"], &["`hello` is not a token"]);
    check_line(&["replay", &good.replace("none", "nine")], &["is damaged", "checksum"]);
    check_line(&["replay", &good.replace("sw1", "sw9")], &["token format `sw9`", "`sw1`"]);
    let strange = token("percal", "none", Seed(1)).to_string();
    check(&["replay", &strange], &["error: unknown strategy `percal`", "help: did you mean `percall`?"]);
    let strange = token("percall", "cantopen-ones", Seed(1)).to_string();
    check(&["replay", &strange], &["error: unknown fault `cantopen-ones`", "help: did you mean `cantopen-once`?"]);
    let rules = FaultName::Rules(vec!["opn@db:drop".to_owned()]);
    let strange = Token { fault: rules, ..token("percall", "none", Seed(1)) }.to_string();
    check(
        &["replay", &strange],
        &["error: unknown method `opn`", "  opn@db:drop", "  ^^^", "help: did you mean `open`?"],
    );
    // The good one before it is not executed either.
    let strange = token("percall", "nonsense", Seed(1)).to_string();
    assert_eq!(run(&["replay", &good, &strange]).out, "");
}

#[test]
fn a_file_of_tokens_is_refused_with_the_line() {
    let dir = scratch();
    let path = dir.path().join("tokens");
    let at = format!("@{}", text(&path));
    check_line(&["replay", &at], &["cannot read", &at, "No such file"]);
    check_line(&["replay", "@"], &["cannot read @"]);
    fs::write(&path, "# runs\n\nhello\n").unwrap();
    check_line(&["replay", &at], &[text(&path), "line 3", "`hello` is not a token"]);
    fs::write(&path, format!("{} fine\n", token("percall", "none", Seed(1)))).unwrap();
    check_line(&["replay", &at], &["line 1", "`fine` is not a verdict"]);
}

#[test]
fn a_folder_that_is_none_is_named_before_anything_runs() {
    let dir = scratch();
    let (file, missing) = (dir.path().join("file"), dir.path().join("missing"));
    fs::write(&file, "mine").unwrap();
    let below = file.join("a/b");
    let good = token("percall", "none", Seed(1)).to_string();
    for start in [&["soak", "--count", "1"][..], &["replay", &good]] {
        let with = |path| [start, &["--scratch", path]].concat();
        let told = check_line(&with(text(&missing)), &["cannot work in --scratch", text(&missing), "No such file"]);
        assert!(!told.contains("missing/"), "no name that the user has not given: {told}");
        check_line(&with(text(&file)), &["cannot work in --scratch", text(&file), "Not a directory"]);
    }
    let out = |path| ["soak", "--count", "1", "--scratch", text(dir.path()), "--out", path];
    check_line(&out(text(&file)), &["cannot write a report to --out", text(&file), "is no folder"]);
    check_line(&out(text(&below)), &["cannot write a report to --out", text(&below), "is no folder"]);
    let trace = text(&below);
    check_line(&["replay", &good, "--trace", trace], &["cannot write --trace", trace]);
    assert_eq!(listing(dir.path()), ["file"]);
    assert_eq!(fs::read_to_string(&file).unwrap(), "mine");
}

#[test]
fn a_folder_without_permission_is_named() {
    let dir = scratch();
    let locked = dir.path().join("locked");
    fs::create_dir(&locked).unwrap();
    fs::set_permissions(&locked, fs::Permissions::from_mode(0o555)).unwrap();
    if fs::write(locked.join("probe"), "").is_ok() {
        println!("skipped: this user may write anywhere, so there is no folder without permission");
        return;
    }
    check_line(&["soak", "--scratch", text(&locked)], &["cannot work in --scratch", text(&locked), "denied"]);
    check_line(&["soak", "--out", text(&locked.join("a"))], &["cannot write a report to --out", "denied"]);
}
