//! The table of SQLite functions that the shim is handed, instead of calling them by linkage.
//!
//! One Cargo graph can link one SQLite only. With the functions in a table the same shim serves the linked library, one
//! that was loaded at run time, a loadable extension and a preload library.

use rusqlite::ffi::{self, sqlite3_vfs};
use std::ffi::{c_char, c_int, c_void};

/// The SQLite functions that the shim needs. All entries must come from one and the same library.
#[derive(Clone, Copy, Debug)]
pub struct SqliteApi {
    /// `sqlite3_vfs_find`
    pub vfs_find: unsafe extern "C" fn(*const c_char) -> *mut sqlite3_vfs,
    /// `sqlite3_vfs_register`
    pub vfs_register: unsafe extern "C" fn(*mut sqlite3_vfs, c_int) -> c_int,
    /// `sqlite3_vfs_unregister`
    pub vfs_unregister: unsafe extern "C" fn(*mut sqlite3_vfs) -> c_int,
    /// `sqlite3_malloc`, for the answer to `SQLITE_FCNTL_VFSNAME`
    pub malloc: unsafe extern "C" fn(c_int) -> *mut c_void,
    /// `sqlite3_free`
    pub free: unsafe extern "C" fn(*mut c_void),
}

impl SqliteApi {
    /// The functions of the SQLite that this program links.
    pub fn linked() -> Self {
        Self {
            vfs_find: ffi::sqlite3_vfs_find,
            vfs_register: ffi::sqlite3_vfs_register,
            vfs_unregister: ffi::sqlite3_vfs_unregister,
            malloc: ffi::sqlite3_malloc,
            free: ffi::sqlite3_free,
        }
    }
}
