//! The routes of the agent. All need the user's session, but those on which the keys of payment accounts ask.

pub(crate) mod accounts;
mod approvals;
pub(crate) mod ask;
mod endpoints;
mod events;
pub(crate) mod invoices;
mod pairs;
mod spends;
mod user;

use atomicity_ledger::{LedgerError, UserKey};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{Agent, refused};
use crate::error::PluginError;
use crate::http::bounded;
use crate::state::AppState;

/// Body limit of settings and keys.
const USER_BODY: usize = 640 * 1024;
/// Body limit of books that are handed over.
const PAIR_BODY: usize = 4 * 1024 * 1024;
/// Body limit of one record that is handed over.
const RECORD_BODY: usize = 80 * 1024;

/// Adds the routes to those with small and those with large bodies.
#[must_use]
pub fn routes(
    small: OpenApiRouter<AppState>,
    large: OpenApiRouter<AppState>,
) -> (OpenApiRouter<AppState>, OpenApiRouter<AppState>) {
    let small = small
        .routes(routes!(user::read, user::close))
        .routes(routes!(pairs::read))
        .routes(routes!(pairs::promise))
        .routes(routes!(pairs::give_back))
        .routes(routes!(events::journal))
        .routes(routes!(events::live))
        .routes(routes!(ask::issue))
        .routes(routes!(ask::release))
        .routes(routes!(ask::line))
        .routes(routes!(invoices::list, invoices::create))
        .routes(routes!(invoices::one, invoices::withdraw))
        .routes(routes!(approvals::list))
        .routes(routes!(approvals::turns))
        .routes(routes!(accounts::list))
        .routes(routes!(accounts::revoke))
        .routes(routes!(accounts::spends))
        .routes(routes!(accounts::report))
        .routes(routes!(spends::one))
        .routes(routes!(spends::account));
    let user = OpenApiRouter::new().routes(routes!(user::put));
    let pairs = OpenApiRouter::new().routes(routes!(pairs::hand_over));
    let promises = OpenApiRouter::new().routes(routes!(ask::promise));
    let invoices = OpenApiRouter::new().routes(routes!(invoices::hand_over));
    let endpoints = OpenApiRouter::new().routes(routes!(endpoints::tell));
    let accounts = OpenApiRouter::new().routes(routes!(accounts::put));
    let approvals = OpenApiRouter::new().routes(routes!(approvals::put, approvals::revoke));
    let spends = OpenApiRouter::new().routes(routes!(spends::spend));
    let large = large
        .merge(bounded(accounts, RECORD_BODY, "body_too_large"))
        .merge(bounded(endpoints, RECORD_BODY, "body_too_large"))
        .merge(bounded(approvals, RECORD_BODY, "body_too_large"))
        .merge(bounded(spends, RECORD_BODY, "body_too_large"))
        .merge(bounded(invoices, RECORD_BODY, "body_too_large"))
        .merge(bounded(user, USER_BODY, "body_too_large"))
        .merge(bounded(pairs, PAIR_BODY, "body_too_large"))
        .merge(bounded(promises, USER_BODY, "body_too_large"));
    (small, large)
}

/// The agents of this plugin.
fn agent(state: &AppState) -> Result<&Agent, PluginError> {
    state
        .agent
        .as_ref()
        .ok_or_else(|| PluginError::Internal("there is no agent".to_owned()))
}

fn bad(code: &'static str, detail: impl Into<String>) -> PluginError {
    PluginError::BadRequest {
        code,
        detail: detail.into(),
    }
}

/// Reads a peer.
fn peer_of(text: &str) -> Result<UserKey, PluginError> {
    text.parse()
        .map_err(|error: LedgerError| bad("user_malformed", error.to_string()))
}
