//! The payer's side of a search.

use super::{Cut, Ends, Searcher, settle};
use crate::edges::OutEdge;
use crate::labels::{Arc, Item, Label, MAX_LABELS, NONE};

impl Searcher {
    pub(super) fn step_forward(&mut self, ends: &Ends, other: u128) {
        let Some((_, item)) = self.front.pop() else {
            return;
        };
        match item {
            Item::Label(at) => self.settle_forward(ends, at, other),
            Item::Block(at, level, index) => {
                let Some(label) = self.forward.get(at).copied() else {
                    return;
                };
                let Some(fan) = ends.prepared.graph.out(label.node) else {
                    return;
                };
                if level > 0 {
                    let (first, floors) = fan.floors(level - 1, Some(index as usize));
                    self.effort.count(floors.len());
                    let amount = ends.leg.amount;
                    self.rule.queue_blocks(
                        &mut self.front,
                        (at, &label),
                        (level - 1, first, floors),
                        (amount, self.width),
                        (self.bound, self.limit),
                    );
                } else {
                    self.relax_forward(ends, at, fan.block(index as usize), other);
                }
            }
        }
    }

    pub(super) fn settle_forward(&mut self, ends: &Ends, at: u32, other: u128) {
        let Some(label) = settle(&mut self.forward, self.rule, at, |node| {
            self.places.get(node).map(|p| p.forward)
        }) else {
            return;
        };
        if let Some(fan) = ends.published_out(label.node) {
            let levels = fan.levels();
            if levels == 0 {
                self.relax_forward(ends, at, fan.spokes(), other);
            } else {
                let (first, floors) = fan.floors(levels - 1, None);
                self.effort.count(floors.len());
                let amount = ends.leg.amount;
                self.rule.queue_blocks(
                    &mut self.front,
                    (at, &label),
                    (levels - 1, first, floors),
                    (amount, self.width),
                    (self.bound, self.limit),
                );
            }
        }
        self.hints_forward(ends, at, other);
    }

    pub(super) fn hints_forward(&mut self, ends: &Ends, at: u32, other: u128) {
        let Some(from) = self.forward.get(at).copied() else {
            return;
        };
        for (node, to, edge) in ends.prepared.hints_out(from.node) {
            let rest = ends.prepared.rest(*node, *to, *edge);
            if rest.cap >= ends.leg.amount {
                let base = u32::try_from(rest.base).unwrap_or(u32::MAX);
                let over = ends.first_free(&from, (base, rest.ppm));
                let cost = from.cost.saturating_add(over.fee_at_least(ends.leg.amount));
                if self.is_useful_forward(ends, *to, cost, self.cut(from.hops + 1, other)) {
                    self.reach_forward(ends, at, *to, over, cost);
                }
            }
        }
    }

    /// Ways from the payer over published edges that begin at the node of a label.
    pub(super) fn relax_forward(&mut self, ends: &Ends, at: u32, edges: &[OutEdge], other: u128) {
        let Some(from) = self.forward.get(at).copied() else {
            return;
        };
        self.seen.0 += edges.len();
        self.effort.count(edges.len());
        let mut cut = self.cut(from.hops + 1, other);
        for edge in edges {
            let over = ends.first_free(&from, (edge.base_low, edge.ppm));
            let cost = from.cost.saturating_add(over.fee_at_least(ends.leg.amount));
            if cost >= cut.known || !edge.may_take(self.width, self.age) {
                continue;
            }
            if !ends.plain
                && (ends.prepared.is_private(from.node, edge.peer)
                    || !ends.has_room(from.node, edge.peer))
            {
                continue;
            }
            if self.is_useful_forward(ends, edge.peer, cost, cut)
                && self.reach_forward(ends, at, edge.peer, over, cost)
            {
                cut = self.cut(from.hops + 1, other);
            }
        }
    }

    /// Whether a way from the payer to a node that costs so much can belong to a better path.
    #[inline]
    fn is_useful_forward(&self, ends: &Ends, node: u32, cost: u64, cut: Cut) -> bool {
        if cost >= cut.known || node == ends.leg.from {
            return false;
        }
        // Where the payee's side has not been, it will come with at least what comes up on it next.
        let met = || {
            let place = self.places.get(node);
            place.is_some_and(|place| place.backward != NONE)
        };
        (cost < cut.fresh || met()) && (ends.plain || !ends.prepared.is_blocked(node))
    }

    /// A way from the payer to `node` over an edge that takes these fees, at least. Returns whether a better path was found.
    fn reach_forward(&mut self, ends: &Ends, at: u32, node: u32, over: Arc, cost: u64) -> bool {
        let Some(hops) = self.forward.get(at).map(|from| from.hops + 1) else {
            return false;
        };
        let arc = u32::try_from(self.arcs.len()).unwrap_or(NONE);
        let place = self.places.entry(node);
        self.arcs.push(Arc {
            next: place.arcs,
            ..over
        });
        place.arcs = arc;
        let (head, backward) = (place.forward, place.backward);
        if self.forward.has_better(head, self.rule, cost, hops) {
            return false;
        }
        if self.forward.len() >= MAX_LABELS {
            self.overfull = true;
            return false;
        }
        let new = self.forward.push(Label {
            cost,
            node,
            parent: at,
            arc,
            next: head,
            hops,
            settled: false,
            met: false,
        });
        place.forward = new;
        if hops >= self.most_hops {
            self.dropped = true;
        } else if node != ends.leg.to {
            let weight = self.rule.weight(cost, hops);
            self.front.push(weight, hops, Item::Label(new));
        }
        let limit = self.limit;
        let mut other_side = backward;
        while let Some(label) = self.backward.get(other_side).copied() {
            self.meet(ends, new, other_side);
            other_side = label.next;
        }
        self.limit < limit
    }
}
