//! Panics of the test's code: caught, and silent, since shrinking repeats them hundreds of times.

use std::any::Any;
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
                let place = info.location().map(|place| format!(", at {}:{}", place.file(), place.line()));
                LAST.set(Some(format!("{}{}", text(info.payload()), place.unwrap_or_default())));
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
    // The hook may have been replaced since.
    caught.map_err(|payload| Panicked(LAST.take().unwrap_or_else(|| text(&*payload).to_owned())))
}

fn text(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<&str>().copied();
    let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("a panic without a message")
}
