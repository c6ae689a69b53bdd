//! `kill`: the process dies by SIGKILL before the call.

use super::{Action, EffectEntry, Form, Key};

/// The effect in the list.
pub const EFFECT: EffectEntry = EffectEntry {
    forms: "`kill`",
    is_fatal: |_| true,
    ..EffectEntry::new(KEY, "is not made: the process dies by SIGKILL", |_, _, _| Action::Kill)
};

const KEY: Key = Key { word: "kill", form: Form::Nothing, example: "kill" };
