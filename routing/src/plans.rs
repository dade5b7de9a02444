//! More than one way: alternatives, ways through a given user, circles.

use crate::error::RouteError;
use crate::graph::Graph;
use crate::request::{Leg, MAX_PARTS, Prepared, Request};
use crate::route::Route;
use crate::search::{Effort, Found, Searcher};
use crate::unit_graph::Crossing;

/// A round trip from a user to itself over at least three edges: it lowers what everybody on it owes to the next.
pub type Circle = Route;

/// Friends whose last hop is tried for a circle, those with the lowest fee first.
const MOST_FRIENDS: usize = 1_000;

/// Up to `n` routes, the cheapest first: see [`Searcher::alternatives`].
///
/// # Errors
/// As [`Searcher::alternatives`].
pub fn alternatives(graph: &Graph, request: &Request, n: usize) -> Result<Vec<Route>, RouteError> {
    Searcher::new().alternatives(graph, request, n)
}

/// Up to `n` circles, the cheapest first: see [`Searcher::circles`].
///
/// # Errors
/// As [`Searcher::circles`].
pub fn circles(graph: &Graph, request: &Request, n: usize) -> Result<Vec<Circle>, RouteError> {
    Searcher::new().circles(graph, request, n)
}

/// Searches among which the steps that are left are shared out, at most.
const MOST_SHARES: usize = 8;

/// The two cheapest legs of a way through somebody.
enum Legs {
    /// They make a way.
    Apart(Found),
    /// They don't: they have somebody in common, or are too long.
    Touch,
    /// There is none on one side.
    Missing,
}

impl Searcher {
    /// Up to `n` routes for the whole amount, each the cheapest that has no user between payer and payee in common with those
    /// before it; once there is none left, no edge. The first is the cheapest of all. Each says whether that is certain of it. Where the
    /// steps allowed end, those found until then are the answer.
    ///
    /// # Errors
    /// As [`Searcher::find`] if there is not even one; [`RouteError::LimitInvalid`] for `n` above [`MAX_PARTS`].
    pub fn alternatives(
        &mut self,
        graph: &Graph,
        request: &Request,
        n: usize,
    ) -> Result<Vec<Route>, RouteError> {
        check_count(n)?;
        let mut routes = vec![self.find(graph, request)?];
        let mut apart = Prepared::new(graph, request)?;
        let mut edges_only = apart.clone();
        let bound = request.max_fee.minor().saturating_add(1);
        let mut last = routes
            .first()
            .map(|route| ids(&apart, route))
            .unwrap_or_default();
        while routes.len() < n {
            for pair in last.windows(2) {
                if let &[from, to] = pair {
                    apart.taken.add_all(from, to);
                    edges_only.taken.add_all(from, to);
                }
            }
            let kept = [Some(apart.from), Some(apart.to), apart.via];
            for node in last.iter().filter(|node| !kept.contains(&Some(**node))) {
                apart.block(*node);
            }
            self.effort.sure = true;
            let found = self
                .best_way(&apart, bound)
                .or_else(|| self.best_way(&edges_only, bound));
            let Some(Found { nodes, .. }) = found else {
                break;
            };
            let leg = Leg::whole(&edges_only, bound);
            let route = Route::build(&edges_only, request, &leg, &nodes)?;
            routes.push(route.said(self.effort.sure));
            last = nodes;
        }
        Ok(routes)
    }

    /// Up to `n` circles from `request.from`, which must be `request.to` as well, each with another last hop, the cheapest first.
    /// They come back to the user over another friend than they leave over: there and back over one channel changes nothing. One
    /// search per friend, at most a thousand; each may take an eighth of the steps that are left, or its share if there are fewer friends.
    ///
    /// # Errors
    /// [`RouteError::NoPath`] if there is none, [`RouteError::GaveUp`] if that is not certain; as [`Searcher::find`] for a request that makes no sense.
    pub fn circles(
        &mut self,
        graph: &Graph,
        request: &Request,
        n: usize,
    ) -> Result<Vec<Circle>, RouteError> {
        check_count(n)?;
        if request.from != request.to {
            return Err(RouteError::RouteMalformed("a circle ends where it begins"));
        }
        self.effort = Effort::new(request.max_steps);
        let mut prepared = Prepared::new(graph, request)?;
        let untouched = prepared.taken.clone();
        let bound = request.max_fee.minor().saturating_add(1);
        let mut best: Vec<(u64, Vec<u32>)> = Vec::new();
        let friends = last_hops(&prepared);
        // Of a circle through somebody only the cheapest over each friend is looked at.
        let all = friends.len() < MOST_FRIENDS && prepared.via.is_none();
        for (at, (last, needed)) in friends.iter().copied().enumerate() {
            // Only what is cheaper than the last of `n` is of interest.
            let bound = if best.len() < n {
                bound
            } else {
                best.last().map_or(bound, |held| held.0)
            };
            let Some(bound) = bound
                .checked_sub(needed - prepared.amount)
                .filter(|bound| *bound > 0)
            else {
                continue;
            };
            prepared.taken = untouched.clone();
            prepared.taken.add_all(prepared.from, last);
            let leg = Leg {
                to: last,
                amount: needed,
                exact_last: false,
                max_hops: prepared.max_hops.saturating_sub(1),
                ..Leg::whole(&prepared, bound)
            };
            let share = (friends.len() - at).min(MOST_SHARES) as u64;
            let found = if leg.max_hops < 2 {
                None
            } else {
                self.with_one_of(share, |search| search.leg(&prepared, &leg))
            };
            if let Some(mut found) = found.filter(|found| passes(&prepared, &found.nodes)) {
                found.nodes.push(prepared.to);
                let fees = found.fees + (needed - prepared.amount);
                let at = best.partition_point(|held| held.0 <= fees);
                best.insert(at, (fees, found.nodes));
                best.truncate(n);
            }
        }
        prepared.taken = untouched;
        let exact = self.effort.sure && all;
        let circle = |nodes: &Vec<u32>| {
            let circle = Route::build(&prepared, request, &Leg::whole(&prepared, bound), nodes);
            circle.map(|circle| circle.said(exact))
        };
        match best.is_empty() {
            false => best.iter().map(|held| circle(&held.1)).collect(),
            true if exact => Err(RouteError::NoPath),
            true => Err(RouteError::GaveUp),
        }
    }

    /// Does something with one `n`th of the steps that are left.
    pub(crate) fn with_one_of<T>(&mut self, n: u64, search: impl FnOnce(&mut Self) -> T) -> T {
        let all = self.effort.allow_one_of(n);
        let found = search(self);
        self.effort.allow(all);
        found
    }

    /// The cheapest way found through `via`. Two legs that must not touch can't be searched for exactly at bearable cost. Where the
    /// cheapest legs don't touch, and are short enough together, they are the answer. Otherwise: first the leg behind it, then the one
    /// before it, and once more the other way round, at every length; then it is not certain that nothing cheaper exists.
    pub(crate) fn by_way_of(&mut self, prepared: &Prepared, via: u32, bound: u64) -> Option<Found> {
        if prepared.max_hops < 2 {
            return None;
        }
        match self.with_one_of(2, |search| search.cheapest_legs(prepared, via, bound)) {
            Legs::Apart(found) => return Some(found),
            Legs::Missing if self.effort.sure => return None,
            _ => self.effort.sure = false,
        }
        let mut best: Option<Found> = None;
        for hops in (1..prepared.max_hops).rev() {
            for payee_first in [true, false] {
                let bound = best.as_ref().map_or(bound, |held| held.fees);
                let found = self.with_one_of(3, |search| {
                    if payee_first {
                        search.payee_leg_first(prepared, via, hops, bound)
                    } else {
                        search.payer_leg_first(prepared, via, hops, bound)
                    }
                });
                best = found.or(best);
            }
        }
        best
    }

    /// The cheapest leg behind `via`, and the cheapest before it for what that needs, whether they touch or not: together they cost no
    /// more than any way through it.
    fn cheapest_legs(&mut self, prepared: &Prepared, via: u32, bound: u64) -> Legs {
        let whole = Leg::whole(prepared, bound);
        let most = prepared.max_hops - 1;
        let mut apart = prepared.clone();
        apart.block(prepared.from);
        let behind = Leg {
            from: via,
            first_fee: true,
            max_hops: most,
            ..whole
        };
        let Some(tail) = self.with_one_of(2, |search| search.leg(&apart, &behind)) else {
            return Legs::Missing;
        };
        apart = prepared.clone();
        apart.block(prepared.to);
        let (Some(amount), Some(left)) = (
            prepared.amount.checked_add(tail.fees),
            bound.checked_sub(tail.fees),
        ) else {
            return Legs::Missing;
        };
        let before = Leg {
            to: via,
            amount,
            exact_last: false,
            max_hops: most,
            bound: left,
            ..whole
        };
        let Some(head) = self.leg(&apart, &before) else {
            return Legs::Missing;
        };
        let edges = head.nodes.len() + tail.nodes.len() - 2;
        let touch = tail.nodes.iter().skip(1).any(|n| head.nodes.contains(n));
        if touch || edges > usize::from(prepared.max_hops) {
            return Legs::Touch;
        }
        joined(prepared, &whole, &head, &tail).map_or(Legs::Touch, Legs::Apart)
    }

    fn payee_leg_first(
        &mut self,
        prepared: &Prepared,
        via: u32,
        hops: u8,
        bound: u64,
    ) -> Option<Found> {
        let mut apart = prepared.clone();
        apart.block(prepared.from);
        let whole = Leg::whole(prepared, bound);
        let behind = Leg {
            from: via,
            first_fee: true,
            max_hops: hops,
            ..whole
        };
        let tail = self.leg(&apart, &behind)?;
        apart = prepared.clone();
        for node in tail.nodes.iter().filter(|node| **node != via) {
            apart.block(*node);
        }
        let before = Leg {
            to: via,
            amount: prepared.amount.checked_add(tail.fees)?,
            exact_last: false,
            max_hops: prepared.max_hops - u8::try_from(tail.nodes.len() - 1).ok()?,
            bound: bound.checked_sub(tail.fees)?,
            ..whole
        };
        let head = self.leg(&apart, &before).filter(|_| before.max_hops > 0)?;
        joined(prepared, &whole, &head, &tail)
    }

    fn payer_leg_first(
        &mut self,
        prepared: &Prepared,
        via: u32,
        hops: u8,
        bound: u64,
    ) -> Option<Found> {
        let mut apart = prepared.clone();
        apart.block(prepared.to);
        let whole = Leg::whole(prepared, bound);
        // What must reach `via` is not known yet: at least the amount.
        let before = Leg {
            to: via,
            exact_last: false,
            max_hops: hops,
            ..whole
        };
        let head = self.leg(&apart, &before)?;
        apart = prepared.clone();
        for node in head.nodes.iter().filter(|node| **node != via) {
            apart.block(*node);
        }
        let left = prepared.max_hops - u8::try_from(head.nodes.len() - 1).ok()?;
        let behind = Leg {
            from: via,
            first_fee: true,
            max_hops: left,
            ..whole
        };
        let tail = self.leg(&apart, &behind).filter(|_| left > 0)?;
        joined(prepared, &whole, &head, &tail)
    }
}

fn check_count(n: usize) -> Result<(), RouteError> {
    if (1..=MAX_PARTS).contains(&n) {
        Ok(())
    } else {
        Err(RouteError::LimitInvalid {
            what: "n",
            limit: MAX_PARTS,
        })
    }
}

/// Two legs as one way, if it is below the bound.
fn joined(prepared: &Prepared, whole: &Leg, head: &Found, tail: &Found) -> Option<Found> {
    let nodes: Vec<u32> = head
        .nodes
        .iter()
        .chain(tail.nodes.iter().skip(1))
        .copied()
        .collect();
    let (_, needed) = whole.price(prepared, &nodes)?;
    let fees = needed - prepared.amount;
    (fees < whole.bound).then_some(Found { nodes, fees })
}

fn passes(prepared: &Prepared, nodes: &[u32]) -> bool {
    prepared.via.is_none_or(|via| nodes.contains(&via))
}

/// Friends that can send the amount back to the payer, and what must reach them for that, the cheapest first.
fn last_hops(prepared: &Prepared) -> Vec<(u32, u64)> {
    let published = prepared
        .graph
        .into(prepared.to)
        .map_or(&[][..], |fan| fan.spokes());
    let private = prepared.hints_into(prepared.to).iter().map(|hint| hint.1);
    let mut friends: Vec<u32> = published
        .iter()
        .map(|spoke| spoke.peer)
        .chain(private)
        .collect();
    friends.sort_unstable();
    friends.dedup();
    let how = Crossing {
        exact: true,
        with_fee: true,
    };
    let needed = |friend: u32| {
        let edge = prepared
            .edge(friend, prepared.to)
            .filter(|_| !prepared.is_blocked(friend))?;
        Some((friend, edge.cross(prepared.amount, prepared.now, how)?.1))
    };
    let mut hops: Vec<(u32, u64)> = friends.into_iter().filter_map(needed).collect();
    hops.sort_by_key(|(friend, needed)| (*needed, *friend));
    hops.truncate(MOST_FRIENDS);
    hops
}

fn ids(prepared: &Prepared, route: &Route) -> Vec<u32> {
    route
        .users()
        .filter_map(|user| prepared.id(&user))
        .collect()
}
