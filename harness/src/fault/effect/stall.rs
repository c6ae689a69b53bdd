//! `stall=TIME`: the call waits that long, then goes on.

use super::{Action, Effect, EffectEntry, Form, Key};
use crate::call::Call;

/// The effect in the list.
pub const EFFECT: EffectEntry = EffectEntry { forms: "`stall=TIME`", ..EffectEntry::new(KEY, "waits first", act) };

const KEY: Key = Key { word: "stall", form: Form::Time, example: "stall=50ms" };

fn act(effect: &Effect, _: &Call, _: u64) -> Action {
    effect.duration(KEY).map_or(Action::Nothing, Action::Stall)
}
