//! What `tracing` is told: a level, fields that can be filtered, and a text.

use super::*;
use ::tracing::field::{Field, Visit};
use ::tracing::span::{Attributes, Id, Record};
use ::tracing::subscriber::set_global_default;
use ::tracing::{Level, Metadata, Subscriber};
use std::collections::BTreeMap;
use std::fmt::Debug;

/// One event as a subscriber gets it.
struct Told {
    level: Level,
    fields: BTreeMap<&'static str, String>,
}

/// Keeps what it is told.
#[derive(Clone, Default)]
struct Keeper(Arc<parking_lot::Mutex<Vec<Told>>>);

impl Subscriber for Keeper {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "seawall"
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &::tracing::Event<'_>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        self.0.lock().push(Told { level: *event.metadata().level(), fields: fields.0 });
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

#[derive(Default)]
struct Fields(BTreeMap<&'static str, String>);

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name(), value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.insert(field.name(), format!("{value:?}"));
    }
}

#[test]
fn events_reach_tracing_with_level_fields_and_text() {
    // For all threads: tracing caches whether a place in the code has a subscriber, and other tests pass there, too.
    let (world, keeper) = (World::new(), Keeper::default());
    set_global_default(keeper.clone()).unwrap();
    let store = world.builder().open(world.path()).unwrap();
    store.read(|_| Err::<(), _>(sqlite_failure(266))).unwrap_err();
    world.unreachable(|| {
        for _ in 0..3 {
            store.read(rows).unwrap_err();
        }
    });
    store.close(Duration::ZERO).unwrap();
    let path = store.path().display().to_string();
    let told = std::mem::take(&mut *keeper.0.lock());
    let told: Vec<Told> = told.into_iter().filter(|told| told.fields["database"] == path).collect();
    let kinds: Vec<(&str, Level)> = told.iter().map(|told| (&*told.fields["kind"], told.level)).collect();
    let expected = [
        ("opened", Level::INFO),
        ("init_completed", Level::INFO),
        ("connection_discarded", Level::WARN),
        ("open_retried", Level::WARN),
        ("open_retried", Level::WARN),
        ("open_retried", Level::WARN),
        ("open_retried", Level::WARN),
        ("open_retried", Level::WARN),
        ("open_retried", Level::WARN),
        ("breaker_tripped", Level::WARN),
        ("closed", Level::INFO),
    ];
    assert_eq!(kinds, expected);
    let (opened, discarded, tripped) = (&told[0].fields, &told[2].fields, &told[9].fields);
    assert_eq!((opened.len(), &*opened["message"]), (3, "opened"), "what an event has not is no field of it");
    assert_eq!((discarded.len(), &*discarded["code"]), (4, "266"));
    assert_eq!(discarded["message"], "connection discarded after IOERR_READ (266)");
    assert_eq!((tripped.len(), &*tripped["generation"]), (5, "1"));
    assert!(tripped["error"].contains("CANTOPEN (14)") && tripped["message"].starts_with("circuit open"));
}

#[test]
fn the_name_of_a_kind_is_its_variant_in_snake_case() {
    let source = include_str!("../events.rs");
    let arms = source.lines().filter_map(|line| line.trim().strip_prefix("EventKind::")?.split_once("=> \""));
    let mut names = 0;
    for (pattern, rest) in arms {
        let mut snake = String::new();
        for letter in pattern.chars().take_while(char::is_ascii_alphabetic) {
            if letter.is_uppercase() && !snake.is_empty() {
                snake.push('_');
            }
            snake.push(letter.to_ascii_lowercase());
        }
        assert_eq!(rest, format!("{snake}\","));
        names += 1;
    }
    assert!(names >= 25, "the names were not found");
    assert_eq!(EventKind::FalseAlarm { code: None }.name(), "false_alarm");
}
