//! Working a question out on the graph, off the threads that serve requests.

use std::time::{Duration, Instant};

use atomicity_ledger::{Amount, Total, Unit, UserKey};
use atomicity_routing::{
    CircleRequest, DebtCircle, ExchangeRequest, Exchanged, FirstHop, Graph, Hint, Request, Route,
    RouteError, Searcher,
};

use super::config::RouterConfig;
use super::map::Reading;
use super::{Router, now};
use crate::error::PluginError;

/// How long a question waits for its turn.
const PATIENCE: Duration = Duration::from_secs(2);

/// A question, its parts read and within bounds.
#[derive(Clone, Debug)]
pub struct Question {
    /// The payer, unless they keep it to themselves.
    pub from: Option<UserKey>,
    /// The payer's own channels, if they tell.
    pub first: Option<Vec<(UserKey, Amount)>>,
    /// The payee.
    pub to: UserKey,
    /// What the payee's invoice says of the last hops.
    pub hints: Vec<Hint>,
    /// The unit.
    pub unit: Unit,
    /// What is to arrive.
    pub amount: Amount,
    /// The most that all hops may take.
    pub max_fee: Total,
    /// The most hops.
    pub max_hops: Option<usize>,
    /// Users that must not be on the way.
    pub avoid_users: Vec<UserKey>,
    /// Directions that must not be on the way.
    pub avoid_edges: Vec<(UserKey, UserKey)>,
    /// Who must be on the way.
    pub via: Option<UserKey>,
    /// How many routes to choose from.
    pub alternatives: usize,
    /// Into how many parts the amount may be divided.
    pub max_parts: Option<usize>,
    /// What the payer promises, if that is another unit, and the most of it.
    pub pay: Option<(Unit, Total)>,
}

/// One way to pay: parts that belong together.
#[derive(Clone, Debug)]
pub struct Way {
    /// The parts.
    pub parts: Vec<Route>,
    /// Whether it is certain that nothing cheaper answers the question.
    pub exact: bool,
}

impl From<Route> for Way {
    fn from(route: Route) -> Self {
        Self {
            exact: route.exact(),
            parts: vec![route],
        }
    }
}

/// What was found.
#[derive(Clone, Debug)]
pub enum Found {
    /// Ways in one unit, cheapest first.
    Ways(Vec<Way>),
    /// A way on which somebody exchanges.
    Exchanged(Box<Exchanged>),
}

impl Found {
    fn outcome(&self) -> &'static str {
        let exact = match self {
            Self::Ways(ways) => ways.first().is_some_and(|way| way.exact),
            Self::Exchanged(found) => found.exact,
        };
        if exact { "routes" } else { "routes_inexact" }
    }
}

impl Question {
    fn request(&self, config: &RouterConfig, stranger: UserKey) -> Request {
        let from = self.from.unwrap_or(stranger);
        let mut request = Request::new(from, self.to, self.unit.clone(), self.amount, now());
        request.max_fee = self.max_fee;
        let hops = self.max_hops.unwrap_or(config.max_hops);
        request.max_hops = hops.min(config.max_hops);
        let parts = self.max_parts.unwrap_or(config.max_parts);
        request.max_parts = parts.min(config.max_parts);
        request.avoid_nodes.clone_from(&self.avoid_users);
        request.avoid_edges.clone_from(&self.avoid_edges);
        request.hints.clone_from(&self.hints);
        request.via = self.via;
        let first = |(to, capacity): &(UserKey, Amount)| FirstHop {
            to: *to,
            capacity: *capacity,
            min: Total::ZERO,
        };
        // As many again for parts, of which one half is kept for them.
        let searches = if request.max_parts > 1 { 2 } else { 1 };
        request.max_steps = config.steps_per_query.saturating_mul(searches);
        let own = self.first.as_ref();
        request.first_hops = own.map(|hops| hops.iter().map(first).collect());
        request
    }

    /// Works it out within the steps of `request`.
    fn search(
        &self,
        searcher: &mut Searcher,
        map: &Reading<'_>,
        request: &Request,
        alternatives: usize,
    ) -> Result<Found, RouteError> {
        let Some((pay_unit, max_total)) = &self.pay else {
            return search(searcher, map, request, alternatives).map(Found::Ways);
        };
        let units = (pay_unit, &request.unit);
        let exchangers = map.exchangers();
        let wanted = ExchangeRequest {
            rates: exchangers.offers(units, request.amount, request.via, request.now),
            request: request.clone(),
            pay_unit: pay_unit.clone(),
            max_total: *max_total,
        };
        let found = searcher.find_exchanged(map, &wanted);
        found.map(|found| Found::Exchanged(Box::new(found)))
    }
}

/// Several ways for the whole amount, or else one in parts. Half of the steps allowed are kept for parts, if there may be any.
fn search(
    searcher: &mut Searcher,
    graph: &Graph,
    request: &Request,
    alternatives: usize,
) -> Result<Vec<Way>, RouteError> {
    let mut request = request.clone();
    let all = request.max_steps;
    if request.max_parts > 1 {
        request.max_steps = all.div_ceil(2);
    }
    let whole = match alternatives {
        0 | 1 => searcher.find(graph, &request).map(|route| vec![route]),
        several => searcher.alternatives(graph, &request, several),
    };
    match whole {
        Ok(routes) => Ok(routes.into_iter().map(Way::from).collect()),
        Err(error) if request.max_parts > 1 => {
            request.max_steps = all.saturating_sub(searcher.steps());
            let plan = searcher.split_after(graph, &request, error.clone());
            let way = plan.map(|plan| Way {
                exact: plan.exact(),
                parts: plan.parts().to_vec(),
            });
            let better = |in_parts: RouteError| match (&error, &in_parts) {
                // What one path takes says more than that no parts were tried.
                (
                    RouteError::FeeTooHigh { .. },
                    RouteError::TooNarrowInParts { .. } | RouteError::GaveUp,
                ) => error,
                _ => in_parts,
            };
            way.map(|way| vec![way]).map_err(better)
        }
        Err(error) => Err(error),
    }
}

/// Works a question out.
///
/// # Errors
/// [`PluginError::Overloaded`] if too many are being worked on. The inner error says why there is no way.
pub async fn answer(
    router: &Router,
    question: Question,
) -> Result<Result<Found, RouteError>, PluginError> {
    in_turn(router, move |router| {
        let request = question.request(&router.config, router.stranger);
        let alternatives = question.alternatives.min(router.config.max_alternatives);
        let mut searcher = router.searcher();
        let started = Instant::now();
        let map = router.map.read();
        let mut found = question.search(&mut searcher, &map, &request, alternatives);
        // Whether there is a way at all is worth more work than which of them is the cheapest.
        if matches!(found, Err(RouteError::GaveUp))
            && router.config.steps_to_find > request.max_steps
        {
            let patient = Request {
                max_steps: router.config.steps_to_find,
                ..request
            };
            found = question.search(&mut searcher, &map, &patient, alternatives);
        }
        drop(map);
        let outcome = found.as_ref().map_or_else(RouteError::code, Found::outcome);
        router.metrics.query(outcome, started.elapsed());
        router.give_back(searcher);
        found
    })
    .await
}

/// Looks for circles of debts.
///
/// # Errors
/// As [`answer`]. The inner error is about the limits of the request.
pub async fn circles(
    router: &Router,
    request: CircleRequest,
) -> Result<Result<Vec<DebtCircle>, RouteError>, PluginError> {
    in_turn(router, move |router| {
        let started = Instant::now();
        let found = router.map.read().debts().circles(&request);
        let outcome = found.as_ref().map_or_else(RouteError::code, |_| "circles");
        router.metrics.query(outcome, started.elapsed());
        found
    })
    .await
}

/// Does the work once it is its turn, off the threads that serve requests.
async fn in_turn<T: Send + 'static>(
    router: &Router,
    work: impl FnOnce(&Router) -> T + Send + 'static,
) -> Result<T, PluginError> {
    let permits = std::sync::Arc::clone(&router.queries);
    let permit = tokio::time::timeout(PATIENCE, permits.acquire_owned())
        .await
        .map_err(|_| PluginError::Overloaded)?
        .map_err(|_| PluginError::Overloaded)?;
    let router = router.clone();
    let working = tokio::task::spawn_blocking(move || {
        let _permit = permit;
        work(&router)
    });
    working
        .await
        .map_err(|error| PluginError::Internal(format!("a search failed: {error}")))
}
