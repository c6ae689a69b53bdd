//! Tokens: the short string that reproduces a run.
//!
//! ```text
//! sw1:openhuman:cantopen-once:real:2a:5f0c81d7
//!  │      │          │         │   │      └ CRC-32 of all before it: a mistyped token is not another run
//!  │      │          │         │   └ the run's seed, hexadecimal: everything that is drawn follows from it
//!  │      │          │         └ medium
//!  │      │          └ fault: a name of the table, or `~` and the rules in base64url, one rule a line
//!  │      └ strategy
//!  └ format version: it grows whenever the same fields would give another run
//! ```

use crate::seed::Seed;
use data_encoding::BASE64URL_NOPAD;
use std::fmt;
use std::str::FromStr;

/// The present format version.
pub const VERSION: &str = "sw1";

/// What a run is made from. See the module's documentation for the text form.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Token {
    /// The strategy's name.
    pub strategy: String,
    /// The faults.
    pub fault: FaultName,
    /// `real` or `sim`.
    pub medium: String,
    /// The run's seed.
    pub seed: Seed,
}

/// The faults of a run, by name or in full.
///
/// A closed list, by the format of tokens.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FaultName {
    /// A name of the fault table.
    Named(String),
    /// The rules themselves, in the grammar's text form.
    Rules(Vec<String>),
}

/// Why a text is no token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// Another version of the lab made it.
    #[error(
        "token format `{0}` is not the format `{VERSION}` of this version of seawall: the same token would be another run"
    )]
    OtherVersion(String),
    /// Not of the form at all.
    #[error("`{0}` is not a token: a token looks like {VERSION}:STRATEGY:FAULT:MEDIUM:SEED:CHECKSUM")]
    Malformed(String),
    /// A field is wrong.
    #[error("token `{token}`: {field} `{value}` cannot be read")]
    Field {
        /// The whole token.
        token: String,
        /// The field's name.
        field: &'static str,
        /// What stands there.
        value: String,
    },
    /// Some character has changed.
    #[error("token `{0}` is damaged: its checksum does not match. Copy it again, whole")]
    Damaged(String),
}

impl fmt::Display for FaultName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Named(name) => f.write_str(name),
            Self::Rules(rules) => write!(f, "~{}", BASE64URL_NOPAD.encode(rules.join("\n").as_bytes())),
        }
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { strategy, fault, medium, seed } = self;
        let body = format!("{VERSION}:{strategy}:{fault}:{medium}:{:x}", seed.0);
        f.write_str(&seal(&body))
    }
}

/// A token's body with its checksum behind it.
pub fn seal(body: &str) -> String {
    format!("{body}:{:08x}", crc32fast::hash(body.as_bytes()))
}

/// The body of a sealed text, and whether the checksum fits; `None` if there is no checksum at all.
pub fn unseal(text: &str) -> Option<(&str, bool)> {
    let (body, _) = text.rsplit_once(':')?;
    Some((body, seal(body) == text))
}

impl FromStr for Token {
    type Err = TokenError;

    fn from_str(text: &str) -> Result<Self, TokenError> {
        let text = text.trim();
        let malformed = || TokenError::Malformed(shorten(text));
        let (body, intact) = unseal(text).ok_or_else(malformed)?;
        let fields: Vec<&str> = body.split(':').collect();
        let version = fields[0];
        if version != VERSION {
            let digits =
                version.strip_prefix("sw").is_some_and(|v| !v.is_empty() && v.bytes().all(|b| b.is_ascii_digit()));
            return Err(if digits { TokenError::OtherVersion(version.to_owned()) } else { malformed() });
        }
        let [_, strategy, fault, medium, seed] = fields[..] else { return Err(malformed()) };
        if !intact {
            return Err(TokenError::Damaged(shorten(text)));
        }
        let bad = |field, value: &str| TokenError::Field { token: shorten(text), field, value: shorten(value) };
        Ok(Self {
            strategy: strategy.to_owned(),
            fault: fault.parse().map_err(|()| bad("fault", fault))?,
            medium: medium.to_owned(),
            seed: Seed(u64::from_str_radix(seed, 16).map_err(|_| bad("seed", seed))?),
        })
    }
}

/// Reads what the `Display` form writes; there is nothing to say about a text that is neither.
impl FromStr for FaultName {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let Some(encoded) = text.strip_prefix('~') else { return Ok(Self::Named(text.to_owned())) };
        let bytes = BASE64URL_NOPAD.decode(encoded.as_bytes()).map_err(drop)?;
        let rules = String::from_utf8(bytes).map_err(drop)?;
        Ok(Self::Rules(rules.lines().map(str::to_owned).collect()))
    }
}

/// At most 80 printable characters of a text, for messages.
fn shorten(text: &str) -> String {
    let mut out: String = text.chars().take(80).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    if text.chars().nth(80).is_some() {
        out.push('…');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn token(fault: FaultName, seed: u64) -> Token {
        Token { strategy: "openhuman".to_owned(), fault, medium: "real".to_owned(), seed: Seed(seed) }
    }

    #[test]
    fn a_damaged_or_foreign_token_is_refused_by_name() {
        let good = token(FaultName::Named("cantopen-once".to_owned()), 42).to_string();
        assert!(good.starts_with("sw1:openhuman:cantopen-once:real:2a:"), "{good}");
        #[track_caller]
        fn check(text: &str, part: &str) {
            let message = text.parse::<Token>().unwrap_err().to_string();
            assert!(message.contains(part), "{message}");
            assert!(!message.contains('\n'));
        }
        check(&good.replace("2a", "2b"), "checksum");
        check(&good.replace("sw1", "sw2"), "token format `sw2`");
        check("", "not a token");
        check("hello", "not a token");
        check("sw1:a:b:c", "not a token");
        check(&"x".repeat(5000), "not a token");
    }

    proptest! {
        #[test]
        fn print_and_parse_are_inverses(rules in prop::collection::vec("[a-z@:=*.]{1,30}", 0..4), named in "[a-z-]{1,20}", seed: u64) {
            for fault in [FaultName::Named(named), FaultName::Rules(rules)] {
                let token = token(fault, seed);
                prop_assert_eq!(token.to_string().parse(), Ok(token));
            }
        }

        #[test]
        fn no_text_makes_the_parser_panic(text: String) {
            let _ = text.parse::<Token>();
        }

        #[test]
        fn one_changed_character_is_noticed(seed: u64, at in 4_usize..30, with in "[a-z0-9]") {
            let good = token(FaultName::Named("cantopen-once".to_owned()), seed).to_string();
            let mut changed = good.clone();
            changed.replace_range(at..=at, &with);
            prop_assume!(changed != good);
            prop_assert!(changed.parse::<Token>().is_err());
        }
    }
}
