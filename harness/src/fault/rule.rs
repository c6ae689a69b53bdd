//! One fault rule: which calls, what happens to them, and when.
//!
//! A rule *counts* the calls it selects ([`Rule::selects`]) while the plan is armed and the time is within `from` and
//! `until`. Its other modifiers decide which of the counted calls it fires at; all that are given must agree.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::error::GrammarError;
use super::grammar::parse_rule;
use super::key::Key;
use super::value::{Probability, Size, Time};
use crate::actor::{Actor, ActorPattern};
use crate::call::{Method, Role};
use crate::codes::{Errno, ResultCode};

/// Which calls by method and file role. `None` is any. Prints with both parts, `write@*`; a text without a role means
/// any.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Selector {
    /// The method.
    pub method: Option<Method>,
    /// The file role. [`Role::None`] has no written form and is refused; any role includes it.
    pub role: Option<Role>,
}

/// What happens to a call.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Effect {
    /// The call fails with a result code.
    Error {
        /// The code.
        code: ResultCode,
        /// The errno that `xGetLastError` then gives; without it [`ResultCode::default_errno`].
        errno: Option<Errno>,
        /// What becomes of the pages that a failed sync was to bring to the disk. Only with the method `sync`.
        dirty: Option<Dirty>,
    },
    /// The call fails as in a stock build whose system call fails with this errno: the errno is what the caller looks
    /// at.
    Errno(Errno),
    /// A read brings only that many bytes, or half of those asked for, and the rest is zero.
    Short(Option<u32>),
    /// Only that many bytes of a write reach the file. A write of no more bytes than that is whole.
    Torn {
        /// How many.
        bytes: u32,
        /// What the caller is told; without it, success.
        error: Option<ResultCode>,
    },
    /// One bit of the bytes read or written is wrong.
    Bitflip,
    /// A write, truncate or delete is reported as done, and nothing was done.
    Drop,
    /// A sync is reported as done, and nothing reached the disk.
    Lie,
    /// The process loses the locks that guard the file, as it does when any of its code opens and closes that file
    /// beside SQLite; then the call goes on. Only where a file with such locks is open: [`Effect::applies_on`].
    DropLocks,
    /// The call waits that long, then goes on.
    Stall(Duration),
    /// The process dies by SIGKILL before the call.
    Kill,
    /// The machine loses power before the call.
    PowerCut,
}

/// What becomes of written pages when the sync that was to make them durable fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Dirty {
    /// They stay dirty, and a later sync can write them.
    Kept,
    /// They count as clean though they are not on the disk; reads still show them until they leave the cache.
    Dropped,
    /// They reach the disk after the failure was reported.
    Late,
    /// They go back to what the disk holds, and reads show that.
    Reverted,
}

/// At which of the calls counted, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum When {
    /// `N`: that one.
    Nth(u64),
    /// `N+`: that one and all later.
    From(u64),
    /// `N..M`: from the first to the second, both included.
    Range(u64, u64),
    /// `N+S`: `first`, `first + step`, `first + 2 step` …
    Every {
        /// The first.
        first: u64,
        /// The distance.
        step: u64,
    },
}

/// One fault rule. The fields are open, so a rule built by hand may be one that the grammar refuses: see
/// [`check`](Self::check).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Rule {
    /// Which calls, by method and role.
    pub select: Selector,
    /// What happens to them.
    pub effect: Effect,
    /// At which of the calls counted.
    pub when: Option<When>,
    /// With which probability, above 0 and at most 1, at each of them.
    pub p: Option<f64>,
    /// How often at most.
    pub times: Option<u64>,
    /// A byte quota: at every call from the one with which the bytes of the calls counted, whatever became of them,
    /// exceed this.
    pub after: Option<u64>,
    /// By whom the call must be made to be counted.
    pub actor: Option<ActorPattern>,
    /// From when on calls are counted, since the plan was armed.
    pub from: Option<Duration>,
    /// Until when, that moment excluded.
    pub until: Option<Duration>,
}

impl Selector {
    /// True if calls of `method` on `role` are selected.
    pub fn matches(self, method: Method, role: Role) -> bool {
        self.method.is_none_or(|wanted| wanted == method) && self.role.is_none_or(|wanted| wanted == role)
    }
}

impl Effect {
    /// True if the effect can happen to `method`. A rule for any method selects those to which its effect applies.
    pub const fn applies_to(&self, method: Method) -> bool {
        match self {
            Self::Error { dirty: Some(_), .. } | Self::Lie => matches!(method, Method::Sync),
            Self::Error { .. } | Self::Errno(_) => method.can_fail(),
            Self::Short(_) => matches!(method, Method::Read),
            Self::Torn { .. } => matches!(method, Method::Write),
            Self::Bitflip => matches!(method, Method::Read | Method::Write),
            Self::Drop => matches!(method, Method::Write | Method::Truncate | Method::Delete),
            Self::DropLocks => method.has_file(),
            Self::Stall(_) | Self::Kill | Self::PowerCut => true,
        }
    }

    /// True if the effect can happen to calls on files of this role.
    pub const fn applies_on(&self, role: Role) -> bool {
        match self {
            Self::DropLocks => matches!(role, Role::Db | Role::Journal | Role::Wal | Role::Shm),
            _ => true,
        }
    }

    /// The key that names the effect.
    pub(super) const fn key(&self) -> Key {
        match self {
            Self::Error { .. } => Key::Error,
            Self::Errno(_) => Key::Errno,
            Self::Short(_) => Key::Short,
            Self::Torn { .. } => Key::Torn,
            Self::Bitflip => Key::Bitflip,
            Self::Drop => Key::Drop,
            Self::Lie => Key::Lie,
            Self::DropLocks => Key::DropLocks,
            Self::Stall(_) => Key::Stall,
            Self::Kill => Key::Kill,
            Self::PowerCut => Key::PowerCut,
        }
    }

    /// The effect as keys with their values, in the order in which they print.
    fn entries(&self) -> Vec<(Key, Option<String>)> {
        let main = match self {
            Self::Error { code, .. } => Some(code.to_string()),
            Self::Errno(errno) => Some(errno.to_string()),
            Self::Short(bytes) => bytes.map(|bytes| Size(bytes.into()).to_string()),
            Self::Torn { bytes, .. } => Some(Size((*bytes).into()).to_string()),
            Self::Stall(duration) => Some(Time(*duration).to_string()),
            Self::Bitflip | Self::Drop | Self::Lie | Self::DropLocks | Self::Kill | Self::PowerCut => None,
        };
        let mut entries = vec![(self.key(), main)];
        match self {
            Self::Error { errno, dirty, .. } => {
                entries.extend(errno.map(|errno| (Key::Errno, Some(errno.to_string()))));
                entries.extend(dirty.map(|dirty| (Key::Dirty, Some(dirty.word().to_owned()))));
            }
            Self::Torn { error, .. } => entries.extend(error.map(|code| (Key::Error, Some(code.to_string())))),
            _ => {}
        }
        entries
    }
}

impl Dirty {
    /// Every value.
    pub const ALL: &'static [Self] = &[Self::Kept, Self::Dropped, Self::Late, Self::Reverted];

    /// The word for it in the grammar.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Kept => "kept",
            Self::Dropped => "dropped",
            Self::Late => "late",
            Self::Reverted => "reverted",
        }
    }
}

impl When {
    /// True for the `n`-th call, from 1.
    pub const fn includes(self, n: u64) -> bool {
        match self {
            Self::Nth(nth) => n == nth,
            Self::From(first) => n >= first,
            Self::Range(first, last) => first <= n && n <= last,
            // A step of 0, which the grammar refuses, would divide by zero: it selects the first call only.
            Self::Every { first, step: 0 } => n == first,
            Self::Every { first, step } => n >= first && (n - first).is_multiple_of(step),
        }
    }
}

impl Rule {
    /// A rule without modifiers.
    pub const fn new(select: Selector, effect: Effect) -> Self {
        Self { select, effect, when: None, p: None, times: None, after: None, actor: None, from: None, until: None }
    }

    /// True if the rule counts this call: its method, role and actor are selected, the effect applies to both, and the
    /// method moves bytes if there is a quota. Time is not looked at.
    pub fn selects(&self, method: Method, role: Role, actor: Actor) -> bool {
        self.select.matches(method, role)
            && self.effect.applies_to(method)
            && self.effect.applies_on(role)
            && (self.after.is_none() || method.moves_bytes())
            && self.actor.is_none_or(|pattern| pattern.matches(actor))
    }

    /// True if the rule counts calls at this time since the plan was armed.
    pub fn is_current(&self, elapsed: Duration) -> bool {
        self.from.is_none_or(|from| from <= elapsed) && self.until.is_none_or(|until| elapsed < until)
    }

    /// The error that the grammar would answer a rule built by hand with; the text in it is the rule as printed.
    pub fn check(&self) -> Result<(), GrammarError> {
        parse_rule(&self.to_string()).map(|_| ())
    }

    /// The keys with their values in the order in which they print, those of the effect first. Both forms print from
    /// this list.
    pub(super) fn entries(&self) -> Vec<(Key, Option<String>)> {
        let modifiers = [
            (Key::When, self.when.map(|when| when.to_string())),
            (Key::P, self.p.map(|p| Probability(p).to_string())),
            (Key::Times, self.times.map(|times| times.to_string())),
            (Key::After, self.after.map(|bytes| Size(bytes).to_string())),
            (Key::Actor, self.actor.map(|actor| actor.to_string())),
            (Key::From, self.from.map(|from| Time(from).to_string())),
            (Key::Until, self.until.map(|until| Time(until).to_string())),
        ];
        let mut entries = self.effect.entries();
        entries.extend(modifiers.into_iter().filter(|(_, value)| value.is_some()));
        entries
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.method.map_or("*", Method::word), self.role.map_or("*", Role::word))
    }
}

impl fmt::Display for Dirty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.select)?;
        for (index, (key, value)) in self.entries().into_iter().enumerate() {
            let joined = index > 0 && key.is_effect();
            write!(f, "{}{}", if joined { "," } else { ":" }, key.word())?;
            if let Some(value) = value {
                write!(f, "={value}")?;
            }
        }
        Ok(())
    }
}

impl FromStr for Rule {
    type Err = GrammarError;

    fn from_str(text: &str) -> Result<Self, GrammarError> {
        parse_rule(text)
    }
}

impl TryFrom<String> for Rule {
    type Error = GrammarError;

    fn try_from(text: String) -> Result<Self, GrammarError> {
        parse_rule(&text)
    }
}

impl From<Rule> for String {
    fn from(rule: Rule) -> Self {
        rule.to_string()
    }
}
