//! Power cuts: what a journal mode and a level of `synchronous` really lose.
//!
//! ```text
//! seed ─► case ─► recorder (simulator) ─► what happened to the disk, what the processes were told
//!                                      ─► cuts ─► images ─► judge: a fresh process on each distinct one ─► verdict
//! ```
//!
//! A [`Case`] is a workload of one to three processes. A [`Recorder`] executes it once. The power may be cut at each
//! change of the disk and at each sync; what the disk may hold then follows from the recording
//! ([`durability`](seawall_harness::media::sim::durability)), so nothing is executed again. A [`Judge`] opens each
//! distinct image once, and compares it with the state of the ledger at each cut that leads to it.
//!
//! Each transaction adds one to a counter in the database, so its number says after which commit an image is; the rows
//! must be exactly those of that commit. [`CellResult`] counts what was found, whatever was promised.

mod bench;
pub mod bound;
mod case;
mod cell;
pub mod compare;
mod cuts;
mod error;
pub mod fates;
mod fresh;
mod judge;
mod model;
mod picture;
mod player;
pub mod pool;
mod recording;
pub mod report;
mod search;
mod story;
pub mod strategy;
mod survey;
pub mod sweep;
mod token;
mod witness;

use serde::{Deserialize, Serialize};

pub use bench::{CutBench, Cutter, Failing, Outcome, StrategyCutter};
pub use case::{Case, CaseFile, CheckpointWord, CutText, FORMAT, FORMAT_FIELD, Numbered, Step};
pub use cell::{CellSettings, JournalMode, Level, Subject, WordError};
pub use cuts::{Cut, cuts};
pub use error::PowercutError;
pub use judge::{Judge, Observation, after_cut};
pub use model::{Model, Row};
pub use recording::{Known, Mark, MarkKind, Recorded, Recorder};
pub use search::{CellFinding, CellResult, OnProgress, Search};
pub use token::{PowercutToken, PowercutTokenError, TokenSubject, VERSION};

/// The database of every case.
const DATABASE: &str = "/sim/app.db";

/// Which images of a cut are looked at, beside the simple ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SamplesOf {
    /// All subsets where they are few.
    All,
    /// All subsets, also where they are many.
    Full,
    /// The same, but only prefixes of the frames of a log.
    #[default]
    Pruned,
    /// Random ones.
    Random,
}
