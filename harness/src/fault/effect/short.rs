//! `short`, `short=SIZE`: a read brings only that many bytes, or half of those asked for. The rest is zero.

use super::{Action, Alteration, Effect, EffectEntry, Form, Key};
use crate::call::{Call, Method};
use crate::codes::ResultCode;
use rusqlite::ffi;

/// The effect in the list.
pub const EFFECT: EffectEntry = EffectEntry {
    forms: "`short`, `short=SIZE`",
    goes_with: "`read`",
    methods: |_, method| method == Method::Read,
    misleads: |_, _| true,
    ..EffectEntry::new(KEY, "brings half the bytes, or so many", act)
};

const KEY: Key = Key { word: "short", form: Form::OptionalSize, example: "short=100" };

fn act(effect: &Effect, _: &Call, _: u64) -> Action {
    Action::Alter(match effect.bytes(KEY) {
        Some(bytes) => Alteration::Bytes(|bytes, arrived| cut(bytes, arrived as usize), bytes.into()),
        None => Alteration::Bytes(|bytes, _| cut(bytes, bytes.len() / 2), 0),
    })
}

/// A short read fills the rest of the buffer with zeroes (sqlite3.h).
fn cut(bytes: &mut [u8], arrived: usize) -> Option<ResultCode> {
    let missing = bytes.get_mut(arrived..).filter(|missing| !missing.is_empty())?;
    missing.fill(0);
    Some(ResultCode(ffi::SQLITE_IOERR_SHORT_READ))
}
