//! The nearest valid word to a mistyped one.

/// Words longer than this are not typing mistakes, and comparing them would take long.
const LENGTH_MAX: usize = 40;

/// The choice nearest to `word`, if one is near enough to be what was meant: at most a third of its letters wrong,
/// case aside, or the last part of a name with underscores (`SHMMAP` for `IOERR_SHMMAP`). Ties go to the one that
/// begins more alike.
pub fn nearest<'a>(word: &str, choices: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let length = word.chars().count();
    if length == 0 || length > LENGTH_MAX {
        return None;
    }
    let word = word.to_lowercase();
    let limit = (length / 3).max(1);
    choices
        .into_iter()
        .map(|choice| {
            let folded = choice.to_lowercase();
            let distance = if folded.strip_suffix(&word).is_some_and(|rest| rest.ends_with('_')) {
                1
            } else {
                strsim::damerau_levenshtein(&word, &folded)
            };
            (distance, strsim::jaro_winkler(&word, &folded), choice)
        })
        .filter(|&(distance, ..)| distance <= limit)
        .min_by(|a, b| a.0.cmp(&b.0).then(b.1.total_cmp(&a.1)))
        .map(|(.., choice)| choice)
}

/// Help for a word that is none of `choices`: the nearest of them, or all of them.
pub fn help<'a>(word: &str, what: &str, choices: impl IntoIterator<Item = &'a str> + Clone) -> String {
    match nearest(word, choices.clone()) {
        Some(choice) => format!("did you mean `{choice}`?"),
        None => format!("{what}: {}", choices.into_iter().collect::<Vec<_>>().join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_is_found_if_it_is_near() {
        #[track_caller]
        fn check(word: &str, expected: Option<&str>) {
            let choices =
                ["read", "write", "truncate", "shmmap", "shmlock", "power-cut", "IOERR_SHMLOCK", "IOERR_LOCK"];
            assert_eq!(nearest(word, choices), expected, "{word}");
        }
        check("shmap", Some("shmmap"));
        check("xShmMap", Some("shmmap"));
        check("WRITE", Some("write"));
        check("wirte", Some("write"));
        check("power_cut", Some("power-cut"));
        check("LOCK", Some("IOERR_LOCK"));
        check("q", None);
        check("", None);
        check("elephant", None);
        check(&"read".repeat(1000), None);
    }

    #[test]
    fn help_lists_the_choices_if_none_is_near() {
        assert_eq!(help("dbb", "roles", ["db", "wal"]), "did you mean `db`?");
        assert_eq!(help("elephant", "roles", ["db", "wal"]), "roles: db, wal");
    }
}
