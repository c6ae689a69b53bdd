//! Random stretching of pauses, so that callers that failed together do not all retry together.
//!
//! The numbers follow from a seed (SplitMix64, Steele, Lea and Flood 2014): the same seed gives the same pauses, and a
//! test can name them. They need not be secret or of high quality, only different from one worker to the next.

use std::time::Duration;

/// A source of stretched pauses.
#[derive(Clone, Debug)]
pub(crate) struct Jitter {
    state: u64,
}

impl Jitter {
    pub(crate) fn new(seed: u64) -> Jitter {
        Jitter { state: seed }
    }

    /// The pause, longer by 0 to `percent_max` per cent of itself; never shorter.
    pub(crate) fn stretch(&mut self, pause: Duration, percent_max: u32) -> Duration {
        const MILLIONTHS_PER_PERCENT: u64 = 10_000;
        let millionths = self.next() % (u64::from(percent_max) * MILLIONTHS_PER_PERCENT + 1);
        let extra_ns = pause.as_nanos().saturating_mul(u128::from(millionths)) / 1_000_000;
        pause.saturating_add(Duration::from_nanos(u64::try_from(extra_ns).unwrap_or(u64::MAX)))
    }

    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_generator_is_splitmix64() {
        // The published sequence for the seed 1234567.
        let mut jitter = Jitter::new(1_234_567);
        assert_eq!(
            [jitter.next(), jitter.next(), jitter.next()],
            [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]
        );
    }

    #[test]
    fn a_pause_is_stretched_within_its_bounds_and_over_all_of_them() {
        let pause = Duration::from_secs(10);
        let mut jitter = Jitter::new(7);
        let pauses: Vec<Duration> = (0..1000).map(|_| jitter.stretch(pause, 30)).collect();
        let (least, most) = (*pauses.iter().min().unwrap(), *pauses.iter().max().unwrap());
        assert!(least >= pause && least < Duration::from_millis(10_100), "{least:?}");
        assert!(most <= Duration::from_secs(13) && most > Duration::from_millis(12_900), "{most:?}");
        assert_eq!(jitter.stretch(pause, 0), pause);
        assert!(jitter.stretch(Duration::MAX, 100) == Duration::MAX);
    }
}
