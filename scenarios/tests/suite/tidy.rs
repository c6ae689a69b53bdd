//! House rules that the compiler does not know: what every file must have, and what some must never mention.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The folders with Rust code, from the workspace's root.
const FOLDERS: [&str; 8] = [
    "src",
    "tests",
    "harness/src",
    "harness/locks",
    "scenarios/src",
    "scenarios/tests",
    "scenarios/benches",
    "reports",
];

/// The only files in which `unsafe` may stand.
const UNSAFE: [&str; 19] = [
    "src/ffi/child.rs",
    "src/ffi/forked.rs",
    "src/ffi/keeper.rs",
    "src/ffi/locks.rs",
    "src/ffi/log_file.rs",
    "src/ffi/log_hook.rs",
    "src/ffi/mod.rs",
    "src/ffi/owned.rs",
    "src/ffi/watch.rs",
    "harness/src/vfs/ffi.rs",
    "harness/src/vfs/api.rs",
    "harness/src/engine/allocations.rs",
    "harness/src/engine/ffi.rs",
    "harness/src/engine/mutexes/mod.rs",
    "harness/src/engine/mutexes/tests.rs",
    "harness/src/media/sim/ffi.rs",
    "harness/src/sched/coroutine.rs",
    "harness/src/sim/statements.rs",
    "harness/src/sys.rs",
];

/// Longest function, in lines from `fn` to its closing brace.
const FUNCTION_LINES_MAX: usize = 70;

/// Longest line, in characters. Tables of text may be longer, so only code and prose outside of string literals count.
const LINE_CHARS_MAX: usize = 120;

struct Source {
    /// From the workspace's root, with slashes.
    name: String,
    text: String,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn sources() -> Vec<Source> {
    let mut files = Vec::new();
    let mut folders: Vec<PathBuf> = FOLDERS.iter().map(|folder| root().join(folder)).collect();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                // What cargo builds has sources of others in it.
                if !path.ends_with("target") {
                    folders.push(path);
                }
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(root()).unwrap().to_string_lossy().replace('\\', "/");
                files.push(Source { name, text: fs::read_to_string(&path).unwrap() });
            }
        }
    }
    files.sort_by(|a, b| a.name.cmp(&b.name));
    assert!(files.len() > 80, "the sources were not found");
    files
}

/// Fails with all complaints at once.
#[track_caller]
fn check(complaints: Vec<String>) {
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

/// Lines of code, with their numbers from 1, without comments; a rough cut that rustfmt's layout makes good enough.
fn code_lines(source: &Source) -> impl Iterator<Item = (usize, &str)> {
    (1..).zip(source.text.lines()).filter(|(_, line)| !line.trim_start().starts_with("//"))
}

fn mentions(words: &[&str], within: impl Fn(&str) -> bool) -> Vec<String> {
    let mut found = Vec::new();
    for source in sources().iter().filter(|source| within(&source.name) && !source.name.ends_with("/tidy.rs")) {
        for (number, line) in code_lines(source) {
            let hits = words.iter().filter(|word| line.contains(**word));
            found.extend(hits.map(|word| format!("{}:{number}: {word}", source.name)));
        }
    }
    found
}

#[test]
fn every_module_says_what_it_is() {
    let silent = sources().into_iter().filter(|source| !source.text.starts_with("//!"));
    check(silent.map(|source| format!("{} does not begin with //!", source.name)).collect());
}

#[test]
fn functions_are_short() {
    let mut complaints = Vec::new();
    for source in sources() {
        let lines: Vec<&str> = source.text.lines().collect();
        for (start, line) in lines.iter().enumerate() {
            let code = line.trim_start();
            let begins = ["fn ", "pub fn ", "pub(crate) fn ", "pub(super) fn ", "unsafe extern \"C\" fn "];
            if !begins.iter().any(|begin| code.starts_with(begin)) || code.ends_with(';') || code.ends_with('}') {
                continue;
            }
            let close = format!("{}}}", &line[..line.len() - code.len()]);
            let length = lines[start..].iter().position(|line| *line == close).map_or(0, |end| end + 1);
            if length > FUNCTION_LINES_MAX {
                complaints.push(format!("{}:{}: a function of {length} lines", source.name, start + 1));
            }
        }
    }
    check(complaints);
}

#[test]
fn lines_fit_the_page() {
    let mut complaints = Vec::new();
    for source in sources() {
        for (number, line) in (1..).zip(source.text.lines()) {
            let is_table = line.contains('"') || line.contains("\\u{") || line.trim_start().starts_with("//! |");
            if !is_table && line.chars().count() > LINE_CHARS_MAX {
                complaints.push(format!("{}:{number}: {} characters", source.name, line.chars().count()));
            }
        }
    }
    check(complaints);
}

#[test]
fn imports_are_one_block() {
    let mut complaints = Vec::new();
    for source in sources() {
        let lines: Vec<&str> = source.text.lines().collect();
        for (number, three) in (1..).zip(lines.windows(3)) {
            let is_split = three[0].ends_with(';') && three[1].is_empty() && three[2].starts_with("use ");
            if is_split && (three[0].starts_with("use ") || three[0] == "};") {
                complaints.push(format!("{}:{}: a blank line between imports", source.name, number + 1));
            }
        }
    }
    check(complaints);
}

/// Words for persons where a component acts: a process, a connection, a caller, a thread.
const PERSONS: [&str; 9] = ["nobody", "somebody", "whoever", "anybody", "he", "him", "his", "himself", "everybody"];

#[test]
fn prose_names_components_and_not_persons() {
    let mut complaints = Vec::new();
    let pages = ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md", "Makefile"];
    let pages = pages.iter().map(|name| root().join(name));
    let folders = [root().join("docs"), root().join("docs/contributing")];
    let docs = folders.iter().flat_map(|folder| fs::read_dir(folder).unwrap()).map(|entry| entry.unwrap().path());
    let texts = pages.chain(docs.filter(|path| path.extension().is_some_and(|extension| extension == "md")));
    let texts = texts.map(|path| (path.display().to_string(), fs::read_to_string(&path).unwrap()));
    let code = sources().into_iter().filter(|source| !source.name.ends_with("/tidy.rs"));
    for (name, text) in texts.chain(code.map(|source| (source.name, source.text))) {
        for (number, line) in (1..).zip(text.lines()) {
            let words = line.split(|c: char| !c.is_alphanumeric());
            let found = words.filter(|word| PERSONS.contains(&word.to_lowercase().as_str()));
            complaints.extend(found.map(|word| format!("{name}:{number}: {word}")));
        }
    }
    check(complaints);
}

#[test]
fn nothing_is_left_open() {
    check(mentions(&["#[ignore", "todo!(", "unimplemented!(", "dbg!(", "FIXME", "XXX"], |_| true));
}

#[test]
fn unsafe_stands_in_the_ffi_modules_alone() {
    check(mentions(&["unsafe {", "unsafe fn", "unsafe impl", "unsafe extern"], |name| !UNSAFE.contains(&name)));
}

#[test]
fn runs_depend_on_their_seed_alone() {
    let lab = |name: &str| name.starts_with("harness/src") || name.starts_with("scenarios/src");
    let words = ["SystemTime", "thread_rng", "rand::rng(", "HashMap", "HashSet"];
    check(mentions(&words, lab));
    // Wall-clock time is for how long a soak, an exploration or a check goes on, and for progress bars.
    let timed = [
        "harness/src/sim/search.rs",
        "scenarios/src/soak/mod.rs",
        "scenarios/src/cli/soak.rs",
        "scenarios/src/cli/doctor/watch.rs",
        "scenarios/src/cli/explore.rs",
        "scenarios/src/cli/powercut/mod.rs",
        "scenarios/src/cli/properties.rs",
        "scenarios/src/explore/search.rs",
        "scenarios/src/powercut/pool.rs",
        "scenarios/src/powercut/search.rs",
        "scenarios/src/powercut/survey.rs",
        "scenarios/src/powercut/sweep/mod.rs",
        "scenarios/src/reproduce/shrink.rs",
    ];
    check(mentions(&["Instant::now"], |name| lab(name) && !timed.contains(&name)));
}

#[test]
fn the_connection_layer_and_the_lab_meet_in_scenarios_alone() {
    check(mentions(&["seawall_harness", "seawall_scenarios", "seawall_reports"], |name| name.starts_with("src/")));
    check(mentions(&["seawall::", "seawall_scenarios"], |name| name.starts_with("harness/")));
    check(mentions(&["seawall::", "seawall_scenarios", "rusqlite"], |name| name.starts_with("reports/src")));
    // In the connection layer, the operating system is asked through one seam.
    // The doctor looks at the machine it runs on; what it may do there stands in a rule of its own.
    let seamless = |name: &str| {
        name.starts_with("src/") && !["src/os", "src/tests", "src/doctor"].iter().any(|other| name.starts_with(other))
    };
    check(mentions(&["std::fs", "Instant", "thread::sleep"], seamless));
    check(mentions(&["process::id"], |name| seamless(name) && name != "src/ffi/mod.rs"));
    // Nothing is deleted or cut off, and renamed only through the seam. The doctor removes copies that it has made.
    check(mentions(&["fs::rename"], seamless));
    check(mentions(&["remove_file", "remove_dir", "set_len"], |name| {
        name.starts_with("src/") && !name.contains("tests") && name != "src/doctor/fix/workspace.rs"
    }));
}

/// What each file of the doctor may use, beside what none of them may. Tests are free to.
const DOCTOR: [(&str, &[&str]); 5] = [
    // The -wal and the -journal, which carry no locks of SQLite, ever.
    ("src/doctor/wal/mod.rs", &["File::open"]),
    // Recovery is SQLite's, on copies.
    ("src/doctor/fix/content.rs", &["Connection"]),
    ("src/doctor/fix/outcome.rs", &["Connection"]),
    // The lock of first connects.
    ("src/doctor/fix/mod.rs", &["try_lock"]),
    // Copies that it has made itself.
    ("src/doctor/fix/workspace.rs", &["remove_"]),
];

/// The doctor opens files read-only, the database and the `-shm` never, and asks SQLite for nothing but recovery of
/// copies.
#[test]
fn the_doctor_disturbs_no_process() {
    let words = [
        "File::open",
        "fs::read(",
        "Connection",
        "fs::create_dir",
        "File::create",
        "OpenOptions",
        "File::options",
        "fs::write",
        "fs::copy",
        "remove_",
        "fs::rename",
        "set_len",
        "hard_link",
        "Instant",
        "SystemTime",
        "thread::sleep",
        "process::id",
        "Command",
        "try_lock",
        "fcntl",
    ];
    let mut complaints = Vec::new();
    let mut seen = 0;
    for source in sources() {
        if !source.name.starts_with("src/doctor/") || source.name.ends_with("tests.rs") {
            continue;
        }
        seen += 1;
        let allowed = DOCTOR.iter().find(|(name, _)| *name == source.name).map_or(&[][..], |(_, words)| words);
        // A process's name is read from /proc.
        let is_name = |line: &str| source.name.ends_with("holders/mod.rs") && line.contains("\"comm\"");
        for (number, line) in code_lines(&source).take_while(|(_, line)| *line != "#[cfg(test)]") {
            let hits = words.iter().filter(|word| line.contains(**word) && !allowed.contains(word) && !is_name(line));
            complaints.extend(hits.map(|word| format!("{}:{number}: {word}", source.name)));
        }
    }
    assert!(seen > 8, "the doctor was not found");
    check(complaints);
}

/// The page that says which tests hold which promise names tests, and tests that exist.
#[test]
fn promises_are_held_by_tests_that_exist() {
    let page = fs::read_to_string(root().join("docs/promises.md")).unwrap();
    let sources = sources();
    let exists = |name: &str| {
        let test = format!("fn {name}()");
        sources.iter().any(|source| source.text.contains(&test))
    };
    let (mut named, mut complaints) = (0, Vec::new());
    for row in page.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| promise")) {
        let tests = row.rsplit('|').nth(1).unwrap_or_default().split('`').skip(1).step_by(2);
        for name in tests {
            named += 1;
            if !exists(name) {
                complaints.push(format!("docs/promises.md: no test `{name}`"));
            }
        }
    }
    assert!(named > 150, "the page was not understood");
    check(complaints);
}

/// The packages that a package of this workspace is built from.
fn built_from(package: &str) -> String {
    let tree = Command::new(env!("CARGO"))
        .args(["tree", "--offline", "--locked", "--edges", "normal", "--prefix", "none", "--package", package])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(tree.status.success(), "{}", String::from_utf8_lossy(&tree.stderr));
    String::from_utf8(tree.stdout).unwrap()
}

/// The connection layer is built twice from the same files. What the product is built from has no simulator in it, and
/// its sources do not know that there is one.
#[test]
fn the_production_build_has_no_trace_of_the_simulator() {
    let (product, simulated) = (built_from("seawall"), built_from("seawall-simulated"));
    assert!(product.contains("parking_lot v0") && !product.contains("seawall-"), "{product}");
    assert!(simulated.contains("seawall-locks v0") && simulated.contains("seawall-harness v0"), "{simulated}");
    let manifest = fs::read_to_string(root().join("scenarios/simulated/Cargo.toml")).unwrap();
    assert!(manifest.contains("path = \"../../src/lib.rs\""));
    check(mentions(&["simulat", "seawall_harness", "seawall_locks"], |name| name.starts_with("src/")));
    // What is switched by a feature is switched in the product's own manifest, and known to the other one.
    let features = |manifest: &str| {
        let manifest = fs::read_to_string(root().join(manifest)).unwrap();
        let section = manifest.split("[features]").nth(1).unwrap().split("\n[").next().unwrap().to_owned();
        let names = section.lines().filter(|line| line.contains(" = [")).map(str::to_owned);
        names.collect::<Vec<String>>()
    };
    assert_eq!(features("Cargo.toml"), features("scenarios/simulated/Cargo.toml"));
}
