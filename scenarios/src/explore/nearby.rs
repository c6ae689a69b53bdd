//! Schedules next to that of a case.
//!
//! A preemption has a place: a section, and a call within it. Another version of SQLite may make a call more or less
//! in the same statement, so the same race has its place a few calls away.

use super::{Case, Schedule};
use seawall_harness::sched::{Dice, ENDED, Preemption};

/// Cases with schedules next to the one that is given, at most.
const CASES_MAX: u64 = 300;

/// The largest distance of a preemption from its place, in calls.
const DISTANCE_MAX: u64 = 3;

/// The case with schedules next to its own: first one preemption is moved, then all of them by random distances.
pub fn nearby(case: &Case) -> impl Iterator<Item = Case> {
    let preemptions = match &case.schedule {
        Schedule::Preemptions(preemptions) => preemptions.clone(),
        Schedule::Policy { .. } => Vec::new(),
    };
    let singly = (1..=DISTANCE_MAX).flat_map({
        let preemptions = preemptions.clone();
        move |distance| {
            let preemptions = preemptions.clone();
            (0..2 * preemptions.len()).map(move |n| {
                let mut moved = preemptions.clone();
                let preemption = &mut moved[n / 2];
                *preemption = shifted(*preemption, if n % 2 == 0 { distance as i64 } else { -(distance as i64) });
                moved
            })
        }
    });
    let mut dice = Dice::new(case.seed.stream("nearby"));
    let together = std::iter::repeat_with({
        let preemptions = preemptions.clone();
        move || {
            let mut distance = || dice.below(2 * DISTANCE_MAX as usize + 1) as i64 - DISTANCE_MAX as i64;
            preemptions.iter().map(|preemption| shifted(*preemption, distance())).collect::<Vec<_>>()
        }
    });
    let count = if preemptions.is_empty() { 0 } else { CASES_MAX };
    singly.chain(together).take(count as usize).map(|moved| case.with_preemptions(&moved))
}

fn shifted(preemption: Preemption, distance: i64) -> Preemption {
    if preemption.section == ENDED {
        return preemption;
    }
    Preemption { nth: preemption.nth.saturating_add_signed(distance).max(1), ..preemption }
}

#[cfg(test)]
mod tests {
    use super::*;
    use seawall_harness::seed::Seed;

    #[test]
    fn each_preemption_is_moved_alone_and_then_all_of_them() {
        let drawn = Case::draw("bank", "linked", "rare", &[], Seed(1)).unwrap();
        let at = |nth| Preemption { actor: 0, section: 70, nth, to: 1 };
        let case = drawn.with_preemptions(&[at(1), at(9)]);
        let places = |case: &Case| match &case.schedule {
            Schedule::Preemptions(list) => list.iter().map(|preemption| preemption.nth).collect::<Vec<_>>(),
            Schedule::Policy { .. } => Vec::new(),
        };
        let near: Vec<Vec<u64>> = nearby(&case).map(|case| places(&case)).collect();
        assert_eq!(near.len() as u64, CASES_MAX);
        assert_eq!(near[..4], [vec![2, 9], vec![1, 9], vec![1, 10], vec![1, 8]]);
        assert!(near.iter().flatten().all(|nth| (1..=12).contains(nth)));
        assert!(near[12..].iter().any(|places| places[0] != 1 && places[1] != 9));
        assert_eq!(nearby(&drawn).count(), 0);
    }
}
