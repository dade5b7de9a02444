//! Requests to be paid, approvals of what recurs, and debts that are called in.

use axum::extract::State;
use axum::response::Response;
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::super::extract::{Body, Named, Once};
use super::super::operations::operate;
use super::super::problem::{Answer, Problem};
use super::super::state::Served;
use super::super::words::Words;
use super::{Nothing, Wait};

pub fn routes() -> OpenApiRouter<Served> {
    OpenApiRouter::new()
        .routes(routes!(list, new))
        .routes(routes!(show))
        .routes(routes!(pay))
        .routes(routes!(cancel))
        .routes(routes!(received))
        .routes(routes!(approve))
        .routes(routes!(revoke))
        .routes(routes!(approvals))
        .routes(routes!(calls, add_call))
        .routes(routes!(remove_call))
}

/// What to ask for.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewRequest {
    /// Such as `5.00 USD/2`; with `open` only the unit.
    amount: String,
    /// Only this user is asked: a friend's name, or anybody's key.
    to: Option<String>,
    /// This much in all, from as many as like.
    #[serde(default)]
    together: bool,
    /// Leave the amount to the payers.
    #[serde(default)]
    open: bool,
    /// The least that one payment brings.
    min: Option<String>,
    /// The most that one payment brings; with `open`.
    max: Option<String>,
    /// What it is for.
    memo: Option<String>,
    /// Other ways to pay it, such as `cash=at-the-door`, the best first.
    #[serde(default)]
    or: Vec<String>,
    /// Again and again: `day`, `week`, `month`.
    every: Option<String>,
    /// The day on which it is due first, such as `2031-12-24`.
    from: Option<String>,
    /// How many times.
    count: Option<u32>,
    /// How long it stands: `10m`, `1h`, `30d`.
    expires: Option<String>,
    /// How long a part is kept for whoever wants to pay it.
    hold: Option<String>,
}

/// Asks to be paid: one friend, or everybody who has the link.
#[utoipa::path(post, path = "/v0/requests", tag = "requests", request_body = NewRequest,
    params(("Idempotency-Key" = String, Header, description = "Names this request: it is made once"), Wait),
    responses((status = 200, body = Value, description = "As `atomicity request new --json`"),
        (status = 202, body = Value, description = "Not done yet: the operation, also at `Location`")))]
async fn new(
    State(served): State<Served>,
    once: Once,
    Body(body): Body<NewRequest>,
) -> Result<Response, Problem> {
    let words = Words::of("request new")
        .with("to", body.to)
        .flag("together", body.together)
        .flag("open", body.open)
        .with("min", body.min)
        .with("max", body.max)
        .with("memo", body.memo)
        .each("or", &body.or)
        .with("every", body.every)
        .with("from", body.from)
        .with("count", body.count)
        .with("expires", body.expires)
        .with("hold", body.hold)
        .say(body.amount);
    operate(&served, once, words).await
}

/// Lists what the user asks for, and what others ask of them.
#[utoipa::path(get, path = "/v0/requests", tag = "requests",
    responses((status = 200, body = Value, description = "As `atomicity request list --json`")))]
async fn list(State(served): State<Served>) -> Answer {
    served.ask(Words::of("request list")).await
}

/// Shows one: how much is paid, what is left, who asks.
#[utoipa::path(get, path = "/v0/requests/{request}", tag = "requests",
    params(("request" = String, Path, description = "Its name, or an `atomicity:` link")),
    responses((status = 200, body = Value, description = "As `atomicity request show --json`")))]
async fn show(State(served): State<Served>, Named(request): Named) -> Answer {
    served.ask(Words::of("request show").say(request)).await
}

/// How to pay it.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct PayRequest {
    /// Such as `5.00 USD/2`; what it asks for, or what is left of it, if left out.
    amount: Option<String>,
    /// The most that those who pass it on may take together.
    max_fee: Option<String>,
    /// Routers to ask: their key, URL, or `KEY@URL`.
    #[serde(default)]
    routers: Vec<String>,
    /// How long to wait for the payee's wallet: `60s`, `2m`.
    patience: Option<String>,
    /// How long the payment may take: `60s`, `2m`.
    deadline: Option<String>,
}

/// Pays a request, or a part of it.
#[utoipa::path(post, path = "/v0/requests/{request}/pay", tag = "requests", request_body = PayRequest,
    params(("request" = String, Path, description = "Its name, or an `atomicity:` link"),
        ("Idempotency-Key" = String, Header, description = "Names this payment: it is made once"), Wait),
    responses((status = 200, body = Value, description = "Paid: as `atomicity request pay --json`"),
        (status = 202, body = Value, description = "Not done yet: the operation, also at `Location`")))]
async fn pay(
    State(served): State<Served>,
    Named(request): Named,
    once: Once,
    Body(body): Body<PayRequest>,
) -> Result<Response, Problem> {
    let words = Words::of("request pay")
        .with("max-fee", body.max_fee)
        .each("router", &body.routers)
        .with("wait", body.patience)
        .with("deadline", body.deadline)
        .say(request)
        .say_if(body.amount);
    operate(&served, once, words).await
}

/// Takes a request of the user back: nobody can pay more of it.
#[utoipa::path(post, path = "/v0/requests/{request}/cancel", tag = "requests", request_body = Nothing,
    params(("request" = String, Path, description = "Its name")),
    responses((status = 200, body = Value, description = "As `atomicity request cancel --json`")))]
async fn cancel(
    State(served): State<Served>,
    Named(request): Named,
    Body(Nothing {}): Body<Nothing>,
) -> Answer {
    served.ask(Words::of("request cancel").say(request)).await
}

/// What came another way.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Received {
    /// Such as `5.00 USD/2`.
    amount: String,
    /// How it came: `cash`, a bank transfer.
    by: Option<String>,
    /// From whom.
    from: Option<String>,
}

/// Notes what came for a request another way. Of a debt that was called in, the debtor owes so much less.
#[utoipa::path(post, path = "/v0/requests/{request}/received", tag = "requests", request_body = Received,
    params(("request" = String, Path, description = "Its name"),
        ("Idempotency-Key" = String, Header, description = "Names what came: it is noted once"), Wait),
    responses((status = 200, body = Value, description = "As `atomicity request received --json`"),
        (status = 202, body = Value, description = "Not done yet: the operation, also at `Location`")))]
async fn received(
    State(served): State<Served>,
    Named(request): Named,
    once: Once,
    Body(body): Body<Received>,
) -> Result<Response, Problem> {
    let words = Words::of("request received")
        .with("by", body.by)
        .with("from", body.from)
        .say(request)
        .say(body.amount);
    operate(&served, once, words).await
}

/// What may be paid without asking.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Approve {
    /// The most that each time may cost, fees included, such as `10 USD/2`.
    up_to: String,
    /// Pay nothing from this day on, such as `2031-12-24`.
    until: Option<String>,
    /// Do not pay what was due before now.
    #[serde(default)]
    skip_missed: bool,
}

/// Has a request that recurs paid whenever it is due, without asking again.
#[utoipa::path(post, path = "/v0/requests/{request}/approve", tag = "requests", request_body = Approve,
    params(("request" = String, Path, description = "Its name, or an `atomicity:` link")),
    responses((status = 200, body = Value, description = "As `atomicity request approve --json`")))]
async fn approve(
    State(served): State<Served>,
    Named(request): Named,
    Body(body): Body<Approve>,
) -> Answer {
    let words = Words::of("request approve")
        .with("up-to", Some(body.up_to))
        .with("until", body.until)
        .flag("skip-missed", body.skip_missed);
    served.ask(words.say(request)).await
}

/// Asks before anything more of it is paid.
#[utoipa::path(post, path = "/v0/requests/{request}/revoke", tag = "requests", request_body = Nothing,
    params(("request" = String, Path, description = "Its name, or an `atomicity:` link")),
    responses((status = 200, body = Value, description = "As `atomicity request revoke --json`")))]
async fn revoke(
    State(served): State<Served>,
    Named(request): Named,
    Body(Nothing {}): Body<Nothing>,
) -> Answer {
    served.ask(Words::of("request revoke").say(request)).await
}

/// Lists what is paid without asking.
#[utoipa::path(get, path = "/v0/approvals", tag = "requests",
    responses((status = 200, body = Value, description = "As `atomicity request approvals --json`")))]
async fn approvals(State(served): State<Served>) -> Answer {
    served.ask(Words::of("request approvals")).await
}

/// When to call debts in: whose (one of `friend`, `tag`, `all`), and when (`over` or `after`).
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewCall {
    /// A friend's name or key.
    friend: Option<String>,
    /// Those of friends whom the user has tagged so.
    tag: Option<String>,
    /// Those of all friends.
    #[serde(default)]
    all: bool,
    /// Once more than this is owed, such as `50 USD/2`.
    over: Option<String>,
    /// Once something is owed for so long: `30d`, `1h`.
    after: Option<String>,
    /// With `after`: only what is owed in this unit.
    unit: Option<String>,
    /// Ways to pay it, such as `cash=at-the-door`, the best first.
    #[serde(default)]
    or: Vec<String>,
}

/// Lists when debts are called in.
#[utoipa::path(get, path = "/v0/calls", tag = "requests",
    responses((status = 200, body = Value, description = "As `atomicity call list --json`")))]
async fn calls(State(served): State<Served>) -> Answer {
    served.ask(Words::of("call list")).await
}

/// Asks for debts as soon as they are too large, or stand for too long.
#[utoipa::path(post, path = "/v0/calls", tag = "requests", request_body = NewCall,
    responses((status = 200, body = Value, description = "As `atomicity call add --json`")))]
async fn add_call(State(served): State<Served>, Body(body): Body<NewCall>) -> Answer {
    let words = Words::of("call add")
        .with("tag", body.tag)
        .flag("all", body.all)
        .with("over", body.over)
        .with("after", body.after)
        .with("unit", body.unit)
        .each("or", &body.or);
    served.ask(words.say_if(body.friend)).await
}

/// Does not call them in any more.
#[utoipa::path(delete, path = "/v0/calls/{rule}", tag = "requests",
    params(("rule" = String, Path, description = "The number of the rule")),
    responses((status = 200, body = Value, description = "As `atomicity call remove --json`")))]
async fn remove_call(State(served): State<Served>, Named(rule): Named) -> Answer {
    served.ask(Words::of("call remove").say(rule)).await
}
