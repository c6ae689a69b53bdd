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
    fn seeds_parse() {
        assert_eq!("0x2a".parse(), Ok(Seed(42)));
        assert_eq!("42".parse(), Ok(Seed(42)));
        assert!("-1".parse::<Seed>().is_err());
        assert!("0xzz".parse::<Seed>().is_err());
    }
}
