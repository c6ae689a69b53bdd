//! The words before the `=`: the same in the text form and in TOML.

/// How a key takes its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Takes {
    /// `drop`; in TOML `drop = true`.
    Nothing,
    /// `short` or `short=100`; in TOML `short = true` or `short = 100`.
    Perhaps,
    /// `when=3`, always.
    Value,
}

macro_rules! keys {
    ($($variant:ident $word:literal $takes:ident $example:literal),+ $(,)?) => {
        /// A key of a rule. Those of effects come first.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub(super) enum Key { $($variant),+ }

        impl Key {
            pub(super) const ALL: &'static [Self] = &[$(Self::$variant),+];

            pub(super) const fn word(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }

            pub(super) const fn takes(self) -> Takes {
                match self { $(Self::$variant => Takes::$takes),+ }
            }

            /// A rule's part with this key as it may be written, for help.
            pub(super) const fn example(self) -> &'static str {
                match self { $(Self::$variant => $example),+ }
            }
        }
    };
}

keys! {
    Error "error" Value "error=IOERR_FSYNC",
    Errno "errno" Value "errno=EIO",
    Dirty "dirty" Value "dirty=dropped",
    Short "short" Perhaps "short=100",
    Torn "torn" Value "torn=512",
    Bitflip "bitflip" Nothing "bitflip",
    Drop "drop" Nothing "drop",
    Lie "lie" Nothing "lie",
    DropLocks "drop-locks" Nothing "drop-locks",
    Stall "stall" Value "stall=50ms",
    Kill "kill" Nothing "kill",
    PowerCut "power-cut" Nothing "power-cut",
    When "when" Value "when=3",
    P "p" Value "p=0.05",
    Times "times" Value "times=10",
    After "after" Value "after=64KiB",
    Actor "actor" Value "actor=p2.*",
    From "from" Value "from=2s",
    Until "until" Value "until=5s",
}

impl Key {
    /// True if the key says what happens, false if it says when.
    pub(super) fn is_effect(self) -> bool {
        self < Self::When
    }

    pub(super) fn from_word(word: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|key| key.word() == word)
    }

    /// The words of the effects, or of the modifiers.
    pub(super) fn words(effects: bool) -> impl Iterator<Item = &'static str> + Clone {
        Self::ALL.iter().filter(move |key| key.is_effect() == effects).map(|key| key.word())
    }
}
