//! The scheduler of the simulator: actors as coroutines on one OS thread, every VFS call a scheduling point.
//!
//! An actor runs until it makes a VFS call. There the policy says which actor goes on: most often the same one,
//! sometimes another one, in the middle of a statement of unmodified SQLite. Everything a policy does follows from its
//! seed, so a schedule repeats; it is stored as the list of its [`Preemption`]s.
//!
//! # The model
//! - Between two VFS calls nothing can happen. SQLite's own steps in memory are atomic; what several processes share
//!   (files, locks, the wal-index) it reaches through the VFS or after a call of it (`xShmBarrier`, `xShmLock`,
//!   `xUnfetch`).
//! - Time passes by calls, one microsecond each, and by sleeping: an actor that sleeps lets the others run until its
//!   time has come. If all sleep, the clock jumps.
//! - Locks of [`sync`] are the scheduler's: to take one is a scheduling point, and an actor that waits lets the others
//!   run. If all wait, the execution is *deadlocked* and ends there. Atomic operations are no scheduling points.
//! - An execution that makes more calls than its budget is *halted*: every further call fails, so that all actors come
//!   to their ends. No Rust panic ever unwinds C frames, and no coroutine is dropped before it has returned.

mod coroutine;
pub mod pct;
pub mod policy;
mod pulse;
pub mod random;
pub mod rare;
pub mod replay;
pub mod round_robin;
mod scheduler;
pub mod sync;

pub use policy::{Dice, Point, Policy, PolicyEntry};
pub(crate) use pulse::Pulse;
pub(crate) use scheduler::Scheduler;
pub use scheduler::{ENDED, Execution, Preemption, Task};

/// The policies that can be chosen by name, the default one first.
pub const POLICIES: &[PolicyEntry] = &[rare::ENTRY, pct::ENTRY, random::ENTRY, round_robin::ENTRY];

/// A new policy of this name.
pub fn policy(name: &str) -> Option<Box<dyn Policy>> {
    POLICIES.iter().find(|entry| entry.name == name).map(|entry| (entry.create)())
}

#[cfg(test)]
mod tests;
