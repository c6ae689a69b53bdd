//! The sweep counts what was left out, and says so where nothing was injected.

use super::outcome::{Class, Outcome};
use super::*;
use crate::powercut::cell::JournalMode;
use seawall_harness::call::{Call, Method, Role};

const FULL: CellSettings = CellSettings { journal_mode: JournalMode::Wal, synchronous: Level::Full };

/// A toy with three calls and three allocations, on which some rules never fire.
struct Toy {
    fires: fn(&Rule) -> bool,
    class: Class,
}

fn outcome(class: Class) -> Outcome {
    Outcome { class, views: Vec::new(), is_false_failure_durable: false, detail: class.to_string() }
}

impl Swept for Toy {
    fn execute(&mut self, rule: &Rule) -> Result<Executed, PowercutError> {
        let call = |method, role| Call { method, role, file: 1, arg: 0, amount: 0 };
        let calls = [call(Method::Write, Role::Wal), call(Method::Sync, Role::Wal), call(Method::Write, Role::Wal)];
        let calls: Vec<(u64, Call)> = (0..).zip(calls).collect();
        let nth = effects::ordinal(rule);
        let selected = calls.iter().filter(|(_, call)| rule.select.method == Some(call.method)).map(|(at, _)| *at);
        let at = if rule.fails_allocations() {
            (nth <= 3).then(|| nth + 10)
        } else {
            selected.take(9).nth(nth as usize - 1)
        };
        let fired_at = at.filter(|_| (self.fires)(rule));
        let class = if fired_at.is_some() { self.class } else { Class::Unnoticed };
        let (during, digest) = ("COMMIT".to_owned(), String::new());
        let (outcome, matched) = (outcome(class), 3);
        Ok(Executed { outcome, fired_at, during, calls, matched, trace: Vec::new(), marks: Vec::new(), digest })
    }
}

fn swept(toy: Toy, target: Target) -> Result<SweepResult, PowercutError> {
    let mut toy = toy;
    sweep(&mut toy, (FULL, target), &|rule| rule.to_string(), &|| false, &|_| {})
}

#[test]
fn canary_a_call_that_is_left_out_is_counted() {
    let whole = swept(Toy { fires: |_| true, class: Class::Failed }, Target::Calls).unwrap();
    assert_eq!((whole.calls, whole.skipped, whole.news), (3, 0, 0));
    // Two writes with seven effects, a sync with five; once and for good.
    assert_eq!((whole.injected, whole.of(Class::Failed)), (2 * (2 * 7 + 5), 38));
    let is_second_write = |rule: &Rule| rule.select.method == Some(Method::Write) && effects::ordinal(rule) == 2;
    assert!(is_second_write(&"write@wal:drop:when=2+".parse().unwrap()));
    let fires = |rule: &Rule| !(rule.select.method == Some(Method::Write) && effects::ordinal(rule) == 2);
    let gap = swept(Toy { fires, class: Class::Failed }, Target::Calls).unwrap();
    assert_eq!((gap.calls, gap.skipped), (3, 1));
    let gap = swept(Toy { fires: |rule| effects::ordinal(rule) != 2, class: Class::Failed }, Target::Allocations);
    let gap = gap.unwrap();
    assert_eq!((gap.calls, gap.injected, gap.skipped), (3, 4, 1));
}

#[test]
fn canary_where_nothing_is_injected_the_sweep_says_so() {
    for target in [Target::Calls, Target::Allocations] {
        let error = swept(Toy { fires: |_| false, class: Class::Failed }, target).unwrap_err().to_string();
        assert!(error.contains("0 faults were injected"), "{error}");
    }
}

#[test]
fn canary_what_an_honest_failure_costs_is_news() {
    let lossy = swept(Toy { fires: |_| true, class: Class::Lost }, Target::Calls).unwrap();
    // Four effects of a write and one of a sync are reported to SQLite, and do no more.
    assert_eq!((lossy.verdict, lossy.news), (Verdict::Lost, 2 * (2 * 4 + 1)));
    let allocations = swept(Toy { fires: |_| true, class: Class::Corrupt }, Target::Allocations).unwrap();
    assert_eq!((allocations.verdict, allocations.news), (Verdict::Corrupt, 6));
    let degraded = swept(Toy { fires: |_| true, class: Class::FalseFailure }, Target::Calls).unwrap();
    assert_eq!((degraded.verdict, degraded.news), (Verdict::Degraded, 0));
}

#[test]
fn every_method_that_can_fail_has_an_effect() {
    for method in Method::ALL.iter().filter(|method| method.can_fail()) {
        for role in [Role::Db, Role::Dir] {
            let (honest, misleading) = effects::effects(*method, role);
            assert!(!honest.is_empty(), "{method}");
            for effect in honest.iter().chain(misleading) {
                let rule: Rule = format!("{method}@{role}:{effect}:when=1").parse().unwrap();
                assert_eq!(effects::is_honest(&rule), honest.contains(effect), "{rule}");
            }
        }
    }
}

#[test]
fn tokens_are_read_as_they_are_written() {
    for rule in ["sync@wal:error=IOERR_FSYNC,dirty=late:when=2", "alloc@*:error=NOMEM:when=7+"] {
        let token = SweepToken {
            settings: FULL,
            sqlite: "3.54.1".to_owned(),
            device: "immediate+512".to_owned(),
            seed: seawall_harness::seed::Seed(42),
            rule: rule.parse().unwrap(),
        };
        assert_eq!(token.to_string().parse(), Ok(token));
    }
    let error = "se1:WAL".parse::<SweepToken>().unwrap_err().to_string();
    assert!(error.contains("is not a token of a single error"), "{error}");
}
