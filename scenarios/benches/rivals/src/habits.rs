//! Two things that go wrong between borrowers, and what a contestant does about them.

use std::fs;
use std::path::Path;

use crate::{Contestant, Failure, Kind, work};

/// What was seen of a contestant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Habits {
    /// After a borrower went away in the middle of a transaction, the next one found it open: its own INSERT succeeded
    /// and was not committed.
    pub hands_on_open_transactions: bool,
    /// After another database was renamed over the file, an INSERT succeeded that is not in the file at the path.
    pub writes_to_replaced_files: bool,
}

/// Looks, within a tokio runtime, at new databases in a folder. Pools have one connection, so that the next borrower
/// gets the one that was given back; with more of them it is a matter of who comes when.
///
/// # Errors
/// Whatever fails that should not.
pub async fn observe(kind: Kind, folder: &Path) -> Result<Habits, Failure> {
    Ok(Habits {
        hands_on_open_transactions: hands_on_open_transactions(kind, &folder.join("dirty.db")).await?,
        writes_to_replaced_files: writes_to_replaced_files(kind, &folder.join("replaced.db")).await?,
    })
}

async fn hands_on_open_transactions(kind: Kind, path: &Path) -> Result<bool, Failure> {
    work::create(path)?;
    let contestant = Contestant::open(kind, path, 1).await?;
    // That it is left open may be an error at once: then it is not handed on, which is all that is asked.
    contestant.call(|connection| connection.execute_batch(&format!("BEGIN; {}", work::INSERT))).await.ok();
    let is_open = contestant.call(|connection| Ok(!connection.is_autocommit())).await?;
    contestant.call(|connection| connection.execute(work::INSERT, [])).await?;
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
    let contestant = Contestant::open(kind, path, 1).await?;
    contestant.call(|connection| work::Work::Commit.run(connection, 0)).await?;
    // As a careful restore does it: what belongs to the old file goes with it.
    for suffix in ["db-wal", "db-shm"] {
        match fs::remove_file(path.with_extension(suffix)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
    }
    fs::rename(&other, path)?;
    let acknowledged = contestant.call(|connection| connection.execute(work::INSERT, [])).await.is_ok();
    Ok(acknowledged && work::logged(path)? == 0)
}
