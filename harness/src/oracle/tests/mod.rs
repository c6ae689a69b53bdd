//! Tests of the list of oracles, and of the page that explains how to add one.

use super::*;

mod toy;

const PAGE: &str = include_str!("../../../../docs/contributing/oracle.md");

#[test]
fn canary_each_oracle_alone_finds_its_own_planted_defect() {
    for oracle in ORACLES.iter().chain(&[toy::ORACLE]) {
        assert_eq!((oracle.judge)(&Evidence::default()), [], "{}", oracle.name);
        assert_ne!((oracle.judge)(&(oracle.canary)()), [], "{}", oracle.name);
    }
    for oracle in ORACLES {
        let found = judge(&(oracle.canary)());
        assert!(found.iter().all(|finding| finding.oracle == oracle.name), "{}: {found:?}", oracle.name);
    }
}

#[test]
fn findings_are_reported_worst_first_and_in_the_order_of_the_list() {
    let mut evidence = (progress::ORACLE.canary)();
    evidence.walindex = (walindex::ORACLE.canary)().walindex;
    evidence.checks = (integrity::ORACLE.canary)().checks;
    evidence.unrepeatable_reads = vec!["p1.t1 read 1 and then 2".to_owned()];
    evidence.isolation = (isolation::ORACLE.canary)().isolation;
    let found: Vec<String> = judge(&evidence).into_iter().map(|finding| finding.oracle).collect();
    assert_eq!(found, ["walindex", "isolation", "isolation", "integrity", "progress"]);
}

#[test]
fn the_page_lists_every_oracle_and_shows_the_toy_oracle() {
    for Oracle { name, property, .. } in ORACLES {
        assert!(PAGE.contains(&format!("| `{name}` | {property} |\n")), "{name}");
    }
    assert!(PAGE.contains(&format!("```rust\n{}```\n", include_str!("toy.rs"))));
}

#[test]
fn the_toy_oracle_of_the_page_joins_a_list_by_one_entry() {
    let oracles = [ORACLES, &[toy::ORACLE]].concat();
    let found = judge_by(&oracles, &(toy::ORACLE.canary)());
    assert_eq!(found.iter().map(|finding| &*finding.oracle).collect::<Vec<_>>(), ["first-attempt"]);
    assert_eq!(found[0].detail, "p1.t1 needed 2 attempts");
}
