//! `drop`: a write, truncate or delete is reported as done, and nothing was done.

use super::{Action, Alteration, EffectEntry, Form, Key};
use crate::call::Method;

/// The effect in the list.
pub const EFFECT: EffectEntry = EffectEntry {
    forms: "`drop`",
    goes_with: "`write`, `truncate`, `delete`",
    methods: |_, method| matches!(method, Method::Write | Method::Truncate | Method::Delete),
    misleads: |_, _| true,
    ..EffectEntry::new(KEY, "does nothing and reports success", |_, _, _| Action::Alter(Alteration::Skip))
};

const KEY: Key = Key { word: "drop", form: Form::Nothing, example: "drop" };
