//! The routes, by theme. Each says in the words of the command line what is asked for.

mod accounts;
mod endpoints;
mod friends;
mod payments;
mod rails;
mod requests;
mod settlements;

use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;

use super::state::Served;

/// All of them.
pub fn all() -> OpenApiRouter<Served> {
    OpenApiRouter::new()
        .merge(friends::routes())
        .merge(payments::routes())
        .merge(requests::routes())
        .merge(settlements::routes())
        .merge(accounts::routes())
        .merge(rails::routes())
        .merge(endpoints::routes())
}

/// How long to wait for an operation.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(
    dead_code,
    reason = "read with the operation's key; this is its description"
)]
pub struct Wait {
    /// Wait so many seconds for the answer, 0 to 100; after that it is 202.
    #[param(default = 0, maximum = 100)]
    wait: Option<u64>,
}

/// Nothing but what the path says.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Nothing {}
