//! A part of the text being parsed that knows where it stands in the whole.

use super::error::{Mistake, clipped, shown};
use std::ops::Range;

/// Characters of a text that a message repeats.
const QUOTED_MAX: usize = 60;

#[derive(Clone, Copy, Debug)]
pub(super) struct Piece<'a> {
    pub(super) text: &'a str,
    /// Byte offset in the whole text.
    pub(super) start: usize,
}

impl<'a> Piece<'a> {
    pub(super) const fn new(text: &'a str, start: usize) -> Self {
        Self { text, start }
    }

    pub(super) const fn span(self) -> Range<usize> {
        self.start..self.start + self.text.len()
    }

    /// The text as it may appear in a message, not all of it if it is long.
    pub(super) fn quoted(self) -> String {
        format!("`{}`", shown(&clipped(self.text, QUOTED_MAX)))
    }

    pub(super) fn mistake(self, message: impl Into<String>) -> Mistake {
        Mistake::new(self.span(), message)
    }

    pub(super) fn trim(self) -> Self {
        let trimmed = self.text.trim_start();
        let start = self.start + (self.text.len() - trimmed.len());
        Self::new(trimmed.trim_end(), start)
    }

    /// The first `bytes` bytes, and the rest. `bytes` must be a character boundary.
    fn split_at(self, bytes: usize) -> (Self, Self) {
        let (head, tail) = self.text.split_at(bytes);
        (Self::new(head, self.start), Self::new(tail, self.start + bytes))
    }

    /// What stands before and behind the first `separator`.
    pub(super) fn split_once(self, separator: &str) -> Option<(Self, Self)> {
        let at = self.text.find(separator)?;
        let (head, tail) = self.split_at(at);
        Some((head, tail.split_at(separator.len()).1))
    }

    /// The parts between the `separator`s; at least one, perhaps empty.
    pub(super) fn split(self, separator: &'static str) -> impl Iterator<Item = Self> {
        let mut rest = Some(self);
        std::iter::from_fn(move || {
            let piece = rest?;
            match piece.split_once(separator) {
                Some((head, tail)) => {
                    rest = Some(tail);
                    Some(head)
                }
                None => rest.take(),
            }
        })
    }

    /// The longest prefix whose characters all satisfy `test`, and the rest.
    pub(super) fn split_while(self, test: impl Fn(char) -> bool) -> (Self, Self) {
        self.split_at(self.text.find(|character| !test(character)).unwrap_or(self.text.len()))
    }
}
