//! Rules that are refused, each with the exact answer.

use super::super::parse_rule;

const METHODS: &str = "methods: open, delete, access, fullpathname, dlopen, dlerror, dlsym, dlclose, randomness, sleep, \
    currenttime, getlasterror, currenttimeint64, setsystemcall, getsystemcall, nextsystemcall, close, read, \
    write, truncate, sync, filesize, lock, unlock, checkreservedlock, filecontrol, sectorsize, \
    devicecharacteristics, shmmap, shmlock, shmbarrier, shmunmap, fetch, unfetch, alloc";
const EFFECTS: &str =
    "effects: error, errno, short, torn, bitflip, drop, lie, drop-locks, outside, stall, kill, power-cut";
const MODIFIERS: &str = "modifiers: when, p, times, after, actor, from, until";
const WHEN: &str = "write N (that call), N+ (it and all later), N..M (from N to M) or N+S (every S-th from N)";
const NEVER_FAILS: &str = "`stall`, `kill` and `power-cut` go with every method";

#[track_caller]
fn check_whole(text: &str, expected: &[&str]) {
    let error = parse_rule(text).expect_err(text);
    assert_eq!(error.to_string(), expected.join("\n"));
}

/// The answer is the message, the text as it is, the carets, and the help if there is any.
#[track_caller]
fn check(text: &str, carets: &str, message: &str, help: &str) {
    let (text_line, caret_line, help_line) = (format!("  {text}"), format!("  {carets}"), format!("help: {help}"));
    let lines = [message, &text_line, &caret_line, &help_line];
    check_whole(text, if help.is_empty() { &lines[..3] } else { &lines });
}

#[test]
fn a_mistake_is_shown_in_its_line_and_pointed_at() {
    let expected =
        ["unknown method `shmap`", "  shmap@shm:error=IOERR_SHMMAP:when=3", "  ^^^^^", "help: did you mean `shmmap`?"];
    check_whole("shmap@shm:error=IOERR_SHMMAP:when=3", &expected);
}

#[test]
fn the_selector_is_pointed_at() {
    check("shmap@shm:error=IOERR_SHMMAP:when=3", "^^^^^", "unknown method `shmap`", "did you mean `shmmap`?");
    check("elephant@db:drop", "^^^^^^^^", "unknown method `elephant`", METHODS);
    check("write@walt:drop", "      ^^^^", "unknown role `walt`", "did you mean `wal`?");
    check(
        "write@elephant:drop",
        "      ^^^^^^^^",
        "unknown role `elephant`",
        "roles: db, journal, wal, shm, temp, super, dir",
    );
    check(
        "sleep@none:stall=1s",
        "      ^^^^",
        "calls on no file have no role to name",
        "write `*`: any role includes none",
    );
    check("@db:drop", "^", "the method is missing", "write a method, or `*` for any");
    check("write@:drop", "      ^", "the role is missing", "write a role, or `*` for any");
    check(
        "write@db",
        "        ^",
        "the effect is missing",
        "write it behind a colon, for example `write@db:stall=50ms`",
    );
    check(
        "write@db drop",
        "        ^",
        "a colon is missing here",
        "write `write@db:EFFECT`; effects: error, errno, short, torn, bitflip, drop, lie, drop-locks, outside, stall, \
         kill, power-cut",
    );
    check("shmap drop", "^^^^^", "unknown method `shmap`", "did you mean `shmmap`?");
    check("日本@db:drop", "^^^^", "unknown method `日本`", METHODS);
}

#[test]
fn an_empty_part_is_pointed_at() {
    check_whole("", &["the rule is empty", "help: write for example `sync@wal:error=IOERR_FSYNC:when=3`"]);
    check_whole("   ", &["the rule is empty", "help: write for example `sync@wal:error=IOERR_FSYNC:when=3`"]);
    check("write@db:", "         ^", "an effect is missing here", EFFECTS);
    check("write@db::when=3", "         ^", "an effect is missing here", EFFECTS);
    check("write@db:torn=512,:when=3", "                  ^", "an effect is missing here", EFFECTS);
    check("write@db:drop:", "              ^", "a modifier is missing here", MODIFIERS);
}

#[test]
fn the_effect_is_pointed_at() {
    check("write@db:dorp", "         ^^^^", "unknown effect `dorp`", "did you mean `drop`?");
    check("write@db:droplocks", "         ^^^^^^^^^", "unknown effect `droplocks`", "did you mean `drop-locks`?");
    check("write@db:elephant", "         ^^^^^^^^", "unknown effect `elephant`", EFFECTS);
    check(
        "shmmap@shm:IOERR_SHMMAP",
        "           ^^^^^^^^^^^^",
        "unknown effect `IOERR_SHMMAP`",
        "did you mean `error=IOERR_SHMMAP`?",
    );
    check("read@db:EIO", "        ^^^", "unknown effect `EIO`", "did you mean `errno=EIO`?");
    check("write@db:when=3:drop", "         ^^^^", "`when` is a modifier, and the effect comes before it", EFFECTS);
    check(
        "write@db:drop,when=3",
        "              ^^^^",
        "`when` is a modifier, not a part of the effect",
        "put `:` before it, not `,`",
    );
    check("write@db:drop,drop", "              ^^^^", "`drop` is given twice", "leave one of them out");
    check(
        "write@db:drop,kill",
        "              ^^^^",
        "a rule has one effect, and `kill` is another one than `drop`",
        "write a rule for each",
    );
    check(
        "write@db:drop,error=FULL",
        "              ^^^^^^^^^^",
        "`error` does not go with `drop`",
        "`error` stands alone, with `errno` or `dirty`, or with `torn`",
    );
    check(
        "write@db:torn=1,errno=EIO",
        "                ^^^^^^^^^",
        "`errno` does not go with `torn`",
        "`errno` stands alone or with `error`",
    );
    check("write@db:error=", "         ^^^^^^", "`error` needs a value", "for example `error=IOERR_FSYNC`");
    check("write@db:drop=1", "              ^", "`drop` takes no value", "write `drop`");
}

#[test]
fn the_modifier_is_pointed_at() {
    check("write@db:drop:whne=3", "              ^^^^", "unknown modifier `whne`", "did you mean `when`?");
    check("write@db:drop:elephant=3", "              ^^^^^^^^", "unknown modifier `elephant`", MODIFIERS);
    check(
        "sync@db:error=IOERR_FSYNC:dirty=dropped",
        "                          ^^^^^",
        "`dirty` is part of an effect, not a modifier",
        "put it before the modifiers, joined to the effect by `,`",
    );
    check(
        "write@db:drop:when=3:when=4",
        "                     ^^^^^^",
        "`when` is given twice",
        "leave one of them out",
    );
    check("write@db:drop:when", "              ^^^^", "`when` needs a value", "for example `when=3`");
    check(
        "write@db:drop:from=5s:until=2s",
        "                      ^^^^^^^^",
        "the rule ends before it begins",
        "`until` must be later than `from`",
    );
    check("write@db:drop:until=0s", "              ^^^^^^^^", "the rule ends before it begins", "leave the rule out");
}

#[test]
fn the_code_is_pointed_at() {
    check(
        "shmmap@shm:error=IOERR_SHMAP",
        "                 ^^^^^^^^^^^",
        "unknown result code `IOERR_SHMAP`",
        "did you mean `IOERR_SHMMAP`?",
    );
    check(
        "read@db:error=elephant",
        "              ^^^^^^^^",
        "unknown result code `elephant`",
        "any result code of SQLite by name or number, such as IOERR_FSYNC or 1034",
    );
    check("read@db:error=OK", "              ^^", "OK is no error", "`drop` and `lie` report success for nothing done");
    check(
        "read@db:error=256",
        "              ^^^",
        "OK_LOAD_PERMANENTLY is no error",
        "`drop` and `lie` report success for nothing done",
    );
    check(
        "read@db:error=DONE",
        "              ^^^^",
        "DONE is no error",
        "`drop` and `lie` report success for nothing done",
    );
    check(
        "read@db:error=-5",
        "              ^^",
        "unknown result code `-5`",
        "any result code of SQLite by name or number, such as IOERR_FSYNC or 1034",
    );
    check("read@db:errno=EMFIL", "              ^^^^^", "unknown errno `EMFIL`", "did you mean `EMFILE`?");
    check(
        "read@db:errno=4096",
        "              ^^^^",
        "unknown errno `4096`",
        "a name or a number from 1 to 4095, such as EIO or 5",
    );
    check(
        "sync@db:error=IOERR_FSYNC,dirty=drpped",
        "                                ^^^^^^",
        "unknown fate of dirty pages `drpped`",
        "did you mean `dropped`?",
    );
}

#[test]
fn the_number_is_pointed_at() {
    check("write@db:drop:when=three", "                   ^^^^^", "`three` is no whole number", WHEN);
    check("write@db:drop:when=2..0", "                      ^", "counting begins at 1", WHEN);
    check(
        "write@db:drop:when=4..2",
        "                   ^^^^",
        "the range is empty: 4 is greater than 2",
        "did you mean `2..4`?",
    );
    check("write@db:drop:when=2..", "                      ^", "a number is missing here", WHEN);
    check(
        "write@db:drop:when=99999999999999999999",
        "                   ^^^^^^^^^^^^^^^^^^^^",
        "`99999999999999999999` is too large",
        WHEN,
    );
    check("write@db:drop:p=0", "                ^", "a rule with probability 0 never fires", "leave the rule out");
    check("write@db:drop:p=1.5", "                ^^^", "a probability is above 0 and at most 1", "");
    check("write@db:drop:p=half", "                ^^^^", "`half` is no number", "write 0.05 for one call in twenty");
    check("write@db:drop:times=0", "                    ^", "counting begins at 1", "");
    check("write@db:drop:times=ten", "                    ^^^", "`ten` is no whole number", "");
    check(
        "write@db:drop:actor=2",
        "                    ^",
        "`2` names no actor",
        "actors are written `p1.t2`, `p2.*`, `*.t1` or `*`",
    );
}

#[test]
fn the_unit_is_pointed_at() {
    check("write@db:drop:after=64KB", "                      ^^", "unknown unit `KB`", "did you mean `KiB`?");
    check(
        "write@db:drop:after=64parsecs",
        "                      ^^^^^^^",
        "unknown unit `parsecs`",
        "units: KiB, MiB, GiB, TiB; bytes have none",
    );
    check("write@db:drop:after=lots", "                    ^^^^", "`lots` is no size", "write 512, 64KiB or 1MiB");
    check("write@db:torn=4GiB", "              ^^^^", "`4GiB` is too large: the most is 4294967295", "");
    check("write@db:stall=50", "               ^^", "`50` has no unit", "did you mean `50ms`?");
    check("write@db:stall=50msec", "                 ^^^^", "unknown unit `msec`", "units: s, ms, us, ns");
    check("write@db:stall=soon", "               ^^^^", "`soon` is no duration", "write 50ms, 2s or 1.5s");
    check("write@db:stall=1.5ns", "                 ^", "nothing is finer than a nanosecond", "");
}

#[test]
fn what_does_not_go_together_is_pointed_at() {
    check("read@db:torn=512", "        ^^^^^^^^", "`torn` goes with `write` only, not with `read`", "");
    check("write@db:short", "         ^^^^^", "`short` goes with `read` only, not with `write`", "");
    check("sync@db:bitflip", "        ^^^^^^^", "`bitflip` goes with `read`, `write` only, not with `sync`", "");
    check("sync@db:drop", "        ^^^^", "`drop` goes with `delete`, `write`, `truncate` only, not with `sync`", "");
    check(
        "write@temp:drop-locks",
        "           ^^^^^^^^^^",
        "`drop-locks` goes with files of the roles `db`, `journal`, `wal`, `shm` only, not with `temp`",
        "",
    );
    check(
        "open@db:drop-locks",
        "        ^^^^^^^^^^",
        "`drop-locks` goes with `close`, `read`, `write`, `truncate`, `sync`, `filesize`, `lock`, `unlock`, \
         `checkreservedlock`, `filecontrol`, `sectorsize`, `devicecharacteristics`, `shmmap`, `shmlock`, \
         `shmbarrier`, `shmunmap`, `fetch`, `unfetch` only, not with `open`",
        "",
    );
    check("write@db:drop-locks=1", "                    ^", "`drop-locks` takes no value", "write `drop-locks`");
    check("write@db:lie", "         ^^^", "`lie` goes with `sync` only, not with `write`", "");
    check(
        "randomness:error=IOERR",
        "           ^^^^^^^^^^^",
        "`randomness` cannot fail: it returns no result code",
        NEVER_FAILS,
    );
    check(
        "sectorsize:errno=EIO",
        "           ^^^^^^^^^",
        "`sectorsize` cannot fail: it returns no result code",
        NEVER_FAILS,
    );
    check(
        "write@db:error=FULL,dirty=kept",
        "                    ^^^^^^^^^^",
        "`dirty` goes with `sync` only, not with `write`",
        "`dirty` says what a failed sync leaves behind",
    );
    check(
        "*@db:error=IOERR_FSYNC,dirty=kept",
        "                       ^^^^^^^^^^",
        "`dirty` goes with `sync` only, not with `*`",
        "`dirty` says what a failed sync leaves behind",
    );
    check(
        "sync@db:errno=EIO,dirty=kept",
        "                  ^^^^^^^^^^",
        "`dirty` says what a failed sync leaves behind, and no error is given",
        "write `error=IOERR_FSYNC` with it",
    );
    check(
        "sync@db:error=IOERR:after=1KiB",
        "                    ^^^^^^^^^^",
        "`after` counts bytes, and `sync` moves none",
        "`after` goes with `read` and `write`",
    );
    check(
        "*:lie:after=1KiB",
        "      ^^^^^^^^^^",
        "`after` counts bytes, and `lie` moves none",
        "`after` goes with `read` and `write`",
    );
}

#[test]
fn an_unknown_action_of_an_outsider_gets_the_nearest_one_or_all() {
    check(
        "write@wal:outside=mv",
        "                  ^^",
        "unknown action of an outsider `mv`",
        "the actions are: unlink-side-files, move, delete, replace, overwrite, restore-stale-log, torn-copy, touch, \
         foreign, second-name, suspend, fork, revoke",
    );
    check(
        "write@wal:outside=restore-stale-logs",
        "                  ^^^^^^^^^^^^^^^^^^",
        "unknown action of an outsider `restore-stale-logs`",
        "did you mean `restore-stale-log`?",
    );
}

#[test]
fn foreign_characters_do_not_shift_the_carets() {
    check("write@日本:drop", "      ^^^^", "unknown role `日本`", "roles: db, journal, wal, shm, temp, super, dir");
    check_whole(
        "write@db:日本語=\t3",
        &[
            "unknown effect `日本語`",
            "  write@db:日本語=␉3",
            "           ^^^^^^",
            "help: effects: error, errno, short, torn, bitflip, drop, lie, drop-locks, outside, stall, kill, power-cut",
        ],
    );
    check_whole(
        "write@db:dr\x1b[31mop",
        &[
            "unknown effect `dr␛[31mop`",
            "  write@db:dr␛[31mop",
            "           ^^^^^^^^^",
            "help: effects: error, errno, short, torn, bitflip, drop, lie, drop-locks, outside, stall, kill, power-cut",
        ],
    );
    check("é@db:drop:when=3", "^", "unknown method `é`", METHODS);
    check("write@db:drop:p=é", "                ^", "`é` is no number", "write 0.05 for one call in twenty");
}

#[test]
fn an_allocation_can_only_fail() {
    let help = "write `alloc:error=NOMEM`";
    check("alloc@db:error=NOMEM", "      ^^", "an allocation is for no file, so `alloc` has no role", help);
    check("alloc:error=IOERR", "      ^^^^^^^^^^^", "an allocation fails with NOMEM only, not with IOERR", help);
    check("alloc:error=7,errno=ENOMEM", "              ^^^^^^^^^^^^", "an allocation has no `errno`", help);
    check("alloc:error=NOMEM,dirty=kept", "                  ^^^^^^^^^^", "an allocation has no `dirty`", help);
    check("alloc:stall=1ms", "      ^^^^^^^^^", "an allocation can only fail, and `stall` is another effect", help);
    check("alloc:torn=512", "      ^^^^^^^^", "an allocation can only fail, and `torn` is another effect", help);
    check("alloc:tear=512", "      ^^^^", "unknown effect `tear`", EFFECTS);
    check("aloc:error=NOMEM", "^^^^", "unknown method `aloc`", "did you mean `alloc`?");
    check(
        "alloc:error=NOMEM:after=64KiB",
        "                  ^^^^^^^^^^^",
        "`after` counts bytes, and `alloc` moves none",
        "`after` goes with `read` and `write`",
    );
}
