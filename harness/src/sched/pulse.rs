//! The pulse of a scheduler: who runs, for a watchdog on another thread.

use crate::actor::Actor;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// What a watchdog on another thread may see of a scheduler.
#[derive(Debug, Default)]
pub(crate) struct Pulse {
    /// The process of the actor that runs in the upper half, its thread in the lower one.
    running: AtomicU32,
    /// How often an actor began to run.
    turns: AtomicU64,
}

impl Pulse {
    pub(super) fn note(&self, actor: Actor) {
        self.running.store(u32::from(actor.process) << 16 | u32::from(actor.thread), Ordering::Relaxed);
        self.turns.store(self.turns.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    }

    /// The actor that runs, or the last one that did.
    pub(crate) fn running(&self) -> Actor {
        let running = self.running.load(Ordering::Relaxed);
        Actor { process: (running >> 16) as u16, thread: running as u16 }
    }

    /// How often an actor began to run.
    pub(crate) fn turns(&self) -> u64 {
        self.turns.load(Ordering::Relaxed)
    }
}
