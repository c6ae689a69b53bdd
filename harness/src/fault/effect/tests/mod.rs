//! Tests of the list of effects, and of the page that explains how to add one.

use super::*;
use crate::fault::parse::grammar::parse_rule_with;
use crate::fault::parse::key::Vocabulary;
use crate::fault::parse::toml::parse_with;
use crate::fault::{FaultFile, Rule, parse_rule, toml};

mod zero;

const PAGE: &str = include_str!("../../../../../docs/contributing/effect.md");

/// The list with one more entry, as the page says.
const WITH_ZERO: &[EffectEntry] = &[error::EFFECT, torn::EFFECT, zero::EFFECT];

/// A rule with the toy effect of the page.
pub(crate) fn toy_rule(text: &str) -> Rule {
    parse_rule_with(Vocabulary(WITH_ZERO), text).unwrap()
}

#[test]
fn the_page_lists_every_effect_and_shows_the_toy_effect() {
    for EffectEntry { forms, summary, goes_with, .. } in EFFECTS {
        let row = format!("| {forms} | {summary} | {goes_with} |\n");
        assert!(PAGE.contains(&row), "{row}");
    }
    assert!(PAGE.contains(&format!("```rust\n{}```\n", include_str!("zero.rs"))));
}

#[test]
fn every_effect_parses_from_its_example() {
    for entry in EFFECTS {
        let method = Method::ALL.iter().find(|method| parse_rule(&format!("{method}:{}", entry.key.example)).is_ok());
        assert!(method.is_some(), "{}", entry.key.word);
        assert!(entry.forms.starts_with(&format!("`{}", entry.key.word)), "{}", entry.key.word);
    }
}

#[test]
fn the_toy_effect_has_the_whole_grammar_by_one_entry() {
    let rule = toy_rule("read@db : zero : when = 2+");
    assert_eq!(rule.to_string(), "read@db:zero:when=2+");
    let file = FaultFile { seed: None, rules: vec![rule] };
    let text = "[[fault]]\ncall = \"read@db\"\nzero = true\nwhen = \"2+\"\n";
    assert_eq!(toml::print(&file), text);
    assert_eq!(parse_with(Vocabulary(WITH_ZERO), text), Ok(file));

    let refused = |text| parse_rule_with(Vocabulary(WITH_ZERO), text).unwrap_err().to_string();
    assert_eq!(
        refused("write@db:zero"),
        "`zero` goes with `read` only, not with `write`\n  write@db:zero\n           ^^^^"
    );
    assert_eq!(
        refused("read@db:zerro"),
        "unknown effect `zerro`\n  read@db:zerro\n          ^^^^^\nhelp: did you mean `zero`?"
    );
    assert!(refused("read@db:zero,error=IOERR").contains("`error` does not go with `zero`"));
    assert!(refused("read@db:zero,torn=1").contains("a rule has one effect"));
    assert!(refused("read@db:huh").ends_with("help: effects: error, torn, zero"));
}

#[test]
fn actions_have_their_kinds_in_the_trace() {
    let call = Call { method: Method::Sync, role: Role::Db, file: 1, arg: 0, amount: 0 };
    let kind = |rule: &str| parse_rule(rule).unwrap().effect.act(&call, 0).kind();
    assert_eq!(kind("sync@db:error=IOERR_FSYNC,dirty=late"), RulingKind::Fail);
    assert_eq!(kind("sync@db:errno=EIO"), RulingKind::Fail);
    assert_eq!(kind("sync@db:lie"), RulingKind::Mutate);
    assert_eq!(kind("sync@db:stall=1ms"), RulingKind::Stall);
    assert_eq!(kind("sync@db:drop-locks"), RulingKind::DropLocks);
    assert_eq!(kind("sync@db:outside=move"), RulingKind::Outside);
    assert_eq!(kind("sync@db:kill"), RulingKind::Kill);
    assert_eq!(kind("sync@db:power-cut"), RulingKind::PowerCut);
}
