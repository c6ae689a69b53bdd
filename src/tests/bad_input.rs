//! Bad input and faults.

use super::*;

pub(super) fn play(role: &str, _path: &Path) {
    panic!("there is no role {role}");
}
