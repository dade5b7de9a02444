//! Why there is no route. Looking for a reason is bounded: who asks for the impossible gets less of an answer, not more work done.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

use atomicity_ledger::Total;

use crate::error::RouteError;
use crate::request::{Leg, Prepared, Request};
use crate::search::Searcher;
use crate::unit_graph::Edge;

/// How many nodes the search for the widest path looks at.
const MOST_NODES: usize = 2_000;

impl Searcher {
    /// The reason, after a search found nothing.
    pub(crate) fn why_none(&mut self, prepared: &Prepared, request: &Request) -> RouteError {
        let limited = request.max_fee != Total::MAX;
        if let Some(found) = limited.then(|| self.best_way(prepared, u64::MAX)).flatten() {
            return RouteError::FeeTooHigh {
                cheapest: found.fees,
                allowed: request.max_fee.minor(),
            };
        }
        if prepared.via.is_some() {
            return RouteError::NoPath;
        }
        let half = Leg {
            amount: prepared.amount.div_ceil(2),
            ..Leg::whole(prepared, u64::MAX)
        };
        match widest(prepared) {
            Some(widest) if widest < prepared.amount => RouteError::TooNarrow { widest },
            // Wide enough for the amount, not for the fees on top.
            Some(_) if prepared.amount > 1 && self.leg(prepared, &half).is_some() => {
                RouteError::TooNarrow {
                    widest: prepared.amount - 1,
                }
            }
            _ => RouteError::NoPath,
        }
    }
}

/// The capacity of the widest path within the limit on hops, fees and minimums left aside; `None` if there is no path, or if it
/// takes too long to tell.
fn widest(prepared: &Prepared) -> Option<u64> {
    let mut fewest: HashMap<u32, u8> = HashMap::new();
    let mut queue = BinaryHeap::from([(u64::MAX, Reverse(0u8), prepared.to)]);
    while let Some((width, Reverse(hops), node)) = queue.pop() {
        if node == prepared.from {
            return Some(width);
        }
        if fewest.get(&node).is_some_and(|held| *held <= hops) {
            continue;
        }
        fewest.insert(node, hops);
        if fewest.len() > MOST_NODES {
            return None;
        }
        if hops >= prepared.max_hops {
            continue;
        }
        for (from, edge) in before(prepared, node) {
            let useful = edge.cap > 0 && edge.expires > prepared.now && !prepared.is_blocked(from);
            let known = || fewest.get(&from).is_some_and(|held| *held <= hops + 1);
            if useful && !known() {
                queue.push((width.min(edge.cap), Reverse(hops + 1), from));
            }
        }
    }
    None
}

/// Edges to `node`, with what is left of them.
fn before(prepared: &Prepared, node: u32) -> impl Iterator<Item = (u32, Edge)> {
    let spokes = prepared
        .graph
        .into(node)
        .map_or(&[][..], |fan| fan.spokes());
    let published = spokes.iter().map(|spoke| (spoke.peer, spoke.edge()));
    let published = published.filter(move |(from, _)| !prepared.is_private(*from, node));
    let private = prepared
        .hints_into(node)
        .iter()
        .map(|hint| (hint.1, hint.2));
    let own = prepared
        .hints_out(prepared.from)
        .iter()
        .filter(move |hint| hint.1 == node);
    let all = published
        .chain(private)
        .chain(own.map(|hint| (hint.0, hint.2)));
    all.map(move |(from, edge)| (from, prepared.rest(from, node, edge)))
}
