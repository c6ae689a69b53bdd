//! The structure of the tree, held from outside of the compiler: which files there are, which modules import each
//! other, what the code map lists, which dependencies are used.

use proc_macro2::{Delimiter, TokenStream, TokenTree};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::str::FromStr;

/// The crates, by the folder of their manifest and that of their sources.
const CRATES: [(&str, &str); 4] =
    [(".", "src"), ("harness", "harness/src"), ("scenarios", "scenarios/src"), ("reports", "reports/src")];

/// Top-level modules that import each other, by the folder of the sources, with the reason.
const CIRCLES: [(&str, &[&str], &str); 0] = [];

/// Names of files that editors and version control leave behind.
const LEFTOVERS: [&str; 7] = [".orig", ".rej", ".bak", ".swp", ".tmp", "~", ".log"];

/// Imports by top-level module.
type Imports = BTreeMap<String, BTreeSet<String>>;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn read(name: &str) -> String {
    fs::read_to_string(root().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// All files under version control, from the workspace's root.
fn tracked_files() -> Vec<String> {
    let listed = Command::new("git").args(["ls-files", "-z"]).current_dir(root()).output().unwrap();
    assert!(listed.status.success(), "git ls-files: {}", String::from_utf8_lossy(&listed.stderr));
    let names = String::from_utf8(listed.stdout).unwrap();
    // A file that was removed and not yet committed is still listed.
    let names = names.split_terminator('\0').filter(|name| root().join(name).exists());
    names.map(str::to_owned).collect()
}

/// The Rust files below a folder, from the workspace's root.
fn rust_files(folder: &str) -> Vec<String> {
    let prefix = format!("{folder}/");
    let files = tracked_files().into_iter().filter(|name| name.starts_with(&prefix) && name.ends_with(".rs"));
    files.collect()
}

fn is_test(name: &str) -> bool {
    name.split('/').any(|part| part == "tests" || part == "tests.rs" || part.ends_with("_tests.rs"))
}

/// Fails with all complaints at once.
#[track_caller]
fn check(complaints: &[String]) {
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

/// The tokens of a file, without its inline test modules.
fn tokens(name: &str, with_tests: bool) -> Vec<TokenTree> {
    let stream = TokenStream::from_str(&read(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
    let mut flat = Vec::new();
    flatten(stream, with_tests, &mut flat);
    flat
}

/// Opens parentheses and blocks. A brace stays in place before its content, for the groups of `use`.
fn flatten(stream: TokenStream, with_tests: bool, flat: &mut Vec<TokenTree>) {
    let mut is_skipped = false;
    for token in stream {
        if let TokenTree::Group(group) = &token {
            if group.delimiter() == Delimiter::Bracket && group.stream().to_string() == "cfg (test)" {
                is_skipped = !with_tests;
                continue;
            }
            if is_skipped && group.delimiter() == Delimiter::Brace {
                is_skipped = false;
                continue;
            }
            flat.push(token.clone());
            flatten(group.stream(), with_tests, flat);
        } else {
            is_skipped &= !matches!(&token, TokenTree::Punct(punct) if punct.as_char() == ';');
            flat.push(token);
        }
    }
}

/// The first name of each path in the group of a `use`, or the one name.
fn names_after(token: Option<&TokenTree>) -> Vec<String> {
    match token {
        Some(TokenTree::Ident(ident)) => vec![ident.to_string()],
        Some(TokenTree::Group(group)) => {
            let mut names = Vec::new();
            let mut is_first = true;
            for token in group.stream() {
                match token {
                    TokenTree::Ident(ident) if std::mem::take(&mut is_first) => names.push(ident.to_string()),
                    TokenTree::Punct(punct) if punct.as_char() == ',' => is_first = true,
                    _ => {}
                }
            }
            names
        }
        _ => Vec::new(),
    }
}

/// How many modules a file is below the crate's root.
fn depth(file: &str) -> usize {
    let parts: Vec<&str> = file.split('/').collect();
    if parts.last() == Some(&"mod.rs") { parts.len() - 1 } else { parts.len() }
}

/// Which top-level modules each top-level module imports.
fn imports(folder: &str) -> Imports {
    let mut imports = Imports::new();
    for name in rust_files(folder).iter().filter(|name| !is_test(name)) {
        let file = &name[folder.len() + 1..];
        let module = file.split('/').next().unwrap().trim_end_matches(".rs").to_owned();
        if module == "lib" || module == "main" {
            continue;
        }
        let tokens = tokens(name, false);
        let is = |at: usize, word: &str| tokens.get(at).is_some_and(|token| token.to_string() == word);
        let mut used = BTreeSet::new();
        for at in 0..tokens.len() {
            let mut end = at;
            while is(end, "super") && is(end + 1, ":") && is(end + 2, ":") {
                end += 3;
            }
            if is(at, "crate") && is(at + 1, ":") {
                used.extend(names_after(tokens.get(at + 3)));
            } else if (end - at) / 3 == depth(file) && !is(at.wrapping_sub(1), ":") {
                used.extend(names_after(tokens.get(end)));
            }
        }
        imports.entry(module).or_default().extend(used);
    }
    // A re-export at the root would hide which module is imported.
    let hidden = |name: &String| name.starts_with(char::is_uppercase);
    let through_root: Vec<_> = imports.iter().filter(|(_, used)| used.iter().any(hidden)).collect();
    assert!(through_root.is_empty(), "{folder}: imports through the root of the crate: {through_root:?}");
    let modules: BTreeSet<String> = imports.keys().cloned().collect();
    for (module, used) in &mut imports {
        used.retain(|other| other != module && modules.contains(other));
    }
    imports
}

/// The modules that can be reached from one.
fn reachable(imports: &Imports, from: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut open = vec![from];
    while let Some(module) = open.pop() {
        for next in imports.get(module).into_iter().flatten() {
            if found.insert(next.clone()) {
                open.push(next);
            }
        }
    }
    found
}

/// Groups of modules that import each other.
fn circles(imports: &Imports) -> BTreeSet<Vec<String>> {
    let reach: BTreeMap<&String, BTreeSet<String>> =
        imports.keys().map(|module| (module, reachable(imports, module))).collect();
    let both = |module: &String, other: &String| reach[module].contains(other) && reach[other].contains(module);
    let circle = |module| imports.keys().filter(|other| both(module, other)).cloned().collect();
    imports.keys().filter(|module| both(module, module)).map(circle).collect()
}

#[test]
fn every_tracked_file_belongs_here() {
    let mut complaints = Vec::new();
    for name in tracked_files() {
        if LEFTOVERS.iter().any(|leftover| name.ends_with(leftover)) {
            complaints.push(format!("{name}: a leftover"));
        }
        let Ok(text) = fs::read_to_string(root().join(&name)) else { continue };
        if !text.is_empty() && !text.ends_with('\n') {
            complaints.push(format!("{name}: no newline at the end"));
        }
        if !name.ends_with(".svg") && text.lines().any(|line| line.ends_with([' ', '\t'])) {
            complaints.push(format!("{name}: a line ends in white space"));
        }
    }
    check(&complaints);
}

/// A file that no `mod` names is not compiled, and rots.
#[test]
fn every_rust_file_is_compiled() {
    let mut complaints = Vec::new();
    for (_, folder) in CRATES {
        for name in rust_files(folder) {
            let file = Path::new(&name[folder.len() + 1..]);
            let parent = file.parent().unwrap();
            let (module, home) = match file.file_stem().unwrap().to_str().unwrap() {
                "lib" | "main" => continue,
                "mod" => (parent.file_name().unwrap().to_str().unwrap(), parent.parent().unwrap()),
                stem => (stem, parent),
            };
            let homes = [home.join("mod.rs"), home.with_extension("rs"), home.join("lib.rs")];
            let declares = |home: &PathBuf| {
                let text = fs::read_to_string(root().join(folder).join(home)).unwrap_or_default();
                // Or by a line of a macro that writes `mod`: `name => …`, `name: …`.
                let by_macro = |line: &str| text.contains("mod $module;") && line.starts_with(module);
                text.lines().any(|line| line.ends_with(&format!("mod {module};")) || by_macro(line.trim_start()))
            };
            if !homes.iter().any(declares) {
                complaints.push(format!("{name}: no `mod {module};`"));
            }
        }
    }
    check(&complaints);
}

#[test]
fn modules_with_children_are_folders_with_mod_rs() {
    let files = tracked_files();
    let has_folder = |name: &String| {
        let folder = format!("{}/", name.trim_end_matches(".rs"));
        files.iter().any(|other| other.starts_with(&folder) && other.ends_with(".rs"))
    };
    let twice = files.iter().filter(|name| name.ends_with(".rs") && has_folder(name));
    check(&twice.map(|name| format!("{name} and a folder of that name: move it to mod.rs")).collect::<Vec<_>>());
}

#[test]
fn top_level_modules_form_no_circle() {
    let mut complaints = Vec::new();
    for (_, folder) in CRATES {
        let reviewed = CIRCLES.iter().filter(|(at, ..)| *at == folder);
        let reviewed: BTreeSet<Vec<String>> = reviewed
            .map(|(_, modules, reason)| {
                assert!(!reason.is_empty());
                modules.iter().map(|module| (*module).to_owned()).collect()
            })
            .collect();
        let found = circles(&imports(folder));
        complaints.extend(found.difference(&reviewed).map(|circle| format!("{folder}: a circle: {circle:?}")));
        complaints
            .extend(reviewed.difference(&found).map(|circle| format!("{folder}: no circle any more: {circle:?}")));
    }
    check(&complaints);
}

/// The check above finds a circle where there is one.
#[test]
fn a_circle_is_found() {
    let of = |edges: &[(&str, &[&str])]| -> Imports {
        let own = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        edges.iter().map(|(from, to)| ((*from).to_owned(), own(to))).collect()
    };
    assert!(circles(&of(&[("a", &["b", "c"]), ("b", &["c"]), ("c", &[])])).is_empty());
    let found = circles(&of(&[("a", &["b"]), ("b", &["c"]), ("c", &["b"])]));
    assert_eq!(found, BTreeSet::from([vec!["b".to_owned(), "c".to_owned()]]));
    // And the imports that it goes by are read from the sources.
    assert!(imports("harness/src")["vfs"].contains("fault"), "{:?}", imports("harness/src"));
}

/// The code map names each top-level module once, and nothing that is not there.
#[test]
fn the_code_map_is_complete() {
    let page = read("ARCHITECTURE.md");
    let map = page.split("## Code map").nth(1).expect("a section `Code map`").split("\n## ").next().unwrap();
    let mut listed: BTreeMap<String, u32> = BTreeMap::new();
    let mut complaints = Vec::new();
    for row in map.lines().filter(|line| line.starts_with("| `")) {
        for path in row.split('|').nth(1).unwrap().split('`').skip(1).step_by(2) {
            *listed.entry(path.to_owned()).or_default() += 1;
            let there = [path.to_owned(), format!("{path}.rs")].iter().any(|path| root().join(path).exists());
            if !there {
                complaints.push(format!("ARCHITECTURE.md: there is no `{path}`"));
            }
        }
    }
    for (_, folder) in CRATES {
        for module in imports(folder).keys() {
            let path = format!("{folder}/{module}");
            match listed.get(&path) {
                Some(1) => {}
                Some(n) => complaints.push(format!("ARCHITECTURE.md: the code map lists `{path}` {n} times")),
                None => complaints.push(format!("ARCHITECTURE.md: the code map does not list `{path}`")),
            }
        }
    }
    check(&complaints);
}

/// The names that a manifest declares in a section.
fn dependencies(manifest: &toml::Table, section: &str) -> Vec<String> {
    let table = manifest.get(section).and_then(toml::Value::as_table);
    table.map(|table| table.keys().cloned().collect()).unwrap_or_default()
}

/// True if a file says the name of a crate.
fn names_crate(tokens: &[TokenTree], name: &str) -> bool {
    let ident = name.replace('-', "_");
    tokens.iter().any(|token| matches!(token, TokenTree::Ident(word) if *word == ident))
}

/// What the sources of a crate use is declared as a dependency, what the tests use alone as a dependency of
/// development, and nothing else is declared.
#[test]
fn every_dependency_is_used() {
    let mut complaints = Vec::new();
    let mut declared = BTreeSet::new();
    for (package, folder) in CRATES {
        let manifest: toml::Table = read(&format!("{package}/Cargo.toml")).parse().unwrap();
        let sources: Vec<String> = rust_files(folder).into_iter().filter(|name| !is_test(name)).collect();
        let product: Vec<Vec<TokenTree>> = sources.iter().map(|name| tokens(name, false)).collect();
        for name in dependencies(&manifest, "dependencies") {
            if !product.iter().any(|tokens| names_crate(tokens, &name)) {
                complaints.push(format!("{package}/Cargo.toml: no source uses `{name}`"));
            }
            declared.insert(name);
        }
        let prefix = if package == "." { String::new() } else { format!("{package}/") };
        let in_package = |name: &String| {
            ["src", "tests", "benches", "examples"].iter().any(|part| name.starts_with(&format!("{prefix}{part}/")))
        };
        let mut all: Vec<String> =
            tracked_files().into_iter().filter(|name| name.ends_with(".rs") && in_package(name)).collect();
        // What the tests of two packages share.
        if all.iter().any(|name| read(name).contains("tests/surface/mod.rs")) {
            all.push("tests/surface/mod.rs".to_owned());
        }
        let tests: Vec<(Vec<TokenTree>, String)> = all.iter().map(|name| (tokens(name, true), read(name))).collect();
        for name in dependencies(&manifest, "dev-dependencies") {
            // An example in the documentation counts as well.
            let example = format!("{}::", name.replace('-', "_"));
            if !tests.iter().any(|(tokens, text)| names_crate(tokens, &name) || text.contains(&example)) {
                complaints.push(format!("{package}/Cargo.toml: no test uses `{name}`"));
            }
            declared.insert(name);
        }
    }
    let workspace: toml::Table = read("Cargo.toml").parse().unwrap();
    let shared = dependencies(workspace["workspace"].as_table().unwrap(), "dependencies");
    let unused = shared.into_iter().filter(|name| !declared.contains(name));
    complaints.extend(unused.map(|name| format!("Cargo.toml: no package depends on `{name}`")));
    check(&complaints);
}

#[test]
fn every_package_says_what_it_is() {
    let mut complaints = Vec::new();
    for (package, _) in CRATES {
        let manifest: toml::Table = read(&format!("{package}/Cargo.toml")).parse().unwrap();
        let fields = manifest["package"].as_table().unwrap();
        let wanted = ["description", "version", "license", "rust-version", "keywords", "categories", "readme"];
        complaints.extend(
            wanted.iter().filter(|field| !fields.contains_key(**field)).map(|field| format!("{package}: no {field}")),
        );
    }
    for file in ["LICENSE-MIT", "LICENSE-APACHE", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "deny.toml"] {
        if !root().join(file).exists() {
            complaints.push(format!("no {file}"));
        }
    }
    check(&complaints);
}
