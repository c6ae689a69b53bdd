//! The store under use and misuse: several simulated processes and threads, all entry points, faults and kills, under a
//! schedule from the seed.
//!
//! What must hold for every case:
//!
//! - A row that was acknowledged is there at the end, and a row that was refused is not. A row of unknown outcome may
//!   be there or not.
//! - A read shows one snapshot, which has all rows that were acknowledged to its own thread before.
//! - Init has succeeded once for each store, and migrations once for each file.
//! - No transaction and no changed setting reaches the next caller.
//! - A closed store refuses calls. After all have closed, nothing is open and no side file is left.
//! - No call takes longer than the timeouts allow, a call from inside a closure is refused at once, and no actor waits
//!   for ever.
//! - Once the faults have healed, each process can write again.

mod case;
mod end;
mod ops;
mod run;

use self::case::{Case, Op};
use self::run::{Outcome, StoreRun};
use super::{Counterexample, fewest_steps};
use crate::run::simulated::environment::Environment;
use seawall_harness::actor::Actor;
use seawall_harness::fault::{FaultPlan, Rule};
use seawall_harness::rig::Rig;
use seawall_harness::sched::{Execution, Task};
use seawall_harness::seed::Seed;
use seawall_harness::shared_state::Mode;
use std::cell::RefCell;
use std::rc::Rc;

/// Calls after which an execution counts as stuck. A long one makes some thousand.
const CALLS_MAX: u64 = 200_000;

thread_local! {
    static RIG: RefCell<Option<Rig<Environment>>> = const { RefCell::new(None) };
}

/// Draws processes, threads, settings, faults and up to 14 ops, and executes them.
///
/// # Errors
/// The fewest ops with which something does not hold.
pub fn case(seed: Seed) -> Result<(), Counterexample> {
    judge(&Case::draw(seed), None)
}

/// The result of an execution.
struct Executed {
    /// The log, if it was kept.
    log: String,
    /// What does not hold.
    complaints: Vec<String>,
    /// The outcomes of the rows.
    outcomes: Vec<Outcome>,
}

/// Executes a case, and reduces it if something does not hold. `damage` is SQL that is run on the database at the end,
/// for the tests.
fn judge(case: &Case, damage: Option<&str>) -> Result<(), Counterexample> {
    let with = |ops: &[Op]| Case { ops: ops.to_vec(), ..case.clone() };
    let fails = |ops: &[Op]| !execute(&with(ops), false, damage).is_ok_and(|result| result.complaints.is_empty());
    if !fails(&case.ops) {
        return Ok(());
    }
    let fewest = with(&fewest_steps(case.ops.clone(), fails));
    let Case { config, processes, threads, rules, .. } = &fewest;
    let scene = format!("{processes} processes of {threads} threads, {config:?}, faults: {}", rules.join(" "));
    // The same execution again: it fails as it did.
    let stuck = |stuck| Counterexample(format!("{scene}\n{stuck}"));
    let Executed { log, complaints, outcomes } = execute(&fewest, true, damage).map_err(stuck)?;
    let rows = |wanted| outcomes.iter().filter(|outcome| **outcome == wanted).count();
    let (acked, refused, complaints) = (rows(Outcome::Acked), rows(Outcome::Refused), complaints.join("\n"));
    Err(Counterexample(format!("{scene}\n{acked} rows acknowledged, {refused} refused\n{log}\n{complaints}")))
}

/// Executes a case on the machine of the calling thread. The error is about an execution without an end.
fn execute(case: &Case, is_logged: bool, damage: Option<&str>) -> Result<Executed, Counterexample> {
    RIG.with_borrow_mut(|kept| {
        let rig = match kept {
            Some(rig) => rig,
            empty => empty.insert(rig()?),
        };
        let rules: Result<Vec<Rule>, _> = case.rules.iter().map(|rule| rule.parse()).collect();
        let plan = FaultPlan::new(rules.map_err(Counterexample::new)?, case.seed).map_err(Counterexample::new)?;
        let simulation = rig.begin(case.seed, plan).map_err(Counterexample::new)?;
        rig.processes().enter(None);
        simulation.arm();
        let run = Rc::new(StoreRun::new(case, simulation.clone(), is_logged));
        let actors = case.actors().map(|actor| {
            let ops: Vec<Op> = case.ops.iter().filter(|op| op.actor == actor).copied().collect();
            let run = Rc::clone(&run);
            let task: Task = Box::new(move || run.perform_all(&ops));
            (actor, task)
        });
        let result = schedule(rig, case.seed, actors.collect());
        simulation.disarm();
        let mut run = match Rc::try_unwrap(run) {
            Ok(run) => run,
            // The actors that have not ended hold it.
            Err(run) => {
                let stuck = result.err().unwrap_or_else(|| Counterexample::new("an actor has not ended"));
                return Err(Counterexample(format!("{}\n{stuck}, in one of {:?}", run.lines(), case.ops)));
            }
        };
        match result {
            Ok(_) => end::conclude(case, &mut run, damage),
            Err(stuck) => run.complain(format_args!("{stuck}")),
        }
        // Nothing of this case stays open for the next one.
        for process in 1..=case.processes {
            simulation.enter(Actor { process, thread: 0 });
            drop(run.take_store(process));
        }
        let outcomes = run.rows.borrow().values().map(|(_, outcome)| *outcome).collect();
        Ok(Executed { log: run.lines(), complaints: run.complaints(), outcomes })
    })
}

/// A machine for the calling thread. It is not the default VFS, because there may be one on each thread, and it does
/// not seed SQLite's random generator: executions differ in the salts of the log and in nothing else.
fn rig() -> Result<Rig<Environment>, Counterexample> {
    let rig = Rig::builder().label("seawall-store").mode(Mode::VIRTUAL).trace_capacity(2).calls_max(CALLS_MAX);
    rig.processes(|simulation| Rc::new(Environment::new(simulation))).build().map_err(Counterexample::new)
}

/// Runs all actors to their ends. The error is that some do not end.
fn schedule(rig: &mut Rig<Environment>, seed: Seed, actors: Vec<(Actor, Task)>) -> Result<Execution, Counterexample> {
    let names: Vec<Actor> = actors.iter().map(|(actor, _)| *actor).collect();
    let execution = rig.run(seed.stream("schedule"), actors);
    let stuck: Vec<String> = execution.deadlocked.iter().map(|position| names[*position].to_string()).collect();
    if !stuck.is_empty() {
        return Err(Counterexample(format!("{} wait for ever", stuck.join(" and "))));
    }
    if execution.halted { Err(Counterexample(format!("no end after {CALLS_MAX} calls"))) } else { Ok(execution) }
}

#[cfg(test)]
mod tests {
    use super::case::{Act, Ending, EntryPoint};
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn cases_repeat_and_rows_are_acknowledged_refused_and_of_unknown_outcome() {
        let mut seen: BTreeMap<Outcome, u32> = BTreeMap::new();
        for nth in 0..400 {
            let case = Case::draw(Seed(nth));
            let executed = execute(&case, true, None).unwrap();
            assert_eq!(executed.complaints, Vec::<String>::new(), "{case:?}");
            assert_eq!(executed.log, execute(&case, true, None).unwrap().log, "{case:?}");
            for outcome in executed.outcomes {
                *seen.entry(outcome).or_default() += 1;
            }
        }
        assert!(seen.len() == 3 && seen.values().all(|rows| *rows >= 20), "{seen:?}");
    }

    /// Two rows and a read, with nothing that disturbs.
    fn plain() -> Case {
        let config = Case::draw(Seed(1)).config;
        let acts = [Act::Write(EntryPoint::Write, Ending::Succeeds), Act::Read { pause_ms: 0 }];
        let actor = Actor { process: 1, thread: 1 };
        let ops = (1..).zip(acts.into_iter().cycle().take(3)).map(|(number, act)| Op { actor, number, act });
        let ops = ops.collect();
        Case { seed: Seed(1), config, processes: 1, threads: 1, rules: Vec::new(), ops }
    }

    #[test]
    fn canary_damaged_rows_give_a_short_counterexample() {
        #[track_caller]
        fn check(damage: &str, complaint: &str) {
            let story = judge(&plain(), Some(damage)).unwrap_err().0;
            assert!(story.ends_with(complaint), "{story}");
            assert!(story.lines().count() <= 6, "{story}");
        }
        assert_eq!(judge(&plain(), None), Ok(()));
        check(
            "UPDATE tally SET entries = entries - (SELECT count(*) FROM entry WHERE n = 3);
             DELETE FROM entry WHERE n = 3",
            "row 3 of p1.t1 was acknowledged and is lost",
        );
        check(
            "INSERT INTO entry VALUES(77, 'p1.t1'); UPDATE tally SET entries = entries + 1",
            "no actor has written row 77",
        );
        check("UPDATE tally SET entries = entries + 1", "1 entries and a tally of 2 at the end");
        check("DROP TABLE tally", "the database cannot be read at the end: no such table: tally");
    }
}
