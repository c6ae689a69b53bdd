//! The plan: the fault rules of one run, and the decision that they come to at each call.
//!
//! Every decision follows from the rules, the seed and the counters on the shared state, never from a generator with a
//! state of its own: the *n*-th call that a rule selects is decided in the same way whichever thread or process makes
//! it.

use crate::actor::Actor;
use crate::call::{Call, Method, Role};
use crate::fault::effect::Effect;
use crate::fault::rule::{Rule, When};
use crate::outsider::OutsideAction;
use crate::seed::{Seed, mix};
use crate::shared_state::{RULES_MAX, RuleCounters, SharedState};
use std::time::Duration;

/// The fault rules of a run, ready to be asked.
#[derive(Debug)]
pub struct FaultPlan {
    rules: Vec<Rule>,
    /// For each method and role, the rules whose selector and effect fit, in order: most calls meet none or few.
    watches: Box<[Box<[Watch]>]>,
    seed: Seed,
}

/// What every call that a rule selects has to know of the rule: enough to count it and, nearly always, to go on.
#[derive(Clone, Copy, Debug)]
struct Watch {
    /// The rule's position in the plan. [`RULES_MAX`] is 64, so it fits.
    rule: u8,
    kind: WatchKind,
    /// Before this one of its calls the rule does not fire.
    first: u64,
    /// It does not fire at a call whose dice show this or more.
    chance: u64,
    /// What the dice of its calls are drawn from.
    seed: Seed,
    /// It does not fire before so many bytes have passed.
    quota_bytes: u64,
}

/// What decides whether a call counts, and whether it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum WatchKind {
    /// Its number and the dice.
    Numbered,
    /// The bytes that have passed as well.
    Quota,
    /// The calling thread, or the time.
    Conditional,
}

/// A watch at which a call stops: its position, and the number of the call for its rule, if it counts for sure.
#[derive(Clone, Copy)]
struct Stop {
    position: usize,
    nth: u64,
}

/// Why rules make no plan.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// The shared state has counters for so many only.
    #[error("a plan takes at most {RULES_MAX} rules, not {0}")]
    TooMany(usize),
    /// The effect needs a disk that can lose what was written.
    #[error("`{0}`: {1} needs the simulated disk: real files do not forget what was not synced")]
    NeedsSimulation(String, &'static str),
    /// Allocations are SQLite's own, and SQLite takes an allocator before it starts.
    #[error("`{0}`: allocations fail in the simulator only, in the SQLite that this program links: {1}")]
    NeedsAllocator(String, String),
    /// The effect needs real files and processes.
    #[error("`{0}`: {1} needs real files and processes, which the simulator does not have")]
    NeedsRealFiles(String, &'static str),
    /// The effect would kill the lab itself.
    #[error("`{0}`: it ends the process, so it needs worker processes; here it would end the lab itself")]
    NeedsProcesses(String),
    /// The effect starts another program, and none is known.
    #[error("`{0}`: it starts another program that writes to the database; name one by `outside_program`")]
    NeedsProgram(String),
}

/// What a rule does to a call.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Decision<'a> {
    /// The rule's position in the plan.
    pub rule: u8,
    /// Its effect.
    pub effect: &'a Effect,
    /// Sixty-four random bits for effects that choose: which bit to flip.
    pub dice: u64,
}

impl FaultPlan {
    /// A plan without faults.
    pub fn empty() -> Self {
        let slots = Method::ALL.len() * Role::ALL.len();
        Self { rules: Vec::new(), watches: vec![Box::default(); slots].into(), seed: Seed(0) }
    }

    /// A plan of `rules`; the first rule that fires at a call decides it.
    ///
    /// # Errors
    /// [`PlanError::TooMany`] for more than [`RULES_MAX`] rules.
    pub fn new(rules: Vec<Rule>, seed: Seed) -> Result<Self, PlanError> {
        if rules.len() > RULES_MAX {
            return Err(PlanError::TooMany(rules.len()));
        }
        let mut plan = Self { rules, seed: seed.stream("plan"), ..Self::empty() };
        for &method in Method::ALL {
            for &role in Role::ALL {
                let indexed = (0_u8..).zip(&plan.rules).filter(|(_, rule)| selects(rule, method, role));
                let watches = indexed.map(|(index, rule)| Watch::new(index, rule, plan.seed)).collect();
                plan.watches[slot(method, role)] = watches;
            }
        }
        Ok(plan)
    }

    /// The rules, in order.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// Refuses effects that only a simulated disk can have.
    ///
    /// # Errors
    /// [`PlanError::NeedsSimulation`] for the first rule with one, such as `power-cut` or `dirty=`;
    /// [`PlanError::NeedsAllocator`] for a failing allocation.
    pub fn check_real_medium(&self) -> Result<(), PlanError> {
        self.check_no_allocations("these are real files")?;
        for rule in &self.rules {
            if let Some(what) = rule.effect.needs_simulation() {
                return Err(PlanError::NeedsSimulation(rule.to_string(), what));
            }
        }
        Ok(())
    }

    /// True if a rule makes allocations fail.
    pub fn fails_allocations(&self) -> bool {
        self.rules.iter().any(Rule::fails_allocations)
    }

    /// Refuses failing allocations, for this reason.
    ///
    /// # Errors
    /// [`PlanError::NeedsAllocator`] for the first rule with one.
    pub fn check_no_allocations(&self, reason: &str) -> Result<(), PlanError> {
        match self.rules.iter().find(|rule| rule.fails_allocations()) {
            Some(rule) => Err(PlanError::NeedsAllocator(rule.to_string(), reason.to_owned())),
            None => Ok(()),
        }
    }

    /// True if a rule needs a disk that can lose what was written.
    pub fn needs_recorded_disk(&self) -> bool {
        self.rules.iter().any(|rule| rule.effect.needs_simulation().is_some())
    }

    /// Refuses effects that the simulator cannot have.
    ///
    /// # Errors
    /// [`PlanError::NeedsRealFiles`] for the first rule with one, such as `outside=fork`.
    pub fn check_simulated_medium(&self) -> Result<(), PlanError> {
        for rule in &self.rules {
            if let Some(what) = rule.effect.needs_real_files() {
                return Err(PlanError::NeedsRealFiles(rule.to_string(), what));
            }
        }
        Ok(())
    }

    /// Refuses effects that start another program, where none is known.
    ///
    /// # Errors
    /// [`PlanError::NeedsProgram`] for the first rule with one, such as `outside=foreign`.
    pub fn check_no_program(&self) -> Result<(), PlanError> {
        let needs = |rule: &&Rule| rule.effect.outside_action().is_some_and(OutsideAction::needs_program);
        self.rules.iter().find(needs).map_or(Ok(()), |rule| Err(PlanError::NeedsProgram(rule.to_string())))
    }

    /// Refuses effects that end the process, for plans that are armed in the lab's own process.
    ///
    /// # Errors
    /// [`PlanError::NeedsProcesses`] for the first rule with one, such as `kill`.
    pub fn check_one_process(&self) -> Result<(), PlanError> {
        match self.rules.iter().find(|rule| rule.effect.is_fatal()) {
            Some(rule) => Err(PlanError::NeedsProcesses(rule.to_string())),
            None => Ok(()),
        }
    }

    /// What happens to the call `number`. Every rule counts the calls that it selects, also where an earlier rule has
    /// decided.
    #[inline(always)]
    pub fn decide(
        &self,
        shared_state: &SharedState,
        now: impl Fn() -> Duration,
        actor: Actor,
        call: &Call,
        number: u64,
    ) -> Option<Decision<'_>> {
        let watches = &*self.watches[slot(call.method, call.role)];
        let stop = run_past(watches, shared_state.rules(), call);
        if stop.position == watches.len() {
            return None;
        }
        self.look_closer(shared_state, now, actor, call, number, stop)
    }

    /// The same from the first watch on at which the call stops.
    #[cold]
    #[inline(never)]
    fn look_closer(
        &self,
        shared_state: &SharedState,
        now: impl Fn() -> Duration,
        actor: Actor,
        call: &Call,
        number: u64,
        mut stop: Stop,
    ) -> Option<Decision<'_>> {
        let mut watches = &*self.watches[slot(call.method, call.role)];
        let mut decision = None;
        while let Some((watch, rest)) = watches[stop.position..].split_first() {
            let counters = shared_state.rule(usize::from(watch.rule));
            let nth = match watch.kind {
                WatchKind::Conditional => self.count(watch, counters, &now, actor, call),
                WatchKind::Numbered | WatchKind::Quota => Some(stop.nth),
            };
            if let Some(nth) = nth.filter(|nth| self.wants_to_fire(watch, *nth))
                && decision.is_none()
            {
                decision = self.fire(watch, counters, number, nth);
            }
            watches = rest;
            stop = run_past(watches, shared_state.rules(), call);
        }
        decision
    }

    /// Counts a call for a rule on conditions; its number if it matters.
    fn count(
        &self,
        watch: &Watch,
        counters: RuleCounters<'_>,
        now: &impl Fn() -> Duration,
        actor: Actor,
        call: &Call,
    ) -> Option<u64> {
        let rule = &self.rules[usize::from(watch.rule)];
        let is_timed = rule.from.is_some() || rule.until.is_some();
        let is_counted =
            rule.actor.is_none_or(|pattern| pattern.matches(actor)) && (!is_timed || rule.is_current(now()));
        let nth = is_counted.then(|| counters.count_match())?;
        (rule.after.is_none() || counters.add_bytes(bytes(call)) > watch.quota_bytes).then_some(nth)
    }

    /// True if the rule would fire at the `nth` of its calls.
    fn wants_to_fire(&self, watch: &Watch, nth: u64) -> bool {
        let rule = &self.rules[usize::from(watch.rule)];
        rule.when.is_none_or(|when| when.includes(nth)) && rule.p.is_none_or(|p| shown(watch.dice(nth)) < chance(p))
    }

    /// Fires the rule, unless it has done so often enough.
    fn fire(&self, watch: &Watch, counters: RuleCounters<'_>, number: u64, nth: u64) -> Option<Decision<'_>> {
        let rule = &self.rules[usize::from(watch.rule)];
        let decision = Decision { rule: watch.rule, effect: &rule.effect, dice: mix(watch.dice(nth)) };
        counters.fire(number, rule.times).then_some(decision)
    }
}

/// Counts a call for watch after watch, up to the first that needs a closer look. Nearly every call gets to the end.
#[inline(always)]
fn run_past<'a>(watches: &[Watch], counters_of: impl Fn(usize) -> RuleCounters<'a>, call: &Call) -> Stop {
    for (position, watch) in watches.iter().enumerate() {
        // The remainder changes nothing and spares a check.
        let counters = counters_of(usize::from(watch.rule) % RULES_MAX);
        let nth = match watch.kind {
            WatchKind::Numbered => counters.count_match(),
            WatchKind::Quota => {
                let nth = counters.count_match();
                if counters.add_bytes(bytes(call)) <= watch.quota_bytes {
                    continue;
                }
                nth
            }
            WatchKind::Conditional => return Stop { position, nth: 0 },
        };
        if nth < watch.first || (watch.chance < CERTAIN && shown(watch.dice(nth)) >= watch.chance) {
            continue;
        }
        return Stop { position, nth };
    }
    Stop { position: watches.len(), nth: 0 }
}

/// How many bytes a call moves.
fn bytes(call: &Call) -> u64 {
    u64::try_from(call.amount).unwrap_or(0)
}

impl Watch {
    fn new(index: u8, rule: &Rule, seed: Seed) -> Self {
        let kind = match rule {
            // Asking the clock costs more than the rest, and few rules want to know.
            Rule { actor: Some(_), .. } | Rule { from: Some(_), .. } | Rule { until: Some(_), .. } => {
                WatchKind::Conditional
            }
            Rule { after: Some(_), .. } => WatchKind::Quota,
            _ => WatchKind::Numbered,
        };
        Self {
            rule: index,
            kind,
            first: rule.when.map_or(0, first_of),
            chance: rule.p.map_or(CERTAIN, chance),
            seed: seed.nth(u64::from(index)),
            quota_bytes: rule.after.unwrap_or(0),
        }
    }

    /// Sixty-four random bits for the `nth` of the rule's calls.
    #[inline]
    const fn dice(&self, nth: u64) -> u64 {
        mix(self.seed.0 ^ nth)
    }
}

/// How many throws there are. A rule that wins them all needs no dice.
const CERTAIN: u64 = 1 << 53;

/// What the dice show: 53 bits, which a double holds exactly.
const fn shown(dice: u64) -> u64 {
    dice >> 11
}

/// How many of the throws a probability wins.
fn chance(p: f64) -> u64 {
    (p * CERTAIN as f64).ceil() as u64
}

/// The first of the calls that `when` includes.
const fn first_of(when: When) -> u64 {
    match when {
        When::Nth(first) | When::From(first) | When::Range(first, _) | When::Every { first, .. } => first,
    }
}

const fn slot(method: Method, role: Role) -> usize {
    method as usize * Role::ALL.len() + role as usize
}

fn selects(rule: &Rule, method: Method, role: Role) -> bool {
    rule.select.matches(method, role)
        && rule.effect.applies_to(method)
        && rule.effect.applies_on(role)
        && (rule.after.is_none() || method.moves_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALLER: Actor = Actor { process: 1, thread: 1 };

    fn write_call(amount: i32) -> Call {
        Call { method: Method::Write, role: Role::Wal, file: 1, arg: 0, amount }
    }

    /// Numbers (from 1) of the calls at which a plan of one rule fires, of `count` equal calls.
    fn firings(rule: &str, count: u64, call: Call) -> Vec<u64> {
        let plan = FaultPlan::new(vec![rule.parse().unwrap()], Seed(1)).unwrap();
        let shared_state = SharedState::private(2);
        (1..=count)
            .filter(|n| plan.decide(&shared_state, || Duration::from_secs(*n), CALLER, &call, *n).is_some())
            .collect()
    }

    #[test]
    fn rules_fire_when_they_say() {
        #[track_caller]
        fn check(rule: &str, expected: &[u64]) {
            assert_eq!(firings(rule, 12, write_call(4096)), expected, "{rule}");
        }
        check("write@wal:error=FULL:when=3", &[3]);
        check("write@wal:error=FULL:when=2..4", &[2, 3, 4]);
        check("write@wal:error=FULL:when=11+", &[11, 12]);
        check("write@wal:error=FULL:when=1+5", &[1, 6, 11]);
        check("*@*:error=FULL:times=2", &[1, 2]);
        check("write@db:error=FULL", &[]);
        check("write@wal:error=FULL:actor=p2.*", &[]);
        check("write@wal:error=FULL:actor=p1.*:times=1", &[1]);
        check("write@wal:error=FULL:from=3s:until=5s", &[3, 4]);
        check("write@wal:error=FULL:after=40KiB", &[11, 12]);
        check("sync@*:lie", &[]);
    }

    #[test]
    fn a_probability_is_kept_and_repeats() {
        let fired = firings("write@*:error=IOERR_WRITE:p=0.25", 4000, write_call(1));
        assert!((800..1200).contains(&fired.len()), "{}", fired.len());
        assert_eq!(fired, firings("write@*:error=IOERR_WRITE:p=0.25", 4000, write_call(1)));
    }

    #[test]
    fn the_first_rule_decides_and_the_others_count_on() {
        let rules = ["write@*:error=FULL:when=1", "write@*:error=IOERR_WRITE:when=2"];
        let plan = FaultPlan::new(rules.iter().map(|r| r.parse().unwrap()).collect(), Seed(1)).unwrap();
        let shared_state = SharedState::private(2);
        let decide = |n| plan.decide(&shared_state, || Duration::ZERO, CALLER, &write_call(1), n).map(|d| d.rule);
        assert_eq!([decide(0), decide(1), decide(2)], [Some(0), Some(1), None]);
        assert_eq!(shared_state.rule(1).fired_at(), [1]);
    }

    #[test]
    fn rules_of_all_kinds_count_on_past_each_other() {
        let rules = [
            "write@wal:error=FULL:when=2+",
            "write@*:error=FULL:actor=p2.*",
            "write@*:error=FULL:from=3s",
            "write@wal:error=FULL:after=5",
            "write@wal:error=FULL:actor=p1.*:after=7:times=1",
            "*@wal:error=FULL:when=9",
            "write@*:error=FULL:p=0.5",
        ];
        let plan = FaultPlan::new(rules.iter().map(|r| r.parse().unwrap()).collect(), Seed(1)).unwrap();
        let shared_state = SharedState::private(2);
        let decided: Vec<_> = (1..=10)
            .map(|n| plan.decide(&shared_state, || Duration::from_secs(n), CALLER, &write_call(1), n).map(|d| d.rule))
            .collect();
        assert_eq!(decided[1..], [Some(0); 9]);
        let matched: Vec<_> = (0..rules.len()).map(|rule| shared_state.rule(rule).matched()).collect();
        assert_eq!(matched, [10, 0, 8, 10, 10, 10, 10]);
        let fired: Vec<_> = (0..rules.len()).map(|rule| shared_state.rule(rule).fired()).collect();
        assert_eq!(fired[..6], [9, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn what_the_medium_cannot_do_is_refused_by_name() {
        let plan = |rule: &str| FaultPlan::new(vec![rule.parse().unwrap()], Seed(1)).unwrap();
        let refusal = plan("sync@journal:power-cut:when=2").check_real_medium().unwrap_err().to_string();
        assert!(refusal.contains("sync@journal:power-cut:when=2") && refusal.contains("simulated disk"), "{refusal}");
        assert!(plan("sync@db:error=IOERR_FSYNC,dirty=dropped").check_real_medium().is_err());
        assert!(plan("sync@wal:lie").check_real_medium().is_err());
        assert!(plan("sync@db:error=IOERR_FSYNC").check_real_medium().is_ok());
        assert!(plan("write@wal:kill:when=7").check_one_process().is_err());
    }
}
