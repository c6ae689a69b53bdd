//! The plan: the fault rules of one run, and the decision that they come to at each call.
//!
//! Every decision follows from the rules, the seed and the counters on the board, never from a generator with a state
//! of its own: the *n*-th call that a rule selects meets the same fate whichever thread or process makes it.

use std::time::Duration;

use crate::actor::Actor;
use crate::board::{Board, RULES_MAX};
use crate::codes::{Errno, ResultCode};
use crate::fault::rule::{Effect, Rule};
use crate::seed::{Seed, mix};
use crate::vfs::call::{Call, Method, Role};

/// The fault rules of a run, ready to be asked.
#[derive(Debug)]
pub struct Plan {
    rules: Vec<Rule>,
    /// For each method and role, one bit for each rule whose selector and effect fit: most calls meet no rule, and find
    /// out with one load.
    candidates: Box<[u64]>,
    seed: Seed,
}

/// Why rules make no plan.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// The board has counters for so many only.
    #[error("a plan takes at most {RULES_MAX} rules, not {0}")]
    TooMany(usize),
    /// The effect needs a disk that can lose what was written.
    #[error("`{0}`: {1} needs the simulated disk; real files keep what was written to them. Use --medium sim")]
    NeedsSimulation(String, &'static str),
    /// The effect would kill the lab itself.
    #[error("`{0}`: `kill` needs worker processes; here it would end the lab itself")]
    NeedsProcesses(String),
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

impl Plan {
    /// A plan without faults.
    pub fn empty() -> Self {
        Self { rules: Vec::new(), candidates: vec![0; Method::ALL.len() * Role::ALL.len()].into(), seed: Seed(0) }
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
                let mut bits = 0;
                for (index, rule) in plan.rules.iter().enumerate() {
                    bits |= u64::from(selects(rule, method, role)) << index;
                }
                plan.candidates[slot(method, role)] = bits;
            }
        }
        Ok(plan)
    }

    /// The rules, in order.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// Refuses what only a simulated disk can do.
    ///
    /// # Errors
    /// [`PlanError::NeedsSimulation`] for the first rule with `power-cut` or `dirty=`.
    pub fn check_real_medium(&self) -> Result<(), PlanError> {
        for rule in &self.rules {
            let what = match rule.effect {
                Effect::PowerCut => "a power cut",
                Effect::Error { dirty: Some(_), .. } => "the fate of unsynced pages (`dirty=`)",
                _ => continue,
            };
            return Err(PlanError::NeedsSimulation(rule.to_string(), what));
        }
        Ok(())
    }

    /// Refuses `kill`, for plans that are armed in the lab's own process.
    ///
    /// # Errors
    /// [`PlanError::NeedsProcesses`] for the first rule with `kill`.
    pub fn check_one_process(&self) -> Result<(), PlanError> {
        match self.rules.iter().find(|rule| rule.effect == Effect::Kill) {
            Some(rule) => Err(PlanError::NeedsProcesses(rule.to_string())),
            None => Ok(()),
        }
    }

    /// What happens to the call `number`. Every rule counts the calls that it selects, also where an earlier rule has
    /// decided.
    pub fn decide(
        &self,
        board: &Board,
        now: impl Fn() -> Duration,
        actor: Actor,
        call: &Call,
        number: u64,
    ) -> Option<Decision<'_>> {
        let mut bits = self.candidates[slot(call.method, call.role)];
        let mut decision = None;
        while bits != 0 {
            let index = bits.trailing_zeros() as usize;
            bits &= bits - 1;
            let rule = &self.rules[index];
            let Some(dice) = self.roll(board, &now, actor, call, index) else { continue };
            if decision.is_none() && board.rule(index).fire(number, rule.times) {
                // RULES_MAX is 64, so the index fits.
                decision = Some(Decision { rule: index as u8, effect: &rule.effect, dice });
            }
        }
        decision
    }

    /// Counts the call for the rule at `index` if the rule selects it; the dice of the call if the rule wants to fire.
    fn roll(&self, board: &Board, now: &impl Fn() -> Duration, actor: Actor, call: &Call, index: usize) -> Option<u64> {
        let rule = &self.rules[index];
        if rule.actor.is_some_and(|pattern| !pattern.matches(actor)) {
            return None;
        }
        // Asking the clock costs more than the rest, and few rules want to know.
        if (rule.from.is_some() || rule.until.is_some()) && !rule.is_current(now()) {
            return None;
        }
        let counters = board.rule(index);
        let nth = counters.count_match();
        if let Some(quota_bytes) = rule.after {
            let bytes = u64::try_from(call.amount).unwrap_or(0);
            if counters.add_bytes(bytes) <= quota_bytes {
                return None;
            }
        }
        if rule.when.is_some_and(|when| !when.includes(nth)) {
            return None;
        }
        let dice = mix(self.seed.nth(index as u64).0 ^ nth);
        match rule.p {
            // 53 bits give every double in [0, 1) that is a multiple of 2^-53.
            Some(p) if (dice >> 11) as f64 / (1_u64 << 53) as f64 >= p => None,
            _ => Some(mix(dice)),
        }
    }
}

fn slot(method: Method, role: Role) -> usize {
    method as usize * Role::ALL.len() + role as usize
}

fn selects(rule: &Rule, method: Method, role: Role) -> bool {
    rule.select.matches(method, role)
        && rule.effect.applies_to(method)
        && (rule.after.is_none() || method.moves_bytes())
}

/// The code that SQLite's own unix VFS returns when the system call under `method` fails with `errno` (os_unix.c,
/// 3.54).
pub fn natural_code(method: Method, role: Role, errno: Errno) -> ResultCode {
    use rusqlite::ffi;
    let disk_full = matches!(errno.0, libc::ENOSPC | libc::EDQUOT);
    ResultCode(match method {
        Method::Open => ffi::SQLITE_CANTOPEN,
        Method::Delete => ffi::SQLITE_IOERR_DELETE,
        Method::Access => ffi::SQLITE_IOERR_ACCESS,
        Method::Close => ffi::SQLITE_IOERR_CLOSE,
        Method::Read => ffi::SQLITE_IOERR_READ,
        Method::Write if disk_full => ffi::SQLITE_FULL,
        Method::Write => ffi::SQLITE_IOERR_WRITE,
        Method::Truncate => ffi::SQLITE_IOERR_TRUNCATE,
        Method::Sync if role == Role::Dir => ffi::SQLITE_IOERR_DIR_FSYNC,
        Method::Sync => ffi::SQLITE_IOERR_FSYNC,
        Method::FileSize => ffi::SQLITE_IOERR_FSTAT,
        Method::Lock => ffi::SQLITE_IOERR_LOCK,
        Method::Unlock => ffi::SQLITE_IOERR_UNLOCK,
        Method::CheckReservedLock => ffi::SQLITE_IOERR_CHECKRESERVEDLOCK,
        Method::ShmMap if disk_full => ffi::SQLITE_IOERR_SHMSIZE,
        Method::ShmMap => ffi::SQLITE_IOERR_SHMMAP,
        Method::ShmLock => ffi::SQLITE_IOERR_SHMLOCK,
        Method::Fetch | Method::Unfetch => ffi::SQLITE_IOERR_MMAP,
        Method::FullPathname => ffi::SQLITE_CANTOPEN_FULLPATH,
        _ => ffi::SQLITE_IOERR,
    })
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
        let plan = Plan::new(vec![rule.parse().unwrap()], Seed(1)).unwrap();
        let board = Board::private(2);
        (1..=count).filter(|n| plan.decide(&board, || Duration::from_secs(*n), CALLER, &call, *n).is_some()).collect()
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
        let plan = Plan::new(rules.iter().map(|r| r.parse().unwrap()).collect(), Seed(1)).unwrap();
        let board = Board::private(2);
        let decide = |n| plan.decide(&board, || Duration::ZERO, CALLER, &write_call(1), n).map(|d| d.rule);
        assert_eq!([decide(0), decide(1), decide(2)], [Some(0), Some(1), None]);
        assert_eq!(board.rule(1).fired_at(), [1]);
    }

    #[test]
    fn what_the_medium_cannot_do_is_refused_by_name() {
        let plan = |rule: &str| Plan::new(vec![rule.parse().unwrap()], Seed(1)).unwrap();
        let refusal = plan("sync@journal:power-cut:when=2").check_real_medium().unwrap_err().to_string();
        assert!(refusal.contains("sync@journal:power-cut:when=2") && refusal.contains("--medium sim"), "{refusal}");
        assert!(plan("sync@db:error=IOERR_FSYNC,dirty=dropped").check_real_medium().is_err());
        assert!(plan("sync@db:error=IOERR_FSYNC").check_real_medium().is_ok());
        assert!(plan("write@wal:kill:when=7").check_one_process().is_err());
    }
}
