//! A refused rule: the sentence, the offending part pointed at, and what was probably meant.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

/// Characters of the source line that the diagram shows before, above and behind the carets. Rules are shorter; files
/// may not be.
const BEFORE_MAX: usize = 80;
const MARKED_MAX: usize = 80;
const BEHIND_MAX: usize = 80;

/// A fault rule or a file of rules was refused. Displays as a sentence, the line with carets under the offending part,
/// and help:
///
/// ```text
/// unknown method `shmap`
///   shmap@shm:error=IOERR_SHMMAP:when=3
///   ^^^^^
/// help: did you mean `shmmap`?
/// ```
///
/// For a file the sentence begins with the place: `line 3, column 9: …`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrammarError {
    text: String,
    span: Range<usize>,
    message: String,
    help: Option<String>,
    in_file: bool,
}

/// A mistake in a part of a text; [`GrammarError`] is made of it where the whole text is known.
#[derive(Clone, Debug)]
pub(super) struct Mistake {
    pub(super) span: Range<usize>,
    pub(super) message: String,
    pub(super) help: Option<String>,
}

impl Mistake {
    pub(super) fn new(span: Range<usize>, message: impl Into<String>) -> Self {
        Self { span, message: message.into(), help: None }
    }

    pub(super) fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// The mistake as one in `text`, a rule on one line.
    pub(super) fn in_rule(self, text: &str) -> GrammarError {
        debug_assert!(text.get(self.span.clone()).is_some(), "{self:?} is not in {text:?}");
        GrammarError::new(self, text, false)
    }

    /// The mistake as one in `text`, a file.
    pub(super) fn in_file(self, text: &str) -> GrammarError {
        GrammarError::new(self, text, true)
    }
}

impl GrammarError {
    fn new(mistake: Mistake, text: &str, in_file: bool) -> Self {
        // The spans of a foreign parser are not ours to trust; within these bounds slicing cannot fail.
        let end = text.ceil_char_boundary(mistake.span.end.min(text.len()));
        let start = text.floor_char_boundary(mistake.span.start.min(end));
        Self { text: text.to_owned(), span: start..end, message: mistake.message, help: mistake.help, in_file }
    }

    /// What was parsed.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The offending bytes of [`text`](Self::text); empty where something is missing. Always on character boundaries.
    pub fn span(&self) -> Range<usize> {
        self.span.clone()
    }

    /// The sentence, without the diagram.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// What was probably meant, or what may stand there.
    pub fn help(&self) -> Option<&str> {
        self.help.as_deref()
    }

    /// Line and column of the offending part, both from 1, columns counted in characters.
    pub fn line_and_column(&self) -> (usize, usize) {
        let before = &self.text[..self.span.start];
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
    }

    /// The source line of the diagram in three parts: before the carets, above them, behind them. A rule is one line
    /// whatever it contains, because it came as one argument; of a file only the line where the offence begins is
    /// shown.
    fn line(&self) -> (&str, &str, &str) {
        let (before, rest) = self.text.split_at(self.span.start);
        let (before, rest) = match self.in_file {
            true => (before.rsplit('\n').next().unwrap_or(before), rest.split('\n').next().unwrap_or(rest)),
            false => (before, rest),
        };
        let rest = rest.trim_end();
        let marked = rest.floor_char_boundary(self.span.len());
        (before, &rest[..marked], &rest[marked..])
    }
}

impl fmt::Display for GrammarError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.in_file {
            let (line, column) = self.line_and_column();
            write!(f, "line {line}, column {column}: ")?;
        }
        f.write_str(&self.message)?;
        let (before, marked, behind) = self.line();
        if [before, marked, behind].iter().any(|part| !part.trim().is_empty()) {
            let before = clipped_front(before, BEFORE_MAX);
            let (marked, behind) = (clipped(marked, MARKED_MAX), clipped(behind, BEHIND_MAX));
            let line = shown(&format!("{before}{marked}{behind}"));
            let (indent, carets) = (columns(&before), columns(&marked).max(1));
            write!(f, "\n  {}\n  {:indent$}{:^^carets$}", line.trim_end(), "", "")?;
        }
        if let Some(help) = &self.help {
            write!(f, "\nhelp: {help}")?;
        }
        Ok(())
    }
}

impl std::error::Error for GrammarError {}

/// `text`, or its first `max` characters and an ellipsis.
pub(super) fn clipped(text: &str, max: usize) -> Cow<'_, str> {
    match text.char_indices().nth(max) {
        Some((end, _)) => format!("{}…", &text[..end]).into(),
        None => text.into(),
    }
}

/// `text`, or an ellipsis and its last `max` characters.
fn clipped_front(text: &str, max: usize) -> Cow<'_, str> {
    match text.char_indices().nth_back(max) {
        Some((start, last)) => format!("…{}", &text[start + last.len_utf8()..]).into(),
        None => text.into(),
    }
}

/// `text` as it can stand on one line of a terminal: control characters, and those that take no column of their own or
/// turn the direction of writing, have a visible stand-in.
pub(super) fn shown(text: &str) -> String {
    text.chars().map(stand_in).collect()
}

fn stand_in(character: char) -> char {
    match character {
        // The control pictures of Unicode stand in the order of the control characters.
        '\0'..='\x1f' => char::from_u32(0x2400 + u32::from(character)).unwrap_or('\u{fffd}'),
        '\x7f' => '\u{2421}',
        _ if is_invisible(character) => '\u{fffd}',
        _ => character,
    }
}

fn is_invisible(character: char) -> bool {
    // C1 controls; soft hyphen; marks that combine with their neighbour; joiners, direction marks and separators;
    // variation selectors and tags. Every script with combining vowels is not in this list: a caret may be off by one
    // there.
    matches!(character,
        '\u{80}'..='\u{9f}' | '\u{ad}' | '\u{300}'..='\u{36f}' | '\u{483}'..='\u{489}' | '\u{591}'..='\u{5bd}'
        | '\u{610}'..='\u{61c}' | '\u{64b}'..='\u{65f}' | '\u{1160}'..='\u{11ff}' | '\u{180e}' | '\u{1ab0}'..='\u{1aff}'
        | '\u{1dc0}'..='\u{1dff}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        | '\u{20d0}'..='\u{20ff}' | '\u{302a}'..='\u{302f}' | '\u{3099}'..='\u{309a}' | '\u{fe00}'..='\u{fe0f}'
        | '\u{fe20}'..='\u{fe2f}' | '\u{feff}' | '\u{fff0}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

/// Columns that the shown form of `text` takes on a terminal: two for the wide characters of East Asia and for
/// pictures.
fn columns(text: &str) -> usize {
    text.chars().map(|character| if is_wide(character) { 2 } else { 1 }).sum()
}

fn is_wide(character: char) -> bool {
    !is_invisible(character)
        && matches!(character,
            '\u{1100}'..='\u{115f}' | '\u{231a}'..='\u{231b}' | '\u{2e80}'..='\u{303e}' | '\u{3041}'..='\u{33ff}'
            | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{a000}'..='\u{a4cf}' | '\u{a960}'..='\u{a97f}'
            | '\u{ac00}'..='\u{d7a3}' | '\u{f900}'..='\u{faff}' | '\u{fe30}'..='\u{fe6f}' | '\u{ff00}'..='\u{ff60}'
            | '\u{ffe0}'..='\u{ffe6}' | '\u{1f300}'..='\u{1f64f}' | '\u{1f680}'..='\u{1f6ff}' | '\u{1f900}'..='\u{1f9ff}'
            | '\u{20000}'..='\u{3fffd}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(error: GrammarError, expected: &[&str]) {
        assert_eq!(error.to_string(), expected.join("\n"));
    }

    #[test]
    fn carets_stand_under_the_part_whatever_comes_before_it() {
        #[track_caller]
        fn under_x(text: &str, line: &str, carets: &str) {
            let start = text.find('X').expect("an X");
            check(Mistake::new(start..start + 1, "here").in_rule(text), &["here", line, carets]);
        }
        under_x("abX", "  abX", "    ^");
        under_x("äöX", "  äöX", "    ^");
        under_x("日本X", "  日本X", "      ^");
        under_x("🌊X", "  🌊X", "    ^");
        under_x("e\u{301}X", "  e\u{fffd}X", "    ^");
        under_x("a\tX", "  a␉X", "    ^");
        under_x("a\nX\r", "  a␊X", "    ^");
        under_x("\x1b[31mX", "  ␛[31mX", "       ^");
        under_x("\u{202e}X\u{9b}", "  \u{fffd}X\u{fffd}", "   ^");
        under_x("a\0\x7fX  ", "  a␀␡X", "     ^");
    }

    #[test]
    fn a_missing_part_has_one_caret_and_a_blank_line_none() {
        check(Mistake::new(3..3, "more").in_rule("abc"), &["more", "  abc", "     ^"]);
        check(Mistake::new(0..0, "empty").in_rule("").clone(), &["empty"]);
        check(Mistake::new(0..2, "blank").with_help("write").in_rule("  "), &["blank", "help: write"]);
    }

    #[test]
    fn a_file_shows_the_line_where_the_offence_begins() {
        let text = "a = 1\r\nöb = \"x\ny\"\r\n\nc";
        let start = text.find('"').expect("a quote");
        check(
            Mistake::new(start..start + 5, "bad").in_file(text),
            &["line 2, column 6: bad", "  öb = \"x", "       ^^"],
        );
        check(Mistake::new(0..1, "bad").in_file(text), &["line 1, column 1: bad", "  a = 1", "  ^"]);
        check(Mistake::new(text.len()..text.len(), "end").in_file(text), &["line 5, column 2: end", "  c", "   ^"]);
        let blank = text.find("\n\n").expect("a blank line") + 1;
        check(Mistake::new(blank..blank, "blank").in_file(text), &["line 4, column 1: blank"]);
    }

    #[test]
    fn a_long_line_is_shown_in_part() {
        let text = format!("{}X{}", "a".repeat(1000), "b".repeat(1000));
        let line = format!("  …{}X{}…", "a".repeat(80), "b".repeat(80));
        check(Mistake::new(1000..1001, "here").in_rule(&text), &["here", &line, &format!("{}^", " ".repeat(83))]);
        let marked = Mistake::new(0..2001, "here").in_rule(&text).to_string();
        assert!(marked.ends_with(&"^".repeat(81)), "{marked}");
        assert!(!marked.ends_with(&"^".repeat(82)), "{marked}");
    }

    #[test]
    fn spans_out_of_bounds_or_inside_a_character_are_widened_to_what_exists() {
        assert_eq!(Mistake::new(1..2, "").in_file("日本").span(), 0..3);
        assert_eq!(Mistake::new(7..99, "").in_file("日本").span(), 6..6);
        let backwards = Range { start: 5, end: 2 };
        assert_eq!(Mistake::new(backwards, "").in_file("abcdef").span(), 2..2);
    }
}
