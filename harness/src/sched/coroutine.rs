//! Coroutines with stacks of their own, switched to and from in the middle of C frames.
//!
//! # Contract
//! corosensei keeps a suspended coroutine's stack as it is and resumes it on the same OS thread; a `Yielder` is valid
//! for as long as its coroutine has not returned, and may be used from anywhere on that coroutine's stack. Dropping a
//! suspended coroutine would unwind its stack, C frames and all: [`Coroutine`] leaks it instead.
#![expect(unsafe_code, reason = "an FFI module")]

use corosensei::stack::DefaultStack;
use corosensei::{CoroutineResult, Yielder};
use std::cell::Cell;
use std::rc::Rc;

/// Bytes of stack of each coroutine. SQLite's deepest paths (a VACUUM in a trigger, FTS5) stay well below a quarter of
/// it.
const STACK_BYTES: usize = 512 * 1024;

/// Stacks that are not in use. Mapping one costs more than a short execution.
pub(super) struct Stacks {
    bytes: usize,
    free: Vec<DefaultStack>,
}

impl Default for Stacks {
    fn default() -> Self {
        Self::new(STACK_BYTES)
    }
}

impl Stacks {
    /// Stacks of this size. What of them is never used takes no memory.
    pub(super) fn new(bytes: usize) -> Self {
        Self { bytes, free: Vec::new() }
    }

    fn take(&mut self) -> DefaultStack {
        self.free.pop().unwrap_or_else(|| {
            let bytes = self.bytes;
            DefaultStack::new(bytes).unwrap_or_else(|error| panic!("cannot map a stack of {bytes} bytes: {error}"))
        })
    }
}

type YielderCell = Rc<Cell<*const Yielder<(), ()>>>;

/// A computation that can be left and entered again.
pub(super) struct Coroutine {
    inner: Option<corosensei::Coroutine<(), (), ()>>,
    yielder: YielderCell,
}

impl Coroutine {
    /// A coroutine that will run `body` when it is first resumed.
    pub(super) fn new(stacks: &mut Stacks, body: Box<dyn FnOnce()>) -> Self {
        let yielder: YielderCell = Rc::new(Cell::new(std::ptr::null()));
        let cell = Rc::clone(&yielder);
        let inner = corosensei::Coroutine::with_stack(stacks.take(), move |yielder: &Yielder<(), ()>, ()| {
            cell.set(yielder);
            body();
            cell.set(std::ptr::null());
        });
        Self { inner: Some(inner), yielder }
    }

    /// Runs it until it suspends itself or returns; true if it has returned.
    pub(super) fn resume(&mut self) -> bool {
        match &mut self.inner {
            Some(inner) => matches!(inner.resume(()), CoroutineResult::Return(())),
            None => true,
        }
    }

    /// The handle with which its own code suspends it.
    pub(super) fn suspender(&self) -> Suspender {
        Suspender(Rc::clone(&self.yielder))
    }

    /// Gives back the stack of a coroutine that has returned.
    pub(super) fn recycle(mut self, stacks: &mut Stacks) {
        if let Some(inner) = self.inner.take_if(|inner| inner.done()) {
            stacks.free.push(inner.into_stack());
        }
    }
}

impl Drop for Coroutine {
    fn drop(&mut self) {
        if let Some(inner) = self.inner.take().filter(|inner| inner.started() && !inner.done()) {
            std::mem::forget(inner);
        }
    }
}

/// Suspends the coroutine that it belongs to.
#[derive(Clone)]
pub(super) struct Suspender(YielderCell);

impl Suspender {
    /// Leaves the coroutine; returns when it is resumed. To be called on its own stack.
    pub(super) fn suspend(&self) {
        let yielder = self.0.get();
        assert!(!yielder.is_null(), "the coroutine is not running");
        // SAFETY: set by the coroutine when it started and cleared before it returns, so it is valid (see the
        // contract); the scheduler calls this only for the actor that is running, hence on that coroutine's stack.
        let yielder = unsafe { &*yielder };
        yielder.suspend(());
    }
}
