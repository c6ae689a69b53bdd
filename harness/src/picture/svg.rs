//! Text and numbers in SVG.

use crate::narrative::plain;
use std::fmt::Write as _;

/// The fonts of pictures: those of the reader's system.
pub const FONT: &str = "system-ui,-apple-system,'Segoe UI',Roboto,'Helvetica Neue',Arial,sans-serif";

/// The text for an XML or HTML element or a quoted attribute.
pub fn xml(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in plain(text).chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

/// A coordinate in a picture, to a tenth of a pixel and without trailing zeros.
pub fn coordinate(value: f64) -> String {
    let mut out = String::with_capacity(6);
    write!(out, "{value:.1}").expect("a String takes every write");
    if let Some(whole) = out.strip_suffix(".0") {
        return whole.to_owned();
    }
    out
}
