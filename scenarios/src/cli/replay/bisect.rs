//! The first and the last version on which something happens.
//!
//! A defect was made once and mended once, so the versions that have it stand together, and halving finds both ends.
//! Versions that are built already cost nothing and are asked as well: where one between the ends does not have it,
//! that is said.

use super::Wanted;
use super::line::Line;
use crate::cli::{Complaint, Exit, say};
use crate::engines::{Cache, RELEASES, Release, State};
use crate::reproduce::{Answer, Happens, Setting, Subject, Until};
use serde_json::json;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Asks versions, each once.
struct Bisection<'a> {
    subject: &'a dyn Subject,
    setting: &'a Setting,
    /// By the position of the version.
    answers: BTreeMap<usize, Answer>,
}

impl Bisection<'_> {
    fn happens(&mut self, position: usize) -> Result<bool, Complaint> {
        if !self.answers.contains_key(&position) {
            let answer = self.subject.ask(self.setting, RELEASES[position].sqlite)?;
            say(&answer.sentence());
            self.answers.insert(position, answer);
        }
        Ok(self.answers[&position].happens == Happens::Yes)
    }

    /// The last position from `inside`, where it happens, towards `end` at which it still happens.
    fn edge(&mut self, inside: usize, end: usize) -> Result<usize, Complaint> {
        if self.happens(end)? {
            return Ok(end);
        }
        let mut find = |position| self.happens(position);
        edge(inside, end, &mut find)
    }
}

/// Halves the versions between one with it and one without.
fn edge<E>(inside: usize, outside: usize, happens: &mut impl FnMut(usize) -> Result<bool, E>) -> Result<usize, E> {
    let (mut with, mut without) = (inside, outside);
    while with.abs_diff(without) > 1 {
        let middle = usize::midpoint(with, without);
        if happens(middle)? {
            with = middle;
        } else {
            without = middle;
        }
    }
    Ok(with)
}

/// Asks the versions and tells the ends.
pub(super) fn bisect(wanted: &Wanted, setting: &Setting, until: &Until<'_>) -> Result<Line, Complaint> {
    let subject = &*wanted.subject;
    let mut bisection = Bisection { subject, setting, answers: BTreeMap::new() };
    let cache = Cache::locate().map_err(Complaint::broken)?;
    let linked = seawall_harness::engine::Engine::linked().version().to_owned();
    let is_there = |release: &Release| release.sqlite == linked || cache.state(*release) == State::Built;
    for (position, release) in RELEASES.iter().enumerate() {
        if is_there(release) || Some(release.sqlite) == subject.sqlite() {
            bisection.happens(position)?;
        }
        if until.is_over() {
            break;
        }
    }
    let inside: Vec<usize> =
        bisection.answers.iter().filter(|(_, answer)| answer.happens == Happens::Yes).map(|(at, _)| *at).collect();
    let ends = match (inside.first(), inside.last(), until.is_over()) {
        (Some(first), Some(last), false) => {
            Some((bisection.edge(*first, 0)?, bisection.edge(*last, RELEASES.len() - 1)?))
        }
        _ => None,
    };
    Ok(told(subject, &bisection.answers, ends))
}

fn told(subject: &dyn Subject, answers: &BTreeMap<usize, Answer>, ends: Option<(usize, usize)>) -> Line {
    let version = |position: usize| RELEASES[position].sqlite;
    let mut human = String::new();
    for answer in answers.values() {
        let _ = writeln!(human, "  {}", answer.sentence());
    }
    let gaps: Vec<&str> = match ends {
        Some((first, last)) => {
            let between = answers.range(first..=last);
            between.filter(|(_, answer)| answer.happens != Happens::Yes).map(|(at, _)| version(*at)).collect()
        }
        None => Vec::new(),
    };
    let sentence = match ends {
        None => "it happens on none of the versions that were asked".to_owned(),
        Some((first, last)) => {
            let (before, after) = (first.checked_sub(1).map(version), RELEASES.get(last + 1).map(|next| next.sqlite));
            let clean = [before, after].into_iter().flatten().collect::<Vec<_>>().join(" and ");
            let clean = if clean.is_empty() { String::new() } else { format!(", not on {clean}") };
            let gaps =
                if gaps.is_empty() { String::new() } else { format!("; between them not on {}", gaps.join(", ")) };
            format!("it happens from SQLite {} to {}{clean}{gaps}", version(first), version(last))
        }
    };
    let _ = writeln!(human, "{}: {sentence}", subject.name());
    let kind = if super::is_file(subject.name()) { "file" } else { "token" };
    let object = json!({
        "schema": 1, kind: subject.name(), "recorded_on": subject.sqlite(),
        "first": ends.map(|(first, _)| version(first)), "last": ends.map(|(_, last)| version(last)),
        "gaps": gaps, "versions": answers.values().collect::<Vec<_>>(),
    });
    let exit = if ends.is_some() { Exit::Finding } else { Exit::Expected };
    Line::told(subject, human, object, (exit, sentence))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halving_finds_the_ends_with_few_questions() {
        for (first, last) in [(0, 31), (3, 9), (30, 31), (7, 7)] {
            let mut asked = 0;
            let mut happens = |position: usize| {
                asked += 1;
                Ok::<bool, ()>((first..=last).contains(&position))
            };
            if first > 0 {
                assert_eq!(edge(last, 0, &mut happens), Ok(first));
            }
            if last < 31 {
                assert_eq!(edge(first, 31, &mut happens), Ok(last));
            }
            assert!(asked <= 10, "{asked}");
        }
    }
}
