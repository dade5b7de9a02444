//! Some seeds hold what must hold, and a seed is the same run whenever it is played.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use atomicity_sim::{Stats, run};

#[test]
fn nothing_happens_that_must_not() {
    let mut stats = Stats::default();
    for seed in 1_000_000..1_000_200 {
        let report = run(seed, false);
        assert!(
            report.violations.is_empty(),
            "seed {seed}: {:?}; again: atomicity-sim --seed {seed} --trace",
            report.violations
        );
        stats.add(&report.stats);
    }
    // What never happens can't go wrong either.
    for (what, count) in [
        ("payments", stats.payments),
        ("lost", stats.dropped),
        ("repeated", stats.repeated),
        ("out of turn", stats.reordered),
        ("crashes", stats.crashes),
        ("epochs", stats.epochs),
        ("faults of logs", stats.log_faults),
        ("lies", stats.lies),
        ("booked", stats.merged),
        ("expired", stats.expired),
        ("frozen", stats.frozen),
        ("forks", stats.forks_seen),
        ("convictions", stats.convictions),
    ] {
        assert!(count > 0, "none of: {what}");
    }
}

#[test]
fn a_seed_is_one_run() {
    for seed in [3, 7, 11, 20, 42] {
        let (first, again) = (run(seed, true), run(seed, false));
        assert_eq!(first.digest, again.digest, "seed {seed}");
        assert_eq!(first.stats, again.stats, "seed {seed}");
        assert!(first.trace.len() > 50 && again.trace.is_empty());
    }
    assert_ne!(run(3, false).digest, run(4, false).digest);
}
