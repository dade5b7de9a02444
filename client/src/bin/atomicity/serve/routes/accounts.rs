//! Payment accounts: keys that may spend for the user. What makes or ends one needs the root key, whose passphrase is never kept.

use axum::extract::State;
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::super::extract::{Body, Named};
use super::super::problem::Answer;
use super::super::state::Served;
use super::super::words::Words;

pub fn routes() -> OpenApiRouter<Served> {
    OpenApiRouter::new()
        .routes(routes!(list, new))
        .routes(routes!(show))
        .routes(routes!(revoke))
}

/// What an app may spend.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewAccount {
    /// What the user calls it.
    name: String,
    /// The most that it may spend on one day (UTC), such as `5.00 BREAD/2`.
    per_day: Option<String>,
    /// The most that it may spend in all.
    total: Option<String>,
    /// Whom it may pay, by name or key; anyone if left out.
    to: Option<Vec<String>>,
    /// Have places outside paid for it too, such as Lightning invoices, by the user's rails.
    #[serde(default)]
    rails: bool,
    /// With `rails`: what one whole of the unit is worth there, such as `1000sat`, or `source` for what config.toml says. Without it only
    /// what the unit itself counts is paid.
    rate: Option<String>,
    /// With `rate`: how far a spend may be off it, in hundredths of a percent; 100 if left out, a source has its own.
    spread: Option<u32>,
    /// Until when: a time from now such as `30d`, or a day such as `2031-12-24`.
    until: Option<String>,
    /// The public key that the app made itself. Without it a fresh one is drawn, whose secret is in the answer, once.
    key: Option<String>,
    /// The passphrase of the root key.
    passphrase: Option<String>,
}

/// Lets an app spend up to a limit, with a key of its own.
///
/// It can't be made twice: the name is taken then. If the answer is lost, and with it a fresh key, revoke it and make another.
#[utoipa::path(post, path = "/v0/accounts", tag = "accounts", request_body = NewAccount,
    responses((status = 200, body = Value, description = "As `atomicity account new --json`")))]
async fn new(State(served): State<Served>, Body(body): Body<NewAccount>) -> Answer {
    let words = Words::of("account new")
        .with("per-day", body.per_day)
        .with("total", body.total)
        .with("to", body.to.map(|peers| peers.join(",")))
        .flag("rails", body.rails)
        .with("rate", body.rate)
        .with("spread", body.spread)
        .with("until", body.until)
        .with("key", body.key)
        .say(body.name);
    served.ask_root(words, body.passphrase).await
}

/// Lists payment accounts, and what is left of each.
#[utoipa::path(get, path = "/v0/accounts", tag = "accounts",
    responses((status = 200, body = Value, description = "As `atomicity account list --json`")))]
async fn list(State(served): State<Served>) -> Answer {
    served.ask(Words::of("account list")).await
}

/// Shows one, and everything that it asked for.
#[utoipa::path(get, path = "/v0/accounts/{name}", tag = "accounts",
    params(("name" = String, Path, description = "What the user calls it")),
    responses((status = 200, body = Value, description = "As `atomicity account show --json`")))]
async fn show(State(served): State<Served>, Named(name): Named) -> Answer {
    served.ask(Words::of("account show").say(name)).await
}

/// What it takes.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Revoke {
    /// The passphrase of the root key.
    passphrase: Option<String>,
}

/// Ends one for good: nothing more is paid for it.
#[utoipa::path(post, path = "/v0/accounts/{name}/revoke", tag = "accounts", request_body = Revoke,
    params(("name" = String, Path, description = "What the user calls it")),
    responses((status = 200, body = Value, description = "As `atomicity account revoke --json`")))]
async fn revoke(
    State(served): State<Served>,
    Named(name): Named,
    Body(body): Body<Revoke>,
) -> Answer {
    let words = Words::of("account revoke").say(name);
    served.ask_root(words, body.passphrase).await
}
