//! Serial schedules with a window: one step after the other, except one step that is paused at a call while some of the
//! following steps are executed.
//!
//! Most races need no more than that. Context switches between whole steps cost nothing in a story; a bound
//! on the other switches makes a systematic search small (Musuvathi, Qadeer: "Iterative Context Bounding",
//! PLDI 2007). So a failing execution is described by the order in which its steps began, and sketches are drawn from
//! that: fewer steps, other sizes, another order, steps of other actors; and one window, either where the execution
//! was preempted, or at a call that is the first of its kind in a statement.

use super::{Failing, PAYLOAD_BYTES_MAX};
use crate::explore::Step;
use crate::explore::actor::LAST;
use crate::explore::case::{ActorPlan, Begin, Case, Checkpoint, Numbered, Target};
use seawall_harness::sched::replay::Replay;
use seawall_harness::sched::{Dice, ENDED, Point, Policy};
use seawall_harness::seed::Seed;
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;

/// Sections of a step.
const SECTIONS: u32 = LAST + 1;

/// The first section of a step that belongs to a statement: an actor that has reached it has begun the step.
const FIRST: u32 = 2;

/// A window opens at one of the first calls, at most this many, of a kind in a statement of its step.
const PLACES: usize = 24;

/// The most steps that are taken while another one is paused.
const INSIDE_MAX: usize = 3;

/// Sizes of a payload, in pages.
const PAGES: [u64; 6] = [0, 1, 2, 4, 8, 16];

/// A step and its actor.
#[derive(Clone, Copy)]
struct Item {
    /// The position of the actor.
    actor: usize,
    step: Step,
}

/// A position within a step.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Position {
    /// At this scheduling point of this section, counted from the step's first.
    Point(u32, u64),
    /// At the N-th call that is the first of its kind in its section.
    Fresh(usize),
    /// With its connection open, before the first statement.
    Opened,
}

/// A step that is paused.
#[derive(Clone, Copy)]
struct Window {
    /// The position of the step in the order.
    at: usize,
    place: Position,
}

/// The order of the steps of an execution.
pub(super) struct Order {
    items: Vec<Item>,
    /// Where it was preempted within a step.
    windows: Vec<Window>,
}

impl Order {
    /// The order in which these steps began: positions of actors, numbers of steps.
    pub(super) fn new(failing: &Failing, began: &[(usize, u32)]) -> Self {
        let plans = failing.case.actors.iter().enumerate();
        let all = plans.flat_map(|(actor, plan)| plan.steps.iter().map(move |numbered| (actor, numbered.number)));
        // Where no other actor could run, the policy was not asked.
        let unseen = all.filter(|step| !began.contains(step));
        let (mut items, mut windows) = (Vec::new(), Vec::new());
        for (actor, number) in began.iter().copied().chain(unseen) {
            let steps = &failing.case.actors[actor].steps;
            let Some(numbered) = steps.iter().find(|numbered| numbered.number == number) else { continue };
            let within = failing.preemptions().iter().filter(|p| (p.actor, p.section / SECTIONS) == (actor, number));
            windows.extend(within.map(|preemption| {
                let place = Position::Point(preemption.section % SECTIONS, preemption.nth);
                Window { at: items.len(), place }
            }));
            items.push(Item { actor, step: numbered.step });
        }
        Self { items, windows }
    }

    /// A smaller case, and the schedule for it.
    pub(super) fn sketch(&self, case: &Case, dice: &mut Dice) -> (Case, Serial) {
        let window = match self.windows.len() {
            known if known > 0 && dice.below(2) == 0 => self.windows[dice.below(known)],
            _ => {
                let at = dice.below(self.items.len());
                Window { at, place: Position::Fresh(1 + dice.below(PLACES)) }
            }
        };
        // This many of eight steps are left out.
        let out = [0, 1, 2, 4][dice.below(4)];
        let mut kept = |_: &&Item| dice.below(8) >= out;
        let (before, after) = (&self.items[..window.at], &self.items[window.at + 1..]);
        let mut items: Vec<Item> = before.iter().filter(&mut kept).copied().collect();
        let window = Window { at: items.len(), ..window };
        items.push(self.items[before.len()]);
        items.extend(after.iter().filter(&mut kept).copied());
        for item in &mut items {
            item.step = altered(item.step, case.layout.page_bytes, dice);
        }
        reassign(&case.actors, &mut items, window.at, dice);
        let inside = 1 + dice.below(INSIDE_MAX);
        // What a connection has read when it was opened may be outdated when it takes its first step.
        let opener = (dice.below(2) == 0).then(|| items[window.at].actor);
        arranged(case, &items, window, inside, opener)
    }
}

/// The step as a simple one with this payload; `None` if it writes no payload.
fn with_payload(step: Step, payload_bytes: u16) -> Option<Step> {
    let Step::Write { .. } = step else { return step.own()?.with_payload(payload_bytes) };
    let (begin, target) = (Begin::Immediate, Target::New);
    Some(Step::Write { changes: 1, begin, savepoint: false, rollback: false, payload_bytes, target })
}

/// The same step, or a simple one with a payload of another size, or a checkpoint.
fn altered(step: Step, page_bytes: u32, dice: &mut Dice) -> Step {
    if with_payload(step, 0).is_some() && dice.below(2) == 0 {
        return with_payload(step, some_pages(page_bytes, dice)).unwrap_or(step);
    }
    match step {
        Step::Write { .. } | Step::Read | Step::Reopen if dice.below(8) == 0 => {
            Step::Checkpoint { mode: Checkpoint::Passive }
        }
        other => other,
    }
}

fn some_pages(page_bytes: u32, dice: &mut Dice) -> u16 {
    let pages = PAGES[dice.below(PAGES.len())];
    (pages * u64::from(page_bytes)).clamp(4, PAYLOAD_BYTES_MAX.into()) as u16
}

/// True if this actor may take the step. On a connection that others use at the same time a transaction of several
/// statements would be theirs as well: what then fails is the application and not SQLite.
fn may_take(plan: &ActorPlan, step: Step) -> bool {
    !(plan.shared && step.spans_statements())
}

/// Gives steps to other actors that may take them, or changes their order.
fn reassign(plans: &[ActorPlan], items: &mut [Item], at: usize, dice: &mut Dice) {
    let holder = items[at].actor;
    let other = items.iter().map(|item| item.actor).find(|actor| *actor != holder);
    let any = dice.below(items.len());
    let give = |item: &mut Item, actor: usize| {
        if may_take(&plans[actor], item.step) {
            item.actor = actor;
        }
    };
    match dice.below(4) {
        // One actor has the window, another one the steps of all others.
        0 | 1 => {
            for item in items.iter_mut().filter(|item| item.actor != holder) {
                give(item, other.unwrap_or(holder));
            }
        }
        2 if any != at => {
            let to = if items[any].actor == holder { other.unwrap_or(holder) } else { holder };
            give(&mut items[any], to);
        }
        3 if any > 0 && any != at && any - 1 != at => items.swap(any, any - 1),
        _ => {}
    }
}

/// The case that these steps make, with its actors in the order in which they begin, and their schedule: `inside` steps
/// in the window, and the connection of `opener` opened before all.
fn arranged(case: &Case, items: &[Item], window: Window, inside: usize, opener: Option<usize>) -> (Case, Serial) {
    let mut present = Vec::from_iter(opener);
    for item in items {
        if !present.contains(&item.actor) {
            present.push(item.actor);
        }
    }
    let plan = |actor: &usize| ActorPlan { steps: Vec::new(), ..case.actors[*actor].clone() };
    let mut plans: Vec<ActorPlan> = present.iter().map(plan).collect();
    let mut turns = Vec::new();
    for item in items {
        let actor = present.iter().position(|actor| *actor == item.actor).unwrap_or(0);
        let number = 1 + plans[actor].steps.len() as u32;
        plans[actor].steps.push(Numbered { number, step: item.step });
        turns.push(Turn { actor, number, until: None });
    }
    let paused = turns[window.at];
    turns[window.at].until = Some(window.place);
    let end = (window.at + 1 + inside).min(turns.len());
    turns.insert(end, paused);
    if opener.is_some() {
        turns.insert(0, Turn { actor: 0, number: 1, until: Some(Position::Opened) });
    }
    (Case { actors: plans, ..case.clone() }, Serial { turns, ..Serial::default() })
}

/// A turn of an actor.
#[derive(Clone, Copy)]
struct Turn {
    actor: usize,
    /// The number of its step.
    number: u32,
    /// Where the turn ends; otherwise at the end of the step.
    until: Option<Position>,
}

/// Lets the actors run turn by turn.
#[derive(Default)]
pub(super) struct Serial {
    turns: Vec<Turn>,
    now: usize,
    ended: BTreeSet<usize>,
    /// The kinds of calls in this section of the present actor.
    kinds: BTreeSet<usize>,
    section: u32,
    /// How many of the calls of this turn were the first of their kind in their section.
    fresh: usize,
}

impl Serial {
    /// True if the turn has ended.
    fn is_over(&mut self, turn: Turn, point: &Point<'_>) -> bool {
        if point.current != turn.actor {
            return self.ended.contains(&turn.actor);
        }
        let step = point.section / SECTIONS;
        if point.section == ENDED || step > turn.number {
            return true;
        }
        if step < turn.number || point.section % SECTIONS < FIRST {
            return false;
        }
        match turn.until {
            Some(Position::Point(part, nth)) => (point.section % SECTIONS, point.nth) == (part, nth),
            Some(Position::Fresh(times)) => {
                if self.section != point.section {
                    self.section = point.section;
                    self.kinds.clear();
                }
                self.fresh += usize::from(self.kinds.insert(point.kind()));
                self.fresh >= times
            }
            Some(Position::Opened) => true,
            None => false,
        }
    }
}

impl Policy for Serial {
    fn begin(&mut self, _seed: Seed, _actors: usize) {}

    fn choose(&mut self, point: &Point<'_>) -> usize {
        if point.section == ENDED {
            self.ended.insert(point.current);
        }
        while let Some(turn) = self.turns.get(self.now).copied() {
            if !self.is_over(turn, point) {
                break;
            }
            self.now += 1;
        }
        let turns = &self.turns[self.now..];
        // While an actor sleeps or waits, the next one runs.
        let ready = |actor: usize| point.others.contains(&actor) || point.can_go_on && actor == point.current;
        let next = turns.iter().map(|turn| turn.actor).find(|actor| ready(*actor));
        next.unwrap_or_else(|| if point.can_go_on { point.current } else { point.successor() })
    }
}

/// The steps in the order in which they began: positions of actors, numbers of steps.
pub(super) type Began = Rc<RefCell<Vec<(usize, u32)>>>;

/// A policy that repeats the preemptions of a case, and records which steps begin.
pub(super) fn recording(failing: &Failing) -> (Box<dyn Policy>, Began) {
    let began = Began::default();
    (Box::new(Recorder { inner: Replay::new(failing.preemptions()), began: Rc::clone(&began) }), began)
}

struct Recorder {
    inner: Replay,
    began: Began,
}

impl Policy for Recorder {
    fn begin(&mut self, seed: Seed, actors: usize) {
        self.inner.begin(seed, actors);
    }

    fn choose(&mut self, point: &Point<'_>) -> usize {
        let to = self.inner.choose(point);
        let step = (point.current, point.section / SECTIONS);
        let begins = point.section != ENDED && point.section % SECTIONS >= FIRST && to == point.current;
        if begins && !self.began.borrow().contains(&step) {
            self.began.borrow_mut().push(step);
        }
        to
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two actors with two steps each, of three scheduling points; which actor was running at which step.
    fn played(turns: Vec<Turn>) -> Vec<(usize, u32)> {
        let mut policy = Serial { turns, ..Serial::default() };
        let (mut current, mut at, mut run) = (0, [0_u32; 2], Vec::new());
        while run.len() < 12 {
            let (step, nth) = (1 + at[current] / 3, 1 + at[current] % 3);
            let others: Vec<usize> = (0..2).filter(|other| *other != current && at[*other] < 6).collect();
            if !others.is_empty() {
                let (section, can_go_on) =
                    if at[current] < 6 { (step * SECTIONS + FIRST, true) } else { (ENDED, false) };
                let point = Point { current, section, nth: nth.into(), call: None, others: &others, can_go_on };
                let to = policy.choose(&point);
                if to != current {
                    current = to;
                    continue;
                }
            }
            run.push((current, step));
            at[current] += 1;
        }
        run.dedup();
        run
    }

    /// Sketches of cases in which some actors share a connection and others have transactions.
    #[test]
    fn no_step_of_several_statements_is_dealt_onto_a_shared_connection() {
        let (mut sketches, mut moved) = (0, 0);
        for seed in (0..40).map(Seed) {
            let case = Case::draw("shared", "linked", "rare", &[], seed).unwrap().with_preemptions(&[]);
            let spanning = |case: &Case| {
                let steps = case.actors.iter().flat_map(|plan| plan.steps.iter().map(move |it| (plan.shared, it.step)));
                steps.filter(|(_, step)| step.spans_statements()).collect::<Vec<_>>()
            };
            let order = Order::new(&Failing { case: case.clone(), statements: 0 }, &[]);
            let mut dice = Dice::new(seed);
            for _ in 0..50 {
                let (sketch, _) = order.sketch(&case, &mut dice);
                assert!(spanning(&sketch).iter().all(|(shared, _)| !shared), "{sketch:?}");
                sketches += 1;
                let shared = sketch.actors.iter().filter(|plan| plan.shared);
                moved += shared.map(|plan| plan.steps.len()).sum::<usize>();
            }
        }
        assert!(sketches == 2000 && moved > 2000, "{moved} steps on shared connections");
    }

    #[test]
    fn steps_go_one_after_the_other_but_for_the_window() {
        let turn = |actor, number| Turn { actor, number, until: None };
        let paused = |actor, number, place| Turn { until: Some(place), ..turn(actor, number) };
        let in_order = vec![turn(0, 1), turn(1, 1), turn(0, 2), turn(1, 2)];
        assert_eq!(played(in_order), [(0, 1), (1, 1), (0, 2), (1, 2)]);
        let window = vec![turn(0, 1), paused(0, 2, Position::Point(FIRST, 2)), turn(1, 1), turn(0, 2), turn(1, 2)];
        assert_eq!(played(window), [(0, 1), (0, 2), (1, 1), (0, 2), (1, 2)]);
        let opened = vec![paused(0, 1, Position::Opened), turn(1, 1), turn(1, 2), turn(0, 1), turn(0, 2)];
        assert_eq!(played(opened), [(1, 1), (1, 2), (0, 1), (0, 2)]);
        // All calls are of one kind here, so no call is fresh a second time.
        let nowhere = vec![paused(0, 1, Position::Fresh(2)), turn(1, 1), turn(0, 1), turn(0, 2), turn(1, 2)];
        assert_eq!(played(nowhere), [(0, 1), (1, 1), (0, 2), (1, 2)]);
    }
}
