//! The payee's side of a search.

use super::{Ends, Searcher, settle};
use crate::labels::{Item, Label, MAX_LABELS, NONE};
use crate::unit_graph::{Edge, InEdge};

impl Searcher {
    pub(super) fn step_backward(&mut self, ends: &Ends, other: u128) {
        let Some((_, item)) = self.back.pop() else {
            return;
        };
        match item {
            Item::Label(at) => self.settle_backward(ends, at, other),
            Item::Block(at, level, index) => {
                let Some(label) = self.backward.get(at).copied() else {
                    return;
                };
                let Some(fan) = ends.prepared.graph.into(label.node) else {
                    return;
                };
                if level > 0 {
                    let (first, floors) = fan.floors(level - 1, Some(index as usize));
                    let amount = ends.leg.amount + label.cost;
                    self.rule.queue_blocks(
                        &mut self.back,
                        (at, &label),
                        (level - 1, first, floors),
                        (amount, self.amount_low),
                        (self.bound, self.limit),
                    );
                } else {
                    for edge in fan.block(index as usize) {
                        self.relax_backward(ends, at, edge, other);
                    }
                }
            }
        }
    }

    pub(super) fn settle_backward(&mut self, ends: &Ends, at: u32, other: u128) {
        let Some(label) = settle(&mut self.backward, self.rule, at, |node| {
            self.places.get(node).map(|p| p.backward)
        }) else {
            return;
        };
        if let Some(fan) = ends.prepared.graph.into(label.node) {
            let levels = fan.levels();
            if levels == 0 {
                for edge in fan.spokes() {
                    self.relax_backward(ends, at, edge, other);
                }
            } else {
                let (first, floors) = fan.floors(levels - 1, None);
                let amount = ends.leg.amount + label.cost;
                self.rule.queue_blocks(
                    &mut self.back,
                    (at, &label),
                    (levels - 1, first, floors),
                    (amount, self.amount_low),
                    (self.bound, self.limit),
                );
            }
        }
        for (_, from, edge) in ends.prepared.hints_into(label.node) {
            self.reach_backward(
                ends,
                at,
                *from,
                ends.prepared.rest(*from, label.node, *edge),
                other,
            );
        }
    }

    pub(super) fn relax_backward(&mut self, ends: &Ends, at: u32, spoke: &InEdge, other: u128) {
        let Some(to) = self.backward.get(at).map(|label| label.node) else {
            return;
        };
        if !ends.prepared.is_private(spoke.peer, to) {
            self.reach_backward(
                ends,
                at,
                spoke.peer,
                ends.prepared.rest(spoke.peer, to, spoke.edge()),
                other,
            );
        }
    }

    /// A way from `node` over an edge to the node of a label. Edges of the payer are left to the other side.
    pub(super) fn reach_backward(
        &mut self,
        ends: &Ends,
        at: u32,
        node: u32,
        edge: Edge,
        other: u128,
    ) {
        let Some(to) = self.backward.get(at).copied() else {
            return;
        };
        if node == ends.leg.from || node == ends.leg.to || ends.prepared.is_blocked(node) {
            return;
        }
        let Some((_, before)) = edge.cross(
            ends.leg.amount + to.cost,
            ends.prepared.now,
            ends.leg.crossing(node, to.node),
        ) else {
            return;
        };
        let (cost, hops) = (before - ends.leg.amount, to.hops + 1);
        let weight = self.rule.weight(cost, hops);
        if cost >= self.bound || weight >= self.limit {
            return;
        }
        if hops >= self.most_hops {
            self.dropped = true;
            return;
        }
        let known = self.places.get(node);
        if known.is_none_or(|place| place.forward == NONE)
            && weight.saturating_add(other) >= self.limit
        {
            return;
        }
        let place = self.places.entry(node);
        let (head, forward) = (place.backward, place.forward);
        if self.backward.len() >= MAX_LABELS
            || self.backward.has_better(head, self.rule, cost, hops)
        {
            return;
        }
        let new = self.backward.push(Label {
            cost,
            node,
            parent: at,
            arc: NONE,
            next: head,
            hops,
            settled: false,
            met: false,
        });
        place.backward = new;
        self.back.push(weight, hops, Item::Label(new));
        let mut other_side = forward;
        while let Some(label) = self.forward.get(other_side).copied() {
            self.meet(ends, other_side, new);
            other_side = label.next;
        }
    }
}
