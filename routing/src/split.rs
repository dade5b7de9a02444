//! An amount in parts, where no single path is wide enough.

use atomicity_ledger::amount::MAX_MINOR;

use std::collections::BTreeMap;

use crate::error::RouteError;
use crate::graph::Graph;
use crate::request::{Leg, Prepared, Request};
use crate::route::{Hop, Route};
use crate::search::{Effort, Searcher};

/// Routes that together carry an amount. No edge takes more than it can, over all parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    parts: Vec<Route>,
    exact: bool,
}

/// Routes that together carry the amount: see [`Searcher::split`].
///
/// # Errors
/// As [`Searcher::split`].
pub fn split(graph: &Graph, request: &Request) -> Result<Plan, RouteError> {
    Searcher::new().split(graph, request)
}

impl Plan {
    /// The parts; at least one.
    #[must_use]
    pub fn parts(&self) -> &[Route] {
        &self.parts
    }

    /// Whether it is one route, and certain to be the cheapest single one: see [`Route::exact`]. Of several parts that is never certain.
    #[must_use]
    pub fn exact(&self) -> bool {
        self.exact
    }

    /// What all hops of all parts take, in minor units.
    #[must_use]
    pub fn fee(&self) -> u64 {
        self.parts
            .iter()
            .map(Route::fee)
            .fold(0, u64::saturating_add)
    }

    /// Whether all parts together are payable for this request, as [`Route::check`] says it of one.
    ///
    /// # Errors
    /// As [`Route::check`]; [`RouteError::AmountOutside`] where parts together overfill an edge.
    pub fn check(&self, graph: &Graph, request: &Request) -> Result<(), RouteError> {
        let mut over: BTreeMap<_, u128> = BTreeMap::new();
        let mut whole = 0u128;
        for part in &self.parts {
            part.check(graph, request)?;
            whole += u128::from(part.amount().minor());
            for hop in part.hops() {
                *over.entry((hop.from, hop.to)).or_default() += u128::from(hop.amount.minor());
            }
        }
        if whole != u128::from(request.amount.minor()) || self.parts.len() > request.max_parts {
            return Err(RouteError::RouteMalformed("the parts don't add up"));
        }
        let prepared = Prepared::new(graph, request)?;
        let room = |hop: &Hop| {
            prepared
                .edge(prepared.id(&hop.from)?, prepared.id(&hop.to)?)
                .map(|edge| edge.cap)
        };
        for (at, hop) in self
            .parts
            .iter()
            .flat_map(|part| part.hops().iter().enumerate())
        {
            let sum = over.get(&(hop.from, hop.to)).copied().unwrap_or(0);
            if room(hop).is_none_or(|room| sum > u128::from(room)) {
                return Err(RouteError::AmountOutside {
                    hop: at,
                    amount: u64::try_from(sum).unwrap_or(u64::MAX),
                });
            }
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

/// Parts among which the steps that are left are shared out, at most.
const MOST_SHARES: u64 = 4;

/// How large the next part is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Choice {
    /// The cheapest path that carries a fair share.
    Cheapest,
    /// The path that carries most.
    Widest,
}

/// A part while a plan is made.
struct Part {
    nodes: Vec<u32>,
    sent: Vec<u64>,
    total: u64,
}

/// What an attempt came to.
struct Attempt {
    parts: Vec<Part>,
    fees: u64,
    missing: u64,
}

impl Searcher {
    /// Routes that together carry the amount: one if one can, several that share capacities where none is wide enough, each the
    /// cheapest for its part on what the others left. All fees together stay within `max_fee`. Half of the steps allowed are for a single
    /// route.
    ///
    /// # Errors
    /// As [`Searcher::find`]; [`RouteError::TooNarrowInParts`] if the whole could not be placed within the limits.
    pub fn split(&mut self, graph: &Graph, request: &Request) -> Result<Plan, RouteError> {
        self.effort = Effort::new(request.max_steps);
        let share = if request.max_parts == 1 { 1 } else { 2 };
        match self.with_one_of(share, |search| search.whole(graph, request)) {
            Ok(route) => Ok(Plan {
                exact: route.exact(),
                parts: vec![route],
            }),
            Err(alone) => self.parts(graph, request, alone),
        }
    }

    /// What [`split`](Self::split) does once it is known why there is no single route: for whoever has asked for one before.
    ///
    /// # Errors
    /// As [`Searcher::split`].
    pub fn split_after(
        &mut self,
        graph: &Graph,
        request: &Request,
        alone: RouteError,
    ) -> Result<Plan, RouteError> {
        self.effort = Effort::new(request.max_steps);
        self.parts(graph, request, alone)
    }

    fn parts(
        &mut self,
        graph: &Graph,
        request: &Request,
        alone: RouteError,
    ) -> Result<Plan, RouteError> {
        let worth = matches!(
            alone,
            RouteError::NoPath
                | RouteError::GaveUp
                | RouteError::TooNarrow { .. }
                | RouteError::FeeTooHigh { .. }
        );
        if !worth || request.max_parts == 1 {
            return Err(alone);
        }
        let prepared = Prepared::new(graph, request)?;
        self.effort.sure = true;
        let attempts = [(Choice::Cheapest, 2), (Choice::Widest, 1)].map(|(choice, share)| {
            self.with_one_of(share, |search| search.attempt(&prepared, request, choice))
        });
        let best = attempts
            .iter()
            .min_by_key(|attempt| (attempt.missing, attempt.fees));
        let sure = self.effort.sure;
        let Some(best) = best.filter(|best| !best.parts.is_empty()) else {
            return Err(if sure { alone } else { RouteError::GaveUp });
        };
        if best.missing > 0 && !sure {
            return Err(RouteError::GaveUp);
        }
        if best.missing > 0 {
            let carried = prepared.amount - best.missing;
            return Err(RouteError::TooNarrowInParts {
                parts: best.parts.len(),
                carried,
            });
        }
        let part =
            |part: &Part| Route::of_parts(&prepared, request, &part.nodes, &part.sent, part.total);
        Ok(Plan {
            parts: best.parts.iter().map(part).collect::<Result<_, _>>()?,
            exact: false,
        })
    }

    fn attempt(&mut self, prepared: &Prepared, request: &Request, choice: Choice) -> Attempt {
        let mut rest = prepared.clone();
        let mut attempt = Attempt {
            parts: Vec::new(),
            fees: 0,
            missing: prepared.amount,
        };
        for left in (1..=request.max_parts as u64).rev() {
            if attempt.missing == 0 {
                break;
            }
            let bound = request
                .max_fee
                .minor()
                .saturating_sub(attempt.fees)
                .saturating_add(1);
            let part = self.with_one_of(left.min(MOST_SHARES), |search| {
                search.part(&mut rest, bound, (attempt.missing, left), choice)
            });
            let Some(part) = part else {
                break;
            };
            let amount = part.sent.last().copied().unwrap_or(0);
            for (pair, sent) in part.nodes.windows(2).zip(&part.sent) {
                if let &[from, to] = pair {
                    rest.taken.add(from, to, *sent);
                }
            }
            attempt.fees = attempt
                .fees
                .saturating_add(part.total - amount)
                .min(MAX_MINOR);
            attempt.missing -= amount;
            attempt.parts.push(part);
        }
        attempt
    }

    /// The next part of what is missing, with `left` parts to go.
    fn part(
        &mut self,
        rest: &mut Prepared,
        bound: u64,
        (missing, left): (u64, u64),
        choice: Choice,
    ) -> Option<Part> {
        let share = missing.div_ceil(left);
        let mut carries = |amount: u64| {
            rest.amount = amount;
            let found = self.with_one_of(2, |search| search.best_way(rest, bound))?;
            Some((found, amount))
        };
        if let Some((found, amount)) = carries(missing) {
            return priced(rest, &found.nodes, bound, amount, amount);
        }
        let (mut found, mut low) = carries(share)?;
        if choice == Choice::Widest {
            let mut high = missing;
            // A part that is within a sixty-fourth of the widest will do.
            while high - low > (low >> 6).max(1) {
                let middle = low + (high - low) / 2;
                match carries(middle) {
                    Some((better, amount)) => (found, low) = (better, amount),
                    None => high = middle,
                }
            }
        }
        priced(rest, &found.nodes, bound, low, missing)
    }
}

/// The largest amount that a path carries, between one that it does and another, with fees below the bound.
fn priced(rest: &mut Prepared, nodes: &[u32], bound: u64, carried: u64, most: u64) -> Option<Part> {
    let mut price = |amount: u64| {
        rest.amount = amount;
        let (sent, total) = Leg::whole(rest, bound).price(rest, nodes)?;
        (total - amount < bound).then(|| Part {
            nodes: nodes.to_vec(),
            sent,
            total,
        })
    };
    let (mut low, mut high) = (carried, most);
    let mut best = price(low)?;
    if let Some(part) = price(high) {
        return Some(part);
    }
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        match price(middle) {
            Some(part) => (best, low) = (part, middle),
            None => high = middle,
        }
    }
    Some(best)
}
