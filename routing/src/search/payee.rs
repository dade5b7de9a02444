//! The payee's side of a search.

use super::{Cut, Ends, Searcher, settle};
use crate::edges::{Crossed, InEdge};
use crate::labels::{Item, Label, MAX_LABELS, NONE};
use crate::unit_graph::Crossing;

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
                    self.effort.count(floors.len());
                    let amount = ends.leg.amount + label.cost;
                    self.rule.queue_blocks(
                        &mut self.back,
                        (at, &label),
                        (level - 1, first, floors),
                        (amount, self.width),
                        (self.bound, self.limit),
                    );
                } else {
                    self.relax_backward(ends, at, fan.block(index as usize), other);
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
                self.relax_backward(ends, at, fan.spokes(), other);
            } else {
                let (first, floors) = fan.floors(levels - 1, None);
                self.effort.count(floors.len());
                let amount = ends.leg.amount + label.cost;
                self.rule.queue_blocks(
                    &mut self.back,
                    (at, &label),
                    (levels - 1, first, floors),
                    (amount, self.width),
                    (self.bound, self.limit),
                );
            }
        }
        for (_, from, edge) in ends.prepared.hints_into(label.node) {
            let edge = ends.prepared.rest(*from, label.node, *edge);
            let how = ends.leg.crossing(*from, label.node);
            let needed = ends.leg.amount + label.cost;
            if let Some((_, before)) = edge.cross(needed, ends.prepared.now, how) {
                let cut = self.cut(label.hops + 1, other);
                self.reach_backward(ends, at, *from, before - ends.leg.amount, cut);
            }
        }
    }

    /// Ways over published edges to the node of a label.
    pub(super) fn relax_backward(&mut self, ends: &Ends, at: u32, edges: &[InEdge], other: u128) {
        let Some(to) = self.backward.get(at).copied() else {
            return;
        };
        let needed = ends.leg.amount + to.cost;
        let exact = ends.leg.exact_last && to.node == ends.leg.to;
        self.seen.1 += edges.len();
        self.effort.count(edges.len());
        let mut cut = self.cut(to.hops + 1, other);
        for edge in edges {
            // Edges of the payer are left to the other side, so whoever sends takes a fee.
            let how = Crossing {
                exact,
                with_fee: true,
            };
            let before = match edge.cross(needed, self.now_seconds, how) {
                Crossed::Needs(before) if ends.plain => before,
                Crossed::Refused => continue,
                _ => match ends.needed_by(edge.peer, to.node, needed, how) {
                    Some(before) => before,
                    None => continue,
                },
            };
            let cost = before - ends.leg.amount;
            if cost < cut.known && self.reach_backward(ends, at, edge.peer, cost, cut) {
                cut = self.cut(to.hops + 1, other);
            }
        }
    }

    /// A way from `node` over an edge to the node of a label. Returns whether a better path was found.
    fn reach_backward(&mut self, ends: &Ends, at: u32, node: u32, cost: u64, cut: Cut) -> bool {
        let Some(hops) = self.backward.get(at).map(|to| to.hops + 1) else {
            return false;
        };
        if cost >= cut.known
            || node == ends.leg.from
            || node == ends.leg.to
            || (!ends.plain && ends.prepared.is_blocked(node))
        {
            return false;
        }
        if hops >= self.most_hops {
            self.dropped = true;
            return false;
        }
        if cost >= cut.fresh {
            let place = self.places.get(node);
            if place.is_none_or(|place| place.forward == NONE) {
                return false;
            }
        }
        let place = self.places.entry(node);
        let (head, forward) = (place.backward, place.forward);
        if self.backward.has_better(head, self.rule, cost, hops) {
            return false;
        }
        if self.backward.len() >= MAX_LABELS {
            self.overfull = true;
            return false;
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
        let weight = self.rule.weight(cost, hops);
        self.back.push(weight, hops, Item::Label(new));
        let limit = self.limit;
        let mut other_side = forward;
        while let Some(label) = self.forward.get(other_side).copied() {
            self.meet(ends, other_side, new);
            other_side = label.next;
        }
        self.limit < limit
    }
}
