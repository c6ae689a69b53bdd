//! The fault grammar: which calls go wrong, how, and when.
//!
//! A rule is written `METHOD[@ROLE]:EFFECT[:MODIFIER…]`, in strace's habit: `shmmap@shm:error=IOERR_SHMMAP:when=3`.
//!
//! METHOD is a word of [`Method`](crate::call::Method) and ROLE one of [`Role`](crate::call::Role); `*` is
//! any, and so is a ROLE left out. A rule for any method selects those that its effect goes with.
//!
//! | EFFECT | the call | goes with |
//! |---|---|---|
//! | `error=CODE` | fails with that result code, by name or number, and the errno that belongs to it | methods that return a result code |
//! | `error=CODE,errno=ERRNO` | the same with that errno | the same |
//! | `error=CODE,dirty=FATE` | a failed sync; its pages are `kept`, `dropped`, `late` or `reverted` | `sync` |
//! | `errno=ERRNO` | fails as in a stock build whose system call fails so | methods that return a result code |
//! | `short`, `short=SIZE` | brings half the bytes, or so many | `read` |
//! | `torn=SIZE`, `torn=SIZE,error=CODE` | writes only so many bytes, and reports success or CODE | `write` |
//! | `bitflip` | has one bit wrong | `read`, `write` |
//! | `drop` | does nothing and reports success | `write`, `truncate`, `delete` |
//! | `lie` | makes nothing durable and reports success | `sync` |
//! | `drop-locks` | goes through, but first the process loses its locks: at `db` and `journal` those on the database file, at `shm` those on the `-shm` file, at `wal` both | methods of an open file, of these roles |
//! | `stall=TIME` | waits first | every method |
//! | `kill` | is not made: the process dies by SIGKILL | every method |
//! | `power-cut` | is not made: the machine loses power | every method |
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

pub mod grammar;
pub mod plan;
pub mod presets;
pub mod rule;
pub mod toml;

mod draft;
mod error;
mod key;
mod piece;
mod value;

#[cfg(test)]
mod arbitrary;
#[cfg(test)]
mod tests;

pub use self::toml::FaultFile;
pub use error::GrammarError;
pub use grammar::parse_rule;
pub use plan::{FaultPlan, PlanError};
pub use presets::{Preset, find_preset, preset};
pub use rule::{Dirty, Effect, Rule, Selector, When};
