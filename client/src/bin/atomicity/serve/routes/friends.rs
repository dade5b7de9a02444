//! Who this is, friends, limits, balances, history.

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
        .routes(routes!(whoami))
        .routes(routes!(units, open_unit))
        .routes(routes!(list, add))
        .routes(routes!(inspect, remove))
        .routes(routes!(limits, set_limit))
        .routes(routes!(balances))
        .routes(routes!(history))
}

/// Shows whose wallet this is.
#[utoipa::path(get, path = "/v0/whoami", tag = "wallet",
    responses((status = 200, body = Value, description = "As `atomicity whoami --json`")))]
async fn whoami(State(served): State<Served>) -> Answer {
    served.ask(Words::of("whoami")).await
}

/// Lists the open units.
#[utoipa::path(get, path = "/v0/units", tag = "wallet",
    responses((status = 200, body = Value, description = "As `atomicity unit list --json`")))]
async fn units(State(served): State<Served>) -> Answer {
    served.ask(Words::of("unit list")).await
}

/// A unit to open.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewUnit {
    /// Such as `USD/2`, `HOUR/2` or `COFFEE`.
    unit: String,
    /// The most that the user will owe any one friend in it, such as `100.00`.
    cap: Option<String>,
    /// The passphrase of the root key.
    passphrase: Option<String>,
}

/// Opens a unit. Needs the root key.
#[utoipa::path(post, path = "/v0/units", tag = "wallet", request_body = NewUnit,
    responses((status = 200, body = Value, description = "As `atomicity unit open --json`")))]
async fn open_unit(State(served): State<Served>, Body(body): Body<NewUnit>) -> Answer {
    let words = Words::of("unit open").with("cap", body.cap).say(body.unit);
    served.ask_root(words, body.passphrase).await
}

/// Lists friends, and strangers who said hello.
#[utoipa::path(get, path = "/v0/friends", tag = "friends",
    responses((status = 200, body = Value, description = "As `atomicity friend list --json`")))]
async fn list(State(served): State<Served>) -> Answer {
    served.ask(Words::of("friend list")).await
}

/// Somebody to add.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewFriend {
    /// Their key.
    key: String,
    /// What the user calls them.
    name: Option<String>,
}

/// Adds somebody by their key.
#[utoipa::path(post, path = "/v0/friends", tag = "friends", request_body = NewFriend,
    responses((status = 200, body = Value, description = "As `atomicity friend add --json`")))]
async fn add(State(served): State<Served>, Body(body): Body<NewFriend>) -> Answer {
    let words = Words::of("friend add").with("name", body.name);
    served.ask(words.say(body.key)).await
}

/// Shows everything about one friend.
#[utoipa::path(get, path = "/v0/friends/{friend}", tag = "friends",
    params(("friend" = String, Path, description = "Their name or key")),
    responses((status = 200, body = Value, description = "As `atomicity friend inspect --json`")))]
async fn inspect(State(served): State<Served>, Named(friend): Named) -> Answer {
    served.ask(Words::of("friend inspect").say(friend)).await
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct Removing {
    /// Also if something is still owed.
    #[serde(default)]
    force: bool,
}

/// Removes a friend who owes nothing and is owed nothing.
#[utoipa::path(delete, path = "/v0/friends/{friend}", tag = "friends",
    params(("friend" = String, Path, description = "Their name or key"), Removing),
    responses((status = 200, body = Value, description = "As `atomicity friend remove --json`")))]
async fn remove(
    State(served): State<Served>,
    Named(friend): Named,
    Asked(query): Asked<Removing>,
) -> Answer {
    let words = Words::of("friend remove").flag("force", query.force);
    served.ask(words.say(friend)).await
}

/// Shows the limits of both sides.
#[utoipa::path(get, path = "/v0/friends/{friend}/limit", tag = "friends",
    params(("friend" = String, Path, description = "Their name or key")),
    responses((status = 200, body = Value, description = "As `atomicity friend limit --json`")))]
async fn limits(State(served): State<Served>, Named(friend): Named) -> Answer {
    served.ask(Words::of("friend limit").say(friend)).await
}

/// A limit.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Limit {
    /// Such as `3.00 BREAD/2`; zero closes the line.
    amount: String,
    /// The user's own ceiling for what they will owe the friend, instead of what the friend may owe; nobody else sees it.
    #[serde(default)]
    issue: bool,
    /// The most that the friend may pay at once while the user is away.
    unattended: Option<String>,
    /// For how long that holds: `12h`, `30d`.
    until: Option<String>,
}

/// Sets how much a friend may owe the user, or how much the user will owe them.
#[utoipa::path(put, path = "/v0/friends/{friend}/limit", tag = "friends", request_body = Limit,
    params(("friend" = String, Path, description = "Their name or key")),
    responses((status = 200, body = Value, description = "As `atomicity friend limit --json`")))]
async fn set_limit(
    State(served): State<Served>,
    Named(friend): Named,
    Body(body): Body<Limit>,
) -> Answer {
    let words = Words::of("friend limit")
        .flag("issue", body.issue)
        .with("unattended", body.unattended)
        .with("until", body.until)
        .say(friend)
        .say(body.amount);
    served.ask(words).await
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct Which {
    /// Only this friend, by name or key.
    friend: Option<String>,
    /// Only this unit.
    unit: Option<String>,
}

/// Shows what friends owe the user and what the user owes them.
#[utoipa::path(get, path = "/v0/balances", tag = "wallet", params(Which),
    responses((status = 200, body = Value, description = "As `atomicity balance --json`")))]
async fn balances(State(served): State<Served>, Asked(query): Asked<Which>) -> Answer {
    let words = Words::of("balance").with("unit", query.unit);
    served.ask(words.say_if(query.friend)).await
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct Page {
    /// Only this friend, by name or key.
    friend: Option<String>,
    /// Only this unit.
    unit: Option<String>,
    /// At most so many lines, 1 to 1000.
    limit: Option<u32>,
    /// Only lines before this number: `next` of the page before.
    before: Option<i64>,
}

/// Shows what this wallet knows to have happened, newest first, page by page.
#[utoipa::path(get, path = "/v0/history", tag = "wallet", params(Page),
    responses((status = 200, body = Value, description = "As `atomicity history --json`")))]
async fn history(State(served): State<Served>, Asked(query): Asked<Page>) -> Answer {
    let words = Words::of("history")
        .with("unit", query.unit)
        .with("limit", query.limit)
        .with("before", query.before);
    served.ask(words.say_if(query.friend)).await
}
