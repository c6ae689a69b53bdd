//! The store, as a program uses and misuses it: several simulated processes and threads, all doors, faults and kills,
//! under a schedule from the seed.
//!
//! What must hold, whatever is drawn:
//!
//! - A row that was acknowledged is there at the end; one that was refused is not; of one of unknown outcome nothing is
//!   said.
//! - A read is of one moment, and of none before what its own thread was acknowledged.
//! - Init has succeeded once for each store, and migrations once for each file.
//! - No transaction and no changed setting reaches the next borrower.
//! - After a close the store refuses; after all have closed, nothing is open and no side file is left.
//! - No call takes longer than the timeouts allow, a call from inside a closure is refused at once, and nobody waits
//!   for ever.
//! - Once the faults have healed, everybody can write again.

mod case;
mod stage;

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};
use seawall_harness::actor::Actor;
use seawall_harness::fault::{FaultPlan, Rule};
use seawall_harness::oracle::integrity;
use seawall_harness::rig::Rig;
use seawall_harness::sched::{Execution, Task};
use seawall_harness::seed::Seed;
use seawall_harness::shared_state::Mode;

use self::case::{Act, Case, Ending, EntryPoint, Op};
use self::stage::{Stage, Told, count, numbers_of};
use super::fewest_steps;
use crate::run::simulated;
use crate::run::simulated::environment::Environment;

/// After the faults: attempts to write, with a pause before each that is longer than the breaker's cooldown.
const ATTEMPTS_MAX: u32 = 4;
const PAUSE: Duration = Duration::from_secs(31);

/// First number of the rows that are written then.
const PROBE_BASE: u32 = 1000;

/// Calls after which an execution counts as stuck. A long one makes some thousand.
const CALLS_MAX: u64 = 200_000;

thread_local! {
    static RIG: RefCell<Option<Rig<Environment>>> = const { RefCell::new(None) };
}

/// Draws processes, threads, settings, faults and up to 14 ops, and plays them.
///
/// # Errors
/// The shortest story in which something does not hold.
pub fn case(seed: Seed) -> Result<(), String> {
    judge(&Case::draw(seed), None)
}

/// How a case went.
struct Played {
    /// Who did what, line by line, if it was to be told.
    story: String,
    /// What does not hold.
    complaints: Vec<String>,
    /// What was told of the rows.
    told: Vec<Told>,
}

/// Plays a case, and makes its story short if something does not hold. `sabotage` is what a stranger does to the
/// database in the end, for the tests.
fn judge(case: &Case, sabotage: Option<&str>) -> Result<(), String> {
    let with = |ops: &[Op]| Case { ops: ops.to_vec(), ..case.clone() };
    let fails = |ops: &[Op]| !play(&with(ops), false, sabotage).is_ok_and(|played| played.complaints.is_empty());
    if !fails(&case.ops) {
        return Ok(());
    }
    let fewest = with(&fewest_steps(case.ops.clone(), fails));
    let Case { config, processes, threads, rules, .. } = &fewest;
    let scene = format!("{processes} processes of {threads} threads, {config:?}, faults: {}", rules.join(" "));
    // The same execution again: it fails as it did.
    let Played { story, complaints, told } =
        play(&fewest, true, sabotage).map_err(|stuck| format!("{scene}\n{stuck}"))?;
    let rows = |wanted| told.iter().filter(|told| **told == wanted).count();
    let (acked, refused) = (rows(Told::Acked), rows(Told::Refused));
    Err(format!("{scene}\n{acked} rows acknowledged, {refused} refused\n{story}\n{}", complaints.join("\n")))
}

/// Plays a case on this thread's machine. The error is about an execution without an end.
fn play(case: &Case, tells: bool, sabotage: Option<&str>) -> Result<Played, String> {
    RIG.with_borrow_mut(|place| {
        let rig = match place {
            Some(rig) => rig,
            empty => empty.insert(rig()?),
        };
        let rules: Result<Vec<Rule>, _> = case.rules.iter().map(|rule| rule.parse::<Rule>()).collect();
        let plan =
            FaultPlan::new(rules.map_err(|error| error.to_string())?, case.seed).map_err(|error| error.to_string())?;
        let simulation = rig.begin(case.seed, plan).map_err(|error| error.to_string())?;
        rig.processes().enter(None);
        simulation.arm();
        let stage = Rc::new(Stage::new(case, simulation.clone(), tells));
        let actors = case.actors().map(|actor| {
            let ops: Vec<Op> = case.ops.iter().filter(|op| op.actor == actor).copied().collect();
            let stage = Rc::clone(&stage);
            let task: Task = Box::new(move || stage.play(&ops));
            (actor, task)
        });
        let ran = run(rig, case.seed, actors.collect());
        simulation.disarm();
        let mut stage = match Rc::try_unwrap(stage) {
            Ok(stage) => stage,
            // Held by whoever has not come to his end.
            Err(stage) => {
                let stuck = ran.err().unwrap_or_else(|| "an actor has not ended".to_owned());
                return Err(format!("{}\n{stuck}, in one of {:?}", stage.story(), case.ops));
            }
        };
        match ran {
            Ok(_) => conclude(case, &mut stage, sabotage),
            Err(stuck) => stage.complain(format_args!("{stuck}")),
        }
        // What is left open is this case's, not the next one's.
        for process in 1..=case.processes {
            simulation.enter(Actor { process, thread: 0 });
            drop(stage.take_store(process));
        }
        let told = stage.rows.borrow().values().map(|(_, told)| *told).collect();
        Ok(Played { story: stage.story(), complaints: stage.complaints(), told })
    })
}

/// A machine of this thread's own. It is not the default VFS, since there may be one on each thread, and leaves SQLite's
/// random generator alone: salts differ from one execution to the next, and nothing else does.
fn rig() -> Result<Rig<Environment>, String> {
    let rig = Rig::builder().label("seawall-store").mode(Mode::VIRTUAL).trace_capacity(2).calls_max(CALLS_MAX);
    rig.processes(|simulation| Rc::new(Environment::new(simulation))).build().map_err(|error| error.to_string())
}

/// Runs the actors to their ends; a message if they do not come to them.
fn run(rig: &mut Rig<Environment>, seed: Seed, actors: Vec<(Actor, Task)>) -> Result<Execution, String> {
    let names: Vec<Actor> = actors.iter().map(|(actor, _)| *actor).collect();
    let execution = rig.run(seed.stream("schedule"), actors);
    let stuck: Vec<String> = execution.deadlocked.iter().map(|position| names[*position].to_string()).collect();
    if !stuck.is_empty() {
        return Err(format!("{} wait for ever", stuck.join(" and ")));
    }
    if execution.halted { Err(format!("no end after {CALLS_MAX} calls")) } else { Ok(execution) }
}

/// The faults are over: everybody writes, reads and closes, one process after the other.
fn conclude(case: &Case, stage: &mut Stage, sabotage: Option<&str>) {
    for process in 1..=case.processes {
        stage.simulation.enter(Actor { process, thread: 0 });
        if stage.simulation.machine().borrow().is_dead(process) {
            drop(stage.take_store(process));
            stage.restart(process);
        }
    }
    for process in 1..=case.processes {
        stage.simulation.enter(Actor { process, thread: 0 });
        probe(stage, process);
        stage.check_inits(process);
    }
    for process in 1..=case.processes {
        stage.simulation.enter(Actor { process, thread: 0 });
        if let Err(error) = stage.close(Actor { process, thread: 0 }, Duration::from_secs(1)) {
            stage.complain(format_args!("p{process} cannot close: {error}"));
        }
    }
    let strays = simulated::strays(&stage.simulation.machine().borrow());
    if !strays.is_empty() {
        stage.complain(format_args!("all have closed, and left behind {}", strays.join(", ")));
    }
    if let Some(panic) = stage.simulation.machine().borrow().panic_message() {
        stage.complain(format_args!("the simulated machine panicked: {panic}"));
    }
    stage.simulation.enter(Actor { process: 0, thread: 0 });
    look(case, stage, sabotage);
}

fn probe(stage: &Stage, process: u16) {
    let actor = Actor { process, thread: 0 };
    let mut last = None;
    for attempt in 1..=ATTEMPTS_MAX {
        stage.simulation.clock().advance(PAUSE);
        let number = PROBE_BASE + u32::from(process) * ATTEMPTS_MAX + attempt;
        let op = Op { actor, number, act: Act::Write(EntryPoint::Write, Ending::Succeeds) };
        match stage.write(op, EntryPoint::Write, Ending::Succeeds) {
            Ok(()) => return,
            Err(error) => {
                if error.is_closed() {
                    drop(stage.take_store(process));
                }
                last = Some(error);
            }
        }
    }
    let error = last.map(|error| error.to_string()).unwrap_or_default();
    stage.complain(format_args!("p{process} cannot write after {ATTEMPTS_MAX} attempts without faults: {error}"));
}

/// What somebody finds in the end who had nothing to do with it.
fn look(case: &Case, stage: &Stage, sabotage: Option<&str>) {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let found =
        Connection::open_with_flags_and_vfs(simulated::DATABASE, flags, stage.simulation.vfs()).and_then(|conn| {
            sabotage.map_or(Ok(()), |sql| conn.execute_batch(sql))?;
            let check = integrity::check(&conn, "fresh");
            for complaint in check.complaints {
                stage.complain(format_args!("the database is damaged: {complaint}"));
            }
            let (entries, tally) =
                (count(&conn, "SELECT count(*) FROM entry")?, count(&conn, "SELECT entries FROM tally")?);
            if entries != tally {
                stage.complain(format_args!("{entries} entries and a tally of {tally} at the end"));
            }
            if case.config.migrates {
                let marks = count(&conn, "SELECT count(*) FROM mark")?;
                if marks != 1 {
                    stage.complain(format_args!("the migration was applied {marks} times"));
                }
            }
            let actors = case.actors().chain((1..=case.processes).map(|process| Actor { process, thread: 0 }));
            actors.map(|actor| numbers_of(&conn, actor)).collect::<rusqlite::Result<Vec<_>>>()
        });
    let found = match found {
        Ok(found) => found.concat(),
        Err(error) => return stage.complain(format_args!("the database cannot be read at the end: {error}")),
    };
    let rows = stage.rows.borrow();
    for (number, (actor, told)) in &*rows {
        match (told, found.contains(number)) {
            (Told::Acked, false) => {
                stage.complain(format_args!("row {number} of {actor} was acknowledged and is lost"))
            }
            (Told::Refused, true) => stage.complain(format_args!("row {number} of {actor} was refused and is there")),
            _ => {}
        }
    }
    for number in found.iter().filter(|number| !rows.contains_key(number)) {
        stage.complain(format_args!("nobody has written row {number}"));
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn cases_repeat_and_rows_are_acknowledged_refused_and_of_unknown_outcome() {
        let mut seen: BTreeMap<Told, u32> = BTreeMap::new();
        for nth in 0..400 {
            let case = Case::draw(Seed(nth));
            let played = play(&case, true, None).unwrap();
            assert_eq!(played.complaints, Vec::<String>::new(), "{case:?}");
            assert_eq!(played.story, play(&case, true, None).unwrap().story, "{case:?}");
            for told in played.told {
                *seen.entry(told).or_default() += 1;
            }
        }
        assert!(seen.len() == 3 && seen.values().all(|rows| *rows >= 20), "{seen:?}");
    }

    /// Two rows and a read, with nothing in the way.
    fn plain() -> Case {
        let config = Case::draw(Seed(1)).config;
        let acts = [Act::Write(EntryPoint::Write, Ending::Succeeds), Act::Read { pause_ms: 0 }];
        let actor = Actor { process: 1, thread: 1 };
        let ops = (1..).zip(acts.into_iter().cycle().take(3)).map(|(number, act)| Op { actor, number, act });
        let ops = ops.collect();
        Case { seed: Seed(1), config, processes: 1, threads: 1, rules: Vec::new(), ops }
    }

    #[test]
    fn canary_what_a_stranger_does_to_the_rows_is_told_in_a_short_story() {
        #[track_caller]
        fn check(sabotage: &str, complaint: &str) {
            let story = judge(&plain(), Some(sabotage)).unwrap_err();
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
            "nobody has written row 77",
        );
        check("UPDATE tally SET entries = entries + 1", "1 entries and a tally of 2 at the end");
        check("DROP TABLE tally", "the database cannot be read at the end: no such table: tally");
    }
}
