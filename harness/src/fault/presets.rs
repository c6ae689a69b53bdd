//! Named sets of rules for the troubles that are met most.

use super::parse::error::GrammarError;
use super::parse::grammar::parse_rule;
use super::rule::Rule;
use crate::suggest;

/// A named set of rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Preset {
    /// The name.
    pub name: &'static str,
    /// What it does, in one sentence.
    pub summary: &'static str,
    /// The rules in the text form.
    pub rules: &'static [&'static str],
}

/// Every preset.
pub const PRESETS: &[Preset] = &[
    Preset {
        name: "disk-full",
        summary: "Once 256 KiB have been written, every further write finds the disk full.",
        rules: &["write@*:error=FULL:after=256KiB"],
    },
    Preset {
        name: "flaky-shm",
        summary: "Opening, growing and mapping the wal-index fails now and then.",
        rules: &[
            "shmmap@shm:error=IOERR_SHMMAP:p=0.1",
            "shmmap@shm:error=IOERR_SHMSIZE:p=0.05",
            "shmmap@shm:error=IOERR_SHMOPEN:p=0.05",
        ],
    },
    Preset {
        name: "cantopen-storm",
        summary: "Three of ten opens fail because the process has run out of file descriptors.",
        rules: &["open@*:error=CANTOPEN,errno=EMFILE:p=0.3"],
    },
    Preset {
        name: "truncate-denied",
        summary: "No file can be truncated.",
        rules: &["truncate@*:error=IOERR_TRUNCATE,errno=EACCES"],
    },
    Preset {
        name: "io-error",
        summary: "Reads, writes, syncs and size queries fail now and then with EIO, as on a dying disk.",
        rules: &[
            "read@*:error=IOERR_READ:p=0.005",
            "write@*:error=IOERR_WRITE:p=0.01",
            "sync@*:error=IOERR_FSYNC:p=0.02",
            "filesize@*:error=IOERR_FSTAT:p=0.005",
        ],
    },
    Preset {
        name: "power-loss",
        summary: "The machine loses power once, at some write or sync.",
        rules: &["write@*:power-cut:p=0.005:times=1", "sync@*:power-cut:p=0.05:times=1"],
    },
    Preset {
        name: "fsyncgate",
        summary: "A failed sync marks the pages it could not write as clean, so that the next sync succeeds without them.",
        rules: &["sync@*:error=IOERR_FSYNC,dirty=dropped:p=0.1"],
    },
    Preset {
        name: "broken-locks",
        summary: "The lock service fails, refuses without cause, answers late and forgets locks, as on a bad network file \
                  system.",
        rules: &[
            "lock@db:error=IOERR_LOCK:p=0.02",
            "lock@db:error=BUSY:p=0.1",
            "unlock@db:error=IOERR_UNLOCK:p=0.01",
            "checkreservedlock@db:error=IOERR_CHECKRESERVEDLOCK:p=0.05",
            "shmlock@shm:stall=5ms:p=0.02",
            "lock@db:drop-locks:p=0.01",
            "write@wal:drop-locks:p=0.01",
            "shmlock@shm:drop-locks:p=0.002",
        ],
    },
];

/// A name that no preset has.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown preset {name:?}\nhelp: {help}")]
pub struct UnknownPreset {
    /// What was given.
    pub name: String,
    /// The nearest name, or all of them.
    pub help: String,
}

/// The preset with this name.
pub fn preset(name: &str) -> Option<&'static Preset> {
    PRESETS.iter().find(|preset| preset.name == name)
}

/// The preset with this name, or what may have been meant.
pub fn find_preset(name: &str) -> Result<&'static Preset, UnknownPreset> {
    preset(name).ok_or_else(|| {
        let help = suggest::help(name, "presets", PRESETS.iter().map(|preset| preset.name));
        UnknownPreset { name: name.to_owned(), help }
    })
}

impl Preset {
    /// The rules, parsed. They parse: a test sees to it.
    pub fn parse(&self) -> Result<Vec<Rule>, GrammarError> {
        self.rules.iter().map(|text| parse_rule(text)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_preset_is_written_in_canonical_rules() {
        for preset in PRESETS {
            let rules = preset.parse().unwrap_or_else(|error| panic!("{}: {error}", preset.name));
            let printed: Vec<_> = rules.iter().map(Rule::to_string).collect();
            assert_eq!(printed, preset.rules, "{}", preset.name);
            assert!(preset.summary.ends_with('.') && !preset.rules.is_empty(), "{}", preset.name);
        }
        let broken_locks = preset("broken-locks").unwrap().parse().unwrap();
        assert!(broken_locks.iter().any(|rule| rule.to_string().contains(":drop-locks:")));
        let names: Vec<_> = PRESETS.iter().map(|preset| preset.name).collect();
        let expected = [
            "disk-full",
            "flaky-shm",
            "cantopen-storm",
            "truncate-denied",
            "io-error",
            "power-loss",
            "fsyncgate",
            "broken-locks",
        ];
        assert_eq!(names, expected);
    }

    #[test]
    fn an_unknown_preset_is_refused_with_the_nearest_name() {
        #[track_caller]
        fn check(name: &str, message: &str) {
            assert_eq!(preset(name), None);
            assert_eq!(find_preset(name).expect_err(name).to_string(), message);
        }
        check("disk_full", "unknown preset \"disk_full\"\nhelp: did you mean `disk-full`?");
        check("fsync-gate", "unknown preset \"fsync-gate\"\nhelp: did you mean `fsyncgate`?");
        check(
            "rain",
            "unknown preset \"rain\"\nhelp: presets: disk-full, flaky-shm, cantopen-storm, truncate-denied, io-error, \
             power-loss, fsyncgate, broken-locks",
        );
        assert_eq!(find_preset("io-error").map(|preset| preset.name), Ok("io-error"));
    }
}
