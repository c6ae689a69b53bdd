//! Values: counts, sizes, durations, probabilities and which calls, read with their place and printed in one canonical
//! form.

use super::error::Mistake;
use super::key::Form;
use super::piece::Piece;
use crate::actor::ActorPattern;
use crate::codes::{Errno, ResultCode};
use crate::fault::rule::When;
use crate::suggest;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

const SIZE_UNITS: [(&str, u64); 4] = [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
const DURATION_UNITS: [(&str, u128); 4] = [("s", 1_000_000_000), ("ms", 1_000_000), ("us", 1_000), ("ns", 1)];

/// The value of a key. It prints in one canonical form, which reads back as the same value.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Value {
    /// A result code, printed by name.
    Code(ResultCode),
    /// An errno, printed by name.
    Errno(Errno),
    /// Bytes.
    Size(u64),
    /// A duration.
    Time(Duration),
    /// One of the words of a [`Choice`].
    Word(&'static str),
    /// Calls by their numbers.
    When(When),
    /// Above 0 and at most 1.
    Probability(f64),
    /// A whole number from 1.
    Count(u64),
    /// Threads of processes.
    Actor(ActorPattern),
}

/// A few words of which a value is one.
#[derive(Debug)]
pub struct Choice {
    /// What the words are, for the message `unknown …`.
    pub what: &'static str,
    /// What introduces the list of words, for help.
    pub intro: &'static str,
    /// The words.
    pub words: &'static [&'static str],
}

/// Bytes, printed in the largest unit that divides them: `64KiB`, `1000`.
struct Size(u64);

/// A duration, printed in the largest unit that divides it: `2s`, `1500ms`.
struct Time(Duration);

/// A probability, printed with as few digits as tell it from its neighbours: `0.05`, `1e-7`.
struct Probability(f64);

impl Form {
    /// Reads a value of this form.
    pub(super) fn read(self, piece: Piece<'_>) -> Result<Value, Mistake> {
        Ok(match self {
            Self::Nothing => return Err(piece.mistake("no value is taken here")),
            Self::Code => Value::Code(result_code(piece)?),
            Self::Errno => Value::Errno(errno(piece)?),
            // The size of a call is a C `int`.
            Self::Size | Self::OptionalSize => Value::Size(size(piece, u32::MAX.into())?),
            Self::Quota => Value::Size(size(piece, u64::MAX)?),
            Self::Time => Value::Time(duration(piece)?),
            Self::Word(choice) => Value::Word(word(piece, choice)?),
            Self::When => Value::When(when(piece)?),
            Self::Probability => Value::Probability(probability(piece)?),
            Self::Count => Value::Count(positive(piece)?),
            Self::Actor => Value::Actor(actor(piece)?),
        })
    }
}

fn result_code(piece: Piece<'_>) -> Result<ResultCode, Mistake> {
    let code: ResultCode = piece.text.parse().map_err(|_| {
        let help = match ResultCode::nearest(piece.text) {
            Some(name) => format!("did you mean `{name}`?"),
            None => "any result code of SQLite by name or number, such as IOERR_FSYNC or 1034".to_owned(),
        };
        piece.mistake(format!("unknown result code {}", piece.quoted())).with_help(help)
    })?;
    if code.is_success() {
        let sentence = format!("{code} is no error");
        return Err(piece.mistake(sentence).with_help("`drop` and `lie` report success for nothing done"));
    }
    Ok(code)
}

fn errno(piece: Piece<'_>) -> Result<Errno, Mistake> {
    piece.text.parse().map_err(|_| {
        let help = match Errno::nearest(piece.text) {
            Some(name) => format!("did you mean `{name}`?"),
            None => "a name or a number from 1 to 4095, such as EIO or 5".to_owned(),
        };
        piece.mistake(format!("unknown errno {}", piece.quoted())).with_help(help)
    })
}

fn word(piece: Piece<'_>, choice: &'static Choice) -> Result<&'static str, Mistake> {
    choice.words.iter().copied().find(|word| *word == piece.text).ok_or_else(|| {
        let help = suggest::help(piece.text, choice.intro, choice.words.iter().copied());
        piece.mistake(format!("unknown {} {}", choice.what, piece.quoted())).with_help(help)
    })
}

fn actor(piece: Piece<'_>) -> Result<ActorPattern, Mistake> {
    piece.text.parse().map_err(|_| {
        let help = format!("actors are written {}", ActorPattern::FORMS);
        piece.mistake(format!("{} names no actor", piece.quoted())).with_help(help)
    })
}

/// A whole number from 0.
pub(super) fn count(piece: Piece<'_>) -> Result<u64, Mistake> {
    whole_number(piece)
}

/// A whole number from 0 that `T` holds.
fn whole_number<T: FromStr>(piece: Piece<'_>) -> Result<T, Mistake> {
    if piece.text.is_empty() {
        return Err(piece.mistake("a number is missing here"));
    }
    if !piece.text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(piece.mistake(format!("{} is no whole number", piece.quoted())));
    }
    piece.text.parse().map_err(|_| piece.mistake(format!("{} is too large", piece.quoted())))
}

/// A whole number from 1.
fn positive(piece: Piece<'_>) -> Result<u64, Mistake> {
    match count(piece)? {
        0 => Err(piece.mistake("counting begins at 1")),
        number => Ok(number),
    }
}

/// Which of the counted calls: `3`, `3+`, `2..4`, `3+2`.
fn when(piece: Piece<'_>) -> Result<When, Mistake> {
    const FORMS: &str = "write N (that call), N+ (it and all later), N..M (from N to M) or N+S (every S-th from N)";
    let read = |part: Piece<'_>| positive(part.trim()).map_err(|mistake| mistake.with_help(FORMS));
    if let Some((first, last)) = piece.split_once("..") {
        let (first, last) = (read(first)?, read(last)?);
        if first > last {
            let sentence = format!("the range is empty: {first} is greater than {last}");
            return Err(piece.mistake(sentence).with_help(format!("did you mean `{last}..{first}`?")));
        }
        return Ok(When::Range(first, last));
    }
    match piece.split_once("+") {
        None => Ok(When::Nth(read(piece)?)),
        Some((first, step)) if step.trim().text.is_empty() => Ok(When::From(read(first)?)),
        Some((first, step)) => Ok(When::Every { first: read(first)?, step: read(step)? }),
    }
}

/// Bytes: `512`, `64KiB`, `1MiB`.
fn size(piece: Piece<'_>, max: u64) -> Result<u64, Mistake> {
    let (digits, unit) = piece.split_while(|character| character.is_ascii_digit());
    if digits.text.is_empty() {
        return Err(piece.mistake(format!("{} is no size", piece.quoted())).with_help("write 512, 64KiB or 1MiB"));
    }
    let factor = match SIZE_UNITS.iter().find(|(name, _)| *name == unit.text) {
        Some(&(_, factor)) => factor,
        None if unit.text.is_empty() => 1,
        None => return Err(unknown_size_unit(unit)),
    };
    count(digits)?
        .checked_mul(factor)
        .filter(|&bytes| bytes <= max)
        .ok_or_else(|| piece.mistake(format!("{} is too large: the most is {}", piece.quoted(), Size(max))))
}

fn unknown_size_unit(unit: Piece<'_>) -> Mistake {
    let names = SIZE_UNITS.iter().rev().map(|&(name, _)| name);
    let first = unit.text.chars().next().map(|character| character.to_ascii_lowercase());
    // `K`, `kb` and `KB` all mean the unit with that letter; bytes have none.
    let help = match names.clone().find(|name| name.chars().next().map(|letter| letter.to_ascii_lowercase()) == first) {
        Some(name) if unit.text.len() <= 3 => format!("did you mean `{name}`?"),
        _ => format!("units: {}; bytes have none", names.collect::<Vec<_>>().join(", ")),
    };
    unit.mistake(format!("unknown unit {}", unit.quoted())).with_help(help)
}

/// A duration: `50ms`, `2s`, `1.5s`, `10us`, `250ns`.
fn duration(piece: Piece<'_>) -> Result<Duration, Mistake> {
    let (number, unit) = piece.split_while(|character| character.is_ascii_digit() || character == '.');
    let (whole, fraction) = number.split_once(".").unwrap_or((number, Piece::new("0", number.span().end)));
    if whole.text.is_empty() || fraction.text.is_empty() || fraction.text.contains('.') {
        return Err(piece.mistake(format!("{} is no duration", piece.quoted())).with_help("write 50ms, 2s or 1.5s"));
    }
    let names = DURATION_UNITS.iter().map(|&(name, _)| name);
    if unit.text.is_empty() {
        let sentence = format!("{} has no unit", piece.quoted());
        return Err(piece.mistake(sentence).with_help(format!("did you mean `{}ms`?", number.text)));
    }
    let Some(&(_, factor)) = DURATION_UNITS.iter().find(|(name, _)| *name == unit.text) else {
        let help = suggest::help(unit.text, "units", names);
        return Err(unit.mistake(format!("unknown unit {}", unit.quoted())).with_help(help));
    };
    let too_large = || piece.mistake(format!("{} is too long", piece.quoted()));
    // The longest duration takes 94 bits in nanoseconds.
    let nanos = whole_number::<u128>(whole)?.checked_mul(factor).ok_or_else(too_large)?;
    let nanos = nanos.checked_add(fraction_of(fraction, factor)?).ok_or_else(too_large)?;
    let seconds = u64::try_from(nanos / 1_000_000_000).map_err(|_| too_large())?;
    // The remainder is below 10^9, which u32 holds.
    Ok(Duration::new(seconds, (nanos % 1_000_000_000) as u32))
}

/// The digits behind a decimal point, in units of the `factor`-th part. They must come out whole.
fn fraction_of(digits: Piece<'_>, factor: u128) -> Result<u128, Mistake> {
    let mut worth = factor;
    let mut sum = 0;
    for digit in digits.text.trim_end_matches('0').bytes() {
        if worth < 10 {
            return Err(digits.mistake("nothing is finer than a nanosecond"));
        }
        worth /= 10;
        sum += u128::from(digit - b'0') * worth;
    }
    Ok(sum)
}

/// A probability above 0, at most 1.
fn probability(piece: Piece<'_>) -> Result<f64, Mistake> {
    // Without this, Rust's words `inf` and `nan` would be numbers too.
    let is_number = piece.text.bytes().all(|byte| byte.is_ascii_digit() || b".eE+-".contains(&byte));
    let number: Option<f64> = piece.text.parse().ok().filter(|_| is_number);
    match number {
        None => Err(piece
            .mistake(format!("{} is no number", piece.quoted()))
            .with_help("write 0.05 for one call in twenty")),
        Some(p) if p > 0.0 && p <= 1.0 => Ok(p),
        Some(0.0) => Err(piece.mistake("a rule with probability 0 never fires").with_help("leave the rule out")),
        Some(_) => Err(piece.mistake("a probability is above 0 and at most 1")),
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => code.fmt(f),
            Self::Errno(errno) => errno.fmt(f),
            Self::Size(bytes) => Size(*bytes).fmt(f),
            Self::Time(duration) => Time(*duration).fmt(f),
            Self::Word(word) => f.write_str(word),
            Self::When(when) => when.fmt(f),
            Self::Probability(p) => Probability(*p).fmt(f),
            Self::Count(count) => count.fmt(f),
            Self::Actor(actor) => actor.fmt(f),
        }
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.0;
        match SIZE_UNITS.iter().find(|(_, factor)| bytes != 0 && bytes.is_multiple_of(*factor)) {
            Some((name, factor)) => write!(f, "{}{name}", bytes / factor),
            None => write!(f, "{bytes}"),
        }
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanos = self.0.as_nanos();
        // The last unit divides everything.
        let Some((name, factor)) = DURATION_UNITS.iter().find(|(_, factor)| nanos.is_multiple_of(*factor)) else {
            return Ok(());
        };
        write!(f, "{}{name}", nanos / factor)
    }
}

impl fmt::Display for Probability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Both forms are the shortest that read back as the same number; the first is endless for tiny ones.
        if self.0 < 1e-4 { write!(f, "{:e}", self.0) } else { write!(f, "{}", self.0) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(text: &str) -> Piece<'_> {
        Piece::new(text, 0)
    }

    #[test]
    fn sizes_print_in_the_largest_unit_that_divides_them() {
        #[track_caller]
        fn check(text: &str, bytes: u64, canonical: &str) {
            assert_eq!(size(piece(text), u64::MAX).expect(text), bytes);
            assert_eq!(Size(bytes).to_string(), canonical);
            assert_eq!(size(piece(canonical), u64::MAX).expect(canonical), bytes);
        }
        check("0", 0, "0");
        check("512", 512, "512");
        check("64KiB", 65536, "64KiB");
        check("1024KiB", 1 << 20, "1MiB");
        check("1500", 1500, "1500");
        check("3TiB", 3 << 40, "3TiB");
        check("18446744073709551615", u64::MAX, "18446744073709551615");
        for text in ["", "KiB", "1.5MiB", "64KB", "16777216TiB", "99999999999999999999", "-1", "1 KiB"] {
            assert!(size(piece(text), u64::MAX).is_err(), "{text}");
        }
    }

    #[test]
    fn durations_print_in_the_largest_unit_that_divides_them() {
        #[track_caller]
        fn check(text: &str, duration_expected: Duration, canonical: &str) {
            assert_eq!(duration(piece(text)).expect(text), duration_expected);
            assert_eq!(Time(duration_expected).to_string(), canonical);
            assert_eq!(duration(piece(canonical)).expect(canonical), duration_expected);
        }
        check("50ms", Duration::from_millis(50), "50ms");
        check("2s", Duration::from_secs(2), "2s");
        check("1.5s", Duration::from_millis(1500), "1500ms");
        check("10us", Duration::from_micros(10), "10us");
        check("0.25us", Duration::from_nanos(250), "250ns");
        check("1.000s", Duration::from_secs(1), "1s");
        check("0s", Duration::ZERO, "0s");
        check("18446744073709551615.999999999s", Duration::MAX, "18446744073709551615999999999ns");
        for text in [
            "",
            "s",
            "5",
            "5m",
            "1.s",
            ".5s",
            "1.2.3s",
            "1.5ns",
            "0.0000000001s",
            "1e3s",
            "-1s",
            "18446744073709551616s",
        ] {
            assert!(duration(piece(text)).is_err(), "{text}");
        }
    }

    #[test]
    fn probabilities_are_above_zero_and_at_most_one() {
        #[track_caller]
        fn check(text: &str, canonical: &str) {
            let p = probability(piece(text)).expect(text);
            assert_eq!(Probability(p).to_string(), canonical);
            assert_eq!(probability(piece(canonical)).expect(canonical).to_bits(), p.to_bits());
        }
        check("0.05", "0.05");
        check("1", "1");
        check("1.0", "1");
        check("5e-2", "0.05");
        check("0.0000001", "1e-7");
        check("5e-324", "5e-324");
        for text in ["", "0", "0.0", "-0.5", "1.0001", "nan", "inf", "half", "1e-999", "0,5", "5%"] {
            assert!(probability(piece(text)).is_err(), "{text}");
        }
    }
}
