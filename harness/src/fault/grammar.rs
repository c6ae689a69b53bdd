//! The text form: `METHOD[@ROLE]:EFFECT[:MODIFIER…]`. Space around any part is ignored.

use super::draft::{Draft, effects, selector};
use super::error::{GrammarError, Mistake};
use super::key::Key;
use super::piece::Piece;
use super::rule::Rule;
use crate::codes::{Errno, ResultCode};
use crate::suggest;

/// Reads one rule.
pub fn parse_rule(text: &str) -> Result<Rule, GrammarError> {
    rule(Piece::new(text, 0).trim()).map_err(|mistake| mistake.in_rule(text))
}

fn rule(text: Piece<'_>) -> Result<Rule, Mistake> {
    if text.text.is_empty() {
        return Err(text
            .mistake("the rule is empty")
            .with_help("write for example `sync@wal:error=IOERR_FSYNC:when=3`"));
    }
    let mut parts = text.split(":").map(Piece::trim);
    let first = parts.next().unwrap_or(text);
    let Some(effect) = parts.next() else { return Err(no_colon(first)) };
    let mut draft = Draft::new(selector(first)?);
    for (index, item) in effect.split(",").map(Piece::trim).enumerate() {
        effect_item(&mut draft, item, index)?;
    }
    for part in parts {
        modifier(&mut draft, part)?;
    }
    draft.finish(effect.span())
}

/// A text without a colon: the selector may be good up to where the colon belongs.
fn no_colon(text: Piece<'_>) -> Mistake {
    let (head, rest) = text.split_while(|character| character.is_alphanumeric() || "@*_-".contains(character));
    let select = match selector(head) {
        Ok(select) => select,
        Err(mistake) => return mistake,
    };
    if rest.text.is_empty() {
        let help = format!("write it behind a colon, for example `{select}:stall=50ms`");
        return rest.mistake("the effect is missing").with_help(help);
    }
    let end = rest.start + rest.text.chars().next().map_or(0, char::len_utf8);
    let help = format!("write `{select}:EFFECT`; {}", effects());
    Mistake::new(rest.start..end, "a colon is missing here").with_help(help)
}

/// The key and value of `KEY[=VALUE]`.
fn key_and_value(item: Piece<'_>) -> (Piece<'_>, Option<Piece<'_>>) {
    match item.split_once("=") {
        Some((key, value)) => (key.trim(), Some(value.trim())),
        None => (item, None),
    }
}

fn effect_item(draft: &mut Draft, item: Piece<'_>, index: usize) -> Result<(), Mistake> {
    if item.text.is_empty() {
        return Err(item.mistake("an effect is missing here").with_help(effects()));
    }
    let (word, value) = key_and_value(item);
    match Key::from_word(word.text) {
        Some(key) if key.is_effect() => draft.set(key, item.span(), value),
        Some(_) if index == 0 => {
            let sentence = format!("{} is a modifier, and the effect comes before it", word.quoted());
            Err(word.mistake(sentence).with_help(effects()))
        }
        Some(_) => {
            let sentence = format!("{} is a modifier, not a part of the effect", word.quoted());
            Err(word.mistake(sentence).with_help("put `:` before it, not `,`"))
        }
        None => Err(word.mistake(format!("unknown effect {}", word.quoted())).with_help(effect_help(word.text))),
    }
}

/// A code by itself is likely to be meant as an error with that code.
fn effect_help(word: &str) -> String {
    if let Some(nearest) = suggest::nearest(word, Key::words(true)) {
        format!("did you mean `{nearest}`?")
    } else if let Ok(code) = word.parse::<ResultCode>() {
        format!("did you mean `error={code}`?")
    } else if let Ok(errno) = word.parse::<Errno>() {
        format!("did you mean `errno={errno}`?")
    } else {
        effects()
    }
}

fn modifier(draft: &mut Draft, item: Piece<'_>) -> Result<(), Mistake> {
    let modifiers = || suggest::help("", "modifiers", Key::words(false));
    if item.text.is_empty() {
        return Err(item.mistake("a modifier is missing here").with_help(modifiers()));
    }
    let (word, value) = key_and_value(item);
    match Key::from_word(word.text) {
        Some(key) if key.is_effect() => {
            let sentence = format!("{} is part of an effect, not a modifier", word.quoted());
            Err(word.mistake(sentence).with_help("put it before the modifiers, joined to the effect by `,`"))
        }
        Some(key) => draft.set(key, item.span(), value),
        None => {
            let help = suggest::help(word.text, "modifiers", Key::words(false));
            Err(word.mistake(format!("unknown modifier {}", word.quoted())).with_help(help))
        }
    }
}
