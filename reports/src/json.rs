//! Records as JSON: one line for programs that read standard output, and the whole record for keeping.

use std::collections::BTreeMap;

use seawall_harness::record::{Cell, ErrorCount, SCHEMA, SoakRecord};
use seawall_harness::verdict::Verdict;
use serde::{Deserialize, Serialize};

/// The single object that `seawall soak --format json` prints: every field but the samples, on one line.
pub fn soak(record: &SoakRecord) -> String {
    let SoakRecord { schema, seed, sqlite, scratch, platform, seconds, interrupted, matrix } = record;
    line(&SoakLine {
        schema: *schema,
        seed: *seed,
        sqlite,
        scratch,
        platform,
        seconds: *seconds,
        interrupted: *interrupted,
        matrix: matrix.iter().map(CellLine::new).collect(),
    })
}

/// The whole record with its samples, from which [`parse_full`] makes the record again.
pub fn full(record: &SoakRecord) -> String {
    line(record)
}

/// The record that [`full`] wrote.
///
/// # Errors
/// If the text is no JSON, or a record of another schema version, or lacks a field.
pub fn parse_full(text: &str) -> Result<SoakRecord, ParseError> {
    #[derive(Deserialize)]
    struct Version {
        schema: u32,
    }
    // The version is read first: a record of another layout must be refused for being one, not for some field it lacks.
    let version: Version = serde_json::from_str(text).map_err(ParseError::NotARecord)?;
    if version.schema != SCHEMA {
        return Err(ParseError::OtherSchema { found: version.schema });
    }
    serde_json::from_str(text).map_err(ParseError::NotARecord)
}

/// Why a text is no record.
#[derive(Debug, thiserror::Error)]
pub enum ParseError {
    /// It is a record, of a layout that this version does not read.
    #[error(
        "this is a record of schema {found}; this version reads schema {SCHEMA}: render it with the version that wrote it"
    )]
    OtherSchema {
        /// The schema version that the record names.
        found: u32,
    },
    /// It is not JSON, or not a record.
    #[error("this is no record of a soak: {0}")]
    NotARecord(#[source] serde_json::Error),
}

fn line(value: &impl Serialize) -> String {
    let mut text = serde_json::to_string(value).expect("a record has string keys and no failing Serialize");
    text.push('\n');
    text
}

#[derive(Serialize)]
struct SoakLine<'a> {
    schema: u32,
    seed: u64,
    sqlite: &'a str,
    scratch: &'a str,
    platform: &'a str,
    seconds: f64,
    interrupted: bool,
    matrix: Vec<CellLine<'a>>,
}

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
    token: &'a str,
}

impl<'a> CellLine<'a> {
    /// Takes the cell apart by name, so that a field added to it cannot be forgotten here.
    fn new(cell: &'a Cell) -> Self {
        let Cell {
            strategy,
            fault,
            fault_summary,
            medium,
            verdict,
            expected,
            as_expected,
            runs,
            acked,
            refused,
            indeterminate,
            lost,
            corrupt,
            lost_silently,
            opens,
            schema_inits,
            calls,
            faults_fired,
            verdicts,
            errors,
            token,
            sample: _,
        } = cell;
        Self {
            strategy,
            fault,
            fault_summary,
            medium,
            verdict: *verdict,
            expected,
            as_expected: *as_expected,
            runs: *runs,
            acked: *acked,
            refused: *refused,
            indeterminate: *indeterminate,
            lost: *lost,
            corrupt: *corrupt,
            lost_silently: *lost_silently,
            opens: *opens,
            schema_inits: *schema_inits,
            calls: *calls,
            faults_fired: *faults_fired,
            verdicts,
            errors,
            token,
        }
    }
}
