//! Tokens of power cuts.
//!
//! ```text
//! sp1:WAL:NORMAL:3.54.1:ordered:2a:117/3:1*4.0/1:5f0c81d7
//!  │   │    │      │      │     │   │      │      └ CRC-32 of all before it
//!  │   │    │      │      │     │   │      └ the fates of what was pending; behind `/` those in the recovery
//!  │   │    │      │      │     │   └ how many events there were before the cut; behind `/` in the recovery
//!  │   │    │      │      │     └ the seed of the case, hexadecimal
//!  │   │    │      │      └ device
//!  │   │    │      └ version of SQLite, or PATH#HASH of a library
//!  │   │    └ synchronous
//!  │   └ journal mode
//!  └ format version
//! ```

use super::case::{Case, CutText};
use super::cell::CellSettings;
use super::fates;
use crate::engines;
use seawall_harness::media::sim::durability::Device;
use seawall_harness::seed::Seed;
use seawall_harness::token::{seal, unseal};
use std::fmt;
use std::str::FromStr;

/// The present format version.
pub const VERSION: &str = "sp1";

/// Names one image: a case, a cut and the fates of what was pending.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PowercutToken {
    /// What is cut off.
    pub subject: TokenSubject,
    /// The version of SQLite, or `PATH#HASH` of a library.
    pub sqlite: String,
    /// The device, in words.
    pub device: String,
    /// The seed of the case.
    pub seed: Seed,
    /// The cut, and those in the recovery.
    pub cuts: Vec<CutText>,
}

/// See [`PowercutToken`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenSubject {
    /// The table's workload, under these settings.
    Sql(CellSettings),
    /// A run of a strategy under a fault; written `~STRATEGY:FAULT` in the place of mode and level.
    Strategy {
        /// The name of the strategy.
        strategy: String,
        /// The name of the fault.
        fault: String,
    },
}

/// Why a text is not a token of a power cut.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PowercutTokenError {
    /// It has not the form of one.
    #[error(
        "`{0}` is not a token of a power cut: one looks like {VERSION}:MODE:LEVEL:SQLITE:DEVICE:SEED:CUT:FATES:CHECKSUM"
    )]
    Malformed(String),
    /// Another version of the lab made it.
    #[error("token format `{0}` is not the format `{VERSION}` of this version of seawall: it would be another image")]
    OtherVersion(String),
    /// Some character has changed.
    #[error("token `{0}` is damaged: its checksum does not match. Copy it again, whole")]
    Damaged(String),
}

impl PowercutToken {
    /// The case that the token names; `None` for a run of a strategy.
    pub fn case(&self) -> Option<Case> {
        match &self.subject {
            TokenSubject::Sql(settings) => Some(Case::draw(*settings, &self.sqlite, &self.device, self.seed)),
            TokenSubject::Strategy { .. } => None,
        }
    }
}

impl fmt::Display for PowercutToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { subject, sqlite, device, seed, cuts } = self;
        let subject = match subject {
            TokenSubject::Sql(settings) => {
                format!("{}:{}", settings.journal_mode.word(), settings.synchronous.word())
            }
            TokenSubject::Strategy { strategy, fault } => format!("~{strategy}:{fault}"),
        };
        let positions: Vec<String> = cuts.iter().map(|cut| cut.position.to_string()).collect();
        let fates: Vec<&str> = cuts.iter().map(|cut| &*cut.fates).collect();
        let (positions, fates) = (positions.join("/"), fates.join("/"));
        let sqlite = engines::escaped(sqlite);
        f.write_str(&seal(&format!("{VERSION}:{subject}:{sqlite}:{device}:{:x}:{positions}:{fates}", seed.0)))
    }
}

impl FromStr for PowercutToken {
    type Err = PowercutTokenError;

    fn from_str(text: &str) -> Result<Self, PowercutTokenError> {
        let text = text.trim();
        let shown = || text.chars().take(80).collect::<String>();
        let malformed = || PowercutTokenError::Malformed(shown());
        let (body, intact) = unseal(text).ok_or_else(malformed)?;
        let fields: Vec<&str> = body.split(':').collect();
        if fields[0] != VERSION {
            let digits =
                fields[0].strip_prefix("sp").is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()));
            return Err(if digits { PowercutTokenError::OtherVersion(fields[0].to_owned()) } else { malformed() });
        }
        let [_, mode, level, sqlite, device, seed, positions, all_fates] = fields[..] else { return Err(malformed()) };
        if !intact {
            return Err(PowercutTokenError::Damaged(shown()));
        }
        let subject = match (mode.strip_prefix('~'), mode.parse(), level.parse()) {
            (Some(strategy), ..) => TokenSubject::Strategy { strategy: strategy.to_owned(), fault: level.to_owned() },
            (None, Ok(journal_mode), Ok(synchronous)) => TokenSubject::Sql(CellSettings { journal_mode, synchronous }),
            _ => return Err(malformed()),
        };
        device.parse::<Device>().map_err(|_| malformed())?;
        let (positions, all_fates): (Vec<&str>, Vec<&str>) =
            (positions.split('/').collect(), all_fates.split('/').collect());
        if positions.len() != all_fates.len() {
            return Err(malformed());
        }
        let cut = |(position, text): (&&str, &&str)| {
            fates::of_text(text)?;
            Some(CutText { position: position.parse().ok()?, fates: (*text).to_owned() })
        };
        let cuts: Option<Vec<CutText>> = positions.iter().zip(&all_fates).map(cut).collect();
        Ok(Self {
            subject,
            sqlite: engines::unescaped(sqlite).ok_or_else(malformed)?,
            device: device.to_owned(),
            seed: Seed(u64::from_str_radix(seed, 16).map_err(|_| malformed())?),
            cuts: cuts.ok_or_else(malformed)?,
        })
    }
}
