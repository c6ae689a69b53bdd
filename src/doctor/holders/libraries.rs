//! Which version of SQLite a process has loaded, from the code that is mapped into it.
//!
//! Only files that are mapped as code are opened, and of them what is mapped is read: never a database, which a process
//! may have mapped as data.

use crate::doctor::wal::open_proc;
use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

/// Of longer programs, so many bytes of what is mapped are looked at.
const LIBRARY_BYTES_MAX: u64 = 96 << 20;
/// More different programs than this are not looked at.
const LIBRARIES_MAX: usize = 32;
/// Lines of a process's map that are looked at.
const LINES_MAX: usize = 20_000;
const PIECE_BYTES: usize = 1 << 20;
/// Pieces overlap, so that a text across the border is found.
const OVERLAP_BYTES: usize = 32;
/// A program that has SQLite in it has this text.
const MARK: &[u8] = b"SQLite format 3\0";

/// The versions in programs that were looked at, by device and inode as the map shows them.
#[derive(Debug, Default)]
pub(in crate::doctor) struct Libraries {
    known: BTreeMap<String, Option<u32>>,
}

impl Libraries {
    /// The version of the SQLite in a process; `None` if there is none, several, or it cannot be told.
    pub(super) fn of_process(&mut self, process: &Path) -> Option<u32> {
        let maps = fs::read_to_string(process.join("maps")).ok()?;
        let mut programs = programs(&maps);
        // A library of its own tells more than a program that has it inside.
        if programs.iter().any(|program| program.is_named) {
            programs.retain(|program| program.is_named);
        }
        let mut versions: Vec<u32> = programs.iter().filter_map(|program| self.of_program(program, process)).collect();
        versions.sort_unstable();
        versions.dedup();
        <[u32; 1]>::try_from(versions).ok().map(|[version]| version)
    }

    fn of_program(&mut self, program: &Program, process: &Path) -> Option<u32> {
        if let Some(known) = self.known.get(program.key) {
            return *known;
        }
        if self.known.len() >= LIBRARIES_MAX {
            return None;
        }
        let file = process.join("root").join(program.path.trim_start_matches('/'));
        let mut scan = Scan::default();
        let mut bytes_left = LIBRARY_BYTES_MAX;
        if let Ok(mut file) = open_proc(&file) {
            for &(offset, bytes) in &program.pieces {
                let bytes = bytes.min(bytes_left);
                bytes_left -= bytes;
                if file.seek(SeekFrom::Start(offset)).is_ok() {
                    scan.read((&mut file).take(bytes));
                }
            }
        }
        let version = scan.version();
        self.known.insert(program.key.to_owned(), version);
        version
    }
}

/// A file that is mapped as code.
struct Program<'a> {
    /// Device and inode.
    key: &'a str,
    path: &'a str,
    is_named: bool,
    /// What of it is mapped: the offset and the length, in bytes.
    pieces: Vec<(u64, u64)>,
}

/// A line like `7f3c-7f3d r-xp 00026000 fe:00 326791    /usr/lib/libsqlite3.so.0`.
fn programs(maps: &str) -> Vec<Program<'_>> {
    let mut programs: Vec<(bool, Program<'_>)> = Vec::new();
    for line in maps.lines().take(LINES_MAX) {
        let words: Vec<&str> = line.splitn(6, ' ').collect();
        let [range, rights, offset, device, inode, path] = words[..] else { continue };
        let path = path.trim_start();
        if !path.starts_with('/') || !rights.ends_with('p') {
            continue;
        }
        let Some(start) = line.find(device) else { continue };
        let key = &line[start..start + device.len() + 1 + inode.len()];
        let number = |text: &str| u64::from_str_radix(text, 16).unwrap_or(0);
        let (from, to) = range.split_once('-').map_or((0, 0), |(from, to)| (number(from), number(to)));
        let piece = (number(offset), to.saturating_sub(from));
        let is_code = rights.contains('x');
        match programs.iter_mut().find(|(_, program)| program.key == key) {
            Some((has_code, program)) => {
                *has_code |= is_code;
                program.pieces.push(piece);
            }
            None => {
                let is_named = path.rsplit('/').next().is_some_and(|name| name.contains("sqlite"));
                programs.push((is_code, Program { key, path, is_named, pieces: vec![piece] }));
            }
        }
    }
    programs.into_iter().filter(|(has_code, _)| *has_code).map(|(_, program)| program).collect()
}

/// What was found in a program.
#[derive(Default)]
struct Scan {
    versions: Vec<u32>,
    has_mark: bool,
}

impl Scan {
    fn read(&mut self, mut file: impl Read) {
        let mut window: Vec<u8> = Vec::new();
        loop {
            let kept = window.len().min(OVERLAP_BYTES);
            window.drain(..window.len() - kept);
            match file.by_ref().take(PIECE_BYTES as u64).read_to_end(&mut window) {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
            for (place, &byte) in window.iter().enumerate() {
                match byte {
                    b'3' if place == 0 || !window[place - 1].is_ascii_graphic() => {
                        self.versions.extend(version(&window[place..]));
                    }
                    b'S' => self.has_mark |= window[place..].starts_with(MARK),
                    _ => {}
                }
            }
        }
    }

    /// The version number; `None` if there is no SQLite in the program, or there are several numbers.
    fn version(mut self) -> Option<u32> {
        self.versions.sort_unstable();
        self.versions.dedup();
        <[u32; 1]>::try_from(self.versions).ok().map(|[version]| version).filter(|_| self.has_mark)
    }
}

/// `3.N.N` or `3.N.N.N` with a zero byte behind it.
fn version(bytes: &[u8]) -> Option<u32> {
    let end = bytes.iter().take(12).position(|&byte| byte == 0)?;
    let text = std::str::from_utf8(&bytes[..end]).ok()?;
    let numbers: Vec<u32> = text.split('.').map(|part| part.parse().ok()).collect::<Option<_>>()?;
    match numbers[..] {
        // SQLite's minor numbers; libraries of other names have other versions, but seldom of this form.
        [3, minor @ 7..=99, patch @ 0..=20] | [3, minor @ 7..=99, patch @ 0..=20, _] => {
            Some(3_000_000 + 1000 * minor + patch)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scan(program: &[u8]) -> Option<u32> {
        let mut scan = Scan::default();
        scan.read(program);
        scan.version()
    }

    #[test]
    fn a_version_stands_between_zero_bytes() {
        let program = |version: &str| [b"\x7fELF..SQLite format 3\0..\0", version.as_bytes(), b"\0x"].concat();
        for (text, expected) in [
            ("3.40.1", Some(3_040_001)),
            ("3.7.17", Some(3_007_017)),
            ("3.8.11.1", Some(3_008_011)),
            ("3.1.2", None),
            ("13.40.1", None),
            ("3.40.x", None),
            ("3.40.1\x00\x003.45.0", None),
        ] {
            assert_eq!(scan(&program(text)), expected, "{text}");
        }
        assert_eq!(scan(b"\x003.40.1\0"), None, "without SQLite's mark");
        let long = [vec![0; PIECE_BYTES - 3], program("3.40.1")].concat();
        assert_eq!(scan(&long), Some(3_040_001), "across the border of two pieces");
    }

    #[test]
    fn this_process_has_the_version_that_it_is_linked_with_or_none_is_told() {
        let version = Libraries::default().of_process(Path::new("/proc/self"));
        let linked = rusqlite::ffi::SQLITE_VERSION_NUMBER.cast_unsigned();
        assert!(version.is_none_or(|version| version == linked), "{version:?}");
    }
}
