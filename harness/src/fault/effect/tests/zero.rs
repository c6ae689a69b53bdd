//! `zero`: a read succeeds and brings zeroes in the place of what the file holds.

use crate::call::Method;
use crate::codes::ResultCode;
use crate::fault::effect::{Action, Alteration, EffectEntry, Form, Key};

/// The effect in the list.
pub const EFFECT: EffectEntry = EffectEntry {
    forms: "`zero`",
    goes_with: "`read`",
    methods: |_, method| method == Method::Read,
    misleads: |_, _| true,
    ..EffectEntry::new(KEY, "succeeds and brings zeroes", |_, _, _| Action::Alter(Alteration::Bytes(zero, 0)))
};

const KEY: Key = Key { word: "zero", form: Form::Nothing, example: "zero" };

fn zero(bytes: &mut [u8], _: u64) -> Option<ResultCode> {
    bytes.fill(0);
    None
}
