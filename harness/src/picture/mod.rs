//! A story as a picture: a sequence diagram in SVG, without any dependency.
//!
//! The colours, marks and texts are those of all pictures of the lab.

mod marks;
mod sequence;
mod svg;
pub mod theme;

pub use marks::{MARKS, Mark, STYLE as MARKS_STYLE, mark};
pub use sequence::{STYLE as SEQUENCE_STYLE, sequence, sequence_inline};
pub use svg::{FONT, coordinate, xml};
