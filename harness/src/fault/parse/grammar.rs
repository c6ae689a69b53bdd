//! The text form: `METHOD[@ROLE]:EFFECT[:MODIFIER…]`. Space around any part is ignored.

use super::draft::{Draft, selector};
use super::error::{GrammarError, Mistake};
use super::key::Vocabulary;
use super::piece::Piece;
use crate::codes::{Errno, ResultCode};
use crate::fault::effect::EFFECTS;
use crate::fault::rule::Rule;
use crate::suggest;

/// Reads one rule.
pub fn parse_rule(text: &str) -> Result<Rule, GrammarError> {
    parse_rule_with(Vocabulary(EFFECTS), text)
}

/// Reads one rule with the effects of a vocabulary.
pub(in crate::fault) fn parse_rule_with(vocabulary: Vocabulary, text: &str) -> Result<Rule, GrammarError> {
    rule(vocabulary, Piece::new(text, 0).trim()).map_err(|mistake| mistake.in_rule(text))
}

fn rule(vocabulary: Vocabulary, text: Piece<'_>) -> Result<Rule, Mistake> {
    if text.text.is_empty() {
        return Err(text
            .mistake("the rule is empty")
            .with_help("write for example `sync@wal:error=IOERR_FSYNC:when=3`"));
    }
    let mut parts = text.split(":").map(Piece::trim);
    let first = parts.next().unwrap_or(text);
    let Some(effect) = parts.next() else { return Err(no_colon(vocabulary, first)) };
    let mut draft = Draft::new(vocabulary, selector(first)?);
    for (index, item) in effect.split(",").map(Piece::trim).enumerate() {
        effect_item(vocabulary, &mut draft, item, index)?;
    }
    for part in parts {
        modifier(vocabulary, &mut draft, part)?;
    }
    draft.finish(effect.span())
}

/// A text without a colon: the selector may be good up to where the colon belongs.
fn no_colon(vocabulary: Vocabulary, text: Piece<'_>) -> Mistake {
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
    let help = format!("write `{select}:EFFECT`; {}", vocabulary.effects_help());
    Mistake::new(rest.start..end, "a colon is missing here").with_help(help)
}

/// The key and value of `KEY[=VALUE]`.
fn key_and_value(item: Piece<'_>) -> (Piece<'_>, Option<Piece<'_>>) {
    match item.split_once("=") {
        Some((key, value)) => (key.trim(), Some(value.trim())),
        None => (item, None),
    }
}

fn effect_item(vocabulary: Vocabulary, draft: &mut Draft, item: Piece<'_>, index: usize) -> Result<(), Mistake> {
    if item.text.is_empty() {
        return Err(item.mistake("an effect is missing here").with_help(vocabulary.effects_help()));
    }
    let (word, value) = key_and_value(item);
    match vocabulary.find(word.text) {
        Some((key, true)) => draft.set(key, item.span(), value),
        Some(_) if index == 0 => {
            let sentence = format!("{} is a modifier, and the effect comes before it", word.quoted());
            Err(word.mistake(sentence).with_help(vocabulary.effects_help()))
        }
        Some(_) => {
            let sentence = format!("{} is a modifier, not a part of the effect", word.quoted());
            Err(word.mistake(sentence).with_help("put `:` before it, not `,`"))
        }
        None => {
            Err(word.mistake(format!("unknown effect {}", word.quoted())).with_help(effect_help(vocabulary, word.text)))
        }
    }
}

/// A code by itself is likely to be meant as an error with that code.
fn effect_help(vocabulary: Vocabulary, word: &str) -> String {
    if let Some(nearest) = suggest::nearest(word, vocabulary.effect_words()) {
        format!("did you mean `{nearest}`?")
    } else if let Ok(code) = word.parse::<ResultCode>() {
        format!("did you mean `error={code}`?")
    } else if let Ok(errno) = word.parse::<Errno>() {
        format!("did you mean `errno={errno}`?")
    } else {
        vocabulary.effects_help()
    }
}

fn modifier(vocabulary: Vocabulary, draft: &mut Draft, item: Piece<'_>) -> Result<(), Mistake> {
    let modifiers = || suggest::help("", "modifiers", Vocabulary::modifier_words());
    if item.text.is_empty() {
        return Err(item.mistake("a modifier is missing here").with_help(modifiers()));
    }
    let (word, value) = key_and_value(item);
    match vocabulary.find(word.text) {
        Some((_, true)) => {
            let sentence = format!("{} is part of an effect, not a modifier", word.quoted());
            Err(word.mistake(sentence).with_help("put it before the modifiers, joined to the effect by `,`"))
        }
        Some((key, false)) => draft.set(key, item.span(), value),
        None => {
            let help = suggest::help(word.text, "modifiers", Vocabulary::modifier_words());
            Err(word.mistake(format!("unknown modifier {}", word.quoted())).with_help(help))
        }
    }
}
