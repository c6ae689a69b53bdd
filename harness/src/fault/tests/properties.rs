//! Properties of both forms: printing and parsing are inverses, and no text brings the parsers down.

use super::super::arbitrary::{mutated, rule, soup};
use super::super::effect::EFFECTS;
use super::super::toml::{self, FaultFile};
use super::super::{GrammarError, Rule, parse_rule};
use crate::outsider::ACTION_WORDS;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

fn file() -> impl Strategy<Value = FaultFile> {
    (any::<Option<u64>>(), prop::collection::vec(rule(), 0..4)).prop_map(|(seed, rules)| FaultFile { seed, rules })
}

/// What holds of every error: its span can be cut out, its place exists, and no control character of the text gets
/// through to the terminal. The caret line stands under the line shown.
fn is_sound(error: &GrammarError) -> Result<(), TestCaseError> {
    let span = error.span();
    prop_assert!(error.text().get(span.clone()).is_some(), "{span:?} of {:?}", error.text());
    let (line, column) = error.line_and_column();
    prop_assert!(line >= 1 && column >= 1);
    let shown = error.to_string();
    prop_assert!(!shown.contains(|c: char| c.is_control() && c != '\n'), "{shown:?}");
    prop_assert!(shown.lines().count() <= 4, "{shown:?}");
    prop_assert!(!error.message().is_empty());
    let lines: Vec<_> = shown.lines().collect();
    if let [_, line, carets, ..] = lines[..]
        && line.starts_with("  ")
    {
        let carets = carets.trim_start_matches(' ');
        prop_assert!(!carets.is_empty() && carets.chars().all(|c| c == '^'), "{shown:?}");
    }
    Ok(())
}

/// The text is refused soundly, or is a rule like any other.
fn rule_or_error(text: &str) -> Result<(), TestCaseError> {
    match parse_rule(text) {
        Ok(rule) => prop_assert_eq!(parse_rule(&rule.to_string()), Ok(rule)),
        Err(error) => {
            prop_assert_eq!(error.text(), text);
            is_sound(&error)?;
        }
    }
    Ok(())
}

fn file_or_error(text: &str) -> Result<(), TestCaseError> {
    match toml::parse(text) {
        Ok(file) => prop_assert_eq!(toml::parse(&toml::print(&file)), Ok(file)),
        Err(error) => is_sound(&error)?,
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn a_rule_parses_as_it_prints(rule in rule()) {
        prop_assert_eq!(parse_rule(&rule.to_string()), Ok(rule));
    }

    #[test]
    fn a_printed_rule_is_canonical(rule in rule()) {
        let text = rule.to_string();
        prop_assert_eq!(text.parse::<Rule>().map(|rule| rule.to_string()), Ok(text));
    }

    #[test]
    fn a_file_parses_as_it_prints(file in file()) {
        prop_assert_eq!(toml::parse(&toml::print(&file)), Ok(file));
    }

    #[test]
    fn a_rule_in_toml_is_the_rule_in_text(rule in rule()) {
        let file = FaultFile { seed: None, rules: vec![rule] };
        let from_toml = toml::parse(&toml::print(&file)).map(|file| file.rules[0].to_string());
        prop_assert_eq!(from_toml, Ok(file.rules[0].to_string()));
    }

    #[test]
    fn no_text_brings_the_rule_parser_down(text in prop_oneof![any::<String>(), soup()]) {
        rule_or_error(&text)?;
    }

    #[test]
    fn no_mutated_rule_brings_the_rule_parser_down(text in rule().prop_flat_map(|rule| mutated(rule.to_string()))) {
        rule_or_error(&text)?;
    }

    #[test]
    fn no_text_brings_the_file_parser_down(text in prop_oneof![any::<String>(), soup()]) {
        file_or_error(&text)?;
    }

    #[test]
    fn no_mutated_file_brings_the_file_parser_down(text in file().prop_flat_map(|file| mutated(toml::print(&file)))) {
        file_or_error(&text)?;
    }
}

/// A generator that leaves an effect or an action out would make the properties above say less than they seem to.
#[test]
fn generated_rules_have_every_effect_and_every_action_of_an_outsider() {
    let mut runner = TestRunner::deterministic();
    let rules = (0..3000).map(|_| rule().new_tree(&mut runner).unwrap().current());
    let rules: Vec<String> = rules.map(|rule| rule.to_string()).collect();
    let words = EFFECTS.iter().map(|entry| format!(":{}", entry.key.word));
    for word in words.chain(ACTION_WORDS.iter().map(|action| format!(":outside={action}"))) {
        assert!(rules.iter().any(|rule| rule.contains(&word)), "{word}");
    }
}
