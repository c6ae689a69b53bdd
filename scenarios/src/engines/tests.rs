//! Tests of the versions and of their build.

use super::build::{Tools, compilers, tail};
use super::cache::target_above;
use super::releases::number;
use super::*;
use seawall_harness::engine::Engine;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

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
