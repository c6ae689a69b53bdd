//! Pictures: the verdict matrix, the timeline of a run, the sequence diagram of a story, and the
//! files of a run that a power cut ended.
//!
//! They follow the reader's colour scheme and use system fonts only, so a page that shows them loads nothing else.

pub(crate) use self::disk::{STYLE as DISK_STYLE, disk_inline, key as disk_key};
pub(crate) use self::marks::{MARKS, Mark, mark};
pub use self::matrix::matrix;
pub use self::sequence::sequence;
pub(crate) use self::sequence::{STYLE as SEQUENCE_STYLE, sequence_inline};
pub use self::timeline::timeline;
pub(crate) use self::timeline::{STYLE as TIMELINE_STYLE, timeline_inline};

mod disk;
mod marks;
mod matrix;
mod sequence;
mod timeline;

const FONT: &str = "system-ui,-apple-system,'Segoe UI',Roboto,'Helvetica Neue',Arial,sans-serif";
