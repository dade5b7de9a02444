//! Each planted bug is caught, and the first seed that does so is printed. The bugs are compiled in with the feature `planted` alone.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use atomicity_ledger::planted as ledger;
use atomicity_sim::run;
use atomicity_witness_log::planted as log;

/// The most seeds that a bug may survive.
const SEEDS: u64 = 2_000;

/// The first seed that catches what is switched on in this thread, and what it says.
fn caught(name: &str) {
    let found = (0..SEEDS).find_map(|seed| {
        let report = run(seed, false);
        let first = report.violations.first().cloned();
        first.map(|violation| (seed, violation))
    });
    let (seed, why) = found.expect("nobody noticed");
    println!("| `{name}` | {seed} | {why} |");
}

/// A test for each bug of one crate.
macro_rules! bugs {
    ($of:ident: $($name:ident $bug:ident)*) => {
        $(
            #[test]
            fn $name() {
                $of::set(Some($of::Bug::$bug));
                caught(stringify!($bug));
                $of::set(None);
            }
        )*
    };
}

bugs! { ledger:
    merge_twice MergeTwice
    merge_unpublished MergeUnpublished
    exposure_ignores_undecided ExposureIgnoresUndecided
    release_while_forwarded ReleaseWhileForwarded
    clear_without_coverage ClearWithoutCoverage
    expiry_by_clock ExpiryByClock
    number_reused NumberReused
    refund_of_merged RefundOfMerged
    old_epoch_taken OldEpochTaken
    freed_by_open FreedByOpen
    release_of_another ReleaseOfAnother
    claimed_twice ClaimedTwice
    expiry_wins ExpiryWins
    fee_unchecked FeeUnchecked
    passed_on_twice PassedOnTwice
    given_back_first GivenBackFirst
    proof_kept ProofKept
    published_in_part PublishedInPart
    sent_while_outstanding SentWhileOutstanding
    budget_ignored BudgetIgnored
    any_unit_collected AnyUnitCollected
    given_back_while_published GivenBackWhilePublished
    rate_rounded_down RateRoundedDown
}

bugs! { log:
    no_quorum NoQuorum
    deadline_too_early DeadlineTooEarly
    deadline_too_late DeadlineTooLate
    from_size_ignored FromSizeIgnored
    fork_missed ForkMissed
    times_may_fall TimesMayFall
}

#[test]
fn without_them_the_same_seeds_are_silent() {
    for seed in 0..20 {
        assert_eq!(run(seed, false).violations, Vec::<String>::new());
    }
}
