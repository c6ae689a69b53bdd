//! The connection layer's seam to the system, with the run's clock behind it and the machine's own files.

use seawall::os::FileLock;
use seawall::{Os, SystemOs};
use seawall_harness::clock::Clock;
use seawall_harness::runtime;
use std::io;
use std::path::Path;
use std::time::Duration;

/// See the module's documentation.
#[derive(Clone, Debug)]
pub struct ClockedOs {
    clock: Clock,
    pid: u32,
    lock_patience: Duration,
    system: SystemOs,
}

impl ClockedOs {
    /// A seam that goes by this clock. `pid` is what it gives for the process id: pauses depend on it, and a run must
    /// not depend on what the machine gives out.
    pub fn new(clock: Clock, pid: u32) -> Self {
        Self { clock, pid, lock_patience: Duration::ZERO, system: SystemOs::new() }
    }

    /// Waits up to this long, by the wall clock, for a lock file that another process holds. For programs that start
    /// other processes meanwhile: between fork and exec a child shares every lock file that is open, and virtual time
    /// does not wait for it.
    #[must_use]
    pub fn with_lock_patience(self, lock_patience: Duration) -> Self {
        Self { lock_patience, ..self }
    }
}

impl Os for ClockedOs {
    fn base(&self) -> Option<&dyn Os> {
        Some(&self.system)
    }

    fn now(&self) -> Duration {
        self.clock.now()
    }

    fn sleep(&self, pause: Duration) {
        self.clock.sleep(pause);
    }

    fn pid(&self) -> u32 {
        self.pid
    }

    fn thread(&self) -> u64 {
        // Which reader a thread gets follows from this, and a run must not depend on where the machine puts its stack.
        match runtime::current_actor().thread {
            0 => self.system.thread(),
            thread => u64::from(thread),
        }
    }

    fn try_lock_file(&self, path: &Path, like: &Path) -> io::Result<Option<FileLock>> {
        const POLL: Duration = Duration::from_millis(1);
        let mut waited = Duration::ZERO;
        loop {
            match self.system.try_lock_file(path, like)? {
                None if waited < self.lock_patience => std::thread::sleep(POLL),
                answer => return Ok(answer),
            }
            waited += POLL;
        }
    }
}
