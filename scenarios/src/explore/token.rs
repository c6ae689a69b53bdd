//! Tokens of explorations.
//!
//! ```text
//! sx1:mixed:3.51.1:rare:2a:5f0c81d7
//!  │    │      │     │   │     └ CRC-32 of all before it
//!  │    │      │     │   └ the execution's seed, hexadecimal
//!  │    │      │     └ policy
//!  │    │      └ version of SQLite
//!  │    └ scenario
//!  └ format version
//! ```

use std::fmt;
use std::str::FromStr;

use seawall_harness::seed::Seed;
use seawall_harness::token::{seal, unseal};

/// The present format version.
pub const VERSION: &str = "sx1";

/// Names one execution of an exploration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExploreToken {
    /// The scenario.
    pub scenario: String,
    /// The version of SQLite.
    pub sqlite: String,
    /// The policy.
    pub policy: String,
    /// The execution's seed.
    pub seed: Seed,
}

/// Why a text is no token of an exploration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExploreTokenError {
    /// Not of the form.
    #[error("`{0}` is not a token of an exploration: one looks like {VERSION}:SCENARIO:SQLITE:POLICY:SEED:CHECKSUM")]
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

impl fmt::Display for ExploreToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { scenario, sqlite, policy, seed } = self;
        let body = format!("{VERSION}:{scenario}:{sqlite}:{policy}:{:x}", seed.0);
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
        let [version, scenario, sqlite, policy, seed] = fields[..] else { return Err(malformed()) };
        if version != VERSION {
            return Err(ExploreTokenError::OtherVersion(version.chars().take(20).collect()));
        }
        if !intact {
            return Err(ExploreTokenError::Damaged(shown()));
        }
        let seed = u64::from_str_radix(seed, 16).map_err(|_| malformed())?;
        let own = str::to_owned;
        Ok(Self { scenario: own(scenario), sqlite: own(sqlite), policy: own(policy), seed: Seed(seed) })
    }
}
