//! The versions of SQLite that can be built.

use super::BuildError;

/// One SQLite that can be built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Release {
    /// SQLite's version.
    pub sqlite: &'static str,
    /// The release of `libsqlite3-sys` with its amalgamation; the newest, where several have it.
    pub package: &'static str,
}

/// All that can be built, oldest first.
pub const RELEASES: &[Release] = &[
    Release { sqlite: "3.17.0", package: "0.9.0" },
    Release { sqlite: "3.24.0", package: "0.9.4" },
    Release { sqlite: "3.25.2", package: "0.10.0" },
    Release { sqlite: "3.26.0", package: "0.12.0" },
    Release { sqlite: "3.27.2", package: "0.14.0" },
    Release { sqlite: "3.28.0", package: "0.15.0" },
    Release { sqlite: "3.29.0", package: "0.16.0" },
    Release { sqlite: "3.30.1", package: "0.17.0" },
    Release { sqlite: "3.31.0", package: "0.17.3" },
    Release { sqlite: "3.31.1", package: "0.18.0" },
    Release { sqlite: "3.33.0", package: "0.20.1" },
    Release { sqlite: "3.35.4", package: "0.22.2" },
    Release { sqlite: "3.36.0", package: "0.23.1" },
    Release { sqlite: "3.37.0", package: "0.23.2" },
    Release { sqlite: "3.38.0", package: "0.24.1" },
    Release { sqlite: "3.38.2", package: "0.24.2" },
    Release { sqlite: "3.39.0", package: "0.25.0" },
    Release { sqlite: "3.39.2", package: "0.25.2" },
    Release { sqlite: "3.41.2", package: "0.26.0" },
    Release { sqlite: "3.44.0", package: "0.27.0" },
    Release { sqlite: "3.45.0", package: "0.28.0" },
    Release { sqlite: "3.46.0", package: "0.30.1" },
    Release { sqlite: "3.48.0", package: "0.31.0" },
    Release { sqlite: "3.49.1", package: "0.33.0" },
    Release { sqlite: "3.49.2", package: "0.34.0" },
    Release { sqlite: "3.50.2", package: "0.35.0" },
    Release { sqlite: "3.51.1", package: "0.36.0" },
    Release { sqlite: "3.51.3", package: "0.37.0" },
    Release { sqlite: "3.53.1", package: "0.38.0" },
    Release { sqlite: "3.53.2", package: "0.38.2" },
    Release { sqlite: "3.54.0", package: "0.39.0" },
    Release { sqlite: "3.54.1", package: "0.39.1" },
];

/// The release with this version of SQLite.
///
/// # Errors
/// [`BuildError::UnknownVersion`].
pub fn release(version: &str) -> Result<Release, BuildError> {
    let found = RELEASES.iter().find(|release| release.sqlite == version);
    found.copied().ok_or_else(|| BuildError::UnknownVersion { version: version.to_owned(), help: nearest(version) })
}

/// The versions next to one that does not exist.
fn nearest(version: &str) -> String {
    let all = || format!("there are {}", RELEASES.iter().map(|it| it.sqlite).collect::<Vec<_>>().join(", "));
    let Some(number) = number(version) else { return all() };
    let older = RELEASES.iter().rev().find(|it| self::number(it.sqlite) < Some(number));
    let newer = RELEASES.iter().find(|it| self::number(it.sqlite) > Some(number));
    let near: Vec<&str> = older.into_iter().chain(newer).map(|it| it.sqlite).collect();
    format!("the nearest: {} ({})", near.join(" and "), all())
}

/// `3.51.1` as numbers; the last may be missing.
pub(super) fn number(version: &str) -> Option<(u32, u32, u32)> {
    let mut parts = version.split('.').map(str::parse::<u32>);
    let (major, minor) = (parts.next()?.ok()?, parts.next()?.ok()?);
    let patch = parts.next().transpose().ok()?.unwrap_or(0);
    parts.next().is_none().then_some((major, minor, patch))
}
