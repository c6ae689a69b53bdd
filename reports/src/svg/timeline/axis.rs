//! The time axis of a timeline.
//!
//! A run may work for a few milliseconds and wait thirty seconds for a breaker in between. Drawn to scale, its work
//! would be two vertical lines. So a gap that is far longer than the others is cut out and marked as a break. Between
//! the breaks the scale is the same. If no time passes at all (nothing advanced the clock), there is no axis, and the
//! caller draws the order of events.

use crate::format::micros;

/// A gap becomes a break only if it takes at least this share of the whole span.
const GAP_SHARE_MIN: f64 = 0.08;
/// Breaks are used only if together they take at least this share.
const BREAKS_SHARE_MIN: f64 = 0.5;
const BREAKS_MAX: usize = 8;
/// Width of a break.
const BREAK_PX: f64 = 44.0;
/// Minimum distance between two ticks.
const TICK_PX: f64 = 88.0;
const TICKS_MAX: usize = 200;

/// A mapping from microseconds to pixels.
pub(super) struct Axis {
    segments: Vec<Segment>,
    px_per_us: f64,
}

struct Segment {
    from_us: u64,
    to_us: u64,
    x: f64,
}

/// A gap that is not to scale.
pub(super) struct Break {
    pub(super) x: f64,
    pub(super) width: f64,
    pub(super) label: String,
}

/// A labelled moment.
pub(super) struct Tick {
    pub(super) x: f64,
    pub(super) label: String,
}

impl Axis {
    /// An axis from `left` to `right` that covers all times, or `None` if no time passes between them.
    pub(super) fn fit(mut times_us: Vec<u64>, left: f64, right: f64) -> Option<Self> {
        times_us.sort_unstable();
        times_us.dedup();
        let (first, last) = (*times_us.first()?, *times_us.last()?);
        if first == last {
            return None;
        }
        let gaps = gaps_to_break(&times_us);
        let cut_us: u64 = gaps.iter().map(|(from, to)| to - from).sum();
        let drawn_us = (last - first - cut_us).max(1) as f64;
        let px_per_us = (right - left - BREAK_PX * gaps.len() as f64).max(1.0) / drawn_us;
        let mut segments = Vec::with_capacity(gaps.len() + 1);
        let (mut from_us, mut x) = (first, left);
        for (gap_from, gap_to) in gaps.into_iter().chain([(last, last)]) {
            segments.push(Segment { from_us, to_us: gap_from, x });
            x += (gap_from - from_us) as f64 * px_per_us + BREAK_PX;
            from_us = gap_to;
        }
        Some(Self { segments, px_per_us })
    }

    /// The position of a moment. A moment within a break is drawn within the break.
    pub(super) fn x(&self, us: u64) -> f64 {
        let after = self.segments.partition_point(|s| s.from_us <= us);
        let segment = &self.segments[after.saturating_sub(1)];
        let drawn_us = us.min(segment.to_us).saturating_sub(segment.from_us);
        let x = segment.x + drawn_us as f64 * self.px_per_us;
        match self.segments.get(after) {
            Some(next) if us > segment.to_us => {
                x + BREAK_PX * (us - segment.to_us) as f64 / (next.from_us - segment.to_us) as f64
            }
            _ => x,
        }
    }

    /// The breaks, from left to right.
    pub(super) fn breaks(&self) -> Vec<Break> {
        let pairs = self.segments.windows(2);
        pairs
            .map(|pair| Break {
                x: pair[1].x - BREAK_PX,
                width: BREAK_PX,
                label: micros(pair[1].from_us - pair[0].to_us),
            })
            .collect()
    }

    /// Ticks at round times since the start of the run.
    pub(super) fn ticks(&self) -> Vec<Tick> {
        let step_us = round_step(TICK_PX / self.px_per_us);
        let end_us = self.segments.last().map_or(0, |s| s.to_us);
        let mut ticks: Vec<Tick> = Vec::new();
        for segment in &self.segments {
            let mut next = segment.from_us.checked_next_multiple_of(step_us);
            while let Some(us) = next.filter(|us| *us <= segment.to_us && ticks.len() < TICKS_MAX) {
                let x = self.x(us);
                if ticks.last().is_none_or(|last| x - last.x >= TICK_PX) {
                    ticks.push(Tick { x, label: tick_label(us, step_us, end_us) });
                }
                next = us.checked_add(step_us);
            }
        }
        ticks
    }
}

/// The gaps between neighbouring times that are far longer than the others, in order.
fn gaps_to_break(times_us: &[u64]) -> Vec<(u64, u64)> {
    let span = (times_us[times_us.len() - 1] - times_us[0]) as f64;
    let pairs = times_us.windows(2).map(|pair| (pair[0], pair[1]));
    let wide: Vec<_> = pairs.filter(|(from, to)| (to - from) as f64 >= span * GAP_SHARE_MIN).collect();
    let taken: u64 = wide.iter().map(|(from, to)| to - from).sum();
    // If most gaps are wide, the times are few and far apart, and the scale is right as it is.
    let are_outliers = wide.len() * 3 < times_us.len();
    if are_outliers && wide.len() <= BREAKS_MAX && taken as f64 >= span * BREAKS_SHARE_MIN { wide } else { Vec::new() }
}

/// The smallest of 1, 2 and 5 times a power of ten that is at least `least_us`.
fn round_step(least_us: f64) -> u64 {
    let mut power = 1_u64;
    loop {
        for factor in [1, 2, 5] {
            let step = power.saturating_mul(factor);
            if step as f64 >= least_us || step > u64::MAX / 20 {
                return step;
            }
        }
        power *= 10;
    }
}

/// The moment in a suitable unit, with the digits that the step needs. After a long break the unit may change.
fn tick_label(us: u64, step_us: u64, end_us: u64) -> String {
    let (unit_us, unit) = match end_us {
        0..2_000 => (1_u64, "µs"),
        _ if us >= 2_000_000 || step_us >= 100_000 => (1_000_000, "s"),
        _ => (1_000, "ms"),
    };
    let mut digits = 0;
    let mut part_us = unit_us;
    while part_us > 1 && !step_us.is_multiple_of(part_us) {
        part_us /= 10;
        digits += 1;
    }
    format!("{:.digits$} {unit}", us as f64 / unit_us as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEFT: f64 = 100.0;
    const RIGHT: f64 = 900.0;

    fn axis(times: &[u64]) -> Axis {
        Axis::fit(times.to_vec(), LEFT, RIGHT).expect("time passes")
    }

    #[test]
    fn even_times_are_drawn_to_scale() {
        let axis = axis(&[0, 10, 20, 30, 40]);
        assert!(axis.breaks().is_empty());
        assert_eq!([axis.x(0), axis.x(10), axis.x(20), axis.x(40)], [100.0, 300.0, 500.0, 900.0]);
    }

    #[test]
    fn a_long_wait_becomes_a_break_and_the_order_stays() {
        let mut times: Vec<u64> = (0..100).map(|i| i * 50).collect();
        times.extend((0..100).map(|i| 30_000_000 + i * 50));
        let axis = axis(&times);
        assert_eq!(axis.breaks().len(), 1);
        assert_eq!(axis.breaks()[0].label, "30.0 s");
        assert!(axis.x(4_950) - axis.x(0) > 300.0, "the work before the wait has room");
        assert!((axis.x(30_004_950) - RIGHT).abs() < 1e-6);
        for pair in times.windows(2) {
            assert!(axis.x(pair[0]) < axis.x(pair[1]));
        }
        assert!(axis.x(15_000_000) > axis.x(4_950) && axis.x(15_000_000) < axis.x(30_000_000));
    }

    #[test]
    fn without_time_there_is_no_axis() {
        assert!(Axis::fit(vec![], LEFT, RIGHT).is_none());
        assert!(Axis::fit(vec![7, 7, 7], LEFT, RIGHT).is_none());
    }

    #[test]
    fn ticks_are_round_and_apart() {
        for end_us in [1_u64, 7, 999, 12_345, 3_000_000, 86_400_000_000, u64::MAX / 4, u64::MAX] {
            let axis = axis(&[0, end_us / 2, end_us]);
            let ticks = axis.ticks();
            assert!(!ticks.is_empty() && ticks.len() <= 12, "{end_us}: {}", ticks.len());
            for pair in ticks.windows(2) {
                assert!(pair[1].x - pair[0].x >= TICK_PX);
                assert_ne!(pair[0].label, pair[1].label);
            }
        }
        assert_eq!(tick_label(1_500, 500, 10_000), "1.5 ms");
        assert_eq!(tick_label(20_000, 10_000, 100_000), "20 ms");
        assert_eq!(tick_label(250, 50, 1_000), "250 µs");
        assert_eq!(tick_label(5_000, 5_000, 30_000_000), "5 ms");
        assert_eq!(tick_label(30_005_000, 5_000, 30_005_000), "30.005 s");
        assert_eq!(tick_label(0, 1_000_000, 9_000_000), "0 s");
    }
}
