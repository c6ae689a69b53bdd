//! One fault rule: which calls, what happens to them, and when.
//!
//! A rule *counts* the calls it selects ([`Rule::selects`]) while the plan is armed and the time is within `from` and
//! `until`. Its other modifiers decide which of the counted calls it fires at; all that are given must agree.

use super::effect::Effect;
use super::parse::error::GrammarError;
use super::parse::grammar::parse_rule;
use super::parse::key::{self, Entry, Key};
use super::parse::value::Value;
use crate::actor::{Actor, ActorPattern};
use crate::call::{Method, Role};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// Which calls by method and file role. `None` is any, but allocations have to be named. Prints with both parts,
/// `write@*`; a text without a role means any.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Selector {
    /// The method.
    pub method: Option<Method>,
    /// The file role. [`Role::None`] has no written form and is refused; any role includes it.
    pub role: Option<Role>,
}

/// At which of the calls counted, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
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
    /// The threads whose calls are counted.
    pub actor: Option<ActorPattern>,
    /// From when on calls are counted, since the plan was armed.
    pub from: Option<Duration>,
    /// Until when, that moment excluded.
    pub until: Option<Duration>,
}

impl Selector {
    /// True if calls of `method` on `role` are selected.
    pub fn matches(self, method: Method, role: Role) -> bool {
        self.method.map_or(!method.is_allocation(), |wanted| wanted == method)
            && self.role.is_none_or(|wanted| wanted == role)
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

    /// True if it makes allocations fail.
    pub fn fails_allocations(&self) -> bool {
        self.select.method.is_some_and(Method::is_allocation)
    }

    /// What of it only the simulator can do.
    pub fn needs_simulation(&self) -> Option<&'static str> {
        if self.fails_allocations() { Some("a failing allocation") } else { self.effect.needs_simulation() }
    }

    /// The error that the grammar would answer a rule built by hand with; the text in it is the rule as printed.
    pub fn check(&self) -> Result<(), GrammarError> {
        parse_rule(&self.to_string()).map(|_| ())
    }

    /// The keys with their values in the order in which they print, those of the effect first. Both forms print from
    /// this list.
    pub(super) fn entries(&self) -> Vec<Entry> {
        let modifiers = [
            (key::WHEN, self.when.map(Value::When)),
            (key::P, self.p.map(Value::Probability)),
            (key::TIMES, self.times.map(Value::Count)),
            (key::AFTER, self.after.map(Value::Size)),
            (key::ACTOR, self.actor.map(Value::Actor)),
            (key::FROM, self.from.map(Value::Time)),
            (key::UNTIL, self.until.map(Value::Time)),
        ];
        let mut entries = self.effect.entries().to_vec();
        entries.extend(modifiers.into_iter().filter(|(_, value)| value.is_some()));
        entries
    }

    /// Sets the modifier with this key; keys of effects are passed over.
    pub(super) fn set_modifier(&mut self, key: Key, value: Option<Value>) {
        match value {
            Some(Value::When(when)) if key == key::WHEN => self.when = Some(when),
            Some(Value::Probability(p)) if key == key::P => self.p = Some(p),
            Some(Value::Count(times)) if key == key::TIMES => self.times = Some(times),
            Some(Value::Size(bytes)) if key == key::AFTER => self.after = Some(bytes),
            Some(Value::Actor(actor)) if key == key::ACTOR => self.actor = Some(actor),
            Some(Value::Time(from)) if key == key::FROM => self.from = Some(from),
            Some(Value::Time(until)) if key == key::UNTIL => self.until = Some(until),
            _ => {}
        }
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.method.map_or("*", Method::word), self.role.map_or("*", Role::word))
    }
}

impl fmt::Display for When {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nth(n) => write!(f, "{n}"),
            Self::From(first) => write!(f, "{first}+"),
            Self::Range(first, last) => write!(f, "{first}..{last}"),
            Self::Every { first, step } => write!(f, "{first}+{step}"),
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.select)?;
        for (index, (key, value)) in self.entries().into_iter().enumerate() {
            let is_joined = (1..self.effect.entries().len()).contains(&index);
            write!(f, "{}{}", if is_joined { "," } else { ":" }, key.word)?;
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
