//! The fault grammar: which calls go wrong, how, and when.
//!
//! A rule is written `METHOD[@ROLE]:EFFECT[:MODIFIER…]`, in strace's habit: `shmmap@shm:error=IOERR_SHMMAP:when=3`.
//!
//! METHOD is a word of [`Method`](crate::call::Method) and ROLE one of [`Role`](crate::call::Role); `*` is
//! any, and so is a ROLE left out. A rule for any method selects those that its effect goes with.
//!
//! EFFECT says what happens to a call: it fails, is changed, waits, or ends the process. The effects with their
//! arguments are listed in [`effect`], one in each file.
//!
//! A rule counts the calls it selects while the plan is armed and the time is within `from` and `until`. The modifiers,
//! each at most once and in any order, say at which of them it fires; all that are given must agree.
//!
//! | MODIFIER | fires |
//! |---|---|
//! | `when=N` | at the N-th, from 1 |
//! | `when=N+` | at the N-th and all later |
//! | `when=N..M` | from the N-th to the M-th |
//! | `when=N+S` | at every S-th from the N-th |
//! | `p=P` | with this probability, above 0 and at most 1 |
//! | `times=N` | N times at most |
//! | `after=SIZE` | at all from the one with which the bytes read or written exceed SIZE; `read` and `write` only |
//! | `actor=p1.t2` | counts only the calls of that thread of that process; `p2.*`, `*.t1`, `*` |
//! | `from=TIME`, `until=TIME` | counts only the calls from then on, and before then, since the plan was armed, in the run's own time: virtual where actors take turns, scaled where they race |
//!
//! A SIZE is `512`, `64KiB`, `1MiB`, `1GiB`, `1TiB`. A TIME is `10us`, `50ms`, `2s`, `1.5s`, `250ns`.
//!
//! [`Rule`] prints itself in one canonical form: both parts of the selector (`write@*`), the effect, then the modifiers
//! in the order of the table; sizes and times in the largest unit that divides them; codes by name. Printing and
//! parsing are inverses. The same keys make the [TOML form](toml).

pub mod effect;
pub mod plan;
pub mod presets;
pub mod rule;

mod sync_fate;

mod parse;

#[cfg(test)]
mod arbitrary;
#[cfg(test)]
mod tests;

pub use effect::{EFFECTS, Effect};
pub use parse::error::GrammarError;
pub use parse::grammar::parse_rule;
pub use parse::key::MODIFIER_SUMMARIES;
pub use parse::toml::{self, FaultFile};
pub use plan::{FaultPlan, PlanError};
pub use presets::{Preset, find_preset, preset};
pub use rule::{Rule, Selector, When};
pub use sync_fate::SyncFate;
