//! Asking the router.

mod circles;
mod exchange;
mod known;
mod problem;

use std::collections::{BTreeMap, BTreeSet};

use atomicity_ledger::{Amount, Total, UserKey};
use atomicity_routing::{Hint, Route, RouteError};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use self::exchange::ExchangeView;
pub use self::known::KnownPage;
use self::problem::{NoWay, RouteProblem};
use super::frontier::Source;
use super::query::{self, Found, Question, Way};
use super::{Router, store};
use crate::clock;
use crate::error::PluginError;
use crate::http::client_addr::ClientAddr;
use crate::http::extract::JsonBody;
use crate::problem::Problem;
use crate::state::AppState;

/// Longest question.
pub const QUESTION_BODY: usize = 256 * 1024;
/// Most channels of the payer in a question.
const MAX_FIRST: usize = 1_024;
/// Most hints of an invoice.
const MAX_HINTS: usize = 8;
/// Most users, and most edges, to avoid.
const MAX_AVOID: usize = 512;
/// Longer profiles don't travel with an answer.
const MAX_PROFILE: usize = 16 * 1024;

/// The routes that take questions.
pub fn question_routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(find))
        .merge(circles::routes())
}

/// The other routes.
pub fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(hello))
        .merge(known::routes())
}

/// The router behind a route, once it has read what it knew.
pub(crate) fn router(state: &AppState) -> Result<&Router, PluginError> {
    let loaded = state.router.as_ref().filter(|router| router.is_loaded());
    loaded.ok_or(PluginError::Unavailable {
        code: "router_starting",
        detail: "the router has not read yet what it knew",
        retry_after: std::time::Duration::from_secs(2),
    })
}

/// Who wants to pay whom how much.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RoutesRequest {
    /// The payer. May be left out if `first` is given: then nobody learns here who pays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub from: Option<UserKey>,
    /// The payer's own channels, in place of those they publish; at most 1024.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first: Option<Vec<FirstHopView>>,
    /// The payee.
    #[schema(value_type = String)]
    pub to: UserKey,
    /// Channels to the payee that are not published, as an invoice names them; at most 8.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hints: Vec<HintView>,
    /// The unit.
    #[schema(value_type = String, example = "BREAD/2")]
    pub unit: atomicity_ledger::Unit,
    /// What is to arrive, in minor units.
    #[schema(value_type = String, example = "500")]
    pub amount: Amount,
    /// The most that all hops together may take; no bound if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub max_fee: Option<Total>,
    /// The most hops of a route; the router's own limit if absent or above it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_hops: Option<usize>,
    /// Users that must not be on the way; at most 512.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<String>)]
    pub avoid_users: Vec<UserKey>,
    /// Directions that must not be on the way; at most 512.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub avoid_edges: Vec<EdgeView>,
    /// Who must be on the way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub via: Option<UserKey>,
    /// How many routes to choose from; 1 if absent. They share as little as possible.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alternatives: Option<usize>,
    /// Into how many parts the amount may be divided; the router's own limit if absent or above it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_parts: Option<usize>,
    /// What the payer promises, if that is another unit: then the answer is the cheapest way on which one user exchanges, in one part.
    /// `first` are channels in this unit, `hints` in `unit`; `via` is who exchanges; `max_fee` does not apply.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "USD/2")]
    pub pay_unit: Option<atomicity_ledger::Unit>,
    /// With `pay_unit`: the most that the payer promises, in its minor units; no bound if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub max_total: Option<Total>,
}

/// A channel of the payer.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FirstHopView {
    /// The friend.
    #[schema(value_type = String)]
    pub user: UserKey,
    /// What the payer can pay them now, in minor units.
    #[schema(value_type = String)]
    pub capacity: Amount,
}

/// A channel to the payee that is not published.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct HintView {
    /// Who can pay the payee.
    #[schema(value_type = String)]
    pub peer: UserKey,
    /// The most, in minor units.
    #[schema(value_type = String)]
    pub capacity: Amount,
    /// The fixed part of their fee, in minor units.
    #[schema(value_type = String)]
    pub base: Total,
    /// The part that grows with the amount, in millionths.
    pub ppm: u32,
}

/// A direction between two users.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EdgeView {
    /// Who would send.
    #[schema(value_type = String)]
    pub from: UserKey,
    /// Who would receive.
    #[schema(value_type = String)]
    pub to: UserKey,
}

/// Ways to pay.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct RoutesAnswer {
    /// When the router last heard from the outside, Unix ms.
    pub as_of: i64,
    /// The routes, cheapest first. If none is wide enough, one in parts.
    pub routes: Vec<RouteView>,
    /// The signed profiles of those on the way, as far as they are known here, so that nobody has to be asked for them.
    pub profiles: BTreeMap<String, String>,
}

/// One way to pay: all of its parts are to be paid.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct RouteView {
    /// What all hops take, in minor units; with `pay_unit`, what is taken in the payee's unit.
    pub fee: String,
    /// The parts; one unless the amount is divided.
    pub parts: Vec<PartView>,
    /// Whether it is certain that nothing cheaper is known here; of alternatives, that shares as little with those before. Not where the
    /// work for the question ended first, nor where the amount is divided.
    pub exact: bool,
}

/// A chain of promises.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct PartView {
    /// What arrives at the payee, in minor units.
    pub amount: String,
    /// What the hops take, in minor units.
    pub fee: String,
    /// From the payer's friend to the payee.
    pub hops: Vec<HopView>,
    /// Where units are exchanged, with `pay_unit`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exchange: Option<ExchangeView>,
}

/// One user on the way.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct HopView {
    /// Who, z-base-32.
    pub user: String,
    /// What they are promised, in minor units: what they pass on is what the next one is promised.
    pub amount: String,
}

impl From<&Route> for PartView {
    fn from(route: &Route) -> Self {
        let hops = route.hops().iter().map(|hop| HopView {
            user: hop.to.to_z32(),
            amount: hop.amount.minor().to_string(),
        });
        Self {
            amount: route.amount().minor().to_string(),
            fee: route.fee().to_string(),
            hops: hops.collect(),
            exchange: None,
        }
    }
}

impl From<&Way> for RouteView {
    fn from(way: &Way) -> Self {
        let fees = way.parts.iter().map(Route::fee);
        Self {
            fee: fees.fold(0, u64::saturating_add).to_string(),
            parts: way.parts.iter().map(PartView::from).collect(),
            exact: way.exact,
        }
    }
}

impl RoutesRequest {
    fn question(self) -> Result<Question, PluginError> {
        let refuse = |detail: String| {
            Err(PluginError::BadRequest {
                code: "question_invalid",
                detail,
            })
        };
        if self.from.is_none() && self.first.is_none() {
            return refuse("`from` or `first` must say where the payment begins".to_owned());
        }
        if self.pay_unit.as_ref() == Some(&self.unit) {
            return refuse("`pay_unit` is another unit than `unit`".to_owned());
        }
        if self.pay_unit.is_none() && self.max_total.is_some() {
            return refuse("`max_total` is for `pay_unit`".to_owned());
        }
        let first = self.first.as_ref().map_or(0, Vec::len);
        let bounds = [
            ("first", first, MAX_FIRST),
            ("hints", self.hints.len(), MAX_HINTS),
            ("avoid_users", self.avoid_users.len(), MAX_AVOID),
            ("avoid_edges", self.avoid_edges.len(), MAX_AVOID),
        ];
        for (name, length, most) in bounds {
            if length > most {
                return refuse(format!("`{name}` has more than {most} entries"));
            }
        }
        let counts = [
            ("alternatives", self.alternatives),
            ("max_parts", self.max_parts),
            ("max_hops", self.max_hops),
        ];
        if let Some((name, _)) = counts.iter().find(|(_, count)| *count == Some(0)) {
            return refuse(format!("`{name}` must be at least 1"));
        }
        let to = self.to;
        let hint = |hint: HintView| Hint {
            from: hint.peer,
            to,
            capacity: hint.capacity,
            min: Total::ZERO,
            base_fee: hint.base,
            ppm: hint.ppm,
        };
        let hop = |hop: FirstHopView| (hop.user, hop.capacity);
        Ok(Question {
            from: self.from,
            first: self.first.map(|hops| hops.into_iter().map(hop).collect()),
            to,
            hints: self.hints.into_iter().map(hint).collect(),
            unit: self.unit,
            amount: self.amount,
            max_fee: self.max_fee.unwrap_or(Total::MAX),
            max_hops: self.max_hops,
            avoid_users: self.avoid_users,
            avoid_edges: self
                .avoid_edges
                .into_iter()
                .map(|edge| (edge.from, edge.to))
                .collect(),
            via: self.via,
            alternatives: self.alternatives.unwrap_or(1),
            max_parts: self.max_parts,
            pay: self
                .pay_unit
                .map(|unit| (unit, self.max_total.unwrap_or(Total::MAX))),
        })
    }
}

/// Finds ways to pay somebody.
///
/// What is returned is payable as long as what its hops publish is true. The question is answered and forgotten.
#[utoipa::path(post, path = "/v0/router/routes", tag = "router", request_body = RoutesRequest,
    responses(
        (status = 200, body = RoutesAnswer),
        (status = 400, description = "`body_malformed`, `question_invalid`", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "`unknown_payee`, `unknown_payer`, `unknown_via`, `no_route`, `no_exchange`, `gave_up`", body = RouteProblem, content_type = "application/problem+json"),
        (status = 409, description = "`too_narrow`: `widest` is the most that can be carried; `fee_too_high`, `cost_too_high`: `cheapest` is the least that it costs", body = RouteProblem, content_type = "application/problem+json"),
        (status = 429, description = "`rate_limited`", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "`overloaded`, `router_starting`", body = Problem, content_type = "application/problem+json"),
    ))]
async fn find(
    State(state): State<AppState>,
    ClientAddr(address): ClientAddr,
    JsonBody(request): JsonBody<RoutesRequest>,
) -> Result<Response, PluginError> {
    state.limits.route_query(address.into())?;
    let router = router(&state)?;
    let question = request.question()?;
    let (routes, users): (Vec<RouteView>, BTreeSet<UserKey>) =
        match query::answer(router, question).await? {
            Ok(Found::Ways(ways)) => {
                let hops = ways.iter().flat_map(|way| &way.parts).flat_map(Route::hops);
                let users = hops.map(|hop| hop.to).collect();
                (ways.iter().map(RouteView::from).collect(), users)
            }
            Ok(Found::Exchanged(found)) => match exchange::view(&state, &found).await? {
                Some(view) => (vec![view], exchange::users(&found)),
                // Their rates were taken back since.
                None => return Ok(NoWay(RouteError::NoExchange).into_response()),
            },
            Err(error) => return Ok(NoWay(error).into_response()),
        };
    let answer = RoutesAnswer {
        as_of: router.heard_at(),
        routes,
        profiles: profiles_of(&state, users).await?,
    };
    Ok(Json(answer).into_response())
}

/// The profiles of these users that are known here, by key.
async fn profiles_of(
    state: &AppState,
    users: BTreeSet<UserKey>,
) -> Result<BTreeMap<String, String>, PluginError> {
    let users: Vec<UserKey> = users.into_iter().collect();
    let known = store::profiles(&state.pool, &users).await?;
    let short = known
        .into_iter()
        .filter(|(_, jws)| jws.len() <= MAX_PROFILE);
    Ok(short.map(|(user, jws)| (user.to_z32(), jws)).collect())
}

/// Somebody who would like to be found.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Hello {
    /// Their key.
    #[schema(value_type = String)]
    pub user: UserKey,
}

/// What became of it.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct HelloAnswer {
    /// Whether they are known here already. They are read again soon in any case.
    pub known: bool,
    /// Whether they wait to be looked up. `false` if known, or if too many wait.
    pub queued: bool,
}

/// Asks the router to look at a user.
///
/// It does so when it has time, and takes only what the user signed.
#[utoipa::path(post, path = "/v0/router/hello", tag = "router", request_body = Hello,
    responses(
        (status = 202, body = HelloAnswer),
        (status = 400, description = "`body_malformed`", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "`rate_limited`", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "`router_starting`", body = Problem, content_type = "application/problem+json"),
    ))]
async fn hello(
    State(state): State<AppState>,
    ClientAddr(address): ClientAddr,
    JsonBody(hello): JsonBody<Hello>,
) -> Result<Response, PluginError> {
    state.limits.router_hello(address.into())?;
    let router = router(&state)?;
    let now = clock::now_ms();
    let answer = {
        let mut frontier = router.frontier();
        let known = frontier.user(&hello.user).is_some();
        if known {
            frontier.touch(&hello.user, super::frontier::Work::everything(), now);
        }
        let queued = !known && frontier.suggest(hello.user, Source::Hello, now);
        HelloAnswer { known, queued }
    };
    router.wake();
    Ok((StatusCode::ACCEPTED, Json(answer)).into_response())
}
