//! The canaries of the outsiders: strategies that keep a connection and know too little of the files under it. The rows
//! of the matrix with outsiders must find each of them.

use super::cached::Cached;
use super::{Context, Entry, Failure, Strategy, Work};
use parking_lot::Mutex;

/// What is wrong with a canary.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Defect {
    /// Never looks at the files again.
    IgnoresLog,
    /// Notices that the database was moved, and checkpoints it though others have its log open.
    CheckpointsOrphan,
    /// Notices that the database was moved, and opens what is at its name beside the log that others hold.
    OpensSuccessor,
}

macro_rules! canary {
    ($constant:ident, $name:literal, $summary:literal, $defect:ident) => {
        pub(super) const $constant: Entry = Entry {
            name: $name,
            summary: $summary,
            promise: None,
            is_canary: true,
            is_layer: false,
            build: |context| Box::new(Canary::new(context, Defect::$defect)),
        };
    };
}

canary!(LOG_IDENTITY, "canary-log-identity", "keeps its connection though its log has lost its name", IgnoresLog);
canary!(ORPHAN, "canary-orphan", "checkpoints a moved database whose log others have open", CheckpointsOrphan);
canary!(SUCCESSOR, "canary-successor", "opens a new database beside the log of a moved one", OpensSuccessor);

struct Canary {
    cached: Cached,
    defect: Defect,
    /// The file that the connection has open.
    file: Mutex<Option<u64>>,
}

impl Canary {
    fn new(context: Context, defect: Defect) -> Self {
        Self { cached: Cached::new(context), defect, file: Mutex::new(None) }
    }

    fn named_file(&self) -> Option<u64> {
        let context = self.cached.context();
        context.host.file_number(&context.path)
    }

    fn has_moved(&self) -> bool {
        let file = *self.file.lock();
        file.is_some() && file != self.named_file()
    }
}

impl Strategy for Canary {
    fn with_connection(&self, work: &mut Work<'_>) -> Result<(), Failure> {
        if self.defect != Defect::IgnoresLog && self.has_moved() {
            let is_checkpointing = self.defect == Defect::CheckpointsOrphan;
            if is_checkpointing {
                let sql = "PRAGMA wal_checkpoint(TRUNCATE)";
                self.cached.with(|connection| connection.query_row(sql, [], |_| Ok(())))?;
            }
            self.cached.close();
            *self.file.lock() = None;
            if is_checkpointing {
                return Err(Failure::other("the database was moved"));
            }
        }
        let result = self.cached.with(|connection| work(connection));
        let named = self.named_file();
        self.file.lock().get_or_insert_with(|| named.unwrap_or_default());
        result
    }

    fn close(&self) -> Result<(), Failure> {
        self.cached.close();
        Ok(())
    }
}
