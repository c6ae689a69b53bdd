//! Fates as text: those of the pending changes in their order, joined by dots, with `*N` behind one that N changes in a
//! row have: `1*12.0.t0-512.1`.

use seawall_harness::media::sim::durability::Fate;

/// The text of fates.
pub fn to_text(fates: &[Fate]) -> String {
    let runs = fates.chunk_by(|one, other| one == other);
    let run = |run: &[Fate]| if run.len() > 1 { format!("{}*{}", run[0], run.len()) } else { run[0].to_string() };
    runs.map(run).collect::<Vec<_>>().join(".")
}

/// The fates of a text; `None` if it is none, or too long.
pub fn of_text(text: &str) -> Option<Vec<Fate>> {
    const FATES_MAX: usize = 1_000_000;
    let mut fates = Vec::new();
    for part in text.split('.').filter(|part| !part.is_empty()) {
        let (fate, times) = part.split_once('*').unwrap_or((part, "1"));
        let (fate, times): (Fate, usize) = (fate.parse().ok()?, times.parse().ok()?);
        if times == 0 || fates.len() + times > FATES_MAX {
            return None;
        }
        fates.resize(fates.len() + times, fate);
    }
    Some(fates)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_fates_are_inverses() {
        #[track_caller]
        fn check(fates: &[Fate], text: &str) {
            assert_eq!(to_text(fates), text);
            assert_eq!(of_text(text).as_deref(), Some(fates));
        }
        let torn = Fate::Torn { from: 0, to: 512 };
        check(&[], "");
        check(&[Fate::Kept], "1");
        check(&[Fate::Kept, Fate::Kept, Fate::Lost, torn, Fate::Extended], "1*2.0.t0-512.x");
        for text in ["2", "1*0", "1*", "t5", "1*9999999999", "1..q"] {
            assert_eq!(of_text(text), None, "{text}");
        }
    }
}
