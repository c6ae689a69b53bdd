//! `drop-locks`: the process loses the locks that guard the file, as it does when any of its code opens and closes that
//! file beside SQLite. Then the call goes on.
//!
//! At `db` and `journal` it loses the locks on the database file, at `shm` those on the `-shm` file, at `wal` both.

use super::{Action, EffectEntry, Form, Key};
use crate::call::Role;

/// The effect in the list.
pub const EFFECT: EffectEntry = EffectEntry {
    forms: "`drop-locks`",
    goes_with: "methods of an open file, of the roles `db`, `journal`, `wal`, `shm`",
    methods: |_, method| method.has_file(),
    roles: |role| matches!(role, Role::Db | Role::Journal | Role::Wal | Role::Shm),
    misleads: |_, _| true,
    ..EffectEntry::new(KEY, "goes through, but first the process loses its locks on the file", |_, _, _| {
        Action::DropLocks
    })
};

const KEY: Key = Key { word: "drop-locks", form: Form::Nothing, example: "drop-locks" };
