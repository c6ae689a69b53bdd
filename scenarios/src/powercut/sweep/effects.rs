//! The rules of a sweep: which effects go with a method, and one rule for each call, effect and duration.

use super::Target;
use seawall_harness::call::{Call, Method, Role};
use seawall_harness::fault::{Rule, When};
use std::collections::BTreeMap;

/// The effects that go with a method on files of a role. Those of the first list are reported to SQLite as failures and
/// do no more than that; the others mislead it.
pub(super) fn effects(method: Method, role: Role) -> (&'static [&'static str], &'static [&'static str]) {
    match method {
        Method::Open => (&["error=CANTOPEN"], &[]),
        Method::Delete => (&["error=IOERR_DELETE"], &["drop"]),
        Method::Access => (&["error=IOERR_ACCESS"], &[]),
        Method::FullPathname => (&["error=CANTOPEN_FULLPATH"], &[]),
        Method::Close => (&["error=IOERR_CLOSE"], &[]),
        Method::Read => (&["error=IOERR_READ"], &["short", "bitflip"]),
        Method::Write => (
            &["error=IOERR_WRITE", "error=FULL", "torn=512,error=IOERR_WRITE", "torn=512,error=FULL"],
            &["torn=512", "drop", "bitflip"],
        ),
        Method::Truncate => (&["error=IOERR_TRUNCATE"], &["drop"]),
        Method::Sync if role == Role::Dir => (
            &["error=IOERR_DIR_FSYNC"],
            &[
                "error=IOERR_DIR_FSYNC,dirty=dropped",
                "error=IOERR_DIR_FSYNC,dirty=late",
                "error=IOERR_DIR_FSYNC,dirty=reverted",
                "lie",
            ],
        ),
        Method::Sync => (
            &["error=IOERR_FSYNC"],
            &[
                "error=IOERR_FSYNC,dirty=dropped",
                "error=IOERR_FSYNC,dirty=late",
                "error=IOERR_FSYNC,dirty=reverted",
                "lie",
            ],
        ),
        Method::FileSize => (&["error=IOERR_FSTAT"], &[]),
        Method::Lock => (&["error=IOERR_LOCK", "error=BUSY"], &[]),
        Method::Unlock => (&["error=IOERR_UNLOCK"], &[]),
        Method::CheckReservedLock => (&["error=IOERR_CHECKRESERVEDLOCK"], &[]),
        Method::ShmMap => (&["error=IOERR_SHMMAP", "error=IOERR_SHMSIZE"], &[]),
        Method::ShmLock => (&["error=IOERR_SHMLOCK", "error=BUSY"], &[]),
        Method::Fetch | Method::Unfetch => (&["error=IOERR_MMAP"], &[]),
        method if method.can_fail() => (&["error=IOERR"], &[]),
        _ => (&[], &[]),
    }
}

/// True if the effect of the rule only fails calls or allocations, and says so.
pub(super) fn is_honest(rule: &Rule) -> bool {
    let text = rule.to_string();
    let effect = text.split(':').nth(1).unwrap_or_default();
    let role = rule.select.role.unwrap_or(Role::None);
    rule.fails_allocations() || rule.select.method.is_some_and(|method| effects(method, role).0.contains(&effect))
}

/// A rule that counts and never fires.
pub(super) fn counting(target: Target) -> Rule {
    let selected = match target {
        Target::Calls => "sync@db:error=IOERR_FSYNC",
        Target::Allocations => "alloc:error=NOMEM",
    };
    parsed(&format!("{selected}:when={}", u64::MAX))
}

/// Once and for good.
fn durations(selector: &str, effect: &str, nth: u64) -> [Rule; 2] {
    [parsed(&format!("{selector}:{effect}:when={nth}")), parsed(&format!("{selector}:{effect}:when={nth}+"))]
}

fn parsed(text: &str) -> Rule {
    text.parse().unwrap_or_else(|error| panic!("the sweep writes `{text}`: {error}"))
}

/// The rules for these calls, in their order.
pub(super) fn of_calls(calls: &[(u64, Call)]) -> Vec<Rule> {
    let mut counts: BTreeMap<(Method, Role), u64> = BTreeMap::new();
    let mut rules = Vec::new();
    for (_, Call { method, role, .. }) in calls {
        let (honest, misleading) = effects(*method, *role);
        let nth = counts.entry((*method, *role)).or_default();
        *nth += 1;
        let role = if *role == Role::None { "*" } else { role.word() };
        for effect in honest.iter().chain(misleading) {
            rules.extend(durations(&format!("{method}@{role}"), effect, *nth));
        }
    }
    rules
}

/// The rules for so many allocations.
pub(super) fn of_allocations(count: u64) -> Vec<Rule> {
    (1..=count).flat_map(|nth| durations("alloc", "error=NOMEM", nth)).collect()
}

/// At which of its calls a rule fires first.
pub(super) fn ordinal(rule: &Rule) -> u64 {
    match rule.when {
        Some(When::Nth(nth) | When::From(nth) | When::Range(nth, _) | When::Every { first: nth, .. }) => nth,
        _ => 1,
    }
}
