//! Tokens and files of single errors.
//!
//! ```text
//! se1:WAL:FULL:3.54.1:immediate:2a:sync@wal:error=IOERR_FSYNC:when=2:5f0c81d7
//!  │   │    │     │       │     │  └ the rule                       └ CRC-32 of all before it
//!  │   │    │     │       │     └ the seed of the case, hexadecimal
//!  │   │    │     │       └ device
//!  │   │    │     └ version of SQLite, or PATH#HASH of a library
//!  │   │    └ synchronous
//!  │   └ journal mode
//!  └ format version
//! ```

use super::super::case::Case;
use super::super::cell::CellSettings;
use crate::case_file::{self, CaseFileError};
use crate::engines;
use seawall_harness::fault::Rule;
use seawall_harness::media::sim::durability::Device;
use seawall_harness::record::Finding;
use seawall_harness::seed::Seed;
use seawall_harness::token::{seal, unseal};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::Path;
use std::str::FromStr;

/// The present format version of tokens.
pub const VERSION: &str = "se1";

/// The format of the files. Another number is refused.
pub const FORMAT: u32 = 1;

/// The field with the format.
pub const FORMAT_FIELD: &str = "sweep_format";

/// Names one execution with one fault.
#[derive(Clone, Debug, PartialEq)]
pub struct SweepToken {
    /// Journal mode and level.
    pub settings: CellSettings,
    /// The version of SQLite, or `PATH#HASH` of a library.
    pub sqlite: String,
    /// The device, in words.
    pub device: String,
    /// The seed of the case.
    pub seed: Seed,
    /// The fault.
    pub rule: Rule,
}

/// Why a text is not a token of a single error.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SweepTokenError {
    /// It has not the form of one.
    #[error(
        "`{0}` is not a token of a single error: one looks like {VERSION}:MODE:LEVEL:SQLITE:DEVICE:SEED:RULE:CHECKSUM"
    )]
    Malformed(String),
    /// Another version of the lab made it.
    #[error(
        "token format `{0}` is not the format `{VERSION}` of this version of seawall: it would be another execution"
    )]
    OtherVersion(String),
    /// Some character has changed.
    #[error("token `{0}` is damaged: its checksum does not match. Copy it again, whole")]
    Damaged(String),
}

impl SweepToken {
    /// The case that the token names.
    pub fn case(&self) -> Case {
        super::case(self.settings, &self.sqlite, &self.device, self.seed.0)
    }
}

impl fmt::Display for SweepToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { settings, sqlite, device, seed, rule } = self;
        let (mode, level) = (settings.journal_mode.word(), settings.synchronous.word());
        let sqlite = engines::escaped(sqlite);
        f.write_str(&seal(&format!("{VERSION}:{mode}:{level}:{sqlite}:{device}:{:x}:{rule}", seed.0)))
    }
}

impl FromStr for SweepToken {
    type Err = SweepTokenError;

    fn from_str(text: &str) -> Result<Self, SweepTokenError> {
        let text = text.trim();
        let shown = || text.chars().take(80).collect::<String>();
        let malformed = || SweepTokenError::Malformed(shown());
        let (body, is_intact) = unseal(text).ok_or_else(malformed)?;
        let fields: Vec<&str> = body.splitn(7, ':').collect();
        if fields[0] != VERSION {
            let digits =
                fields[0].strip_prefix("se").is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()));
            return Err(if digits { SweepTokenError::OtherVersion(fields[0].to_owned()) } else { malformed() });
        }
        let [_, mode, level, sqlite, device, seed, rule] = fields[..] else { return Err(malformed()) };
        if !is_intact {
            return Err(SweepTokenError::Damaged(shown()));
        }
        device.parse::<Device>().map_err(|_| malformed())?;
        let (Ok(journal_mode), Ok(synchronous), Ok(seed), Ok(rule)) =
            (mode.parse(), level.parse(), u64::from_str_radix(seed, 16), rule.parse())
        else {
            return Err(malformed());
        };
        let settings = CellSettings { journal_mode, synchronous };
        let sqlite = engines::unescaped(sqlite).ok_or_else(malformed)?;
        Ok(Self { settings, sqlite, device: device.to_owned(), seed: Seed(seed), rule })
    }
}

/// A case with one fault: the content of a file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SweepFile {
    /// [`FORMAT`]
    pub sweep_format: u32,
    /// The case.
    pub case: Case,
    /// The fault.
    pub rule: Rule,
    /// What the oracles found, worst first.
    #[serde(default)]
    pub findings: Vec<Finding>,
    /// Checksum over all that happened.
    pub digest: Option<String>,
    /// The calls, one a line.
    #[serde(default)]
    pub calls: Vec<String>,
}

impl SweepFile {
    /// Reads a file.
    ///
    /// # Errors
    /// If it cannot be read or is of another format.
    pub fn read(path: &Path) -> Result<Self, CaseFileError> {
        case_file::read(path, FORMAT_FIELD, FORMAT)
    }
}
