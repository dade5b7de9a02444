//! Where the user, or somebody else, can be paid outside.

use axum::extract::State;
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::super::extract::{Asked, Body, Named};
use super::super::problem::Answer;
use super::super::state::Served;
use super::super::words::Words;

pub fn routes() -> OpenApiRouter<Served> {
    OpenApiRouter::new()
        .routes(routes!(list, add))
        .routes(routes!(remove))
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct Whose {
    /// A friend's name, or anybody's key; the user's own if left out.
    who: Option<String>,
    /// What the user told this friend, and nobody else.
    #[serde(rename = "for")]
    only_for: Option<String>,
}

/// Shows where the user, or somebody else, can be paid.
#[utoipa::path(get, path = "/v0/endpoints", tag = "endpoints", params(Whose),
    responses((status = 200, body = Value, description = "As `atomicity endpoint list --json`")))]
async fn list(State(served): State<Served>, Asked(query): Asked<Whose>) -> Answer {
    let words = Words::of("endpoint list").with("for", query.only_for);
    served.ask(words.say_if(query.who)).await
}

/// An endpoint.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewEndpoint {
    /// How: asset, rail and format, such as `btc-lightning-bolt12` or `eur-sepa-iban`.
    method: String,
    /// Where: an offer, an address, an account.
    value: String,
    /// The least that is taken there.
    min: Option<String>,
    /// The most that is taken there.
    max: Option<String>,
    /// Tell this friend, and nobody else.
    #[serde(rename = "for")]
    only_for: Option<String>,
}

/// Tells everybody, or one friend, where the user can be paid.
#[utoipa::path(post, path = "/v0/endpoints", tag = "endpoints", request_body = NewEndpoint,
    responses((status = 200, body = Value, description = "As `atomicity endpoint add --json`")))]
async fn add(State(served): State<Served>, Body(body): Body<NewEndpoint>) -> Answer {
    let words = Words::of("endpoint add")
        .with("min", body.min)
        .with("max", body.max)
        .with("for", body.only_for);
    served.ask(words.say(body.method).say(body.value)).await
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct Where {
    /// What the user told this friend, and nobody else.
    #[serde(rename = "for")]
    only_for: Option<String>,
    /// Only at this place; with `for`.
    at: Option<String>,
}

/// Says no more where the user can be paid by a method.
#[utoipa::path(delete, path = "/v0/endpoints/{method}", tag = "endpoints",
    params(("method" = String, Path, description = "How"), Where),
    responses((status = 200, body = Value, description = "As `atomicity endpoint remove --json`")))]
async fn remove(
    State(served): State<Served>,
    Named(method): Named,
    Asked(query): Asked<Where>,
) -> Answer {
    let words = Words::of("endpoint remove")
        .with("for", query.only_for)
        .with("at", query.at);
    served.ask(words.say(method)).await
}
