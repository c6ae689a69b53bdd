//! The TOML form, one table for one rule, the same keys as in the text form:
//!
//! ```toml
//! seed = 42
//!
//! [[fault]]
//! call = "shmmap@shm"
//! error = "IOERR_SHMMAP"
//! when = "3"
//! ```
//!
//! An effect without a value is `drop = true`; a value that is a number may be written as one. TOML integers end at
//! 2^63 - 1: a larger seed is a string.

use super::draft::{Draft, selector};
use super::error::{GrammarError, Mistake};
use super::key::{Form, Key, Takes, Vocabulary};
use super::piece::Piece;
use super::value;
use crate::fault::effect::EFFECTS;
use crate::fault::rule::Rule;
use crate::suggest;
use std::borrow::Cow;
use std::ops::Range;
use toml::Spanned;
use toml::de::{DeInteger, DeTable, DeValue};

const CALL: &str = "call";
const SEED: &str = "seed";
const FAULT: &str = "fault";

/// A file of fault rules.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FaultFile {
    /// The seed from which the run's choices are made, if the file names one.
    pub seed: Option<u64>,
    /// The rules, in the file's order.
    pub rules: Vec<Rule>,
}

/// Reads a file.
pub fn parse(text: &str) -> Result<FaultFile, GrammarError> {
    parse_with(Vocabulary(EFFECTS), text)
}

/// Reads a file with the effects of a vocabulary.
pub(in crate::fault) fn parse_with(vocabulary: Vocabulary, text: &str) -> Result<FaultFile, GrammarError> {
    file(vocabulary, text).map_err(|mistake| mistake.in_file(text))
}

/// Prints a file that [`parse`] reads as the same again, given rules that the grammar accepts.
pub fn print(file: &FaultFile) -> String {
    let mut text = String::new();
    if let Some(seed) = file.seed {
        text += &format!("{SEED} = {}\n", number_or_string(&seed.to_string()));
    }
    for rule in &file.rules {
        if !text.is_empty() {
            text.push('\n');
        }
        text += &format!("[[{FAULT}]]\n{CALL} = \"{}\"\n", rule.select);
        for (key, value) in rule.entries() {
            text += &line(key, value.map(|value| value.to_string()).as_deref());
            text.push('\n');
        }
    }
    text
}

/// A key with its value as a line of TOML. No value contains a character that TOML would want escaped.
fn line(key: Key, value: Option<&str>) -> String {
    let literal = match (key.form, value) {
        (_, None) => "true".to_owned(),
        (Form::Probability, Some(value)) => value.to_owned(),
        (Form::When, Some(value)) => format!("\"{value}\""),
        (_, Some(value)) => number_or_string(value),
    };
    format!("{} = {literal}", key.word)
}

fn number_or_string(value: &str) -> String {
    let is_number = value.bytes().all(|byte| byte.is_ascii_digit()) && value.parse::<i64>().is_ok();
    if is_number { value.to_owned() } else { format!("\"{value}\"") }
}

/// A key of a table with its value and their places.
struct Entry<'a> {
    key: &'a str,
    key_span: Range<usize>,
    value: &'a DeValue<'a>,
    value_span: Range<usize>,
}

/// The entries in the file's order, so that the first of several mistakes is the one reported.
fn entries<'a>(table: &'a DeTable<'_>) -> Vec<Entry<'a>> {
    let entry = |(key, value): (&'a Spanned<Cow<'_, str>>, &'a Spanned<DeValue<'_>>)| Entry {
        key: key.get_ref(),
        key_span: key.span(),
        value: value.get_ref(),
        value_span: value.span(),
    };
    let mut entries: Vec<_> = table.iter().map(entry).collect();
    entries.sort_by_key(|entry| entry.key_span.start);
    entries
}

fn file(vocabulary: Vocabulary, text: &str) -> Result<FaultFile, Mistake> {
    let document = DeTable::parse(text)
        .map_err(|error| Mistake::new(error.span().unwrap_or_default(), error.message().replace('\n', ", ")))?;
    let mut file = FaultFile::default();
    for entry in entries(document.get_ref()) {
        match (entry.key, entry.value) {
            (SEED, _) => file.seed = Some(seed(&entry, text)?),
            (FAULT, DeValue::Array(faults)) => {
                for fault in faults.iter() {
                    let DeValue::Table(table) = fault.get_ref() else { return Err(no_table(fault.span())) };
                    file.rules.push(rule(vocabulary, table, fault.span(), text)?);
                }
            }
            (FAULT, _) => return Err(no_table(entry.key_span)),
            (key, _) => {
                let known = key == CALL || vocabulary.find(key).is_some();
                let help = match known {
                    true => format!("it belongs under `[[{FAULT}]]`"),
                    false => suggest::help(key, "keys", [SEED, FAULT]),
                };
                return Err(unknown_key(&entry).with_help(help));
            }
        }
    }
    Ok(file)
}

fn unknown_key(entry: &Entry<'_>) -> Mistake {
    let key = Piece::new(entry.key, entry.key_span.start);
    Mistake::new(entry.key_span.clone(), format!("unknown key {}", key.quoted()))
}

fn no_table(span: Range<usize>) -> Mistake {
    Mistake::new(span, "faults are a list of tables").with_help(format!("write `[[{FAULT}]]` above each"))
}

fn seed(entry: &Entry<'_>, source: &str) -> Result<u64, Mistake> {
    let given = match entry.value {
        DeValue::String(text) => Cow::Borrowed(text.as_ref()),
        DeValue::Integer(integer) => decimal(integer),
        _ => return Err(Mistake::new(entry.value_span.clone(), "a seed is a whole number")),
    };
    in_value(entry, source, &given, value::count)
}

/// A whole number in decimal digits, whatever base it was written in. One that is too large for any use stays as it is.
fn decimal<'a>(integer: &'a DeInteger<'_>) -> Cow<'a, str> {
    match u64::from_str_radix(integer.as_str(), integer.radix()) {
        Ok(number) => Cow::Owned(number.to_string()),
        Err(_) => Cow::Borrowed(integer.as_str()),
    }
}

/// Reads `given`, the text of the entry's value, such that mistakes point into the file. Where the file spells the text
/// differently, by an escape or in another base, they point at the whole value.
fn in_value<T>(
    entry: &Entry<'_>,
    source: &str,
    given: &str,
    read: impl FnOnce(Piece<'_>) -> Result<T, Mistake>,
) -> Result<T, Mistake> {
    let span = &entry.value_span;
    // Bare, in quotes, in triple quotes.
    let starts = [0, 1, 3].map(|quotes| span.start + quotes);
    let spelt = starts.into_iter().find(|&start| source.get(start..start + given.len()) == Some(given));
    let spelt = spelt.filter(|start| start + given.len() <= span.end);
    read(Piece::new(given, spelt.unwrap_or(span.start))).map_err(|mut mistake| {
        if spelt.is_none() || given.is_empty() {
            mistake.span = span.clone();
        }
        mistake
    })
}

fn rule(vocabulary: Vocabulary, table: &DeTable<'_>, header: Range<usize>, source: &str) -> Result<Rule, Mistake> {
    let entries = entries(table);
    let call = entries.iter().find(|entry| entry.key == CALL);
    let call =
        call.ok_or_else(|| match entries.iter().find(|entry| suggest::nearest(entry.key, [CALL]).is_some()) {
            Some(mistyped) => unknown_key(mistyped).with_help(suggest::help(mistyped.key, "keys", [CALL])),
            None => Mistake::new(header.clone(), "the fault names no call")
                .with_help("write for example `call = \"sync@wal\"`"),
        })?;
    let DeValue::String(text) = call.value else {
        let mistake = Mistake::new(call.value_span.clone(), "a call is a string");
        return Err(mistake.with_help("write for example `\"sync@wal\"`"));
    };
    let mut draft = Draft::new(vocabulary, in_value(call, source, text, |piece| selector(piece.trim()))?);
    for entry in entries.iter().filter(|entry| entry.key != CALL) {
        let Some((key, _)) = vocabulary.find(entry.key) else {
            let known = [&[CALL], &*vocabulary.effect_words(), &Vocabulary::modifier_words()].concat();
            return Err(unknown_key(entry).with_help(suggest::help(entry.key, "keys", known)));
        };
        set(&mut draft, key, entry, source)?;
    }
    draft.finish(header)
}

fn set(draft: &mut Draft, key: Key, entry: &Entry<'_>, source: &str) -> Result<(), Mistake> {
    let place = entry.key_span.start..entry.value_span.end;
    let word = key.word;
    let given = match (entry.value, key.form.takes()) {
        (DeValue::Boolean(true), Takes::Nothing | Takes::Perhaps) => return draft.set(key, place, None),
        (DeValue::Boolean(false), Takes::Nothing | Takes::Perhaps) => {
            let sentence = format!("`{word}` is `true` or not there");
            return Err(Mistake::new(entry.value_span.clone(), sentence).with_help("leave the line out"));
        }
        (_, Takes::Nothing) => {
            let sentence = format!("`{word}` takes no value");
            return Err(Mistake::new(entry.value_span.clone(), sentence).with_help(format!("write `{word} = true`")));
        }
        (DeValue::String(text), _) if !text.trim().is_empty() => Cow::Borrowed(text.as_ref()),
        (DeValue::Integer(integer), _) => decimal(integer),
        (DeValue::Float(float), _) => Cow::Borrowed(float.as_str()),
        _ => {
            let example = key.example.split_once('=').map(|(_, value)| value);
            let help = format!("for example `{}`", line(key, example));
            return Err(Mistake::new(entry.value_span.clone(), format!("`{word}` needs a value")).with_help(help));
        }
    };
    in_value(entry, source, &given, |piece| draft.set(key, place, Some(piece.trim())))
}
