//! `errno=ERRNO`: the call is not made and fails as in a stock build whose system call fails so. The errno is what the
//! caller looks at.

use super::{Action, Effect, EffectEntry, Form, Key, Refusal};
use crate::call::{Call, Method, Role};
use crate::codes::{Errno, ResultCode};
use crate::fault::rule::Selector;
use rusqlite::ffi;

/// The effect in the list.
pub const EFFECT: EffectEntry = EffectEntry {
    forms: "`errno=ERRNO`",
    goes_with: "methods that return a result code",
    methods: |_, method| method.can_fail(),
    refuse,
    fills_disk: |_| true,
    ..EffectEntry::new(KEY, "fails as in a stock build whose system call fails so", act)
};

/// Its key, which is an argument of `error` too.
pub const KEY: Key = Key { word: "errno", form: Form::Errno, example: "errno=EIO" };

/// A method that returns no result code cannot fail.
pub(super) fn refuse(effect: &Effect, select: Selector) -> Option<Refusal> {
    let method = select.method.filter(|method| !method.can_fail())?;
    let message = format!("`{method}` cannot fail: it returns no result code");
    Some(Refusal { key: effect.entry().key, message, help: "`stall`, `kill` and `power-cut` go with every method" })
}

fn act(effect: &Effect, call: &Call, _: u64) -> Action {
    let Some(errno) = effect.errno(KEY) else { return Action::Nothing };
    Action::Fail(natural_code(call.method, call.role, errno), Some(errno))
}

/// The code that SQLite's own unix VFS returns when the system call under `method` fails with `errno` (os_unix.c,
/// 3.54).
fn natural_code(method: Method, role: Role, errno: Errno) -> ResultCode {
    let disk_full = matches!(errno.0, libc::ENOSPC | libc::EDQUOT);
    ResultCode(match method {
        Method::Open => ffi::SQLITE_CANTOPEN,
        Method::Delete => ffi::SQLITE_IOERR_DELETE,
        Method::Access => ffi::SQLITE_IOERR_ACCESS,
        Method::Close => ffi::SQLITE_IOERR_CLOSE,
        Method::Read => ffi::SQLITE_IOERR_READ,
        Method::Write if disk_full => ffi::SQLITE_FULL,
        Method::Write => ffi::SQLITE_IOERR_WRITE,
        Method::Truncate => ffi::SQLITE_IOERR_TRUNCATE,
        Method::Sync if role == Role::Dir => ffi::SQLITE_IOERR_DIR_FSYNC,
        Method::Sync => ffi::SQLITE_IOERR_FSYNC,
        Method::FileSize => ffi::SQLITE_IOERR_FSTAT,
        Method::Lock => ffi::SQLITE_IOERR_LOCK,
        Method::Unlock => ffi::SQLITE_IOERR_UNLOCK,
        Method::CheckReservedLock => ffi::SQLITE_IOERR_CHECKRESERVEDLOCK,
        Method::ShmMap if disk_full => ffi::SQLITE_IOERR_SHMSIZE,
        Method::ShmMap => ffi::SQLITE_IOERR_SHMMAP,
        Method::ShmLock => ffi::SQLITE_IOERR_SHMLOCK,
        Method::Fetch | Method::Unfetch => ffi::SQLITE_IOERR_MMAP,
        Method::FullPathname => ffi::SQLITE_CANTOPEN_FULLPATH,
        _ => ffi::SQLITE_IOERR,
    })
}
