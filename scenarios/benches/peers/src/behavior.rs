//! Two defects between borrowers, and how a peer handles them.

use crate::{Failure, Kind, Peer, work};
use std::fs;
use std::path::Path;

/// The observed behavior of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Behavior {
    /// A borrower returned the connection inside a transaction, and the next borrower found it open: its own INSERT
    /// succeeded and was not committed.
    pub leaks_open_transactions: bool,
    /// After another database was renamed over the file, an INSERT succeeded that is not in the file at the path.
    pub writes_to_replaced_files: bool,
}

/// Observes a peer on new databases in a folder, within a tokio runtime. Pools have one connection, so the next
/// borrower gets the connection that was returned.
///
/// # Errors
/// Any unexpected failure.
pub async fn observe(kind: Kind, folder: &Path) -> Result<Behavior, Failure> {
    Ok(Behavior {
        leaks_open_transactions: leaks_open_transactions(kind, &folder.join("dirty.db")).await?,
        writes_to_replaced_files: writes_to_replaced_files(kind, &folder.join("replaced.db")).await?,
    })
}

async fn leaks_open_transactions(kind: Kind, path: &Path) -> Result<bool, Failure> {
    work::create(path)?;
    let peer = Peer::open(kind, path, 1).await?;
    // A peer may refuse the open transaction at once. Then it does not leak.
    peer.call(|connection| connection.execute_batch(&format!("BEGIN; {}", work::INSERT))).await.ok();
    let is_open = peer.call(|connection| Ok(!connection.is_autocommit())).await?;
    peer.call(|connection| connection.execute(work::INSERT, [])).await?;
    let is_lost = work::logged(path)? == 0;
    if is_open != is_lost {
        return Err(format!("{}: open {is_open}, but lost {is_lost}", kind.name()).into());
    }
    Ok(is_open)
}

async fn writes_to_replaced_files(kind: Kind, path: &Path) -> Result<bool, Failure> {
    let other = path.with_extension("other");
    work::create(path)?;
    work::create(&other)?;
    let peer = Peer::open(kind, path, 1).await?;
    peer.call(|connection| work::Work::Commit.run(connection, 0)).await?;
    // As a careful restore does: the side files of the old database are removed too.
    for suffix in ["db-wal", "db-shm"] {
        match fs::remove_file(path.with_extension(suffix)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
    }
    fs::rename(&other, path)?;
    let acknowledged = peer.call(|connection| connection.execute(work::INSERT, [])).await.is_ok();
    Ok(acknowledged && work::logged(path)? == 0)
}
