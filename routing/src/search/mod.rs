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

use crate::edges::OutEdge;
use crate::error::RouteError;
use crate::fan::{Fan, Floor, WIDTH, width_down};
use crate::graph::Graph;
use crate::labels::{Arc, Item, Label, Labels, NEVER, NONE, Places, Queue, Rule};
use crate::request::{Leg, Prepared, Request};
use crate::route::Route;
use crate::unit_graph::Crossing;

mod effort;
mod length;
mod meeting;
mod payee;
mod payer;

pub(crate) use effort::Effort;

/// The longest path that is followed where hops don't count.
const LONGEST: u8 = 250;

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
    /// Edges that the payer's and the payee's side of this search have looked at.
    seen: (usize, usize),
    /// Steps of the last search.
    steps: usize,
    /// A path became too long to be followed.
    dropped: bool,
    /// A label found no place any more.
    overfull: bool,
    /// What the whole question has taken, and may take.
    pub(crate) effort: Effort,
    /// The amount and the present time, as edges are compared with them.
    width: u16,
    age: u32,
    now_seconds: u32,
}

impl Searcher {
    /// A search without memory yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How many steps the last question took: see [`Request::max_steps`], which it may exceed by a few dozen.
    #[must_use]
    pub fn steps(&self) -> u64 {
        self.effort.taken()
    }

    /// The cheapest route within the limits of the request; of two that cost the same, any. Where the steps allowed end before that
    /// is certain, the cheapest that was found: see [`Route::exact`].
    ///
    /// # Errors
    /// Says why there is none: an unknown user or unit, [`RouteError::NoPath`], [`RouteError::TooNarrow`],
    /// [`RouteError::FeeTooHigh`], or that it is not known, [`RouteError::GaveUp`]; [`RouteError::ToOneself`] and
    /// [`RouteError::LimitInvalid`] for a request that makes no sense.
    pub fn find(&mut self, graph: &Graph, request: &Request) -> Result<Route, RouteError> {
        self.effort = Effort::new(request.max_steps);
        self.whole(graph, request)
    }

    /// The same, as a part of a larger question.
    pub(crate) fn whole(&mut self, graph: &Graph, request: &Request) -> Result<Route, RouteError> {
        if request.from == request.to {
            return Err(RouteError::ToOneself);
        }
        let prepared = Prepared::new(graph, request)?;
        let bound = request.max_fee.minor().saturating_add(1);
        let leg = Leg::whole(&prepared, bound);
        match self.best_way(&prepared, bound) {
            Some(found) => Route::build(&prepared, request, &leg, &found.nodes)
                .map(|route| route.said(self.effort.sure)),
            None if self.effort.sure => Err(self.why_none(&prepared, request)),
            None => Err(RouteError::GaveUp),
        }
    }

    /// The cheapest way, through the node it must pass, if there is one.
    pub(crate) fn best_way(&mut self, prepared: &Prepared, bound: u64) -> Option<Found> {
        match prepared.via {
            None => self.leg(prepared, &Leg::whole(prepared, bound)),
            Some(via) => self.by_way_of(prepared, via, bound),
        }
    }

    /// The cheapest path of a leg with fees below its bound, or the cheapest that was found; then it is not `sure` any more. A quarter
    /// of the steps that are left is kept for finding any way at all.
    pub(crate) fn leg(&mut self, prepared: &Prepared, leg: &Leg) -> Option<Found> {
        self.best = None;
        self.bound = leg.bound.min(MAX_MINOR - leg.amount + 1);
        let ends = Ends {
            prepared,
            leg,
            plain: prepared.is_plain(),
        };
        let all = self.effort.keep_back_a_quarter();
        let certain = self.cheapest(&ends);
        self.effort.allow(all);
        if !certain {
            self.effort.sure = false;
            if self.best.is_none() {
                self.run(&ends, Rule::SHORTEST);
            }
        }
        self.best.take()
    }

    /// Leaves the cheapest path in `best`. Returns whether that is certain.
    fn cheapest(&mut self, ends: &Ends) -> bool {
        if !self.run(ends, Rule::CHEAPEST) {
            return false;
        }
        match self.lightest {
            // The cheapest of all is short enough, or there is none at all.
            Some((_, hops)) if hops <= usize::from(ends.leg.max_hops) => true,
            None if !self.dropped => true,
            lightest => self.short_enough(ends, lightest),
        }
    }

    /// One search by one rule. Leaves the cheapest path within the limit on hops in `best`, and cost and hops of the path of the least
    /// weight, whatever its length, in `lightest`. Returns whether it came to its end.
    fn run(&mut self, ends: &Ends, rule: Rule) -> bool {
        self.run_for(ends, rule, usize::MAX)
    }

    /// The same, given up after so many steps. What it has found until then counts.
    fn run_for(&mut self, ends: &Ends, rule: Rule, most_steps: usize) -> bool {
        self.start(ends, rule);
        self.steps = 0;
        loop {
            if self.effort.is_spent() {
                return false;
            }
            let (front, back) = (self.front.top(), self.back.top());
            if front == NEVER || back == NEVER || front + back >= self.limit {
                break;
            }
            if self.steps >= most_steps {
                return false;
            }
            self.steps += 1;
            self.effort.count(1);
            // The side that has looked at fewer edges.
            if self.seen.0 <= self.seen.1 {
                self.step_forward(ends, back);
            } else {
                self.step_backward(ends, front);
            }
        }
        self.close_gap(ends)
    }

    /// From which cost on a way of so many edges is of no use, while the other side still brings at least `other`.
    #[inline]
    fn cut(&self, hops: u8, other: u128) -> Cut {
        let from = self.rule.weight(0, hops);
        let below = |taken: u128| {
            let left = self.limit.saturating_sub(taken).div_ceil(256);
            u64::try_from(left).unwrap_or(u64::MAX).min(self.bound)
        };
        Cut {
            known: below(from),
            fresh: below(from.saturating_add(other)),
        }
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
        self.dropped = false;
        self.overfull = false;
        self.rule = rule;
        self.most_hops = if rule.by_hops { leg.max_hops } else { LONGEST };
        self.limit = rule.weight(self.bound, self.most_hops);
        self.width = width_down(leg.amount);
        self.age = OutEdge::age(prepared.now);
        self.now_seconds = u32::try_from(prepared.now / 1000).unwrap_or(u32::MAX);
        let label = |node| Label {
            cost: 0,
            node,
            parent: NONE,
            arc: NONE,
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
        let first = ends.published_out(leg.from).map_or(&[][..], Fan::spokes);
        for some in first.chunks(WIDTH) {
            if self.effort.is_spent() {
                return;
            }
            self.relax_forward(ends, front, some, 0);
        }
        self.hints_forward(ends, front, 0);
        self.seen = (0, 0);
    }
}

/// What a search is about.
struct Ends<'a> {
    prepared: &'a Prepared<'a>,
    leg: &'a Leg,
    /// Nothing in the request differs from what is published.
    plain: bool,
}

/// From which cost on a way is of no use: to a node where the other side has been, and to one where it has not.
#[derive(Clone, Copy, Debug)]
struct Cut {
    known: u64,
    fresh: u64,
}

impl Ends<'_> {
    /// Published edges that begin at a node, unless only the payer's own knowledge counts.
    fn published_out(&self, node: u32) -> Option<&Fan<OutEdge>> {
        let own = self.prepared.own_first && node == self.prepared.from;
        if own {
            None
        } else {
            self.prepared.graph.out(node)
        }
    }

    /// The fees of an edge that begins at the node of a label; the first one of a payment takes none.
    #[inline]
    fn first_free(&self, from: &Label, (base, ppm): (u32, u32)) -> Arc {
        let free = from.parent == NONE && !self.leg.first_fee;
        let (base, ppm) = if free { (0, 0) } else { (base, ppm) };
        Arc {
            from: from.node,
            next: NONE,
            base,
            ppm,
        }
    }

    /// What `from` needs so that `needed` reaches `to`, exactly, if only what is published counts between the two.
    fn needed_by(&self, from: u32, to: u32, needed: u64, how: Crossing) -> Option<u64> {
        if self.prepared.is_private(from, to) {
            return None;
        }
        let edge = self.prepared.edge(from, to)?;
        Some(edge.cross(needed, self.prepared.now, how)?.1)
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
        (amount, width): (u64, u16),
        (bound, limit): (u64, u128),
    ) {
        let here = self.weight(label.cost, label.hops);
        for (offset, floor) in floors.iter().enumerate() {
            let fee = floor.fee(amount);
            let edge = self.weight(fee, 1);
            if floor.may_take(width)
                && label.cost.saturating_add(fee) < bound
                && here + edge < limit
            {
                let index = u32::try_from(first + offset).unwrap_or(NONE);
                queue.push(here + edge / 2, label.hops, Item::Block(at, level, index));
            }
        }
    }
}
