//! Pictures: the verdict matrix, the timeline of a run, the sequence diagram of a story, and the
//! files of a run that a power cut ended.
//!
//! They follow the reader's colour scheme and use system fonts only, so a page that shows them loads nothing else.

pub(crate) use self::disk::{STYLE as DISK_STYLE, disk_inline, key as disk_key};
pub use self::matrix::matrix;
pub use self::timeline::timeline;
pub(crate) use self::timeline::timeline_inline;
pub use seawall_harness::picture::sequence;
pub(crate) use seawall_harness::picture::{FONT, MARKS, MARKS_STYLE, Mark, SEQUENCE_STYLE, mark, sequence_inline};

mod disk;
mod matrix;
mod timeline;
