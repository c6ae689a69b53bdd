//! A rule while it is being read, from either form: its keys with their places, then the rule if they make sense
//! together.

use super::error::Mistake;
use super::key::{AFTER, Key, Takes, UNTIL, Vocabulary};
use super::piece::Piece;
use super::value::Value;
use crate::call::{Method, Role};
use crate::fault::effect::{Effect, EffectEntry, error};
use crate::fault::rule::{Rule, Selector};
use crate::suggest;
use std::ops::Range;

/// The keys read so far, with their values.
pub(super) struct Draft {
    vocabulary: Vocabulary,
    select: Selector,
    items: Vec<Item>,
}

struct Item {
    key: Key,
    /// Where the key stands with its value.
    place: Range<usize>,
    value: Option<Value>,
}

impl Draft {
    pub(super) fn new(vocabulary: Vocabulary, select: Selector) -> Self {
        Self { vocabulary, select, items: Vec::new() }
    }

    /// Takes one key with its value. `place` is the two together.
    pub(super) fn set(&mut self, key: Key, place: Range<usize>, value: Option<Piece<'_>>) -> Result<(), Mistake> {
        let word = key.word;
        if self.item(key).is_some() {
            return Err(Mistake::new(place, format!("`{word}` is given twice")).with_help("leave one of them out"));
        }
        match (key.form.takes(), value) {
            (Takes::Nothing, Some(value)) => {
                return Err(value.mistake(format!("`{word}` takes no value")).with_help(format!("write `{word}`")));
            }
            (Takes::Value, None) => return Err(needs_value(key, place)),
            (_, Some(value)) if value.text.is_empty() => return Err(needs_value(key, place)),
            _ => {}
        }
        if self.vocabulary.names_effect(key)
            && let Some(other) = self.items.iter().find(|item| self.vocabulary.names_effect(item.key))
        {
            let sentence = format!("a rule has one effect, and `{word}` is another one than `{}`", other.key.word);
            return Err(Mistake::new(place, sentence).with_help("write a rule for each"));
        }
        let value = value.map(|piece| key.form.read(piece)).transpose()?;
        self.items.push(Item { key, place, value });
        Ok(())
    }

    /// The rule. `nowhere` is pointed at if there is no effect.
    pub(super) fn finish(self, nowhere: Range<usize>) -> Result<Rule, Mistake> {
        let mut rule = Rule::new(self.select, self.effect(nowhere)?);
        for Item { key, value, .. } in &self.items {
            rule.set_modifier(*key, *value);
        }
        self.check_method(&rule.effect)?;
        self.check_role(&rule.effect)?;
        self.check_quota(&rule)?;
        self.check_time(&rule)?;
        Ok(rule)
    }

    fn item(&self, key: Key) -> Option<&Item> {
        self.items.iter().find(|item| item.key == key)
    }

    /// A mistake at `key`, which is there.
    fn at(&self, key: Key, message: String) -> Mistake {
        Mistake::new(self.item(key).map(|item| item.place.clone()).unwrap_or_default(), message)
    }

    /// The effect, with all that belongs to it.
    fn effect(&self, nowhere: Range<usize>) -> Result<Effect, Mistake> {
        let Some(entry) = self.effect_entry() else {
            let no_effect = Mistake::new(nowhere, "the rule has no effect").with_help(self.vocabulary.effects_help());
            return Err(self.argument_alone().unwrap_or(no_effect));
        };
        let belongs = |key: &Key| *key == entry.key || entry.arguments.contains(key);
        if !self.vocabulary.names_effect(entry.key)
            && let Some(mistake) = self.argument_alone()
        {
            return Err(mistake);
        }
        let effect_keys = self.vocabulary.effect_keys();
        let stray = self.items.iter().find(|item| effect_keys.contains(&item.key) && !belongs(&item.key));
        if let Some(Item { key, place, .. }) = stray {
            let sentence = format!("`{}` does not go with `{}`", key.word, entry.key.word);
            return Err(Mistake::new(place.clone(), sentence).with_help(self.vocabulary.companions_help(*key)));
        }
        let given = |key: &Key| self.item(*key).map(|item| (item.key, item.value));
        let value = self.item(entry.key).and_then(|item| item.value);
        Ok(Effect::new(entry, value, entry.arguments.iter().filter_map(given)))
    }

    /// The effect that the others are arguments of: one that can be nothing else, or else the first of the list.
    fn effect_entry(&self) -> Option<&'static EffectEntry> {
        let effects = self.vocabulary.effects();
        let given = || effects.iter().filter(|effect| self.item(effect.key).is_some());
        given().find(|effect| self.vocabulary.names_effect(effect.key)).or_else(|| given().next())
    }

    /// The mistake of an argument that is no effect itself, and whose effect is not there.
    fn argument_alone(&self) -> Option<Mistake> {
        let effects = self.vocabulary.effects();
        let is_alone = |key: Key| {
            let mut hosts = effects.iter().filter(|effect| effect.arguments.contains(&key)).peekable();
            hosts.peek().is_some() && !hosts.any(|host| self.item(host.key).is_some())
        };
        let is_effect = |key: Key| effects.iter().any(|effect| effect.key == key);
        let key = self.items.iter().map(|item| item.key).find(|key| !is_effect(*key) && is_alone(*key))?;
        let host = effects.iter().find(|effect| effect.arguments.contains(&key))?;
        let sentence = format!("{}, and no {} is given", host.argument_note, host.key.word);
        Some(self.at(key, sentence).with_help(format!("write `{}` with it", host.key.example)))
    }

    /// The effect must be possible for the method. A rule for any method fires where the effect applies.
    fn check_method(&self, effect: &Effect) -> Result<(), Mistake> {
        if self.select.method.is_some_and(Method::is_allocation) {
            return self.check_allocation(effect);
        }
        let entry = effect.entry();
        if let Some(refusal) = (entry.refuse)(effect, self.select) {
            return Err(self.at(refusal.key, refusal.message).with_help(refusal.help));
        }
        let Some(method) = self.select.method.filter(|&method| !effect.applies_to(method)) else { return Ok(()) };
        let methods = quoted(Method::ALL.iter().filter(|&&other| effect.applies_to(other)));
        Err(self.at(entry.key, format!("`{}` goes with {methods} only, not with `{method}`", entry.key.word)))
    }

    /// An allocation fails, with NOMEM, and that is all that it can do.
    fn check_allocation(&self, effect: &Effect) -> Result<(), Mistake> {
        if effect.applies_to(Method::Alloc) {
            return Ok(());
        }
        let own = effect.entry().key;
        let argument = effect.entries().iter().map(|(key, _)| *key).find(|key| *key != own);
        let mistake = match (own == error::KEY, argument, effect.code(error::KEY)) {
            (true, Some(argument), _) => self.at(argument, format!("an allocation has no `{}`", argument.word)),
            (true, None, Some(code)) => self.at(own, format!("an allocation fails with NOMEM only, not with {code}")),
            _ => self.at(own, format!("an allocation can only fail, and `{}` is another effect", own.word)),
        };
        Err(mistake.with_help("write `alloc:error=NOMEM`"))
    }

    /// The effect must be possible on files of the role. A rule for any role fires where the effect applies.
    fn check_role(&self, effect: &Effect) -> Result<(), Mistake> {
        let Some(role) = self.select.role.filter(|&role| !effect.applies_on(role)) else { return Ok(()) };
        let (key, roles) = (effect.entry().key, quoted(Role::ALL.iter().filter(|&&other| effect.applies_on(other))));
        Err(self.at(key, format!("`{}` goes with files of the roles {roles} only, not with `{role}`", key.word)))
    }

    /// A byte quota needs calls that move bytes.
    fn check_quota(&self, rule: &Rule) -> Result<(), Mistake> {
        let method = self.select.method;
        let counts = |other: Method| {
            other.moves_bytes() && rule.effect.applies_to(other) && method.is_none_or(|method| method == other)
        };
        if rule.after.is_none() || Method::ALL.iter().any(|&other| counts(other)) {
            return Ok(());
        }
        let mover = method.map_or_else(|| rule.effect.entry().key.word, Method::word);
        let sentence = format!("`after` counts bytes, and `{mover}` moves none");
        Err(self.at(AFTER, sentence).with_help("`after` goes with `read` and `write`"))
    }

    fn check_time(&self, rule: &Rule) -> Result<(), Mistake> {
        if rule.until.is_none_or(|until| until > rule.from.unwrap_or_default()) {
            return Ok(());
        }
        let help = if rule.from.is_some() { "`until` must be later than `from`" } else { "leave the rule out" };
        Err(self.at(UNTIL, "the rule ends before it begins".to_owned()).with_help(help))
    }
}

fn needs_value(key: Key, place: Range<usize>) -> Mistake {
    Mistake::new(place, format!("`{}` needs a value", key.word)).with_help(format!("for example `{}`", key.example))
}

fn quoted<'a, T: ToString + 'a>(words: impl Iterator<Item = &'a T>) -> String {
    words.map(|word| format!("`{}`", word.to_string())).collect::<Vec<_>>().join(", ")
}

/// Reads `METHOD[@ROLE]`.
pub(super) fn selector(piece: Piece<'_>) -> Result<Selector, Mistake> {
    let (method, role) = match piece.split_once("@") {
        Some((method, role)) => (method.trim(), Some(role.trim())),
        None => (piece.trim(), None),
    };
    let methods = Method::ALL.iter().map(|method| method.word());
    let method = match method.text {
        "*" => None,
        "" => {
            let help = "write a method, or `*` for any";
            return Err(method.mistake("the method is missing").with_help(help));
        }
        word => Some(Method::from_word(word).ok_or_else(|| {
            method
                .mistake(format!("unknown method {}", method.quoted()))
                .with_help(suggest::help(word, "methods", methods))
        })?),
    };
    let selector = Selector { method, role: role.map_or(Ok(None), file_role)? };
    match role {
        Some(role) if selector.role.is_some() && method.is_some_and(Method::is_allocation) => {
            let sentence = "an allocation is for no file, so `alloc` has no role";
            Err(role.mistake(sentence).with_help("write `alloc:error=NOMEM`"))
        }
        _ => Ok(selector),
    }
}

fn file_role(piece: Piece<'_>) -> Result<Option<Role>, Mistake> {
    let roles = Role::ALL.iter().filter(|&&role| role != Role::None).map(|role| role.word());
    match piece.text {
        "*" => Ok(None),
        "" => Err(piece.mistake("the role is missing").with_help("write a role, or `*` for any")),
        word if word == Role::None.word() => {
            Err(piece.mistake("calls on no file have no role to name").with_help("write `*`: any role includes none"))
        }
        word => Role::from_word(word).map(Some).ok_or_else(|| {
            let help = suggest::help(word, "roles", roles);
            piece.mistake(format!("unknown role {}", piece.quoted())).with_help(help)
        }),
    }
}
