//! `lie`: a sync is reported as done, and nothing reached the disk: what was written may be lost by a power cut.

use super::{Action, Alteration, EffectEntry, Form, Key};
use crate::call::Method;

/// The effect in the list.
pub const EFFECT: EffectEntry = EffectEntry {
    forms: "`lie`",
    goes_with: "`sync`",
    methods: |_, method| method == Method::Sync,
    misleads: |_, _| true,
    needs_simulation: |_| Some("a sync that lies"),
    ..EffectEntry::new(KEY, "makes nothing durable and reports success", |_, _, _| Action::Alter(Alteration::Skip))
};

const KEY: Key = Key { word: "lie", form: Form::Nothing, example: "lie" };
