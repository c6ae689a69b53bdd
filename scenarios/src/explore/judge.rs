//! After an execution: a fresh connection that nobody disturbs, and the oracles.

use seawall_harness::engine::{Db, Engine, OPEN_READ_WRITE_CREATE, SqlError, Value};
use seawall_harness::oracle::alarm::Alarm;
use seawall_harness::oracle::integrity::Check;
use seawall_harness::oracle::table::Table;
use seawall_harness::oracle::{self, Evidence};
use seawall_harness::sched::Execution;
use seawall_harness::verdict::Verdict;
use seawall_harness::vfs::lab;

use super::DATABASE;
use super::actor::{self, Notebook};

pub use seawall_harness::record::Finding;

/// What the oracles find, worst first.
pub(super) fn judge(engine: &Engine, vfs: &str, execution: &Execution, notebook: Notebook) -> Vec<Finding> {
    let nobody = seawall_harness::actor::Actor { process: 0, thread: 0 };
    lab::play(nobody);
    let (check, table) = look(engine, vfs);
    let mut findings = Vec::new();
    let mut add = |oracle: &str, verdict, notes: &[String]| {
        if let Some(first) = notes.first() {
            let detail = format!("{first} ({} such observations)", notes.len());
            findings.push(Finding { oracle: oracle.to_owned(), verdict, detail });
        }
    };
    add("walindex", Verdict::Corrupt, &notebook.walindex);
    add("isolation", Verdict::Corrupt, &notebook.unrepeatable_reads);
    if execution.halted {
        add("progress", Verdict::Wedged, &[format!("no end after {} calls", execution.calls)]);
    }
    let alarms = notebook.alarms.into_iter().map(|message| Alarm { actor: nobody, message });
    let evidence = Evidence {
        ledger: notebook.ledger,
        table,
        torn_reads: notebook.torn_reads,
        checks: vec![check],
        alarms: alarms.collect(),
        ..Evidence::default()
    };
    // An execution that was cut short has made errors of its own, and proves nothing about the data.
    if !execution.halted {
        findings.extend(oracle::judge(&evidence));
    }
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.verdict));
    findings
}

fn look(engine: &Engine, vfs: &str) -> (Check, Option<Table>) {
    let mut check = Check { connection: "fresh".to_owned(), complaints: Vec::new(), unfinished: None };
    let result = engine.open(DATABASE, OPEN_READ_WRITE_CREATE, Some(vfs)).and_then(|db| {
        check.complaints = complaints(&db)?;
        let mut statement = db.prepare(actor::SELECT)?;
        actor::table(&mut statement)
    });
    match result {
        Ok(table) => (check, Some(table)),
        Err(error) => {
            check.complaints.push(error.to_string());
            (check, None)
        }
    }
}

fn complaints(db: &Db) -> Result<Vec<String>, SqlError> {
    let rows = db.query("PRAGMA integrity_check")?;
    let text = |row: Vec<Value>| row.into_iter().next().and_then(|value| value.as_text().map(str::to_owned));
    Ok(rows.into_iter().filter_map(text).filter(|line| line != "ok").collect())
}
