//! What a scrape says: each value follows what has happened, and the text is what Prometheus reads.

use super::*;
use crate::{BreakerMode, JournalMode, Metrics, Store};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

/// The samples of one text: metric and labels, without the database, to value.
struct Scrape(BTreeMap<String, f64>);

impl Scrape {
    /// Reads the text line by line, as OpenMetrics has it, and complains about anything else.
    fn of(text: &str, path: &Path) -> Scrape {
        let database = format!("database=\"{}\"", path.display());
        let body = text.strip_suffix("# EOF\n").expect("it ends with # EOF");
        let mut types: BTreeMap<&str, &str> = BTreeMap::new();
        let mut current = "";
        let mut samples = BTreeMap::new();
        for line in body.lines() {
            if let Some(comment) = line.strip_prefix("# ") {
                let mut words = comment.splitn(3, ' ');
                let (keyword, name, rest) = (words.next().unwrap(), words.next().unwrap(), words.next().unwrap());
                match keyword {
                    "HELP" => assert!(!rest.is_empty() && !types.contains_key(name), "{line}"),
                    "TYPE" => {
                        current = name;
                        assert!(types.insert(name, rest).is_none(), "{line}: once for each metric");
                    }
                    "UNIT" => assert!(name.ends_with(rest), "{line}: the unit is the name's end"),
                    _ => panic!("{line}"),
                }
                continue;
            }
            let (series, value) = line.rsplit_once(' ').unwrap();
            let (name, labels) = series.strip_suffix('}').unwrap().split_once('{').unwrap();
            let suffix = match types[current] {
                "counter" => "_total",
                "info" => "_info",
                "gauge" => "",
                other => panic!("{line}: {other}"),
            };
            assert_eq!(name, format!("{current}{suffix}"), "a sample stands under its own metric");
            assert!(name.starts_with("seawall_"), "{line}");
            assert!(labels.contains(&database), "{line}: whose is it?");
            let labels = labels.replace(&database, "").replace('"', "");
            let key = [name, labels.trim_matches(',')].join(",");
            let key = key.trim_end_matches(',').to_owned();
            assert!(samples.insert(key, value.parse().unwrap()).is_none(), "{line}: twice");
        }
        Scrape(samples)
    }

    #[track_caller]
    fn check(&self, expected: &[(&str, f64)]) {
        for (series, value) in expected {
            assert_eq!(self.0.get(*series), Some(value), "{series} in {:#?}", self.0);
        }
    }
}

fn store(world: &World, readers: usize) -> Store {
    world.builder().readers(readers).acquire_timeout(Duration::ZERO).open(world.path()).unwrap()
}

fn scrape(store: &Store) -> Scrape {
    Scrape::of(&Metrics::new([store.clone()]).text(), store.path())
}

#[test]
fn a_store_that_serves_says_so() {
    let world = World::new();
    let store = store(&world, 2);
    store.write(|tx| insert(tx, 1)).unwrap();
    store.read(rows).unwrap();
    let seen = scrape(&store);
    seen.check(&[
        ("seawall_state,state=healthy", 1.0),
        ("seawall_state,state=degraded", 0.0),
        ("seawall_state,state=unavailable", 0.0),
        ("seawall_state,state=unopened", 0.0),
        ("seawall_breaker_state,state=closed", 1.0),
        ("seawall_breaker_mode,mode=enforcing", 1.0),
        ("seawall_breaker_admitted_total", 3.0),
        ("seawall_breaker_refused_total", 0.0),
        ("seawall_connections_opened_total", 2.0),
        ("seawall_connections_discarded_total", 0.0),
        ("seawall_inits_total", 1.0),
        ("seawall_calls_failed_total", 0.0),
        ("seawall_events_total,kind=opened", 1.0),
        ("seawall_events_total,kind=init_completed", 1.0),
        ("seawall_readers_open", 1.0),
        ("seawall_disk_full", 0.0),
        ("seawall_borrowers,kind=writer", 0.0),
        ("seawall_oldest_snapshot_age_seconds", 0.0),
    ]);
    let log = std::fs::metadata(world.side_file("-wal")).unwrap().len();
    seen.check(&[("seawall_wal_bytes", log as f64), ("seawall_wal_checkpointed_frames", 0.0)]);
    assert!(seen.0["seawall_wal_frames"] >= 2.0 && seen.0["seawall_file_system_free_bytes"] > 0.0);
    let info = format!(
        "seawall_database_info,sqlite_version={},journal_mode_configured=wal,journal_mode=wal,file_system=",
        rusqlite::version()
    );
    assert_eq!(seen.0.keys().filter(|series| series.starts_with(&info)).count(), 1, "{:?}", seen.0);
}

#[test]
fn values_follow_what_happens() {
    let world = World::new();
    let store = store(&world, 0);
    store.write(|tx| insert(tx, 1)).unwrap();
    let failed = |code: i32| store.read(|conn| Err::<(), _>(connection_failure(conn, code))).unwrap_err();
    store.with_connection(|conn| conn.execute_batch("BEGIN; INSERT INTO t VALUES (2)")).unwrap_err();
    failed(13);
    store.checkpoint(crate::CheckpointMode::Passive).unwrap();
    world.os.advance(Duration::from_millis(2500));
    scrape(&store).check(&[
        ("seawall_calls_dangling_total", 1.0),
        ("seawall_calls_failed_total", 2.0),
        ("seawall_events_total,kind=dangling_transaction", 1.0),
        ("seawall_events_total,kind=disk_full", 1.0),
        ("seawall_disk_full", 1.0),
        ("seawall_last_checkpoint_age_seconds", 2.5),
    ]);
    failed(266);
    world.unreachable(|| {
        for _ in 0..3 {
            store.read(rows).unwrap_err();
        }
    });
    assert!(failed(266).is_breaker_open());
    scrape(&store).check(&[
        ("seawall_state,state=unavailable", 1.0),
        ("seawall_state,state=healthy", 0.0),
        ("seawall_breaker_state,state=open", 1.0),
        ("seawall_breaker_failures_total", 3.0),
        ("seawall_breaker_trips_total", 1.0),
        ("seawall_breaker_refused_total", 1.0),
        ("seawall_calls_refused_total", 1.0),
        ("seawall_connections_discarded_total", 1.0),
        ("seawall_events_total,kind=breaker_tripped", 1.0),
    ]);
    store.set_breaker_mode(BreakerMode::ForcedOpen);
    scrape(&store).check(&[
        ("seawall_breaker_state,state=forced_open", 1.0),
        ("seawall_breaker_mode,mode=forced_open", 1.0),
        ("seawall_breaker_mode,mode=enforcing", 0.0),
    ]);
}

#[test]
fn borrowers_are_counted_and_unknown_values_have_no_sample() {
    let world = World::new();
    let store = store(&world, 1);
    let missed = store.subscribe(0);
    let during = store.read(|_| {
        world.os.advance(Duration::from_secs(3));
        Ok(scrape(&store))
    });
    during.unwrap().check(&[("seawall_borrowers,kind=reader", 1.0), ("seawall_oldest_snapshot_age_seconds", 3.0)]);
    let during = store.with_connection(|_| {
        std::thread::scope(|scope| scope.spawn(|| store.write(|tx| insert(tx, 1))).join()).unwrap().unwrap_err();
        Ok(scrape(&store))
    });
    let during = during.unwrap();
    during.check(&[("seawall_borrowers,kind=writer", 1.0), ("seawall_calls_timed_out_total", 1.0)]);
    assert!(!during.0.contains_key("seawall_wal_frames"));
    store.close(Duration::ZERO).unwrap();
    scrape(&store).check(&[("seawall_state,state=unopened", 1.0), ("seawall_events_missed_total", 1.0)]);
    drop(missed);
}

#[test]
fn each_database_counts_once_and_a_strange_name_does_no_harm() {
    let world = World::new();
    let odd = world.dir.path().join("a \"b\"\\c\n.db");
    let builder = world.builder().journal_mode(JournalMode::Keep);
    let (odd, plain) = (builder.open(odd).unwrap(), store(&world, 0));
    let text = Metrics::new([plain.clone(), odd.clone(), plain.clone()]).text();
    let states: Vec<&str> = text.lines().filter(|line| line.starts_with("seawall_readers_open")).collect();
    assert_eq!(states.len(), 2, "{states:?}");
    assert!(states.iter().any(|line| line.contains(r#"/a \"b\"\\c\n.db"} 0"#)), "{states:?}");
    assert!(text.contains(r#"journal_mode_configured="keep",journal_mode="delete""#), "{text}");
    assert_eq!(Metrics::new([]).text().lines().filter(|line| !line.starts_with('#')).count(), 0);
}

#[test]
fn a_scrape_over_http_reads_what_the_programs_own_registry_serves() {
    let world = World::new();
    let store = store(&world, 0);
    store.write(|tx| insert(tx, 1)).unwrap();
    let mut registry = prometheus_client::registry::Registry::default();
    registry.register_collector(Box::new(Metrics::new([store.clone()])));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let reply = std::thread::scope(|scope| {
        scope.spawn(|| {
            let (mut client, _) = listener.accept().unwrap();
            let mut request = [0; 1024];
            let length = client.read(&mut request).unwrap();
            assert!(request[..length].starts_with(b"GET /metrics "));
            let mut body = String::new();
            prometheus_client::encoding::text::encode(&mut body, &registry).unwrap();
            let (kind, length) = (Metrics::CONTENT_TYPE, body.len());
            write!(client, "HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n{body}")
                .unwrap();
        });
        let mut scraper = TcpStream::connect(address).unwrap();
        scraper.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        scraper.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
        let mut reply = String::new();
        scraper.read_to_string(&mut reply).unwrap();
        reply
    });
    let (head, body) = reply.split_once("\r\n\r\n").unwrap();
    assert!(head.contains("Content-Type: application/openmetrics-text; version=1.0.0"), "{head}");
    Scrape::of(body, store.path()).check(&[("seawall_breaker_admitted_total", 2.0), ("seawall_inits_total", 1.0)]);
}
