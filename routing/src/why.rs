//! Why there is no route. Looking for a reason is bounded: who asks for the impossible gets less of an answer, not more work done.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

use atomicity_ledger::Total;

use crate::error::RouteError;
use crate::fan::Fan;
use crate::request::{Leg, Prepared, Request};
use crate::search::{Effort, Searcher};

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
        match widest(prepared, &mut self.effort) {
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
fn widest(prepared: &Prepared, effort: &mut Effort) -> Option<u64> {
    let now_seconds = u32::try_from(prepared.now / 1000).unwrap_or(u32::MAX);
    let room = |from: u32, to: u32| {
        let edge = prepared.edge(from, to);
        edge.map_or(0, |edge| {
            if edge.expires > prepared.now {
                edge.cap
            } else {
                0
            }
        })
    };
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
        if fewest.len() > MOST_NODES || effort.is_spent() {
            return None;
        }
        if hops >= prepared.max_hops {
            continue;
        }
        let mut reach = |from: u32, room: &dyn Fn() -> u64| {
            let known = fewest.get(&from).is_some_and(|held| *held <= hops + 1);
            if !known && !prepared.is_blocked(from) {
                let width = width.min(room());
                if width > 0 {
                    queue.push((width, Reverse(hops + 1), from));
                }
            }
        };
        let published = prepared.graph.into(node).map_or(&[][..], Fan::spokes);
        for spoke in published {
            effort.count(1);
            if effort.is_spent() {
                return None;
            }
            if !prepared.is_private(spoke.peer, node) {
                let clear = spoke
                    .room(now_seconds)
                    .filter(|_| prepared.taken.is_empty());
                reach(spoke.peer, &|| {
                    clear.unwrap_or_else(|| room(spoke.peer, node))
                });
            }
        }
        for (_, from, _) in prepared.hints_into(node) {
            reach(*from, &|| room(*from, node));
        }
        for (from, _, _) in prepared
            .hints_out(prepared.from)
            .iter()
            .filter(|hint| hint.1 == node)
        {
            reach(*from, &|| room(*from, node));
        }
    }
    None
}
