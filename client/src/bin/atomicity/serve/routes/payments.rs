//! Paying, being paid by invoice, handing claims on.

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::super::extract::{Body, Named, Once};
use super::super::operations::operate;
use super::super::problem::{Answer, Problem};
use super::super::state::{Served, taken};
use super::super::words::Words;
use super::Wait;

pub fn routes() -> OpenApiRouter<Served> {
    OpenApiRouter::new()
        .routes(routes!(list, pay))
        .routes(routes!(quote))
        .routes(routes!(show))
        .routes(routes!(receipt))
        .routes(routes!(invoices, invoice))
        .routes(routes!(show_invoice))
        .routes(routes!(reassign))
        .routes(routes!(quote_reassign))
}

/// Whom to pay, and how.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Pay {
    /// An `atomicity:` link, a key, or a friend's name.
    to: String,
    /// Such as `2.00 BREAD/2`; not needed if the link says it.
    amount: Option<String>,
    /// The most that those who pass it on may take together; 1 % and one smallest unit if left out.
    max_fee: Option<String>,
    /// The unit to promise, if another one is to arrive: somebody on the way exchanges it.
    with: Option<String>,
    /// The most of that unit.
    max: Option<String>,
    /// Agree to whatever rate is found; else `max` has to be said, or the quote comes back as the problem.
    #[serde(default)]
    yes: bool,
    /// Only over this user.
    via: Option<String>,
    /// Not over these users.
    #[serde(default)]
    avoid: Vec<String>,
    /// Routers to ask: their key, URL, or `KEY@URL`; the best known ones if empty.
    #[serde(default)]
    routers: Vec<String>,
    /// A few words, for somebody who is away.
    memo: Option<String>,
    /// How long the payment may take: `60s`, `2m`.
    deadline: Option<String>,
}

impl Pay {
    fn words(self) -> Words {
        let agreed = self.yes || self.with.is_some() && self.max.is_some();
        Words::of("pay")
            .with("max-fee", self.max_fee)
            .with("with", self.with)
            .with("max", self.max)
            .flag("yes", agreed)
            .with("via", self.via)
            .each("avoid", &self.avoid)
            .each("router", &self.routers)
            .with("memo", self.memo)
            .with("deadline", self.deadline)
            .say(self.to)
            .say_if(self.amount)
    }
}

/// Pays an invoice, or anybody: a friend directly, others over friends.
///
/// `kind` of the answer is `direct` or `routed`. An answer other than 202 is final, except for problems that say that nothing is decided
/// yet (`undecided`): ask again with the same key.
#[utoipa::path(post, path = "/v0/payments", tag = "payments", request_body = Pay,
    params(("Idempotency-Key" = String, Header, description = "Names this payment: it is made once"), Wait),
    responses((status = 200, body = Value, description = "Paid: as `atomicity pay --json`"),
        (status = 202, body = Value, description = "Not done yet: the operation, also at `Location`")))]
async fn pay(
    State(served): State<Served>,
    once: Once,
    Body(body): Body<Pay>,
) -> Result<Response, Problem> {
    operate(&served, once, body.words()).await
}

/// Shows the ways in which something could be paid, and what they cost. Signs nothing.
#[utoipa::path(post, path = "/v0/payments/quote", tag = "payments", request_body = Pay,
    responses((status = 200, body = Value, description = "As `atomicity pay --dry-run --json`")))]
async fn quote(State(served): State<Served>, Body(body): Body<Pay>) -> Answer {
    let words = body.words();
    served.ask(words.flag("dry-run", true)).await
}

/// Lists payments over friends, newest first.
///
/// Direct payments to friends are in the history.
#[utoipa::path(get, path = "/v0/payments", tag = "payments",
    responses((status = 200, body = Value, description = "As `atomicity payments --json`")))]
async fn list(State(served): State<Served>) -> Answer {
    served.ask(Words::of("payments")).await
}

/// Shows one payment over friends.
#[utoipa::path(get, path = "/v0/payments/{payment}", tag = "payments",
    params(("payment" = String, Path, description = "Its name")),
    responses((status = 200, body = Value, description = "As one of `atomicity payments --json`")))]
async fn show(State(served): State<Served>, Named(id): Named) -> Answer {
    let context = served.plain();
    taken(crate::payment::show(&context, &id)).await.map(Json)
}

/// Shows what proves that a payment was made.
#[utoipa::path(get, path = "/v0/payments/{payment}/receipt", tag = "payments",
    params(("payment" = String, Path, description = "Its name")),
    responses((status = 200, body = Value, description = "As `atomicity receipt --json`")))]
async fn receipt(State(served): State<Served>, Named(id): Named) -> Answer {
    served.ask(Words::of("receipt").say(id)).await
}

/// What to ask for.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewInvoice {
    /// Such as `5.00 USD/2`; with `open` only the unit.
    amount: String,
    /// Leave the amount to the payer.
    #[serde(default)]
    open: bool,
    /// What it is for.
    memo: Option<String>,
    /// How long it stands: `10m`, `1h`, `7d`.
    expires: Option<String>,
    /// Who looks after it: `agent` or `device`.
    kept_by: Option<String>,
}

/// Asks to be paid: an amount and a link.
#[utoipa::path(post, path = "/v0/invoices", tag = "payments", request_body = NewInvoice,
    params(("Idempotency-Key" = String, Header, description = "Names this invoice: it is made once"), Wait),
    responses((status = 200, body = Value, description = "As `atomicity invoice --json`"),
        (status = 202, body = Value, description = "Not done yet: the operation, also at `Location`")))]
async fn invoice(
    State(served): State<Served>,
    once: Once,
    Body(body): Body<NewInvoice>,
) -> Result<Response, Problem> {
    let words = Words::of("invoice")
        .flag("open", body.open)
        .with("memo", body.memo)
        .with("expires", body.expires)
        .with("kept-by", body.kept_by)
        .say(body.amount);
    operate(&served, once, words).await
}

/// Lists invoices, newest first.
#[utoipa::path(get, path = "/v0/invoices", tag = "payments",
    responses((status = 200, body = Value, description = "As `atomicity invoices --json`")))]
async fn invoices(State(served): State<Served>) -> Answer {
    served.ask(Words::of("invoices")).await
}

/// Shows one invoice.
#[utoipa::path(get, path = "/v0/invoices/{invoice}", tag = "payments",
    params(("invoice" = String, Path, description = "Its name")),
    responses((status = 200, body = Value, description = "As one of `atomicity invoices --json`")))]
async fn show_invoice(State(served): State<Served>, Named(id): Named) -> Answer {
    let context = served.plain();
    taken(crate::invoice::show(&context, &id)).await.map(Json)
}

/// What to hand on.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Reassign {
    /// The friend who owes it: their name or key.
    debtor: String,
    /// Whom they are to owe it from now on: an invoice, a name or a key.
    to: String,
    /// Such as `5.00 USD/2`; not needed if the invoice says it.
    amount: Option<String>,
    /// The most that the debtor may take for it; 1 % and one smallest unit if left out.
    max_fee: Option<String>,
    /// How long both may take: `60s`, `2m`.
    deadline: Option<String>,
}

impl Reassign {
    fn words(self) -> Words {
        Words::of("reassign")
            .with("max-fee", self.max_fee)
            .with("deadline", self.deadline)
            .say(self.debtor)
            .say(self.to)
            .say_if(self.amount)
    }
}

/// Hands on what a friend owes the user: they owe it to somebody else then, all or nothing.
#[utoipa::path(post, path = "/v0/reassignments", tag = "payments", request_body = Reassign,
    params(("Idempotency-Key" = String, Header, description = "Names this reassignment: it is made once"), Wait),
    responses((status = 200, body = Value, description = "Done: as `atomicity reassign --json`"),
        (status = 202, body = Value, description = "Not done yet: the operation, also at `Location`")))]
async fn reassign(
    State(served): State<Served>,
    once: Once,
    Body(body): Body<Reassign>,
) -> Result<Response, Problem> {
    operate(&served, once, body.words()).await
}

/// Shows what handing on would cost. Signs nothing.
#[utoipa::path(post, path = "/v0/reassignments/quote", tag = "payments", request_body = Reassign,
    responses((status = 200, body = Value, description = "As `atomicity reassign --dry-run --json`")))]
async fn quote_reassign(State(served): State<Served>, Body(body): Body<Reassign>) -> Answer {
    served.ask(body.words().flag("dry-run", true)).await
}
