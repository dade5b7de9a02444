//! `POST /v0/router/circles`: circles of debts that could be cleared.

use std::collections::BTreeMap;

use atomicity_ledger::{Amount, Unit, UserKey};
use atomicity_routing::{CircleRequest, DebtCircle, MAX_CIRCLE_EDGES, MAX_CIRCLES};
use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::problem::{NoWay, RouteProblem};
use super::{profiles_of, router};
use crate::error::PluginError;
use crate::http::client_addr::ClientAddr;
use crate::http::extract::JsonBody;
use crate::problem::Problem;
use crate::router::{now, query};
use crate::state::AppState;

/// Circles in an answer, if the question does not say.
const USUAL_MOST: usize = 8;

/// The route of this module.
pub(super) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(circles))
}

/// Whose debts are to be cleared.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CirclesRequest {
    /// Where every circle begins and ends.
    #[schema(value_type = String)]
    pub user: UserKey,
    /// The unit.
    #[schema(value_type = String, example = "BREAD/2")]
    pub unit: Unit,
    /// The most debts on one circle, 3 to 10; 10 if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_edges: Option<usize>,
    /// How many circles, 1 to 32; 8 if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub most: Option<usize>,
    /// The smallest amount that is worth it, in minor units; 1 if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub min: Option<Amount>,
}

/// Circles of debts.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct CirclesAnswer {
    /// When the router last heard from the outside, Unix ms.
    pub as_of: i64,
    /// The circles, the shortest first; none if there is none. No two of them clear the same part of a debt.
    pub circles: Vec<CircleView>,
    /// The signed profiles of those on them, as far as they are known here.
    pub profiles: BTreeMap<String, String>,
}

/// A circle of debts: each of its users owes at least the amount to the one before, and the first owes it to whoever asked.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct CircleView {
    /// What a payment along it lowers every debt by, in minor units.
    pub amount: String,
    /// Everybody on it after whoever asked, who comes last, z-base-32.
    pub users: Vec<String>,
}

impl From<&DebtCircle> for CircleView {
    fn from(circle: &DebtCircle) -> Self {
        Self {
            amount: circle.amount.minor().to_string(),
            users: circle.users.iter().map(UserKey::to_z32).collect(),
        }
    }
}

/// Finds circles of debts.
///
/// They consist of debts of which both ends publish that they agree to have them cleared. A payment from the user to themselves along one
/// lowers every debt on it, and costs nothing.
#[utoipa::path(post, path = "/v0/router/circles", tag = "router", request_body = CirclesRequest,
    responses(
        (status = 200, body = CirclesAnswer),
        (status = 400, description = "`body_malformed`, `question_invalid`", body = RouteProblem, content_type = "application/problem+json"),
        (status = 429, description = "`rate_limited`", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "`overloaded`, `router_starting`", body = Problem, content_type = "application/problem+json"),
    ))]
async fn circles(
    State(state): State<AppState>,
    ClientAddr(address): ClientAddr,
    JsonBody(asked): JsonBody<CirclesRequest>,
) -> Result<Response, PluginError> {
    state.limits.route_query(address.into())?;
    let router = router(&state)?;
    let request = CircleRequest {
        user: asked.user,
        unit: asked.unit,
        max_edges: asked.max_edges.unwrap_or(MAX_CIRCLE_EDGES),
        most: asked.most.unwrap_or(USUAL_MOST.min(MAX_CIRCLES)),
        min: match asked.min {
            Some(min) => min,
            None => Amount::from_minor(1).map_err(|e| PluginError::Internal(e.to_string()))?,
        },
        now: now(),
    };
    let circles = match query::circles(router, request).await? {
        Ok(circles) => circles,
        Err(error) => return Ok(NoWay(error).into_response()),
    };
    let users = circles.iter().flat_map(|circle| circle.users.clone());
    let answer = CirclesAnswer {
        as_of: router.heard_at(),
        circles: circles.iter().map(CircleView::from).collect(),
        profiles: profiles_of(&state, users.collect()).await?,
    };
    Ok(Json(answer).into_response())
}
