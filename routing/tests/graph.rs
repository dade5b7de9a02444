//! What is published, withdrawn, forgotten and expired.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::collections::BTreeMap;

use atomicity_ledger::{Seq, Unit};
use atomicity_routing::{Advert, Applied, Graph, RouteError, find};
use common::*;
use proptest::prelude::*;

fn line() -> Graph {
    graph(&[
        Plain::free(0, 2, 100),
        Plain::free(2, 3, 100).with_fee(1, 0),
        Plain::free(3, 1, 100).with_fee(2, 0),
    ])
}

#[test]
fn an_edge_counts_only_while_both_ends_publish_it() {
    let offer = Plain::free(0, 1, 100);
    let mut graph = Graph::new();
    graph
        .apply(&advert(0, 1, 1, Some(&offer), None, NOW + 1))
        .unwrap();
    assert_eq!(
        find(&graph, &request(0, 1, 5)).unwrap_err(),
        RouteError::NoPath
    );
    graph
        .apply(&advert(1, 0, 1, None, Some(60), NOW + 1))
        .unwrap();
    assert_eq!(
        find(&graph, &request(0, 1, 60)).unwrap().total(),
        amount(60)
    );
    assert_eq!(
        find(&graph, &request(0, 1, 61)).unwrap_err(),
        RouteError::TooNarrow { widest: 60 }
    );
    // The other direction was never offered.
    assert_eq!(
        find(&graph, &request(1, 0, 5)).unwrap_err(),
        RouteError::NoPath
    );
    // Withdrawn by one end, and an older advert does not bring it back.
    assert_eq!(
        graph.apply(&advert(1, 0, 3, None, None, NOW + 1)).unwrap(),
        Applied::Taken
    );
    assert_eq!(
        graph
            .apply(&advert(1, 0, 2, None, Some(60), NOW + 1))
            .unwrap(),
        Applied::Stale
    );
    assert_eq!(
        find(&graph, &request(0, 1, 5)).unwrap_err(),
        RouteError::NoPath
    );
    assert_eq!(graph.size(&unit()).edges, 0);
}

#[test]
fn what_has_expired_is_ignored_and_purged() {
    let mut graph = graph(&[
        Plain {
            expires: NOW,
            ..Plain::free(0, 1, 100)
        },
        Plain::free(0, 2, 100),
        Plain::free(2, 1, 100),
    ]);
    let route = find(&graph, &request(0, 1, 5)).unwrap();
    assert_eq!(route.hops().len(), 2);
    let mut earlier = request(0, 1, 5);
    earlier.now = at(NOW - 1);
    assert_eq!(find(&graph, &earlier).unwrap().hops().len(), 1);
    assert_eq!(route.check(&graph, &earlier), Ok(()));
    let mut direct = find(&graph, &earlier).unwrap();
    assert_eq!(
        direct.check(&graph, &request(0, 1, 5)),
        Err(RouteError::EdgeUnusable { hop: 0 })
    );
    assert_eq!(graph.purge(at(NOW - 1)), 0);
    assert_eq!(graph.purge(at(NOW)), 2);
    assert_eq!(graph.size(&unit()).adverts, 4);
    direct = find(&graph, &earlier).unwrap();
    assert_eq!(direct.hops().len(), 2);
    assert_eq!(graph.purge(at(u64::MAX >> 11)), 4);
    assert_eq!(
        find(&graph, &request(0, 1, 5)).unwrap_err(),
        RouteError::UnknownUnit
    );
}

#[test]
fn a_removed_edge_in_an_unknown_unit_changes_nothing() {
    let mut graph = line();
    let before: Vec<Advert> = graph.adverts().collect();
    let other: Unit = "COFFEE".parse().unwrap();
    assert!(!graph.remove(&user(0), &user(2), &other));
    assert!(!graph.remove(&user(0), &user(9), &unit()));
    assert!(!graph.remove(&user(9), &user(0), &unit()));
    assert!(!graph.remove(&user(0), &user(3), &unit()));
    let withdrawal = Advert {
        unit: other.clone(),
        ..advert(0, 2, 9, None, None, NOW + 1)
    };
    assert_eq!(graph.apply(&withdrawal).unwrap(), Applied::Nothing);
    assert_eq!(graph.units().collect::<Vec<_>>(), [&unit()]);
    assert_eq!(graph.adverts().collect::<Vec<_>>(), before);
    // A withdrawal about a stranger is remembered and touches nobody else.
    graph.apply(&advert(9, 0, 9, None, None, NOW + 1)).unwrap();
    assert_eq!(find(&graph, &request(0, 1, 5)).unwrap().fee(), 3);
}

#[test]
fn one_users_time_out_does_not_empty_the_graph() {
    let mut edges = vec![
        Plain::free(0, 2, 100),
        Plain::free(2, 3, 100).with_fee(1, 0),
        Plain::free(3, 1, 100).with_fee(2, 0),
    ];
    edges.extend([
        Plain::free(2, 4, 100).with_fee(5, 0),
        Plain::free(4, 1, 100).with_fee(5, 0),
    ]);
    let mut graph = graph(&edges);
    assert_eq!(graph.remove_user(&user(3)), 2);
    assert_eq!(graph.remove_user(&user(3)), 0);
    assert_eq!(graph.remove_user(&user(33)), 0);
    assert_eq!(graph.size(&unit()).adverts, 8);
    assert_eq!(find(&graph, &request(0, 1, 5)).unwrap().fee(), 10);
    // It comes back with what it publishes; its peers never withdrew.
    graph
        .apply(&advert(3, 1, 1, Some(&edges[2]), None, NOW + 1))
        .unwrap();
    graph
        .apply(&advert(3, 2, 1, None, Some(100), NOW + 1))
        .unwrap();
    assert_eq!(find(&graph, &request(0, 1, 5)).unwrap().fee(), 3);
}

#[test]
fn units_do_not_touch_each_other() {
    let mut graph = line();
    let other: Unit = "COFFEE".parse().unwrap();
    let mut elsewhere = request(0, 1, 5);
    elsewhere.unit = other.clone();
    assert_eq!(
        find(&graph, &elsewhere).unwrap_err(),
        RouteError::UnknownUnit
    );
    let offer = Plain::free(0, 1, 50);
    graph
        .apply(&Advert {
            unit: other.clone(),
            ..advert(0, 1, 1, Some(&offer), None, NOW + 1)
        })
        .unwrap();
    graph
        .apply(&Advert {
            unit: other,
            ..advert(1, 0, 1, None, Some(50), NOW + 1)
        })
        .unwrap();
    assert_eq!(find(&graph, &elsewhere).unwrap().hops().len(), 1);
    assert_eq!(find(&graph, &request(0, 1, 5)).unwrap().hops().len(), 3);
}

#[test]
fn requests_that_make_no_sense_are_refused() {
    let graph = line();
    let loops = advert(1, 1, 1, None, Some(1), NOW + 1);
    assert_eq!(
        Graph::new().apply(&loops).unwrap_err(),
        RouteError::EdgeToOneself
    );
    assert_eq!(
        find(&graph, &request(0, 0, 5)).unwrap_err(),
        RouteError::ToOneself
    );
    assert_eq!(
        find(&graph, &request(20, 1, 5)).unwrap_err(),
        RouteError::UnknownPayer
    );
    assert_eq!(
        find(&graph, &request(0, 20, 5)).unwrap_err(),
        RouteError::UnknownPayee
    );
    for hops in [0, 33, 300] {
        let mut request = request(0, 1, 5);
        request.max_hops = hops;
        assert_eq!(find(&graph, &request).unwrap_err().code(), "limit_invalid");
    }
}

#[test]
fn a_minimum_on_the_way_is_met_by_paying_the_hop_more() {
    let narrow = Plain {
        min: 50,
        ..Plain::free(2, 3, 100).with_fee(1, 0)
    };
    let graph = graph(&[
        Plain::free(0, 2, 100),
        narrow,
        Plain::free(3, 1, 100).with_fee(2, 0),
    ]);
    let route = find(&graph, &request(0, 1, 5)).unwrap();
    assert_eq!(
        route
            .hops()
            .iter()
            .map(|hop| hop.amount.minor())
            .collect::<Vec<_>>(),
        [51, 50, 5]
    );
    assert_eq!(
        route
            .hops()
            .iter()
            .map(|hop| hop.fee.minor())
            .collect::<Vec<_>>(),
        [0, 1, 45]
    );
    route.check(&graph, &request(0, 1, 5)).unwrap();
    // The payee is never paid more than the amount.
    let last = Plain {
        min: 50,
        ..Plain::free(0, 1, 100)
    };
    assert_eq!(
        find(&common::graph(&[last]), &request(0, 1, 5)).unwrap_err(),
        RouteError::NoPath
    );
}

#[derive(Clone, Debug)]
enum Step {
    Apply(u8, u8, u64, Option<Plain>, Option<u64>, u64),
    Remove(u8, u8),
    RemoveUser(u8),
    Purge(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let plain =
        (1u64..5_000, 0u64..100, 0u64..5_000, 0u32..5_000).prop_map(|(cap, min, base, ppm)| {
            Plain {
                min,
                ..Plain::free(0, 0, cap).with_fee(base, ppm)
            }
        });
    let apply = (
        0u8..40,
        0u8..40,
        0u64..6,
        prop::option::weighted(0.8, plain),
        prop::option::weighted(0.8, 1u64..5_000),
        0u64..20,
    )
        .prop_map(|(a, b, seq, send, receive, ttl)| {
            Step::Apply(a, b, seq, send, receive, NOW + ttl)
        });
    let hub = (0u8..40, 0u64..6, 1u64..5_000, 0u64..5_000).prop_map(|(b, seq, cap, base)| {
        Step::Apply(
            0,
            b,
            seq,
            Some(Plain::free(0, 0, cap).with_fee(base, 7)),
            Some(cap),
            NOW + 50,
        )
    });
    let step = prop_oneof![
        20 => apply,
        20 => hub,
        2 => (0u8..40, 0u8..40).prop_map(|(a, b)| Step::Remove(a, b)),
        1 => (0u8..40).prop_map(Step::RemoveUser),
        1 => (0u64..20).prop_map(|ttl| Step::Purge(NOW + ttl)),
    ];
    prop::collection::vec(step, 1..400)
}

proptest! {
    #[test]
    fn a_graph_after_updates_is_the_graph_of_what_is_published(steps in steps()) {
        let mut graph = Graph::new();
        let mut model: BTreeMap<(u8, u8), Advert> = BTreeMap::new();
        for step in steps {
            match step {
                Step::Apply(a, b, ..) if a == b => {}
                Step::Apply(a, b, seq, send, receive, expires) => {
                    let advert = advert(a, b, seq, send.as_ref(), receive, expires);
                    let applied = graph.apply(&advert).unwrap();
                    let newer = model.get(&(a, b)).is_none_or(|held| held.seq < Seq::new(seq).unwrap());
                    if applied == Applied::Nothing {
                        prop_assert!(graph.units().next().is_none());
                    } else {
                        prop_assert_eq!(applied == Applied::Taken, newer);
                    }
                    if applied == Applied::Taken {
                        model.insert((a, b), advert);
                    }
                }
                Step::Remove(a, b) => prop_assert_eq!(graph.remove(&user(a), &user(b), &unit()), model.remove(&(a, b)).is_some()),
                Step::RemoveUser(a) => {
                    let count = model.keys().filter(|key| key.0 == a).count();
                    model.retain(|key, _| key.0 != a);
                    prop_assert_eq!(graph.remove_user(&user(a)), count);
                }
                Step::Purge(now) => {
                    let count = model.values().filter(|advert| advert.expires <= at(now)).count();
                    model.retain(|_, advert| advert.expires > at(now));
                    prop_assert_eq!(graph.purge(at(now)), count);
                }
            }
        }
        let mut rebuilt = Graph::new();
        for advert in model.values() {
            // A withdrawal alone opens no unit.
            rebuilt.apply(advert).unwrap();
        }
        let key = |advert: &Advert| (advert.from, advert.to);
        let mut held: Vec<Advert> = graph.adverts().collect();
        held.sort_by_key(key);
        let mut wanted: Vec<Advert> = model.values().cloned().collect();
        wanted.sort_by_key(key);
        prop_assert_eq!(held, wanted);
        let live = |a: u8, b: u8| {
            let offer = model.get(&(a, b)).and_then(|advert| advert.send);
            offer.is_some() && model.get(&(b, a)).is_some_and(|advert| advert.receive.is_some())
        };
        let count = (0..40u8).flat_map(|a| (0..40u8).map(move |b| (a, b))).filter(|(a, b)| a != b && live(*a, *b)).count();
        prop_assert_eq!(graph.size(&unit()).edges, count);
        let compact = graph.compacted();
        prop_assert_eq!(compact.size(&unit()).edges, count);
        for (from, to) in [(0, 1), (1, 0), (5, 30), (2, 0), (39, 38)] {
            for minor in [1, 700] {
                let request = request(from, to, minor);
                let cost = |graph: &Graph| find(graph, &request).map(|route| { route.check(graph, &request).unwrap(); route.fee() }).ok();
                prop_assert_eq!(cost(&graph), cost(&rebuilt));
                prop_assert_eq!(cost(&graph), cost(&compact));
            }
        }
    }
}

#[test]
fn peers_are_those_about_whom_a_user_publishes_something() {
    let graph = line();
    let peers = |n: u8| -> Vec<_> {
        let mut peers: Vec<_> = graph.peers(&user(n), &unit()).collect();
        peers.sort();
        peers
    };
    let sorted = |users: &[u8]| {
        let mut users: Vec<_> = users.iter().map(|n| user(*n)).collect();
        users.sort();
        users
    };
    assert_eq!(peers(2), sorted(&[0, 3]));
    assert_eq!(peers(1), sorted(&[3]));
    assert_eq!(peers(9), sorted(&[]));
    let other: Unit = "OTHER".parse().unwrap();
    assert_eq!(graph.peers(&user(2), &other).count(), 0);
}
