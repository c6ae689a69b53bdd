//! The end of an execution: probes, closing, and a look at the database.

use super::case::{Act, Case, Ending, EntryPoint, Op};
use super::ops::{count, numbers_of};
use super::run::{Outcome, StoreRun};
use crate::run::{driver, simulated};
use crate::strategies::Failure;
use rusqlite::{Connection, OpenFlags};
use seawall_harness::actor::Actor;
use seawall_harness::oracle::integrity;
use seawall_simulated::Error;
use std::convert::Infallible;
use std::time::Duration;

/// Attempts to write after the faults have healed.
const ATTEMPTS_MAX: u32 = 4;

/// First number of the rows that are written then.
const PROBE_BASE: u32 = 1000;

/// The faults have healed: each process writes, reads and closes, one after the other.
pub(super) fn conclude(case: &Case, run: &mut StoreRun, damage: Option<&str>) {
    for process in 1..=case.processes {
        run.simulation.enter(Actor { process, thread: 0 });
        if run.simulation.machine().borrow().is_dead(process) {
            drop(run.take_store(process));
            run.restart(process);
        }
    }
    for process in 1..=case.processes {
        run.simulation.enter(Actor { process, thread: 0 });
        probe(run, process);
        run.check_inits(process);
    }
    for process in 1..=case.processes {
        run.simulation.enter(Actor { process, thread: 0 });
        if let Err(error) = run.close(Actor { process, thread: 0 }, Duration::from_secs(1)) {
            run.complain(format_args!("p{process} cannot close: {error}"));
        }
    }
    check_files(run);
    if let Some(panic) = run.simulation.machine().borrow().panic_message() {
        run.complain(format_args!("the simulated machine panicked: {panic}"));
    }
    run.simulation.enter(Actor { process: 0, thread: 0 });
    look(case, run, damage);
}

/// All have closed: only the database is there. One exception: a connection whose last checkpoint fails leaves log and
/// `-shm`, and so does a killed process. If the next connection works in exclusive mode, it removes the log when it
/// closes and does not touch the `-shm`. A `-shm` without a log is harmless: the next shared connection truncates it.
fn check_files(run: &StoreRun) {
    let machine = run.simulation.machine().borrow();
    let mut strays = simulated::strays(&machine);
    if !run.is_undisturbed && machine.file(&format!("{}-wal", simulated::DATABASE)).is_none() {
        strays.retain(|stray| !stray.contains("-shm "));
    }
    drop(machine);
    if !strays.is_empty() {
        run.complain(format_args!("all have closed, and left behind {}", strays.join(", ")));
    }
}

fn probe(run: &StoreRun, process: u16) {
    let actor = Actor { process, thread: 0 };
    let Ok(progress) = driver::probe(actor, run.simulation.clock(), ATTEMPTS_MAX, |attempt| {
        let number = PROBE_BASE + u32::from(process) * ATTEMPTS_MAX + attempt;
        let op = Op { actor, number, act: Act::Write(EntryPoint::Write, Ending::Succeeds) };
        let error = run.write(op, EntryPoint::Write, Ending::Succeeds).err();
        if error.as_ref().is_some_and(Error::is_closed) {
            drop(run.take_store(process));
        }
        Ok::<_, Infallible>(error.map(Failure::from))
    });
    if !progress.committed {
        let error = progress.error.unwrap_or_default();
        run.complain(format_args!("p{process} cannot write after {ATTEMPTS_MAX} attempts without faults: {error}"));
    }
}

/// What a process that took no part finds at the end.
fn look(case: &Case, run: &StoreRun, damage: Option<&str>) {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let found =
        Connection::open_with_flags_and_vfs(simulated::DATABASE, flags, run.simulation.vfs()).and_then(|conn| {
            damage.map_or(Ok(()), |sql| conn.execute_batch(sql))?;
            let check = integrity::check(&conn, "fresh");
            for complaint in check.complaints {
                run.complain(format_args!("the database is damaged: {complaint}"));
            }
            let (entries, tally) =
                (count(&conn, "SELECT count(*) FROM entry")?, count(&conn, "SELECT entries FROM tally")?);
            if entries != tally {
                run.complain(format_args!("{entries} entries and a tally of {tally} at the end"));
            }
            if case.config.migrates {
                let marks = count(&conn, "SELECT count(*) FROM mark")?;
                if marks != 1 {
                    run.complain(format_args!("the migration was applied {marks} times"));
                }
            }
            let actors = case.actors().chain((1..=case.processes).map(|process| Actor { process, thread: 0 }));
            actors.map(|actor| numbers_of(&conn, actor)).collect::<rusqlite::Result<Vec<_>>>()
        });
    let found = match found {
        Ok(found) => found.concat(),
        Err(error) => return run.complain(format_args!("the database cannot be read at the end: {error}")),
    };
    let rows = run.rows.borrow();
    for (number, (actor, outcome)) in &*rows {
        match (outcome, found.contains(number)) {
            (Outcome::Acked, false) => {
                run.complain(format_args!("row {number} of {actor} was acknowledged and is lost"))
            }
            (Outcome::Refused, true) => run.complain(format_args!("row {number} of {actor} was refused and is there")),
            _ => {}
        }
    }
    for number in found.iter().filter(|number| !rows.contains_key(number)) {
        run.complain(format_args!("no actor has written row {number}"));
    }
}
