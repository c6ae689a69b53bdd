//! `power-cut`: the machine loses power before the call.
//!
//! No medium can do that yet: [`check_real_medium`](crate::fault::FaultPlan::check_real_medium) refuses it, and a plan
//! that is not checked lets the call through.

use super::{Action, EffectEntry, Form, Key};

/// The effect in the list.
pub const EFFECT: EffectEntry = EffectEntry {
    forms: "`power-cut`",
    needs_simulation: |_| Some("a power cut"),
    ..EffectEntry::new(KEY, "is not made: the machine loses power", |_, _, _| Action::Nothing)
};

const KEY: Key = Key { word: "power-cut", form: Form::Nothing, example: "power-cut" };
