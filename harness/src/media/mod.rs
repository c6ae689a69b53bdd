//! Media: what lies under the shim. The real one is the platform's own VFS; the simulated one is here.
//!
//! A medium is a `sqlite3_vfs`, so the shim, the fault grammar, the trace and the oracles serve every medium alike: the
//! shim is registered over the medium's name.

pub mod sim;
