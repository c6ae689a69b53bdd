//! What a power cut may leave.

use super::{FILE, simulation, with};
use seawall_harness::media::sim::durability::{Choices, Coverage, Device, DiskState, Enumeration, Fate};
use seawall_harness::rig::Simulation;
use seawall_harness::seed::Seed;
use std::collections::BTreeSet;
use std::ops::ControlFlow;

const EXHAUSTIVE: Choices = Choices { enumeration: Enumeration::Exhaustive, samples: 100, seed: Seed(1) };

fn state(simulation: &Simulation) -> DiskState {
    with(simulation, |machine| machine.disk_state().expect("a recorded disk").clone())
}

/// All contents of a file after a cut, of which `None` is that it is not there.
fn contents(state: &DiskState, name: &str) -> (BTreeSet<Option<Vec<u8>>>, Coverage) {
    let mut found = BTreeSet::new();
    let coverage = EXHAUSTIVE.visit(state, &mut |fates| {
        found.insert(state.image(fates).file(name).map(|content| content.to_vec()));
        ControlFlow::Continue(())
    });
    (found, coverage)
}

fn begin(device: &str) -> (seawall_harness::rig::Rig, Simulation) {
    let (rig, simulation) = simulation(&[]);
    with(&simulation, |machine| {
        machine.set_device(device.parse().expect("a device"));
        machine.write_file(FILE, b"old");
        machine.record_disk(true);
    });
    (rig, simulation)
}

#[track_caller]
fn check(
    device: &str,
    act: impl FnOnce(&mut seawall_harness::media::sim::Machine),
    name: &str,
    expected: &[Option<&[u8]>],
) {
    let (_rig, simulation) = begin(device);
    with(&simulation, act);
    let expected = expected.iter().map(|bytes| bytes.map(<[u8]>::to_vec)).collect();
    let (found, coverage) = contents(&state(&simulation), name);
    assert_eq!((found, coverage), (expected, Coverage::Complete), "{device}");
}

#[test]
fn an_overwritten_file_is_old_or_empty_or_new() {
    // The truncation and the write are two changes; the write may come without its bytes, and without the truncation.
    let overwrite = |machine: &mut seawall_harness::media::sim::Machine| {
        machine.write_file(FILE, b"newer");
    };
    let zeroes: &[u8] = &[0; 5];
    let all: &[Option<&[u8]>] = &[Some(b"old"), Some(b""), Some(b"newer"), Some(zeroes), Some(b"old\0\0")];
    check("ordered", overwrite, FILE, all);
    check("ordered+safe-append", overwrite, FILE, &[Some(b"old"), Some(b""), Some(b"newer")]);
    check("ordered+safe-append+sequential", overwrite, FILE, &[Some(b"old"), Some(b""), Some(b"newer")]);
}

#[test]
fn safe_appends_leave_no_hole_and_a_sequential_device_syncs_all_files() {
    let append = |machine: &mut seawall_harness::media::sim::Machine| {
        machine.write_file("/d/log", b"");
        machine.rename("/d/log", "/d/log2");
    };
    check("strict+sequential", append, "/d/log2", &[None, Some(b"")]);
    let (_rig, simulation) = begin("strict+safe-append");
    let vfs = super::raw::RawVfs::find(simulation.vfs());
    let flags = rusqlite::ffi::SQLITE_OPEN_READWRITE | rusqlite::ffi::SQLITE_OPEN_MAIN_DB;
    let (file, _) = vfs.open(Some(FILE), flags).unwrap_or_else(|code| panic!("{code}"));
    assert_eq!((file.write(b"1", 3), file.write(b"2", 4)), (0, 0));
    let (found, _) = contents(&state(&simulation), FILE);
    let expected: [&[u8]; 3] = [b"old", b"old1", b"old12"];
    assert_eq!(found, expected.map(|bytes| Some(bytes.to_vec())).into());
    with(&simulation, |machine| {
        machine.set_device("strict+sequential".parse().expect("a device"));
        machine.record_disk(true);
        machine.write_file("/d/other", b"other");
    });
    assert_eq!((file.write(b"3", 5), file.sync()), (0, 0));
    assert_eq!(state(&simulation).pending().len(), 0);
    assert_eq!(file.close(), 0);
}

#[test]
fn names_are_durable_as_the_directory_says() {
    let rename = |machine: &mut seawall_harness::media::sim::Machine| {
        machine.rename(FILE, "/d/a");
        machine.rename("/d/a", "/d/b");
    };
    check("strict", rename, "/d/b", &[None, Some(b"old")]);
    check("strict", rename, FILE, &[None, Some(b"old")]);
    check("ordered", rename, "/d/a", &[None, Some(b"old")]);
    check("immediate", rename, FILE, &[None]);
    check("immediate", rename, "/d/b", &[Some(b"old")]);
}

#[test]
fn with_names_in_order_a_later_name_never_comes_without_an_earlier_one() {
    #[track_caller]
    fn check(device: &str, expected: &[(bool, bool)]) {
        let (_rig, simulation) = begin(device);
        with(&simulation, |machine| machine.write_file("/d/1", b"") && machine.write_file("/d/2", b""));
        let state = state(&simulation);
        let mut found = BTreeSet::new();
        EXHAUSTIVE.visit(&state, &mut |fates| {
            let image = state.image(fates);
            found.insert((image.file("/d/1").is_some(), image.file("/d/2").is_some()));
            ControlFlow::Continue(())
        });
        assert_eq!(found.into_iter().collect::<Vec<_>>(), expected, "{device}");
    }
    check("strict", &[(false, false), (false, true), (true, false), (true, true)]);
    check("ordered", &[(false, false), (true, false), (true, true)]);
    check("immediate", &[(true, true)]);
}

#[test]
fn a_write_is_torn_between_sectors_unless_the_device_is_atomic() {
    #[track_caller]
    fn check(device: &str, expected: usize) {
        let (_rig, simulation) = begin(device);
        with(&simulation, |machine| {
            machine.write_file(FILE, &[1; 1024]);
            machine.record_disk(true);
            machine.write_file(FILE, &[2; 1024]);
        });
        let state = state(&simulation);
        let mut torn = BTreeSet::new();
        EXHAUSTIVE.visit(&state, &mut |fates| {
            if fates.iter().any(|fate| matches!(fate, Fate::Torn { .. })) {
                torn.insert(state.image(fates).hash());
            }
            ControlFlow::Continue(())
        });
        assert_eq!(torn.len(), expected, "{device}");
    }
    // Each half alone, over the old bytes or behind the truncation.
    check("ordered+512", 4);
    check("ordered+512+atomic1k", 0);
    check("ordered", 0);
    check("ordered+torn", 4);
}

#[test]
fn fates_print_and_parse_and_so_do_devices() {
    for fate in [Fate::Lost, Fate::Kept, Fate::Torn { from: 512, to: 1024 }, Fate::Extended, Fate::Smeared] {
        assert_eq!(fate.to_string().parse(), Ok(fate));
    }
    for text in ["strict", "ordered+512+torn", "immediate+no-powersafe+atomic4k+safe-append+sequential+undeletable"] {
        assert_eq!(text.parse::<Device>().map(|device| device.to_string()).as_deref(), Ok(text));
    }
    assert!("ordered+wet".parse::<Device>().is_err());
}

#[test]
fn many_changes_are_sampled_and_few_are_not() {
    let (_rig, simulation) = begin("strict");
    with(&simulation, |machine| {
        for number in 0..12 {
            machine.write_file(&format!("/d/{number}"), b"");
        }
    });
    let coverage = EXHAUSTIVE.visit(&state(&simulation), &mut |_| ControlFlow::Continue(()));
    assert_eq!(coverage, Coverage::Sampled);
    let coverage = EXHAUSTIVE.visit(&state(&simulation), &mut |_| ControlFlow::Break(()));
    assert_eq!(coverage, Coverage::Stopped);
}

/// The contents of a file after two writes of the same file, each with its offset.
fn after_writes(device: &str, first: (&[u8], i64), second: (&[u8], i64)) -> BTreeSet<Vec<u8>> {
    let (_rig, simulation) = begin(device);
    let vfs = super::raw::RawVfs::find(simulation.vfs());
    let flags = rusqlite::ffi::SQLITE_OPEN_READWRITE | rusqlite::ffi::SQLITE_OPEN_MAIN_DB;
    let (file, _) = vfs.open(Some(FILE), flags).unwrap_or_else(|code| panic!("{code}"));
    assert_eq!((file.write(first.0, first.1), file.write(second.0, second.1)), (0, 0));
    let state = state(&simulation);
    let is_behind = state.device().has_page_cache;
    assert_eq!(state.is_possible(&[Fate::Lost, Fate::Kept]), !is_behind, "{device}");
    let (found, coverage) = contents(&state, FILE);
    assert_eq!((file.close(), coverage), (0, Coverage::Complete));
    found.into_iter().flatten().collect()
}

#[test]
fn a_page_cache_writes_no_sector_back_without_the_earlier_writes_to_it() {
    let one_sector = |device| after_writes(device, (b"A", 0), (b"B", 1));
    assert!(one_sector("ordered").contains(&b"oBd"[..]));
    let prefixes: [&[u8]; 3] = [b"old", b"Ald", b"ABd"];
    assert_eq!(one_sector("ordered+page-cache"), prefixes.map(<[u8]>::to_vec).into());
    // The second write reaches two sectors, each of which is written back by itself.
    let two_sectors = after_writes("ordered+512+page-cache", (&[1; 1024], 0), (&[2; 4], 510));
    let around = |bytes: &Vec<u8>| (bytes.get(509..512).map(<[u8]>::to_vec), bytes.get(512..515).map(<[u8]>::to_vec));
    let found: BTreeSet<_> = two_sectors.iter().map(around).collect();
    let (old, new) = (Some(vec![1, 1, 1]), Some(vec![1, 2, 2]));
    for pair in [
        (old.clone(), Some(vec![1, 1, 1])),
        (new.clone(), Some(vec![1, 1, 1])),
        (old, Some(vec![2, 2, 1])),
        (new, Some(vec![2, 2, 1])),
    ] {
        assert!(found.contains(&pair), "{pair:?} of {found:?}");
    }
    assert!(!found.contains(&(Some(vec![0, 2, 2]), Some(vec![0, 0, 0]))), "the first write is not there");
}

#[test]
fn a_page_cache_writes_nothing_beyond_a_truncation_that_is_not_there() {
    let shorter = |device: &str| {
        let (_rig, simulation) = begin(device);
        with(&simulation, |machine| machine.write_file(FILE, b"n"));
        contents(&state(&simulation), FILE).0
    };
    let mixed = Some(b"nld".to_vec());
    assert!(shorter("ordered").contains(&mixed));
    let found = shorter("ordered+page-cache");
    assert!(!found.contains(&mixed) && found.contains(&Some(b"n".to_vec())), "{found:?}");
}
