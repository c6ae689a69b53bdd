//! The effects: what a fault rule does to a call, one effect in one file.
//!
//! An effect's file holds an [`EffectEntry`]: its word and arguments, the calls and media that it goes with, and what
//! it does to a call. [`EFFECTS`] is the list of them, and all that the parser, the plan and the injector know of
//! effects. `docs/contributing/effect.md` explains how to add one.

use super::parse::key::Entry;
use super::rule::Selector;
use super::sync_fate::SyncFate;
use crate::call::{Call, Method, Role};
use crate::codes::{Errno, ResultCode};
use crate::outsider::OutsideAction;
use crate::trace::RulingKind;
use std::time::Duration;

pub use super::parse::key::{Form, Key};
pub use super::parse::value::{Choice, Value};

mod bitflip;
mod drop;
mod drop_locks;
mod errno;
pub(super) mod error;
mod kill;
mod lie;
mod outside;
mod power_cut;
mod short;
mod stall;
mod torn;

#[cfg(test)]
pub(crate) mod tests;

/// All effects, in the order in which they are listed.
pub const EFFECTS: &[EffectEntry] = &[
    error::EFFECT,
    errno::EFFECT,
    short::EFFECT,
    torn::EFFECT,
    bitflip::EFFECT,
    drop::EFFECT,
    lie::EFFECT,
    drop_locks::EFFECT,
    outside::EFFECT,
    stall::EFFECT,
    kill::EFFECT,
    power_cut::EFFECT,
];

/// Everything that there is to know of an effect. [`new`](Self::new) makes one that goes with every call on every
/// medium.
#[derive(Clone, Copy, Debug)]
pub struct EffectEntry {
    /// The word that names it, with its value.
    pub key: Key,
    /// What may stand beside it, joined by commas, in the order of printing.
    pub arguments: &'static [Key],
    /// Begins the help where an argument of this effect is given without the effect, such as `dirty=` without `error=`;
    /// the help continues with `, and no … is given`.
    pub argument_note: &'static str,
    /// The forms in which it may be written.
    pub forms: &'static str,
    /// What happens to the call; a sentence whose subject is the call.
    pub summary: &'static str,
    /// The calls that it goes with, in words.
    pub goes_with: &'static str,
    /// True if it can happen to this method. A rule for any method selects those to which its effect applies.
    pub methods: fn(&Effect, Method) -> bool,
    /// True if it can happen to calls on files of this role.
    pub roles: fn(Role) -> bool,
    /// Why a rule with this selector is refused, where `methods` and `roles` do not say it.
    pub refuse: fn(&Effect, Selector) -> Option<Refusal>,
    /// What of it only a simulated disk can do.
    pub needs_simulation: fn(&Effect) -> Option<&'static str>,
    /// What of it only real files and processes can do.
    pub needs_real_files: fn(&Effect) -> Option<&'static str>,
    /// True if it ends the process that makes the call.
    pub is_fatal: fn(&Effect) -> bool,
    /// True if calls of this method (`None` is any) then show SQLite what no process has written, or lose what was
    /// written: SQLite is right to call the file damaged.
    pub misleads: fn(&Effect, Option<Method>) -> bool,
    /// True if SQLite may report a full disk because of it.
    pub fills_disk: fn(&Effect) -> bool,
    /// What it does to a call, given 64 random bits.
    pub act: fn(&Effect, &Call, u64) -> Action,
}

/// Why a rule is refused: the key that is pointed at, the sentence and the help.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// The key, which is part of the effect.
    pub key: Key,
    /// What is wrong.
    pub message: String,
    /// What would be right.
    pub help: &'static str,
}

/// What an effect does to a call.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Action {
    /// The call is made as if no rule had fired.
    Nothing,
    /// The call is not made. It fails with the code, and `xGetLastError` gives the errno.
    Fail(ResultCode, Option<Errno>),
    /// The call is made in a changed way.
    Alter(Alteration),
    /// The call is made after this time.
    Stall(Duration),
    /// The call is made after the process has lost its locks on the file of the call.
    DropLocks,
    /// The call is made after an outsider has done this to the files of the database.
    Outside(OutsideAction),
    /// The call is not made: the process dies.
    Kill,
    /// The call is not made: the machine loses power. The number decides what of the disk is lost.
    PowerCut(u64),
}

/// A change in how a call is made.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Alteration {
    /// Success is reported and nothing is done.
    Skip,
    /// `sync`: the written pages do not reach the disk, and this becomes of them. The call returns the code, and
    /// `xGetLastError` gives the errno; with [`SyncFate::Late`] the next sync of the file fails instead.
    FailSync(SyncFate, ResultCode, Option<Errno>),
    /// `write`: only so many bytes reach the file. Then the call returns the code, or success.
    Cut(u32, Option<ResultCode>),
    /// `read`, `write`: the bytes are changed, those that arrived or a copy of those to be written. The number is
    /// handed to the function. The call returns the function's code, or its own.
    Bytes(fn(&mut [u8], u64) -> Option<ResultCode>, u64),
}

/// An effect with its arguments, as a rule has it.
#[derive(Clone, Debug)]
pub struct Effect {
    entry: &'static EffectEntry,
    /// Its own key and those of its arguments, in the order of printing.
    entries: Vec<Entry>,
}

impl EffectEntry {
    /// An effect that goes with every call on every medium, takes no arguments and does no damage to files.
    pub const fn new(key: Key, summary: &'static str, act: fn(&Effect, &Call, u64) -> Action) -> Self {
        Self {
            key,
            arguments: &[],
            argument_note: "",
            forms: key.example,
            summary,
            goes_with: "every method",
            methods: |_, _| true,
            roles: |_| true,
            refuse: |_, _| None,
            needs_simulation: |_| None,
            needs_real_files: |_| None,
            is_fatal: |_| false,
            misleads: |_, _| false,
            fills_disk: |_| false,
            act,
        }
    }
}

impl EffectEntry {
    /// A line for lists: how it is written, what it does, what it goes with.
    pub fn description(&self) -> String {
        let Self { forms, summary, goes_with, .. } = self;
        format!("{forms}: the call {summary}; goes with {goes_with}").replace('`', "")
    }
}

impl Action {
    /// How the trace records it.
    pub const fn kind(&self) -> RulingKind {
        match self {
            Self::Nothing => RulingKind::Proceed,
            Self::Fail(..) => RulingKind::Fail,
            Self::Alter(Alteration::FailSync(..)) => RulingKind::Fail,
            Self::Alter(_) => RulingKind::Mutate,
            Self::Stall(_) => RulingKind::Stall,
            Self::DropLocks => RulingKind::DropLocks,
            Self::Outside(_) => RulingKind::Outside,
            Self::Kill => RulingKind::Kill,
            Self::PowerCut(_) => RulingKind::PowerCut,
        }
    }
}

/// Effects are the same if they print the same.
impl PartialEq for Effect {
    fn eq(&self, other: &Self) -> bool {
        self.entries == other.entries
    }
}

impl Effect {
    /// The effect with its own value and these arguments, in the order of printing.
    pub(super) fn new(
        entry: &'static EffectEntry,
        value: Option<Value>,
        arguments: impl IntoIterator<Item = Entry>,
    ) -> Self {
        Self { entry, entries: std::iter::once((entry.key, value)).chain(arguments).collect() }
    }

    /// What is known of it.
    pub fn entry(&self) -> &'static EffectEntry {
        self.entry
    }

    /// True if it can happen to `method`. A rule for any method selects those to which its effect applies.
    pub fn applies_to(&self, method: Method) -> bool {
        if method.is_allocation() { error::fails_allocation(self) } else { (self.entry.methods)(self, method) }
    }

    /// True if it can happen to calls on files of this role.
    pub fn applies_on(&self, role: Role) -> bool {
        (self.entry.roles)(role)
    }

    /// What it does to a call, given 64 random bits.
    pub fn act(&self, call: &Call, dice: u64) -> Action {
        (self.entry.act)(self, call, dice)
    }

    /// True if calls of this method (`None` is any) then show SQLite what no process has written, or lose what was
    /// written.
    pub fn misleads(&self, method: Option<Method>) -> bool {
        (self.entry.misleads)(self, method)
    }

    /// True if SQLite may report a full disk because of it.
    pub fn fills_disk(&self) -> bool {
        (self.entry.fills_disk)(self)
    }

    /// True if it ends the process that makes the call.
    pub fn is_fatal(&self) -> bool {
        (self.entry.is_fatal)(self)
    }

    /// What an outsider does by it, if it is such an effect.
    pub fn outside_action(&self) -> Option<OutsideAction> {
        outside::action(self)
    }

    /// What of it only real files and processes can do.
    pub fn needs_real_files(&self) -> Option<&'static str> {
        (self.entry.needs_real_files)(self)
    }

    /// What of it only a simulated disk can do.
    pub fn needs_simulation(&self) -> Option<&'static str> {
        (self.entry.needs_simulation)(self)
    }

    /// The value of the effect's own key, or of an argument.
    pub fn value(&self, key: Key) -> Option<Value> {
        self.entries.iter().find(|(other, _)| *other == key).and_then(|(_, value)| *value)
    }

    /// The value of this key as a result code.
    pub fn code(&self, key: Key) -> Option<ResultCode> {
        self.value(key).and_then(|value| if let Value::Code(code) = value { Some(code) } else { None })
    }

    /// The value of this key as an errno.
    pub fn errno(&self, key: Key) -> Option<Errno> {
        self.value(key).and_then(|value| if let Value::Errno(errno) = value { Some(errno) } else { None })
    }

    /// The value of this key as bytes of one call.
    pub fn bytes(&self, key: Key) -> Option<u32> {
        self.value(key).and_then(|value| if let Value::Size(bytes) = value { u32::try_from(bytes).ok() } else { None })
    }

    /// The value of this key as a duration.
    pub fn duration(&self, key: Key) -> Option<Duration> {
        self.value(key).and_then(|value| if let Value::Time(duration) = value { Some(duration) } else { None })
    }

    /// The value of this key as a word.
    pub fn word(&self, key: Key) -> Option<&'static str> {
        self.value(key).and_then(|value| if let Value::Word(word) = value { Some(word) } else { None })
    }

    pub(super) fn entries(&self) -> &[Entry] {
        &self.entries
    }
}
