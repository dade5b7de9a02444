//! The payer's side of a search.

use super::{Ends, Searcher, settle};
use crate::fee::fee_at_least;
use crate::labels::{Arc, Item, Label, MAX_LABELS, NONE};
use crate::unit_graph::OutEdge;

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
                    let amount = ends.leg.amount;
                    self.rule.queue_blocks(
                        &mut self.front,
                        (at, &label),
                        (level - 1, first, floors),
                        (amount, self.amount_low),
                        (self.bound, self.limit),
                    );
                } else {
                    for edge in fan.block(index as usize) {
                        self.relax_forward(ends, at, edge, other);
                    }
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
                for edge in fan.spokes() {
                    self.relax_forward(ends, at, edge, other);
                }
            } else {
                let (first, floors) = fan.floors(levels - 1, None);
                let amount = ends.leg.amount;
                self.rule.queue_blocks(
                    &mut self.front,
                    (at, &label),
                    (levels - 1, first, floors),
                    (amount, self.amount_low),
                    (self.bound, self.limit),
                );
            }
        }
        self.hints_forward(ends, at, other);
    }

    pub(super) fn hints_forward(&mut self, ends: &Ends, at: u32, other: u128) {
        let Some(node) = self.forward.get(at).map(|label| label.node) else {
            return;
        };
        for (from, to, edge) in ends.prepared.hints_out(node) {
            let rest = ends.prepared.rest(*from, *to, *edge);
            if rest.cap >= ends.leg.amount {
                let base = u32::try_from(rest.base).unwrap_or(u32::MAX);
                self.reach_forward(ends, at, *to, (base, rest.ppm), other);
            }
        }
    }

    pub(super) fn relax_forward(&mut self, ends: &Ends, at: u32, edge: &OutEdge, other: u128) {
        if edge.cap_high < self.amount_low || edge.expires_high < self.now_seconds {
            return;
        }
        let Some(from) = self.forward.get(at).map(|label| label.node) else {
            return;
        };
        if ends.prepared.is_private(from, edge.peer) || !ends.has_room(from, edge.peer) {
            return;
        }
        self.reach_forward(ends, at, edge.peer, (edge.base_low, edge.ppm), other);
    }

    /// A way from the payer to `node` over an edge that takes these fees, at least.
    pub(super) fn reach_forward(
        &mut self,
        ends: &Ends,
        at: u32,
        node: u32,
        fees: (u32, u32),
        other: u128,
    ) {
        let Some(from) = self.forward.get(at).copied() else {
            return;
        };
        let free = from.parent == NONE && !ends.leg.first_fee;
        let (base, ppm) = if free { (0, 0) } else { fees };
        let fee = fee_at_least(u64::from(base), ppm, ends.leg.amount);
        let cost = from.cost.saturating_add(fee);
        let hops = from.hops + 1;
        let weight = self.rule.weight(cost, hops);
        if cost >= self.bound || weight >= self.limit {
            return;
        }
        if node == ends.leg.from || ends.prepared.is_blocked(node) {
            return;
        }
        // Where the payee's side has not been, it will come with at least what comes up on it next.
        let known = self.places.get(node);
        if known.is_none_or(|place| place.backward == NONE)
            && weight.saturating_add(other) >= self.limit
        {
            return;
        }
        let arc = u32::try_from(self.arcs.len()).unwrap_or(NONE);
        let place = self.places.entry(node);
        self.arcs.push(Arc {
            from: from.node,
            next: place.arcs,
            base,
            ppm,
        });
        place.arcs = arc;
        let (head, backward) = (place.forward, place.backward);
        if self.forward.len() >= MAX_LABELS || self.forward.has_better(head, self.rule, cost, hops)
        {
            return;
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
            self.front.push(weight, hops, Item::Label(new));
        }
        let mut other_side = backward;
        while let Some(label) = self.backward.get(other_side).copied() {
            self.meet(ends, new, other_side);
            other_side = label.next;
        }
    }
}
