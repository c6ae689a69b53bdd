//! `bitflip`: one bit of the bytes read or written is wrong.

use super::{Action, Alteration, EffectEntry, Form, Key};
use crate::call::Method;
use crate::codes::ResultCode;

/// The effect in the list.
pub const EFFECT: EffectEntry = EffectEntry {
    forms: "`bitflip`",
    goes_with: "`read`, `write`",
    methods: |_, method| matches!(method, Method::Read | Method::Write),
    misleads: |_, _| true,
    ..EffectEntry::new(KEY, "has one bit wrong", |_, _, dice| Action::Alter(Alteration::Bytes(flip, dice)))
};

const KEY: Key = Key { word: "bitflip", form: Form::Nothing, example: "bitflip" };

fn flip(bytes: &mut [u8], dice: u64) -> Option<ResultCode> {
    let bit = (dice % (bytes.len() as u64 * 8)) as usize;
    bytes[bit / 8] ^= 1 << (bit % 8);
    None
}
