//! Renders a record of the lab as an HTML page, an SVG picture, JSON, JUnit XML or text for a terminal.
//!
//! Every renderer is a pure function of a [`SoakRecord`](seawall_harness::record::SoakRecord), or of the
//! [`Story`](seawall_harness::record::Story) of one finding. It reads no clock, no environment and no random source, so
//! the same record renders to the same bytes, and a saved `record.json` can be rendered again at any time. Only
//! [`mod@write`] accesses the disk.
//!
//! All text in a record (rules, messages, labels) is untrusted. It is escaped for its output format, and control
//! characters are replaced, so it can neither break a page nor control a terminal.

pub mod changes;
pub mod html;
pub mod json;
pub mod junit;
pub mod svg;
pub mod text;
pub mod write;

mod facts;
mod format;
mod grid;
mod news;
