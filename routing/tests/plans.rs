//! Alternatives, parts, ways through somebody, circles.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::collections::BTreeSet;

use atomicity_routing::synthetic::Numbers;
use atomicity_routing::{RouteError, alternatives, circles, find, split};
use common::*;
use proptest::prelude::*;

/// Three ways from 0 to 1, over 2, 3 and 4, each 100 wide; the way over 2 and 5 is the cheapest and shares 2.
fn three_ways() -> Vec<Plain> {
    let mut edges = Vec::new();
    for (middle, fee) in [(2, 1), (3, 2), (4, 3)] {
        edges.push(Plain::free(0, middle, 100));
        edges.push(Plain::free(middle, 1, 100).with_fee(fee, 0));
    }
    edges
}

#[test]
fn alternatives_share_no_middle_and_get_dearer() {
    let graph = graph(&three_ways());
    let routes = alternatives(&graph, &request(0, 1, 50), 5).unwrap();
    assert_eq!(
        routes.iter().map(|route| route.fee()).collect::<Vec<_>>(),
        [1, 2, 3]
    );
    assert_eq!(
        alternatives(&graph, &request(0, 1, 50), 33)
            .unwrap_err()
            .code(),
        "limit_invalid"
    );
}

#[test]
fn where_all_ways_share_a_user_alternatives_share_no_edge() {
    let mut edges = three_ways();
    // Everybody must pass 6 to reach 1, by one of two channels' worth of edges.
    edges.iter_mut().for_each(|edge| {
        if edge.to == 1 {
            edge.to = 6
        }
    });
    edges.push(Plain::free(6, 1, 100).with_fee(1, 0));
    edges.extend([
        Plain::free(6, 7, 100).with_fee(1, 0),
        Plain::free(7, 1, 100).with_fee(1, 0),
    ]);
    let graph = graph(&edges);
    let routes = alternatives(&graph, &request(0, 1, 50), 5).unwrap();
    assert_eq!(
        routes.iter().map(|route| route.fee()).collect::<Vec<_>>(),
        [2, 4]
    );
}

#[test]
fn parts_share_what_edges_take() {
    let graph = graph(&three_ways());
    let mut request = request(0, 1, 250);
    assert_eq!(
        find(&graph, &request).unwrap_err(),
        RouteError::TooNarrow { widest: 100 }
    );
    let plan = split(&graph, &request).unwrap();
    plan.check(&graph, &request).unwrap();
    assert_eq!(plan.parts().len(), 3);
    assert_eq!(plan.fee(), 6);
    request.max_parts = 2;
    assert_eq!(split(&graph, &request).unwrap_err().code(), "too_narrow");
    request.max_parts = 32;
    request.max_fee = total(5);
    assert_eq!(
        split(&graph, &request).unwrap_err(),
        RouteError::TooNarrowInParts {
            parts: 2,
            carried: 197
        }
    );
    request.max_fee = total(6);
    request.amount = amount(300);
    // The first edges are 100 wide and carry the fees as well.
    assert_eq!(
        split(&graph, &request).unwrap_err(),
        RouteError::TooNarrowInParts {
            parts: 3,
            carried: 294
        }
    );
    request.amount = amount(294);
    split(&graph, &request)
        .unwrap()
        .check(&graph, &request)
        .unwrap();
}

#[test]
fn wide_enough_for_the_amount_but_not_for_the_fees() {
    let graph = graph(&three_ways());
    assert_eq!(
        find(&graph, &request(0, 1, 100)).unwrap_err(),
        RouteError::TooNarrow { widest: 99 }
    );
    let plan = split(&graph, &request(0, 1, 100)).unwrap();
    plan.check(&graph, &request(0, 1, 100)).unwrap();
    assert_eq!(plan.parts().len(), 2);
}

#[test]
fn a_check_finds_what_is_wrong_with_a_plan() {
    let graph = graph(&three_ways());
    let plan = split(&graph, &request(0, 1, 250)).unwrap();
    assert_eq!(
        plan.check(&graph, &request(0, 1, 251)).unwrap_err().code(),
        "route_malformed"
    );
    let mut tight = request(0, 1, 250);
    tight.max_fee = total(5);
    assert_eq!(
        plan.check(&graph, &tight).unwrap_err().code(),
        "fee_too_high"
    );
    let narrower: Vec<Plain> = three_ways()
        .iter()
        .map(|e| Plain { cap: 60, ..*e })
        .collect();
    assert_eq!(
        plan.check(&common::graph(&narrower), &request(0, 1, 250))
            .unwrap_err()
            .code(),
        "amount_outside"
    );
    let dearer: Vec<Plain> = three_ways()
        .iter()
        .map(|e| e.with_fee(e.base + 1, 0))
        .collect();
    assert_eq!(
        plan.check(&common::graph(&dearer), &request(0, 1, 250))
            .unwrap_err()
            .code(),
        "fee_missing"
    );
}

#[test]
fn a_way_through_somebody() {
    let mut edges = three_ways();
    edges.push(Plain::free(3, 4, 100).with_fee(1, 0));
    let graph = graph(&edges);
    let mut request = request(0, 1, 50);
    request.via = Some(user(4));
    let route = find(&graph, &request).unwrap();
    assert_eq!(route.fee(), 3);
    route.check(&graph, &request).unwrap();
    request.avoid_edges = vec![(user(0), user(4))];
    let route = find(&graph, &request).unwrap();
    assert_eq!(route.users().collect::<Vec<_>>(), [0, 3, 4, 1].map(user));
    request.via = Some(user(30));
    assert_eq!(find(&graph, &request).unwrap_err(), RouteError::UnknownVia);
}

#[test]
fn there_and_back_over_one_channel_is_no_circle() {
    let mut edges = vec![Plain::free(0, 2, 100), Plain::free(2, 0, 100)];
    assert_eq!(
        circles(&graph(&edges), &request(0, 0, 50), 3).unwrap_err(),
        RouteError::NoPath
    );
    edges.extend([
        Plain::free(2, 3, 100).with_fee(4, 0),
        Plain::free(3, 0, 100).with_fee(5, 0),
    ]);
    edges.extend([
        Plain::free(3, 4, 100).with_fee(1, 0),
        Plain::free(4, 0, 100).with_fee(1, 0),
    ]);
    let graph = graph(&edges);
    let found = circles(&graph, &request(0, 0, 50), 3).unwrap();
    assert_eq!(
        found.iter().map(|circle| circle.fee()).collect::<Vec<_>>(),
        [6, 9]
    );
    assert_eq!(
        found[0].users().collect::<Vec<_>>(),
        [0, 2, 3, 4, 0].map(user)
    );
}

/// What all paths together could carry if fees did not exist (augmenting paths over every edge).
fn flow(edges: &[Plain], from: u8, to: u8) -> u64 {
    let mut room = std::collections::BTreeMap::<(u8, u8), u64>::new();
    for edge in edges.iter().filter(|edge| edge.expires > NOW) {
        *room.entry((edge.from, edge.to)).or_default() += edge.cap;
    }
    let mut sum = 0;
    loop {
        let mut before = std::collections::BTreeMap::from([(from, from)]);
        let mut open = std::collections::VecDeque::from([from]);
        while let Some(node) = open.pop_front() {
            for next in 0..10u8 {
                if room.get(&(node, next)).copied().unwrap_or(0) > 0 && !before.contains_key(&next)
                {
                    before.insert(next, node);
                    open.push_back(next);
                }
            }
        }
        if !before.contains_key(&to) {
            return sum;
        }
        let mut path = vec![to];
        while *path.last().unwrap() != from {
            path.push(before[path.last().unwrap()]);
        }
        let width = path
            .windows(2)
            .map(|pair| room[&(pair[1], pair[0])])
            .min()
            .unwrap();
        for pair in path.windows(2) {
            *room.get_mut(&(pair[1], pair[0])).unwrap() -= width;
            *room.entry((pair[0], pair[1])).or_default() += width;
        }
        sum += width;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(800))]

    #[test]
    fn a_plan_is_payable_as_a_whole(edges in edges(8, 45), minor in 900u64..6_000, parts in 1usize..6, fee in 0u64..400) {
        let graph = graph(&edges);
        let mut request = request(0, 1, minor);
        request.max_parts = parts;
        request.max_fee = total(fee);
        if let Ok(plan) = split(&graph, &request) {
            plan.check(&graph, &request).unwrap();
            prop_assert!(minor <= flow(&edges, 0, 1));
        }
    }

    #[test]
    fn alternatives_are_payable_and_apart(edges in edges(8, 45)) {
        let graph = graph(&edges);
        let request = request(0, 1, 1_000);
        if let Ok(routes) = alternatives(&graph, &request, 4) {
            prop_assert_eq!(routes[0].fee(), find(&graph, &request).unwrap().fee());
            let mut used = BTreeSet::new();
            for route in &routes {
                route.check(&graph, &request).unwrap();
                prop_assert!(route.hops().iter().all(|hop| used.insert((hop.from, hop.to))));
            }
        }
    }

    #[test]
    fn ways_through_somebody_are_payable(edges in edges(7, 32), via in 2u8..7, hops in 2usize..7) {
        let graph = graph(&edges);
        let mut request = request(0, 1, 1_000);
        request.via = Some(user(via));
        request.max_hops = hops;
        let paths = all_paths(&edges, 0, 1, hops);
        let best = paths.iter().filter(|p| p.contains(&via)).filter_map(|path| cost(&edges, path, 1_000)).min();
        match find(&graph, &request) {
            Ok(route) => {
                route.check(&graph, &request).unwrap();
                prop_assert!(u128::from(route.fee()) >= best.unwrap());
            }
            Err(RouteError::FeeTooHigh { .. }) => panic!("no fee was too high"),
            Err(_) => {}
        }
    }
}

#[test]
fn where_a_flow_exists_parts_are_nearly_always_found() {
    let mut numbers = Numbers(5);
    let (mut asked, mut placed) = (0, 0);
    while asked < 1_000 {
        let mut edges: Vec<Plain> = Vec::new();
        for _ in 0..24 {
            let end = |n: u64| u8::try_from(n).unwrap();
            let (from, to) = (end(numbers.below(7)), end(numbers.below(7)));
            if from != to && !edges.iter().any(|edge| (edge.from, edge.to) == (from, to)) {
                edges.push(Plain::free(from, to, 100 + numbers.below(1_000)));
            }
        }
        let minor = flow(&edges, 0, 1) * (50 + numbers.below(51)) / 100;
        if minor == 0 {
            continue;
        }
        asked += 1;
        let (graph, request) = (graph(&edges), request(0, 1, minor));
        match split(&graph, &request) {
            Ok(plan) => {
                plan.check(&graph, &request).unwrap();
                placed += 1;
            }
            Err(why) => assert_eq!(why.code(), "too_narrow_in_parts"),
        }
    }
    assert!(placed >= 970, "only {placed} of {asked}");
}
