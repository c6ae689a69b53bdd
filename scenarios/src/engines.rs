//! Versions of SQLite beside the linked one: which there are, where they lie, and how they are built.
//!
//! The sources come out of the package `libsqlite3-sys`, each release of which carries the amalgamation of one SQLite;
//! cargo brings it, from its own cache or from the registry. The C compiler makes a shared object of it, with the
//! options of the SQLite that this program links, so that what differs between two engines is their version alone.

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{env, fs};

use seawall_harness::engine::{Engine, EngineError};

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

/// How the compiler is called: what `libsqlite3-sys` does for its bundled build, at the workspace's optimisation level.
const OPTIONS: &[&str] = &[
    "-O2",
    "-fPIC",
    "-w",
    "-DSQLITE_CORE",
    "-DSQLITE_DEFAULT_FOREIGN_KEYS=1",
    "-DSQLITE_ENABLE_API_ARMOR",
    "-DSQLITE_ENABLE_COLUMN_METADATA",
    "-DSQLITE_ENABLE_DBSTAT_VTAB",
    "-DSQLITE_ENABLE_FTS3",
    "-DSQLITE_ENABLE_FTS3_PARENTHESIS",
    "-DSQLITE_ENABLE_FTS5",
    "-DSQLITE_ENABLE_JSON1",
    "-DSQLITE_ENABLE_LOAD_EXTENSION=1",
    "-DSQLITE_ENABLE_RTREE",
    "-DSQLITE_ENABLE_STAT4",
    "-DSQLITE_SOUNDEX",
    "-DSQLITE_THREADSAFE=1",
    "-DSQLITE_USE_URI",
    "-DHAVE_USLEEP=1",
    "-DHAVE_ISNAN",
    "-DHAVE_LOCALTIME_R",
    "-D_POSIX_THREAD_SAFE_FUNCTIONS",
];

/// How the shared object is linked. Its calls of its own functions must stay inside: bound to those of this program,
/// two versions would run mixed up. Apple's linker binds that way by itself.
const LINKING: &[&str] = if cfg!(target_os = "macos") {
    &["-dynamiclib"]
} else {
    &["-shared", "-Wl,-Bsymbolic", "-lpthread", "-ldl", "-lm"]
};

/// Why there is no library.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The table has no such version.
    #[error("SQLite {version} cannot be built here; {help}")]
    UnknownVersion {
        /// What was asked for.
        version: String,
        /// What there is.
        help: String,
    },
    /// Nowhere to put it.
    #[error("there is no folder for libraries: set SEAWALL_CACHE to one")]
    NoFolder,
    /// The folder for the libraries cannot be used.
    #[error("cannot write {}: {reason}; set SEAWALL_CACHE to a folder that can be written to", path.display())]
    Unwritable {
        /// What could not be written.
        path: PathBuf,
        /// Why.
        reason: io::Error,
    },
    /// A program that is needed cannot be started.
    #[error("{what} cannot be started ({names}): {why}")]
    NoProgram {
        /// What it is.
        what: &'static str,
        /// The names that were tried.
        names: String,
        /// What it is needed for.
        why: &'static str,
    },
    /// Cargo did not bring the sources.
    #[error(
        "cargo could not fetch libsqlite3-sys {package} with the sources of SQLite; is the registry reachable?{output}"
    )]
    Fetch {
        /// The package's version.
        package: String,
        /// The end of what cargo said.
        output: String,
    },
    /// The package holds something else.
    #[error("libsqlite3-sys {package} holds SQLite {found} and not {version}")]
    OtherVersion {
        /// The package's version.
        package: String,
        /// What it holds.
        found: String,
        /// What was expected.
        version: String,
    },
    /// The compiler failed.
    #[error("{compiler} could not compile SQLite {version} ({status}){output}")]
    Compile {
        /// The command.
        compiler: String,
        /// SQLite's version.
        version: String,
        /// How it ended.
        status: String,
        /// The end of what it said.
        output: String,
    },
    /// What was built is of no use.
    #[error("what was built of SQLite {version} is of no use: {reason}")]
    Useless {
        /// SQLite's version.
        version: String,
        /// Why.
        reason: String,
    },
}

/// Why there is no engine for a text.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    /// The text is no version, and no file has this name.
    #[error(
        "`{0}` is neither a version of SQLite nor a file; give a version (see `seawall sqlite list`), the path of a \
         shared object, or `linked`"
    )]
    Neither(String),
    /// The version cannot be built.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// The library cannot be loaded.
    #[error(transparent)]
    Load(#[from] EngineError),
}

/// Whether there is a library of a release.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It has to be built.
    Absent,
    /// It was built with other options, or of another package, and is not used.
    Stale,
    /// It is there.
    Built,
}

impl State {
    /// As a word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Absent => "absent",
            Self::Stale => "stale",
            Self::Built => "built",
        }
    }
}

/// What is told while something is built, a line at a time.
pub type Progress<'a> = &'a (dyn Fn(&str) + Sync);

/// The release with this version of SQLite.
///
/// # Errors
/// [`BuildError::UnknownVersion`].
pub fn release(version: &str) -> Result<Release, BuildError> {
    let found = RELEASES.iter().find(|release| release.sqlite == version);
    found.copied().ok_or_else(|| BuildError::UnknownVersion { version: version.to_owned(), help: nearest(version) })
}

/// The versions next to one that there is not.
fn nearest(version: &str) -> String {
    let all = || format!("there are {}", RELEASES.iter().map(|it| it.sqlite).collect::<Vec<_>>().join(", "));
    let Some(number) = number(version) else { return all() };
    let older = RELEASES.iter().rev().find(|it| self::number(it.sqlite) < Some(number));
    let newer = RELEASES.iter().find(|it| self::number(it.sqlite) > Some(number));
    let near: Vec<&str> = older.into_iter().chain(newer).map(|it| it.sqlite).collect();
    format!("the nearest: {} ({})", near.join(" and "), all())
}

/// `3.51.1` as numbers; the last may be missing.
fn number(version: &str) -> Option<(u32, u32, u32)> {
    let mut parts = version.split('.').map(str::parse::<u32>);
    let (major, minor) = (parts.next()?.ok()?, parts.next()?.ok()?);
    let patch = parts.next().transpose().ok()?.unwrap_or(0);
    parts.next().is_none().then_some((major, minor, patch))
}

/// The engine that `--sqlite` asks for: `linked`, a version, or the path of a shared object. A version that is not
/// there is built.
///
/// # Errors
/// See [`ResolveError`].
pub fn resolve(text: &str) -> Result<Engine, ResolveError> {
    // Standard error may be closed; the build goes on.
    resolve_with(text, &|line| drop(writeln!(io::stderr().lock(), "{line}")))
}

/// As [`resolve`], which tells the progress of a build on standard error.
///
/// # Errors
/// See [`ResolveError`].
pub fn resolve_with(text: &str, progress: Progress<'_>) -> Result<Engine, ResolveError> {
    let linked = Engine::linked();
    if text == "linked" || text == linked.version() {
        return Ok(linked);
    }
    let path = Path::new(text);
    // A version is a version even where a file is called so: a file can be given as ./3.51.1.
    if number(text).is_none() {
        if path.components().count() < 2 && !path.exists() {
            return Err(ResolveError::Neither(text.to_owned()));
        }
        return Ok(Engine::load(path)?);
    }
    let release = release(text)?;
    let path = Cache::locate()?.build(release, progress)?;
    Ok(Engine::load(&path)?)
}

/// The folder with the libraries.
#[derive(Clone, Debug)]
pub struct Cache {
    folder: PathBuf,
}

impl Cache {
    /// `$SEAWALL_CACHE`; else the folder `sqlite` in the target folder that this program was built in, or in that of
    /// the workspace around the current folder; else `seawall` among the user's caches.
    ///
    /// # Errors
    /// [`BuildError::NoFolder`].
    pub fn locate() -> Result<Self, BuildError> {
        let set = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let home = || set("XDG_CACHE_HOME").or_else(|| Some(set("HOME")?.join(".cache")));
        let folder = set("SEAWALL_CACHE")
            .or_else(|| Some(target_above(&env::current_exe().ok()?)?.join("sqlite")))
            .or_else(|| {
                let current = env::current_dir().ok()?;
                let target = current.ancestors().map(|folder| folder.join("target")).find(|it| is_target(it))?;
                Some(target.join("sqlite"))
            })
            .or_else(|| Some(home()?.join("seawall")))
            .ok_or(BuildError::NoFolder)?;
        Ok(Self::at(&folder))
    }

    /// A cache in this folder.
    pub fn at(folder: &Path) -> Self {
        Self { folder: std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned()) }
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Where the library of a release lies, or would lie.
    pub fn library(&self, release: Release) -> PathBuf {
        self.folder.join(format!("sqlite-{}{}", release.sqlite, env::consts::DLL_SUFFIX))
    }

    /// Whether it is there.
    pub fn state(&self, release: Release) -> State {
        if !self.library(release).is_file() {
            return State::Absent;
        }
        let is_same = fs::read_to_string(self.stamp(release)).is_ok_and(|text| text == stamp(release));
        if is_same { State::Built } else { State::Stale }
    }

    /// The file that says what the library was built from.
    fn stamp(&self, release: Release) -> PathBuf {
        self.folder.join(format!("sqlite-{}.options", release.sqlite))
    }

    /// Builds the library, unless it is there. Any number of processes may do so at once; one works, the others wait.
    ///
    /// # Errors
    /// See [`BuildError`].
    pub fn build(&self, release: Release, progress: Progress<'_>) -> Result<PathBuf, BuildError> {
        self.build_with(&Tools::found(), release, progress)
    }

    fn build_with(&self, tools: &Tools, release: Release, progress: Progress<'_>) -> Result<PathBuf, BuildError> {
        let library = self.library(release);
        if self.state(release) == State::Built {
            return Ok(library);
        }
        fs::create_dir_all(&self.folder).map_err(unwritable(&self.folder))?;
        let lock_path = self.folder.join(format!("sqlite-{}.lock", release.sqlite));
        let lock = fs::File::create(&lock_path).map_err(unwritable(&lock_path))?;
        if lock.try_lock().is_err() {
            progress(&format!("SQLite {}: waiting for another process that builds it", release.sqlite));
            lock.lock().map_err(unwritable(&lock_path))?;
        }
        if self.state(release) == State::Built {
            return Ok(library);
        }
        // The lock makes this folder ours. One that is left over belonged to somebody who died.
        let work = Workshop::open(tools, self.folder.join(format!("work-{}", release.sqlite)))?;
        let built = work.build(release, progress)?;
        let stamp_path = self.stamp(release);
        // The stamp goes first and comes last, so that one never stands beside a library that it does not belong to.
        let gone = fs::remove_file(&stamp_path);
        gone.or_else(missing_is_fine).map_err(unwritable(&stamp_path))?;
        fs::rename(&built, &library).map_err(unwritable(&library))?;
        let fresh = work.folder.join("options");
        write_synced(&fresh, &stamp(release)).map_err(unwritable(&fresh))?;
        fs::rename(&fresh, &stamp_path).map_err(unwritable(&stamp_path))?;
        Ok(library)
    }
}

/// What a library of this release is built from, with which options.
fn stamp(release: Release) -> String {
    format!("libsqlite3-sys {}\n{}\n{}\n", release.package, OPTIONS.join(" "), LINKING.join(" "))
}

/// The target folder of cargo that a program lies in.
fn target_above(program: &Path) -> Option<PathBuf> {
    program.ancestors().find(|folder| is_target(folder)).map(Path::to_owned)
}

/// Cargo keeps this file at the root of each.
fn is_target(folder: &Path) -> bool {
    folder.join(".rustc_info.json").is_file()
}

fn unwritable(path: &Path) -> impl Fn(io::Error) -> BuildError + '_ {
    |reason| BuildError::Unwritable { path: path.to_owned(), reason }
}

fn missing_is_fine(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) }
}

fn write_synced(path: &Path, text: &str) -> io::Result<()> {
    let mut file = fs::File::create(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

/// The programs that a build takes.
struct Tools {
    cargo: OsString,
    /// What may be the C compiler, best first, each with its first arguments.
    compilers: Vec<Vec<String>>,
}

impl Tools {
    fn found() -> Self {
        // Cargo tells what it runs which one it is.
        let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        Self { cargo, compilers: compilers(env::var_os("CC")) }
    }
}

/// A folder for one build, gone afterwards.
struct Workshop<'a> {
    tools: &'a Tools,
    folder: PathBuf,
}

impl<'a> Workshop<'a> {
    fn open(tools: &'a Tools, folder: PathBuf) -> Result<Self, BuildError> {
        fs::remove_dir_all(&folder).or_else(missing_is_fine).map_err(unwritable(&folder))?;
        fs::create_dir_all(&folder).map_err(unwritable(&folder))?;
        Ok(Self { tools, folder })
    }

    /// Fetches, compiles, and looks at the result.
    fn build(&self, release: Release, progress: Progress<'_>) -> Result<PathBuf, BuildError> {
        let Release { sqlite: version, package } = release;
        progress(&format!("SQLite {version}: looking for its sources in libsqlite3-sys {package}"));
        let source = self.fetch(package)?;
        let found = version_of(&source).unwrap_or_else(|| "of no version".to_owned());
        if found != version {
            return Err(BuildError::OtherVersion { package: package.to_owned(), found, version: version.to_owned() });
        }
        progress(&format!("SQLite {version}: compiling, which takes a minute or two"));
        let library = self.compile(version, &source)?;
        let useless = |reason: String| BuildError::Useless { version: version.to_owned(), reason };
        let engine = Engine::load(&library).map_err(|error| useless(error.to_string()))?;
        if engine.version() != version {
            return Err(useless(format!("it says that it is {}", engine.version())));
        }
        Ok(library)
    }

    /// Has cargo bring the package, by way of a project that needs it, and yields the path of the amalgamation.
    fn fetch(&self, package: &str) -> Result<PathBuf, BuildError> {
        let manifest = self.folder.join("Cargo.toml");
        // The empty table keeps cargo from looking for a workspace further up, where the target folder lies.
        let text = format!(
            "[workspace]\n[package]\nname = \"sources\"\nversion = \"0.0.0\"\nedition = \"2021\"\n\
             [lib]\npath = \"lib.rs\"\n[dependencies]\n\
             libsqlite3-sys = {{ version = \"={package}\", default-features = false }}\n"
        );
        fs::write(&manifest, text).map_err(unwritable(&manifest))?;
        let code = self.folder.join("lib.rs");
        fs::write(&code, "").map_err(unwritable(&code))?;
        // What cargo has already needs no network.
        let offline = self.cargo(&["--offline"])?;
        let answer = if offline.status.success() { offline } else { self.cargo(&[])? };
        let failed = |output: String| BuildError::Fetch { package: package.to_owned(), output };
        if !answer.status.success() {
            return Err(failed(tail(&answer.stderr)));
        }
        let folder =
            package_folder(&answer.stdout).ok_or_else(|| failed(": it is not in cargo's answer".to_owned()))?;
        Ok(folder.join("sqlite3").join("sqlite3.c"))
    }

    fn cargo(&self, more: &[&str]) -> Result<std::process::Output, BuildError> {
        let mut command = Command::new(&self.tools.cargo);
        command.args(["metadata", "--format-version", "1", "--color", "never"]).args(more);
        // Configuration that holds where the target folder is holds here.
        command.current_dir(&self.folder).stdin(Stdio::null());
        command.output().map_err(|error| BuildError::NoProgram {
            what: "cargo",
            names: format!("{}: {error}", self.tools.cargo.display()),
            why: "it brings the sources of SQLite",
        })
    }

    fn compile(&self, version: &str, source: &Path) -> Result<PathBuf, BuildError> {
        let library = self.folder.join(format!("sqlite{}", env::consts::DLL_SUFFIX));
        for compiler in &self.tools.compilers {
            let mut command = Command::new(&compiler[0]);
            command.args(&compiler[1..]).args(OPTIONS).arg("-o").arg(&library).arg(source).args(LINKING);
            command.current_dir(&self.folder).stdin(Stdio::null());
            let answer = match command.output() {
                Ok(answer) => answer,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(no_compiler(&format!("{}: {error}", compiler.join(" ")))),
            };
            if answer.status.success() {
                return Ok(library);
            }
            return Err(BuildError::Compile {
                compiler: compiler.join(" "),
                version: version.to_owned(),
                status: answer.status.to_string(),
                output: tail(&answer.stderr),
            });
        }
        Err(no_compiler(&self.tools.compilers.iter().map(|words| words.join(" ")).collect::<Vec<_>>().join(", ")))
    }
}

impl Drop for Workshop<'_> {
    fn drop(&mut self) {
        // What cannot be removed is removed by the next build.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn no_compiler(names: &str) -> BuildError {
    BuildError::NoProgram {
        what: "the C compiler",
        names: names.to_owned(),
        why: "install one, or set CC to its name; it makes a library of the sources",
    }
}

/// What may be the C compiler: the words of `$CC` (`ccache gcc`), or whichever of the usual names is there.
fn compilers(set: Option<OsString>) -> Vec<Vec<String>> {
    let words = |text: &str| -> Vec<String> { text.split_whitespace().map(str::to_owned).collect() };
    let set = set.map(|set| words(&set.to_string_lossy())).filter(|words| !words.is_empty());
    set.map_or_else(|| ["cc", "gcc", "clang"].map(words).to_vec(), |set| vec![set])
}

/// The folder of the package in the answer of `cargo metadata`.
fn package_folder(json: &[u8]) -> Option<PathBuf> {
    let metadata: serde_json::Value = serde_json::from_slice(json).ok()?;
    let package = metadata["packages"].as_array()?.iter().find(|package| package["name"] == "libsqlite3-sys")?;
    Some(Path::new(package["manifest_path"].as_str()?).parent()?.to_owned())
}

/// The version of an amalgamation, from the definition near its beginning.
fn version_of(source: &Path) -> Option<String> {
    let bytes = fs::read(source).ok()?;
    let mut lines = bytes.split(|byte| *byte == b'\n');
    let line = lines.find(|line| line.starts_with(b"#define SQLITE_VERSION "))?;
    Some(String::from_utf8_lossy(line).split('"').nth(1)?.to_owned())
}

/// The last lines of what a program said, each on a line of its own, indented.
fn tail(output: &[u8]) -> String {
    const LINES_MAX: usize = 12;
    let text = String::from_utf8_lossy(output);
    let lines: Vec<&str> = text.lines().map(str::trim_end).filter(|line| !line.is_empty()).collect();
    lines[lines.len().saturating_sub(LINES_MAX)..].iter().map(|line| format!("\n  {line}")).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    const QUIET: Progress<'static> = &|_| ();

    #[test]
    fn the_table_is_in_order_and_ends_with_the_linked_version() {
        let numbers: Vec<_> = RELEASES.iter().map(|release| number(release.sqlite).unwrap()).collect();
        assert!(numbers.is_sorted_by(|a, b| a < b));
        assert!(RELEASES.iter().map(|release| number(release.package).unwrap()).is_sorted_by(|a, b| a < b));
        assert_eq!(RELEASES.last().unwrap().sqlite, rusqlite::version());
    }

    #[test]
    fn an_unknown_version_gets_its_neighbours() {
        #[track_caller]
        fn check(version: &str, expected: &str) {
            let message = resolve_with(version, QUIET).unwrap_err().to_string();
            assert!(message.contains(expected), "{message}");
        }
        check("3.51.2", "SQLite 3.51.2 cannot be built here; the nearest: 3.51.1 and 3.51.3 (there are 3.17.0, ");
        check("3.51", "the nearest: 3.50.2 and 3.51.1 (");
        check("2.8.17", "the nearest: 3.17.0 (");
        check("99.0", &format!("the nearest: {} (", rusqlite::version()));
        check("latest", "`latest` is neither a version of SQLite nor a file; give a version");
        check("/nowhere/libsqlite3.so.0", "/nowhere/libsqlite3.so.0: No such file or directory");
        assert_eq!(resolve_with("linked", QUIET).unwrap().path(), None);
        assert_eq!(resolve(rusqlite::version()).unwrap().path(), None);
        let message = release("x").unwrap_err().to_string();
        assert!(message.starts_with("SQLite x cannot be built here; there are 3.17.0, "), "{message}");
    }

    #[test]
    fn the_compiler_is_cc_from_the_environment_or_a_usual_one() {
        assert_eq!(compilers(Some("ccache  gcc-12".into())), [["ccache", "gcc-12"]]);
        assert_eq!(compilers(Some(" ".into())), [["cc"], ["gcc"], ["clang"]]);
        assert_eq!(compilers(None).len(), 3);
    }

    #[test]
    fn the_end_of_an_output_is_indented() {
        let long: String = (1..=20).map(|number| format!("line {number}\n\n")).collect();
        assert!(tail(long.as_bytes()).starts_with("\n  line 9\n  line 10"));
        assert_eq!(tail(b""), "");
    }

    /// Stands in for cargo and for the compiler, so that a test needs neither a network nor a minute.
    struct Bench {
        folder: tempfile::TempDir,
        tools: Tools,
    }

    const RELEASE: Release = Release { sqlite: "3.51.1", package: "0.36.0" };

    impl Bench {
        /// `cargo` and `compiler` are shell scripts; the package holds `source`.
        fn new(cargo: &str, compiler: &str, source: &str) -> Self {
            let folder = tempfile::tempdir().unwrap();
            let write = |name: &str, text: &str| {
                let path = folder.path().join(name);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(&path, text).unwrap();
                fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
                path.display().to_string()
            };
            write("package/sqlite3/sqlite3.c", source);
            let manifest = folder.path().join("package/Cargo.toml");
            let json = serde_json::json!({"packages": [{"name": "libsqlite3-sys", "manifest_path": manifest}]});
            write("answer.json", &json.to_string());
            let answer = folder.path().join("answer.json").display().to_string();
            let cargo = write("cargo", &format!("{}\n", cargo.replace("ANSWER", &answer)));
            // By way of the shell: a program that was written a moment ago may be busy where tests fork.
            let compilers = vec![vec!["sh".to_owned(), write("compiler", compiler)]];
            Self { tools: Tools { cargo: "sh".into(), compilers }, folder }.with_cargo(&cargo)
        }

        fn with_cargo(mut self, script: &str) -> Self {
            self.tools.cargo = script.into();
            self
        }

        fn cache(&self) -> Cache {
            Cache::at(&self.folder.path().join("cache"))
        }

        #[track_caller]
        fn check(&self, expected: &str) {
            let message = self.cache().build_with(&self.tools, RELEASE, QUIET).unwrap_err().to_string();
            assert_eq!(message, expected);
            assert_eq!(self.cache().state(RELEASE), State::Absent);
            let left = fs::read_dir(self.cache().folder()).unwrap().flatten().map(|entry| entry.file_name());
            assert_eq!(left.collect::<Vec<_>>(), ["sqlite-3.51.1.lock"]);
        }
    }

    const CARGO: &str = "#!/bin/sh\ncat 'ANSWER'";
    const SOURCE: &str = "#define SQLITE_VERSION        \"3.51.1\"\n";

    #[test]
    fn what_fails_is_told_and_leaves_nothing() {
        let no_registry = "#!/bin/sh\necho \"error: no network $5\" >&2; exit 101";
        Bench::new(no_registry, "exit 1", SOURCE).check(
            "cargo could not fetch libsqlite3-sys 0.36.0 with the sources of SQLite; is the registry reachable?\n  \
             error: no network never",
        );
        Bench::new("#!/bin/sh\necho '{}'", "exit 1", SOURCE).check(
            "cargo could not fetch libsqlite3-sys 0.36.0 with the sources of SQLite; is the registry reachable?: it is \
             not in cargo's answer",
        );
        Bench::new(CARGO, "exit 1", "#define SQLITE_VERSION \"3.9.0\"\n")
            .check("libsqlite3-sys 0.36.0 holds SQLite 3.9.0 and not 3.51.1");
        let bench = Bench::new(CARGO, "echo 'sqlite3.c:1: oops' >&2; exit 3", SOURCE);
        let compiler = bench.tools.compilers[0].join(" ");
        bench.check(&format!("{compiler} could not compile SQLite 3.51.1 (exit status: 3)\n  sqlite3.c:1: oops"));
        let mut bench = Bench::new(CARGO, "", SOURCE);
        bench.tools.compilers = compilers(Some("no-such-compiler -m64".into()));
        bench.check(
            "the C compiler cannot be started (no-such-compiler -m64): install one, or set CC to its name; it makes a \
             library of the sources",
        );
        let bench = Bench::new(CARGO, "", SOURCE).with_cargo("/nowhere/cargo");
        bench.check(
            "cargo cannot be started (/nowhere/cargo: No such file or directory (os error 2)): it brings the sources \
             of SQLite",
        );
    }

    #[test]
    fn a_folder_that_cannot_be_written_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        let error = Cache::at(&file.join("cache")).build(RELEASE, QUIET).unwrap_err();
        assert!(matches!(&error, BuildError::Unwritable { path, .. } if path.starts_with(&file)), "{error}");
    }

    #[test]
    fn a_library_is_built_once_by_one_and_again_for_other_options() {
        let system = Path::new("/usr/lib/x86_64-linux-gnu/libsqlite3.so.0");
        if !system.exists() {
            eprintln!("skipped: this machine has no {}", system.display());
            return;
        }
        // What is compiled here is the system's library, under its own version.
        let version: &'static str = Engine::load(system).unwrap().version().to_owned().leak();
        let release = Release { sqlite: version, package: "0.0.0" };
        let compiler = format!("while [ \"$1\" != -o ]; do shift; done; cp '{}' \"$2\"", system.display());
        let bench = Bench::new(CARGO, &compiler, &SOURCE.replace("3.51.1", version));
        let cache = bench.cache();
        let compiled = AtomicUsize::new(0);
        let count = |line: &str| {
            if line.contains("compiling") {
                compiled.fetch_add(1, Ordering::Relaxed);
            }
        };
        let build = || {
            std::thread::scope(|scope| {
                for _ in 0..4 {
                    scope.spawn(|| cache.build_with(&bench.tools, release, &count).unwrap());
                }
            });
            compiled.load(Ordering::Relaxed)
        };
        assert_eq!(cache.state(release), State::Absent);
        assert_eq!(build(), 1);
        assert_eq!(cache.state(release), State::Built);
        assert_eq!(Engine::load(&cache.library(release)).unwrap().version(), version);
        fs::write(cache.stamp(release), "other options").unwrap();
        assert_eq!(cache.state(release), State::Stale);
        assert_eq!(build(), 2);
        assert!(!cache.folder().join(format!("work-{version}")).exists());
    }

    #[test]
    fn the_target_folder_is_found_from_the_program() {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("debug/deps/suite");
        assert_eq!(target_above(&program), None);
        fs::write(folder.path().join(".rustc_info.json"), "{}").unwrap();
        assert_eq!(target_above(&program).as_deref(), Some(folder.path()));
    }
}
