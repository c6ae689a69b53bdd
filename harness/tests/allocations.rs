//! SQLite's allocations under fault rules. The configuration is the process's, hence a test program of its own, with
//! one test.

use seawall_harness::actor::Actor;
use seawall_harness::call::Method;
use seawall_harness::engine::{Engine, OPEN_READ_WRITE_CREATE};
use seawall_harness::fault::FaultPlan;
use seawall_harness::rig::Rig;
use seawall_harness::seed::Seed;
use seawall_harness::shared_state::Mode;
use seawall_harness::vfs::FaultVfs;

fn plan(rule: &str) -> FaultPlan {
    FaultPlan::new(vec![rule.parse().unwrap()], Seed(1)).unwrap()
}

/// The error of a statement under a rule, the allocations that the rule has counted, and how often it fired.
fn execute(rig: &mut Rig, rule: &str, actor: Actor) -> (Option<String>, u64, u64) {
    let simulation = rig.begin(Seed(1), plan(rule)).unwrap();
    simulation.shared_state().set_mode(Mode::TRACE.and(Mode::VIRTUAL));
    simulation.enter(actor);
    let db = simulation.open("/a.db").unwrap();
    db.execute("CREATE TABLE t(x)").unwrap();
    simulation.arm();
    let error = db.execute("INSERT INTO t VALUES (zeroblob(9000))").err().map(|error| error.message);
    simulation.disarm();
    db.execute("INSERT INTO t VALUES (1)").unwrap();
    db.close().unwrap();
    let counters = simulation.shared_state().rule(0);
    (error, counters.matched(), counters.fired())
}

#[test]
fn an_allocation_fails_by_rule_and_is_refused_where_it_cannot() {
    let (p1, p2) = (Actor { process: 1, thread: 1 }, Actor { process: 2, thread: 1 });
    let mut rig = Rig::builder().build().unwrap();
    // On real files, and while a connection is open: refused.
    let refused = FaultVfs::builder().fault("alloc:error=NOMEM:when=3").unwrap().register().unwrap_err().to_string();
    assert!(refused.contains("in the simulator only") && refused.contains("real files"), "{refused}");
    let db = Engine::linked().open(":memory:", OPEN_READ_WRITE_CREATE, None).unwrap();
    let refused = rig.begin(Seed(1), plan("alloc:error=NOMEM:when=3")).err().unwrap().to_string();
    assert!(refused.contains("alloc@*:error=NOMEM:when=3") && refused.contains("may be open"), "{refused}");
    db.close().unwrap();

    // A rule that never fires counts, the same number each time.
    let never = "alloc:error=NOMEM:when=1000000";
    let (error, count, fired) = execute(&mut rig, never, p1);
    assert!(error.is_none() && count > 20 && fired == 0, "{error:?}, {count}");
    assert_eq!(execute(&mut rig, never, p1), (None, count, 0));
    // Each allocation in turn: the rule fires once, and most statements say so.
    let mut failed = 0;
    for nth in 1..=count {
        let (error, _, fired) = execute(&mut rig, &format!("alloc:error=NOMEM:when={nth}"), p1);
        assert_eq!(fired, 1, "{nth}");
        failed += u64::from(error.is_some_and(|error| error.contains("out of memory")));
    }
    assert!(failed > count / 2, "{failed} of {count}");
    // Only one that fails is traced; and actors are told apart.
    assert!(execute(&mut rig, "alloc:error=NOMEM:when=5", p1).0.is_some());
    let traced: Vec<_> = rig.calls().into_iter().filter(|entry| entry.call.method == Method::Alloc).collect();
    assert!(traced.len() == 1 && traced[0].actor == p1 && traced[0].call.amount > 0, "{traced:?}");
    assert_eq!(execute(&mut rig, "alloc:error=NOMEM:actor=p2.*", p1), (None, 0, 0));
    assert!(execute(&mut rig, "alloc:error=NOMEM:actor=p2.*", p2).2 > 0);
    // A rule for any method does not select allocations.
    assert_eq!(execute(&mut rig, "*:error=NOMEM:p=0.0000001", p1).2, 0);
    // Nothing is left behind: a rig without such a rule allocates as ever.
    let simulation = rig.begin(Seed(1), plan("*:error=NOMEM:when=1000000")).unwrap();
    simulation.arm();
    simulation.open("/b.db").unwrap().execute("CREATE TABLE t(x)").unwrap();
}
