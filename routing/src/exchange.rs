//! A way on which one user exchanges units: what the payer owes in one arrives in another.

use std::collections::BTreeSet;

use atomicity_ledger::amount::MAX_MINOR;
use atomicity_ledger::{Amount, Total, Unit, UserKey};

use crate::error::RouteError;
use crate::graph::Graph;
use crate::request::{Leg, Prepared, Request};
use crate::route::{Route, asked_by_first};
use crate::search::{Effort, Searcher};

/// Of how many who exchange, and can be paid over, the cheapest way is looked for: those with the best rates.
const MOST_EXCHANGERS: usize = 16;
/// Of how many it is looked for in all: rates cost nothing, and those to whom no way leads must not hide the others.
const MOST_LOOKED_AT: usize = 64;

/// At which rate somebody promises one unit onward for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Who.
    pub by: UserKey,
    /// This many minor units of the payer's unit are asked …
    pub num: Amount,
    /// … for this many of the payee's, rounded up.
    pub den: Amount,
    /// The most of the payee's unit that is promised onward, in minor units.
    pub max: Amount,
}

impl Rate {
    /// What is asked for `given`, in minor units; `None` above the largest amount.
    fn asked(&self, given: u64) -> Option<u64> {
        let asked = (u128::from(given) * u128::from(self.num.minor()))
            .div_ceil(u128::from(self.den.minor()));
        u64::try_from(asked)
            .ok()
            .filter(|asked| *asked <= MAX_MINOR)
    }
}

/// Who wants to pay whom, where both don't use the same unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExchangeRequest {
    /// What is to arrive, and the limits. `first_hops` are channels in the payer's unit; `hints` are edges in the payee's. Who is
    /// named as `via` must be the one who exchanges. Fees are limited by [`max_total`](Self::max_total), not here.
    pub request: Request,
    /// What the payer owes.
    pub pay_unit: Unit,
    /// The most that the payer sends of it, in minor units.
    pub max_total: Total,
    /// Everybody who exchanges that for the payee's unit.
    pub rates: Vec<Rate>,
}

/// A way on which one user exchanges.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exchanged {
    /// From the payer to whoever exchanges, in the payer's unit.
    pub before: Route,
    /// The exchange.
    pub rate: Rate,
    /// From there to the payee, in the payee's unit. Its total is what the rate is applied to: what is promised onward, and the fee
    /// of whoever exchanges.
    pub behind: Route,
    /// Whether it is certain that nothing cheaper answers the question: see [`Searcher::find_exchanged`].
    pub exact: bool,
}

/// The cheapest way with an exchange: see [`Searcher::find_exchanged`].
///
/// # Errors
/// As [`Searcher::find_exchanged`].
pub fn find_exchanged(graph: &Graph, wanted: &ExchangeRequest) -> Result<Exchanged, RouteError> {
    Searcher::new().find_exchanged(graph, wanted)
}

impl Exchanged {
    /// What the payer sends, in minor units of the payer's unit.
    #[must_use]
    pub fn total(&self) -> Amount {
        self.before.total()
    }

    /// Whether it is payable for this request as long as the published figures are true, as [`Route::check`] says it of one unit.
    ///
    /// # Errors
    /// As [`Route::check`]; [`RouteError::TotalTooHigh`]; [`RouteError::RouteMalformed`] for a rate that was not given.
    pub fn check(&self, graph: &Graph, wanted: &ExchangeRequest) -> Result<(), RouteError> {
        let wrong = |what| Err(RouteError::RouteMalformed(what));
        let by = self.rate.by;
        if !wanted.rates.contains(&self.rate) || wanted.request.avoid_nodes.contains(&by) {
            return wrong("nobody exchanges at this rate");
        }
        let edges = self.before.hops().len() + self.behind.hops().len();
        if edges > wanted.request.max_hops {
            return wrong("it is too long");
        }
        let users: Vec<UserKey> = self.before.users().chain(self.behind.users()).collect();
        // Whoever exchanges stands in both.
        if users.iter().collect::<BTreeSet<_>>().len() + 1 != users.len() {
            return wrong("it visits a user twice");
        }
        let first = asked_by_first(graph, &wanted.behind(by), &self.behind)?;
        let onward = self
            .behind
            .hops()
            .first()
            .map_or(0, |hop| hop.amount.minor());
        if onward > self.rate.max.minor() {
            return Err(RouteError::AmountOutside {
                hop: self.before.hops().len(),
                amount: onward,
            });
        }
        let needed = u64::try_from(u128::from(onward) + first).map_err(|_| RouteError::Overflow)?;
        let asked = self.rate.asked(needed).ok_or(RouteError::Overflow)?;
        if asked > self.before.amount().minor() {
            return Err(RouteError::FeeMissing {
                hop: self.before.hops().len(),
                fee: asked,
            });
        }
        let before = wanted.before(by, self.before.amount());
        self.before.check(graph, &before)?;
        if self.total().minor() > wanted.max_total.minor() {
            return Err(RouteError::TotalTooHigh {
                cheapest: self.total().minor(),
                allowed: wanted.max_total.minor(),
            });
        }
        Ok(())
    }
}

impl ExchangeRequest {
    /// The question about the way behind whoever exchanges.
    fn behind(&self, by: UserKey) -> Request {
        let mut behind = Request {
            from: by,
            max_fee: Total::MAX,
            first_hops: None,
            via: None,
            ..self.request.clone()
        };
        behind.avoid_nodes.push(self.request.from);
        behind
    }

    /// The question about the way to whoever exchanges.
    fn before(&self, by: UserKey, asked: Amount) -> Request {
        let mut before = Request {
            to: by,
            unit: self.pay_unit.clone(),
            amount: asked,
            max_fee: Total::MAX,
            hints: Vec::new(),
            via: None,
            ..self.request.clone()
        };
        before.avoid_nodes.push(self.request.to);
        before
    }

    /// Who may exchange, the best rate first, with what is asked for the bare amount.
    fn exchangers(&self) -> Vec<(u64, Rate)> {
        let request = &self.request;
        let fits = |rate: &&Rate| {
            rate.by != request.from
                && rate.by != request.to
                && rate.max >= request.amount
                && request.via.is_none_or(|via| via == rate.by)
                && !request.avoid_nodes.contains(&rate.by)
        };
        let fitting = self.rates.iter().filter(fits);
        let mut all: Vec<(u64, Rate)> = fitting
            .filter_map(|rate| Some((rate.asked(request.amount.minor())?, *rate)))
            .collect();
        all.sort_by_key(|(asked, rate)| (*asked, rate.by));
        all
    }

    /// Whether somebody has any channel in both units.
    fn has_channels(&self, graph: &Graph, by: &UserKey) -> bool {
        let request = &self.request;
        let mut first = request.first_hops.iter().flatten();
        let paid = graph.unit(&self.pay_unit).id(by).is_some() || first.any(|hop| hop.to == *by);
        let pays = graph.unit(&request.unit).id(by).is_some()
            || request.hints.iter().any(|hint| hint.from == *by);
        paid && pays
    }
}

impl Searcher {
    /// The cheapest way, in the payer's unit, on which exactly one user exchanges: for each who does, those with the best rates
    /// first, the cheapest way from them to the payee, and then the cheapest to them that shares no user with it. Payable, and the
    /// cheapest wherever the cheapest ways to and from whoever exchanges don't touch; [`Exchanged::exact`] says so where that is the
    /// case of everybody who could have been cheaper. Each who exchanges may take a quarter of the steps that are left.
    ///
    /// # Errors
    /// [`RouteError::NoExchange`] if nobody exchanges so much; [`RouteError::NoPath`] if no way leads over any of them, and
    /// [`RouteError::GaveUp`] if that is not certain; [`RouteError::TotalTooHigh`]; as [`Searcher::find`] for a request that makes no sense.
    pub fn find_exchanged(
        &mut self,
        graph: &Graph,
        wanted: &ExchangeRequest,
    ) -> Result<Exchanged, RouteError> {
        if wanted.request.from == wanted.request.to {
            return Err(RouteError::ToOneself);
        }
        let exchangers = wanted.exchangers();
        if exchangers.is_empty() || wanted.pay_unit == wanted.request.unit {
            return Err(RouteError::NoExchange);
        }
        self.effort = Effort::new(wanted.request.max_steps);
        let mut best: Option<Exchanged> = None;
        let (mut found, mut looked_at) = (0, 0);
        let reachable = |(_, rate): &(u64, Rate)| wanted.has_channels(graph, &rate.by);
        let exchangers = exchangers.into_iter().filter(reachable);
        for (least, rate) in exchangers {
            let bound = best.as_ref().map_or(MAX_MINOR, |b| b.total().minor());
            if least >= bound {
                break;
            }
            if looked_at == MOST_LOOKED_AT || found == MOST_EXCHANGERS {
                self.effort.sure = false;
                break;
            }
            looked_at += 1;
            let over = self.with_one_of(4, |search| search.over(graph, wanted, rate, bound))?;
            if let Some(cheaper) = over {
                best = Some(cheaper);
                found += 1;
            }
        }
        let exact = self.effort.sure;
        let best = match best {
            Some(best) => Exchanged { exact, ..best },
            None if exact => return Err(RouteError::NoPath),
            None => return Err(RouteError::GaveUp),
        };
        if best.total().minor() > wanted.max_total.minor() {
            return Err(RouteError::TotalTooHigh {
                cheapest: best.total().minor(),
                allowed: wanted.max_total.minor(),
            });
        }
        Ok(best)
    }

    /// The way over one who exchanges, if it costs less than `bound`: the cheapest from them, and the cheapest to them for what that
    /// needs, if these don't touch. Otherwise the cheapest to them that does not touch the one behind them; where none is short enough, a
    /// shorter one behind them is tried.
    fn over(
        &mut self,
        graph: &Graph,
        wanted: &ExchangeRequest,
        rate: Rate,
        bound: u64,
    ) -> Result<Option<Exchanged>, RouteError> {
        let all = wanted.request.max_hops.saturating_sub(1);
        let mut most = all;
        while most > 0 {
            let Some(behind) = self.behind(graph, wanted, rate, most)? else {
                return Ok(None);
            };
            let edges = behind.hops().len();
            let asked = rate.asked(behind.total().minor());
            let asked = asked.filter(|asked| *asked < bound);
            let Some(asked) = asked.and_then(|asked| Amount::from_minor(asked).ok()) else {
                return Ok(None);
            };
            let left = wanted.request.max_hops - edges;
            let avoid: Vec<UserKey> = behind.users().skip(1).collect();
            let fits = |before: &Route| {
                before.hops().len() <= left && !before.users().any(|user| avoid.contains(&user))
            };
            let over = |before: Route, behind: Route| Exchanged {
                before,
                rate,
                behind,
                exact: false,
            };
            let amounts = (asked, bound);
            if most == all {
                let before = self.before(graph, wanted, rate.by, amounts, (all, &[]))?;
                match before {
                    None => return Ok(None),
                    Some(before) if fits(&before) => return Ok(Some(over(before, behind))),
                    Some(_) => {}
                }
            }
            // If nothing so short leads to them at all, none goes on over so many edges or more.
            let before = self.before(graph, wanted, rate.by, amounts, (left, &[]))?;
            if let Some(before) = before {
                self.effort.sure = false;
                let apart = match fits(&before) {
                    true => Some(before),
                    false => self.before(graph, wanted, rate.by, amounts, (left, &avoid))?,
                };
                if let Some(before) = apart {
                    return Ok(Some(over(before, behind)));
                }
            }
            most = edges - 1;
        }
        Ok(None)
    }

    fn behind(
        &mut self,
        graph: &Graph,
        wanted: &ExchangeRequest,
        rate: Rate,
        max_hops: usize,
    ) -> Result<Option<Route>, RouteError> {
        let request = Request {
            max_hops,
            ..wanted.behind(rate.by)
        };
        let Some(prepared) = known(Prepared::new(graph, &request))? else {
            return Ok(None);
        };
        let leg = Leg {
            first_fee: true,
            ..Leg::whole(&prepared, MAX_MINOR)
        };
        let Some(found) = self.leg(&prepared, &leg) else {
            return Ok(None);
        };
        let route = Route::build(&prepared, &request, &leg, &found.nodes)?;
        let onward = route.hops().first().map(|hop| hop.amount);
        let fits = onward.is_some_and(|onward| onward <= rate.max);
        // A dearer way may send less onward.
        self.effort.sure &= fits;
        Ok(Some(route).filter(|_| fits))
    }

    fn before(
        &mut self,
        graph: &Graph,
        wanted: &ExchangeRequest,
        by: UserKey,
        (asked, bound): (Amount, u64),
        (max_hops, avoid): (usize, &[UserKey]),
    ) -> Result<Option<Route>, RouteError> {
        let mut request = Request {
            max_hops,
            ..wanted.before(by, asked)
        };
        request.avoid_nodes.extend(avoid);
        let Some(prepared) = known(Prepared::new(graph, &request))? else {
            return Ok(None);
        };
        let leg = Leg {
            exact_last: false,
            ..Leg::whole(&prepared, bound - asked.minor())
        };
        match self.leg(&prepared, &leg) {
            None => Ok(None),
            Some(found) => Route::build(&prepared, &request, &leg, &found.nodes).map(Some),
        }
    }
}

/// Who is not known in a unit has no way there; anything else is the question's fault.
fn known(prepared: Result<Prepared, RouteError>) -> Result<Option<Prepared>, RouteError> {
    match prepared {
        Ok(prepared) => Ok(Some(prepared)),
        Err(RouteError::UnknownPayer | RouteError::UnknownPayee | RouteError::UnknownUnit) => {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}
