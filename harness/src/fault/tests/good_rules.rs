//! Rules that parse, what they mean, and how they print.

use super::super::{Rule, Selector, When, parse_rule, toml};
use crate::actor::Actor;
use crate::call::{Method, Role};
use crate::codes::{Errno, ResultCode};
use std::time::Duration;

#[track_caller]
fn parsed(text: &str) -> Rule {
    parse_rule(text).unwrap_or_else(|error| panic!("{error}"))
}

/// `text` parses and prints as `canonical`, which parses as the same.
#[track_caller]
fn check(text: &str, canonical: &str) {
    let rule = parsed(text);
    assert_eq!(rule.to_string(), canonical);
    assert_eq!(parsed(canonical), rule);
}

#[test]
fn the_examples_of_the_contract_are_canonical() {
    for text in [
        "shmmap@shm:error=IOERR_SHMMAP:when=3",
        "open@db:error=CANTOPEN:when=2..4",
        "truncate@*:error=IOERR_TRUNCATE:p=0.05:times=10",
        "write@wal:error=FULL:after=64KiB",
        "write@db:torn=512",
        "write@*:drop",
        "read@db:bitflip",
        "read@*:short",
        "sync@wal:lie",
        "write@wal:drop-locks:when=3:actor=p1.*",
        "write@wal:outside=unlink-side-files:when=20",
        "sync@db:error=IOERR_FSYNC,dirty=dropped",
        "lock@db:error=BUSY:times=20",
        "shmlock@shm:stall=50ms",
        "write@wal:kill:when=7",
        "sync@journal:power-cut:when=2",
        "*@*:errno=EIO",
        "*@*:errno=EIO:actor=p2.*",
        "*@*:errno=EIO:from=2s",
        "*@*:errno=EIO:until=5s",
        "open@*:error=CANTOPEN,errno=EMFILE",
        "write@db:torn=512,error=IOERR_WRITE",
    ] {
        check(text, text);
    }
}

#[test]
fn other_spellings_print_in_the_canonical_form() {
    check("write:drop", "write@*:drop");
    check("*:kill", "*@*:kill");
    check("unlock : drop-locks", "unlock@*:drop-locks");
    check("sleep:stall=1000ms", "sleep@*:stall=1s");
    check("open@db:error=14", "open@db:error=CANTOPEN");
    check("open@db:error=sqlite_cantopen", "open@db:error=CANTOPEN");
    check("read@db:error=9999", "read@db:error=9999");
    check("read@db:errno=5", "read@db:errno=EIO");
    check("read@db:errno=4000", "read@db:errno=4000");
    check("write@db:error=IOERR_WRITE,torn=1024", "write@db:torn=1KiB,error=IOERR_WRITE");
    check("sync@db:dirty=late,errno=EIO,error=1034", "sync@db:error=IOERR_FSYNC,errno=EIO,dirty=late");
    check("read@db:short=0", "read@db:short=0");
    check("read@db:short=2048", "read@db:short=2KiB");
    check(
        "write@wal:error=FULL:times=2:after=65536:p=1.0:when=1+",
        "write@wal:error=FULL:when=1+:p=1:times=2:after=64KiB",
    );
    check("read@db:kill:until=1.5s:from=10us:actor=*.*", "read@db:kill:actor=*:from=10us:until=1500ms");
    check("  write @ wal : torn = 512 , error = FULL : when = 2 .. 4  ", "write@wal:torn=512,error=FULL:when=2..4");
    check("*:short:after=1MiB", "*@*:short:after=1MiB");
    check("read@db:kill:when=0004", "read@db:kill:when=4");
}

#[test]
fn a_rule_means_what_it_says() {
    let rule =
        parsed("sync@db:error=IOERR_FSYNC,errno=EIO,dirty=dropped:when=3+2:p=0.5:times=4:actor=p2.*:from=2s:until=5s");
    assert_eq!(rule.select, Selector { method: Some(Method::Sync), role: Some(Role::Db) });
    let (code, errno) = (ResultCode(1034), Some(Errno(libc::EIO)));
    let [(error, _), (errno_key, _), (dirty, _)] = *rule.effect.entries() else { panic!("{rule:?}") };
    assert_eq!((rule.effect.entry().key.word, rule.effect.code(error)), ("error", Some(code)));
    assert_eq!((rule.effect.errno(errno_key), rule.effect.word(dirty)), (errno, Some("dropped")));
    assert_eq!(rule.when, Some(When::Every { first: 3, step: 2 }));
    assert_eq!((rule.p, rule.times, rule.after), (Some(0.5), Some(4), None));
    assert_eq!(rule.from, Some(Duration::from_secs(2)));
    let (p2, p1) = (Actor { process: 2, thread: 9 }, Actor { process: 1, thread: 9 });
    assert!(rule.selects(Method::Sync, Role::Db, p2));
    assert!(!rule.selects(Method::Sync, Role::Db, p1));
    assert!(!rule.selects(Method::Sync, Role::Wal, p2));
    assert!(!rule.selects(Method::Write, Role::Db, p2));
    let seconds = [1, 2, 4, 5].map(|seconds| rule.is_current(Duration::from_secs(seconds)));
    assert_eq!(seconds, [false, true, true, false]);
}

#[test]
fn when_looks_at_the_number_of_the_call() {
    #[track_caller]
    fn check(when: &str, expected: &[u64]) {
        let when = parsed(&format!("*:kill:when={when}")).when.expect("a when");
        let included: Vec<u64> = (1..=10).filter(|&n| when.includes(n)).collect();
        assert_eq!(included, expected, "{when}");
    }
    check("3", &[3]);
    check("8+", &[8, 9, 10]);
    check("2..4", &[2, 3, 4]);
    check("5..5", &[5]);
    check("3+2", &[3, 5, 7, 9]);
    check("1+1", &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
    check("9+18446744073709551615", &[9]);
    assert!(!When::Every { first: 1, step: 0 }.includes(2), "even a rule built by hand must not divide by zero");
}

#[test]
fn a_rule_for_any_method_selects_those_its_effect_goes_with() {
    #[track_caller]
    fn check(text: &str, selected: impl Fn(Method) -> bool) {
        let rule = parsed(text);
        for &method in Method::ALL {
            let actor = Actor { process: 1, thread: 1 };
            assert_eq!(rule.selects(method, Role::Db, actor), selected(method), "{text} and {method}");
        }
    }
    check("*:short", |method| method == Method::Read);
    check("*:torn=1", |method| method == Method::Write);
    check("*:bitflip", Method::moves_bytes);
    check("*:drop", |method| matches!(method, Method::Write | Method::Truncate | Method::Delete));
    check("*:lie", |method| method == Method::Sync);
    check("*:error=IOERR", Method::can_fail);
    check("*:errno=EIO", Method::can_fail);
    check("*:error=NOMEM", Method::can_fail);
    check("*:stall=1ms", |method| !method.is_allocation());
    check("*:outside=move", |method| !method.is_allocation());
    check("*:error=FULL:after=1KiB", Method::moves_bytes);
    let number = |method| Method::ALL.iter().position(|&other| other == method);
    check("*:drop-locks", |method| number(method) >= Some(16) && !method.is_allocation());
    check("*@wal:kill", |_| false);
}

#[test]
fn a_rule_for_any_role_selects_those_its_effect_goes_with() {
    let selected = |text: &str| -> Vec<Role> {
        let (rule, actor) = (parsed(text), Actor { process: 1, thread: 1 });
        Role::ALL.iter().copied().filter(|&role| rule.selects(Method::Sync, role, actor)).collect()
    };
    assert_eq!(selected("sync@*:drop-locks"), [Role::Db, Role::Journal, Role::Wal, Role::Shm]);
    assert_eq!(selected("*@shm:drop-locks"), [Role::Shm]);
    assert_eq!(selected("sync@*:lie"), Role::ALL);
}

#[test]
fn a_rule_built_by_hand_can_be_checked() {
    let mut rule = parsed("write@db:torn=512");
    assert_eq!(rule.check(), Ok(()));
    rule.p = Some(f64::NAN);
    assert!(rule.check().is_err());
    rule.p = None;
    rule.select.role = Some(Role::None);
    assert!(rule.check().is_err());
    rule.select = Selector { method: Some(Method::Read), role: None };
    assert_eq!(
        rule.check().map_err(|error| error.message().to_owned()),
        Err("`torn` goes with `write` only, not with `read`".to_owned())
    );
}

#[test]
fn a_rule_is_a_string_in_json() {
    let rule = parsed("write:torn=512");
    let json = serde_json::to_string(&rule).expect("a rule is a string");
    assert_eq!(json, "\"write@*:torn=512\"");
    assert_eq!(serde_json::from_str::<Rule>(&json).expect("and back"), rule);
    let error = serde_json::from_str::<Rule>("\"write:trn=512\"").expect_err("a bad rule");
    assert!(error.to_string().contains("did you mean `torn`?"), "{error}");
}

/// The file parses as these rules, and prints as `canonical`.
#[track_caller]
fn check_file(text: &str, seed: Option<u64>, rules: &[&str], canonical: &str) {
    let file = toml::parse(text).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(file.seed, seed);
    assert_eq!(file.rules.iter().map(Rule::to_string).collect::<Vec<_>>(), rules);
    assert_eq!(toml::print(&file), canonical);
    assert_eq!(toml::parse(canonical), Ok(file));
}

#[test]
fn the_toml_form_has_the_same_keys() {
    let contract = "seed = 42\n\n[[fault]]\ncall = \"shmmap@shm\"\nerror = \"IOERR_SHMMAP\"\nwhen = \"3\"\n";
    check_file(contract, Some(42), &["shmmap@shm:error=IOERR_SHMMAP:when=3"], contract);
    check_file("", None, &[], "");
    check_file("seed = 7", Some(7), &[], "seed = 7\n");
    let all = "[[fault]]\ncall = \"write@*\"\ntorn = 512\nerror = \"FULL\"\nwhen = \"2..4\"\np = 0.05\ntimes = 10\n\
               after = \"64KiB\"\nactor = \"p2.*\"\nfrom = \"2s\"\nuntil = \"5s\"\n\n\
               [[fault]]\ncall = \"*@*\"\npower-cut = true\n\n\
               [[fault]]\ncall = \"write@wal\"\ndrop-locks = true\nwhen = \"3\"\n\n\
               [[fault]]\ncall = \"sync@*\"\noutside = \"second-name\"\n";
    let rules = [
        "write@*:torn=512,error=FULL:when=2..4:p=0.05:times=10:after=64KiB:actor=p2.*:from=2s:until=5s",
        "*@*:power-cut",
        "write@wal:drop-locks:when=3",
        "sync@*:outside=second-name",
    ];
    check_file(all, None, &rules, all);
}

#[test]
fn other_spellings_of_the_toml_form_are_read() {
    #[track_caller]
    fn check(lines: &str, rule: &str) {
        let file = toml::parse(&format!("[[fault]]\n{lines}")).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(file.rules.iter().map(Rule::to_string).collect::<Vec<_>>(), [rule]);
    }
    check("call = 'write'\ndrop = true", "write@*:drop");
    check("call = 'shmlock@shm'\ndrop-locks = true\ntimes = 2", "shmlock@shm:drop-locks:times=2");
    check("when = 3\ncall = 'write'\nkill = true", "write@*:kill:when=3");
    check("call = 'read'\nshort = true", "read@*:short");
    check("call = 'read'\nshort = 100", "read@*:short=100");
    check("call = 'read'\nshort = '4KiB'", "read@*:short=4KiB");
    check("call = 'read'\nerror = 266\np = 1", "read@*:error=IOERR_READ:p=1");
    check("call = 'read'\nerror = 0x10A\np = 5e-2", "read@*:error=IOERR_READ:p=0.05");
    check("call = 'read'\nerrno = 5\ntimes = 1_000", "read@*:errno=EIO:times=1000");
    check("call = \"re\\u0061d\"\nstall = '''50ms'''", "read@*:stall=50ms");
    check("call = 'read'\nkill = true\np = '0.5'", "read@*:kill:p=0.5");
    let inline = toml::parse("fault = [{ call = 'read', kill = true }]").map(|file| file.rules.len());
    assert_eq!(inline, Ok(1));
}

#[test]
fn a_seed_beyond_the_integers_of_toml_is_a_string() {
    #[track_caller]
    fn check(text: &str, seed: u64, canonical: &str) {
        let file = toml::parse(text).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(file.seed, Some(seed));
        assert_eq!(toml::print(&file), canonical);
    }
    check("seed = 9223372036854775807", u64::MAX >> 1, "seed = 9223372036854775807\n");
    check("seed = '18446744073709551615'", u64::MAX, "seed = \"18446744073709551615\"\n");
    check("seed = 18446744073709551615", u64::MAX, "seed = \"18446744073709551615\"\n");
    check("seed = 0xff", 255, "seed = 255\n");
}

#[test]
fn an_allocation_has_to_be_named() {
    let actor = Actor { process: 1, thread: 1 };
    for text in ["alloc:error=NOMEM:when=3", "alloc@*:error=7:p=0.5", "alloc:error=NOMEM:when=1+5:actor=p1.*:times=2"] {
        let rule = parsed(text);
        assert!(rule.selects(Method::Alloc, Role::None, actor) && rule.fails_allocations(), "{text}");
        assert!(!rule.selects(Method::Write, Role::Db, actor), "{text}");
    }
    assert_eq!(parsed("alloc:error=7:when=3").to_string(), "alloc@*:error=NOMEM:when=3");
    assert!(!parsed("*:error=NOMEM").selects(Method::Alloc, Role::None, actor));
}
