//! The cheapest path of one leg, searched from both ends.
//!
//! From the payee's end amounts are exact. From the payer's end they are not known yet, so that side counts what the fees are *at
//! least*: those on the bare amount. Both sides keep, per node, every label that no other beats in cost and hops. Where they meet
//! there is a path; the cheapest one bounds the rest of the search.
//!
//! A block of edges comes up at its label's cost plus *half* of what its cheapest edge costs. Sides stop when what comes up on both
//! together reaches the bound. Any path below the bound has an edge that leaves the payer's settled part and enters the payee's;
//! one of the two sides has come to the half of that edge. So the dear edges of hubs are never touched, and none is missed.
//!
//! What remains is the gap between *at least* and *exactly* on the payer's part: [`Searcher::close_gap`] goes back from every
//! meeting point to the payer with exact amounts, over the edges that the payer's side has seen, as far as the bound allows.

use atomicity_ledger::amount::MAX_MINOR;

use crate::error::RouteError;
use crate::fan::{Floor, round_down};
use crate::fee::fee_at_least;
use crate::graph::Graph;
use crate::labels::{Item, Label, Labels, MAX_LABELS, NONE, Places, Queue};
use crate::request::{Leg, Prepared, Request};
use crate::route::Route;
use crate::unit_graph::{Edge, InEdge, OutEdge};

/// An edge over which the payer's side came to a node.
#[derive(Clone, Copy, Debug)]
struct Arc {
    from: u32,
    next: u32,
}

/// The best path so far: its nodes from payer to payee, and its fees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) nodes: Vec<u32>,
    pub(crate) fees: u64,
}

/// A search and its memory, which is reused: one per thread, for as many questions as one likes. Answers depend on graph and
/// request only, never on what was asked before.
#[derive(Debug, Default)]
pub struct Searcher {
    places: Places,
    forward: Labels,
    backward: Labels,
    front: Queue,
    back: Queue,
    arcs: Vec<Arc>,
    met: Vec<u32>,
    best: Option<Found>,
    bound: u64,
    amount_low: f32,
    now_seconds: u32,
}

impl Searcher {
    /// A search without memory yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The cheapest route within the limits of the request; of two that cost the same, any.
    ///
    /// # Errors
    /// Says why there is none: an unknown user or unit, [`RouteError::NoPath`], [`RouteError::TooNarrow`],
    /// [`RouteError::FeeTooHigh`]; [`RouteError::ToOneself`] and [`RouteError::LimitInvalid`] for a request that makes no sense.
    pub fn find(&mut self, graph: &Graph, request: &Request) -> Result<Route, RouteError> {
        if request.from == request.to {
            return Err(RouteError::ToOneself);
        }
        let prepared = Prepared::new(graph, request)?;
        let bound = request.max_fee.minor().saturating_add(1);
        match self.best_way(&prepared, bound) {
            Some(found) => Route::build(
                &prepared,
                request,
                &Leg::whole(&prepared, bound),
                &found.nodes,
            ),
            None => Err(self.why_none(&prepared, request)),
        }
    }

    /// The cheapest way, through the node it must pass, if there is one.
    pub(crate) fn best_way(&mut self, prepared: &Prepared, bound: u64) -> Option<Found> {
        match prepared.via {
            None => self.leg(prepared, &Leg::whole(prepared, bound)),
            Some(via) => self.by_way_of(prepared, via, bound),
        }
    }

    /// The cheapest path of a leg with fees below its bound.
    pub(crate) fn leg(&mut self, prepared: &Prepared, leg: &Leg) -> Option<Found> {
        self.start(prepared, leg);
        let search = Ends { prepared, leg };
        loop {
            let (front, back) = (self.front.top(), self.back.top());
            if front == u64::MAX || back == u64::MAX || front.saturating_add(back) >= self.bound {
                break;
            }
            if self.front.len() <= self.back.len() {
                self.step_forward(&search, back);
            } else {
                self.step_backward(&search, front);
            }
        }
        self.close_gap(&search);
        self.best.take()
    }

    fn start(&mut self, prepared: &Prepared, leg: &Leg) {
        self.places.clear();
        self.forward.clear();
        self.backward.clear();
        self.front.clear();
        self.back.clear();
        self.arcs.clear();
        self.met.clear();
        self.best = None;
        self.bound = leg.bound.min(MAX_MINOR - leg.amount + 1);
        self.amount_low = round_down(leg.amount);
        self.now_seconds = u32::try_from(prepared.now / 1000).unwrap_or(u32::MAX);
        let label = |node| Label {
            cost: 0,
            node,
            parent: NONE,
            next: NONE,
            hops: 0,
            settled: false,
            met: false,
        };
        let back = self.backward.push(label(leg.to));
        self.places.entry(leg.to).backward = back;
        self.back.push(0, 0, Item::Label(back));
        let front = self.forward.push(label(leg.from));
        self.places.entry(leg.from).forward = front;
        // The first edges are free: the other side can't count on their fees, so all of them are looked at before it begins.
        let ends = Ends { prepared, leg };
        if let Some(fan) = ends.published_out(leg.from) {
            for edge in fan.spokes() {
                self.relax_forward(&ends, front, edge, 0);
            }
        }
        self.hints_forward(&ends, front, 0);
    }

    // From the payer.

    fn step_forward(&mut self, ends: &Ends, other: u64) {
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
                    queue_blocks(
                        &mut self.front,
                        (at, &label),
                        (level - 1, first, floors),
                        (amount, self.amount_low),
                        self.bound,
                    );
                } else {
                    for edge in fan.block(index as usize) {
                        self.relax_forward(ends, at, edge, other);
                    }
                }
            }
        }
    }

    fn settle_forward(&mut self, ends: &Ends, at: u32, other: u64) {
        let Some(label) = settle(&mut self.forward, at, |node| {
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
                queue_blocks(
                    &mut self.front,
                    (at, &label),
                    (levels - 1, first, floors),
                    (amount, self.amount_low),
                    self.bound,
                );
            }
        }
        self.hints_forward(ends, at, other);
    }

    fn hints_forward(&mut self, ends: &Ends, at: u32, other: u64) {
        let Some(node) = self.forward.get(at).map(|label| label.node) else {
            return;
        };
        for (from, to, edge) in ends.prepared.hints_out(node) {
            let rest = ends.prepared.rest(*from, *to, *edge);
            if rest.cap >= ends.leg.amount {
                self.reach_forward(
                    ends,
                    at,
                    *to,
                    fee_at_least(rest.base, rest.ppm, ends.leg.amount),
                    other,
                );
            }
        }
    }

    fn relax_forward(&mut self, ends: &Ends, at: u32, edge: &OutEdge, other: u64) {
        if edge.cap_high < self.amount_low || edge.expires_high < self.now_seconds {
            return;
        }
        let Some(from) = self.forward.get(at).map(|label| label.node) else {
            return;
        };
        if ends.prepared.is_private(from, edge.peer) || !ends.has_room(from, edge.peer) {
            return;
        }
        self.reach_forward(
            ends,
            at,
            edge.peer,
            fee_at_least(u64::from(edge.base_low), edge.ppm, ends.leg.amount),
            other,
        );
    }

    /// A way from the payer to `node` that costs `fee` more than the label it comes from.
    fn reach_forward(&mut self, ends: &Ends, at: u32, node: u32, fee: u64, other: u64) {
        let Some(from) = self.forward.get(at).copied() else {
            return;
        };
        let free = from.parent == NONE && !ends.leg.first_fee;
        let cost = from.cost.saturating_add(if free { 0 } else { fee });
        let hops = from.hops + 1;
        if cost >= self.bound || node == ends.leg.from || ends.prepared.is_blocked(node) {
            return;
        }
        // Where the payee's side has not been, it will come with at least what comes up on it next.
        let known = self.places.get(node);
        if known.is_none_or(|place| place.backward == NONE)
            && cost.saturating_add(other) >= self.bound
        {
            return;
        }
        let arc = u32::try_from(self.arcs.len()).unwrap_or(NONE);
        let place = self.places.entry(node);
        self.arcs.push(Arc {
            from: from.node,
            next: place.arcs,
        });
        place.arcs = arc;
        let (head, backward) = (place.forward, place.backward);
        if self.forward.len() >= MAX_LABELS || self.forward.has_better(head, cost, hops) {
            return;
        }
        let new = self.forward.push(Label {
            cost,
            node,
            parent: at,
            next: head,
            hops,
            settled: false,
            met: false,
        });
        place.forward = new;
        if node != ends.leg.to && hops < ends.leg.max_hops {
            self.front.push(cost, hops, Item::Label(new));
        }
        let mut other_side = backward;
        while let Some(label) = self.backward.get(other_side).copied() {
            self.meet(ends, new, other_side);
            other_side = label.next;
        }
    }

    // From the payee.

    fn step_backward(&mut self, ends: &Ends, other: u64) {
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
                    queue_blocks(
                        &mut self.back,
                        (at, &label),
                        (level - 1, first, floors),
                        (amount, self.amount_low),
                        self.bound,
                    );
                } else {
                    for edge in fan.block(index as usize) {
                        self.relax_backward(ends, at, edge, other);
                    }
                }
            }
        }
    }

    fn settle_backward(&mut self, ends: &Ends, at: u32, other: u64) {
        let Some(label) = settle(&mut self.backward, at, |node| {
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
                queue_blocks(
                    &mut self.back,
                    (at, &label),
                    (levels - 1, first, floors),
                    (amount, self.amount_low),
                    self.bound,
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

    fn relax_backward(&mut self, ends: &Ends, at: u32, spoke: &InEdge, other: u64) {
        let Some(to) = self.backward.get(at).map(|label| label.node) else {
            return;
        };
        if !ends.prepared.is_private(spoke.peer, to) {
            self.reach_backward(
                ends,
                at,
                spoke.peer,
                ends.prepared.rest(spoke.peer, to, spoke.edge),
                other,
            );
        }
    }

    /// A way from `node` over an edge to the node of a label. Edges of the payer are left to the other side.
    fn reach_backward(&mut self, ends: &Ends, at: u32, node: u32, edge: Edge, other: u64) {
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
        if cost >= self.bound || hops >= ends.leg.max_hops {
            return;
        }
        let known = self.places.get(node);
        if known.is_none_or(|place| place.forward == NONE)
            && cost.saturating_add(other) >= self.bound
        {
            return;
        }
        let place = self.places.entry(node);
        let (head, forward) = (place.backward, place.forward);
        if self.backward.len() >= MAX_LABELS || self.backward.has_better(head, cost, hops) {
            return;
        }
        let new = self.backward.push(Label {
            cost,
            node,
            parent: at,
            next: head,
            hops,
            settled: false,
            met: false,
        });
        place.backward = new;
        self.back.push(cost, hops, Item::Label(new));
        let mut other_side = forward;
        while let Some(label) = self.forward.get(other_side).copied() {
            self.meet(ends, other_side, new);
            other_side = label.next;
        }
    }

    // Where both meet.

    /// Both sides have a label at one node: if they may be below the bound, the path is worked out exactly.
    fn meet(&mut self, ends: &Ends, front: u32, back: u32) {
        let (Some(first), Some(last)) = (
            self.forward.get(front).copied(),
            self.backward.get(back).copied(),
        ) else {
            return;
        };
        let hops = first.hops.saturating_add(last.hops);
        if first.cost.saturating_add(last.cost) >= self.bound || hops > ends.leg.max_hops {
            return;
        }
        if let Some(label) = self.backward.get_mut(back).filter(|label| !label.met) {
            label.met = true;
            self.met.push(back);
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

    /// A path below the bound becomes the best, without its loops.
    fn improve(&mut self, ends: &Ends, mut nodes: Vec<u32>) {
        cut_loops(&mut nodes);
        let Some((_, needed)) = ends.leg.price(ends.prepared, &nodes) else {
            return;
        };
        let fees = needed - ends.leg.amount;
        if fees < self.bound {
            self.bound = fees;
            self.best = Some(Found { nodes, fees });
        }
    }

    /// From every meeting point back to the payer with exact amounts, over the edges that the payer's side has seen, in the order
    /// of what the whole path costs at least.
    fn close_gap(&mut self, ends: &Ends) {
        self.back.clear();
        for met in std::mem::take(&mut self.met) {
            self.queue_gap(ends, met);
        }
        while let Some((least, item)) = self.back.pop() {
            if least >= self.bound {
                break;
            }
            let Item::Label(at) = item else { continue };
            let Some(label) = self.backward.get(at).copied() else {
                continue;
            };
            let mut arc = self.places.get(label.node).map_or(NONE, |place| place.arcs);
            while let Some(Arc { from, next }) = self.arcs.get(arc as usize).copied() {
                self.cross_gap(ends, at, &label, from);
                arc = next;
            }
        }
    }

    fn cross_gap(&mut self, ends: &Ends, at: u32, label: &Label, from: u32) {
        // Before the edge is looked up, which is dear: can it be below the bound at all?
        let Some(place) = self.places.get(from) else {
            return;
        };
        let hops = label.hops + 1;
        if self
            .least_before(ends, place.forward, label.cost, hops)
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
            if cost < self.bound {
                let nodes = std::iter::once(from)
                    .chain(self.backward.chain(at).map(|l| l.node))
                    .collect();
                self.improve(ends, nodes);
            }
            return;
        }
        if from == ends.leg.to
            || self.backward.len() >= MAX_LABELS
            || self.backward.has_better(place.backward, cost, hops)
        {
            return;
        }
        let fresh = Label {
            cost,
            node: from,
            parent: at,
            next: place.backward,
            hops,
            settled: false,
            met: true,
        };
        let new = self.backward.push(fresh);
        self.places.entry(from).backward = new;
        self.queue_gap(ends, new);
    }

    fn queue_gap(&mut self, ends: &Ends, at: u32) {
        let Some(label) = self.backward.get(at).copied() else {
            return;
        };
        let head = self
            .places
            .get(label.node)
            .map_or(NONE, |place| place.forward);
        if let Some(least) = self.least_before(ends, head, label.cost, label.hops) {
            self.back.push(least, label.hops, Item::Label(at));
        }
    }

    /// What a path costs at least that goes on with `cost` and `hops` from a node with these labels; `None` if not below the bound.
    fn least_before(&self, ends: &Ends, head: u32, cost: u64, hops: u8) -> Option<u64> {
        let fits = |label: &Label| label.hops.saturating_add(hops) <= ends.leg.max_hops;
        let labels = self.forward.list(head).filter(|(_, label)| fits(label));
        labels
            .map(|(_, label)| label.cost.saturating_add(cost))
            .min()
            .filter(|least| *least < self.bound)
    }
}

/// What a search is about.
struct Ends<'a> {
    prepared: &'a Prepared<'a>,
    leg: &'a Leg,
}

impl Ends<'_> {
    /// Published edges that begin at a node, unless only the payer's own knowledge counts.
    fn published_out(&self, node: u32) -> Option<&crate::fan::Fan<OutEdge>> {
        let own = self.prepared.own_first && node == self.prepared.from;
        if own {
            None
        } else {
            self.prepared.graph.out(node)
        }
    }

    /// Whether what other parts left of an edge may do; exactly, where they took something.
    fn has_room(&self, from: u32, to: u32) -> bool {
        self.prepared.taken.of(from, to) == 0
            || self
                .prepared
                .edge(from, to)
                .is_some_and(|edge| edge.cap >= self.leg.amount)
    }
}

/// Marks a label as settled, unless a settled one at its node is as good.
fn settle(labels: &mut Labels, at: u32, head: impl Fn(u32) -> Option<u32>) -> Option<Label> {
    let label = labels.get(at).copied()?;
    let beaten = labels
        .list(head(label.node)?)
        .any(|(_, held)| held.settled && held.hops <= label.hops);
    if beaten {
        return None;
    }
    labels.get_mut(at)?.settled = true;
    Some(label)
}

/// Queues blocks of edges at half of what they cost at least.
fn queue_blocks(
    queue: &mut Queue,
    (at, label): (u32, &Label),
    (level, first, floors): (u32, usize, &[Floor]),
    (amount, amount_low): (u64, f32),
    bound: u64,
) {
    for (offset, floor) in floors.iter().enumerate() {
        let fee = floor.fee(amount);
        if floor.may_take(amount_low) && label.cost.saturating_add(fee) < bound {
            let index = u32::try_from(first + offset).unwrap_or(NONE);
            queue.push(
                label.cost + fee / 2,
                label.hops,
                Item::Block(at, level, index),
            );
        }
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
