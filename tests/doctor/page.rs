//! The page `docs/doctor.md` has what the table of codes has, and the catalogue has a state for each code.

use crate::{healthy, sick, surroundings};
use seawall::doctor::codes;
use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::Path;

const BEGIN: &str = "<!-- codes: written by `UPDATE_DOCTOR_PAGE=1 cargo test -p seawall --test doctor page` -->\n";

/// What no state of the catalogue makes, and why.
const ELSEWHERE: [(&str, &str); 4] = [
    ("network-file-system", "needs a network; the table of file systems has a test of its own"),
    ("journal", "has a test without /proc, where locks are not shown"),
    ("confined", "has a test with a namespace of its own"),
    ("temp-unwritable", "has a test with a namespace of its own"),
];

fn section() -> String {
    let mut text = String::new();
    for kind in codes() {
        let severities: Vec<&str> = kind.severities.iter().map(|severity| severity.word()).collect();
        let _ = writeln!(
            text,
            "### `{}`\n\n*{}*: {}.\n\n{}\n\n- To do: {}\n- Not to do: {}\n",
            kind.code,
            severities.join(" or "),
            kind.title,
            kind.meaning,
            kind.to_do,
            kind.not_to_do
        );
    }
    text
}

#[test]
fn the_page_has_what_the_table_has() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/doctor.md");
    let page = std::fs::read_to_string(&path).unwrap();
    let (before, after) = page.split_once(BEGIN).expect("the line before the codes");
    if std::env::var_os("UPDATE_DOCTOR_PAGE").is_some() {
        std::fs::write(&path, format!("{before}{BEGIN}\n{}", section())).unwrap();
        return;
    }
    assert_eq!(after.trim(), section().trim(), "run the test with UPDATE_DOCTOR_PAGE=1");
    assert!(!page.to_lowercase().contains("healthy"));
}

#[test]
fn the_catalogue_has_a_state_for_each_code() {
    let lists = [healthy::AT_WORK, healthy::AFTER_A_KILL, sick::HOLDERS, sick::FILES, surroundings::STATES];
    let made: BTreeSet<&str> =
        lists.iter().flat_map(|list| list.iter()).flat_map(|state| state.must).copied().collect();
    let missing: Vec<&str> = codes()
        .iter()
        .map(|kind| kind.code)
        .filter(|code| !made.contains(code) && ELSEWHERE.iter().all(|(other, _)| other != code))
        .collect();
    assert_eq!(missing, [""; 0]);
    assert!(lists.iter().map(|list| list.len()).sum::<usize>() >= 60);
}
