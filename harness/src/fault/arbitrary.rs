//! Arbitrary valid rules, and texts that are almost rules, for the property tests.

use super::effect::{EFFECTS, Effect, Form, Key, Value};
use super::rule::{Rule, Selector, When};
use crate::actor::ActorPattern;
use crate::call::{Method, Role};
use crate::codes::{Errno, ResultCode};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use std::time::Duration;

fn code() -> impl Strategy<Value = ResultCode> {
    let known: Vec<_> = ResultCode::all().map(|(_, code)| code).collect();
    prop_oneof![select(known), (1..i32::MAX).prop_map(ResultCode)]
        .prop_filter("a code of failure", |code| !code.is_success())
}

fn errno() -> impl Strategy<Value = Errno> {
    (1..=Errno::MAX.0).prop_map(Errno)
}

/// Durations of all magnitudes, whole in every unit or in none.
fn duration() -> impl Strategy<Value = Duration> {
    let unit = select(vec![1u64, 1_000, 1_000_000, 1_000_000_000]);
    prop_oneof![
        (0..5000u64, unit).prop_map(|(count, unit)| Duration::from_nanos(count * unit)),
        (any::<u64>(), 0..1_000_000_000u32).prop_map(|(seconds, nanos)| Duration::new(seconds, nanos)),
    ]
}

/// Counts from 1, often small, often a power of two.
fn count() -> impl Strategy<Value = u64> {
    prop_oneof![1..100u64, (0..64u32).prop_map(|bits| 1 << bits), 1..=u64::MAX]
}

fn size_of_call() -> impl Strategy<Value = u32> {
    prop_oneof![0..10_000u32, (0..32u32).prop_map(|bits| 1 << bits), any::<u32>()]
}

/// A value of this form, or none where there may be none.
fn value(form: Form) -> BoxedStrategy<Option<Value>> {
    match form {
        Form::Nothing => Just(None).boxed(),
        Form::Code => code().prop_map(|code| Some(Value::Code(code))).boxed(),
        Form::Errno => errno().prop_map(|errno| Some(Value::Errno(errno))).boxed(),
        Form::Size => size_of_call().prop_map(|bytes| Some(Value::Size(bytes.into()))).boxed(),
        Form::OptionalSize => option::of(size_of_call().prop_map(|bytes| Value::Size(bytes.into()))).boxed(),
        Form::Time => duration().prop_map(|duration| Some(Value::Time(duration))).boxed(),
        Form::Word(choice) => select(choice.words).prop_map(|word| Some(Value::Word(word))).boxed(),
        other => unreachable!("{other:?} is a form of modifiers"),
    }
}

/// Any effect of the list, with any of its arguments.
fn effect() -> impl Strategy<Value = Effect> {
    select(EFFECTS.iter().collect::<Vec<_>>()).prop_flat_map(|entry| {
        let argument = |key: &Key| {
            let key = *key;
            option::of(value(key.form)).prop_map(move |value| value.map(|value| (key, value)))
        };
        let arguments: Vec<_> = entry.arguments.iter().map(argument).collect();
        (value(entry.key.form), arguments)
            .prop_map(move |(value, arguments)| Effect::new(entry, value, arguments.into_iter().flatten()))
    })
}

fn when() -> impl Strategy<Value = When> {
    prop_oneof![
        count().prop_map(When::Nth),
        count().prop_map(When::From),
        (count(), count()).prop_map(|(a, b)| When::Range(a.min(b), a.max(b))),
        (count(), count()).prop_map(|(first, step)| When::Every { first, step }),
    ]
}

fn probability() -> impl Strategy<Value = f64> {
    let tiny = any::<f64>().prop_map(f64::abs).prop_filter("a probability", |p| *p > 0.0 && *p <= 1.0);
    prop_oneof![Just(1.0), (1..1000u32).prop_map(|p| f64::from(p) / 1000.0), 1e-9..1.0, tiny]
}

fn times_of_day() -> impl Strategy<Value = (Option<Duration>, Option<Duration>)> {
    (option::of(duration()), option::of(duration())).prop_map(|(from, until)| match (from, until) {
        (Some(a), Some(b)) if a > b => (Some(b), Some(a)),
        (Some(a), Some(b)) if a == b => (Some(a), None),
        (None, Some(Duration::ZERO)) => (None, None),
        other => other,
    })
}

/// The methods that a rule with this effect may select, `None` among them.
fn methods(effect: &Effect) -> Vec<Option<Method>> {
    let any = (effect.entry().refuse)(effect, Selector::default()).is_none();
    let named = Method::ALL.iter().copied().filter(|&method| effect.applies_to(method)).map(Some);
    any.then_some(None).into_iter().chain(named).collect()
}

/// Any rule that the grammar accepts.
pub(super) fn rule() -> impl Strategy<Value = Rule> {
    let roles: Vec<_> = Role::ALL.iter().copied().filter(|&role| role != Role::None).collect();
    let actor = (any::<Option<u16>>(), any::<Option<u16>>());
    let actor = option::of(actor.prop_map(|(process, thread)| ActorPattern { process, thread }));
    let modifiers = (
        option::of(when()),
        option::of(probability()),
        option::of(count()),
        option::of(prop_oneof![Just(0), count()]),
        actor,
        times_of_day(),
    );
    let select = effect().prop_flat_map(move |effect| {
        let roles: Vec<_> = roles.iter().copied().filter(|&role| effect.applies_on(role)).collect();
        (select(methods(&effect)), option::of(select(roles)), Just(effect))
    });
    // An allocation is for no file.
    let select = select.prop_map(|(method, role, effect)| {
        (method, role.filter(|_| !method.is_some_and(Method::is_allocation)), effect)
    });
    (select, modifiers).prop_map(|((method, role, effect), modifiers)| {
        let (when, p, times, after, actor, (from, until)) = modifiers;
        let moves = |other: Method| other.moves_bytes() && effect.applies_to(other);
        let counts_bytes = Method::ALL.iter().any(|&other| method.is_none_or(|it| it == other) && moves(other));
        let after = after.filter(|_| counts_bytes);
        Rule { select: Selector { method, role }, effect, when, p, times, after, actor, from, until }
    })
}

/// Pieces that mistyped rules are made of.
#[rustfmt::skip]
const FRAGMENTS: &[&str] = &[
    ":", "@", ",", "=", "*", "+", "..", ".", " ", "\t", "\n", "\r\n", "\0", "\x1b[0m", "0", "1", "99999999999999999999", "-1",
    "é", "日本", "e\u{301}", "🌊", "\u{202e}", "KiB", "ms", "p1.t2", "shmap", "write", "sync", "db", "none", "error", "IOERR",
    "errno=", "EIO", "when=", "p=", "after=", "torn=", "stall=", "drop", "lie", "drop-locks", "outside=", "kill", "dirty=", "\"", "'", "\"\"\"", "#", "\\",
    "[[fault]]\n", "call = ", "seed = ", "true", "[", "]", "{", "}",
];

fn fragment() -> impl Strategy<Value = String> {
    prop_oneof![
        8 => select(FRAGMENTS).prop_map(str::to_owned),
        1 => any::<char>().prop_map(String::from),
        1 => "[a-zA-Z0-9_]{1,8}",
    ]
}

/// Texts near to rules: pieces in any order.
pub(super) fn soup() -> impl Strategy<Value = String> {
    prop::collection::vec(fragment(), 0..20).prop_map(|pieces| pieces.concat())
}

/// `text` with a few places overwritten, cut or repeated.
pub(super) fn mutated(text: String) -> impl Strategy<Value = String> {
    let edit = (any::<prop::sample::Index>(), 0..4usize, fragment());
    prop::collection::vec(edit, 1..4).prop_map(move |edits| {
        let mut characters: Vec<char> = text.chars().collect();
        for (at, removed, inserted) in edits {
            let at = at.index(characters.len() + 1);
            let end = (at + removed).min(characters.len());
            characters.splice(at..end, inserted.chars());
        }
        characters.into_iter().collect()
    })
}
