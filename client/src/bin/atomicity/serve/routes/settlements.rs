//! Debts that are paid off outside.

use axum::extract::State;
use axum::response::Response;
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::super::extract::{Asked, Body, Named, Once};
use super::super::operations::operate;
use super::super::problem::{Answer, Problem};
use super::super::state::Served;
use super::super::words::Words;
use super::{Nothing, Wait};

pub fn routes() -> OpenApiRouter<Served> {
    OpenApiRouter::new()
        .routes(routes!(list, ask))
        .routes(routes!(candidates))
        .routes(routes!(show))
        .routes(routes!(pay))
        .routes(routes!(paid))
        .routes(routes!(not_paid))
        .routes(routes!(confirm))
        .routes(routes!(step))
}

/// What is to be paid for the user.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Ask {
    /// Who owes the user: their name or key. Left out: whoever owes enough and can pay by Lightning, the most trusted first.
    friend: Option<String>,
    /// By how much the debt falls, such as `5.00 USD/2`.
    amount: String,
    /// The BOLT11 invoice that they are to pay. Without it they pay by any other rail of theirs.
    invoice: Option<String>,
    /// Where they are to pay, such as `usd-cash-hand=at the café`, what the user likes best first.
    #[serde(default)]
    to: Vec<String>,
    /// What they are to pay: `12345sat`, `4.60 EUR`, or `EUR` for as much as the user's own rate says.
    pays: Option<String>,
    /// For how long they may begin to pay, without an invoice: `2h`, `7d`.
    expires: Option<String>,
    /// What it is for.
    memo: Option<String>,
    /// Without a friend: how long to wait for those who are asked, `60s`, `2m`.
    patience: Option<String>,
}

/// Asks a friend who owes the user to pay something outside; the debt falls if it was paid.
///
/// The answer comes as soon as the friend is asked; follow the settlement, or the events. Without a friend it comes when somebody has
/// paid, or nobody would.
#[utoipa::path(post, path = "/v0/settlements", tag = "settlements", request_body = Ask,
    params(("Idempotency-Key" = String, Header, description = "Names this settlement: it is asked for once"), Wait),
    responses((status = 200, body = Value, description = "As `atomicity settle --json`"),
        (status = 202, body = Value, description = "Not done yet: the operation, also at `Location`")))]
async fn ask(
    State(served): State<Served>,
    once: Once,
    Body(body): Body<Ask>,
) -> Result<Response, Problem> {
    let anyone = body.friend.is_none();
    let words = Words::of("settle")
        .flag("anyone", anyone)
        .flag("no-wait", !anyone)
        .with("invoice", body.invoice)
        .each("to", &body.to)
        .with("pays", body.pays)
        .with("expires", body.expires)
        .with("memo", body.memo)
        .with("wait", body.patience)
        .say_if(body.friend)
        .say(body.amount);
    operate(&served, once, words).await
}

/// How much is to be paid.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Candidates {
    /// Such as `5.00 USD/2`.
    amount: String,
}

/// Shows who owes so much and could pay by Lightning, in the order in which they would be asked. Signs nothing.
#[utoipa::path(post, path = "/v0/settlements/candidates", tag = "settlements", request_body = Candidates,
    responses((status = 200, body = Value, description = "As `atomicity settle --anyone --dry-run --json`")))]
async fn candidates(State(served): State<Served>, Body(body): Body<Candidates>) -> Answer {
    let words = Words::of("settle")
        .flag("anyone", true)
        .flag("dry-run", true);
    served.ask(words.say(body.amount)).await
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct Which {
    /// Only what waits for the user's word.
    #[serde(default)]
    waiting: bool,
}

/// Lists what the user asked friends to pay, and what they asked the user.
#[utoipa::path(get, path = "/v0/settlements", tag = "settlements", params(Which),
    responses((status = 200, body = Value, description = "As `atomicity settle list --json`, or `settle requests`")))]
async fn list(State(served): State<Served>, Asked(query): Asked<Which>) -> Answer {
    let words = match query.waiting {
        true => Words::of("settle requests"),
        false => Words::of("settle list"),
    };
    served.ask(words).await
}

/// Shows one.
#[utoipa::path(get, path = "/v0/settlements/{id}", tag = "settlements",
    params(("id" = String, Path, description = "Its name")),
    responses((status = 200, body = Value, description = "As `atomicity settle show --json`")))]
async fn show(State(served): State<Served>, Named(id): Named) -> Answer {
    served.ask(Words::of("settle show").say(id)).await
}

/// How long to wait.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct PayIt {
    /// For what becomes of it: `60s`, `2m`.
    patience: Option<String>,
}

/// Pays what a friend asks for, and has the user owe them so much less.
#[utoipa::path(post, path = "/v0/settlements/{id}/pay", tag = "settlements", request_body = PayIt,
    params(("id" = String, Path, description = "Its name"),
        ("Idempotency-Key" = String, Header, description = "Names this step: it is done once"), Wait),
    responses((status = 200, body = Value, description = "As `atomicity settle pay --json`"),
        (status = 202, body = Value, description = "Not done yet: the operation, also at `Location`")))]
async fn pay(
    State(served): State<Served>,
    Named(id): Named,
    once: Once,
    Body(body): Body<PayIt>,
) -> Result<Response, Problem> {
    let words = Words::of("settle pay").with("wait", body.patience).say(id);
    operate(&served, once, words).await
}

/// What shows that it was paid.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Paid {
    /// A bank's reference, who took the cash.
    reference: String,
}

/// Says that the user has paid by hand what a friend asks for.
#[utoipa::path(post, path = "/v0/settlements/{id}/paid", tag = "settlements", request_body = Paid,
    params(("id" = String, Path, description = "Its name"),
        ("Idempotency-Key" = String, Header, description = "Names this step: it is done once"), Wait),
    responses((status = 200, body = Value, description = "As `atomicity settle paid --json`"),
        (status = 202, body = Value, description = "Not done yet: the operation, also at `Location`")))]
async fn paid(
    State(served): State<Served>,
    Named(id): Named,
    once: Once,
    Body(body): Body<Paid>,
) -> Result<Response, Problem> {
    let words = Words::of("settle paid").say(id).say(body.reference);
    operate(&served, once, words).await
}

/// Why not.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NotPaid {
    /// In a few words.
    why: Option<String>,
}

/// Says that the user will not pay it by hand: another rail is tried, if one fits.
#[utoipa::path(post, path = "/v0/settlements/{id}/not-paid", tag = "settlements", request_body = NotPaid,
    params(("id" = String, Path, description = "Its name")),
    responses((status = 200, body = Value, description = "As `atomicity settle not-paid --json`")))]
async fn not_paid(
    State(served): State<Served>,
    Named(id): Named,
    Body(body): Body<NotPaid>,
) -> Answer {
    let words = Words::of("settle not-paid").with("why", body.why);
    served.ask(words.say(id)).await
}

/// Confirms that the user was paid what they asked for: what the friend owes falls by it.
#[utoipa::path(post, path = "/v0/settlements/{id}/confirm", tag = "settlements", request_body = Nothing,
    params(("id" = String, Path, description = "Its name"),
        ("Idempotency-Key" = String, Header, description = "Names this step: it is done once"), Wait),
    responses((status = 200, body = Value, description = "As `atomicity settle confirm --json`"),
        (status = 202, body = Value, description = "Not done yet: the operation, also at `Location`")))]
async fn confirm(
    State(served): State<Served>,
    Named(id): Named,
    once: Once,
    Body(Nothing {}): Body<Nothing>,
) -> Result<Response, Problem> {
    operate(&served, once, Words::of("settle confirm").say(id)).await
}

/// A step that moves no money.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Step {
    /// Take a request back, as long as nobody was told to pay.
    Withdraw,
    /// Do not pay what a friend asks for.
    Decline,
    /// Say that nothing came of what a friend says was paid.
    Dispute,
    /// Give up a request that nobody answered in time.
    Abandon,
}

/// What to do.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Next {
    /// Which step.
    step: Step,
}

/// Withdraws, declines, disputes or abandons it.
#[utoipa::path(post, path = "/v0/settlements/{id}/step", tag = "settlements", request_body = Next,
    params(("id" = String, Path, description = "Its name")),
    responses((status = 200, body = Value, description = "As `atomicity settle withdraw|decline|dispute|abandon --json`")))]
async fn step(State(served): State<Served>, Named(id): Named, Body(body): Body<Next>) -> Answer {
    let words = match body.step {
        Step::Withdraw => Words::of("settle withdraw"),
        Step::Decline => Words::of("settle decline"),
        Step::Dispute => Words::of("settle dispute"),
        Step::Abandon => Words::of("settle abandon"),
    };
    served.ask(words.say(id)).await
}
