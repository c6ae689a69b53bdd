//! Descriptors by identity and by name.

use super::*;
use crate::SystemOs;
use std::fs::File;

#[test]
fn a_descriptor_is_known_by_identity_and_a_lost_one_by_its_former_name() {
    let id = FileId { device: 1, inode: 2 };
    let target = Target { role: FileRole::Wal, path: "/d/x.db-wal".into(), id: Some(id) };
    let targets = [Target { role: FileRole::Database, path: "/d/x.db".into(), id: None }, target];
    let other = FileId { device: 1, inode: 3 };
    for (name, id, links, expected) in [
        ("/elsewhere", id, 1, Some((FileRole::Wal, false))),
        ("/d/x.db-wal (deleted)", other, 0, Some((FileRole::Wal, true))),
        ("/d/x.db (deleted)", other, 0, Some((FileRole::Database, true))),
        ("/d/x.db (deleted)", other, 1, None),
        ("/d/x.db", other, 1, None),
        ("/d/y.db (deleted)", other, 0, None),
    ] {
        assert_eq!(role_of(Path::new(name), id, links, &targets), expected, "{name}");
    }
}

#[test]
fn this_process_is_found_with_its_files_alive_and_deleted() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().canonicalize().unwrap().join("x.db");
    let file = File::create(&path).unwrap();
    let again = File::open(&path).unwrap();
    let status = file.metadata().unwrap();
    let id = FileId { device: status.dev(), inode: status.ino() };
    let target = |id| [Target { role: FileRole::Database, path: path.clone(), id }];
    // Children of tests beside this one have everything open for a moment that this process has.
    let own = std::process::id();
    let look = |id| {
        let (mut holders, processes) = scan(&target(id), &SystemOs::new());
        holders.retain(|holder| holder.pid == own);
        (holders, processes)
    };
    let (holders, processes) = look(Some(id));
    if !processes.is_available {
        println!("skipped: there is no /proc here");
        return;
    }
    let [holder] = &holders[..] else { panic!("{holders:?}") };
    assert_eq!((holder.descriptors, holder.id()), (2, id));
    assert!(holder.is_self && !holder.deleted && !holder.command.is_empty());
    dir.close().unwrap();
    let (holders, _) = look(None);
    assert!(matches!(&holders[..], [holder] if holder.deleted), "{holders:?}");
    drop((file, again));
    assert_eq!(look(None).0, []);
}
