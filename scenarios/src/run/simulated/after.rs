//! After the scripts: the faults heal, every actor tries to commit, every process is checked and closed. One after the
//! other, as the conductor of real processes does it.

use std::time::Duration;

use seawall_harness::actor::Actor;
use seawall_harness::oracle::progress::{ATTEMPTS_MAX, ActorProgress, PAUSE_MS};
use seawall_harness::vfs::lab;

use super::stage::Stage;
use crate::run::conductor::Trouble;
use crate::run::world::{PROBE, PROBE_BASE};
use crate::workload::ops::{self, Outcome, Task};

pub(super) fn conclude(stage: &Stage) -> Result<(), Trouble> {
    stage.heal();
    for actor in stage.world.outline.actors() {
        probe(stage, actor);
    }
    for process in 1..=stage.world.outline.processes {
        check(stage, process);
    }
    for process in 1..=stage.world.outline.processes {
        lab::play(Actor { process, thread: 0 });
        stage.close(process);
    }
    match stage.place.machine.borrow().panic_message() {
        None => Ok(()),
        Some(message) => Err(Trouble::Lab(format!("the simulated machine panicked: {message}"))),
    }
}

fn probe(stage: &Stage, actor: Actor) {
    lab::play(actor);
    let mut progress = ActorProgress { actor, committed: false, attempts: 0, error: None };
    while !progress.committed && progress.attempts < ATTEMPTS_MAX {
        progress.attempts += 1;
        stage.place.clock.advance(Duration::from_millis(PAUSE_MS));
        let index = PROBE_BASE + progress.attempts;
        let strategy = stage.enter(actor.process);
        let begun_us = stage.now_us();
        let outcome = ops::perform(&*strategy, Task { actor, index, step: PROBE, script: &[] });
        match &outcome {
            Outcome::Acked(_) => progress.committed = true,
            Outcome::Refused(failure) | Outcome::Indeterminate(failure) => {
                progress.error = Some(failure.message.clone());
            }
            Outcome::Missed | Outcome::Read { .. } | Outcome::Done => {}
        }
        stage.report(actor, index, PROBE, begun_us, outcome);
        drop(strategy);
        stage.leave(actor.process);
    }
    stage.note(|notes| notes.progress.push(progress));
}

fn check(stage: &Stage, process: u16) {
    lab::play(Actor { process, thread: 0 });
    let strategy = stage.enter(process);
    let check = ops::check(&*strategy);
    drop(strategy);
    stage.note(|notes| notes.checked(process, check, Vec::new()));
    stage.leave(process);
}
