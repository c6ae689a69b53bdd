//! Metrics for Prometheus: [`Health`](crate::Health) in numbers, computed when it is asked for.
//!
//! Nothing is counted twice and nothing runs between scrapes. A value that is not known at the moment, such as the
//! log's length while the writer is borrowed, has no sample in that scrape.
//!
//! | metric | type | labels beside `database` |
//! |---|---|---|
//! | `seawall_state` | gauge, 1 for the current one | `state`: `unopened`, `healthy`, `degraded`, `unavailable` |
//! | `seawall_breaker_state` | gauge, 1 for the current one | `state`: `closed`, `open`, `half_open`, `forced_open` |
//! | `seawall_breaker_mode` | gauge, 1 for the current one | `mode`: `enforcing`, `forced_open`, `disabled`, `metrics_only` |
//! | `seawall_breaker_consecutive_failures` | gauge | |
//! | `seawall_breaker_{admitted,refused,successes,failures,trips}_total` | counter | |
//! | `seawall_connections_{opened,discarded}_total`, `seawall_inits_total` | counter | |
//! | `seawall_calls_{refused,timed_out,failed,unknown,dangling,moved}_total` | counter | |
//! | `seawall_events_total` | counter | `kind`: as [`EventKind::name`](crate::EventKind::name) |
//! | `seawall_events_missed_total` | counter | |
//! | `seawall_wal_bytes`, `seawall_wal_frames`, `seawall_wal_checkpointed_frames` | gauge | |
//! | `seawall_last_checkpoint_age_seconds`, `seawall_oldest_snapshot_age_seconds` | gauge | |
//! | `seawall_borrowers` | gauge | `kind`: `writer`, `reader` |
//! | `seawall_readers_open`, `seawall_disk_full` | gauge | |
//! | `seawall_file_system_free_bytes` | gauge | |
//! | `seawall_database_info` | info | `sqlite_version`, `journal_mode_configured`, `journal_mode`, `file_system`, `is_network` |

use super::Store;
use crate::breaker::{BreakerMode, BreakerState};
use crate::error::BorrowKind;
use crate::health::{Health, HealthState};
use crate::settings::JournalMode;
use crate::sync::Arc;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// Metrics of some stores, in the format that Prometheus scrapes.
///
/// Either give out [`text`](Metrics::text) where the program answers `GET /metrics`, or register it in the program's
/// own registry, as it is a [`Collector`]. Each scrape asks each store for its [health](Store::health), which opens
/// nothing, does not wait and takes some microseconds.
///
/// It holds handles: a store that should be closed while its metrics go on has to be [closed](Store::close).
///
/// ```
/// use seawall::{Metrics, Store};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = tempfile::tempdir()?;
/// let store = Store::open(dir.path().join("notes.db"))?;
/// let metrics = Metrics::new([store.clone()]);
/// store.write(|tx| tx.execute_batch("CREATE TABLE note (text TEXT)"))?;
///
/// let text = metrics.text();
/// assert!(text.lines().any(|line| line.starts_with("seawall_state{") && line.ends_with("state=\"healthy\"} 1")));
/// assert!(text.ends_with("# EOF\n"));
///
/// let mut registry = prometheus_client::registry::Registry::default();
/// registry.register_collector(Box::new(metrics));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Metrics {
    stores: Arc<[Store]>,
}

impl Metrics {
    /// The content type of [`text`](Metrics::text), for the HTTP header.
    pub const CONTENT_TYPE: &'static str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

    /// Of these stores. Handles to the same database count once.
    pub fn new(stores: impl IntoIterator<Item = Store>) -> Metrics {
        let by_path: BTreeMap<_, _> = stores.into_iter().map(|store| (store.path().to_owned(), store)).collect();
        Metrics { stores: by_path.into_values().collect() }
    }

    /// All values at this moment, as OpenMetrics text.
    pub fn text(&self) -> String {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(self.clone()));
        let mut text = String::new();
        encode(&mut text, &registry).expect("a string takes all that is written to it");
        text
    }
}

impl Collector for Metrics {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let seen: Vec<Health> = self.stores.iter().map(Store::health).collect();
        for family in FAMILIES {
            let (metric_type, unit) = (family.reading.metric_type(), family.reading.unit());
            let encoder = encoder.encode_descriptor(family.name, family.help, unit.as_ref(), metric_type)?;
            family.reading.encode(encoder, &seen)?;
        }
        Ok(())
    }
}

/// One metric, for all databases.
struct Family {
    /// Without the suffix that follows from the type or the unit.
    name: &'static str,
    help: &'static str,
    reading: Reading,
}

/// How to read it from a database's health.
enum Reading {
    Counter(fn(&Health) -> u64),
    /// One for each value of a label.
    Counters(&'static str, fn(&Health) -> Vec<(&'static str, u64)>),
    Gauge(fn(&Health) -> Option<u64>),
    Gauges(&'static str, fn(&Health) -> Vec<(&'static str, u64)>),
    Bytes(fn(&Health) -> Option<u64>),
    Seconds(fn(&Health) -> Option<Duration>),
    Info(fn(&Health) -> Vec<(&'static str, String)>),
}

impl Reading {
    fn metric_type(&self) -> MetricType {
        match self {
            Reading::Counter(_) | Reading::Counters(..) => MetricType::Counter,
            Reading::Info(_) => MetricType::Info,
            _ => MetricType::Gauge,
        }
    }

    fn unit(&self) -> Option<Unit> {
        match self {
            Reading::Bytes(_) => Some(Unit::Bytes),
            Reading::Seconds(_) => Some(Unit::Seconds),
            _ => None,
        }
    }

    fn encode(&self, mut encoder: MetricEncoder, seen: &[Health]) -> fmt::Result {
        for health in seen {
            let database = ("database", health.path.to_string_lossy());
            let mut encoder = |labels: &[(&'static str, &str)], sample: &dyn Fn(MetricEncoder) -> fmt::Result| {
                let labels: Vec<(&str, &str)> = [(database.0, &*database.1)].iter().chain(labels).copied().collect();
                sample(encoder.encode_family(&labels)?)
            };
            match self {
                Reading::Counter(of) => encoder(&[], &|sample| ConstCounter::new(of(health)).encode(sample))?,
                Reading::Counters(label, of) => {
                    for (value, count) in of(health) {
                        encoder(&[(label, value)], &|sample| ConstCounter::new(count).encode(sample))?;
                    }
                }
                Reading::Gauge(of) | Reading::Bytes(of) => {
                    if let Some(value) = of(health) {
                        encoder(&[], &|sample| ConstGauge::new(value).encode(sample))?;
                    }
                }
                Reading::Gauges(label, of) => {
                    for (value, number) in of(health) {
                        encoder(&[(label, value)], &|sample| ConstGauge::new(number).encode(sample))?;
                    }
                }
                Reading::Seconds(of) => {
                    if let Some(time) = of(health) {
                        encoder(&[], &|sample| ConstGauge::new(time.as_secs_f64()).encode(sample))?;
                    }
                }
                Reading::Info(of) => encoder(&[], &|mut sample| sample.encode_info(&of(health)))?,
            }
        }
        Ok(())
    }
}

/// All metrics, in the order of the module's table.
const FAMILIES: &[Family] = &[
    Family {
        name: "seawall_state",
        help: "The state of the database: 1 for the current state",
        reading: Reading::Gauges("state", state),
    },
    Family {
        name: "seawall_breaker_state",
        help: "The circuit breaker: 1 for the current state",
        reading: Reading::Gauges("state", breaker_state),
    },
    Family {
        name: "seawall_breaker_mode",
        help: "The mode of the circuit breaker: 1 for the current mode",
        reading: Reading::Gauges("mode", breaker_mode),
    },
    Family {
        name: "seawall_breaker_consecutive_failures",
        help: "Availability failures since the last success",
        reading: Reading::Gauge(|health| Some(health.breaker_failures.into())),
    },
    Family {
        name: "seawall_breaker_admitted",
        help: "Calls that the circuit breaker admitted",
        reading: Reading::Counter(|health| health.breaker_counters.admitted),
    },
    Family {
        name: "seawall_breaker_refused",
        help: "Calls that the circuit breaker refused, or would have",
        reading: Reading::Counter(|health| health.breaker_counters.refused),
    },
    Family {
        name: "seawall_breaker_successes",
        help: "Successes that counted",
        reading: Reading::Counter(|health| health.breaker_counters.successes),
    },
    Family {
        name: "seawall_breaker_failures",
        help: "Availability failures that counted",
        reading: Reading::Counter(|health| health.breaker_counters.failures),
    },
    Family {
        name: "seawall_breaker_trips",
        help: "Times that failures opened the circuit",
        reading: Reading::Counter(|health| health.breaker_counters.trips),
    },
    Family {
        name: "seawall_connections_opened",
        help: "Connections opened",
        reading: Reading::Counter(|health| health.opens),
    },
    Family {
        name: "seawall_connections_discarded",
        help: "Connections thrown away because they could not be trusted any more",
        reading: Reading::Counter(|health| health.discards),
    },
    Family { name: "seawall_inits", help: "Completed init closures", reading: Reading::Counter(|health| health.inits) },
    Family {
        name: "seawall_calls_refused",
        help: "Calls that found the circuit open",
        reading: Reading::Counter(|health| health.calls.refused),
    },
    Family {
        name: "seawall_calls_timed_out",
        help: "Calls that waited too long for a borrowed connection",
        reading: Reading::Counter(|health| health.calls.timed_out),
    },
    Family {
        name: "seawall_calls_failed",
        help: "Calls that failed, for any reason",
        reading: Reading::Counter(|health| health.calls.failed),
    },
    Family {
        name: "seawall_calls_unknown",
        help: "Calls whose outcome is unknown",
        reading: Reading::Counter(|health| health.calls.unknown),
    },
    Family {
        name: "seawall_calls_dangling",
        help: "Calls whose closure left a transaction open",
        reading: Reading::Counter(|health| health.calls.dangling),
    },
    Family {
        name: "seawall_calls_moved",
        help: "Calls that found a file without its name",
        reading: Reading::Counter(|health| health.calls.moved),
    },
    Family {
        name: "seawall_events",
        help: "Events, by kind",
        reading: Reading::Counters("kind", |health| health.events.iter().map(|(kind, n)| (*kind, *n)).collect()),
    },
    Family {
        name: "seawall_events_missed",
        help: "Events that subscribers had no room for",
        reading: Reading::Counter(|health| health.events_missed),
    },
    Family {
        name: "seawall_wal",
        help: "The size of the log file",
        reading: Reading::Bytes(|health| Some(health.wal?.bytes)),
    },
    Family {
        name: "seawall_wal_frames",
        help: "Frames in the log",
        reading: Reading::Gauge(|health| Some(health.wal?.frames.into())),
    },
    Family {
        name: "seawall_wal_checkpointed_frames",
        help: "Frames of the log that are in the database already",
        reading: Reading::Gauge(|health| Some(health.wal?.frames_checkpointed.into())),
    },
    Family {
        name: "seawall_last_checkpoint_age",
        help: "How long ago the last checkpoint was that was asked for",
        reading: Reading::Seconds(|health| Some(health.last_checkpoint?.age)),
    },
    Family {
        name: "seawall_oldest_snapshot_age",
        help: "How long the oldest read has been going on, which keeps the log from being checkpointed beyond it",
        reading: Reading::Seconds(|health| Some(health.oldest_snapshot().map_or(Duration::ZERO, |read| read.age))),
    },
    Family { name: "seawall_borrowers", help: "Borrowed connections", reading: Reading::Gauges("kind", borrowers) },
    Family {
        name: "seawall_readers_open",
        help: "Connections that serve reads beside the writer",
        reading: Reading::Gauge(|health| Some(health.readers_open.into())),
    },
    Family {
        name: "seawall_disk_full",
        help: "1 if a write has met a full disk and none has gone through since",
        reading: Reading::Gauge(|health| Some(health.is_disk_full.into())),
    },
    Family {
        name: "seawall_file_system_free",
        help: "What may still be written to the file system of the database",
        reading: Reading::Bytes(|health| Some(health.file_system.as_ref()?.free_bytes)),
    },
    Family { name: "seawall_database", help: "Properties that should not change", reading: Reading::Info(info) },
];

/// A gauge for each of the names: 1 for the current one.
fn one_of(names: &[&'static str], holds: &str) -> Vec<(&'static str, u64)> {
    names.iter().map(|name| (*name, u64::from(*name == holds))).collect()
}

fn state(health: &Health) -> Vec<(&'static str, u64)> {
    let holds = match health.state {
        HealthState::Unopened => "unopened",
        HealthState::Healthy => "healthy",
        HealthState::Degraded => "degraded",
        HealthState::LogOverLimit => "log_over_limit",
        HealthState::Unavailable => "unavailable",
    };
    one_of(&["unopened", "healthy", "degraded", "log_over_limit", "unavailable"], holds)
}

fn breaker_state(health: &Health) -> Vec<(&'static str, u64)> {
    let holds = match health.breaker {
        BreakerState::Closed => "closed",
        BreakerState::Open { .. } => "open",
        BreakerState::HalfOpen { .. } => "half_open",
        BreakerState::ForcedOpen => "forced_open",
    };
    one_of(&["closed", "open", "half_open", "forced_open"], holds)
}

fn breaker_mode(health: &Health) -> Vec<(&'static str, u64)> {
    let holds = match health.breaker_mode {
        BreakerMode::Enforcing => "enforcing",
        BreakerMode::ForcedOpen => "forced_open",
        BreakerMode::Disabled => "disabled",
        BreakerMode::MetricsOnly => "metrics_only",
    };
    one_of(&["enforcing", "forced_open", "disabled", "metrics_only"], holds)
}

fn borrowers(health: &Health) -> Vec<(&'static str, u64)> {
    let count = |kind| health.borrowers.iter().filter(|borrower| borrower.kind == kind).count() as u64;
    vec![("writer", count(BorrowKind::Writer)), ("reader", count(BorrowKind::Reader))]
}

fn info(health: &Health) -> Vec<(&'static str, String)> {
    let configured = match health.journal_mode_configured {
        JournalMode::Wal => "wal",
        JournalMode::RequireWal => "require_wal",
        JournalMode::Keep => "keep",
    };
    let file_system = health.file_system.as_ref();
    vec![
        ("sqlite_version", health.sqlite_version.to_owned()),
        ("journal_mode_configured", configured.to_owned()),
        ("journal_mode", health.journal_mode.clone().unwrap_or_else(|| "unknown".to_owned())),
        ("file_system", file_system.map_or("unknown", |found| &found.kind).to_owned()),
        ("is_network", file_system.is_some_and(|found| found.is_network).to_string()),
    ]
}
