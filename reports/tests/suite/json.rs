//! JSON: the printed line and the saved record.

use crate::sample;
use seawall_harness::record::SCHEMA;
use seawall_reports::json;

#[test]
fn a_saved_record_is_read_back_unchanged() {
    let record = sample::soak();
    let text = json::full(&record);
    assert_eq!(json::parse_full(&text).unwrap(), record);
    assert_eq!(json::full(&json::parse_full(&text).unwrap()), text);
}

#[test]
fn the_printed_object_is_one_line_with_every_field_but_samples_and_shares() {
    let record = sample::soak();
    let text = json::soak(&record);
    assert_eq!(text.matches('\n').count(), 1);
    assert!(text.ends_with("}\n"));
    let printed: serde_json::Value = serde_json::from_str(&text).unwrap();
    let mut whole = serde_json::to_value(&record).unwrap();
    assert!(whole.as_object_mut().unwrap().remove("shares").is_some(), "which are the same cells again");
    for cell in whole["matrix"].as_array_mut().unwrap() {
        assert!(cell.as_object_mut().unwrap().remove("sample").is_some());
    }
    assert_eq!(printed, whole);
    for field in
        ["strategy", "fault", "medium", "verdict", "expected", "runs", "acked", "lost", "corrupt", "opens", "token"]
    {
        assert!(!printed["matrix"][0][field].is_null(), "{field}");
    }
}

#[test]
fn another_schema_is_refused_by_its_number() {
    let record = seawall_harness::record::SoakRecord { schema: 7, ..sample::soak() };
    let error = json::parse_full(&json::full(&record)).unwrap_err().to_string();
    assert!(error.contains("schema 7") && error.contains(&format!("schema {SCHEMA}")), "{error}");
    // A future layout may have none of the present fields.
    let error = json::parse_full(r#"{"schema":8,"cells":[]}"#).unwrap_err().to_string();
    assert!(error.contains("schema 8"), "{error}");
}

#[test]
fn a_text_that_is_not_a_record_is_refused() {
    for text in ["", "{", "[]", "{\"schema\":1}", "{\"seed\":1}", "null"] {
        let error = json::parse_full(text).unwrap_err().to_string();
        assert!(error.starts_with("this is not the record of a soak"), "{text}: {error}");
    }
}

#[test]
fn the_comparison_with_plain_sqlite_is_a_field_of_the_cells_that_are_worse_alone() {
    let record = sample::with_worse_cell();
    let line: serde_json::Value = serde_json::from_str(&json::soak(&record)).unwrap();
    let worse: Vec<_> = line["matrix"].as_array().unwrap().iter().filter_map(|c| c.get("worse_than_plain")).collect();
    let expected = serde_json::json!({
        "plain": "percall", "runs": 200, "lost": 12, "plain_lost": 3, "corrupt": 2, "plain_corrupt": 0
    });
    assert_eq!(worse, [&expected]);
    assert_eq!(json::parse_full(&json::full(&record)).unwrap(), record);
}
