//! `torn=SIZE`: only that many bytes of a write reach the file. A write of no more bytes than that is whole.
//! The caller is told of success, or of `error=CODE`.

use super::{Action, Alteration, Effect, EffectEntry, Form, Key, error};
use crate::call::{Call, Method};

/// The effect in the list.
pub const EFFECT: EffectEntry = EffectEntry {
    arguments: &[error::KEY],
    forms: "`torn=SIZE`, `torn=SIZE,error=CODE`",
    goes_with: "`write`",
    methods: |_, method| method == Method::Write,
    misleads: |_, _| true,
    fills_disk: |_| true,
    ..EffectEntry::new(KEY, "writes only so many bytes, and reports success or CODE", act)
};

const KEY: Key = Key { word: "torn", form: Form::Size, example: "torn=512" };

fn act(effect: &Effect, _: &Call, _: u64) -> Action {
    Action::Alter(Alteration::Cut(effect.bytes(KEY).unwrap_or(0), effect.code(error::KEY)))
}
