//! Where a friend alone can pay the user.

use std::collections::BTreeSet;

use atomicity_ledger::record::Endpoint;
use atomicity_ledger::{AnyRecord, Serial};
use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use utoipa::ToSchema;

use super::super::change::Change;
use super::super::keeper::stopped;
use super::ask::Signed;
use super::{agent, refused};
use crate::auth::Caller;
use crate::error::PluginError;
use crate::http::extract::{JsonBody, UserPath};
use crate::problem::Problem;
use crate::state::AppState;

/// Where one friend can pay the user.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PrivateEndpoints {
    /// The number of the list in force that this one replaces; 0 if there is none.
    #[schema(value_type = u64)]
    replaces: Serial,
    /// What the user likes best first, at most 16; none any more if empty.
    #[schema(value_type = Vec<Object>)]
    endpoints: Vec<Endpoint>,
}

/// Tells a friend, and nobody else, where you can be paid. The same list again is not signed twice.
#[utoipa::path(post, path = "/v0/me/agent/endpoints/{peer}", tag = "agent", security(("session" = [])), request_body = PrivateEndpoints,
    params(("peer" = String, Path, description = "Whom, z-base-32")),
    responses(
        (status = 200, body = Signed),
        (status = 401, description = "`session_invalid`", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "`pair_unknown`", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "`agent_stopped`, `books_restored`, `list_changed`, and what the rules of the record say", body = Problem, content_type = "application/problem+json"),
    ))]
pub async fn tell(
    State(state): State<AppState>,
    UserPath(peer): UserPath,
    caller: Caller,
    JsonBody(body): JsonBody<PrivateEndpoints>,
) -> Result<Json<Signed>, PluginError> {
    let keeper = agent(&state)?.keeper(&caller.user).ok_or_else(stopped)?;
    let mut change = Change::begin(&state, &keeper, &BTreeSet::from([peer])).await?;
    change.require(&peer).await?;
    let now = change.now;
    let (loaded, pen) = change.pair_mut(&peer)?;
    let known = loaded.pair.own_endpoints();
    if let Some(same) = known.filter(|list| list.record().endpoints == body.endpoints) {
        return Ok(Json(Signed::of(&[same.jws()])));
    }
    if known.map_or(Serial::ZERO, |list| list.record().serial) != body.replaces {
        return Err(PluginError::Refused {
            code: "list_changed",
            detail: "another list has been told since: look at it first".to_owned(),
        });
    }
    let list = loaded
        .pair
        .set_endpoints(body.endpoints, None, pen, now)
        .map_err(|error| refused(&error))?;
    let record = AnyRecord::from(list);
    change.send(peer, &record);
    change.commit().await?;
    Ok(Json(Signed::of(&[record.jws()])))
}
