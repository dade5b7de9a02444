//! Units in which a user lets everybody see that they keep books.

use std::collections::BTreeSet;

use atomicity_ledger::Unit;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::auth::Caller;
use crate::db::accounts;
use crate::error::PluginError;
use crate::http::etag;
use crate::http::extract::{JsonBody, UserPath};
use crate::problem::Problem;
use crate::state::AppState;

/// Most units that can be shown: as many as a profile may name.
const MAX_UNITS: usize = 64;

const NO_ACCOUNT: PluginError = PluginError::NotFound {
    code: "account_unknown",
    detail: "this user has no account here",
};

/// A set of units.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Units {
    /// The units, ascending.
    #[schema(example = json!(["BREAD/2", "HOUR/2"]))]
    pub units: Vec<String>,
}

/// The units that a user shows.
///
/// Only what the user chose to show, by `PUT /v0/me/public-units`; an empty list says nothing about what they use.
#[utoipa::path(
    get,
    path = "/v0/users/{user}/units",
    tag = "credit",
    params(
        ("user" = String, Path, description = "The user's key, z-base-32"),
        ("If-None-Match" = Option<String>, Header, description = "The `ETag` of what you hold"),
    ),
    responses(
        (status = 200, body = Units, description = "The units"),
        (status = 304, description = "What you hold is still right"),
        (status = 404, body = Problem, content_type = "application/problem+json", description = "`account_unknown`"),
    )
)]
pub async fn of_user(
    State(state): State<AppState>,
    UserPath(user): UserPath,
    headers: HeaderMap,
) -> Result<Response, PluginError> {
    let units = accounts::public_units(&state.pool, &user)
        .await?
        .ok_or(NO_ACCOUNT)?;
    etag::respond(&headers, &Units { units })
}

/// The units that you show.
#[utoipa::path(
    get,
    path = "/v0/me/public-units",
    tag = "credit",
    security(("session" = [])),
    params(("If-None-Match" = Option<String>, Header, description = "The `ETag` of what you hold")),
    responses(
        (status = 200, body = Units, description = "The units"),
        (status = 304, description = "What you hold is still right"),
        (status = 401, body = Problem, content_type = "application/problem+json", description = "`session_invalid`"),
        (status = 404, body = Problem, content_type = "application/problem+json", description = "`account_unknown`"),
    )
)]
pub async fn mine(
    State(state): State<AppState>,
    caller: Caller,
    headers: HeaderMap,
) -> Result<Response, PluginError> {
    let units = accounts::public_units(&state.pool, &caller.user)
        .await?
        .ok_or(NO_ACCOUNT)?;
    etag::respond(&headers, &Units { units })
}

/// Choose the units that you show to everybody.
///
/// Replaces the whole set; an empty list shows none, which is how every account begins.
#[utoipa::path(
    put,
    path = "/v0/me/public-units",
    tag = "credit",
    security(("session" = [])),
    request_body = Units,
    responses(
        (status = 200, body = Units, description = "What is shown now"),
        (status = 400, body = Problem, content_type = "application/problem+json", description = "`unit_invalid`, `units_too_many`, `body_malformed`"),
        (status = 401, body = Problem, content_type = "application/problem+json", description = "`session_invalid`"),
        (status = 404, body = Problem, content_type = "application/problem+json", description = "`account_unknown`"),
    )
)]
pub async fn choose(
    State(state): State<AppState>,
    caller: Caller,
    headers: HeaderMap,
    JsonBody(asked): JsonBody<Units>,
) -> Result<Response, PluginError> {
    let units = parse(&asked.units)?;
    if !accounts::set_public_units(&state.pool, &caller.user, &units).await? {
        return Err(NO_ACCOUNT);
    }
    etag::respond(&headers, &Units { units })
}

/// The units in one order, each once.
fn parse(texts: &[String]) -> Result<Vec<String>, PluginError> {
    if texts.len() > MAX_UNITS {
        return Err(PluginError::BadRequest {
            code: "units_too_many",
            detail: format!("at most {MAX_UNITS} units can be shown"),
        });
    }
    let units: BTreeSet<Unit> = texts
        .iter()
        .map(|text| text.parse())
        .collect::<Result<_, atomicity_ledger::LedgerError>>()
        .map_err(|error| PluginError::BadRequest {
            code: "unit_invalid",
            detail: error.to_string(),
        })?;
    Ok(units.iter().map(ToString::to_string).collect())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn owned(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn units_are_ordered_and_unique() {
        assert_eq!(
            parse(&owned(&["HOUR/2", "BREAD/2", "HOUR/2"])).unwrap(),
            ["BREAD/2", "HOUR/2"]
        );
        assert!(parse(&[]).unwrap().is_empty());
    }

    #[test]
    fn malformed_and_too_many_units_are_refused() {
        assert_eq!(
            parse(&owned(&["bread"])).unwrap_err().code(),
            "unit_invalid"
        );
        assert_eq!(
            parse(&owned(&["USD/0"])).unwrap_err().code(),
            "unit_invalid"
        );
        let many: Vec<_> = (0..65).map(|n| format!("U{n}")).collect();
        assert_eq!(parse(&many).unwrap_err().code(), "units_too_many");
    }
}
