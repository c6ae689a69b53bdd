//! Files that are refused, each with the exact answer.

use super::super::toml::parse;

#[track_caller]
fn check(text: &str, expected: &[&str]) {
    let error = parse(text).expect_err(text);
    assert_eq!(error.to_string(), expected.join("\n"));
}

#[test]
fn the_file_is_toml() {
    check("seed = 1\nseed = 2", &["line 2, column 1: duplicate key", "  seed = 2", "  ^^^^"]);
    check("[[fault]", &["line 1, column 9: unclosed array table, expected `]`", "  [[fault]", "          ^"]);
    check(
        "[[fault]]\ncall='read'\r\nkill = tru\r\n",
        &["line 3, column 8: invalid boolean, expected `true`", "  kill = tru", "         ^^^"],
    );
}

#[test]
fn the_top_level_is_a_seed_and_faults() {
    check("sed = 3", &["line 1, column 1: unknown key `sed`", "  sed = 3", "  ^^^", "help: did you mean `seed`?"]);
    check(
        "error = 'FULL'",
        &["line 1, column 1: unknown key `error`", "  error = 'FULL'", "  ^^^^^", "help: it belongs under `[[fault]]`"],
    );
    check("seed = -3", &["line 1, column 8: `-3` is no whole number", "  seed = -3", "         ^^"]);
    check("seed = 'x'", &["line 1, column 9: `x` is no whole number", "  seed = 'x'", "          ^"]);
    check("seed = true", &["line 1, column 8: a seed is a whole number", "  seed = true", "         ^^^^"]);
    check(
        "[fault]\ncall='read'",
        &[
            "line 1, column 2: faults are a list of tables",
            "  [fault]",
            "   ^^^^^",
            "help: write `[[fault]]` above each",
        ],
    );
    check(
        "fault = [3]",
        &[
            "line 1, column 10: faults are a list of tables",
            "  fault = [3]",
            "           ^",
            "help: write `[[fault]]` above each",
        ],
    );
}

#[test]
fn a_fault_names_a_call_and_an_effect() {
    check(
        "[[fault]]\nkill = true",
        &[
            "line 1, column 1: the fault names no call",
            "  [[fault]]",
            "  ^^^^^^^^^",
            "help: write for example `call = \"sync@wal\"`",
        ],
    );
    check(
        "[[fault]]\ncal = 'read'\nkill = true",
        &["line 2, column 1: unknown key `cal`", "  cal = 'read'", "  ^^^", "help: did you mean `call`?"],
    );
    check(
        "[[fault]]\ncall = 3\nkill = true",
        &["line 2, column 8: a call is a string", "  call = 3", "         ^", "help: write for example `\"sync@wal\"`"],
    );
    check(
        "[[fault]]\ncall = ''\nkill=true",
        &[
            "line 2, column 8: the method is missing",
            "  call = ''",
            "         ^^",
            "help: write a method, or `*` for any",
        ],
    );
    check(
        "[[fault]]\ncall = 'read@db'",
        &[
            "line 1, column 1: the rule has no effect",
            "  [[fault]]",
            "  ^^^^^^^^^",
            "help: effects: error, errno, short, torn, bitflip, drop, lie, drop-locks, outside, stall, kill, power-cut",
        ],
    );
    check(
        "\n[[fault]]\ncall = 'shmap@shm'\nkill=true",
        &[
            "line 3, column 9: unknown method `shmap`",
            "  call = 'shmap@shm'",
            "          ^^^^^",
            "help: did you mean `shmmap`?",
        ],
    );
    check(
        "[[fault]]\ncall = \"sh\\u006Dap@shm\"\nkill=true",
        &[
            "line 2, column 8: unknown method `shmap`",
            "  call = \"sh\\u006Dap@shm\"",
            "         ^^^^^^^^^^^^^^^^",
            "help: did you mean `shmmap`?",
        ],
    );
}

#[test]
fn a_key_is_known_and_has_its_kind_of_value() {
    check(
        "[[fault]]\ncall = 'read@db'\nkil = true",
        &["line 3, column 1: unknown key `kil`", "  kil = true", "  ^^^", "help: did you mean `kill`?"],
    );
    check(
        "[[fault]]\ncall = 'read@db'\nelephant = true",
        &[
            "line 3, column 1: unknown key `elephant`",
            "  elephant = true",
            "  ^^^^^^^^",
            "help: keys: call, error, errno, dirty, short, torn, bitflip, drop, lie, drop-locks, outside, stall, kill, \
             power-cut, when, p, times, after, actor, from, until",
        ],
    );
    check(
        "[[fault]]\ncall = 'read@db'\nkill = false",
        &[
            "line 3, column 8: `kill` is `true` or not there",
            "  kill = false",
            "         ^^^^^",
            "help: leave the line out",
        ],
    );
    check(
        "[[fault]]\ncall = 'read@db'\nkill = 1",
        &["line 3, column 8: `kill` takes no value", "  kill = 1", "         ^", "help: write `kill = true`"],
    );
    check(
        "[[fault]]\ncall = 'read@db'\nkill = true\nwhen = true",
        &[
            "line 4, column 8: `when` needs a value",
            "  when = true",
            "         ^^^^",
            "help: for example `when = \"3\"`",
        ],
    );
    check(
        "[[fault]]\ncall = 'read@db'\nkill = true\nwhen = ''",
        &["line 4, column 8: `when` needs a value", "  when = ''", "         ^^", "help: for example `when = \"3\"`"],
    );
    check(
        "[[fault]]\ncall = 'read'\nwhen.x = 3",
        &["line 3, column 1: `when` needs a value", "  when.x = 3", "  ^^^^", "help: for example `when = \"3\"`"],
    );
}

#[test]
fn a_value_is_pointed_at_in_the_file() {
    check(
        "[[fault]]\ncall = 'read@db'\nkill = true\nwhen = 0",
        &[
            "line 4, column 8: counting begins at 1",
            "  when = 0",
            "         ^",
            "help: write N (that call), N+ (it and all later), N..M (from N to M) or N+S (every S-th from N)",
        ],
    );
    check(
        "[[fault]]\ncall = 'read@db'\nkill = true\nwhen = '4..2'",
        &[
            "line 4, column 9: the range is empty: 4 is greater than 2",
            "  when = '4..2'",
            "          ^^^^",
            "help: did you mean `2..4`?",
        ],
    );
    check(
        "[[fault]]\ncall = 'read@db'\nkill = true\nwhen = 2.5",
        &[
            "line 4, column 8: `2.5` is no whole number",
            "  when = 2.5",
            "         ^^^",
            "help: write N (that call), N+ (it and all later), N..M (from N to M) or N+S (every S-th from N)",
        ],
    );
    check(
        "[[fault]]\ncall = 'read@db'\nkill = true\ntimes = 0x0",
        &["line 4, column 9: counting begins at 1", "  times = 0x0", "          ^"],
    );
    check(
        "[[fault]]\ncall = 'read@db'\nkill = true\np = inf",
        &["line 4, column 5: `inf` is no number", "  p = inf", "      ^^^", "help: write 0.05 for one call in twenty"],
    );
    check(
        "[[fault]]\ncall = 'read@db'\nerror = 'IOERR_RED'",
        &[
            "line 3, column 10: unknown result code `IOERR_RED`",
            "  error = 'IOERR_RED'",
            "           ^^^^^^^^^",
            "help: did you mean `IOERR_READ`?",
        ],
    );
    check(
        "[[fault]]\ncall = 'read@db'\nstall = 50",
        &["line 3, column 9: `50` has no unit", "  stall = 50", "          ^^", "help: did you mean `50ms`?"],
    );
    check(
        "[[fault]]\ncall = 'read'\nactor=\"\"\"\np9\"\"\"\nkill=true",
        &[
            "line 3, column 7: `p9` names no actor",
            "  actor=\"\"\"",
            "        ^^^",
            "help: actors are written `p1.t2`, `p2.*`, `*.t1` or `*`",
        ],
    );
}

#[test]
fn what_does_not_go_together_is_pointed_at_in_the_file() {
    check(
        "[[fault]]\ncall = 'read@db'\nkill = true\ndrop = true",
        &[
            "line 4, column 1: a rule has one effect, and `drop` is another one than `kill`",
            "  drop = true",
            "  ^^^^^^^^^^^",
            "help: write a rule for each",
        ],
    );
    check(
        "[[fault]]\ncall = 'read@db'\ntorn = 512",
        &["line 3, column 1: `torn` goes with `write` only, not with `read`", "  torn = 512", "  ^^^^^^^^^^"],
    );
    check(
        "[[fault]]\ncall = 'write@db'\ntorn = 512\nfrom = '5s'\nuntil = '2s'",
        &[
            "line 5, column 1: the rule ends before it begins",
            "  until = '2s'",
            "  ^^^^^^^^^^^^",
            "help: `until` must be later than `from`",
        ],
    );
    check(
        "[[fault]]\ncall = 'lock@db'\nstall = '50ms'\nafter = '1KiB'\n# x",
        &[
            "line 4, column 1: `after` counts bytes, and `lock` moves none",
            "  after = '1KiB'",
            "  ^^^^^^^^^^^^^^",
            "help: `after` goes with `read` and `write`",
        ],
    );
}
