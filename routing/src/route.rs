//! A route, and a check of it that shares nothing with the search.

use std::collections::BTreeSet;

use atomicity_ledger::{Amount, Timestamp, Total, UserKey};

use crate::error::RouteError;
use crate::graph::{Graph, Offer};
use crate::request::{Leg, Prepared, Request};

/// One edge of a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hop {
    /// Who sends.
    pub from: UserKey,
    /// Who receives.
    pub to: UserKey,
    /// What is sent over this edge, in minor units.
    pub amount: Amount,
    /// What `from` keeps of what reached it, in minor units: at least its fee, and nothing at the payer. It is more than the fee
    /// only where an edge has a minimum above what would have to be sent.
    pub fee: Total,
}

/// A way for a payment: a chain of edges and what is sent over each. It has at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    hops: Vec<Hop>,
    amount: Amount,
    total: Amount,
    exact: bool,
}

impl Route {
    /// Puts amounts on a path.
    pub(crate) fn build(
        prepared: &Prepared,
        request: &Request,
        leg: &Leg,
        nodes: &[u32],
    ) -> Result<Self, RouteError> {
        let (sent, total) = leg.price(prepared, nodes).ok_or(RouteError::NoPath)?;
        Self::of_parts(prepared, request, nodes, &sent, total)
    }

    /// The same from amounts that are worked out already.
    pub(crate) fn of_parts(
        prepared: &Prepared,
        request: &Request,
        nodes: &[u32],
        sent: &[u64],
        total: u64,
    ) -> Result<Self, RouteError> {
        let mut hops = Vec::with_capacity(sent.len());
        let mut reached = total;
        for (pair, over) in nodes.windows(2).zip(sent) {
            let &[from, to] = pair else { continue };
            let (Some(from), Some(to)) = (prepared.key(from), prepared.key(to)) else {
                return Err(RouteError::NoPath);
            };
            let fee = Total::from_minor(reached.saturating_sub(*over))
                .map_err(|_| RouteError::Overflow)?;
            hops.push(Hop {
                from,
                to,
                amount: RouteError::amount(*over)?,
                fee,
            });
            reached = *over;
        }
        let amount = hops
            .last()
            .map(|hop| hop.amount)
            .ok_or(RouteError::NoPath)?;
        debug_assert!(
            nodes.first() == Some(&prepared.from)
                && request.from == hops.first().map_or(request.to, |h| h.from)
        );
        Ok(Self {
            hops,
            amount,
            total: RouteError::amount(total)?,
            exact: false,
        })
    }

    /// The same, with what is known about whether a cheaper one exists.
    pub(crate) fn said(self, exact: bool) -> Self {
        Self { exact, ..self }
    }

    /// Whether it is certain that nothing cheaper answers the question: not where its steps ended first, nor where a way through
    /// somebody could only be put together of legs that get out of each other's way. A part of several never says so.
    #[must_use]
    pub fn exact(&self) -> bool {
        self.exact
    }

    /// The edges, from the payer on.
    #[must_use]
    pub fn hops(&self) -> &[Hop] {
        &self.hops
    }

    /// What the payee gets, in minor units.
    #[must_use]
    pub fn amount(&self) -> Amount {
        self.amount
    }

    /// What the payer sends, fees included, in minor units.
    #[must_use]
    pub fn total(&self) -> Amount {
        self.total
    }

    /// What all hops together take, in minor units.
    #[must_use]
    pub fn fee(&self) -> u64 {
        self.total.minor().saturating_sub(self.amount.minor())
    }

    /// The users on it, from the payer to the payee.
    pub fn users(&self) -> impl Iterator<Item = UserKey> {
        let last = self.hops.last().map(|hop| hop.to);
        self.hops.iter().map(|hop| hop.from).chain(last)
    }

    /// Whether the route is payable for this request as long as the published figures are true: every edge is published by both
    /// ends, alive and wide enough, every hop gets its fee, and every limit of the request holds. The amount may be a part of what
    /// the request asks for.
    ///
    /// # Errors
    /// What is wrong first: [`RouteError::RouteMalformed`], [`RouteError::EdgeUnusable`], [`RouteError::AmountOutside`],
    /// [`RouteError::FeeMissing`], [`RouteError::FeeTooHigh`].
    pub fn check(&self, graph: &Graph, request: &Request) -> Result<(), RouteError> {
        self.check_shape(request)?;
        let mut reached = self.total.minor();
        for (at, hop) in self.hops.iter().enumerate() {
            let (offer, expires) =
                usable(graph, request, hop).ok_or(RouteError::EdgeUnusable { hop: at })?;
            let amount = hop.amount.minor();
            if expires.is_some_and(|expires| expires <= request.now) {
                return Err(RouteError::EdgeUnusable { hop: at });
            }
            if amount < offer.min.minor() || amount > offer.capacity.minor() {
                return Err(RouteError::AmountOutside { hop: at, amount });
            }
            let asked = if at == 0 { 0 } else { asked(&offer, amount) };
            if u128::from(amount) + asked > u128::from(reached) {
                let fee = u64::try_from(asked).unwrap_or(u64::MAX);
                return Err(RouteError::FeeMissing { hop: at, fee });
            }
            if u128::from(amount) + u128::from(hop.fee.minor()) != u128::from(reached) {
                return Err(RouteError::RouteMalformed("a hop's share does not add up"));
            }
            reached = amount;
        }
        Ok(())
    }

    fn check_shape(&self, request: &Request) -> Result<(), RouteError> {
        let wrong = |what| Err(RouteError::RouteMalformed(what));
        let (Some(first), Some(last)) = (self.hops.first(), self.hops.last()) else {
            return wrong("it has no edge");
        };
        if first.from != request.from || last.to != request.to {
            return wrong("it joins other users");
        }
        if last.amount != self.amount || self.amount > request.amount || first.fee != Total::ZERO {
            return wrong("it carries another amount");
        }
        if self.hops.len() > request.max_hops {
            return wrong("it is too long");
        }
        if self
            .hops
            .windows(2)
            .any(|pair| matches!(pair, [a, b] if a.to != b.from))
        {
            return wrong("it is no chain");
        }
        let senders: BTreeSet<UserKey> = self.hops.iter().map(|hop| hop.from).collect();
        let round = request.from == request.to;
        if senders.len() < self.hops.len()
            || (senders.contains(&request.to) && !round)
            || (round && self.hops.len() < 3)
        {
            return wrong("it visits a user twice");
        }
        if request
            .via
            .is_some_and(|via| via != request.to && !senders.contains(&via))
        {
            return wrong("it does not pass the user it must");
        }
        let avoided = |user: &UserKey| {
            request.avoid_nodes.contains(user) && *user != request.from && *user != request.to
        };
        if senders.iter().any(avoided) {
            return wrong("it passes a user to avoid");
        }
        if self.fee() > request.max_fee.minor() {
            return Err(RouteError::FeeTooHigh {
                cheapest: self.fee(),
                allowed: request.max_fee.minor(),
            });
        }
        Ok(())
    }
}

/// Checks a route whose first user forwards as well, and so takes a fee; returns that fee.
pub(crate) fn asked_by_first(
    graph: &Graph,
    request: &Request,
    route: &Route,
) -> Result<u128, RouteError> {
    let mut bare = route.clone();
    let first = bare.hops.first_mut();
    let first = first.ok_or(RouteError::RouteMalformed("it has no edge"))?;
    let kept = u128::from(first.fee.minor());
    first.fee = Total::ZERO;
    bare.total = first.amount;
    let (offer, _) = usable(graph, request, first).ok_or(RouteError::EdgeUnusable { hop: 0 })?;
    let fee = asked(&offer, first.amount.minor());
    if kept < fee {
        let fee = u64::try_from(fee).unwrap_or(u64::MAX);
        return Err(RouteError::FeeMissing { hop: 0, fee });
    }
    bare.check(graph, request)?;
    Ok(fee)
}

/// `base + ceil(amount × ppm / 10^6)`.
fn asked(offer: &Offer, amount: u64) -> u128 {
    let millionths = u128::from(amount) * u128::from(offer.ppm);
    let share = millionths / 1_000_000 + u128::from(!millionths.is_multiple_of(1_000_000));
    share + u128::from(offer.base_fee.minor())
}

/// The edge under a hop: the payer's own knowledge first, then hints, then what is published.
fn usable(graph: &Graph, request: &Request, hop: &Hop) -> Option<(Offer, Option<Timestamp>)> {
    if request.avoid_edges.contains(&(hop.from, hop.to)) {
        return None;
    }
    if hop.from == request.from && request.first_hops.is_some() {
        let own = request
            .first_hops
            .iter()
            .flatten()
            .rfind(|own| own.to == hop.to)?;
        let offer = Offer {
            capacity: own.capacity,
            min: own.min,
            base_fee: Total::ZERO,
            ppm: 0,
        };
        return Some((offer, None));
    }
    if let Some(hint) = request
        .hints
        .iter()
        .rfind(|hint| hint.from == hop.from && hint.to == hop.to)
    {
        let offer = Offer {
            capacity: hint.capacity,
            min: hint.min,
            base_fee: hint.base_fee,
            ppm: hint.ppm,
        };
        return Some((offer, None));
    }
    graph
        .edge(&hop.from, &hop.to, &request.unit)
        .map(|(offer, expires)| (offer, Some(expires)))
}
