//! The cheapest route is the one that trying everything finds.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use atomicity_routing::synthetic::Fees;
use atomicity_routing::{FirstHop, Graph, RouteError, Searcher, circles, find, synthetic};
use common::*;
use proptest::prelude::*;

fn agrees(edges: &[Plain], from: u8, to: u8, minor: u64, max_hops: usize) {
    let graph = graph(edges);
    let mut request = request(from, to, minor);
    request.max_hops = max_hops;
    let best = cheapest(edges, from, to, minor, max_hops);
    match (find(&graph, &request), best) {
        (Ok(route), Some(best)) => {
            route.check(&graph, &request).unwrap();
            assert_eq!(u128::from(route.fee()), best, "{route:?}");
            assert_eq!(route.amount().minor(), minor);
        }
        (Err(why), None) => {
            let reasons = [
                "no_path",
                "too_narrow",
                "unknown_payer",
                "unknown_payee",
                "unknown_unit",
            ];
            assert!(reasons.contains(&why.code()), "{why}");
        }
        (found, best) => panic!("{found:?}, but the best is {best:?}"),
    }
    // One unit of fee less than the cheapest, and there is none.
    if let Some(fewer) = best.and_then(|best| u64::try_from(best).ok()?.checked_sub(1)) {
        request.max_fee = total(fewer);
        let why = find(&graph, &request).unwrap_err();
        assert_eq!(
            why,
            RouteError::FeeTooHigh {
                cheapest: fewer + 1,
                allowed: fewer
            }
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn on_small_graphs_it_is_the_cheapest(edges in edges(8, 40), hops in 1usize..8) {
        agrees(&edges, 0, 1, 1_000, hops);
    }

    #[test]
    fn with_hints_and_own_channels_too(edges in edges(7, 30), private in 0usize..6) {
        // Some edges are not published: the payer's own in `first_hops`, the others as hints.
        let (hidden, public): (Vec<Plain>, Vec<Plain>) = {
            let mut at = 0;
            edges.iter().map(|edge| Plain { expires: NOW + 1, ..*edge }).partition(|_| { at += 1; at <= private })
        };
        let graph = graph(&public);
        let mut request = request(0, 1, 1_000);
        let own = |edge: &&Plain| edge.from == 0;
        let first = |edge: &Plain| FirstHop { to: user(edge.to), capacity: amount(edge.cap), min: total(edge.min) };
        request.first_hops = Some(hidden.iter().filter(own).map(first).collect());
        request.hints = hidden.iter().filter(|edge| edge.from != 0).map(Plain::hint).collect();
        let known: Vec<Plain> = public.iter().filter(|edge| edge.from != 0).chain(&hidden).copied().collect();
        match (find(&graph, &request), cheapest(&known, 0, 1, 1_000, 8)) {
            (Ok(route), Some(best)) => {
                route.check(&graph, &request).unwrap();
                prop_assert_eq!(u128::from(route.fee()), best);
            }
            (Err(_), None) => {}
            (found, best) => panic!("{found:?}, but the best is {best:?}"),
        }
    }

    #[test]
    fn what_is_to_be_avoided_never_appears(edges in edges(8, 45), node in 2u8..8, from in 0u8..8, to in 0u8..8) {
        let graph = graph(&edges);
        let mut request = request(0, 1, 1_000);
        request.avoid_nodes = vec![user(node), user(0), user(1)];
        if from != to {
            request.avoid_edges = vec![(user(from), user(to))];
        }
        let left: Vec<Plain> = edges.iter().copied()
            .filter(|e| e.from != node && e.to != node && (e.from, e.to) != (from, to)).collect();
        match (find(&graph, &request), cheapest(&left, 0, 1, 1_000, 8)) {
            (Ok(route), Some(best)) => {
                route.check(&graph, &request).unwrap();
                prop_assert!(route.users().all(|user| user != common::user(node)));
                prop_assert_eq!(u128::from(route.fee()), best);
            }
            (Err(_), None) => {}
            (found, best) => panic!("{found:?}, but the best is {best:?}"),
        }
    }

    #[test]
    fn circles_are_the_cheapest(edges in edges(7, 32), hops in 3usize..7) {
        let graph = graph(&edges);
        let mut request = request(0, 0, 1_000);
        request.max_hops = hops;
        match (circles(&graph, &request, 4), cheapest(&edges, 0, 0, 1_000, hops)) {
            (Ok(found), Some(best)) => {
                prop_assert_eq!(u128::from(found[0].fee()), best);
                prop_assert!(found.windows(2).all(|pair| pair[0].fee() <= pair[1].fee()));
                for circle in &found {
                    circle.check(&graph, &request).unwrap();
                    prop_assert!(circle.hops().len() >= 3);
                }
            }
            (Err(why), None) => {
                prop_assert!(["no_path", "unknown_payer", "unknown_payee", "unknown_unit"].contains(&why.code()), "{}", why);
            }
            (found, best) => panic!("{found:?}, but the best is {best:?}"),
        }
    }

    #[test]
    fn near_the_largest_amount_nothing_wraps(edges in edges(6, 24), below in 0u64..3_000) {
        let top = u64::MAX >> 1;
        let large: Vec<Plain> = edges.iter().map(|e| Plain { cap: top - (100_000 - e.cap), min: 0, ..*e }).collect();
        agrees(&large, 0, 1, top - below, 8);
    }
}

/// Label-setting over the whole graph with exact amounts, for graphs in which paths can't be counted.
fn plain_dijkstra(edges: &[Plain], from: u32, to: u32, minor: u64, max_hops: usize) -> Option<u64> {
    let nodes = edges
        .iter()
        .map(|e| u32::from(e.from).max(u32::from(e.to)))
        .max()?
        + 1;
    let mut best = vec![vec![u64::MAX; nodes as usize]; max_hops + 1];
    best[0][to as usize] = minor;
    for hops in 0..max_hops {
        for edge in edges {
            let (a, b) = (u32::from(edge.from), u32::from(edge.to));
            let needed = best[hops][b as usize];
            if needed == u64::MAX || (b == to && hops > 0) || b == from || needed > edge.cap {
                continue;
            }
            let fee = edge.base + (needed * u64::from(edge.ppm)).div_ceil(1_000_000);
            let before = if a == from { needed } else { needed + fee };
            let place = &mut best[hops + 1][a as usize];
            *place = before.min(*place);
        }
    }
    let least = best.iter().map(|row| row[from as usize]).min()?;
    (least != u64::MAX).then(|| least - minor)
}

/// A scale-free network as plain edges; nodes above 63 have no name here, so it is kept small.
fn network(nodes: u32, fees: Fees, seed: u64) -> Vec<Plain> {
    let plain = |from: u32, to: u32, (cap, base, ppm): (u64, u64, u32)| Plain {
        from: u8::try_from(from).unwrap(),
        to: u8::try_from(to).unwrap(),
        cap,
        min: 0,
        base,
        ppm,
        expires: NOW + 1,
    };
    let channels = synthetic::scale_free(nodes, 5, fees, seed);
    channels
        .iter()
        .flat_map(|c| [plain(c.a, c.b, c.there), plain(c.b, c.a, c.back)])
        .collect()
}

#[test]
fn on_scale_free_networks_it_is_the_cheapest_at_every_length() {
    let mut searcher = Searcher::new();
    let mut found = 0;
    for seed in 0..30 {
        let fees = [Fees::Varied, Fees::Equal, Fees::None][usize::try_from(seed).unwrap() % 3];
        let edges = network(60, fees, seed);
        let graph = graph(&edges);
        for (from, to) in [(3u8, 55u8), (59, 0), (40, 41), (17, 58)] {
            for minor in [1, 1_000, 100_000, 20_000_000] {
                for max_hops in [2, 3, 5, 8, 20] {
                    let mut request = request(from, to, minor);
                    request.max_hops = max_hops;
                    let best =
                        plain_dijkstra(&edges, u32::from(from), u32::from(to), minor, max_hops);
                    let route = searcher.find(&graph, &request);
                    assert_eq!(
                        route.as_ref().ok().map(|route| route.fee()),
                        best,
                        "{seed} {from} {to} {minor} {max_hops}"
                    );
                    if let Ok(route) = route {
                        route.check(&graph, &request).unwrap();
                        found += 1;
                    }
                }
            }
        }
    }
    assert!(
        found > 1_000,
        "only {found} answers: the test means nothing"
    );
}

#[test]
fn a_searcher_answers_as_a_fresh_one_and_on_any_thread() {
    let edges = network(60, Fees::Varied, 7);
    let graph = graph(&edges);
    let pairs: Vec<(u8, u8)> = (0..60)
        .flat_map(|a| [(a, (a + 7) % 60), (a, (a + 29) % 60)])
        .collect();
    let ask = |searcher: &mut Searcher, graph: &Graph, reverse: bool| {
        let mut order: Vec<usize> = (0..pairs.len()).collect();
        if reverse {
            order.reverse();
        }
        let mut answers = vec![None; pairs.len()];
        for at in order {
            let (from, to) = pairs[at];
            answers[at] = Some(searcher.find(graph, &request(from, to, 5_000)));
        }
        answers
    };
    let fresh: Vec<_> = pairs
        .iter()
        .map(|(from, to)| Some(find(&graph, &request(*from, *to, 5_000))))
        .collect();
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|n| {
                scope.spawn({
                    let (ask, graph) = (&ask, &graph);
                    move || ask(&mut Searcher::new(), graph, n % 2 == 1)
                })
            })
            .collect();
        for thread in threads {
            assert_eq!(thread.join().unwrap(), fresh);
        }
    });
}
