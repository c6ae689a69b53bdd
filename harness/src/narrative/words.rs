//! Numbers with their nouns, and texts made safe and short.

/// A number with commas between the thousands.
pub fn number(value: u64) -> String {
    let digits = value.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A number and its noun: `1 run`, `2 runs`, `3 processes`, `4 strategies`.
pub fn count(value: u64, noun: &str) -> String {
    let figure = number(value);
    match noun.strip_suffix('y') {
        _ if value == 1 => format!("{figure} {noun}"),
        Some(stem) => format!("{figure} {stem}ies"),
        None if noun.ends_with('s') => format!("{figure} {noun}es"),
        None => format!("{figure} {noun}s"),
    }
}

/// The text without control characters and without characters that XML does not allow.
pub fn plain(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '\n' | '\t' => ' ',
            // These format characters reorder or hide the text around them.
            '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => '\u{fffd}',
            '\u{fffe}' | '\u{ffff}' => '\u{fffd}',
            c if c.is_control() => '\u{fffd}',
            c => c,
        })
        .collect()
}

/// The text cut to `chars_max` characters, with an ellipsis as the last one if it was longer.
pub fn cut(text: &str, chars_max: usize) -> String {
    if text.chars().count() <= chars_max {
        return text.to_owned();
    }
    let mut out: String = text.chars().take(chars_max.saturating_sub(1)).collect();
    out.push('…');
    out
}
