//! The parser of fault rules: the text form and the TOML form, with one vocabulary.
//!
//! `grammar` and `toml` take a text apart into keys and values, `draft` collects them and checks that they make sense
//! together, `key` and `value` know the words and the forms of their values. A mistake knows its place in the text.

pub(super) mod draft;
pub(super) mod error;
pub(super) mod grammar;
pub mod key;
pub(super) mod piece;
pub mod toml;
pub mod value;
