//! Panics of the test's code: caught, and silent, since shrinking repeats them hundreds of times.

use std::cell::{Cell, RefCell};
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;

thread_local! {
    static IS_QUIET: Cell<bool> = const { Cell::new(false) };
    static LAST: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// While it lives, panics of the calling thread are not printed.
pub(super) struct Quiet {
    was_quiet: bool,
}

impl Quiet {
    pub(super) fn begin() -> Self {
        static HOOK: Once = Once::new();
        HOOK.call_once(|| {
            let previous = panic::take_hook();
            panic::set_hook(Box::new(move |info| {
                if !IS_QUIET.get() {
                    return previous(info);
                }
                let payload = info.payload();
                let text = payload.downcast_ref::<&str>().copied();
                let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
                let text = text.unwrap_or("a panic without a message");
                let place = info.location().map(|place| format!(", at {}:{}", place.file(), place.line()));
                LAST.set(Some(format!("{text}{}", place.unwrap_or_default())));
            }));
        });
        Self { was_quiet: IS_QUIET.replace(true) }
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        IS_QUIET.set(self.was_quiet);
    }
}

/// The message and the place of a panic.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Panicked(String);

/// Does `work`, which may panic.
pub(super) fn catch<T>(work: impl FnOnce() -> T) -> Result<T, Panicked> {
    let caught = panic::catch_unwind(AssertUnwindSafe(work));
    caught.map_err(|_| Panicked(LAST.take().unwrap_or_else(|| "a panic".to_owned())))
}
