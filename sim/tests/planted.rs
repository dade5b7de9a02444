//! Each planted bug is caught, and the first seed that does so is printed. The bugs are compiled in with the feature `planted` alone.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use atomicity_ledger::planted as ledger;
use atomicity_sim::run;
use atomicity_witness_log::planted as log;

const PAIRS: &[ledger::Bug] = &[
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
];

const HOPS: &[ledger::Bug] = &[
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

/// Prints what caught each bug, and fails if one survived.
fn tell(caught: impl Iterator<Item = (String, Option<(u64, String)>)>) {
    let mut survived = Vec::new();
    for (name, caught) in caught {
        match caught {
            Some((seed, why)) => println!("| `{name}` | {seed} | {why} |"),
            None => survived.push(name),
        }
    }
    assert!(survived.is_empty(), "not caught: {survived:?}");
}

/// The same of bugs of the ledger; each is switched on in this thread alone.
fn tell_of(bugs: &'static [ledger::Bug]) {
    tell(bugs.iter().map(|bug| {
        ledger::set(Some(*bug));
        let found = caught();
        ledger::set(None);
        (format!("{bug:?}"), found)
    }));
}

#[test]
fn every_bug_between_two_users_is_caught() {
    tell_of(PAIRS);
}

#[test]
fn every_bug_of_payments_over_hops_is_caught() {
    tell_of(HOPS);
}

#[test]
fn every_bug_about_logs_is_caught() {
    tell(LOG.iter().map(|bug| {
        log::set(Some(*bug));
        let found = caught();
        log::set(None);
        (format!("{bug:?}"), found)
    }));
}

#[test]
fn without_them_the_same_seeds_are_silent() {
    for seed in 0..20 {
        assert_eq!(run(seed, false).violations, Vec::<String>::new());
    }
}
