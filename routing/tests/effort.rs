//! With few steps allowed an answer may be dearer, or missing; it is never wrong about itself.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use atomicity_routing::{
    ExchangeRequest, Graph, Rate, Request, RouteError, Searcher, alternatives, circles, find,
    find_exchanged, split,
};
use common::*;
use proptest::prelude::*;

/// Reasons that are certain, wherever there is no way.
fn is_certain_of_none(why: &RouteError) -> bool {
    let certain = [
        "no_path",
        "too_narrow",
        "fee_too_high",
        "unknown_payer",
        "unknown_payee",
        "unknown_unit",
        "unknown_via",
    ];
    certain.contains(&why.code())
}

/// The fees of the cheapest of these paths.
fn least(edges: &[Plain], paths: &[Vec<u8>], minor: u64) -> Option<u128> {
    let costs = paths.iter().filter_map(|path| cost(edges, path, minor));
    costs.min()
}

/// What is found is payable, and exact only if it is the cheapest; what is not found for certain is not there.
fn honest(graph: &Graph, request: &Request, best: Option<u128>) -> Option<bool> {
    let best = best.filter(|best| *best <= u128::from(request.max_fee.minor()));
    let mut searcher = Searcher::new();
    match searcher.find(graph, request) {
        Ok(route) => {
            route.check(graph, request).unwrap();
            let best = best.unwrap();
            assert!(u128::from(route.fee()) >= best);
            assert!(
                !route.exact() || u128::from(route.fee()) == best,
                "{route:?}"
            );
            Some(route.exact())
        }
        Err(RouteError::GaveUp) => None,
        Err(why) => {
            assert!(is_certain_of_none(&why), "{why}");
            assert_eq!(best, None, "{why}");
            None
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1200))]

    #[test]
    fn of_one_route(edges in edges(8, 40), hops in 1usize..8, steps in 0u64..160, fee in prop_oneof![Just(u64::MAX >> 1), 0u64..80]) {
        let graph = graph(&edges);
        let mut request = request(0, 1, 1_000);
        request.max_hops = hops;
        request.max_fee = total(fee);
        let best = cheapest(&edges, 0, 1, 1_000, hops);
        request.max_steps = steps;
        honest(&graph, &request, best);
        request.max_steps = 100_000;
        let exact = honest(&graph, &request, best);
        prop_assert_eq!(exact, best.filter(|best| *best <= u128::from(fee)).map(|_| true));
    }

    #[test]
    fn of_a_way_through_somebody(edges in edges(7, 32), via in 2u8..7, hops in 2usize..7, steps in prop_oneof![0u64..400, Just(u64::MAX)]) {
        let graph = graph(&edges);
        let mut request = request(0, 1, 1_000);
        request.via = Some(user(via));
        request.max_hops = hops;
        request.max_steps = steps;
        let mut paths = all_paths(&edges, 0, 1, hops);
        paths.retain(|path| path.contains(&via));
        honest(&graph, &request, least(&edges, &paths, 1_000));
    }

    #[test]
    fn of_alternatives(edges in edges(8, 45), steps in 0u64..400) {
        let graph = graph(&edges);
        let mut request = request(0, 1, 1_000);
        request.max_steps = steps;
        let best = cheapest(&edges, 0, 1, 1_000, request.max_hops);
        match alternatives(&graph, &request, 4) {
            Ok(routes) => {
                prop_assert!(!routes[0].exact() || u128::from(routes[0].fee()) == best.unwrap());
                let mut used = std::collections::BTreeSet::new();
                for route in &routes {
                    route.check(&graph, &request).unwrap();
                    prop_assert!(route.hops().iter().all(|hop| used.insert((hop.from, hop.to))));
                }
            }
            Err(RouteError::GaveUp) => {}
            Err(why) => prop_assert!(best.is_none() && is_certain_of_none(&why), "{}", why),
        }
    }

    #[test]
    fn of_parts(edges in edges(8, 45), minor in 900u64..3_000, parts in 1usize..6, steps in prop_oneof![0u64..600, Just(u64::MAX)]) {
        let graph = graph(&edges);
        let mut request = request(0, 1, minor);
        request.max_parts = parts;
        request.max_steps = steps;
        let best = cheapest(&edges, 0, 1, minor, request.max_hops);
        match split(&graph, &request) {
            Ok(plan) => {
                plan.check(&graph, &request).unwrap();
                prop_assert!(!plan.exact() || (plan.parts().len() == 1 && u128::from(plan.fee()) == best.unwrap()));
                prop_assert!(steps < u64::MAX || best.is_none() || plan.exact());
            }
            Err(why) => prop_assert!(why == RouteError::GaveUp || best.is_none(), "{}", why),
        }
    }

    #[test]
    fn of_circles(edges in edges(7, 32), hops in 3usize..7, steps in prop_oneof![0u64..300, Just(u64::MAX)]) {
        let graph = graph(&edges);
        let mut request = request(0, 0, 1_000);
        request.max_hops = hops;
        request.max_steps = steps;
        let best = cheapest(&edges, 0, 0, 1_000, hops);
        match circles(&graph, &request, 4) {
            Ok(found) => {
                for circle in &found {
                    circle.check(&graph, &request).unwrap();
                    prop_assert!(u128::from(circle.fee()) >= best.unwrap());
                }
                prop_assert!(!found[0].exact() || u128::from(found[0].fee()) == best.unwrap());
                prop_assert!(steps < u64::MAX || found[0].exact());
            }
            Err(RouteError::GaveUp) => prop_assert!(steps < u64::MAX),
            Err(why) => prop_assert!(best.is_none() && is_certain_of_none(&why), "{}", why),
        }
    }

    #[test]
    fn of_an_exchange(before in edges(7, 30), behind in edges(7, 30), hops in 2usize..7, steps in prop_oneof![0u64..500, Just(u64::MAX)]) {
        let other: atomicity_ledger::Unit = "CAKE/2".parse().unwrap();
        let mut graph = graph(&behind);
        publish(&mut graph, &other, &before);
        let rate = |by: u8| Rate { by: user(by), num: amount(100 + u64::from(by)), den: amount(100), max: amount(1_500) };
        let mut request = request(0, 1, 900);
        request.max_hops = hops;
        request.max_steps = steps;
        let wanted = ExchangeRequest { request, pay_unit: other, max_total: total(u64::MAX >> 1), rates: (2..5).map(rate).collect() };
        let best = (2..5u8).filter_map(|by| exchanged(&before, &behind, by, hops)).min();
        match find_exchanged(&graph, &wanted) {
            Ok(found) => {
                found.check(&graph, &wanted).unwrap();
                prop_assert!(found.total().minor() >= best.unwrap());
                prop_assert!(!found.exact || found.total().minor() == best.unwrap());
            }
            Err(RouteError::GaveUp) => {}
            Err(why) => prop_assert!(why == RouteError::NoPath && best.is_none(), "{}, but {:?}", why, best),
        }
    }
}

/// What the payer sends over the cheapest way on which `by` exchanges, by trying every pair of ways.
fn exchanged(before: &[Plain], behind: &[Plain], by: u8, hops: usize) -> Option<u64> {
    // Whoever exchanges takes a fee, so a free edge before it lets the oracle count it.
    let root = 60;
    let mut onward: Vec<Plain> = behind.to_vec();
    onward.push(Plain::free(root, by, u64::MAX >> 1));
    let heads = all_paths(before, 0, by, hops);
    let tails = all_paths(&onward, root, 1, hops + 1);
    let mut best = None;
    for tail in &tails {
        let Some(fees) = cost(&onward, tail, 900) else {
            continue;
        };
        let first = onward
            .iter()
            .rfind(|e| (e.from, e.to) == (by, tail[2]))
            .unwrap();
        // What is promised onward, out of what it and its fee come to.
        let needed = 900 + u64::try_from(fees).unwrap();
        let sent = (0..=needed).rev().find(|sent| {
            first.base + (sent * u64::from(first.ppm)).div_ceil(1_000_000) + sent <= needed
        });
        if sent.is_none_or(|sent| sent > 1_500) {
            continue;
        }
        let asked = (needed * (100 + u64::from(by))).div_ceil(100);
        for head in &heads {
            let touch = head[..head.len() - 1].iter().any(|n| tail.contains(n))
                || head.contains(&1)
                || tail.contains(&0);
            if touch || head.len() - 1 + tail.len() - 2 > hops {
                continue;
            }
            // The amount may be raised to a minimum on the last edge too: whoever exchanges keeps the rest.
            let mut longer: Vec<Plain> = before.to_vec();
            longer.push(Plain::free(by, 61, u64::MAX >> 1));
            let path: Vec<u8> = head.iter().copied().chain([61]).collect();
            if let Some(fees) = cost(&longer, &path, asked) {
                let all = asked + u64::try_from(fees).unwrap();
                best = Some(best.map_or(all, |held: u64| held.min(all)));
            }
        }
    }
    best
}

#[test]
fn few_steps_are_enough_for_some_way_and_many_for_the_cheapest() {
    // A hub with many dear edges, and a cheap chain.
    let mut edges = vec![
        Plain::free(0, 2, 10_000),
        Plain::free(2, 1, 10_000).with_fee(50, 0),
    ];
    for (from, to) in [(0, 3), (3, 4), (4, 5), (5, 1)] {
        edges.push(Plain::free(from, to, 10_000).with_fee(1, 0));
    }
    for n in 6..60 {
        edges.push(Plain::free(2, n, 10_000).with_fee(2, 0));
        edges.push(Plain::free(n, 2, 10_000).with_fee(2, 0));
    }
    let graph = graph(&edges);
    let mut request = request(0, 1, 1_000);
    let route = find(&graph, &request).unwrap();
    assert_eq!((route.fee(), route.exact()), (3, true));
    let mut seen = std::collections::BTreeSet::new();
    for steps in 0..200 {
        request.max_steps = steps;
        let mut searcher = Searcher::new();
        let found = searcher.find(&graph, &request);
        assert!(
            searcher.steps() <= steps + 64,
            "{} of {steps}",
            searcher.steps()
        );
        seen.insert(match found {
            Ok(route) => {
                route.check(&graph, &request).unwrap();
                assert!(!route.exact() || route.fee() == 3);
                if route.exact() { "exact" } else { "found" }
            }
            Err(why) => why.code(),
        });
    }
    assert_eq!(
        seen.into_iter().collect::<Vec<_>>(),
        ["exact", "found", "gave_up"]
    );
}
