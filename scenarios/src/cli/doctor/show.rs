//! A report in colours, and the outcomes of a repair side by side.

use anstyle::{AnsiColor, Style};
use seawall::doctor::fix::{Outcome, Soundness};
use seawall::doctor::{DoctorReport, Severity};
use std::fmt::Write;

/// Longer lists of tables are cut.
const TABLES_MAX: usize = 200;
const SECONDS_PER_DAY: u64 = 86_400;

pub(super) fn heading(text: &str) -> String {
    let bold = Style::new().bold();
    format!("{bold}{text}{bold:#}")
}

pub(super) fn paint(severity: Severity, text: &str) -> String {
    let color = match severity {
        Severity::Ok => AnsiColor::Green,
        Severity::Notice => AnsiColor::Cyan,
        Severity::Warning => AnsiColor::Yellow,
        Severity::Danger => AnsiColor::Red,
    };
    let style = Style::new().bold().fg_color(Some(color.into()));
    format!("{style}{text}{style:#}")
}

/// The text of the library with colours.
pub(super) fn report(report: &DoctorReport) -> String {
    let mut out = String::new();
    for (number, line) in report.to_string().lines().enumerate() {
        let severities = [Severity::Danger, Severity::Warning, Severity::Notice, Severity::Ok];
        let of_finding = severities.iter().find_map(|&severity| {
            let rest = line.strip_prefix(severity.word()).filter(|rest| rest.starts_with(' '));
            rest.map(|rest| (severity, rest))
        });
        let painted = match (number, line.rsplit_once(": "), line.strip_prefix("next: "), of_finding) {
            (0, Some((path, word)), ..) => format!("{}: {}", heading(path), paint(report.severity, word)),
            (_, _, Some(next), _) => format!("{} {next}", heading("next:")),
            (_, _, _, Some((severity, rest))) => format!("{}{rest}", paint(severity, severity.word())),
            _ => line.to_owned(),
        };
        out.push_str(&painted);
        out.push('\n');
    }
    out
}

/// The outcomes side by side.
pub(super) fn outcomes(outcomes: &[Outcome]) -> String {
    let mut out = String::new();
    let mut row = |label: &str, value: &dyn Fn(&Outcome) -> String| {
        let _ = write!(out, "  {:<24}", shortened(label, 24));
        for outcome in outcomes {
            let _ = write!(out, " {:>24}", shortened(&value(outcome), 24));
        }
        out.push('\n');
    };
    row("", &|outcome| format!("--take {}", outcome.take));
    row("integrity", &|outcome| word(outcome.content.soundness).to_owned());
    row("pages", &|outcome| outcome.content.pages.to_string());
    row("newest change (UTC)", &|outcome| outcome.changed_unix_s.map_or_else(|| "unknown".to_owned(), utc));
    row("rows", &|outcome| outcome.content.rows.to_string());
    let mut names: Vec<&str> =
        outcomes.iter().flat_map(|outcome| &outcome.content.tables).map(|table| table.name.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    for name in names.iter().take(TABLES_MAX) {
        row(&format!("  {name}"), &|outcome| {
            let table = outcome.content.tables.iter().find(|table| table.name == *name);
            table.map_or_else(
                || "no table".to_owned(),
                |table| {
                    let digest = table.sha256.as_deref().map_or("unreadable", |digest| &digest[..8]);
                    format!("{} ({digest})", table.rows)
                },
            )
        });
    }
    if names.len() > TABLES_MAX {
        let _ = writeln!(out, "  and {} more tables", names.len() - TABLES_MAX);
    }
    for outcome in outcomes.iter().filter(|outcome| outcome.content.soundness != Soundness::Sound) {
        let _ = writeln!(out, "  --take {}: {}", outcome.take, super::targets::one_line(&outcome.content.integrity));
    }
    out
}

fn word(soundness: Soundness) -> &'static str {
    match soundness {
        Soundness::Sound => "ok",
        Soundness::OutOfStep => "rows out of step",
        Soundness::Damaged => "damaged",
        _ => "cannot be checked",
    }
}

fn shortened(text: &str, chars_max: usize) -> String {
    let text = super::targets::one_line(text);
    if text.chars().count() <= chars_max {
        return text;
    }
    text.chars().take(chars_max - 1).chain(['…']).collect()
}

/// Seconds since 1970 as a date and a time (Howard Hinnant, "chrono-compatible low-level date algorithms").
fn utc(unix_s: u64) -> String {
    let (days, second) = (unix_s / SECONDS_PER_DAY + 719_468, unix_s % SECONDS_PER_DAY);
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_the_calendar() {
        for (unix_s, expected) in [
            (0, "1970-01-01 00:00:00"),
            (951_782_400, "2000-02-29 00:00:00"),
            (1_709_251_199, "2024-02-29 23:59:59"),
            (1_767_225_600, "2026-01-01 00:00:00"),
            (4_107_542_400, "2100-03-01 00:00:00"),
        ] {
            assert_eq!(utc(unix_s), expected);
        }
    }

    #[test]
    fn a_long_name_does_not_push_the_table_apart() {
        assert_eq!(shortened("abc", 3), "abc");
        assert_eq!(shortened("abcd", 3), "ab…");
        assert_eq!(shortened("a\nb", 9), "a\\nb");
    }
}
