//! Records as JSON: one line for programs that read standard output, and the whole record for a file.

use seawall_harness::record::{Cell, Comparison, ErrorCount, PowerRecord, SCHEMA, SoakRecord};
use seawall_harness::verdict::Verdict;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The object that `seawall soak --format json` prints, on one line: every field except the samples and
/// the shares.
pub fn soak(record: &SoakRecord) -> String {
    let SoakRecord { schema, seed, sqlite, scratch, platform, seconds, interrupted, matrix, .. } = record;
    line(&SoakLine {
        schema: *schema,
        seed: *seed,
        sqlite,
        scratch,
        platform,
        seconds: *seconds,
        interrupted: *interrupted,
        matrix: matrix.iter().map(CellLine::from_cell).collect(),
    })
}

/// The whole record with its samples. [`parse_full`] reads it.
pub fn full(record: &SoakRecord) -> String {
    line(record)
}

/// The whole record of power cuts.
pub fn power(record: &PowerRecord) -> String {
    line(record)
}

/// The record that [`full`] wrote.
///
/// # Errors
/// If the text is not JSON, is a record of another schema version, or lacks a field.
pub fn parse_full(text: &str) -> Result<SoakRecord, ParseError> {
    #[derive(Deserialize)]
    struct Version {
        schema: u32,
    }
    // The version is read first, so a record of another layout is refused for its version and not for a missing field.
    let version: Version = serde_json::from_str(text).map_err(ParseError::NotARecord)?;
    if version.schema != SCHEMA {
        return Err(ParseError::OtherSchema { found: version.schema });
    }
    serde_json::from_str(text).map_err(ParseError::NotARecord)
}

/// Why a text cannot be read as a record.
#[derive(Debug, thiserror::Error)]
pub enum ParseError {
    /// The record has a layout that this version does not read.
    #[error(
        "this is a record of schema {found}; this version reads schema {SCHEMA}: render it with the version that wrote it"
    )]
    OtherSchema {
        /// The schema version that the record names.
        found: u32,
    },
    /// The text is not JSON, or not a record.
    #[error("this is not the record of a soak: {0}")]
    NotARecord(#[source] serde_json::Error),
}

pub(crate) fn line(value: &impl Serialize) -> String {
    let mut text = serde_json::to_string(value).expect("a record has string keys and no failing Serialize");
    text.push('\n');
    text
}

#[derive(Serialize)]
struct SoakLine<'a> {
    schema: u32,
    #[serde(with = "seawall_harness::seed::text")]
    seed: u64,
    sqlite: &'a str,
    scratch: &'a str,
    platform: &'a str,
    seconds: f64,
    interrupted: bool,
    matrix: Vec<CellLine<'a>>,
}

/// All fields of a [`Cell`] except the sample.
#[derive(Serialize)]
struct CellLine<'a> {
    strategy: &'a str,
    fault: &'a str,
    fault_summary: &'a str,
    medium: &'a str,
    verdict: Verdict,
    expected: &'a str,
    as_expected: bool,
    runs: u64,
    acked: u64,
    refused: u64,
    indeterminate: u64,
    lost: u64,
    corrupt: u64,
    lost_silently: u64,
    opens: u64,
    schema_inits: u64,
    calls: u64,
    faults_fired: u64,
    verdicts: &'a BTreeMap<Verdict, u64>,
    errors: &'a [ErrorCount],
    #[serde(skip_serializing_if = "Option::is_none")]
    worse_than_plain: Option<&'a Comparison>,
    token: &'a str,
}

impl<'a> CellLine<'a> {
    fn from_cell(cell: &'a Cell) -> Self {
        Self {
            strategy: &cell.strategy,
            fault: &cell.fault,
            fault_summary: &cell.fault_summary,
            medium: &cell.medium,
            verdict: cell.verdict,
            expected: &cell.expected,
            as_expected: cell.as_expected,
            runs: cell.runs,
            acked: cell.acked,
            refused: cell.refused,
            indeterminate: cell.indeterminate,
            lost: cell.lost,
            corrupt: cell.corrupt,
            lost_silently: cell.lost_silently,
            opens: cell.opens,
            schema_inits: cell.schema_inits,
            calls: cell.calls,
            faults_fired: cell.faults_fired,
            verdicts: &cell.verdicts,
            errors: &cell.errors,
            worse_than_plain: cell.worse_than_plain.as_ref(),
            token: &cell.token,
        }
    }
}
