//! Tokens of explorations.
//!
//! ```text
//! sx2:mixed:3.51.1:rare:none:2a:5f0c81d7
//!  │    │      │     │    │   │     └ CRC-32 of all before it
//!  │    │      │     │    │   └ the execution's seed, hexadecimal
//!  │    │      │     │    └ faults: none, a preset, or `~` and the rules in base64url, one rule a line
//!  │    │      │     └ policy
//!  │    │      └ version of SQLite, or PATH#HASH of a library
//!  │    └ scenario
//!  └ format version
//! ```

use super::ExploreError;
use crate::engines;
use seawall_harness::fault::{self, Rule};
use seawall_harness::seed::Seed;
use seawall_harness::token::{FaultName, seal, unseal};
use std::fmt;
use std::str::FromStr;

/// The present format version.
pub const VERSION: &str = "sx2";

/// The name for no faults.
pub const NO_FAULT: &str = "none";

/// Names one execution of an exploration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExploreToken {
    /// The scenario.
    pub scenario: String,
    /// The version of SQLite, or `PATH#HASH` of a library.
    pub sqlite: String,
    /// The policy.
    pub policy: String,
    /// The faults: [`NO_FAULT`], a preset, or rules.
    pub fault: FaultName,
    /// The execution's seed.
    pub seed: Seed,
}

/// Why a text is not a token of an exploration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExploreTokenError {
    /// It has not the form of one.
    #[error(
        "`{0}` is not a token of an exploration: one looks like {VERSION}:SCENARIO:SQLITE:POLICY:FAULT:SEED:CHECKSUM"
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

impl ExploreToken {
    /// The fault rules.
    ///
    /// # Errors
    /// If there is no such preset, or a rule does not parse.
    pub fn rules(&self) -> Result<Vec<Rule>, ExploreError> {
        match &self.fault {
            FaultName::Named(name) if name == NO_FAULT => Ok(Vec::new()),
            FaultName::Named(name) => Ok(fault::find_preset(name)?.parse()?),
            FaultName::Rules(rules) => {
                Ok(rules.iter().map(|rule| fault::parse_rule(rule)).collect::<Result<_, _>>()?)
            }
        }
    }

    /// The token as a part of a file name.
    pub fn file_stem(&self) -> String {
        // Rules and paths in full would make names too long for some file systems; the checksum tells them apart.
        let token = self.to_string();
        let fields: Vec<&str> = token.split(':').map(|field| if field.len() > 60 { "long" } else { field }).collect();
        fields.join("-").replace(['/', '~', '#', '%'], "_")
    }
}

impl fmt::Display for ExploreToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { scenario, sqlite, policy, fault, seed } = self;
        let sqlite = engines::escaped(sqlite);
        let body = format!("{VERSION}:{scenario}:{sqlite}:{policy}:{fault}:{:x}", seed.0);
        f.write_str(&seal(&body))
    }
}

impl FromStr for ExploreToken {
    type Err = ExploreTokenError;

    fn from_str(text: &str) -> Result<Self, ExploreTokenError> {
        let shown = || text.chars().take(80).collect::<String>();
        let malformed = || ExploreTokenError::Malformed(shown());
        let (body, intact) = unseal(text).ok_or_else(malformed)?;
        let fields: Vec<&str> = body.split(':').collect();
        let version = fields[0];
        if version != VERSION {
            let digits =
                version.strip_prefix("sx").is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()));
            return Err(if digits { ExploreTokenError::OtherVersion(version.to_owned()) } else { malformed() });
        }
        let [_, scenario, sqlite, policy, fault, seed] = fields[..] else { return Err(malformed()) };
        if !intact {
            return Err(ExploreTokenError::Damaged(shown()));
        }
        let own = str::to_owned;
        Ok(Self {
            scenario: own(scenario),
            sqlite: engines::unescaped(sqlite).ok_or_else(malformed)?,
            policy: own(policy),
            fault: fault.parse().map_err(|()| malformed())?,
            seed: Seed(u64::from_str_radix(seed, 16).map_err(|_| malformed())?),
        })
    }
}
