//! Seeds: one number from which every choice of a run follows.
//!
//! A run's seed is split by *labels*: the workload, the schedule, each fault rule draw from streams of their own, so
//! that a change in how one of them draws leaves the others as they were. The generator is named (ChaCha8), because a
//! token must mean the same run in a later build; `StdRng` makes no such promise.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use std::fmt;
use std::str::FromStr;

/// The seed of a run, or of a stream within it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Seed(pub u64);

impl Seed {
    /// The seed of the stream called `label`.
    pub fn stream(self, label: &str) -> Self {
        // FNV-1a over the label, then one round of splitmix64 so that near-equal labels give unrelated seeds.
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        for byte in label.bytes() {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        Self(mix(self.0 ^ mix(hash)))
    }

    /// The seed of the `n`-th member of a family.
    pub fn nth(self, n: u64) -> Self {
        Self(mix(self.0 ^ mix(n.wrapping_add(0x9e37_79b9_7f4a_7c15))))
    }

    /// A generator that draws from this seed.
    pub fn rng(self) -> ChaCha8Rng {
        ChaCha8Rng::seed_from_u64(self.0)
    }
}

/// The finaliser of splitmix64 (Steele, Lea, Flood 2014): a bijection on 64 bits in which each input bit flips each
/// output bit with a probability close to one half.
pub const fn mix(mut z: u64) -> u64 {
    z = z.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

impl fmt::Display for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// The text is no seed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a seed: give a whole number from 0 to 2^64-1, or hexadecimal digits after `0x`")]
pub struct SeedError(String);

impl FromStr for Seed {
    type Err = SeedError;

    fn from_str(text: &str) -> Result<Self, SeedError> {
        let number = match text.strip_prefix("0x") {
            Some(digits) => u64::from_str_radix(digits, 16),
            None => text.parse(),
        };
        number.map(Self).map_err(|_| SeedError(text.to_owned()))
    }
}

/// Seeds in JSON, for `#[serde(with = "seawall_harness::seed::text")]` on a `u64`: decimal digits as a string, since
/// many readers of JSON keep 53 bits of a number. A number is read as well, and so are hexadecimal digits after `0x`.
pub mod text {
    use crate::seed::Seed;
    use serde::de::{Error, Unexpected, Visitor};
    use serde::{Deserializer, Serializer};
    use std::fmt;

    /// Writes a seed.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize<S: Serializer>(seed: &u64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(seed)
    }

    /// Reads a seed.
    ///
    /// # Errors
    /// If it is neither a string nor a number with a seed.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
        deserializer.deserialize_any(SeedVisitor)
    }

    struct SeedVisitor;

    impl Visitor<'_> for SeedVisitor {
        type Value = u64;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a seed as a string")
        }

        fn visit_u64<E: Error>(self, seed: u64) -> Result<u64, E> {
            Ok(seed)
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<u64, E> {
            let seed = text.parse().map(|Seed(seed)| seed);
            seed.map_err(|_| E::invalid_value(Unexpected::Str(text), &self))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::Rng;

    #[test]
    fn streams_differ_and_repeat() {
        let seed = Seed(7);
        assert_eq!(seed.stream("workload"), seed.stream("workload"));
        assert_ne!(seed.stream("workload"), seed.stream("schedule"));
        assert_ne!(seed.nth(0), seed.nth(1));
        assert_ne!(seed.nth(0), seed);
        assert_eq!(seed.rng().next_u64(), seed.rng().next_u64());
    }

    /// A token must mean the same run in a later build, so the first draw of the named generator is pinned.
    #[test]
    fn the_generator_is_pinned() {
        assert_eq!(Seed(42).stream("workload").0, 4021489222517448017);
        assert_eq!(Seed(42).rng().next_u64(), 12578764544318200737);
    }

    #[test]
    fn a_seed_in_json_is_a_string_and_a_number_is_read_as_well() {
        #[derive(serde::Serialize, serde::Deserialize)]
        struct Record {
            #[serde(with = "text")]
            seed: u64,
        }
        let written = serde_json::to_string(&Record { seed: u64::MAX }).unwrap();
        assert_eq!(written, r#"{"seed":"18446744073709551615"}"#);
        for text in ["18446744073709551615", r#""18446744073709551615""#, r#""0xffffffffffffffff""#] {
            let record: Record = serde_json::from_str(&format!("{{\"seed\":{text}}}")).unwrap();
            assert_eq!(record.seed, u64::MAX);
        }
        for text in ["-1", "1.5", r#""x""#, "null"] {
            assert!(serde_json::from_str::<Record>(&format!("{{\"seed\":{text}}}")).is_err(), "{text}");
        }
    }

    #[test]
    fn seeds_parse() {
        assert_eq!("0x2a".parse(), Ok(Seed(42)));
        assert_eq!("42".parse(), Ok(Seed(42)));
        assert!("-1".parse::<Seed>().is_err());
        assert!("0xzz".parse::<Seed>().is_err());
    }
}
