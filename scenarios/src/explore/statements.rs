//! How statements are executed, and how the tables of the scenarios are read.

use super::actor::ExecutionContext;
use seawall_harness::actor::Actor;
use seawall_harness::engine::{Db, SqlError, Statement, StepResult as Row};
use seawall_harness::oracle::table::{Table, TxnKey, TxnState};
use seawall_harness::record::StoryKind;

/// The statements of a connection, prepared when they are first needed.
pub(super) struct Statements<'a> {
    pub(super) db: &'a Db,
    cached: Vec<(&'static str, Statement<'a>)>,
}

impl<'a> Statements<'a> {
    pub(super) fn new(db: &'a Db) -> Self {
        Self { db, cached: Vec::new() }
    }

    fn get(&mut self, sql: &'static str) -> Result<&mut Statement<'a>, SqlError> {
        let position = match self.cached.iter().position(|(known, _)| *known == sql) {
            Some(position) => position,
            None => {
                self.cached.push((sql, self.db.prepare(sql)?));
                self.cached.len() - 1
            }
        };
        let statement = &mut self.cached[position].1;
        statement.reset();
        Ok(statement)
    }

    /// Executes a statement with these parameters, and calls `each` with its rows.
    pub(super) fn rows(
        &mut self,
        sql: &'static str,
        values: &[i64],
        mut each: impl FnMut(&mut Statement<'a>),
    ) -> Result<(), SqlError> {
        let statement = self.get(sql)?;
        for (index, value) in values.iter().enumerate() {
            statement.bind_int(index + 1, *value)?;
        }
        loop {
            match statement.step() {
                Ok(Row::Row) => each(statement),
                Ok(Row::Done) => return Ok(()),
                Err(error) => {
                    statement.reset();
                    return Err(error);
                }
            }
        }
    }
}

/// Counts a statement, and logs it for a story.
pub(super) fn told<T>(
    context: &ExecutionContext,
    actor: Actor,
    text: impl Fn() -> String,
    work: impl FnOnce() -> Result<T, SqlError>,
) -> Result<T, SqlError> {
    context.history.borrow_mut().statements += 1;
    if context.log.is_none() {
        return work();
    }
    context.tell(actor, StoryKind::Begin, &text);
    let result = work();
    match &result {
        Ok(_) if text() == "COMMIT" => context.tell(actor, StoryKind::Commit, text),
        Ok(_) => context.tell(actor, StoryKind::End, text),
        Err(error) => context.tell(actor, StoryKind::Refused, || format!("{}: {error}", text())),
    }
    result
}

/// The SQL with its parameters filled in.
pub(super) fn filled(sql: &str, values: &[i64]) -> String {
    let mut text = sql.split_whitespace().collect::<Vec<_>>().join(" ");
    for (index, value) in values.iter().enumerate().rev() {
        text = text.replace(&format!("?{}", index + 1), &value.to_string());
    }
    text
}

/// Executes a query and calls a function with its rows; scenarios read through it.
pub(super) type Query<'q> = dyn FnMut(&'static str, &mut dyn FnMut(&mut Statement<'_>)) -> Result<(), SqlError> + 'q;

/// The table of the ledger. The rows are grouped here: SQLite would sort them first, at several times the costs.
pub(super) fn ledger_table(query: &mut Query<'_>) -> Result<Table, SqlError> {
    /// A transaction's key, how many rows it has, and its version.
    type Part = (TxnKey, i64, i64);
    let mut parts: Vec<Part> = Vec::new();
    query("SELECT actor, txn, parts, version FROM ledger NOT INDEXED", &mut |row| {
        parts.push((TxnKey { actor: actor_of(row.int(0)), txn: row.int(1) as u32 }, row.int(2), row.int(3)));
    })?;
    parts.sort_unstable();
    let transactions = parts.chunk_by(|one, other| one.0 == other.0).map(|parts| {
        let (key, count, version) = parts[0];
        let whole = parts.iter().all(|part| *part == parts[0]) && parts.len() as i64 == count;
        (key, if whole { TxnState::Whole(version as u32) } else { TxnState::Torn })
    });
    Ok(transactions.collect())
}

/// The actor with this number in a column; see [`ConnectionActor::id`].
pub(super) fn actor_of(id: i64) -> Actor {
    Actor { process: (id / 100) as u16, thread: (id % 100) as u16 }
}

/// A transaction as a key of the oracle `isolation`.
pub(super) fn history_key(key: TxnKey) -> u64 {
    u64::from(key.actor.process) << 48 | u64::from(key.actor.thread) << 32 | u64::from(key.txn)
}
