//! `outside=NAME`: an outsider acts on the files of the database, before the call; then the call goes on.
//!
//! The database is the one that the file of the call belongs to, else the one that the process opened last. The actions
//! are in [`outsider`](crate::outsider).

use super::{Action, Choice, Effect, EffectEntry, Form, Key};
use crate::call::Call;
use crate::outsider::{ACTION_WORDS, OutsideAction};

/// The effect in the list.
pub const EFFECT: EffectEntry = EffectEntry {
    forms: "`outside=ACTION`",
    needs_real_files: |effect| {
        (action(effect) == Some(OutsideAction::Fork)).then_some("a child that inherits open files (`fork`)")
    },
    is_fatal: |effect| action(effect).is_some_and(OutsideAction::ends_processes),
    misleads: |effect, _| action(effect).is_some_and(OutsideAction::misleads),
    ..EffectEntry::new(KEY, "goes through, but first an outsider acts on the files of the database", act)
};

const KEY: Key = Key { word: "outside", form: Form::Word(&ACTIONS), example: "outside=unlink-side-files" };

static ACTIONS: Choice = Choice { what: "action of an outsider", intro: "the actions are", words: ACTION_WORDS };

/// The action of such an effect; `None` for another effect.
pub(super) fn action(effect: &Effect) -> Option<OutsideAction> {
    effect.word(KEY).and_then(OutsideAction::of_word)
}

fn act(effect: &Effect, _: &Call, _: u64) -> Action {
    action(effect).map_or(Action::Nothing, Action::Outside)
}
