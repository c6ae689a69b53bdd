//! The queues of an asynchronous store: calls that wait as tasks for their turn.

use super::alarm::Alarm;
use crate::error::{Cause, Error, Operation};
use crate::os::Os;
use crate::pool::{ConnectionNeed, Database};
use crate::sync::{Arc, AtomicU32, Mutex, Ordering};
use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The queues of waiting calls, by kind.
pub(super) struct CallQueues {
    pub(super) write: CallQueue,
    pub(super) read: CallQueue,
    pub(super) look: CallQueue,
    pub(super) close: CallQueue,
    alarm: Alarm,
}

impl CallQueues {
    pub(super) fn new(reads: usize, waiting_max: u32, os: Arc<dyn Os>) -> CallQueues {
        let queue = |need, running_max| CallQueue::new(need, running_max, waiting_max);
        CallQueues {
            write: queue(ConnectionNeed::Writer, 1),
            read: queue(ConnectionNeed::Reader, reads),
            look: queue(ConnectionNeed::None, 1),
            close: queue(ConnectionNeed::All, 1),
            alarm: Alarm::new(os),
        }
    }
}

impl std::fmt::Debug for CallQueues {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CallQueues").field("write", &self.write).field("read", &self.read).finish_non_exhaustive()
    }
}

/// A queue of tasks in front of a few permits.
#[derive(Debug)]
pub(super) struct CallQueue {
    pub(super) permits: Arc<Semaphore>,
    need: ConnectionNeed,
    pub(super) running_max: usize,
    waiting: AtomicU32,
    pub(super) waiting_max: u32,
    /// The threads on which its calls run.
    threads: Mutex<Vec<u64>>,
}

impl CallQueue {
    fn new(need: ConnectionNeed, running_max: usize, waiting_max: u32) -> CallQueue {
        let running_max = running_max.clamp(1, Semaphore::MAX_PERMITS);
        CallQueue {
            permits: Arc::new(Semaphore::new(running_max)),
            need,
            running_max,
            waiting: AtomicU32::new(0),
            waiting_max,
            threads: Mutex::default(),
        }
    }

    /// Waits for a permit, up to the acquire timeout.
    pub(super) async fn acquire(
        &self,
        queues: &CallQueues,
        database: &Database,
    ) -> Result<OwnedSemaphorePermit, Error> {
        let failed = |cause| Error::new(database.path(), Operation::Borrow, cause);
        let settings = database.settings();
        // A closure that waits here, with the connection that the call needs, would wait for itself.
        if let Some(own) = database.reentrant(self.need) {
            return Err(failed(Cause::Reentrant(own)));
        }
        if let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() {
            return Ok(permit);
        }
        if self.has_all_in(settings.os.thread())
            && let Some(own) = database.held_by_caller()
        {
            return Err(failed(Cause::Reentrant(own)));
        }
        let waiting = self.waiting.fetch_add(1, Ordering::Relaxed);
        let _guard = WaitGuard(&self.waiting);
        if waiting >= self.waiting_max {
            return Err(failed(Cause::TooManyWaiting { waiting }));
        }
        let place = queues.alarm.place(settings.os.now().saturating_add(settings.acquire_timeout));
        let mut permit = pin!(Arc::clone(&self.permits).acquire_owned());
        let acquired = poll_fn(|context| match permit.as_mut().poll(context) {
            Poll::Ready(permit) => Poll::Ready(Some(permit)),
            Poll::Pending if place.is_due() => Poll::Ready(None),
            Poll::Pending => {
                place.set(context.waker());
                Poll::Pending
            }
        });
        match acquired.await {
            Some(permit) => permit.map_err(|_| failed(Cause::Closed)),
            None => Err(database.queue_timeout(self.need)),
        }
    }

    /// Whether all that run are on this thread: none of them ends while it waits.
    fn has_all_in(&self, thread: u64) -> bool {
        let threads = self.threads.lock();
        threads.len() == self.running_max && threads.iter().all(|running| *running == thread)
    }

    /// Notes that a call runs on the calling thread.
    pub(super) fn enter(&self, os: &dyn Os) -> RunGuard<'_> {
        let thread = os.thread();
        self.threads.lock().push(thread);
        RunGuard { queue: self, thread }
    }
}

/// A call that runs.
pub(super) struct RunGuard<'a> {
    queue: &'a CallQueue,
    thread: u64,
}

impl Drop for RunGuard<'_> {
    fn drop(&mut self) {
        let mut threads = self.queue.threads.lock();
        if let Some(place) = threads.iter().position(|thread| *thread == self.thread) {
            threads.swap_remove(place);
        }
    }
}

/// Counts a waiting call until it gets its permit or is dropped.
struct WaitGuard<'a>(&'a AtomicU32);

impl Drop for WaitGuard<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// How long a call has waited since then.
pub(super) fn waited(os: &dyn Os, since: Duration) -> Duration {
    os.now().saturating_sub(since)
}
