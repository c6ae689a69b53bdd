//! The table is whole.

use super::*;
use std::collections::BTreeSet;

#[test]
fn every_kind_has_a_name_of_its_own_and_all_texts() {
    let names: BTreeSet<&str> = codes().iter().map(|kind| kind.code).collect();
    assert_eq!(names.len(), codes().len());
    for kind in codes() {
        let texts = [kind.title, kind.meaning, kind.to_do, kind.not_to_do];
        assert!(texts.iter().all(|text| text.len() > 5 && !text.contains('\n') && !text.contains("  ")), "{kind:?}");
        assert!(kind.severities.is_sorted_by(|a, b| a > b) && !kind.severities.is_empty(), "{kind:?}");
        assert!(kind.code.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-'), "{kind:?}");
        assert_eq!(explain(kind.code), Some(kind));
    }
    let worst: Vec<Severity> = codes().iter().map(|kind| kind.severities[0]).collect();
    assert!(worst.is_sorted_by(|a, b| a >= b), "the dangerous ones first: {worst:?}");
    assert_eq!((explain("healthy"), explain("")), (None, None));
}
