//! After the scripts: the faults heal, every actor tries to commit, every process is checked and closed. One after the
//! other, as the coordinator of real processes does it.

use std::time::Duration;

use seawall_harness::actor::Actor;
use seawall_harness::oracle::progress::{ATTEMPTS_MAX, ActorProgress, PAUSE_MS};
use seawall_harness::runtime;

use super::sim_run::SimRun;
use crate::run::coordinator::Trouble;
use crate::run::spec::{PROBE, PROBE_BASE};
use crate::workload::ops::{self, Outcome, Task};

pub(super) fn conclude(run: &SimRun) -> Result<(), Trouble> {
    run.heal();
    for actor in run.spec.shape.actors() {
        probe(run, actor);
    }
    for process in 1..=run.spec.shape.processes {
        check(run, process);
    }
    for process in 1..=run.spec.shape.processes {
        runtime::set_current_actor(Actor { process, thread: 0 });
        run.close(process);
    }
    match run.place.machine.borrow().panic_message() {
        None => Ok(()),
        Some(message) => Err(Trouble::Lab(format!("the simulated machine panicked: {message}"))),
    }
}

fn probe(run: &SimRun, actor: Actor) {
    runtime::set_current_actor(actor);
    let mut progress = ActorProgress { actor, committed: false, attempts: 0, error: None };
    while !progress.committed && progress.attempts < ATTEMPTS_MAX {
        progress.attempts += 1;
        run.place.clock.advance(Duration::from_millis(PAUSE_MS));
        let index = PROBE_BASE + progress.attempts;
        let strategy = run.enter(actor.process);
        let begun_us = run.now_us();
        let outcome = ops::perform(&*strategy, Task { actor, index, step: PROBE, script: &[] });
        match &outcome {
            Outcome::Acked(_) => progress.committed = true,
            Outcome::Refused(failure) | Outcome::Indeterminate(failure) => {
                progress.error = Some(failure.message.clone());
            }
            Outcome::Missed | Outcome::Read { .. } | Outcome::Done => {}
        }
        run.report(actor, index, PROBE, begun_us, outcome);
        drop(strategy);
        run.leave(actor.process);
    }
    run.note(|notes| notes.progress.push(progress));
}

fn check(run: &SimRun, process: u16) {
    runtime::set_current_actor(Actor { process, thread: 0 });
    let strategy = run.enter(process);
    let check = ops::check(&*strategy);
    drop(strategy);
    run.note(|notes| notes.checked(process, check, Vec::new()));
    run.leave(process);
}
