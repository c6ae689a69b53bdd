//! `power-cut`: the machine loses power before the call.
//!
//! All processes die. Of what no sync has made durable, some is lost: which follows from the seed
//! ([`durability`](crate::media::sim::durability)).

use super::{Action, EffectEntry, Form, Key};

/// The effect in the list.
pub const EFFECT: EffectEntry = EffectEntry {
    forms: "`power-cut`",
    needs_simulation: |_| Some("a power cut"),
    is_fatal: |_| true,
    ..EffectEntry::new(KEY, "is not made: the machine loses power", |_, _, dice| Action::PowerCut(dice))
};

const KEY: Key = Key { word: "power-cut", form: Form::Nothing, example: "power-cut" };
