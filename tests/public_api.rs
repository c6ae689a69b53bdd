//! The public surface of the crate, as a reviewed list: `docs/public-api.txt`.
//!
//! The list is made from the sources: what is `pub` and can be reached from `src/lib.rs`, by the path under which a
//! user finds it, with its signature as written. A change of the surface shows here, and in review.
//!
//! What the list does not know: trait impls that the compiler adds by itself, and what macros would write. There are
//! no macros in the crate that write public items.

use proc_macro2::Span;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use syn::spanned::Spanned;
use syn::{Attribute, Fields, ImplItem, Item, ItemEnum, ItemImpl, ItemStruct, Type, UseTree, Visibility};

/// The committed list, from the crate's root.
const LIST: &str = "docs/public-api.txt";

/// The variable that has the list written anew.
const UPDATE: &str = "UPDATE_PUBLIC_API";

/// One module's items, with its submodules beside it under their own paths.
struct Module {
    /// Its own documentation.
    docs: String,
    items: Vec<Item>,
    /// Features without which it is not there.
    features: Vec<String>,
    is_public: bool,
}

/// All modules of the crate by path, `crate` being the empty one.
#[derive(Default)]
struct Sources {
    modules: BTreeMap<Vec<String>, Module>,
}

impl Sources {
    fn read() -> Sources {
        let mut sources = Sources::default();
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        sources.add(Vec::new(), &root.join("lib.rs"), &root, Vec::new(), true);
        sources
    }

    /// Reads a module's file, and those of its submodules from the folder that belongs to it.
    fn add(&mut self, path: Vec<String>, file: &Path, folder: &Path, features: Vec<String>, is_public: bool) {
        let text = fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let parsed = syn::parse_file(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let (docs, items) = (docs(&parsed.attrs), parsed.items);
        for item in &items {
            let Item::Mod(module) = item else { continue };
            if module.content.is_some() || is_for_tests(&module.attrs) {
                continue;
            }
            let name = module.ident.to_string();
            let beside = folder.join(format!("{name}.rs"));
            let file = if beside.exists() { beside } else { folder.join(&name).join("mod.rs") };
            let path: Vec<String> = path.iter().cloned().chain([name.clone()]).collect();
            let features = features.iter().cloned().chain(feature(&module.attrs)).collect();
            self.add(path, &file, &folder.join(name), features, is_public && is_pub(&module.vis));
        }
        self.modules.insert(path, Module { docs, items, features, is_public });
    }

    /// The module that a path in a `use` of another module stands for, and the item's name in it.
    fn resolve(&self, from: &[String], path: &[String]) -> Option<(Vec<String>, String)> {
        let (name, modules) = path.split_last()?;
        let absolute: Vec<String> = match modules.split_first() {
            Some((first, rest)) if first == "crate" => rest.to_vec(),
            _ => from.iter().chain(modules).cloned().collect(),
        };
        self.modules.contains_key(&absolute).then(|| (absolute, name.clone()))
    }
}

/// The list in the making.
struct Surface<'a> {
    sources: &'a Sources,
    /// By path, so that what belongs together stands together.
    lines: BTreeSet<(String, String)>,
    /// The path that a user writes, and the features that it needs, by where the item is defined.
    names: BTreeMap<String, (String, Vec<String>)>,
}

impl Surface<'_> {
    fn list(mut self) -> String {
        for (path, module) in self.sources.modules.iter().filter(|(_, module)| module.is_public) {
            if !path.is_empty() {
                self.add(&module.features, "mod", &spelled(path), "");
            }
            for item in &module.items {
                self.item(path, item, &module.features, &spelled(path));
            }
        }
        self.impls();
        self.lines.into_iter().map(|(_, line)| line + "\n").collect()
    }

    /// Adds a line: what kind of thing it is, its path, and the rest as it is written in the source.
    fn add(&mut self, features: &[String], kind: &str, path: &str, rest: &str) {
        let line = format!("{kind} {path}{rest}");
        let words: Vec<&str> = line.split_whitespace().collect();
        let condition: String = features.iter().map(|feature| format!(" [{feature}]")).collect();
        self.lines.insert((path.to_owned(), words.join(" ").replace("( ", "(").replace(", )", ")") + &condition));
    }

    /// Adds a function by its signature.
    fn function(&mut self, features: &[String], at: &str, signature: &syn::Signature, note: &str) {
        let (text, ident) = (text(signature.span()), signature.ident.to_string());
        let (before, rest) = text.split_once(&format!("fn {ident}")).unwrap();
        self.add(features, &format!("{before}fn"), &format!("{at}::{ident}"), &format!("{rest}{note}"));
    }

    /// Notes the name of an item; false if it has one already, in which case that is referred to.
    fn name(&mut self, features: &[String], module: &[String], ident: &syn::Ident, at: &str) -> bool {
        let (home, name) = (format!("{}::{ident}", spelled(module)), format!("{at}::{ident}"));
        if let Some((first, _)) = self.names.get(&home) {
            let first = format!(" = {first}");
            self.add(features, "use", &name, &first);
            return false;
        }
        self.names.insert(home, (name, features.to_vec()));
        true
    }

    /// Adds an item of a module, under the path `at`.
    fn item(&mut self, module: &[String], item: &Item, features: &[String], at: &str) {
        let mut all = features.to_vec();
        all.extend(feature(attributes(item)));
        match item {
            Item::Use(item) if is_pub(&item.vis) => {
                for path in leaves(&item.tree, Vec::new()) {
                    self.reexport(module, &path, &all, at);
                }
            }
            Item::Struct(item) if is_pub(&item.vis) => self.structure(module, item, &all, at),
            Item::Enum(item) if is_pub(&item.vis) => self.enumeration(module, item, &all, at),
            Item::Fn(item) if is_pub(&item.vis) => self.function(&all, at, &item.sig, ""),
            Item::Const(item) if is_pub(&item.vis) => self.constant(&all, at, &item.ident, &item.ty),
            Item::Type(item) if is_pub(&item.vis) => {
                self.add(&all, "type", &format!("{at}::{}", item.ident), &format!(" = {}", text(item.ty.span())));
            }
            Item::Trait(item) if is_pub(&item.vis) && self.name(&all, module, &item.ident, at) => {
                let name = format!("{at}::{}", item.ident);
                let above = if item.supertraits.is_empty() { String::new() } else { text(item.supertraits.span()) };
                self.add(&all, "trait", &name, &prefixed(": ", &above));
                for member in &item.items {
                    if let syn::TraitItem::Fn(method) = member {
                        let given = if method.default.is_some() { " (provided)" } else { "" };
                        self.function(&all, &name, &method.sig, given);
                    }
                }
            }
            _ => {}
        }
    }

    /// Adds what a `pub use` brings to `at`: an item of this crate, or another crate's.
    fn reexport(&mut self, module: &[String], path: &[String], features: &[String], at: &str) {
        let sources = self.sources;
        let Some((home, name)) = sources.resolve(module, path) else {
            return self.add(features, "use", &format!("{at}::{}", path.join("::")), "");
        };
        let found = sources.modules[&home].items.iter().find(|item| named(item).is_some_and(|ident| *ident == name));
        match found {
            Some(item) => self.item(&home, item, features, at),
            // A re-export of a re-export.
            None => {
                let deeper = sources.modules[&home].items.iter().find_map(|item| match item {
                    Item::Use(item) => leaves(&item.tree, Vec::new())
                        .into_iter()
                        .find(|leaf| leaf.last() == Some(&name) && leaf != path),
                    _ => None,
                });
                match deeper {
                    Some(leaf) => self.reexport(&home, &leaf, features, at),
                    None => self.add(features, "use", &format!("{at}::{}", path.join("::")), ""),
                }
            }
        }
    }

    fn constant(&mut self, features: &[String], at: &str, ident: &syn::Ident, ty: &Type) {
        self.add(features, "const", &format!("{at}::{ident}"), &format!(": {}", text(ty.span())));
    }

    fn structure(&mut self, module: &[String], item: &ItemStruct, features: &[String], at: &str) {
        if !self.name(features, module, &item.ident, at) {
            return;
        }
        let name = format!("{at}::{}", item.ident);
        self.add(features, "struct", &name, &(text(item.generics.span()) + openness(&item.attrs)));
        self.derives(&name, &item.attrs, features);
        for (number, field) in item.fields.iter().enumerate().filter(|(_, field)| is_pub(&field.vis)) {
            let field_name = field.ident.as_ref().map_or_else(|| number.to_string(), ToString::to_string);
            self.add(features, "field", &format!("{name}::{field_name}"), &format!(": {}", text(field.ty.span())));
        }
    }

    fn enumeration(&mut self, module: &[String], item: &ItemEnum, features: &[String], at: &str) {
        if !self.name(features, module, &item.ident, at) {
            return;
        }
        let name = format!("{at}::{}", item.ident);
        self.add(features, "enum", &name, &(text(item.generics.span()) + openness(&item.attrs)));
        self.derives(&name, &item.attrs, features);
        for variant in &item.variants {
            let fields = variant.fields.iter().map(|field| {
                let field_name = field.ident.as_ref().map(|ident| format!("{ident}: ")).unwrap_or_default();
                field_name + &text(field.ty.span())
            });
            let fields = match variant.fields {
                Fields::Named(_) => format!(" {{ {} }}", fields.collect::<Vec<_>>().join(", ")),
                Fields::Unnamed(_) => format!("({})", fields.collect::<Vec<_>>().join(", ")),
                Fields::Unit => String::new(),
            };
            self.add(features, "variant", &format!("{name}::{}", variant.ident), &fields);
        }
    }

    fn derives(&mut self, name: &str, attributes: &[Attribute], features: &[String]) {
        let mut derived = Vec::new();
        for attribute in attributes.iter().filter(|attribute| attribute.path().is_ident("derive")) {
            let traits = attribute.parse_nested_meta(|meta| {
                derived.extend(meta.path.segments.last().map(|segment| segment.ident.to_string()));
                Ok(())
            });
            traits.unwrap();
        }
        if !derived.is_empty() {
            self.add(features, "impl", name, &format!(": {}", derived.join(" + ")));
        }
    }

    /// Adds the methods of all public types, and the traits that they implement.
    fn impls(&mut self) {
        let sources = self.sources;
        for (path, module) in &sources.modules {
            for item in &module.items {
                let Item::Impl(block) = item else { continue };
                let Type::Path(target) = &*block.self_ty else { continue };
                let Some(ident) = target.path.segments.last().map(|segment| segment.ident.to_string()) else {
                    continue;
                };
                if let Some((name, mut features)) = self.name_of(path, &ident) {
                    features.extend(feature(&block.attrs));
                    features.dedup();
                    self.block(&name, block, &features);
                }
            }
        }
    }

    /// The public name of a type that an impl in this module calls so.
    fn name_of(&self, module: &[String], ident: &str) -> Option<(String, Vec<String>)> {
        let here = format!("{}::{ident}", spelled(module));
        let imported = || {
            self.sources.modules[module].items.iter().find_map(|item| {
                let Item::Use(item) = item else { return None };
                let mut leaves = leaves(&item.tree, Vec::new()).into_iter();
                let leaf = leaves.find(|leaf| leaf.last().is_some_and(|last| last == ident))?;
                Some(spelled(leaf.strip_prefix(&["crate".to_owned()]).unwrap_or(&leaf)))
            })
        };
        self.names.get(&here).or_else(|| self.names.get(&imported()?)).cloned()
    }

    fn block(&mut self, name: &str, block: &ItemImpl, features: &[String]) {
        if let Some((_, path, _)) = &block.trait_ {
            return self.add(features, "impl", name, &format!(": {}", text(path.span())));
        }
        for item in &block.items {
            let mut all = features.to_vec();
            match item {
                ImplItem::Fn(method) if is_pub(&method.vis) => {
                    all.extend(feature(&method.attrs));
                    self.function(&all, name, &method.sig, "");
                }
                ImplItem::Const(item) if is_pub(&item.vis) => self.constant(&all, name, &item.ident, &item.ty),
                _ => {}
            }
        }
    }
}

fn prefixed(prefix: &str, text: &str) -> String {
    if text.is_empty() { String::new() } else { format!("{prefix}{text}") }
}

/// The source as it is written there.
fn text(span: Span) -> String {
    span.source_text().unwrap_or_default()
}

fn spelled(module: &[String]) -> String {
    ["seawall"].into_iter().chain(module.iter().map(String::as_str)).collect::<Vec<_>>().join("::")
}

fn is_pub(visibility: &Visibility) -> bool {
    matches!(visibility, Visibility::Public(_))
}

/// The documentation, as text.
fn docs(attributes: &[Attribute]) -> String {
    let docs = attributes.iter().filter(|attribute| attribute.path().is_ident("doc"));
    docs.map(|attribute| text(attribute.span()) + "\n").collect()
}

fn openness(attributes: &[Attribute]) -> &'static str {
    let is_open = attributes.iter().any(|attribute| attribute.path().is_ident("non_exhaustive"));
    if is_open { " (non-exhaustive)" } else { "" }
}

fn is_for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| attribute.path().is_ident("cfg") && text(attribute.span()).contains("(test"))
}

/// The feature that an item needs.
fn feature(attributes: &[Attribute]) -> Option<String> {
    let condition = attributes.iter().find(|attribute| attribute.path().is_ident("cfg"))?;
    Some(text(condition.span()).split('"').nth(1)?.to_owned())
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Use(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Const(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        _ => &[],
    }
}

fn named(item: &Item) -> Option<&syn::Ident> {
    match item {
        Item::Struct(item) => Some(&item.ident),
        Item::Enum(item) => Some(&item.ident),
        Item::Fn(item) => Some(&item.sig.ident),
        Item::Const(item) => Some(&item.ident),
        Item::Type(item) => Some(&item.ident),
        Item::Trait(item) => Some(&item.ident),
        _ => None,
    }
}

/// The paths that a `use` names.
fn leaves(tree: &UseTree, before: Vec<String>) -> Vec<Vec<String>> {
    let with = |name: String| before.iter().cloned().chain([name]).collect::<Vec<String>>();
    match tree {
        UseTree::Path(path) => leaves(&path.tree, with(path.ident.to_string())),
        UseTree::Name(name) => vec![with(name.ident.to_string())],
        UseTree::Rename(rename) => vec![with(rename.ident.to_string())],
        UseTree::Glob(_) => vec![with("*".to_owned())],
        UseTree::Group(group) => group.items.iter().flat_map(|tree| leaves(tree, before.clone())).collect(),
    }
}

fn list() -> String {
    let sources = Sources::read();
    Surface { sources: &sources, lines: BTreeSet::new(), names: BTreeMap::new() }.list()
}

#[test]
fn the_public_surface_is_the_reviewed_one() {
    let list = list();
    let file: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join(LIST);
    if std::env::var_os(UPDATE).is_some() {
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, &list).unwrap();
    }
    let reviewed = fs::read_to_string(&file).unwrap_or_default();
    let (now, before): (BTreeSet<&str>, BTreeSet<&str>) = (list.lines().collect(), reviewed.lines().collect());
    let gone = before.difference(&now).map(|line| format!("- {line}"));
    let new = now.difference(&before).map(|line| format!("+ {line}"));
    let changes: Vec<String> = gone.chain(new).collect();
    let advice = format!("If that is meant: {UPDATE}=1 cargo test -p seawall --test public_api, and commit {LIST}.");
    assert!(changes.is_empty(), "the public surface is not the one in {LIST}:\n{}\n{advice}", changes.join("\n"));
}

#[test]
fn the_list_has_what_a_user_can_reach_and_nothing_else() {
    let list = list();
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
    // Methods for the crate alone, types without a public path, modules that are private.
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
    let sources = Sources::read();
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
