//! Each planted bug is caught, and the first seed that does so is printed. The bugs are compiled in with the feature `planted` alone.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use atomicity_ledger::planted as ledger;
use atomicity_sim::run;
use atomicity_witness_log::planted as log;

const LEDGER: &[ledger::Bug] = &[
    ledger::Bug::MergeTwice,
    ledger::Bug::MergeUnpublished,
    ledger::Bug::ExposureIgnoresUndecided,
    ledger::Bug::ReleaseWhileForwarded,
    ledger::Bug::ClearWithoutCoverage,
    ledger::Bug::ExpiryByClock,
    ledger::Bug::NumberReused,
    ledger::Bug::RefundOfMerged,
    ledger::Bug::OldEpochTaken,
    ledger::Bug::FreedByOpen,
    ledger::Bug::ReleaseOfAnother,
    ledger::Bug::ClaimedTwice,
    ledger::Bug::ExpiryWins,
    ledger::Bug::FeeUnchecked,
    ledger::Bug::PassedOnTwice,
    ledger::Bug::GivenBackFirst,
    ledger::Bug::ProofKept,
    ledger::Bug::PublishedInPart,
    ledger::Bug::SentWhileOutstanding,
    ledger::Bug::BudgetIgnored,
    ledger::Bug::AnyUnitCollected,
    ledger::Bug::GivenBackWhilePublished,
];

const LOG: &[log::Bug] = &[
    log::Bug::NoQuorum,
    log::Bug::DeadlineTooEarly,
    log::Bug::DeadlineTooLate,
    log::Bug::FromSizeIgnored,
    log::Bug::ForkMissed,
    log::Bug::TimesMayFall,
];

/// The most seeds that a bug may survive.
const SEEDS: u64 = 2_000;

/// The first seed that catches what is switched on, and what it says.
fn caught() -> Option<(u64, String)> {
    (0..SEEDS).find_map(|seed| {
        let report = run(seed, false);
        let first = report.violations.first().cloned();
        first.map(|violation| (seed, violation))
    })
}

#[test]
fn every_planted_bug_is_caught() {
    let mut survived = Vec::new();
    let mut told = |name: String, caught: Option<(u64, String)>| match caught {
        Some((seed, why)) => println!("| {name} | {seed} | {why} |"),
        None => survived.push(name),
    };
    for bug in LEDGER {
        ledger::set(Some(*bug));
        told(format!("{bug:?}"), caught());
        ledger::set(None);
    }
    for bug in LOG {
        log::set(Some(*bug));
        told(format!("{bug:?}"), caught());
        log::set(None);
    }
    assert!(survived.is_empty(), "not caught: {survived:?}");
}

#[test]
fn without_them_the_same_seeds_are_silent() {
    for seed in 0..20 {
        assert_eq!(run(seed, false).violations, Vec::<String>::new());
    }
}
