//! The names of engines in tokens, cases and records.
//!
//! A version is its own name. A library is named by its path and the hash of its content, `PATH#HASH`: the version that
//! it reports says neither where it lies nor how it was built.

use super::{ResolveError, resolve};
use seawall_harness::engine::Engine;
use sha2::{Digest, Sha256};
use std::fmt;
use std::fmt::Write as _;
use std::path::Path;

/// Hexadecimal digits of a hash: the first ones of the SHA-256 of the file.
const HASH_DIGITS: usize = 16;

/// A shared object, as a case names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Library {
    /// Its path.
    pub path: String,
    /// The first 16 hexadecimal digits of the SHA-256 of its content; `None` if only the path is known.
    pub hash: Option<String>,
}

impl Library {
    /// The path and the hash behind `#`, if there is one.
    pub fn parse(text: &str) -> Self {
        let is_hash = |hash: &str| {
            hash.len() == HASH_DIGITS && hash.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
        };
        match text.rsplit_once('#').filter(|(_, hash)| is_hash(hash)) {
            Some((path, hash)) => Self { path: path.to_owned(), hash: Some(hash.to_owned()) },
            None => Self { path: text.to_owned(), hash: None },
        }
    }

    /// The hash of what is there now, if it is not the hash of this library.
    ///
    /// # Errors
    /// [`ResolveError::Gone`], if the hash is known and the file cannot be read.
    pub fn changed(&self) -> Result<Option<String>, ResolveError> {
        let Some(hash) = &self.hash else { return Ok(None) };
        let gone = |reason| ResolveError::Gone { library: self.clone(), reason };
        let found = hash_of(Path::new(&self.path)).map_err(gone)?;
        Ok((found != *hash).then_some(found))
    }
}

impl fmt::Display for Library {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.path)?;
        self.hash.iter().try_for_each(|hash| write!(f, "#{hash}"))
    }
}

/// The engine that `--sqlite` asks for, and the name by which tokens and cases find it again: the version for `linked`
/// and for a version, the absolute path and the hash for a library. Nothing is built but the version that is asked for.
///
/// # Errors
/// See [`ResolveError`].
pub fn identify(text: &str) -> Result<(Engine, String), ResolveError> {
    let engine = resolve(text)?;
    if text == "linked" || super::number(text).is_some() {
        let name = engine.version().to_owned();
        return Ok((engine, name));
    }
    let Library { path, .. } = Library::parse(text);
    let absolute = std::path::absolute(&path).ok().and_then(|path| path.to_str().map(str::to_owned));
    let mut library = Library { path: absolute.unwrap_or(path), hash: None };
    let hash = hash_of(Path::new(&library.path));
    library.hash = Some(hash.map_err(|reason| ResolveError::Gone { library: library.clone(), reason })?);
    Ok((engine, library.to_string()))
}

fn hash_of(path: &Path) -> std::io::Result<String> {
    let digest = Sha256::digest(std::fs::read(path)?);
    let mut hash: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    hash.truncate(HASH_DIGITS);
    Ok(hash)
}

/// A name as a field of a token: what would end the field, a word of a shell or a line is written as `%3a`.
pub fn escaped(name: &str) -> String {
    let mut text = String::new();
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'_' | b'/' | b'+' | b'=' | b'@' | b',' | b'#' | b'-' => {
                text.push(byte.into());
            }
            other => drop(write!(text, "%{other:02x}")),
        }
    }
    text
}

/// The name in a field of a token; `None` if the field was not made by [`escaped`].
pub fn unescaped(field: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let mut rest = field.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let digits = [rest.next()?, rest.next()?];
                u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?
            }
            other => other,
        });
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_library_is_its_path_and_its_hash() {
        #[track_caller]
        fn check(text: &str, path: &str, hash: Option<&str>) {
            let library = Library::parse(text);
            assert_eq!((&*library.path, library.hash.as_deref(), library.to_string()), (path, hash, text.to_owned()));
        }
        check("/a/b.so", "/a/b.so", None);
        check("/a/b.so#0123456789abcdef", "/a/b.so", Some("0123456789abcdef"));
        check("/a/b#c.so", "/a/b#c.so", None);
        check("/a/b.so#0123456789ABCDEF", "/a/b.so#0123456789ABCDEF", None);
    }

    #[test]
    fn a_name_is_one_field_of_a_token_whatever_it_contains() {
        for name in ["3.51.1", "/tmp/a b:c%d/ä'$x.so#0123456789abcdef", "\n"] {
            let field = escaped(name);
            assert!(!field.contains([':', ' ', '\'', '$', '\n']), "{field}");
            assert_eq!(unescaped(&field).as_deref(), Some(name));
        }
        assert_eq!((escaped("3.51.1"), unescaped("%4"), unescaped("%zz")), ("3.51.1".to_owned(), None, None));
    }

    #[test]
    fn another_content_is_noticed_and_so_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lib.so");
        std::fs::write(&path, "abc").unwrap();
        let hash = "ba7816bf8f01cfea";
        let library = Library { path: path.to_str().unwrap().to_owned(), hash: Some(hash.to_owned()) };
        assert_eq!((hash_of(&path).unwrap(), library.changed().unwrap()), (hash.to_owned(), None));
        std::fs::write(&path, "abd").unwrap();
        assert_eq!(library.changed().unwrap(), Some(hash_of(&path).unwrap()));
        let message = resolve(&library.to_string()).unwrap_err().to_string();
        assert!(message.contains("is another library now") && message.contains(hash), "{message}");
        std::fs::remove_file(&path).unwrap();
        let message = resolve(&library.to_string()).unwrap_err().to_string();
        assert!(message.contains("cannot be read"), "{message}");
    }
}
