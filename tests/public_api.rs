//! The public surface of the crate, held against `docs/public-api.txt`, and its examples.

mod surface;

use std::collections::BTreeSet;
use std::path::Path;
use surface::{Sources, attributes, docs, is_pub, named};
use syn::{ImplItem, Item};

fn sources() -> Sources {
    Sources::read("seawall", Path::new(env!("CARGO_MANIFEST_DIR")))
}

#[test]
fn the_public_surface_is_the_reviewed_one() {
    sources().check(&Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/public-api.txt"), "seawall");
}

#[test]
fn the_list_has_what_a_user_can_reach_and_nothing_else() {
    let list = sources().list();
    let has = |line: &str| assert!(list.lines().any(|found| found == line), "{line}");
    has("struct seawall::Store");
    has("impl seawall::Store: Clone");
    has("impl seawall::Store: std::fmt::Debug");
    has("fn seawall::Store::path(&self) -> &Path");
    has("impl seawall::Error: std::error::Error");
    has("variant seawall::EventKind::DiskFull");
    has("field seawall::Health::opens: u64");
    has("fn seawall::Os::now(&self) -> Duration (provided)");
    has("const seawall::StopToken::LATENCY_MAX: Duration");
    has("use seawall::supervisor::StopToken = seawall::StopToken");
    has("use seawall::rusqlite");
    has("mod seawall::supervisor::decision");
    has("struct seawall::AsyncStore [tokio]");
    // Methods for the crate alone, types that users cannot name, modules that are private.
    for hidden in ["open_with", "seawall::Database", "::Cause", "mod seawall::store", "tests"] {
        assert!(!list.contains(hidden), "{hidden}");
    }
}

/// What a program begins with, each with an example that runs, at the type or at its module.
const DOORS: [&str; 20] = [
    "AsyncStore",
    "BackendMonitor",
    "Backoff",
    "Breaker",
    "Builder",
    "Cache",
    "ChildProcess",
    "Error",
    "Event",
    "Health",
    "HttpProbe",
    "Metrics",
    "OnCorruption",
    "Os",
    "Registry",
    "StopToken",
    "Store",
    "Supervisor",
    "Worker",
    "Workers",
];

#[test]
fn each_door_has_an_example_that_runs() {
    let sources = sources();
    let mut missing: BTreeSet<String> = DOORS.iter().map(ToString::to_string).collect();
    for module in sources.modules.values() {
        for item in &module.items {
            let is_shown = has_example(&docs(attributes(item))) || has_example(&module.docs);
            if let Some(ident) = named(item).filter(|_| is_shown) {
                missing.remove(&ident.to_string());
            }
        }
    }
    for path in [&["store"][..], &["store", "cache"]] {
        let path: Vec<String> = path.iter().map(ToString::to_string).collect();
        let blocks = sources.modules[&path].items.iter();
        let methods = blocks.filter_map(|item| if let Item::Impl(block) = item { Some(&block.items) } else { None });
        for method in methods.flatten() {
            if let ImplItem::Fn(method) = method
                && is_pub(&method.vis)
                && !["builder", "path"].contains(&&*method.sig.ident.to_string())
                && !has_example(&docs(&method.attrs))
            {
                missing.insert(format!("{}::{}", path.join("::"), method.sig.ident));
            }
        }
    }
    assert!(missing.is_empty(), "no example that runs: {missing:?}");
}

/// Whether there is code in the documentation that runs as a test: a fence without a word that says otherwise.
fn has_example(docs: &str) -> bool {
    let fences = docs.lines().filter_map(|line| line.trim_start_matches(['/', '!']).trim().strip_prefix("```"));
    fences.step_by(2).any(str::is_empty)
}
