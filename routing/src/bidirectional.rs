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
use crate::labels::{Item, Label, Labels, MAX_LABELS, NEVER, NONE, Places, Queue, Rule};
use crate::request::{Leg, Prepared, Request};
use crate::route::Route;
use crate::unit_graph::{Edge, InEdge, OutEdge};

/// The longest path that is followed where hops don't count.
const LONGEST: u8 = 250;
/// Searches for a good weight of hops.
const MOST_TRIES: usize = 8;
/// The heaviest that an edge is made besides its fee.
const HEAVIEST: u64 = 1 << 60;

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
    /// The cheapest path so far that is short enough.
    best: Option<Found>,
    /// Its fees; paths must cost less.
    bound: u64,
    rule: Rule,
    /// Cost and hops of the lightest path so far, of any length.
    lightest: Option<(u64, usize)>,
    /// Paths must weigh less.
    limit: u128,
    most_hops: u8,
    /// A path became too long to be followed.
    dropped: bool,
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
        self.best = None;
        self.bound = leg.bound.min(MAX_MINOR - leg.amount + 1);
        self.dropped = false;
        let ends = Ends { prepared, leg };
        let cheapest = self.run(&ends, Rule::CHEAPEST);
        match cheapest {
            // The cheapest of all is short enough, or there is none at all.
            Some((_, hops)) if hops <= usize::from(leg.max_hops) => {}
            None if !self.dropped => {}
            _ => self.short_enough(&ends, cheapest),
        }
        self.best.take()
    }

    /// The cheapest path within the limit on hops, where the cheapest of all is too long. First some searches that let every edge
    /// weigh something besides its fee, to find out what weight leads to paths of the right length and to have one such path as a
    /// bound; then an exact one that keeps the dearer but shorter labels, in the order of that weight.
    fn short_enough(&mut self, ends: &Ends, cheapest: Option<(u64, usize)>) {
        let most = usize::from(ends.leg.max_hops);
        let mut long = cheapest.unwrap_or((0, usize::from(LONGEST)));
        let mut short = self
            .best
            .as_ref()
            .map(|held| (held.fees, held.nodes.len() - 1));
        let mut per_hop = slope(long.0.saturating_add(1), long.1);
        for _ in 0..MOST_TRIES {
            let rule = Rule {
                per_hop,
                by_hops: false,
            };
            let Some(lightest) = self.run(ends, rule) else {
                break;
            };
            if lightest.1 > most {
                long = lightest;
            } else {
                short = Some(lightest);
            }
            // How far the exact search would have to go beyond the lightest path: an eighth is cheaper than another try.
            let weight = |cost, hops| rule.weight(cost, u8::try_from(hops).unwrap_or(u8::MAX));
            let (least, most_allowed) = (weight(lightest.0, lightest.1), weight(self.bound, most));
            if lightest.1 == most || most_allowed.saturating_sub(least) <= least / 8 {
                break;
            }
            // Where both weigh the same, no other weight tells more.
            let next = match short {
                Some((cost, hops)) => {
                    slope(cost.saturating_sub(long.0), long.1.saturating_sub(hops))
                }
                None => per_hop.saturating_mul(3).min(HEAVIEST),
            };
            if next == per_hop {
                break;
            }
            per_hop = next;
        }
        self.run(
            ends,
            Rule {
                per_hop,
                by_hops: true,
            },
        );
    }

    /// One search by one rule. Leaves the cheapest path within the limit on hops in `best`, and returns cost and hops of the path of
    /// the least weight, whatever its length.
    fn run(&mut self, ends: &Ends, rule: Rule) -> Option<(u64, usize)> {
        self.start(ends, rule);
        loop {
            let (front, back) = (self.front.top(), self.back.top());
            if front == NEVER || back == NEVER || front + back >= self.limit {
                break;
            }
            if self.front.len() <= self.back.len() {
                self.step_forward(ends, back);
            } else {
                self.step_backward(ends, front);
            }
        }
        // Searches that only look for a good weight need not be exact.
        if rule.by_hops || rule == Rule::CHEAPEST {
            self.close_gap(ends);
        }
        self.lightest
    }

    fn start(&mut self, ends: &Ends, rule: Rule) {
        let (prepared, leg) = (ends.prepared, ends.leg);
        self.places.clear();
        self.forward.clear();
        self.backward.clear();
        self.front.clear();
        self.back.clear();
        self.arcs.clear();
        self.met.clear();
        self.lightest = None;
        self.rule = rule;
        self.most_hops = if rule.by_hops { leg.max_hops } else { LONGEST };
        self.limit = rule.weight(self.bound, self.most_hops);
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
        if let Some(fan) = ends.published_out(leg.from) {
            for edge in fan.spokes() {
                self.relax_forward(ends, front, edge, 0);
            }
        }
        self.hints_forward(ends, front, 0);
    }

    // From the payer.

    fn step_forward(&mut self, ends: &Ends, other: u128) {
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

    fn settle_forward(&mut self, ends: &Ends, at: u32, other: u128) {
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

    fn hints_forward(&mut self, ends: &Ends, at: u32, other: u128) {
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

    fn relax_forward(&mut self, ends: &Ends, at: u32, edge: &OutEdge, other: u128) {
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
    fn reach_forward(&mut self, ends: &Ends, at: u32, node: u32, fee: u64, other: u128) {
        let Some(from) = self.forward.get(at).copied() else {
            return;
        };
        let free = from.parent == NONE && !ends.leg.first_fee;
        let cost = from.cost.saturating_add(if free { 0 } else { fee });
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

    // From the payee.

    fn step_backward(&mut self, ends: &Ends, other: u128) {
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

    fn settle_backward(&mut self, ends: &Ends, at: u32, other: u128) {
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

    fn relax_backward(&mut self, ends: &Ends, at: u32, spoke: &InEdge, other: u128) {
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
    fn reach_backward(&mut self, ends: &Ends, at: u32, node: u32, edge: Edge, other: u128) {
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
        let cost = first.cost.saturating_add(last.cost);
        if !self.promises(cost, hops) {
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

    /// Whether a path of this cost and length would be better than what is there.
    fn promises(&self, cost: u64, hops: u8) -> bool {
        cost < self.bound && hops <= self.most_hops && self.rule.weight(cost, hops) < self.limit
    }

    /// A path becomes the best if it is short enough, and the lightest in any case, without its loops.
    fn improve(&mut self, ends: &Ends, mut nodes: Vec<u32>) {
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
    /// of what the whole path costs at least.
    fn close_gap(&mut self, ends: &Ends) {
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
        if self.least_before(place.forward, label.cost, hops).is_none() {
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
            || self.backward.len() >= MAX_LABELS
            || self
                .backward
                .has_better(place.backward, self.rule, cost, hops)
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
        self.queue_gap(new);
    }

    fn queue_gap(&mut self, at: u32) {
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
    fn least_before(&self, head: u32, cost: u64, hops: u8) -> Option<u128> {
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
fn settle(
    labels: &mut Labels,
    rule: Rule,
    at: u32,
    head: impl Fn(u32) -> Option<u32>,
) -> Option<Label> {
    let label = labels.get(at).copied()?;
    let beaten = labels
        .list(head(label.node)?)
        .any(|(_, held)| held.settled && rule.beats(held, label.cost, label.hops));
    if beaten {
        return None;
    }
    labels.get_mut(at)?.settled = true;
    Some(label)
}

impl Rule {
    /// Queues blocks of edges at half of what they weigh at least.
    fn queue_blocks(
        self,
        queue: &mut Queue,
        (at, label): (u32, &Label),
        (level, first, floors): (u32, usize, &[Floor]),
        (amount, amount_low): (u64, f32),
        (bound, limit): (u64, u128),
    ) {
        let here = self.weight(label.cost, label.hops);
        for (offset, floor) in floors.iter().enumerate() {
            let fee = floor.fee(amount);
            let edge = self.weight(fee, 1);
            if floor.may_take(amount_low)
                && label.cost.saturating_add(fee) < bound
                && here + edge < limit
            {
                let index = u32::try_from(first + offset).unwrap_or(NONE);
                queue.push(here + edge / 2, label.hops, Item::Block(at, level, index));
            }
        }
    }
}

/// What an edge must weigh besides its fee so that a way that costs `cost` more and has `hops` edges fewer weighs the same.
fn slope(cost: u64, hops: usize) -> u64 {
    let per_hop = (u128::from(cost) << 8) / (hops.max(1) as u128);
    u64::try_from(per_hop)
        .unwrap_or(HEAVIEST)
        .clamp(1, HEAVIEST)
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
