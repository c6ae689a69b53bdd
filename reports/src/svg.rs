//! Pictures that stand by themselves: the verdict matrix, the timeline of a run, and the
//! sequence diagram of a story.
//!
//! They follow the reader's colour scheme and name no font but the system's, so a page can show them without loading
//! anything else.

pub use self::matrix::matrix;
pub use self::sequence::sequence;
pub(crate) use self::sequence::{STYLE as SEQUENCE_STYLE, sequence_inline};
pub use self::timeline::timeline;
pub(crate) use self::timeline::{KEY, STYLE as TIMELINE_STYLE, timeline_inline};

mod axis;
mod matrix;
mod sequence;
mod timeline;

const FONT: &str = "system-ui,-apple-system,'Segoe UI',Roboto,'Helvetica Neue',Arial,sans-serif";
