//! The words before the `=`: the same in the text form and in TOML.

use super::value::{Choice, Value};
use crate::fault::effect::EffectEntry;
use std::iter;

/// A word with the form of its value.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// The word before the `=`.
    pub word: &'static str,
    /// What stands behind the `=`.
    pub form: Form,
    /// The key as it may be written in a rule, for help.
    pub example: &'static str,
}

/// The form of a value.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Form {
    /// No value: `drop`; in TOML `drop = true`.
    Nothing,
    /// A result code by name or number: `IOERR_FSYNC`.
    Code,
    /// An errno by name or number: `EIO`.
    Errno,
    /// Bytes of one call: `512`, `4KiB`.
    Size,
    /// The same, or no value: `short`; in TOML `short = true`.
    OptionalSize,
    /// A duration: `50ms`.
    Time,
    /// One of a few words.
    Word(&'static Choice),
    /// Calls by their numbers: `3`, `3+`, `2..4`, `3+2`.
    When,
    /// Above 0 and at most 1.
    Probability,
    /// A whole number from 1.
    Count,
    /// Bytes of many calls: `64KiB`.
    Quota,
    /// Threads of processes: `p1.t2`, `p2.*`.
    Actor,
}

/// How a key takes its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Takes {
    /// Without one.
    Nothing,
    /// With or without one.
    Perhaps,
    /// With one, always.
    Value,
}

/// A key as it is written, with its value.
pub(in crate::fault) type Entry = (Key, Option<Value>);

pub(in crate::fault) const WHEN: Key = Key { word: "when", form: Form::When, example: "when=3" };
pub(in crate::fault) const P: Key = Key { word: "p", form: Form::Probability, example: "p=0.05" };
pub(in crate::fault) const TIMES: Key = Key { word: "times", form: Form::Count, example: "times=10" };
pub(in crate::fault) const AFTER: Key = Key { word: "after", form: Form::Quota, example: "after=64KiB" };
pub(in crate::fault) const ACTOR: Key = Key { word: "actor", form: Form::Actor, example: "actor=p2.*" };
pub(in crate::fault) const FROM: Key = Key { word: "from", form: Form::Time, example: "from=2s" };
pub(in crate::fault) const UNTIL: Key = Key { word: "until", form: Form::Time, example: "until=5s" };

/// The keys that say when, in the order of printing.
const MODIFIERS: [Key; 7] = [WHEN, P, TIMES, AFTER, ACTOR, FROM, UNTIL];

/// Each modifier by its example, with what it says.
pub const MODIFIER_SUMMARIES: [(&str, &str); MODIFIERS.len()] = [
    (
        WHEN.example,
        "fires at the third call; 3+ from then on, 3..5 from the third to the fifth, 3+2 every second from then",
    ),
    (P.example, "fires with this probability, above 0 and at most 1"),
    (TIMES.example, "fires so many times at most"),
    (AFTER.example, "fires at all calls from the one with which the bytes read or written exceed this size"),
    (ACTOR.example, "counts the calls of this process and thread alone; p2.t1, *.t1"),
    (FROM.example, "counts the calls from this time on, since the plan was armed"),
    (UNTIL.example, "counts the calls before this time"),
];

/// Keys are the same if their words are.
impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.word == other.word
    }
}

impl Form {
    pub(super) const fn takes(self) -> Takes {
        match self {
            Self::Nothing => Takes::Nothing,
            Self::OptionalSize => Takes::Perhaps,
            _ => Takes::Value,
        }
    }
}

/// The words that rules are made of, given a list of effects.
#[derive(Clone, Copy)]
pub(in crate::fault) struct Vocabulary(pub(in crate::fault) &'static [EffectEntry]);

impl Vocabulary {
    pub(super) fn effects(self) -> &'static [EffectEntry] {
        self.0
    }

    /// The words of effects and of their arguments, each once.
    pub(super) fn effect_keys(self) -> Vec<Key> {
        let mut keys = Vec::new();
        for key in self.0.iter().flat_map(|effect| iter::once(&effect.key).chain(effect.arguments)) {
            if !keys.contains(key) {
                keys.push(*key);
            }
        }
        keys
    }

    pub(super) fn effect_words(self) -> Vec<&'static str> {
        self.effect_keys().iter().map(|key| key.word).collect()
    }

    pub(super) fn modifier_words() -> [&'static str; MODIFIERS.len()] {
        MODIFIERS.map(|key| key.word)
    }

    /// The key with this word, and whether it says what happens (true) or when (false).
    pub(super) fn find(self, word: &str) -> Option<(Key, bool)> {
        let effects = self.effect_keys().into_iter().map(|key| (key, true));
        effects.chain(MODIFIERS.map(|key| (key, false))).find(|(key, _)| key.word == word)
    }

    /// True if the key is an effect and can be nothing else: a rule has one of these at most. `error` and `errno` may
    /// also be arguments of other effects.
    pub(super) fn names_effect(self, key: Key) -> bool {
        let is_effect = self.0.iter().any(|effect| effect.key == key);
        is_effect && !self.0.iter().any(|effect| effect.arguments.contains(&key))
    }

    /// The effects, for help.
    pub(super) fn effects_help(self) -> String {
        format!("effects: {}", self.0.iter().map(|effect| effect.key.word).collect::<Vec<_>>().join(", "))
    }

    /// What the key may stand with, for help.
    pub(super) fn companions_help(self, key: Key) -> String {
        let or = |keys: Vec<Key>| {
            let words: Vec<String> = keys.iter().map(|key| format!("`{}`", key.word)).collect();
            (!words.is_empty()).then(|| format!("with {}", words.join(" or ")))
        };
        let own = self.0.iter().find(|effect| effect.key == key);
        let hosts = self.0.iter().filter(|effect| effect.arguments.contains(&key)).map(|effect| effect.key).collect();
        let parts = [own.map(|_| "alone".to_owned()), own.and_then(|own| or(own.arguments.to_vec())), or(hosts)];
        let parts: Vec<String> = parts.into_iter().flatten().collect();
        let joined = match &parts[..] {
            [front @ .., last] if front.len() > 1 => format!("{}, or {last}", front.join(", ")),
            _ => parts.join(" or "),
        };
        format!("`{}` stands {joined}", key.word)
    }
}
