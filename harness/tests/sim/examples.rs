//! The examples, executed.

#[path = "../../examples/queue.rs"]
mod queue;
#[path = "../../examples/wallet.rs"]
mod wallet;

#[test]
fn the_wallet_loses_money_until_it_is_mended() {
    let printed = wallet::run();
    assert!(printed.contains("  2  p1.t1 paused in `UPDATE wallet SET coins = 90` at its "), "{printed}");
    assert!(printed.contains("\nSEAWALL_REPLAY=sim1."), "{printed}");
    assert!(printed.contains("\nRepeated, with the same steps: true\n"), "{printed}");
    assert!(printed.ends_with("\nMended: 1000 executions, 2000 values acknowledged\n"), "{printed}");
}

#[test]
fn the_queue_survives_crashes_and_power_cuts_and_its_deferred_form_is_refused() {
    let printed = queue::run();
    assert!(printed.starts_with("crashes: 1000 executions passed\npower cuts: 1000 executions passed\n"), "{printed}");
    assert!(printed.contains("returned an error: database is locked"), "{printed}");
}
