//! From a record of the lab to something a person or a program can read: a page, pictures, JSON, JUnit, a terminal
//! table.
//!
//! Every renderer is a pure function of a [`SoakRecord`](seawall_harness::record::SoakRecord), or of the
//! [`Story`](seawall_harness::record::Story) of one finding: no clock, no environment, no randomness. The same record
//! renders to the same bytes, so a saved `record.json` gives its page back at any time. Only [`mod@write`] touches the
//! disk.
//!
//! All text in a record (rules, messages, labels) is treated as hostile: it is escaped for the format it goes into, and
//! control characters are replaced, so that it can neither break a page nor drive a terminal.

pub mod html;
pub mod json;
pub mod junit;
pub mod svg;
pub mod text;
pub mod write;

mod facts;
mod grid;
mod look;
mod story;
mod words;
