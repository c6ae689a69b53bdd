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

/// The text in at most `lines_max` lines of at most `chars_max` characters. Lines break between words; a longer word
/// breaks after a punctuation mark if it has one. An ellipsis at the end says that text is missing.
pub fn fit(text: &str, chars_max: usize, lines_max: usize) -> Vec<String> {
    let (chars_max, lines_max) = (chars_max.max(2), lines_max.max(1));
    let mut lines: Vec<String> = Vec::new();
    for word in plain(text).split_whitespace() {
        if lines.len() > lines_max {
            break;
        }
        let word: Vec<char> = word.chars().collect();
        let used = lines.last().map_or(chars_max, |line| line.chars().count());
        if used + 1 + word.len() <= chars_max {
            let line = lines.last_mut().expect("a line is in use");
            line.push(' ');
            line.extend(word);
            continue;
        }
        let mut rest = word.as_slice();
        while !rest.is_empty() && lines.len() <= lines_max {
            let (line, after) = rest.split_at(break_at(rest, chars_max));
            lines.push(line.iter().collect());
            rest = after;
        }
    }
    if lines.len() > lines_max {
        lines.truncate(lines_max);
        let last = lines.last_mut().expect("at least one line is kept");
        *last = cut(&format!("{last}…"), chars_max);
    }
    lines
}

/// The number of characters of a word that go on a line: all that fit, or up to the last punctuation mark.
fn break_at(word: &[char], chars_max: usize) -> usize {
    if word.len() <= chars_max {
        return word.len();
    }
    let mark = word[..chars_max].iter().rposition(|c| "(,_.@=;:/-".contains(*c));
    mark.map(|at| at + 1).filter(|kept| *kept * 3 >= chars_max).unwrap_or(chars_max)
}
