//! A made-up record of power cuts: one cell survived, one lost its last commit.

use seawall_harness::record::{
    DiskFile, DiskPart, DiskStep, DiskStepKind, Finding, LosingRun, PartState, PowerCell, PowerRecord, SCHEMA,
};
use seawall_harness::verdict::Verdict;

fn file(name: &str, note: &str, parts: &[(u64, u64, PartState)]) -> DiskFile {
    let part = |(from, to, state): &(u64, u64, PartState)| DiskPart { from: *from, to: *to, state: *state };
    DiskFile { name: name.to_owned(), note: note.to_owned(), parts: parts.iter().map(part).collect() }
}

fn step(actor: Option<&str>, kind: DiskStepKind, text: &str, files: Vec<DiskFile>) -> DiskStep {
    DiskStep { actor: actor.map(str::to_owned), kind, text: text.to_owned(), files }
}

fn cell(column: &str, verdict: Verdict, losing: Option<LosingRun>) -> PowerCell {
    let lost = u64::from(losing.is_some());
    PowerCell {
        row: "DELETE".to_owned(),
        column: column.to_owned(),
        verdict,
        expected: Verdict::Survived,
        cuts: 551,
        images: 26_163,
        distinct: 5_000,
        lost: 63 * lost,
        lost_commits_max: lost as u32,
        corrupt: 0,
        torn: 0,
        losing,
    }
}

/// The record.
pub(crate) fn power() -> PowerRecord {
    use DiskStepKind::{Change, Commit, Cut, Statement, Sync};
    use PartState::{Durable, Kept, Lost, Visible};
    let journal = |note: &str| file("app.db-journal", note, &[(0, 512, Durable)]);
    let steps = vec![
        step(Some("p1.t1"), Statement, "BEGIN IMMEDIATE", Vec::new()),
        step(
            Some("p1.t1"),
            Change,
            "db: write 1024 bytes at 1024",
            vec![file("app.db", "", &[(0, 1024, Durable), (1024, 2048, Visible)]), journal("")],
        ),
        step(Some("p1.t1"), Sync, "sync of the db", vec![file("app.db", "", &[(0, 2048, Durable)]), journal("")]),
        step(Some("p1.t1"), Commit, "commit 1 is acknowledged", Vec::new()),
        step(
            None,
            Cut,
            "unlink /sim/app.db-journal: lost",
            vec![
                file("app.db", "", &[(0, 1024, Durable), (1024, 1536, Kept), (1536, 2048, Lost)]),
                journal("the unlink is lost: it is there again"),
            ],
        ),
    ];
    let finding = Finding {
        oracle: "durability".to_owned(),
        verdict: Verdict::Lost,
        detail: "1 of 1 acknowledged commits are gone; the last one there is 0".to_owned(),
    };
    let losing = LosingRun { replay: "out/DELETE-FULL.json".to_owned(), finding, omitted: 3, steps };
    PowerRecord {
        schema: SCHEMA,
        seed: 42,
        sqlite: "3.54.1".to_owned(),
        device: "strict".to_owned(),
        cells: vec![cell("FULL", Verdict::Lost, Some(losing)), cell("EXTRA", Verdict::Survived, None)],
    }
}
