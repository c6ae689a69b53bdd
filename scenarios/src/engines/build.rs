//! The build of one library: cargo fetches the sources, a C compiler makes a shared object of them.

use super::{BuildError, Progress, Release};
use seawall_harness::engine::Engine;
use std::ffi::OsString;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{env, fs};

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

/// What a library of this release is built from, with which options.
pub(super) fn stamp(release: Release) -> String {
    format!("libsqlite3-sys {}\n{}\n{}\n", release.package, OPTIONS.join(" "), LINKING.join(" "))
}

pub(super) fn unwritable(path: &Path) -> impl Fn(io::Error) -> BuildError + '_ {
    |reason| BuildError::Unwritable { path: path.to_owned(), reason }
}

pub(super) fn missing_is_fine(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) }
}

pub(super) fn write_synced(path: &Path, text: &str) -> io::Result<()> {
    let mut file = fs::File::create(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

/// The programs that a build takes.
pub(super) struct Tools {
    pub(super) cargo: OsString,
    /// What may be the C compiler, best first, each with its first arguments.
    pub(super) compilers: Vec<Vec<String>>,
}

impl Tools {
    pub(super) fn found() -> Self {
        // Cargo tells what it runs which one it is.
        let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        Self { cargo, compilers: compilers(env::var_os("CC")) }
    }
}

/// A folder for one build, gone afterwards.
pub(super) struct BuildFolder<'a> {
    tools: &'a Tools,
    pub(super) folder: PathBuf,
}

impl<'a> BuildFolder<'a> {
    pub(super) fn open(tools: &'a Tools, folder: PathBuf) -> Result<Self, BuildError> {
        fs::remove_dir_all(&folder).or_else(missing_is_fine).map_err(unwritable(&folder))?;
        fs::create_dir_all(&folder).map_err(unwritable(&folder))?;
        Ok(Self { tools, folder })
    }

    /// Fetches, compiles, and looks at the result.
    pub(super) fn build(&self, release: Release, progress: Progress<'_>) -> Result<PathBuf, BuildError> {
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

impl Drop for BuildFolder<'_> {
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
pub(super) fn compilers(set: Option<OsString>) -> Vec<Vec<String>> {
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
pub(super) fn tail(output: &[u8]) -> String {
    const LINES_MAX: usize = 12;
    let text = String::from_utf8_lossy(output);
    let lines: Vec<&str> = text.lines().map(str::trim_end).filter(|line| !line.is_empty()).collect();
    lines[lines.len().saturating_sub(LINES_MAX)..].iter().map(|line| format!("\n  {line}")).collect()
}
