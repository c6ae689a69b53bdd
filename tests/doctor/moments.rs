//! Random moments of a running workload: never anything dangerous.

use crate::world::World;
use seawall::doctor::Severity;
use std::collections::BTreeMap;

/// What a worker does until its input ends: opens and closes, writes, reads, checkpoints, vacuums.
const WORK: &str = "
import threading, random
def work(seed):
    r = random.Random(seed)
    while not over:
        try:
            c = sqlite3.connect(path, isolation_level=None, timeout=5)
            c.execute('PRAGMA wal_autocheckpoint=%d' % r.choice([1, 10, 1000]))
            c.execute('PRAGMA cache_size=%d' % r.choice([2, 2000]))
            c.execute('PRAGMA synchronous=OFF')
            for i in range(r.randrange(1, 12)):
                k = r.randrange(10)
                if k < 4: c.execute('INSERT INTO t VALUES(zeroblob(?))', (r.randrange(20000),))
                elif k < 5: c.execute('DELETE FROM t WHERE rowid % 3 = ?', (r.randrange(3),))
                elif k < 6:
                    kind = r.choice(['PASSIVE', 'RESTART', 'TRUNCATE'])
                    c.execute('PRAGMA wal_checkpoint(%s)' % kind).fetchall()
                elif k < 7: c.execute('PRAGMA incremental_vacuum(5)').fetchall()
                elif k < 8:
                    c.execute('BEGIN IMMEDIATE'); c.execute('UPDATE t SET x=randomblob(3000) WHERE rowid % 5 = 1')
                    c.execute(r.choice(['COMMIT', 'ROLLBACK']))
                elif k < 9 and r.randrange(20) == 0: c.execute('VACUUM')
                else: c.execute('SELECT count(*) FROM t').fetchall()
                time.sleep(r.random() * 0.003)
            c.close()
        except sqlite3.OperationalError: pass
over = False
threads = [threading.Thread(target=work, args=(SEED + n,), daemon=True) for n in range(2)]
for t in threads: t.start()
";

/// Looks at the workload at so many moments, half of them in WAL mode.
fn look(moments: usize) {
    let mut found: BTreeMap<String, usize> = BTreeMap::new();
    for mode in ["WAL", "DELETE"] {
        let Some(world) = World::new() else { return };
        world.python_once(&format!(
            "connect(path, 'PRAGMA auto_vacuum=INCREMENTAL; PRAGMA journal_mode={mode}; CREATE TABLE t(x)').close()"
        ));
        for process in 0..2 {
            world.holder(&format!("SEED = {}{WORK}", process * 100));
        }
        for moment in 0..moments / 2 {
            let report = world.examine();
            for finding in report.findings.iter().filter(|finding| finding.severity >= Severity::Warning) {
                *found.entry(format!("{} {}", finding.severity.word(), finding.code)).or_default() += 1;
            }
            assert!(report.severity < Severity::Danger, "{mode}, moment {moment}: {report:#?}");
        }
    }
    eprintln!("{moments} moments, no danger; warnings: {found:?}");
}

/// SEAWALL_MOMENTS sets how many; 60 without.
#[test]
fn no_moment_of_a_running_workload_is_dangerous() {
    look(std::env::var("SEAWALL_MOMENTS").ok().and_then(|number| number.parse().ok()).unwrap_or(60));
}
