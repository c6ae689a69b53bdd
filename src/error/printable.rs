//! Text of other people (paths, messages of SQLite) as one line of a log.
//!
//! A path may contain newlines, escape sequences of terminals, and characters that change the direction of text.
//! Printed raw, one message would look like several, or like another one.

use std::borrow::Cow;
use std::fmt;
use std::path::Path;

/// A path for messages: control characters escaped, bytes that are no text replaced.
pub(crate) struct PrintablePath<'a>(pub(crate) &'a Path);

impl fmt::Display for PrintablePath<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&printable(&self.0.to_string_lossy()))
    }
}

/// The text with control characters escaped as in Rust's literals.
pub(crate) fn printable(text: &str) -> Cow<'_, str> {
    if !text.contains(is_unsafe) {
        return Cow::Borrowed(text);
    }
    let escaped = text.chars().fold(String::with_capacity(text.len() + 8), |mut escaped, char| {
        if is_unsafe(char) {
            escaped.extend(char.escape_default());
        } else {
            escaped.push(char);
        }
        escaped
    });
    Cow::Owned(escaped)
}

/// Control characters, line and paragraph separators, and marks that reorder what stands beside them.
fn is_unsafe(char: char) -> bool {
    char.is_control()
        || matches!(char, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
        || matches!(char, '\u{200e}' | '\u{200f}' | '\u{061c}' | '\u{feff}')
}

/// "1 frame", "2 frames", "2 processes".
pub(crate) fn count(number: u64, noun: &str) -> String {
    let ending = match number {
        1 => "",
        _ if noun.ends_with('s') => "es",
        _ => "s",
    };
    format!("{number} {noun}{ending}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_one_line() {
        let check = |path: &str, expected: &str| {
            assert_eq!(PrintablePath(Path::new(path)).to_string(), expected);
        };
        check("/d/größe 1.db", "/d/größe 1.db");
        check("/d/a\nb.db", "/d/a\\nb.db");
        check("/d/\x1b[2Ja\r\tb\0\x7f\u{85}", "/d/\\u{1b}[2Ja\\r\\tb\\u{0}\\u{7f}\\u{85}");
        check("/d/\u{202e}bd.x\u{2028}", "/d/\\u{202e}bd.x\\u{2028}");
        check("c:\\d\\x.db", "c:\\d\\x.db");
    }
}
