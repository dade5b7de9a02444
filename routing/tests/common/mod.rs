//! Small graphs, and the answer that trying everything gives.

#![allow(dead_code, clippy::unwrap_used, clippy::expect_used)]

use atomicity_ledger::{Amount, Seq, Timestamp, Total, Unit, UserKey};
use atomicity_routing::{Advert, Graph, Hint, Offer, Request, synthetic};
use proptest::prelude::*;

pub const NOW: u64 = 1_000_000;

pub fn user(n: u8) -> UserKey {
    use std::sync::OnceLock;
    static KEYS: OnceLock<Vec<UserKey>> = OnceLock::new();
    KEYS.get_or_init(|| (0..64).map(synthetic::key).collect())[usize::from(n)]
}

pub fn unit() -> Unit {
    "BREAD/2".parse().unwrap()
}

pub fn amount(n: u64) -> Amount {
    Amount::from_minor(n).unwrap()
}

pub fn total(n: u64) -> Total {
    Total::from_minor(n).unwrap()
}

pub fn at(millis: u64) -> Timestamp {
    Timestamp::from_millis(millis).unwrap()
}

/// A direction, as the oracle knows it.
#[derive(Clone, Copy, Debug)]
pub struct Plain {
    pub from: u8,
    pub to: u8,
    pub cap: u64,
    pub min: u64,
    pub base: u64,
    pub ppm: u32,
    pub expires: u64,
}

impl Plain {
    pub fn free(from: u8, to: u8, cap: u64) -> Self {
        Self {
            from,
            to,
            cap,
            min: 0,
            base: 0,
            ppm: 0,
            expires: u64::MAX >> 11,
        }
    }

    pub fn with_fee(self, base: u64, ppm: u32) -> Self {
        Self { base, ppm, ..self }
    }

    pub fn hint(&self) -> Hint {
        Hint {
            from: user(self.from),
            to: user(self.to),
            capacity: amount(self.cap),
            min: total(self.min),
            base_fee: total(self.base),
            ppm: self.ppm,
        }
    }
}

pub fn advert(
    from: u8,
    to: u8,
    seq: u64,
    send: Option<&Plain>,
    receive: Option<u64>,
    expires: u64,
) -> Advert {
    Advert {
        from: user(from),
        to: user(to),
        unit: unit(),
        seq: Seq::new(seq).unwrap(),
        send: send.map(|edge| Offer {
            capacity: amount(edge.cap),
            min: total(edge.min),
            base_fee: total(edge.base),
            ppm: edge.ppm,
        }),
        receive: receive.map(amount),
        expires: at(expires),
    }
}

/// A graph of these directions: each end publishes one advert per peer with both directions in it.
pub fn graph(edges: &[Plain]) -> Graph {
    let mut graph = Graph::new();
    publish(&mut graph, &unit(), edges);
    graph
}

/// Adds these directions in a unit.
pub fn publish(graph: &mut Graph, unit: &Unit, edges: &[Plain]) {
    let find = |from: u8, to: u8| {
        edges
            .iter()
            .rfind(|edge| edge.from == from && edge.to == to)
    };
    for edge in edges {
        for (me, peer) in [(edge.from, edge.to), (edge.to, edge.from)] {
            let (send, receive) = (find(me, peer), find(peer, me));
            let expires = send
                .into_iter()
                .chain(receive)
                .map(|edge| edge.expires)
                .min()
                .unwrap();
            // One of the ends may be more generous: the smaller figure counts.
            let takes = receive.map(|edge| edge.cap.saturating_mul(2).min(u64::MAX >> 1));
            let advert = Advert {
                unit: unit.clone(),
                ..advert(me, peer, 1, send, takes, expires)
            };
            graph.apply(&advert).unwrap();
        }
    }
}

/// What a path costs in fees, worked out in the plainest way; `None` if it can't be paid.
pub fn cost(edges: &[Plain], path: &[u8], amount: u64) -> Option<u128> {
    let mut needed = u128::from(amount);
    for at in (1..path.len()).rev() {
        let edge = edges
            .iter()
            .rfind(|edge| edge.from == path[at - 1] && edge.to == path[at])?;
        let last = at == path.len() - 1;
        let sent = if last {
            needed
        } else {
            needed.max(u128::from(edge.min))
        };
        if sent < u128::from(edge.min) || sent > u128::from(edge.cap) || edge.expires <= NOW {
            return None;
        }
        let product = sent * u128::from(edge.ppm);
        let fee = u128::from(edge.base) + product.div_ceil(1_000_000);
        needed = if at == 1 { sent } else { sent + fee };
        if needed > i64::MAX as u128 {
            return None;
        }
    }
    Some(needed - u128::from(amount))
}

/// Every path without a repeated node, or every circle of at least three edges if both ends are one.
pub fn all_paths(edges: &[Plain], from: u8, to: u8, max_hops: usize) -> Vec<Vec<u8>> {
    let mut done = Vec::new();
    let mut open = vec![vec![from]];
    while let Some(path) = open.pop() {
        let here = *path.last().unwrap();
        if path.len() > max_hops {
            continue;
        }
        let mut next: Vec<u8> = edges
            .iter()
            .filter(|edge| edge.from == here)
            .map(|edge| edge.to)
            .collect();
        next.sort_unstable();
        next.dedup();
        for node in next {
            let longer: Vec<u8> = path.iter().copied().chain([node]).collect();
            if node == to && (from != to || longer.len() > 3) {
                done.push(longer);
            } else if node != to && !path.contains(&node) {
                open.push(longer);
            }
        }
    }
    done
}

/// The fees of the cheapest path.
pub fn cheapest(edges: &[Plain], from: u8, to: u8, amount: u64, max_hops: usize) -> Option<u128> {
    all_paths(edges, from, to, max_hops)
        .iter()
        .filter_map(|path| cost(edges, path, amount))
        .min()
}

pub fn request(from: u8, to: u8, minor: u64) -> Request {
    Request::new(user(from), user(to), unit(), amount(minor), at(NOW))
}

/// Small graphs whose figures are close to each other, so that ties, minimums and narrow edges matter.
pub fn edges(nodes: u8, most: usize) -> impl Strategy<Value = Vec<Plain>> {
    let fee = prop_oneof![Just(0u64), 1u64..4, 0u64..60];
    let ppm = prop_oneof![Just(0u32), 0u32..30_000, Just(1_000_000u32)];
    let cap = prop_oneof![
        Just(1_000u64),
        990u64..1_100,
        500u64..3_000,
        Just(100_000u64)
    ];
    let min = prop_oneof![4 => Just(0u64), 1 => 900u64..1_100];
    let expires = prop_oneof![9 => Just(NOW + 1), 1 => Just(NOW)];
    let edge = (0..nodes, 0..nodes, cap, min, fee, ppm, expires);
    prop::collection::vec(edge, 1..most).prop_map(|list| {
        let mut edges: Vec<Plain> = Vec::new();
        for (from, to, cap, min, base, ppm, expires) in list {
            if from != to && !edges.iter().any(|edge| (edge.from, edge.to) == (from, to)) {
                edges.push(Plain {
                    from,
                    to,
                    cap,
                    min,
                    base,
                    ppm,
                    expires,
                });
            }
        }
        // One advert holds both directions, so they expire together.
        let lapsed: Vec<(u8, u8)> = edges
            .iter()
            .filter(|edge| edge.expires <= NOW)
            .map(|edge| (edge.from, edge.to))
            .collect();
        for edge in &mut edges {
            if lapsed.contains(&(edge.to, edge.from)) {
                edge.expires = NOW;
            }
        }
        edges
    })
}
