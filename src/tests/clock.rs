//! A clock that sleeping moves, to the nanosecond, and nothing else of a system.

use crate::Os;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;

type OnSleep = Box<dyn Fn(Duration) + Send + Sync>;

/// Sleeping returns at once, and it is later.
#[derive(Default)]
pub struct Clock {
    now_ns: AtomicU64,
    on_sleep: Option<OnSleep>,
}

impl Clock {
    /// Does something after each sleep, given the time.
    pub fn on_sleep(self, on_sleep: impl Fn(Duration) + Send + Sync + 'static) -> Clock {
        Clock { on_sleep: Some(Box::new(on_sleep)), ..self }
    }
}

impl Os for Clock {
    fn now(&self) -> Duration {
        Duration::from_nanos(self.now_ns.load(SeqCst))
    }

    fn sleep(&self, pause: Duration) {
        self.now_ns.fetch_add(pause.as_nanos() as u64, SeqCst);
        if let Some(on_sleep) = &self.on_sleep {
            on_sleep(self.now());
        }
    }
}
