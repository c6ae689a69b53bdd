//! `error=CODE`: the call is not made and fails with a result code.
//!
//! The errno that `xGetLastError` then gives belongs to the code, unless `errno=` names another one. `dirty=` says what
//! becomes of written pages when the sync that was to make them durable fails: they stay dirty, and a later sync can
//! write them (`kept`); they count as clean though they are not on the disk (`dropped`); the same, but this sync
//! reports success, and the failure is reported by the next sync of the file (`late`); they go back to what the disk
//! holds, and reads show that (`reverted`).

use super::{Action, Alteration, Choice, Effect, EffectEntry, Form, Key, Refusal, errno};
use crate::call::{Call, Method};
use crate::fault::rule::Selector;
use crate::fault::sync_fate::SyncFate;
use rusqlite::ffi;

/// The effect in the list.
pub const EFFECT: EffectEntry = EffectEntry {
    arguments: &[errno::KEY, DIRTY],
    argument_note: NOTE,
    forms: "`error=CODE`, `error=CODE,errno=ERRNO`, `error=CODE,dirty=FATE`",
    goes_with: "methods that return a result code; `error=NOMEM` with `alloc`; `dirty` with `sync`",
    methods: |effect, method| if is_dirty(effect) { method == Method::Sync } else { method.can_fail() },
    refuse,
    needs_simulation: |effect| fate(effect).map(|_| "the fate of unsynced pages (`dirty=`)"),
    misleads,
    fills_disk: |effect| effect.code(KEY).is_some_and(|code| code.0 == ffi::SQLITE_FULL),
    ..EffectEntry::new(KEY, "fails with that code, by name or number, and the errno that belongs to it", act)
};

/// Its key, which is an argument of others too.
pub const KEY: Key = Key { word: "error", form: Form::Code, example: "error=IOERR_FSYNC" };

const DIRTY: Key = Key { word: "dirty", form: Form::Word(&FATES), example: "dirty=dropped" };

static FATES: Choice =
    Choice { what: "fate of dirty pages", intro: "dirty pages are", words: &["kept", "dropped", "late", "reverted"] };

const NOTE: &str = "`dirty` says what a failed sync leaves behind";

fn is_dirty(effect: &Effect) -> bool {
    effect.word(DIRTY).is_some()
}

/// The fate, if it is another one than `kept`, which real files have.
fn fate(effect: &Effect) -> Option<SyncFate> {
    effect.word(DIRTY).and_then(SyncFate::of_word)
}

/// True for `error=NOMEM` alone: an allocation has no errno and no pages.
pub(super) fn fails_allocation(effect: &Effect) -> bool {
    effect.code(KEY).is_some_and(|code| code.0 == ffi::SQLITE_NOMEM) && effect.entries().len() == 1
}

fn refuse(effect: &Effect, select: Selector) -> Option<Refusal> {
    if is_dirty(effect) && select.method != Some(Method::Sync) {
        let method = select.method.map_or("*", Method::word);
        let message = format!("`dirty` goes with `sync` only, not with `{method}`");
        return Some(Refusal { key: DIRTY, message, help: NOTE });
    }
    errno::refuse(effect, select)
}

/// The code itself may call the file damaged, or say that a read brought less than there is. Pages of a failed sync may
/// be lost.
fn misleads(effect: &Effect, method: Option<Method>) -> bool {
    fate(effect).is_some()
        || effect.code(KEY).is_some_and(|code| {
            let says_damaged = matches!(code.primary().0, ffi::SQLITE_CORRUPT | ffi::SQLITE_NOTADB);
            let is_read = method.is_none_or(|method| method == Method::Read);
            says_damaged || is_read && code.0 == ffi::SQLITE_IOERR_SHORT_READ
        })
}

fn act(effect: &Effect, _: &Call, _: u64) -> Action {
    let Some(code) = effect.code(KEY) else { return Action::Nothing };
    let errno = effect.errno(errno::KEY).or_else(|| code.default_errno());
    match fate(effect) {
        Some(fate) => Action::Alter(Alteration::FailSync(fate, code, errno)),
        None => Action::Fail(code, errno),
    }
}
