//! Where both sides meet.

use super::{Ends, Found, Searcher};
use crate::labels::{Arc, Item, Label, MAX_LABELS, NONE};

impl Searcher {
    /// Both sides have a label at one node: if they may be below the bound, the path is worked out exactly.
    pub(super) fn meet(&mut self, ends: &Ends, front: u32, back: u32) {
        let (Some(first), Some(last)) = (
            self.forward.get(front).copied(),
            self.backward.get(back).copied(),
        ) else {
            return;
        };
        let hops = first.hops.saturating_add(last.hops);
        let cost = first.cost.saturating_add(last.cost);
        if !self.promises(cost, hops) {
            return;
        }
        if let Some(label) = self.backward.get_mut(back).filter(|label| !label.met) {
            label.met = true;
            self.met.push(back);
        }
        // Edges are dear to look up exactly: first with the fees that the payer's side has seen.
        let least = self.at_least(front, ends.leg.amount + last.cost) - ends.leg.amount;
        if !self.promises(least, hops) {
            return;
        }
        let mut needed = ends.leg.amount + last.cost;
        let mut to = last.node;
        for label in self.forward.chain(front).skip(1) {
            let crossed = ends.prepared.edge(label.node, to);
            let how = ends.leg.crossing(label.node, to);
            match crossed.and_then(|edge| edge.cross(needed, ends.prepared.now, how)) {
                Some((_, before)) if before - ends.leg.amount < self.bound => needed = before,
                _ => return,
            }
            to = label.node;
        }
        let mut nodes: Vec<u32> = self
            .forward
            .chain(front)
            .skip(1)
            .map(|label| label.node)
            .collect();
        nodes.reverse();
        nodes.extend(self.backward.chain(back).map(|label| label.node));
        self.improve(ends, nodes);
    }

    /// What the payer sends at least, over the way of a label of its side, so that `needed` reaches the node of the label.
    pub(super) fn at_least(&self, front: u32, needed: u64) -> u64 {
        self.forward.chain(front).fold(needed, |needed, label| {
            self.arcs.get(label.arc as usize).map_or(needed, |arc| {
                needed.saturating_add(arc.fee_at_least(needed))
            })
        })
    }

    /// Whether a path of this cost and length would be better than what is there.
    pub(super) fn promises(&self, cost: u64, hops: u8) -> bool {
        cost < self.bound && hops <= self.most_hops && self.rule.weight(cost, hops) < self.limit
    }

    /// A path becomes the best if it is short enough, and the lightest in any case, without its loops.
    pub(super) fn improve(&mut self, ends: &Ends, mut nodes: Vec<u32>) {
        cut_loops(&mut nodes);
        let Some((_, needed)) = ends.leg.price(ends.prepared, &nodes) else {
            return;
        };
        let fees = needed - ends.leg.amount;
        let hops = u8::try_from(nodes.len().saturating_sub(1)).unwrap_or(u8::MAX);
        if !self.promises(fees, hops) {
            return;
        }
        self.lightest = Some((fees, usize::from(hops)));
        if hops <= ends.leg.max_hops {
            self.bound = fees;
            self.best = Some(Found { nodes, fees });
        }
        self.limit = if self.rule.by_hops {
            self.rule.weight(self.bound, self.most_hops)
        } else {
            self.rule.weight(fees, hops)
        };
    }

    /// From every meeting point back to the payer with exact amounts, over the edges that the payer's side has seen, in the order
    /// of what the whole path costs at least. Returns whether it came to its end.
    pub(super) fn close_gap(&mut self, ends: &Ends) -> bool {
        self.back.clear();
        for met in std::mem::take(&mut self.met) {
            self.queue_gap(met);
        }
        while let Some((least, item)) = self.back.pop() {
            if least >= self.limit {
                break;
            }
            let Item::Label(at) = item else { continue };
            let Some(label) = self.backward.get(at).copied() else {
                continue;
            };
            let mut arc = self.places.get(label.node).map_or(NONE, |place| place.arcs);
            self.effort.count(1);
            while let Some(over) = self.arcs.get(arc as usize).copied() {
                if self.effort.is_spent() {
                    return false;
                }
                self.effort.count(1);
                self.cross_gap(ends, at, &label, over);
                arc = over.next;
            }
        }
        !self.overfull
    }

    pub(super) fn cross_gap(&mut self, ends: &Ends, at: u32, label: &Label, over: Arc) {
        // Before the edge is looked up, which is dear: can it be below the bound at all?
        let from = over.from;
        let Some(place) = self.places.get(from) else {
            return;
        };
        let hops = label.hops + 1;
        let fee = over.fee_at_least(ends.leg.amount + label.cost);
        if self
            .least_before(place.forward, label.cost.saturating_add(fee), hops)
            .is_none()
        {
            return;
        }
        let crossed = ends.prepared.edge(from, label.node);
        let how = ends.leg.crossing(from, label.node);
        let Some((_, before)) = crossed
            .and_then(|edge| edge.cross(ends.leg.amount + label.cost, ends.prepared.now, how))
        else {
            return;
        };
        let cost = before - ends.leg.amount;
        if from == ends.leg.from {
            if self.promises(cost, hops) {
                let nodes = std::iter::once(from)
                    .chain(self.backward.chain(at).map(|l| l.node))
                    .collect();
                self.improve(ends, nodes);
            }
            return;
        }
        if from == ends.leg.to
            || self
                .backward
                .has_better(place.backward, self.rule, cost, hops)
        {
            return;
        }
        if self.backward.len() >= MAX_LABELS {
            self.overfull = true;
            return;
        }
        let fresh = Label {
            cost,
            node: from,
            parent: at,
            arc: NONE,
            next: place.backward,
            hops,
            settled: false,
            met: true,
        };
        let new = self.backward.push(fresh);
        self.places.entry(from).backward = new;
        self.queue_gap(new);
    }

    pub(super) fn queue_gap(&mut self, at: u32) {
        let Some(label) = self.backward.get(at).copied() else {
            return;
        };
        let head = self
            .places
            .get(label.node)
            .map_or(NONE, |place| place.forward);
        if let Some(least) = self.least_before(head, label.cost, label.hops) {
            self.back.push(least, label.hops, Item::Label(at));
        }
    }

    /// What a path weighs at least that goes on with `cost` and `hops` from a node with these labels; `None` if it is of no use.
    pub(super) fn least_before(&self, head: u32, cost: u64, hops: u8) -> Option<u128> {
        let whole = |label: &Label| {
            (
                label.cost.saturating_add(cost),
                label.hops.saturating_add(hops),
            )
        };
        let sums = self.forward.list(head).map(|(_, label)| whole(label));
        let useful = sums.filter(|(cost, hops)| self.promises(*cost, *hops));
        useful
            .map(|(cost, hops)| self.rule.weight(cost, hops))
            .min()
    }
}

/// Leaves out what lies between two visits of one node.
fn cut_loops(nodes: &mut Vec<u32>) {
    let mut at = 0;
    while let Some(node) = nodes.get(at).copied() {
        if let Some(last) = nodes
            .iter()
            .rposition(|held| *held == node)
            .filter(|last| *last > at)
        {
            nodes.drain(at..last);
        }
        at += 1;
    }
}
