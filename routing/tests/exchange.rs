//! Ways on which one user exchanges units.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use atomicity_ledger::Unit;
use atomicity_routing::{ExchangeRequest, Graph, Rate, RouteError, find_exchanged};
use common::*;
use proptest::prelude::*;

fn other() -> Unit {
    "USD/2".parse().unwrap()
}

/// What the payer has (`before`) and what the payee takes (`behind`).
fn world(before: &[Plain], behind: &[Plain]) -> Graph {
    let mut graph = graph(behind);
    publish(&mut graph, &other(), before);
    graph
}

fn rate(by: u8, num: u64, den: u64) -> Rate {
    Rate {
        by: user(by),
        num: amount(num),
        den: amount(den),
        max: amount(100_000),
    }
}

fn wanted(from: u8, to: u8, minor: u64, rates: Vec<Rate>) -> ExchangeRequest {
    ExchangeRequest {
        request: request(from, to, minor),
        pay_unit: other(),
        max_total: total(u64::MAX >> 1),
        rates,
    }
}

/// The least that the payer sends over one who exchanges, by trying everything.
fn oracle(
    before: &[Plain],
    behind: &[Plain],
    wanted: (u8, u8, u64),
    rate: (u8, u64, u64),
    most: usize,
) -> Option<u128> {
    let ((from, to, minor), (by, num, den)) = (wanted, rate);
    // Whoever exchanges takes a fee as if somebody stood before them, and may be sent more than they ask as if somebody stood behind.
    let (source, sink) = (60, 61);
    let mut behind = behind.to_vec();
    behind.push(Plain::free(source, by, u64::MAX >> 1));
    let mut before = before.to_vec();
    before.push(Plain::free(by, sink, u64::MAX >> 1));
    let mut best = None;
    for tail in all_paths(&behind, source, to, most) {
        if tail.contains(&from) {
            continue;
        }
        let Some(fees) = cost(&behind, &tail, minor) else {
            continue;
        };
        let asked = ((u128::from(minor) + fees) * u128::from(num)).div_ceil(u128::from(den));
        let asked = u64::try_from(asked).unwrap();
        let left = most + 2 - (tail.len() - 1);
        for head in all_paths(&before, from, sink, left) {
            if head.iter().any(|node| *node != by && tail.contains(node)) {
                continue;
            }
            let total = cost(&before, &head, asked).map(|fees| fees + u128::from(asked));
            best = total.into_iter().chain(best).min();
        }
    }
    best
}

/// The same directions among other users.
fn moved(edges: &[Plain], by: u8) -> Vec<Plain> {
    let edge = |edge: &Plain| Plain {
        from: edge.from + by,
        to: edge.to + by,
        ..*edge
    };
    edges.iter().map(edge).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn it_is_the_cheapest_where_the_legs_dont_touch(
        before in edges(4, 12), behind in edges(5, 20), num in 1u64..400, den in 1u64..400, most in 2usize..7,
    ) {
        // 3 is in both.
        let behind = moved(&behind, 3);
        let graph = world(&before, &behind);
        let mut wanted = wanted(0, 7, 1_000, vec![rate(3, num, den)]);
        wanted.request.max_hops = most;
        let best = oracle(&before, &behind, (0, 7, 1_000), (3, num, den), most);
        match (find_exchanged(&graph, &wanted), best) {
            (Ok(found), Some(best)) => {
                found.check(&graph, &wanted).unwrap();
                // A shorter way behind may let a cheaper one before it fit: that is not looked for.
                if most >= 6 {
                    prop_assert_eq!(u128::from(found.total().minor()), best);
                }
                prop_assert!(u128::from(found.total().minor()) >= best);
                prop_assert_eq!(found.behind.amount(), amount(1_000));
                wanted.max_total = total(found.total().minor() - 1);
                let allowed = wanted.max_total.minor();
                prop_assert_eq!(
                    find_exchanged(&graph, &wanted),
                    Err(RouteError::TotalTooHigh { cheapest: allowed + 1, allowed })
                );
            }
            (Err(why), None) => prop_assert_eq!(why, RouteError::NoPath),
            (found, best) => panic!("{found:?}, but the best is {best:?}"),
        }
    }

    #[test]
    fn what_touches_is_payable_too(before in edges(8, 40), behind in edges(8, 40), rates in prop::collection::vec((2u8..8, 1u64..300), 1..5)) {
        let graph = world(&before, &behind);
        let offers = rates.iter().map(|(by, num)| rate(*by, *num, 100)).collect();
        let wanted = wanted(0, 1, 1_000, offers);
        let best = rates.iter().filter_map(|(by, num)| oracle(&before, &behind, (0, 1, 1_000), (*by, *num, 100), 10)).min();
        if let Ok(found) = find_exchanged(&graph, &wanted) {
            found.check(&graph, &wanted).unwrap();
            prop_assert!(u128::from(found.total().minor()) >= best.unwrap());
        }
    }
}

#[test]
fn the_rate_applies_to_what_goes_on_and_the_fee_for_it() {
    let before = [
        Plain::free(0, 4, 5_000),
        Plain::free(4, 2, 5_000).with_fee(7, 0),
    ];
    let behind = [
        Plain::free(2, 5, 5_000).with_fee(10, 0),
        Plain::free(5, 1, 5_000).with_fee(3, 0),
    ];
    let graph = world(&before, &behind);
    let wanted = wanted(0, 1, 1_000, vec![rate(2, 108, 100)]);
    let found = find_exchanged(&graph, &wanted).unwrap();
    found.check(&graph, &wanted).unwrap();
    // 1000 and 3 of fee at 5, and 10 at 2: 1013; times 1.08, rounded up: 1095; and 7 at 4.
    assert_eq!(found.behind.total(), amount(1_013));
    assert_eq!(
        (found.before.amount(), found.total()),
        (amount(1_095), amount(1_102))
    );
    let mut dearer = found.clone();
    dearer.rate.num = amount(109);
    assert!(dearer.check(&graph, &wanted).is_err());
    let mut asks_more = wanted.clone();
    asks_more.rates[0].num = amount(109);
    dearer.rate = asks_more.rates[0];
    assert_eq!(
        dearer.check(&graph, &asks_more).unwrap_err().code(),
        "fee_missing"
    );
}

#[test]
fn the_best_of_several_is_taken_and_limits_hold() {
    let before: Vec<Plain> = (2..6).map(|n| Plain::free(0, n, 10_000)).collect();
    let behind: Vec<Plain> = (2..6).map(|n| Plain::free(n, 1, 10_000)).collect();
    let graph = world(&before, &behind);
    let mut narrow = rate(5, 1, 1);
    narrow.max = amount(999);
    let mut wanted = wanted(
        0,
        1,
        1_000,
        vec![rate(2, 3, 1), rate(3, 2, 1), rate(4, 5, 2), narrow],
    );
    let found = find_exchanged(&graph, &wanted).unwrap();
    assert_eq!((found.rate.by, found.total()), (user(3), amount(2_000)));
    wanted.request.avoid_nodes = vec![user(3)];
    assert_eq!(find_exchanged(&graph, &wanted).unwrap().rate.by, user(4));
    wanted.request.via = Some(user(2));
    assert_eq!(find_exchanged(&graph, &wanted).unwrap().rate.by, user(2));
    wanted.request.via = Some(user(5));
    assert_eq!(find_exchanged(&graph, &wanted), Err(RouteError::NoExchange));
    wanted.request.via = None;
    wanted.rates.clear();
    assert_eq!(find_exchanged(&graph, &wanted), Err(RouteError::NoExchange));
}

#[test]
fn good_rates_of_those_to_whom_no_way_leads_hide_nobody() {
    let before = [Plain::free(0, 2, 10_000)];
    let behind = [Plain::free(2, 1, 10_000)];
    let mut graph = world(&before, &behind);
    // 24 have channels with each other only, 28 have none.
    let ring = |n: u8| Plain::free(10 + n, 10 + (n + 1) % 24, 10_000);
    let among: Vec<Plain> = (0..24).map(ring).collect();
    publish(&mut graph, &other(), &among);
    publish(&mut graph, &request(0, 1, 1).unit, &among);
    let mut rates: Vec<Rate> = (10..62).map(|n| rate(n, 1, 1_000)).collect();
    rates.push(rate(2, 2, 1));
    let wanted = wanted(0, 1, 1_000, rates);
    let found = find_exchanged(&graph, &wanted).unwrap();
    assert_eq!((found.rate.by, found.total()), (user(2), amount(2_000)));
}

#[test]
fn where_both_ways_are_too_long_together_it_is_certain_that_there_is_none() {
    let before = [(0, 1), (1, 2), (2, 3)].map(|(from, to)| Plain::free(from, to, 5_000));
    let behind = [(3, 5), (5, 7)].map(|(from, to)| Plain::free(from, to, 5_000));
    let graph = world(&before, &behind);
    let mut wanted = wanted(0, 7, 1_000, vec![rate(3, 1, 1)]);
    wanted.request.max_hops = 4;
    assert_eq!(find_exchanged(&graph, &wanted), Err(RouteError::NoPath));
    wanted.request.max_hops = 5;
    assert!(find_exchanged(&graph, &wanted).is_ok());
}
