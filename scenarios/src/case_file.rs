//! Case files: JSON that a person can read and change, with the number of its format in one field.

use crate::scratch;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};

/// Why a case file cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CaseFileError {
    /// The system does not let it be read.
    #[error("cannot read {}: {error}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The system's error.
        error: std::io::Error,
    },
    /// It is not JSON.
    #[error("{} is no JSON, or not all of it: {error}", path.display())]
    NotJson {
        /// The file.
        path: PathBuf,
        /// Where and why.
        error: serde_json::Error,
    },
    /// It has no field for the format.
    #[error("{} is JSON, but no case: it has neither a `format` nor a valid `run_format`", .0.display())]
    NoCase(PathBuf),
    /// Another version of the lab wrote it.
    #[error("{} has the format {found}, not {expected} as this version of seawall", path.display())]
    OtherFormat {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: Value,
        /// The present format.
        expected: u32,
    },
    /// A field is missing or has no valid value.
    #[error("cannot understand {}: {error}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Where and why.
        error: serde_json::Error,
    },
    /// The case cannot be executed.
    #[error("{}: {reason}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// It cannot be written.
    #[error("{0}")]
    Unwritable(String),
}

/// True if the file is JSON with this field.
pub fn has_field(path: &Path, field: &str) -> bool {
    let value = fs::read_to_string(path).ok().and_then(|text| serde_json::from_str::<Value>(&text).ok());
    value.is_some_and(|value| value.get(field).is_some())
}

/// Reads a file whose `field` must be the number `format`.
///
/// # Errors
/// See [`CaseFileError`].
pub fn read<T: DeserializeOwned>(path: &Path, field: &str, format: u32) -> Result<T, CaseFileError> {
    let path = path.to_owned();
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) => return Err(CaseFileError::Unreadable { path, error }),
    };
    let value: Value = match serde_json::from_str(&text) {
        Ok(value) => value,
        Err(error) => return Err(CaseFileError::NotJson { path, error }),
    };
    let Some(found) = value.get(field) else { return Err(CaseFileError::NoCase(path)) };
    if *found != format {
        return Err(CaseFileError::OtherFormat { path, found: found.clone(), expected: format });
    }
    let mut case = value;
    if case.as_object_mut().is_some_and(|fields| fields.remove(SHRUNKEN).is_some())
        && let Ok(case) = serde_json::from_value(case)
    {
        return Ok(case);
    }
    // From the text, since only then does an error tell its line.
    serde_json::from_str(&text).map_err(|error| CaseFileError::Malformed { path, error })
}

/// The field about how a case was shrunk. No kind of case has it itself.
const SHRUNKEN: &str = "shrunken";

/// What a file says about how its case was shrunk; `None` for a case that was not, and where there is no file.
pub fn shrunken<T: DeserializeOwned>(path: &Path) -> Option<T> {
    let mut value: Value = serde_json::from_str(&fs::read_to_string(path).ok()?).ok()?;
    serde_json::from_value(value.get_mut(SHRUNKEN)?.take()).ok()
}

/// Writes the file of a shrunken case.
///
/// # Errors
/// As [`write()`].
pub fn write_shrunken(path: &Path, case: &impl Serialize, shrunken: &impl Serialize) -> Result<(), CaseFileError> {
    /// Both as one object.
    #[derive(Serialize)]
    struct Both<'a, C, S> {
        #[serde(flatten)]
        case: &'a C,
        shrunken: &'a S,
    }
    write(path, &Both { case, shrunken })
}

/// Writes the file, and its folder if there is none.
///
/// # Errors
/// [`CaseFileError::Unwritable`], with the path.
pub fn write(path: &Path, case: &impl Serialize) -> Result<(), CaseFileError> {
    let text = serde_json::to_string_pretty(case);
    let text = text.map_err(|error| CaseFileError::Unwritable(format!("cannot write {}: {error}", path.display())))?;
    scratch::write_whole(path, &(text + "\n")).map_err(|error| CaseFileError::Unwritable(error.to_string()))
}
