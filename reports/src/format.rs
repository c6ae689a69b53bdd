//! Formats numbers, durations and lists, and makes untrusted text safe.

pub(crate) use seawall_harness::narrative::{count, cut, fit, number, plain};
pub(crate) use seawall_harness::picture::{coordinate, xml};

/// A positive figure with two or three significant digits: `412`, `9.7`, `0.02`.
pub(crate) fn figure(value: f64) -> String {
    if value >= 100.0 {
        number(value.round() as u64)
    } else if value >= 10.0 {
        format!("{value:.0}")
    } else if value >= 1.0 {
        format!("{value:.1}")
    } else {
        format!("{value:.2}")
    }
}

/// Seconds of wall-clock time: `4.2 s`, `10 min 3 s`.
pub(crate) fn seconds(value: f64) -> String {
    let value = if value.is_finite() { value.max(0.0) } else { 0.0 };
    if value < 10.0 {
        return format!("{value:.1} s");
    }
    let whole = value.round() as u64;
    let (hours, minutes, rest) = (whole / 3600, whole / 60 % 60, whole % 60);
    match (hours, minutes, rest) {
        (0, 0, _) => format!("{rest} s"),
        (0, _, 0) => format!("{minutes} min"),
        (0, _, _) => format!("{minutes} min {rest} s"),
        _ => format!("{hours} h {minutes} min"),
    }
}

/// A time or duration on the clock of a run, from microseconds: `850 µs`, `1.50 ms`.
pub(crate) fn micros(us: u64) -> String {
    let (value, unit) = match us {
        0..1_000 => return format!("{us} µs"),
        1_000..1_000_000 => (us as f64 / 1e3, "ms"),
        _ => (us as f64 / 1e6, "s"),
    };
    let digits = if value < 10.0 {
        2
    } else if value < 100.0 {
        1
    } else {
        0
    };
    format!("{value:.digits$} {unit}")
}

/// Names joined as in a sentence: `a`, `a and b`, `a, b and c`.
pub(crate) fn list(names: &[&str]) -> String {
    match names {
        [] => String::new(),
        [one] => (*one).to_owned(),
        [head @ .., last] => format!("{} and {last}", head.join(", ")),
    }
}

/// The command that replays a recorded execution.
pub(crate) fn replay_line(token: &str) -> String {
    format!("seawall replay {}", plain(token))
}

/// The text in lines of at most `chars_max` characters. Lines break between words; a longer word is cut.
pub(crate) fn wrap(text: &str, chars_max: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in plain(text).split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= chars_max => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(cut(word, chars_max)),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped() {
        for (value, text) in [(0, "0"), (999, "999"), (1000, "1,000"), (1_234_567, "1,234,567"), (12_345, "12,345")] {
            assert_eq!(number(value), text);
        }
        assert_eq!(count(1, "run"), "1 run");
        assert_eq!(count(2_000, "run"), "2,000 runs");
        assert_eq!(count(2, "process"), "2 processes");
        assert_eq!(count(0, "strategy"), "0 strategies");
        assert_eq!(count(1, "strategy"), "1 strategy");
    }

    #[test]
    fn durations_have_suitable_units() {
        for (us, text) in
            [(0, "0 µs"), (999, "999 µs"), (1_500, "1.50 ms"), (45_250, "45.2 ms"), (30_000_000, "30.0 s")]
        {
            assert_eq!(micros(us), text);
        }
        for (value, text) in [
            (0.25, "0.2 s"),
            (59.6, "1 min"),
            (42.0, "42 s"),
            (603.2, "10 min 3 s"),
            (7260.0, "2 h 1 min"),
            (f64::NAN, "0.0 s"),
        ] {
            assert_eq!(seconds(value), text);
        }
    }

    #[test]
    fn untrusted_text_becomes_neither_markup_nor_control_sequence() {
        assert_eq!(xml("<a b='\"&'>"), "&lt;a b=&#39;&quot;&amp;&#39;&gt;");
        assert_eq!(plain("\u{1b}[31mred\u{7}\u{202e}"), "\u{fffd}[31mred\u{fffd}\u{fffd}");
        assert_eq!(xml("\0\u{ffff}"), "\u{fffd}\u{fffd}");
        assert_eq!(cut("abcdef", 4), "abc…");
        assert_eq!(cut("abcd", 4), "abcd");
        assert_eq!(wrap("a bc  def ghijklmn", 6), ["a bc", "def", "ghijk…"]);
    }

    #[test]
    fn long_texts_fit_their_box_and_end_with_an_ellipsis() {
        for (text, chars, lines, expected) in [
            ("", 8, 2, &[] as &[&str]),
            ("a bc  def", 8, 2, &["a bc def"]),
            ("PRAGMA wal_checkpoint(PASSIVE)", 12, 5, &["PRAGMA", "wal_", "checkpoint(", "PASSIVE)"][..]),
            ("abcdefghij", 4, 9, &["abcd", "efgh", "ij"]),
            ("one two three four", 7, 2, &["one two", "three…"]),
            ("abcdefghij", 4, 2, &["abcd", "efg…"]),
            ("\u{1b}[0m", 0, 0, &["\u{fffd}…"]),
        ] {
            assert_eq!(fit(text, chars, lines), expected, "{text:?} in {lines} lines of {chars}");
        }
    }

    #[test]
    fn lists_read_as_sentences() {
        assert_eq!(list(&[]), "");
        assert_eq!(list(&["a"]), "a");
        assert_eq!(list(&["a", "b"]), "a and b");
        assert_eq!(list(&["a", "b", "c"]), "a, b and c");
    }
}
