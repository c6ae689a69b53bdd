//! A rule while it is being read, from either form: its keys with their places, then the rule if they make sense
//! together.

use std::ops::Range;

use super::error::Mistake;
use super::key::{Key, Takes};
use super::piece::Piece;
use super::rule::{Dirty, Effect, Rule, Selector};
use super::value;
use crate::actor::ActorPattern;
use crate::call::{Method, Role};
use crate::codes::{Errno, ResultCode};
use crate::suggest;

/// The keys read so far. The modifiers go straight into the rule; the parts of the effect wait until all are there.
pub(super) struct Draft {
    rule: Rule,
    /// Where each key stands with its value.
    places: Vec<(Key, Range<usize>)>,
    /// The effect other than `error` and `errno`, which may also accompany one.
    effect: Option<Effect>,
    error: Option<ResultCode>,
    errno: Option<Errno>,
    dirty: Option<Dirty>,
}

impl Draft {
    pub(super) fn new(select: Selector) -> Self {
        // The effect is a placeholder until `finish`.
        let rule = Rule::new(select, Effect::Kill);
        Self { rule, places: Vec::new(), effect: None, error: None, errno: None, dirty: None }
    }

    /// Takes one key with its value. `place` is the two together.
    pub(super) fn set(&mut self, key: Key, place: Range<usize>, value: Option<Piece<'_>>) -> Result<(), Mistake> {
        let word = key.word();
        if self.place(key).is_some() {
            return Err(Mistake::new(place, format!("`{word}` is given twice")).with_help("leave one of them out"));
        }
        match (key.takes(), value) {
            (Takes::Nothing, Some(value)) => {
                return Err(value.mistake(format!("`{word}` takes no value")).with_help(format!("write `{word}`")));
            }
            (Takes::Value, None) => return Err(needs_value(key, place)),
            (_, Some(value)) if value.text.is_empty() => return Err(needs_value(key, place)),
            _ => {}
        }
        let other = self.places.iter().find(|(other, _)| names_effect(*other)).map(|&(other, _)| other);
        if let Some(other) = other.filter(|_| names_effect(key)) {
            let sentence = format!("a rule has one effect, and `{word}` is another one than `{}`", other.word());
            return Err(Mistake::new(place, sentence).with_help("write a rule for each"));
        }
        self.places.push((key, place));
        // A piece without text serves the keys that look at none.
        self.store(key, value.unwrap_or(Piece::new("", 0)), value.is_some())
    }

    fn store(&mut self, key: Key, value: Piece<'_>, given: bool) -> Result<(), Mistake> {
        let rule = &mut self.rule;
        match key {
            Key::Error => self.error = Some(result_code(value)?),
            Key::Errno => self.errno = Some(errno(value)?),
            Key::Dirty => self.dirty = Some(dirty(value)?),
            Key::Short if given => self.effect = Some(Effect::Short(Some(size_of_call(value)?))),
            Key::Short => self.effect = Some(Effect::Short(None)),
            Key::Torn => self.effect = Some(Effect::Torn { bytes: size_of_call(value)?, error: None }),
            Key::Bitflip => self.effect = Some(Effect::Bitflip),
            Key::Drop => self.effect = Some(Effect::Drop),
            Key::Lie => self.effect = Some(Effect::Lie),
            Key::DropLocks => self.effect = Some(Effect::DropLocks),
            Key::Stall => self.effect = Some(Effect::Stall(value::duration(value)?)),
            Key::Kill => self.effect = Some(Effect::Kill),
            Key::PowerCut => self.effect = Some(Effect::PowerCut),
            Key::When => rule.when = Some(value::when(value)?),
            Key::P => rule.p = Some(value::probability(value)?),
            Key::Times => rule.times = Some(value::positive(value)?),
            Key::After => rule.after = Some(value::size(value, u64::MAX)?),
            Key::Actor => rule.actor = Some(actor(value)?),
            Key::From => rule.from = Some(value::duration(value)?),
            Key::Until => rule.until = Some(value::duration(value)?),
        }
        Ok(())
    }

    /// The rule. `nowhere` is pointed at if there is no effect.
    pub(super) fn finish(mut self, nowhere: Range<usize>) -> Result<Rule, Mistake> {
        self.rule.effect = self.combined_effect(nowhere)?;
        self.check_method()?;
        self.check_role()?;
        self.check_quota()?;
        self.check_time()?;
        Ok(self.rule)
    }

    fn place(&self, key: Key) -> Option<Range<usize>> {
        self.places.iter().find(|(other, _)| *other == key).map(|(_, place)| place.clone())
    }

    /// A mistake at `key`, which is there.
    fn at(&self, key: Key, message: String) -> Mistake {
        Mistake::new(self.place(key).unwrap_or_default(), message)
    }

    fn combined_effect(&mut self, nowhere: Range<usize>) -> Result<Effect, Mistake> {
        let stray = |draft: &Self, key: Key, needs: &str| {
            let sentence = format!("`{}` does not go with `{needs}`", key.word());
            draft.at(key, sentence)
        };
        match self.effect.take() {
            Some(Effect::Torn { bytes, .. }) if self.errno.is_none() && self.dirty.is_none() => {
                Ok(Effect::Torn { bytes, error: self.error })
            }
            Some(effect) => {
                let torn = matches!(effect, Effect::Torn { .. });
                // Of what does not belong, the one that was written first.
                let stray_key = self.places.iter().map(|&(key, _)| key).find(|key| match key {
                    Key::Error => !torn,
                    Key::Errno | Key::Dirty => true,
                    _ => false,
                });
                match stray_key {
                    Some(key) => Err(stray(self, key, effect.key().word()).with_help(companions(key))),
                    None => Ok(effect),
                }
            }
            None => match (self.error, self.errno, self.dirty) {
                (Some(code), errno, dirty) => Ok(Effect::Error { code, errno, dirty }),
                (None, _, Some(_)) => Err(self
                    .at(Key::Dirty, "`dirty` says what a failed sync leaves behind, and no error is given".to_owned())
                    .with_help("write `error=IOERR_FSYNC` with it")),
                (None, Some(errno), None) => Ok(Effect::Errno(errno)),
                (None, None, None) => Err(Mistake::new(nowhere, "the rule has no effect").with_help(effects())),
            },
        }
    }

    /// The effect, and `dirty`, must be possible for the method. A rule for any method fires where the effect applies.
    fn check_method(&self) -> Result<(), Mistake> {
        let effect = &self.rule.effect;
        let method = self.rule.select.method;
        if self.dirty.is_some() && method != Some(Method::Sync) {
            let sentence = format!("`dirty` goes with `sync` only, not with `{}`", method.map_or("*", Method::word));
            return Err(self.at(Key::Dirty, sentence).with_help("`dirty` says what a failed sync leaves behind"));
        }
        let Some(method) = method.filter(|&method| !effect.applies_to(method)) else { return Ok(()) };
        let key = effect.key();
        if matches!(key, Key::Error | Key::Errno) {
            let sentence = format!("`{method}` cannot fail: it returns no result code");
            return Err(self.at(key, sentence).with_help("`stall`, `kill` and `power-cut` go with every method"));
        }
        let methods = Method::ALL.iter().filter(|&&other| effect.applies_to(other)).map(|other| format!("`{other}`"));
        let methods = methods.collect::<Vec<_>>().join(", ");
        let sentence = format!("`{}` goes with {methods} only, not with `{method}`", key.word());
        Err(self.at(key, sentence))
    }

    /// The effect must be possible on files of the role. A rule for any role fires where the effect applies.
    fn check_role(&self) -> Result<(), Mistake> {
        let effect = &self.rule.effect;
        let Some(role) = self.rule.select.role.filter(|&role| !effect.applies_on(role)) else { return Ok(()) };
        let roles = Role::ALL.iter().filter(|&&other| effect.applies_on(other)).map(|other| format!("`{other}`"));
        let roles = roles.collect::<Vec<_>>().join(", ");
        let word = effect.key().word();
        Err(self.at(effect.key(), format!("`{word}` goes with files of the roles {roles} only, not with `{role}`")))
    }

    /// A byte quota needs calls that move bytes.
    fn check_quota(&self) -> Result<(), Mistake> {
        let Selector { method, .. } = self.rule.select;
        let moves = |other: Method| other.moves_bytes() && self.rule.effect.applies_to(other);
        if self.rule.after.is_none()
            || Method::ALL.iter().any(|&other| method.is_none_or(|it| it == other) && moves(other))
        {
            return Ok(());
        }
        let mover = method.map_or_else(|| self.rule.effect.key().word(), Method::word);
        let sentence = format!("`after` counts bytes, and `{mover}` moves none");
        Err(self.at(Key::After, sentence).with_help("`after` goes with `read` and `write`"))
    }

    fn check_time(&self) -> Result<(), Mistake> {
        let from = self.rule.from.unwrap_or_default();
        match self.rule.until {
            Some(until) if until <= from => {
                let help =
                    if self.rule.from.is_some() { "`until` must be later than `from`" } else { "leave the rule out" };
                Err(self.at(Key::Until, "the rule ends before it begins".to_owned()).with_help(help))
            }
            _ => Ok(()),
        }
    }
}

/// `error`, `errno` and `dirty` may stand beside another effect; of the others there is one.
fn names_effect(key: Key) -> bool {
    key.is_effect() && !matches!(key, Key::Error | Key::Errno | Key::Dirty)
}

fn needs_value(key: Key, place: Range<usize>) -> Mistake {
    Mistake::new(place, format!("`{}` needs a value", key.word())).with_help(format!("for example `{}`", key.example()))
}

fn companions(key: Key) -> &'static str {
    match key {
        Key::Error => "`error` stands alone, with `errno` or `dirty`, or with `torn`",
        Key::Errno => "`errno` stands alone or with `error`",
        _ => "`dirty` stands with `error`",
    }
}

/// The effects, for help.
pub(super) fn effects() -> String {
    format!("effects: {}", Key::words(true).filter(|&word| word != Key::Dirty.word()).collect::<Vec<_>>().join(", "))
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
    Ok(Selector { method, role: role.map_or(Ok(None), file_role)? })
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

fn result_code(piece: Piece<'_>) -> Result<ResultCode, Mistake> {
    let code: ResultCode = piece.text.parse().map_err(|_| {
        let help = match ResultCode::nearest(piece.text) {
            Some(name) => format!("did you mean `{name}`?"),
            None => "any result code of SQLite by name or number, such as IOERR_FSYNC or 1034".to_owned(),
        };
        piece.mistake(format!("unknown result code {}", piece.quoted())).with_help(help)
    })?;
    if code.is_success() {
        let sentence = format!("{code} is no error");
        return Err(piece.mistake(sentence).with_help("`drop` and `lie` report success for nothing done"));
    }
    Ok(code)
}

fn errno(piece: Piece<'_>) -> Result<Errno, Mistake> {
    piece.text.parse().map_err(|_| {
        let help = match Errno::nearest(piece.text) {
            Some(name) => format!("did you mean `{name}`?"),
            None => "a name or a number from 1 to 4095, such as EIO or 5".to_owned(),
        };
        piece.mistake(format!("unknown errno {}", piece.quoted())).with_help(help)
    })
}

fn dirty(piece: Piece<'_>) -> Result<Dirty, Mistake> {
    let words = Dirty::ALL.iter().map(|dirty| dirty.word());
    Dirty::ALL.iter().copied().find(|dirty| dirty.word() == piece.text).ok_or_else(|| {
        let help = suggest::help(piece.text, "dirty pages are", words);
        piece.mistake(format!("unknown fate of dirty pages {}", piece.quoted())).with_help(help)
    })
}

/// Bytes of one call, whose size is a C `int` and so fits.
fn size_of_call(piece: Piece<'_>) -> Result<u32, Mistake> {
    let bytes = value::size(piece, u32::MAX.into())?;
    Ok(u32::try_from(bytes).unwrap_or(u32::MAX))
}

fn actor(piece: Piece<'_>) -> Result<ActorPattern, Mistake> {
    piece.text.parse().map_err(|_| {
        let help = format!("actors are written {}", ActorPattern::FORMS);
        piece.mistake(format!("{} names no actor", piece.quoted())).with_help(help)
    })
}
